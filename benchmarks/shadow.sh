#!/usr/bin/env bash
# What a candidate costs the answers. One daemon and two tenants of the same content, of which one has a candidate, are asked
# by turns in short slices, whose order is swapped each pair; client and server are on one processor, as in `make bench`. So
# both of a pair meet the same machine, and what is left between them is the candidate's. After a slice with it comes a rest, in
# which the shadow's thread gets through what is left in its ring: else it would hold up the slice without, too. Of each
# depth: the median of with / without over the pairs, and its quartiles. The tenants change places half-way, for one may
# lie better in memory.
#
#   shadow.sh BINARIES [FILE.jsonl]
#
# Environment: PAIRS (of each depth), SECONDS_EACH (of a slice), REST (seconds), LOG (stiled's --log), PROCESSOR (the
# server's, by default the last), DEPTHS, LIMIT (fails when a median is above it).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
binaries=$(cd "$1" && pwd)
pairs=${PAIRS:-60} each=${SECONDS_EACH:-0.15} rest=${REST:-0.25} log=${LOG:-every} processor=${PROCESSOR:-$(($(nproc) - 1))}
depths=${DEPTHS:-64 1} limit=${LIMIT:-}
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
for tenant in one two; do
  "$stile" tenant create $tenant --store "$store" >/dev/null
  "$stile" policy push "$work/tenant/policies" --store "$store" --tenant $tenant >/dev/null
  "$stile" load --store "$store" --tenant $tenant --batch 10000 "$work/tenant/data.jsonl" >/dev/null
done
echo 'policy "More" { forbid act1 on type1 as "more" when resource.level > 3 }' >"$work/tenant/policies/more.stile"
"$binaries/stiled" --store "$store" --socket "$work/s" --reactors 1 --pin "$processor" --log "$log" 2>"$work/log" &
server=$!
for _ in $(seq 200); do [ -S "$work/s" ] && break; sleep 0.05; done

# What a question costs, ns.
measure() { # tenant depth seconds
  "$work/load" --socket "$work/s" --tenant "$1" --users 10000 --depth "$2" --seconds "$3" --warmup 0.02 \
    --processor "$processor" | sed -n 's/.*"cost_ns":\([0-9.]*\).*/\1/p'
}
# A figure of the tally of whichever tenant has a candidate.
tally() { # name
  for tenant in one two; do "$stile" shadow status $tenant --store "$store" --json 2>/dev/null || true; done |
    { grep -o "\"$1\":[0-9]*" || true; } | awk -F: '{ sum += $2 } END { print sum + 0 }'
}
compared=0 passed=0
with=one without=two
"$stile" shadow start $with "$work/tenant/policies" --store "$store" >/dev/null
for half in 1 2; do
  if [ $half = 2 ]; then
    compared=$(tally compared) passed=$(tally queue_full)
    "$stile" shadow stop $with --store "$store" >/dev/null
    with=two without=one
    "$stile" shadow start $with "$work/tenant/policies" --store "$store" >/dev/null
  fi
  sleep 0.7
  for depth in $depths; do
    for tenant in $with $without; do measure $tenant "$depth" 0.3 >/dev/null; done
    for pair in $(seq $((pairs / 2))); do
      if [ $((pair % 2)) = 0 ]; then
        a=$(measure $with "$depth" "$each")
        sleep "$rest"
        b=$(measure $without "$depth" "$each")
      else
        b=$(measure $without "$depth" "$each")
        a=$(measure $with "$depth" "$each")
        sleep "$rest"
      fi
      echo "$a $b" >>"$work/pairs-$depth"
    done
  done
done
sleep 0.7
compared=$((compared + $(tally compared))) passed=$((passed + $(tally queue_full)))
status=0
for depth in $depths; do
  awk '{ print $1 / $2 }' "$work/pairs-$depth" | sort -n >"$work/ratios"
  line=$(awk -v depth="$depth" -v mode="$log" -v compared="$compared" -v passed="$passed" '
    function at(v, n, share,  place, low) { place = 1 + (n - 1) * share; low = int(place); return v[low] + (place - low) * (v[low + (low < n)] - v[low]) }
    FILENAME ~ /ratios$/ { ratio[++count] = $1; next }
    { with[++row] = $1; without[row] = $2 }
    function sort(v, n,  i, j, t) { for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t } }
    END {
      sort(with, row); sort(without, row)
      printf "{\"depth\":%d,\"log\":\"%s\",\"pairs\":%d,\"without_ns\":%.0f,\"with_ns\":%.0f,\"ratio\":%.3f,", depth, mode, count,
        at(without, row, 0.5), at(with, row, 0.5), at(ratio, count, 0.5)
      printf "\"ratio_q1\":%.3f,\"ratio_q3\":%.3f,\"compared\":%d,\"not_compared\":%d}", at(ratio, count, 0.25), at(ratio, count, 0.75), compared, passed
    }' "$work/ratios" "$work/pairs-$depth")
  echo "$line"
  [ -z "${2:-}" ] || echo "$line" >>"$2"
  if [ -n "$limit" ] && ! echo "$line" | awk -v limit="$limit" '{ match($0, /"ratio":[0-9.]+/); exit substr($0, RSTART + 8, RLENGTH - 8) > limit }'; then
    echo "FAILED: at depth $depth a candidate costs more than $limit times the answer without" >&2
    status=1
  fi
done
exit $status
