#!/usr/bin/env bash
# What `make demo` shows: a throw-away store, a running daemon, questions, live changes, latency beside the floor.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
binaries=$1
work=$(mktemp -d)
server=""
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; }
  rm -rf "$work"
}
trap finish EXIT
stile() { "$binaries/stile" "$@"; }
say() { printf '\n== %s\n' "$*"; }

say "A throw-away store with the tenant of policies/ledger"
stile tenant create ledger --store "$work/store"
stile policy push "$here/policies/ledger" --store "$work/store" --tenant ledger --message "demo"
stile load --store "$work/store" --tenant ledger "$here"/policies/ledger/data/*.jsonl

say "The daemon"
"$binaries/stiled" --store "$work/store" --socket "$work/decision.sock" --reactors 1 &
server=$!
for _ in $(seq 200); do [ -S "$work/decision.sock" ] && break; sleep 0.05; done

ask() { # question; deny and step-up are answers here, not failures
  stile ask --socket "$work/decision.sock" --tenant ledger "$1" || [ $? -le 2 ]
}
approve='"action":{"name":"approve"},"resource":{"type":"payrun","id":"2026-11","properties":{"total":90000,"status":"draft","created_by":"bob"}}'
say "Ada, head of finance, signed in two minutes ago with a second factor: may she approve the payrun?"
ada='{"subject":{"type":"user","id":"ada"},'$approve',"session":"s-ada"}'
ask "$ada"
say "Cho, a contractor in the same group"
ask '{"subject":{"type":"user","id":"cho"},'$approve',"device":"laptop-1"}'
say "Ada again, from a session two hours old"
ask '{"subject":{"type":"user","id":"ada"},'$approve',"session":"s-ada-old"}'

say "Her identity provider reports a high risk (the daemon runs on)"
echo '{"signal":{"name":"user.risk","subject":{"type":"user","id":"ada"},"value":"high"}}' |
  stile load --store "$work/store" --tenant ledger
ask "$ada"
say "She leaves the company: SCIM says active=false"
echo '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"ada","userName":"ada@example.com","active":false}' |
  stile load --store "$work/store" --tenant ledger
ask "$ada"

kill "$server"
wait "$server"
server=""
say "Latency"
bash "$here/benchmarks/run.sh" "$binaries" demo
