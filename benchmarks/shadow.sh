#!/usr/bin/env bash
# What a candidate costs the answers: one daemon, one question after another of a pipelined client (depth 64), in turns with
# and without a candidate, so that both see the same machine. Prints the median cost of a decision of both and their ratio.
#
#   shadow.sh BINARIES [FILE.json]
#
# Environment: ROUNDS (of each), SECONDS_EACH, LOG (stiled's --log), PROCESSOR (the server's, by default the last).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
binaries=$(cd "$1" && pwd)
rounds=${ROUNDS:-10} each=${SECONDS_EACH:-1} log=${LOG:-every} processor=${PROCESSOR:-$(($(nproc) - 1))}
work=$(mktemp -d)
server=""
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cc -O2 -Wall -Wextra -o "$work/load" -I"$top/Sources/CStile/include" "$here/load/load.c" "$top/.build/libstile/libstile.a" -pthread
bash "$here/tenant.sh" "$work/tenant" 10000 200
stile=$binaries/stile store=$work/store
"$stile" tenant create bench --store "$store" >/dev/null
"$stile" policy push "$work/tenant/policies" --store "$store" --tenant bench >/dev/null
"$stile" load --store "$store" --tenant bench --batch 10000 "$work/tenant/data.jsonl" >/dev/null
echo 'policy "More" { forbid act1 on type1 as "more" when resource.level > 3 }' >"$work/tenant/policies/more.stile"
"$binaries/stiled" --store "$store" --socket "$work/s" --reactors 1 --pin "$processor" --log "$log" 2>"$work/log" &
server=$!
for _ in $(seq 200); do [ -S "$work/s" ] && break; sleep 0.05; done
"$stile" shadow start bench "$work/tenant/policies" --store "$store" >/dev/null
version=$("$stile" shadow status bench --store "$store" --json | sed -n 's/.*"version":\([0-9]*\).*/\1/p')
measure() {
  "$work/load" --socket "$work/s" --users 10000 --depth 64 --seconds "$each" | sed -n 's/.*"cost_ns":\([0-9.]*\).*/\1/p'
}
for _ in $(seq "$rounds"); do
  "$stile" shadow stop bench --store "$store" >/dev/null
  sleep 0.1
  measure >>"$work/without"
  "$stile" shadow start bench "$version" --store "$store" >/dev/null
  sleep 0.7
  measure >>"$work/with"
done
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
without=$(median "$work/without") with=$(median "$work/with")
"$stile" shadow status bench --store "$store"
line=$(awk -v a="$without" -v b="$with" -v mode="$log" -v rounds="$rounds" \
  'BEGIN { printf "{\"depth\":64,\"log\":\"%s\",\"rounds\":%d,\"without_ns\":%.0f,\"with_ns\":%.0f,\"ratio\":%.3f}", mode, rounds, a, b, b / a }')
echo "$line"
[ -z "${2:-}" ] || echo "$line" >>"$2"
