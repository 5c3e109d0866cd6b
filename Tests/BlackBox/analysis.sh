#!/usr/bin/env bash
# What `stile test` and `stile why` tell: reports in each form, the bar of coverage, explanations word for word
# (Tests/BlackBox/Why; STILE_RECORD=1 writes them anew: read the difference as the person who was denied would).
#
#   analysis.sh BINARIES
source "$(dirname "$0")/lib.sh"
export NO_COLOR=1
golden=$here/Tests/BlackBox/Why

# --- stile test: forms and exit codes -----------------------------------------------------------------------------

fixture=$here/Tests/PolicyTestingTests/Reports/loans.stile
status() {
  local code=0
  "$@" >"$work/out" 2>&1 || code=$?
  echo "$code"
}
[ "$(status stile test "$fixture")" = 1 ] || fail "failed tests end with 1"
[ "$(status stile test "$here/policies/ledger" --min-coverage 100)" = 0 ] || fail "a covered tenant ends with 0"
sed '/^test "a long loan/,/^}/d; /^test "the hall/,/^}/d' "$fixture" >"$work/loans.stile"
[ "$(status stile test "$work/loans.stile")" = 0 ] || fail "without a bar coverage does not matter"
[ "$(status stile test "$work/loans.stile" --min-coverage 100)" = 5 ] || fail "below the bar ends with 5"
grep -q "below the bar of 100 %" "$work/out" || fail "the bar is not told of"
ok "exit codes of stile test"

python3 - "$binaries/stile" "$fixture" "$work" <<'PY'
import json, re, subprocess, sys, xml.etree.ElementTree as ET
stile, fixture, work = sys.argv[1:]
def run(*arguments):
    return subprocess.run([stile, "test", *arguments], capture_output=True, text=True)
# JUnit: well formed, sums that add up, each failure with what was expected and found.
for folder in [fixture, "policies/ledger", "policies/step-up"]:
    out = run(folder, "--format", "junit", "--min-coverage", "90").stdout
    root = ET.fromstring(out)
    assert root.tag == "testsuites"
    cases = root.findall("./testsuite/testcase")
    assert int(root.get("tests")) == len(cases) > 0
    assert int(root.get("failures")) == len(root.findall("./testsuite/testcase/failure"))
    for suite in root:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    for case in cases:
        float(case.get("time"))
        assert case.get("classname") and case.get("name")
        for failure in case.findall("failure"):
            assert failure.get("message") and failure.text.strip()
            if failure.get("type") == "expectation":
                assert "expected:" in failure.text and "found:" in failure.text
                assert re.search(r"\.stile:\d+", failure.text)
names = [case.get("name") for case in ET.fromstring(run(fixture, "--format", "junit").stdout).iter("testcase")]
assert "a librarian lends <for a month> & no longer #1" in names and 'a password "alone" does not do' in names
# TAP: version, plan, points in order, blocks of YAML closed.
tap = run(fixture, "--format", "tap", "--min-coverage", "90").stdout.splitlines()
assert tap[0] == "TAP version 14"
count = int(tap[1].removeprefix("1.."))
points = [re.fullmatch(r"(not )?ok (\d+) - (.*)", line) for line in tap]
points = [point for point in points if point]
assert [int(point[2]) for point in points] == list(range(1, count + 1))
assert not any(re.search(r"(?<!\\)#", point[3]) for point in points), "an open # would begin a directive"
assert tap.count("  ---") == tap.count("  ...") == sum(1 for point in points if point[1])
# JSON Lines, to a file; what goes to the terminal stays for people.
done = run(fixture, "--format", "json", "--output", work + "/report.json")
assert "passed" in done.stdout and not done.stdout.startswith("{")
lines = [json.loads(line) for line in open(work + "/report.json")]
assert lines[-1]["failed"] == sum(1 for line in lines[:-1] if not line["passed"])
assert all({"condition", "of", "never", "file", "line", "column"} <= c.keys() for c in lines[-1]["uncovered_conditions"])
PY
ok "JUnit, TAP and JSON can be read by others"

# --- the tenant's bar ---------------------------------------------------------------------------------------------

store=$work/store
stile tenant create town --store "$store" >/dev/null
mkdir "$work/town" && cp "$work/loans.stile" "$work/town"
stile policy push "$work/town" --store "$store" --tenant town >/dev/null || fail "a version without a bar"
stile tenant limit town min-coverage=90 --store "$store" | grep -q "min-coverage  90" || fail "the bar is not set"
refuses 5 "this tenant asks for 90 % of each; nothing was stored" \
  stile policy push "$work/town" --store "$store" --tenant town
refuses 64 "min-coverage must be from 0 to 100" stile tenant limit town min-coverage=101 --store "$store"
cp "$fixture" "$work/town/loans.stile"
refuses 1 "2 of 4 tests failed; nothing was stored" stile policy push "$work/town" --store "$store" --tenant town
stile tenant limit town min-coverage=none --store "$store" | grep -q "min-coverage  none" || fail "the bar stays"
[ "$(stile policy list --store "$store" --tenant town | wc -l)" = 1 ] || fail "a refused version was stored"
stile tenant create payroll --store "$store" --min-coverage 100 >/dev/null
stile policy push "$here/policies/ledger" --store "$store" --tenant payroll >/dev/null || fail "a version above the bar"
ok "a version below the tenant's bar is refused"

# --- stile why ----------------------------------------------------------------------------------------------------

mkdir "$work/ledger"
cp -r "$here"/policies/ledger/. "$work/ledger"
printf '%s\n' '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"dan","userName":"dan@example.com","active":false,"userType":"employee"}' \
  >"$work/ledger/data/former.jsonl"

question() {  # SUBJECT ACTION SESSION RESOURCE-PROPERTIES
  local session=""
  [ "$3" = - ] || session=",\"session\":\"$3\""
  printf '{"subject":{"type":"user","id":"%s"},"action":{"name":"%s"},"resource":{"type":"payrun","id":"p1","properties":%s}%s}' \
    "$1" "$2" "$4" "$session"
}
# What differs from run to run.
stable() {
  sed -E -e 's/snapshot [0-9]+, id .*/snapshot …/' -e 's/[0-9][0-9hmsd]* ago/… ago/g' \
    -e 's/holds until .*/holds until …/' -e 's/20[0-9]{2}-[0-9-]+T[0-9:.]+Z/DATE/g'
}
explains() {  # NAME CODE FOLDER QUESTION
  local code=0
  stile why "$3" "$4" >"$work/why" || code=$?
  [ "$code" = "$2" ] || { cat "$work/why" >&2; fail "$1 ends with $code, not $2"; }
  stable <"$work/why" >"$work/why.stable"
  if [ "${STILE_RECORD:-}" = 1 ]; then cp "$work/why.stable" "$golden/$1.expected"; fi
  diff "$golden/$1.expected" "$work/why.stable" >&2 || fail "stile why of $1 reads otherwise"
  python3 - "$work/why" <<'PY'
import sys
for line in open(sys.argv[1]):
    assert len(line.rstrip("\n")) <= 80, f"wider than 80 columns: {line}"
PY
  # The JSON form says the same; each suggestion is a test that passes.
  stile why "$3" "$4" --json >"$work/why.json" || true
  cp "$3"/*.stile "$work/checked/"
  python3 - "$work/why.json" "$work/checked/suggestions.stile" <<'PY'
import json, sys
why = json.load(open(sys.argv[1]))
assert why["answer"]["context"]["kind"]
with open(sys.argv[2], "w") as out:
    for number, suggestion in enumerate(why.get("changes", [])):
        assert suggestion["changes"]
        out.write(suggestion["test"].replace("after the change", f"after change {number}") + "\n")
for candidate in why.get("candidates", []):
    assert candidate["file"] and candidate["line"] > 0
    assert candidate["matches"] or candidate["failed"]
    for failed in candidate["failed"]:
        assert failed["condition"] and failed["column"] > 0 and failed["text"]
PY
  stile test "$work/checked" >"$work/out" || { grep -A3 FAIL "$work/out" >&2; fail "a suggestion of $1 does not permit"; }
  rm "$work/checked"/*
  ok
}
mkdir "$work/checked"
draft='{"total":500,"created_by":"bob","status":"draft"}'
explains permit 0 "$work/ledger" "$(question ada read s-ada '{}')"
explains forbidden 1 "$work/ledger" "$(question cho approve - "$draft")"
explains nothing-permits 1 "$work/ledger" "$(question bob approve s-bob "$draft")"
explains two-changes 1 "$work/ledger" "$(question ada approve s-ada '{"total":300000,"created_by":"ada","status":"draft"}')"
explains step-up 2 "$work/ledger" "$(question ada approve s-ada-old "$draft")"
explains error 3 "$work/ledger" "$(question ada approve s-ada '{"created_by":"bob","status":"draft"}')"
explains malformed 3 "$work/ledger" "$(question ada approve s-ada '{"total":"much","created_by":"bob","status":"draft"}')"
explains inactive 1 "$work/ledger" "$(question dan read - '{}')"
explains unknown-subject 3 "$work/ledger" "$(question eve read - '{}')"
ok "explanations read as they were found good"

# The same from a store, line by line, and over a socket.
stile load --store "$store" --tenant payroll "$work"/ledger/data/*.jsonl >/dev/null
stile why --store "$store" --tenant payroll "$(question bob approve s-bob "$draft")" >"$work/why" || true
stable <"$work/why" | diff "$golden/nothing-permits.expected" - >&2 || fail "a store explains otherwise than a folder"
stile ask --store "$store" --tenant payroll "$(question ada read s-ada '{}')" | grep -q PERMIT || fail "ask of a store"
{ question ada read s-ada '{}'; echo; question bob approve s-bob "$draft"; echo; } |
  stile why --store "$store" --tenant payroll | python3 -c '
import json, sys
first, second = [json.loads(line) for line in sys.stdin]
assert first["answer"]["decision"] and not first["changes"]
assert not second["answer"]["decision"] and second["changes"]'
refuses 66 'no tenant "ghost"' stile why --store "$store" --tenant ghost "$(question ada read s-ada '{}')"
refuses 64 "do not go together" stile why --store "$store" --socket "$work/s" --tenant payroll "$(question ada read s-ada '{}')"
serve "$store" "$work/decision.sock" "$work/log"
server=$process
stile why --socket "$work/decision.sock" --tenant payroll "$(question bob approve s-bob "$draft")" >"$work/why" || true
grep -q "not so: user in group" "$work/why" || { cat "$work/why" >&2; fail "why over a socket"; }
stop "$server"
ok "stile why of a folder, a store and a socket"
echo "$passed passed, 0 failed"
