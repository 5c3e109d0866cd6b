#!/usr/bin/env bash
# Floor and Stile in one run: makes the tenants, builds the harness, measures, writes benchmarks/results.
#
#   run.sh BINARIES [demo]
#
# BINARIES holds stile and stiled; libstile.a is beside them in libstile. "demo" is the short form of `make demo`.
# Environment: QUICK=1 takes about a minute instead of five; PEERS=1 measures other engines too; PROCESSOR is the
# server's, by default the last. The tenants are kept in benchmarks/out, by what makes them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
binaries=$(cd "$1" && pwd)
mode=${2:-bench}
client=$top/.build/libstile
tools=$here/out/tools
processor=${PROCESSOR:-$(( $(nproc) - 1 ))}
mkdir -p "$tools"
cc -O2 -Wall -Wextra -o "$tools/echo" "$here/floor/echo.c"
cc -O2 -Wall -Wextra -I"$top/Sources/CStile/include" -o "$tools/load" "$here/load/load.c" "$client/libstile.a" -pthread
cc -std=gnu11 -O2 -Wall -Wextra -shared -fPIC -o "$tools/count.so" "$here/count/count.c"

# make_store DIRECTORY USERS RULES [SHAPE…]: a store with the tenant "bench"; its shape as tenant.sh takes it.
make_store() {
  local made=$1.new
  rm -rf "$made" "$made.tenant"
  bash "$here/tenant.sh" "$made.tenant" "${@:2}"
  "$binaries/stile" tenant create bench --store "$made" >/dev/null
  "$binaries/stile" policy push "$made.tenant/policies" --store "$made" --tenant bench >/dev/null
  "$binaries/stile" load --store "$made" --tenant bench --batch 10000 "$made.tenant/data.jsonl" >/dev/null
  rm -rf "$made.tenant"
  mv "$made" "$1"
}
# with_rules STORE DIRECTORY RULES [SHAPE…]: a copy of a store with other policies.
with_rules() {
  rm -rf "$2.new" "$2.tenant"
  cp -r "$1" "$2.new"
  bash "$here/tenant.sh" "$2.tenant" 1 "${@:3}"
  "$binaries/stile" policy push "$2.tenant/policies" --store "$2.new" --tenant bench >/dev/null
  rm -rf "$2.tenant"
  mv "$2.new" "$2"
}

if [ "$mode" = demo ]; then
  work=$(mktemp -d)
  server="" floor=""
  finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$floor" ] || kill "$floor" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
  }
  trap finish EXIT
  make_store "$work/store" 2000 200
  "$binaries/stiled" --store "$work/store" --socket "$work/stile.sock" --reactors 1 --pin "$processor" 2>"$work/log" &
  server=$!
  for _ in $(seq 200); do [ -S "$work/stile.sock" ] && break; sleep 0.05; done
  "$tools/load" --socket "$work/stile.sock" --users 2000 --record "$work/answers"
  "$tools/echo" "$work/floor.sock" "$work/answers" "$processor" &
  floor=$!
  for _ in $(seq 200); do [ -S "$work/floor.sock" ] && break; sleep 0.05; done
  echo "One question at a time, client and server on one processor; 2000 users, 200 rules, random subjects."
  echo "The floor, a plain C server that gives the same answers and decides nothing:"
  "$tools/load" --name floor --socket "$work/floor.sock" --users 2000 --processor "$processor" --histogram
  echo "Stile:"
  "$tools/load" --name stile --socket "$work/stile.sock" --users 2000 --processor "$processor" --histogram
  exit 0
fi

# A store is kept as long as nothing that makes it changes.
key=$(cat "$here/tenant.sh" "$top"/Sources/AttributeStore/*.swift "$top"/Sources/DecisionEngine/Record*.swift | sha256sum | cut -c1-12)
stores=$here/out/stores-$key
for old in "$here"/out/stores-*; do [ "$old" = "$stores" ] || rm -rf "$old"; done
mkdir -p "$stores"
counts="10000 100000 1000000"
# The short form takes the million along when it is there.
[ -z "${QUICK:-}" ] || [ -d "$stores/users-1000000-rules-10000" ] || counts="10000 100000"
for users in $counts; do
  [ -d "$stores/users-$users" ] || { echo "Making a tenant of $users users"; make_store "$stores/users-$users" "$users" 200; }
done
# Of a shape in which a hundred rules are of as many kinds as ten thousand.
shape="4 3 1000 1000"
# shellcheck disable=SC2086
[ -d "$stores/rules-200" ] || make_store "$stores/rules-200" 100000 200 $shape
for rules in 100 1000 10000; do
  # shellcheck disable=SC2086
  [ -d "$stores/rules-$rules" ] || with_rules "$stores/rules-200" "$stores/rules-$rules" "$rules" $shape
done
if [ ! -d "$stores/users-100000-sealed" ]; then
  rm -rf "$stores/sealing"
  cp -r "$stores/users-100000" "$stores/sealing"
  "$binaries/stile" tenant seal bench --store "$stores/sealing" >/dev/null
  mv "$stores/sealing" "$stores/users-100000-sealed"
fi
if [ -d "$stores/users-1000000" ] && [ ! -d "$stores/users-1000000-rules-10000" ]; then
  with_rules "$stores/users-1000000" "$stores/users-1000000-rules-10000" 10000
fi

echo "Building the harness"
swift build --package-path "$here" -c release --product bench >"$here/out/build.log" 2>&1 ||
  { tail -20 "$here/out/build.log" >&2; exit 1; }
if [ -n "${PEERS:-}" ]; then
  python=$here/.venv/bin/python3
  [ -x "$python" ] && [ -x "$binaries/engine-bench" ] ||
    { echo "PEERS=1 needs engine-bench and benchmarks/.venv with Cedar and regorus: PEERS=1 make bench makes them" >&2; exit 69; }
  echo "Cedar and Rego, in process and behind a Unix socket (a tenant of 100000 users, 200 rules)"
  peers=$(mktemp -d)
  trap 'rm -rf "$peers"' EXIT
  "$binaries/engine-bench" export "$peers" >/dev/null
  taskset -c "$processor" "$python" "$here/peers.py" "$peers" --requests "$([ -n "${QUICK:-}" ] && echo 1000 || echo 4000)" --results "$peers/results"
  export PEERS_RESULTS=$peers/results
fi
commit=$(git -C "$top" rev-parse --short HEAD 2>/dev/null || echo unknown)
git -C "$top" diff --quiet HEAD 2>/dev/null || commit="$commit, changed"
mkdir -p "$here/results"
"$here/.build/release/bench" run "$binaries" "$tools" "$stores" "$here/results" "$commit"
echo "written to benchmarks/results"
