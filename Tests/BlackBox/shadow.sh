#!/usr/bin/env bash
# A candidate beside the live version, from outside: started, compared, shown, kept over restarts, withdrawn.
#
#   shadow.sh BINARIES
source "$(dirname "$0")/lib.sh"
ledger=$here/policies/ledger
store=$work/store socket=$work/decision.sock
stile tenant create acme --store "$store" >/dev/null
stile policy push "$ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$ledger"/data/*.jsonl >/dev/null
begin() {
  serve "$store" "$socket" "$work/log" "$@"
  server=$process
}
shadow() { local verb=$1; shift; stile shadow "$verb" acme --store "$store" "$@"; }
figure() { shadow status --json | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
compared() { [ "$(figure compared)" = "$1" ]; }
# read N TOTAL: bob reads a payrun N times, N questions that the candidate denies when the total is above 1000.
read_payruns() {
  for _ in $(seq "$1"); do
    echo '{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p","properties":{"total":'"$2"',"pin":"s3cret"}},"session":"s-bob"}'
  done | stile ask --json --socket "$socket" --tenant acme
}

refuses 66 "has no candidate" stile shadow status acme --store "$store"
refuses 66 "has no candidate" stile shadow stop acme --store "$store"
refuses 65 "decides already" stile shadow start acme 1 --store "$store"
refuses 66 "no version 9" stile shadow start acme 9 --store "$store"
mkdir "$work/broken" "$work/next"
echo 'policy "P" { permit read on nowhere }' >"$work/broken/p.stile"
cp "$ledger/catalog.stile" "$work/broken"
refuses 65 "policies_rejected" stile shadow start acme "$work/broken" --store "$store"
refuses 66 "has no candidate" stile shadow status acme --store "$store"
ok "a candidate that does not compile, decides already or is not there is refused"

cp "$ledger"/*.stile "$work/next"
cat >"$work/next/freeze.stile" <<'POLICY'
policy "Freeze" {
  forbid read on payrun as "dear" when resource.total > 1000 because "Dear payruns are frozen."
}
POLICY
begin
read_payruns 5 5000 >/dev/null
shadow start "$work/next" | grep -q 'version 2 decides beside' || fail "start"
await grep -q . <(shadow status) || fail "status"
# The daemon has it once it has written its first figures.
await compared 0 || fail "the daemon does not know of the candidate: $(shadow status)"
read_payruns 150 5000 >"$work/answers"
read_payruns 250 10 >>"$work/answers"
await compared 400 || fail "not all were compared: $(shadow status)"
[ "$(grep -c '"decision":true' "$work/answers")" = 400 ] || fail "the candidate had a say"
[ "$(figure different)" = 150 ] && [ "$(figure same)" = 250 ] || fail "counts: $(shadow status)"
ok "every question is compared, differences are exact in number, and no answer is another one"

refuses 1 "150 × permit by Payroll/read  →  deny by Freeze/dear" stile shadow differences acme --store "$store"
grep -q 'forbid Freeze/dear, freeze.stile:2: matches' "$work/out" || { cat "$work/out"; fail "no explanation"; }
status=0
shadow differences --json >"$work/differences" || status=$?
[ "$status" = 1 ] || fail "differences --json ended with $status"
id=$(sed -n 's/.*"decision_id":"\([0-9a-f]*\)".*/\1/p' "$work/differences")
grep -q "\"evaluation_id\":\"$id\"" "$work/answers" || fail "a sample is no decision that was given"
await stile why --store "$store" --tenant acme "$id" >"$work/why" || fail "a sample's decision cannot be explained"
! grep -rq s3cret "$store/tenants/acme/shadow" || fail "an undeclared property is in a sample"
ok "differences are told by kind, with samples that link to the log, their explanation, and nothing that is masked"

stop "$server"
begin
await compared 400 || fail "a restart has lost the figures: $(shadow status)"
read_payruns 10 5000 >/dev/null
await compared 410 || fail "a restart has lost the candidate: $(shadow status)"
kill -9 "$server"
ended "$server" 2>/dev/null || true
rm -f "$socket"
begin
read_payruns 10 5000 >/dev/null
await compared 420 || fail "a killed daemon has lost more than its last moment: $(shadow status)"
[ "$(figure different)" = 170 ] || fail "counts after restarts: $(shadow status)"
ok "a restart keeps the candidate and its figures; so does a daemon that is killed"

shadow stop | grep -q 'version 2 is no candidate' || fail "stop"
await test -z "$(shadow status --json | grep '"candidate":{')" || fail "it still is the candidate"
sleep 0.2
read_payruns 10 5000 >/dev/null
sleep 1.2
[ "$(figure compared)" = 420 ] || fail "a withdrawn candidate goes on comparing: $(shadow status)"
shadow status | grep -q 'no candidate; the last one was version 2' || fail "the last figures are gone"
shadow start 2 >/dev/null
await compared 0 || fail "a new candidacy does not begin at nothing: $(shadow status)"
stile policy rollback 2 --store "$store" --tenant acme --socket "$socket" >/dev/null
shadow status | grep -q 'no candidate' || fail "an activated version is a candidate still"
[ "$(read_payruns 1 5000 | grep -c '"decision":false')" = 1 ] || fail "the activated candidate does not decide"
stop "$server"
ok "a candidate is withdrawn, begins anew, and ends by being activated"
echo "$passed passed, 0 failed"
