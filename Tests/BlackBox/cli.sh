#!/usr/bin/env bash
# The real programs from outside: examples, certification cases, clear refusals.
#
#   cli.sh BINARIES
source "$(dirname "$0")/lib.sh"

for tenant in "$here"/policies/*/; do
  stile check "$tenant" >/dev/null || fail "check $tenant"
  stile test --min-coverage 100 "$tenant" >/dev/null || fail "test $tenant"
  stile fmt --check "$tenant" || fail "fmt $tenant"
  ok
done

# AuthZEN's certification cases that ask one question, offline on the fixture tenant, in order.
python=$(command -v python3 || true)
if [ -n "$python" ]; then
  "$python" - "$here/Tests/Fixtures/authzen-certification/cases.json" "$work" <<'PY'
import json, sys
cases = json.load(open(sys.argv[1]))["cases"]
with open(sys.argv[2] + "/ask", "w") as ask, open(sys.argv[2] + "/expected", "w") as expected:
    for case in cases:
        payload = case.get("payload")
        if case["status"] != [200] or not isinstance(payload, dict) or "search" in case["endpoint"]: continue
        items = payload.get("evaluations") or [{}]
        decisions = case.get("expected") or {}
        decisions = [d["decision"] for d in decisions.get("evaluations", [])] or ([decisions["decision"]] if "decision" in decisions else [])
        if len(decisions) != len(items): continue
        for item, decision in zip(items, decisions):
            request = {k: v for k, v in {**payload, **item}.items() if k not in ("evaluations", "options")}
            if not all(k in request for k in ("subject", "action", "resource")): continue
            ask.write(json.dumps(request) + "\n")
            expected.write(json.dumps(decision) + "\n")
PY
  stile ask "$here/policies/authzen-certification" <"$work/ask" | sed 's/^{"decision":\([a-z]*\).*/\1/' >"$work/found"
  # A batch whose second item has no resource is answered item by item over the socket, not here.
  cmp "$work/expected" "$work/found" || fail "certification cases"
  [ "$(wc -l <"$work/found")" -ge 18 ] || fail "only $(wc -l <"$work/found") certification questions"
  ok
fi

store=$work/store
stile tenant create acme --store "$store" >/dev/null
refuses 65 "exists already" stile tenant create acme --store "$store"
refuses 65 "no tenant id" stile tenant create Acme! --store "$store"
refuses 66 "no tenant \"ghost\"; there are: acme" stile load --store "$store" --tenant ghost /dev/null
refuses 66 "does not exist" stile load --store "$work/nowhere" --tenant acme /dev/null
refuses 66 "cannot read" stile check "$work/missing.stile"
refuses 64 "add --yes" stile tenant delete acme --store "$store"

mkdir "$work/bad"
cp "$here"/policies/ledger/*.stile "$work/bad"
sed -i 's/user.department == "Finance"/user.departmint == "Finance"/' "$work/bad/payroll.stile"
refuses 1 'did you mean `department`?' stile check "$work/bad"
refuses 1 '"code":"E0302"' stile check --json "$work/bad"
refuses 64 "exclude one another" stile check --json --format sarif "$work/bad"
# Reports keep their exit codes, and their paths start where the command runs.
(cd "$work" && refuses 1 '"uri": "bad/payroll.stile"' stile check --format sarif bad)
(cd "$here" && stile check --format sarif policies/ledger) >"$work/told"
grep -q '"uri": "policies/ledger/payroll.stile"' "$work/told" || fail "sarif"
[ "$(stile check --json "$here/policies/ledger" | cut -c 1-80)" = \
  '{"format":"stile-check/1","columns":"unicode scalars","valid":true,"errors":0,"w' ] || fail "check --json"
ok
refuses 65 "nothing was stored" stile policy push "$work/bad" --store "$store" --tenant acme
# What the solver proves to be never meant, and what a comparison says when it may not search.
mkdir "$work/hidden"
cp "$here"/policies/ledger/*.stile "$work/hidden"
cat >"$work/hidden/hidden.stile" <<'END'
policy "Hidden" {
  permit read on payrun to user when resource.total < 100
  forbid read on payrun as "small" to user when resource.total <= 500
}
END
# Into a file: `grep -q` ends at the first match, and a program that writes on after it would fail the pipe.
stile check "$work/hidden" >"$work/told"
grep -q 'W0005.*the forbid "Hidden/small" at .*hidden.stile:3 always beats it' "$work/told" ||
  fail "a permit hidden by a weaker forbid"
refuses 4 "the budget of 10 steps is used up" stile compare --budget 10 "$here/policies/ledger" "$work/hidden"
# Policies that check, but are above a limit of the compiler.
cp "$here"/policies/ledger/*.stile "$work/bad"
{
  echo 'policy "Deep" {'
  echo '  role r0 is user.department == "Finance"'
  for n in $(seq 64); do echo "  role r$n is role r$((n - 1))"; done
  echo '  permit read on payrun as "deep" to role r64'
  echo '}'
} >"$work/bad/deep.stile"
refuses 65 "nested 65 deep, above 64: let roles name their conditions directly; nothing was stored" \
  stile policy push "$work/bad" --store "$store" --tenant acme
[ -z "$(stile policy list --store "$store" --tenant acme)" ] || fail "a bad push left a version"
ok
stile policy push "$here/policies/ledger" --store "$store" --tenant acme >/dev/null

printf '%s\n' '{"device":{"id":"d1"}}' '{"signal":{"name":"user.risk","subject":{"type":"user","id":"a"},"value":"huge"}}' >"$work/lines"
refuses 65 "lines:2" stile load --store "$store" --tenant acme "$work/lines"
refuses 65 "enum(low < medium < high)" stile load --store "$store" --tenant acme "$work/lines"
printf '%s\n' '{"device":{"id":"d1"}' >"$work/lines"
refuses 65 "line 1, column" stile load --store "$store" --tenant acme "$work/lines"
printf '%s\n' '{"resource":{"type":"payrun","id":"x","id":"y"}}' >"$work/lines"
refuses 65 "stands twice" stile load --store "$store" --tenant acme "$work/lines"
big=$(head -c 300 /dev/zero | tr '\0' x)
printf '{"device":{"id":"%s"}}\n' "$big" >"$work/lines"
refuses 65 "above 256" stile load --store "$store" --tenant acme "$work/lines"
printf '%s\n' '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"a","members":[{"value":"b","type":"Group"}]}' \
  '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"b","members":[{"value":"a","type":"Group"}]}' >"$work/lines"
refuses 65 "already below it" stile load --store "$store" --tenant acme "$work/lines"
stile verify --store "$store" --tenant acme >/dev/null || fail "log and views disagree after refusals"
ok

# The layout: from standard input too; of several files the good ones are laid out, and the mistakes of all others told.
mkdir "$work/loose" "$work/bare"
printf 'policy "A" {\npermit read on doc\n}\n' >"$work/loose/a.stile"
printf 'policy "B" {\npermit read doc\n}\n' >"$work/loose/b.stile"
cp "$work/loose/b.stile" "$work/loose/c.stile"
stile fmt - <"$work/loose/a.stile" >"$work/out" || fail "fmt -"
grep -qx '  permit read on doc' "$work/out" || fail "fmt - gives $(cat "$work/out")"
grep -qx 'permit read on doc' "$work/loose/a.stile" || fail "fmt - has written a file"
[ ! -e - ] || fail "fmt - has made a file"
ok
refuses 1 "$work/loose/a.stile" stile fmt --check "$work/loose/a.stile"
refuses 65 "$work/loose/c.stile:2" stile fmt "$work/loose"
grep -qF "$work/loose/b.stile:2" "$work/out" || fail "the mistakes of one file alone are told"
grep -qx '  permit read on doc' "$work/loose/a.stile" || fail "the good file is not laid out"
refuses 65 '"result":"failed","diagnostics":[{"code":"E0101"' stile fmt --json "$work/loose"
grep -q '"result":"unchanged"}' "$work/out" || fail "what became of the good file is not said"
refuses 66 "holds no .stile files" stile fmt "$work/bare"
refuses 65 "has more than" stile check /dev/zero
refuses 64 "stands alone" stile fmt - "$work/loose/a.stile"
stile explain --json W0004 | grep -q '"kind":"warning"' || fail "explain --json"
refuses 64 "no code W9999" stile explain W9999
refuses 65 "write TYPE:ID" stile what "$here/policies/ledger" ada

# A new catalog: what it breaks is told before it is accepted, and refused where stored values do not fit.
mkdir "$work/next"
cp "$here"/policies/ledger/*.stile "$work/next"
stile catalog diff "$here/policies/ledger" "$work/next" | grep -q "no word of the catalog changes" || fail "catalog diff"
sed -i 's/version 1.0.0/version 1.1.0/; s/context { ip: ipaddr? }/context { ip: ipaddr? channel: string? }/' "$work/next/catalog.stile"
stile catalog diff "$here/policies/ledger" "$work/next" | grep -q "1 changes, 0 of them breaking" || fail "a compatible change"
stile load --store "$store" --tenant acme "$here"/policies/ledger/data/*.jsonl >/dev/null
stile catalog diff --store "$store" --tenant acme "$here/policies/ledger" "$work/next/catalog.stile" | grep -q "all fit" || fail "stored values"
ok
sed -i 's/enum(employee, contractor, vendor)/enum(permanent, contractor, vendor)/' "$work/next/catalog.stile"
refuses 1 'breaking   C0208  `user.employment` is never `employee` any more' \
  stile catalog diff "$here/policies/ledger" "$work/next"
refuses 1 'E0313' stile catalog diff --policies "$here/policies/ledger" "$here/policies/ledger" "$work/next"
refuses 1 'user "ada": attribute "employment" needs enum(permanent, contractor, vendor), found "employee"' \
  stile catalog diff --store "$store" --tenant acme "$here/policies/ledger" "$work/next"
refuses 1 '"kind":"value_does_not_fit","type":"user","attribute":"employment","count":' \
  stile catalog diff --json --examples 1 --store "$store" --tenant acme "$here/policies/ledger" "$work/next"
refuses 64 "come together" stile catalog diff --tenant acme "$here/policies/ledger" "$work/next"
refuses 65 "no catalog that can be read" stile catalog diff "$here/policies/ledger/payroll.stile" "$work/next"
sed -i 's/user.employment != employee/user.employment != permanent/; s/employment employee/employment permanent/' "$work/next/payroll.stile"
versions=$(stile policy list --store "$store" --tenant acme | wc -l)
refuses 65 'user "ada": attribute "employment" needs' stile policy push "$work/next" --store "$store" --tenant acme
refuses 65 'breaking   C0208' stile policy push "$work/next" --store "$store" --tenant acme
[ "$(stile policy list --store "$store" --tenant acme | wc -l)" = "$versions" ] || fail "a push that does not fit left a version"
stile explain C0208 | grep -q "breaking change" || fail "explain C0208"
ok

# A full map: nothing of the batch is kept, what was there stays readable.
stile tenant create tiny --store "$store" >/dev/null
stile policy push "$here/policies/ledger" --store "$store" --tenant tiny >/dev/null
for n in $(seq 1 5000); do printf '{"device":{"id":"device-%d","properties":{}}}\n' "$n"; done >"$work/lines"
refuses 70 "larger --map-size" stile load --store "$store" --tenant tiny --map-size 1 --batch 5000 "$work/lines"
stile verify --store "$store" --tenant tiny >/dev/null || fail "a full map broke the store"
stile load --store "$store" --tenant tiny "$work/lines" >/dev/null || fail "a larger map does not help"
ok

refuses 73 "cannot listen" "$binaries/stiled" --store "$store" --socket "$work/no/such/folder.sock"
refuses 66 "does not exist" "$binaries/stiled" --store "$work/nowhere" --socket "$work/s"
refuses 69 "cannot connect" stile status --socket "$work/none.sock" --tenant acme

# A daemon started through socket activation where systemd's tool is at hand.
socket=$work/decision.sock
if command -v systemd-socket-activate >/dev/null; then
  systemd-socket-activate -l "$socket" --fdname=stiled "$binaries/stiled" --store "$store" --reactors 1 2>"$work/log" &
  started
  await test -S "$socket" || fail "no socket"
else
  serve "$store" "$socket" "$work/log"
fi
server=$process
stile load --store "$store" --tenant acme "$here"/policies/ledger/data/*.jsonl >/dev/null
question='{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"},"session":"s-bob"}'
stile ask --socket "$socket" --tenant acme "$question" | grep -q PERMIT || fail "no permit over the socket"
ok
# Of many lines the one that is none is named; those before it are answered.
status=0
printf '%s\n' "$question" nonsense | stile ask --socket "$socket" --tenant acme >"$work/out" 2>&1 || status=$?
[ "$status" = 65 ] && grep -q '"decision":true' "$work/out" && grep -q "stile: line 2, column 1: " "$work/out" || fail "a line that is none"
ok
refuses 69 "tenant_unknown" stile status --socket "$socket" --tenant ghost
refuses 3 "unknown_subject" stile ask --json --socket "$socket" --tenant acme \
  '{"subject":{"type":"user","id":"nobody"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"}}'
refuses 3 "unknown_session" stile ask --json --socket "$socket" --tenant acme "${question/s-bob/s-none}"
# A session that another subject opened proves nothing.
refuses 3 "session_of_another" stile ask --json --socket "$socket" --tenant acme "${question//s-bob/s-ada}"
# Another user of the system is refused until allowed; the policy is asked under the peer's own credentials.
if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
  cp "$binaries/stile" "$work/stile"
  chmod 755 "$work" "$work/stile"
  chmod 666 "$socket"
  as_nobody() { setpriv --reuid nobody --clear-groups "$work/stile" "$@"; }
  refuses 69 "not_allowed" as_nobody status --socket "$socket" --tenant acme
  stile tenant allow acme "$(id -u nobody)" --store "$store" >/dev/null
  sleep 1
  as_nobody status --socket "$socket" --tenant acme | grep -q "ready" || fail "an allowed user is refused"
  ok
fi
# A version that decides, and back.
stile policy push "$here/policies/ledger" --store "$store" --tenant acme --socket "$socket" | grep -q "version 2 decides" || fail "push"
stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" | grep -q "version 1 decides" || fail "rollback"
ok
stop "$server"
ok
echo "$passed passed, 0 failed"
