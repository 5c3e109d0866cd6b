#!/usr/bin/env bash
# The log of decisions from outside: what an operator reads, a daemon that is killed, a log that somebody has changed.
#
#   log.sh BINARIES
source "$(dirname "$0")/lib.sh"
ledger=$here/policies/ledger
store=$work/store socket=$work/decision.sock log=$work/store/tenants/acme/log
stile tenant create acme --store "$store" >/dev/null
stile policy push "$ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$ledger"/data/*.jsonl >/dev/null
# Rings of a killed process outlive it only in memory.
rings=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$rings"; finish' EXIT
read_question='{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"},"session":"s-bob"}'
# begin OPTIONS…: a daemon with a log; its id is in $server.
begin() {
  "$binaries/stiled" --store "$store" --socket "$socket" --reactors 2 --log-ring-dir "$rings" "$@" 2>"$work/log" &
  started
  server=$process
  await test -S "$socket" || { cat "$work/log" >&2; fail "the daemon made no socket"; }
}
ask() { stile ask --json --socket "$socket" --tenant acme "$@" || true; }
show() { stile log show --store "$store" --tenant acme "$@"; }
verify() { stile log verify --store "$store" --tenant acme "$@"; }
logged() { [ "$(show --json | wc -l)" = "$1" ]; }

begin
ask "$read_question" >"$work/answer"
ask "${read_question/bob/nobody}" >/dev/null
ask "${read_question/read/fly}" >/dev/null
await logged 3 || fail "three decisions are not in the log"
id=$(sed -n 's/.*"evaluation_id":"\([0-9a-f]*\)".*/\1/p' "$work/answer")
show --decision "$id" | grep -q 'permit .*user:bob  read  payrun:p  by Payroll/read' || fail "show"
[ "$(show --outcome error --json | wc -l)" = 2 ] || fail "errors"
[ "$(show --rule read --subject user:bob --since 1h --json | wc -l)" = 1 ] || fail "filters"
[ "$(show --until 1h --json | wc -l)" = 0 ] || fail "until"
show --format ocsf --decision "$id" | grep -q '"class_uid":6003.*"decision":"permit"' || fail "ocsf"
ok "decisions are shown by id, outcome, rule, subject and time, as text, JSON and OCSF"

# Explained later: by the version and the values of then, though both are others now.
explain() { stile why --store "$store" --tenant acme "$@"; }
await logged 3
explain "$id" >"$work/why" || fail "a logged permit is explained with another code"
words() { tr '\n' ' ' <"$work/why" | tr -s ' '; }
[[ $(words) = PERMIT*"the same answer"*"Nothing of it has changed since"* ]] ||
  { cat "$work/why" >&2; fail "why of a decision"; }
echo '{"delete":{"type":"user","id":"bob"}}' | stile load --store "$store" --tenant acme >/dev/null
mkdir "$work/later"
cp "$ledger"/*.stile "$work/later"
sed -i 's/^catalog "ledger" version [0-9.]*/catalog "ledger" version 9.9.9/' "$work/later"/*.stile
stile policy push "$work/later" --store "$store" --tenant acme >/dev/null
explain "$id" >"$work/why" || fail "a decision is not decided again as it was"
[[ $(words) = *"the same answer"*"Changed since: the subject (1×"*"Version 2 decides now"* ]] ||
  { cat "$work/why" >&2; fail "what has changed since is not told"; }
status=0
explain --json "$id" >"$work/why" || status=$?
[ "$status" = 0 ] && grep -q '"agrees":true.*"changed_since":\[{"part":"subject".*"candidates":\[' "$work/why" || fail "why as JSON"
denied=$(show --outcome error --json | sed -n '1s/.*"decision_id":"\([0-9a-f]*\)".*/\1/p')
status=0
explain "$denied" >"$work/why" || status=$?
[ "$status" = 3 ] && grep -q 'the same answer' "$work/why" || { cat "$work/why" >&2; fail "why of an error ($status)"; }
refuses 66 "decision_unknown" stile why --store "$store" --tenant acme 00000000000000000000000000000000
refuses 66 "log_missing" stile why --store "$store" --tenant acme --log-dir "$work/nowhere" "$id"
refuses 66 "tenant_unknown" stile why --store "$store" --tenant nobody "$id"
refuses 64 "needs --store" stile why --socket "$socket" --tenant acme "$id"
stile policy rollback 1 --store "$store" --tenant acme >/dev/null
grep '"bob"' "$ledger"/data/*.jsonl -h | stile load --store "$store" --tenant acme >/dev/null
ok "a decision's id is explained by the version that made it, on the values of then, with what has changed since"

# The program itself, so that the kill hits it.
"$binaries/stile" log follow --store "$store" --tenant acme --json >"$work/followed" &
started
following=$process
sleep 0.5
ask "$read_question" >/dev/null
await grep -q '"outcome":"permit"' "$work/followed" || fail "follow"
kill "$following"
ended "$following" 2>/dev/null || true
stile status --socket "$socket" --tenant acme | grep -q 'decision log: every; 0 decisions lost' || fail "status"
ok "decisions are followed as they are made; the status tells what is logged and lost"

kill -HUP "$server"
await test -e "$log/lane-0/0000000001.log.zst" || fail "no compressed segment"
ask "$read_question" >/dev/null
await logged 5 || fail "a compressed segment is not read"
stop "$server"
verify | grep -q '^5 decisions, 0 lost.*as they were written' || fail "verify"
ok "SIGHUP ends a segment, which is compressed and read like any other"

for _ in $(seq 20000); do echo "$read_question"; done >"$work/questions"
# Killed under load: every answer that the client has got is in the log, and nothing is there twice.
for round in $(seq "${KILLS:-3}"); do
  begin
  "$binaries/stile" ask --socket "$socket" --tenant acme <"$work/questions" >"$work/answers" &
  started
  asking=$process
  sleep "0.$((RANDOM % 5 + 3))"
  kill -9 "$server"
  ended "$server" 2>/dev/null || true
  kill "$asking" 2>/dev/null || true
  ended "$asking" 2>/dev/null || true
  rm -f "$socket"
  begin
  ask "$read_question" >/dev/null
  stop "$server"
  sed -n 's/.*"evaluation_id":"\([0-9a-f]*\)".*/\1/p' "$work/answers" | sort >"$work/answered"
  show --json | sed -n 's/.*"decision_id":"\([0-9a-f]*\)".*/\1/p' | sort >"$work/logged"
  [ -s "$work/answered" ] || fail "nothing was answered before the kill"
  [ -z "$(uniq -d "$work/logged")" ] || fail "a decision is logged twice"
  lost=$(comm -23 "$work/answered" "$work/logged" | wc -l)
  [ "$lost" = 0 ] || fail "round $round: $lost of $(wc -l <"$work/answered") answered decisions are not in the log"
  verify >"$work/out" || { cat "$work/out" >&2; fail "the log of a killed daemon does not verify"; }
  [ -z "$(ls "$rings")" ] || fail "rings are left"
done
ok "a daemon that is killed under load loses nothing that it has answered, and the log verifies"

# Changed by hand: the last byte of a sealed record, then a segment taken away.
chain=$(verify --json | sed -n 's/.*"chain":"\([0-9a-f]*\)".*/\1/p')
verify --seen "$chain" >/dev/null || fail "the chain's own hash is not known"
newest=$(ls "$log"/lane-0/*.log | tail -1)
cp "$newest" "$work/kept"
printf '\xff' | dd of="$newest" bs=1 seek=200 conv=notrunc status=none
refuses 1 "changed_bytes" stile log verify --store "$store" --tenant acme
cp "$work/kept" "$newest"
mv "$log/lane-0/0000000001.log.zst" "$work/taken"
refuses 1 "segment 1 is missing" stile log verify --store "$store" --tenant acme
mv "$work/taken" "$log/lane-0/0000000001.log.zst"
verify >/dev/null || fail "put back, it does not verify"
refuses 1 "unknown_hash" stile log verify --store "$store" --tenant acme --seen "${chain/?/x}"
ok "a changed byte, a segment taken away and a rewritten chain are found and named"

begin --log off
ask "$read_question" >/dev/null
stile status --socket "$socket" --tenant acme | grep -q 'decision log: off; 0 decisions lost' || fail "status of no log"
stop "$server"
refuses 64 "write every, sampled:N" "$binaries/stiled" --store "$store" --socket "$socket" --log sometimes
refuses 66 "no decision log at" stile log show --store "$store" --tenant other
stile tenant delete acme --store "$store" --yes >/dev/null
[ ! -e "$store/tenants/acme" ] || fail "a deleted tenant's log is left"
ok "the log can be turned off; a tenant's log goes with the tenant"
echo "$passed passed, 0 failed"
