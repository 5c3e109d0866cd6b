#!/usr/bin/env bash
# Floor and Stile in one run on the same pinned processor: medians, tails, ratios.
#
#   run.sh BINARIES [demo]
#
# BINARIES holds stile and stiled. "demo" is the short form that `make demo` shows. Environment: USERS, RULES, ROUNDS,
# PROCESSOR. Results are written to benchmarks/results/latest.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binaries=$1
mode=${2:-bench}
processor=${PROCESSOR:-$(( $(nproc) - 1 ))}
users=${USERS:-100000} rules=${RULES:-200} rounds=${ROUNDS:-5}
if [ "$mode" = demo ]; then users=${USERS:-2000} rounds=1; fi
work=$(mktemp -d)
server="" floor=""
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$floor" ] || kill "$floor" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

cc -O2 -o "$work/echo" "$here/floor/echo.c"
cc -O2 -o "$work/load" "$here/load/load.c"
bash "$here/tenant.sh" "$work/tenant" "$users" "$rules" 20000
"$binaries/stile" tenant create bench --store "$work/store" >/dev/null
"$binaries/stile" policy push "$work/tenant/policies" --store "$work/store" --tenant bench >/dev/null
"$binaries/stile" load --store "$work/store" --tenant bench --batch 5000 "$work/tenant/data.jsonl" >/dev/null
"$binaries/stile" encode --tenant bench < "$work/tenant/questions.jsonl" > "$work/frames"

"$binaries/stiled" --store "$work/store" --socket "$work/stile.sock" --reactors 1 --pin "$processor" 2>"$work/log" &
server=$!
for _ in $(seq 200); do [ -S "$work/stile.sock" ] && break; sleep 0.05; done

measure() { # name socket depth count [hello]
  "$work/load" --name "$1" --socket "$2" --frames "$work/frames" --depth "$3" --count "$4" --processor "$processor" \
    ${5:-} ${6:-} --samples "$work/$1-$3.samples"
}
# The floor answers with as many bytes as Stile does.
bytes=$(measure probe "$work/stile.sock" 1 2000 --hello | sed 's/.*"answer_bytes":\([0-9]*\).*/\1/')
"$work/echo" "$work/floor.sock" "$bytes" "$processor" &
floor=$!
for _ in $(seq 200); do [ -S "$work/floor.sock" ] && break; sleep 0.05; done

if [ "$mode" = demo ]; then
  echo "One question at a time, client and server on one processor; $users users, $rules rules, random subjects."
  echo "The floor, a plain C server that answers $bytes bytes and decides nothing:"
  measure floor "$work/floor.sock" 1 20000 --hello --histogram
  echo "Stile:"
  measure stile "$work/stile.sock" 1 20000 --hello --histogram
  exit 0
fi

for _ in $(seq "$rounds"); do
  measure floor "$work/floor.sock" 1 50000 --hello
  measure stile "$work/stile.sock" 1 50000 --hello
  measure floor "$work/floor.sock" 64 4000 --hello
  measure stile "$work/stile.sock" 64 4000 --hello
done > "$work/lines"

machine="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) processors, Linux $(uname -r)"
commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)
awk -v json="$here/results/latest.json" -v machine="$machine" -v commit="$commit" -v users="$users" -v rules="$rules" '
  function field(name) { match($0, "\"" name "\":[0-9.]+"); return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 }
  function middle(key,   n, i, j, t, list) {
    n = split(values[key], list, " ")
    for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (list[j] + 0 < list[i] + 0) { t = list[i]; list[i] = list[j]; list[j] = t }
    return list[int((n + 1) / 2)] + 0
  }
  { match($0, "\"name\":\"[a-z]+\""); who = substr($0, RSTART + 8, RLENGTH - 9); depth = field("depth")
    values[who depth "median"] = values[who depth "median"] " " field("median_ns")
    values[who depth "p99"] = values[who depth "p99"] " " field("p99_ns")
    rate[who depth] = rate[who depth] " " field("per_second") ; values[who depth "rate"] = rate[who depth]
    lines = lines (lines ? ",\n    " : "") $0 }
  function figure(name, value, unit, limit) { printf "%s    {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"limit\": %s}", separator, name, value, unit, limit > json; separator = ",\n" }
  END {

    f1 = middle("floor1median"); s1 = middle("stile1median"); f9 = middle("floor1p99"); s9 = middle("stile1p99")
    f64 = 1e9 / middle("floor64rate"); s64 = 1e9 / middle("stile64rate")
    printf "%-34s %12s %12s %8s\n", users " users, " rules " rules", "floor", "Stile", "ratio"
    printf "%-34s %9.1f us %9.1f us %8.2f\n", "depth 1, median", f1 / 1000, s1 / 1000, s1 / f1
    printf "%-34s %9.1f us %9.1f us %8.2f\n", "depth 1, p99", f9 / 1000, s9 / 1000, s9 / f9
    printf "%-34s %9.0f ns %9.0f ns %8.2f\n", "depth 64, cost a question", f64, s64, s64 / f64
    printf "%-34s %9.0f/s %10.0f/s\n", "depth 64, questions", 1e9 / f64, 1e9 / s64
    printf "{\n  \"machine\": \"%s\",\n  \"commit\": \"%s\",\n  \"users\": %d,\n  \"rules\": %d,\n  \"figures\": [\n", machine, commit, users, rules > json
    figure("socket_depth1_median_over_floor", s1 / f1, "ratio", "1.5")
    figure("socket_depth1_p99_over_floor", s9 / f9, "ratio", "null")
    figure("socket_depth64_cost_over_floor", s64 / f64, "ratio", "null")
    figure("socket_depth1_median_us", s1 / 1000, "us", "null")
    figure("floor_depth1_median_us", f1 / 1000, "us", "null")
    figure("socket_depth64_questions_per_second", 1e9 / s64, "1/s", "null")
    printf "\n  ],\n  \"runs\": [\n    %s\n  ]\n}\n", lines > json
  }' "$work/lines"
# The last round's samples through HdrHistogram: percentiles to the thousandth, beside the medians of the rounds.
swift build --package-path "$here" -c release >"$work/hdr.log" 2>&1 || { tail -5 "$work/hdr.log" >&2; exit 1; }
"$here/.build/release/percentiles" floor-depth-1 "$work/floor-1.samples" stile-depth-1 "$work/stile-1.samples" \
  floor-depth-64 "$work/floor-64.samples" stile-depth-64 "$work/stile-64.samples" | tee "$here/results/percentiles.jsonl"
echo "written to benchmarks/results/latest.json and percentiles.jsonl"
