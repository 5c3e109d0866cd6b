# What the black-box tests share. Sourced with the folder of the binaries as $1; makes $work, removed at the end with
# every process that was started.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binaries=$(cd "$1" && pwd)
work=$(mktemp -d)
passed=0
# Ids of the processes to end with the script.
declare -A running=()
finish() {
  local process
  for process in "${!running[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  chmod -R u+rwx "$work" 2>/dev/null || true
  rm -rf "$work" || true
}
trap finish EXIT
trap 'echo "FAILED: line $LINENO of $0" >&2' ERR
# The program itself is "$binaries/stile", for where its process id matters.
stile() { "$binaries/stile" "$@"; }
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
# ok [BEHAVIOUR]: one more test has passed.
ok() {
  passed=$((passed + 1))
  [ $# = 0 ] || echo "ok: $*"
}
# refuses CODE TEXT COMMAND…: the command ends with the code and says the text.
refuses() {
  local code=$1 text=$2 status=0
  shift 2
  "$@" >"$work/out" 2>&1 </dev/null || status=$?
  [ "$status" = "$code" ] || { cat "$work/out" >&2; fail "$* ended with $status, not $code"; }
  grep -qF -- "$text" "$work/out" || { cat "$work/out" >&2; fail "$* does not say: $text"; }
  ok
}
# await COMMAND…: succeeds as soon as the command does, fails when it has not within ten seconds.
await() {
  local deadline=$((SECONDS + 10))
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.02
  done
}
# started: the process begun last is ended with the script; its id is in $process.
started() {
  process=$!
  running[$process]=yes
}
# ended PROCESS: waits for it and gives its exit code.
ended() {
  local status=0
  wait "$1" || status=$?
  unset "running[$1]"
  return "$status"
}
# serve STORE SOCKET LOG [OPTION…]: starts stiled and waits for its socket; its id is in $process.
serve() {
  "$binaries/stiled" --store "$1" --socket "$2" --reactors 1 "${@:4}" 2>"$3" &
  started
  await test -S "$2" || { cat "$3" >&2; fail "the daemon made no socket"; }
}
# stop PROCESS: ends a daemon in good order.
stop() {
  kill "$1"
  ended "$1" || fail "the daemon did not stop in good order"
}
