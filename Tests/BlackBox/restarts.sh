#!/usr/bin/env bash
# A daemon is put in the place of another while clients ask: no question fails, none that was taken stays without its
# answer, and questions that are held open go on.
#
#   RESTARTS=… restarts.sh BINARIES
source "$(dirname "$0")/lib.sh"
restarts=${RESTARTS:-5}
store=$work/store socket=$work/decision.sock ledger=$here/policies/ledger
stile tenant create acme --store "$store" >/dev/null
stile policy push "$ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$ledger"/data/*.jsonl >/dev/null
cc -O1 -g -std=gnu11 -I"$here/Sources/CStile/include" -o "$work/test" "$here/Tests/Clients/libstile_test.c" \
  "$here"/Sources/CStile/*.c -pthread
cc -O1 -o "$work/leave" "$here/Tests/BlackBox/leave.c"
cc -O1 -o "$work/notify" "$here/Tests/BlackBox/notify.c"
question='{"subject":{"type":"user","id":"ada"},"action":{"name":"approve"},"resource":{"type":"payrun","id":"p1","properties":{"status":"draft","total":90000,"created_by":"bob"}},"session":"s-ada"}'
printf '%s\n' "$question" "$question" | stile encode --tenant acme >"$work/frames"

# load_on SOCKET: clients of three kinds ask until `loads_end`.
load_on() {
  "$work/test" hold "$1" acme 0 <"$work/hold" >"$work/held" &
  started
  holding=$process
  "$work/leave" "$1" "$work/frames" 4 16 1 >"$work/left" &
  started
  leaving=$process
  "$work/leave" "$1" "$work/frames" 2 4 0 >"$work/left-plainly" &
  started
  leaving_plainly=$process
}
mkfifo "$work/hold"
# loads_end: each must have lost nothing.
loads_end() {
  kill "$leaving" "$leaving_plainly"
  ended "$leaving" || { cat "$work/left" >&2; fail "a question that was taken has no answer"; }
  ended "$leaving_plainly" || { cat "$work/left-plainly" >&2; fail "a question that was taken has no answer"; }
  exec 7>&-
  ended "$holding" || fail "libstile lost a question"
  asked=$(cat "$work/held")
  [ "$asked" -ge "$restarts" ] || fail "only $asked questions"
}

# 1. A new daemon takes the socket over. The first one gets it from systemd, the next ones from one another.
"$work/notify" "$work/notify.sock" >"$work/told" &
started
listener=$process
await test -S "$work/notify.sock" || fail "no notify socket"
if command -v systemd-socket-activate >/dev/null; then
  systemd-socket-activate --fdname=stiled -E "NOTIFY_SOCKET=$work/notify.sock" -l "$socket" \
    "$binaries/stiled" --store "$store" --reactors 2 2>"$work/log" &
  started
  server=$process
  await test -S "$socket" || fail "systemd-socket-activate made no socket"
else
  echo "NOT TESTED: a socket from systemd, because there is no systemd-socket-activate"
  NOTIFY_SOCKET=$work/notify.sock serve "$store" "$socket" "$work/log"
  server=$process
fi
"$work/test" hold "$socket" acme 1 >/dev/null </dev/null || fail "no answer before the first restart"
"$work/test" watch "$socket" acme >"$work/watched" &
started
watching=$process
watched() { [ "$(tail -1 "$work/watched")" = "$1" ]; }
await watched permitted || fail "no first answer to an open question"
load_on "$socket"
exec 7>"$work/hold"
active() {
  printf '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"bob","userName":"bob","active":%s}\n' "$1" |
    stile load --store "$store" --tenant acme >/dev/null
}
begin=$(date +%s%N)
for ((number = 1; number <= restarts; number++)); do
  old=$server
  NOTIFY_SOCKET=$work/notify.sock "$binaries/stiled" --store "$store" --socket "$socket" --reactors 2 --take-over \
    2>"$work/log.$number" 7>&- &
  started
  server=$process
  ended "$old" || { cat "$work/log" "$work/log.$number" >&2; fail "the old daemon ended with $?"; }
  kill -0 "$server" || { cat "$work/log.$number" >&2; fail "the new daemon died"; }
  if [ $((number % 2)) = 1 ]; then active false; else active true; fi
  await watched "$([ $((number % 2)) = 1 ] && echo denied || echo permitted)" ||
    fail "an open question does not go on with the new daemon"
done
time=$((($(date +%s%N) - begin) / 1000000 / restarts))
loads_end
grep -q 'took over from stiled' "$work/log.$restarts" || fail "the log does not tell"
grep -q " MAINPID=$server\$" "$work/told" || fail "the service manager is not told who goes on"
[ -S "$socket" ] || fail "the socket's file is gone"
echo "$restarts daemons took over, $time ms each; libstile: $asked questions, 0 failed; without asking again:" \
  "$(cat "$work/left"); without goodbye: $(cat "$work/left-plainly")"
stop "$server"
kill "$watching"
ended "$watching" || true
ok "no question of any client is lost while $restarts daemons take the socket over, and open questions go on"

# 2. A plain restart, with the socket held by the service manager meanwhile: connections wait in it.
cat >"$work/manager.py" <<'PYTHON'
import os, signal, socket, subprocess, sys, time
path, program, store, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(1024)
os.dup2(listener.fileno(), 3, inheritable=True)
command = ["sh", "-c", 'export LISTEN_FDS=1 LISTEN_FDNAMES=stiled LISTEN_PID=$$; exec "$@"', "-", program, "--store", store]
for number in range(count + 1):
    with open(path + ".log", "w") as log:
        daemon = subprocess.Popen(command, pass_fds=[3], stderr=log)
    while "listening on" not in open(path + ".log").read():
        assert daemon.poll() is None, open(path + ".log").read()
        time.sleep(0.002)
    time.sleep(0.1)
    if number == count:
        print("done", flush=True)
        signal.sigwait([signal.SIGTERM])
    daemon.terminate()
    assert daemon.wait() == 0, "the daemon did not stop in good order"
PYTHON
held=$work/held.sock
python3 -c 'import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read())' \
  "$work/manager.py" "$held" "$binaries/stiled" "$store" "$restarts" >"$work/managed" 2>"$work/manager.log" &
started
manager=$process
await test -S "$held" || fail "no socket"
begin=$(date +%s%N)
load_on "$held"
exec 7>"$work/hold"
for ((tenth = 0; tenth < 100 + 10 * restarts; tenth++)); do
  grep -q done "$work/managed" && break
  kill -0 "$manager" || { cat "$work/manager.log" >&2; fail "a plain restart"; }
  sleep 0.1
done
grep -q done "$work/managed" || fail "the restarts do not come to an end"
time=$((($(date +%s%N) - begin) / 1000000 / restarts))
loads_end
kill "$manager"
ended "$manager" || { cat "$work/manager.log" >&2; fail "the last daemon"; }
echo "$restarts plain restarts, $time ms each; libstile: $asked questions, 0 failed; without asking again:" \
  "$(cat "$work/left"); without goodbye: $(cat "$work/left-plainly")"
ok "no question of any client is lost in $restarts plain restarts with the socket held by the service manager"
kill "$listener"
ended "$listener" || true
echo "$passed passed, 0 failed"
