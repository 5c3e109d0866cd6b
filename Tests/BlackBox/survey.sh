#!/bin/bash
# Who may do this, what may this user do, what remains without the resource, and the picture of the tree, from outside.
#   Tests/BlackBox/survey.sh .build/debug
source "$(dirname "$0")/lib.sh"
export NO_COLOR=1
ledger=$here/policies/ledger
run='{"type":"payrun","id":"p1","properties":{"total":90000,"status":"draft","created_by":"bob"}}'

# says TEXT COMMAND…: the command succeeds and says the text; what it said is in $work/out.
says() {
  local text=$1
  shift
  "$@" >"$work/out" 2>"$work/err" || { cat "$work/out" "$work/err" >&2; fail "$* failed"; }
  grep -qF -- "$text" "$work/out" || { cat "$work/out" >&2; fail "$* does not say: $text"; }
}

# Who may do this.
says "PERMIT   user ada                  by Payroll/approve, payroll.stile:9  with session s-ada" \
  stile who "$ledger" approve "$run" --all
grep -qE '^DENY +user bob +no permit matches +with session s-bob$' "$work/out" || fail "bob is not denied as he is signed in"
grep -qE '^DENY +user cho +by Payroll/no-contractors, payroll.stile:18$' "$work/out" || fail "cho is not denied as a contractor"
says "STEP UP  user ada                  to mfa within 900 s  by Payroll/approve" \
  stile who "$ledger" approve "$run" --session none --device '{"compliant":true}'
says "0 permitted, 0 after a step-up, 3 denied of 3 asked about" stile who "$ledger" approve "$run" --session none
says "PERMIT   user ada" stile who "$ledger" approve "$run" --device laptop-1 --all \
  --session '{"assurance":"phishing_resistant","age":"10m","amr":["hwk"]}'
grep -qE '^DENY +user bob +no permit matches$' "$work/out" || fail "bob is not denied for want of a permit"
says "STEP UP  user ada" stile who "$ledger" approve "$run" --device laptop-1 --session '{"assurance":"mfa","age":"20m"}'
[ "$(stile who "$ledger" approve "$run" --json | wc -l)" = 2 ] || fail "one permitted and a summary are not two lines"
says '"permitted":1,"step_up":0,"denied":2' stile who "$ledger" approve "$run" --json
says "user cho" stile who "$ledger" approve "$run" --all --after user:bob
if grep -q "user ada" "$work/out"; then fail "--after does not skip"; fi
says "more: --after user:ada" stile who "$ledger" approve "$run" --all --limit 1
refuses 65 'the catalog has no action "sign"' stile who "$ledger" sign "$run"
refuses 65 'the catalog has no type "book"' stile who "$ledger" read book:b
refuses 65 'no assurance level "gold"' stile who "$ledger" read "$run" --session '{"assurance":"gold"}'
refuses 65 'devices have no kind' stile who "$ledger" read "$run" --device '{"kind":"phone"}'
refuses 65 'the store has no device "x"' stile who "$ledger" read "$run" --device x
refuses 65 'the store has no session "s-nobody"' stile who "$ledger" read "$run" --session s-nobody
refuses 64 'go together' stile who --store "$work" read "$run"
ok "who may do this, with sessions, devices and pages"

# A store: a subject that is provisioned, moved and deactivated counts at once; pages cover everybody once.
stile tenant create many --store "$work/store" >"$work/out"
stile policy push "$here/policies/rbac" --store "$work/store" --tenant many >"$work/out"
python3 - "$work/many.jsonl" <<'PYTHON'
import json, sys
with open(sys.argv[1], "w") as file:
    for index in range(3000):
        file.write(json.dumps({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": f"u{index:05}",
                               "userName": f"u{index}", "active": index % 10 != 9}) + "\n")
    members = [{"value": f"u{index:05}", "type": "User"} for index in range(0, 3000, 3)]
    file.write(json.dumps({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "g", "displayName": "Clerks",
                           "members": members}) + "\n")
PYTHON
stile load "$work/many.jsonl" --store "$work/store" --tenant many >"$work/out" 2>&1
says "900 permitted, 0 after a step-up, 2100 denied of 3000 asked about" \
  stile who --store "$work/store" --tenant many lend loan
next= pages=0 listed=0
while :; do
  stile who --store "$work/store" --tenant many lend loan --limit 250 --json ${next:+--after "$next"} >"$work/page"
  listed=$((listed + $(grep -c '"outcome":"permit"' "$work/page" || true)))
  pages=$((pages + 1))
  next=$(tail -1 "$work/page" | sed -n 's/.*"next":"\([^"]*\)".*/\1/p')
  [ -n "$next" ] || break
done
[ "$listed" = 900 ] || fail "pages list $listed of 900"
ok "who of a store: 3000 subjects, $pages pages, each once"
python3 - "$binaries/stile" "$work/store" <<'PYTHON'
import os, pty, subprocess, sys

def errors(on_terminal):
    """What `who` says on standard error, a terminal or none."""
    mine, theirs = pty.openpty() if on_terminal else os.pipe()
    done = subprocess.Popen([sys.argv[1], "who", "--store", sys.argv[2], "--tenant", "many", "lend", "loan"],
                            stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    lines = done.stdout.read().decode().splitlines()
    said = b""
    try:
        while data := os.read(mine, 65536):
            said += data
    except OSError:
        pass  # A terminal that nobody writes to any more.
    assert done.wait() == 0 and len(lines) == 901, lines[-1]
    return said

bar = errors(True)
assert b"] 2000 of 3000" in bar and bar.endswith(b"\r\x1b[K"), bar
assert errors(False) == b""
PYTHON
ok "a bar on a terminal, gone at the end, and nothing where there is none"

# What may this user do.
says "PERMIT  never" stile what "$ledger" user:bob --session none
says "and (not has context.ip or context.ip in [10.0.0.0/8, 2001:db8::/32])" stile what "$ledger" user:ada
says "STEP UP to phishing_resistant within 15m, of the others" stile what "$ledger" user:ada
says '"extent":"always"' stile what "$ledger" user:ada --action read --json
says 'now in "Mon-Fri 08:00-18:00 Europe/Berlin"' \
  stile what "$here/policies/working-hours" user:pia --action answer --any-time --session best
printf '%s\n' '{"resource":{"type":"document","id":"d1","properties":{},"parents":[{"type":"folder","id":"forms"}]}}' \
  '{"resource":{"type":"document","id":"d2","properties":{}}}' >"$work/documents.jsonl"
cp -r "$here/policies/hierarchy" "$work/hierarchy"
cp "$work/documents.jsonl" "$work/hierarchy/data/zz.jsonl"
anyone=$(sed -n 's/.*"id":"\([^"]*\)","userName".*/\1/p' "$work"/hierarchy/data/archive.jsonl | head -1)
says "permitted of those registered:" stile what "$work/hierarchy" "user:$anyone" --type document --action read
grep -q "registered:.*d1" "$work/out" || fail "d1 is not listed"
if grep -q "registered:.*d2" "$work/out"; then fail "d2 is listed"; fi
refuses 66 'the store has no user "zoe"' stile what "$ledger" user:zoe
refuses 65 'the catalog has no "sign"' stile what "$ledger" user:ada --action sign
ok "what a user may do, always, never and under conditions"

# What remains without the resource.
ask='{"subject":{"type":"user","id":"ada"},"action":{"name":"approve"},"resource":{"type":"payrun"},"session":"s-ada"}'
says "when resource.total <= 250000" stile plan "$ledger" "$ask"
says '"total" <= ?1' stile plan "$ledger" "$ask" --sql sqlite --parameters
grep -qF -- '-- ?2: "ada"' "$work/out" || fail "the parameters are not listed"
refuses 65 'a payrun has no attribute "nope"; there are' stile plan "$ledger" "$ask" --sql sqlite --column nope=x
refuses 65 'a payrun has no decimal "status"; there are total' stile plan "$ledger" "$ask" --sql sqlite --decimal status=2
refuses 64 'go with --sql' stile plan "$ledger" "$ask" --column total=amount
says '"p"."amount" <= 25000000' stile plan "$ledger" "$ask" --sql postgresql --table p --column total=amount --decimal total=2
# What the question says of a resource counts where a row is silent, for a check puts what is stored first too.
says 'where resource.status is absent: draft, as the question says' stile plan "$ledger" \
  '{"subject":{"type":"user","id":"ada"},"action":{"name":"approve"},"resource":{"type":"payrun","properties":{"status":"draft","created_by":"bob"}},"session":"s-ada"}'
grep -qF 'and resource.status == draft' "$work/out" || fail "a row's own status does not count"
grep -qF 'without resource.total: an error' "$work/out" || fail "a total that nobody says is no error"
if grep -q 'without.*resource.status' "$work/out"; then fail "a status that the question says is missing"; fi
status=0
stile plan "$ledger" "${ask//s-ada/s-bob}" >"$work/out" 2>&1 || status=$?
[ $status = 65 ] && grep -q "belongs to another subject" "$work/out" || fail "another's session is taken"
refuses 1 'PERMIT  never' stile plan "$ledger" "${ask//ada/bob}" --session none
folder='{"subject":{"type":"user","id":"'$anyone'"},"action":{"name":"read"},"resource":{"type":"document"}}'
refuses 65 'needs a table of what lies in what' stile plan "$here/policies/hierarchy" "$folder" --sql sqlite
says 'FROM "lies_in" AS c' stile plan "$here/policies/hierarchy" "$folder" --sql sqlite --containers lies_in
cat >"$work/place.stile" <<'STILE'
policy "Q" { permit read on payrun when context.place == "here" }
STILE
mkdir "$work/place"
sed 's/context { ip: ipaddr? }/context { place: string }/' "$ledger/catalog.stile" >"$work/place/catalog.stile"
cp "$work/place.stile" "$work/place/"
cp -r "$ledger/data" "$work/place/"
refuses 1 'every question is an error: give context.place' stile plan "$work/place" "${ask/approve/read}"
says 'PERMIT  always' stile plan "$work/place" "${ask/approve/read}" --context '{"place":"here"}'
refuses 66 'the store has no user "zoe"' stile plan "$ledger" '{"subject":{"type":"user","id":"zoe"},"action":{"name":"read"},"resource":{"type":"payrun"}}'
mkdir "$work/sets"
cat >"$work/sets/all.stile" <<'STILE'
catalog "sets" version 1.0.0 {
  entity user
  entity host { addresses: set of ipaddr = [] }
  action read on host
}
policy "P" { permit read on host when resource.addresses contains 10.0.0.1 }
STILE
mkdir "$work/sets/data"
echo '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"ada","userName":"ada"}' >"$work/sets/data/people.jsonl"
hosts='{"subject":{"type":"user","id":"ada"},"action":{"name":"read"},"resource":{"type":"host"}}'
refuses 65 'a set of addresses is looked into, which has no form in SQLite' stile plan "$work/sets" "$hosts" --sql sqlite
says '@> ARRAY[inet' stile plan "$work/sets" "$hosts" --sql postgresql
ok "what remains without the resource, as words, SQL and JSON"

# The picture of the tree.
python3 - "$binaries/stile" "$here" "$work" <<'PYTHON'
import os, re, subprocess, sys
import xml.etree.ElementTree as ET

stile, here, work = sys.argv[1:]
SVG = "{http://www.w3.org/2000/svg}"

def draw(*arguments):
    return subprocess.run([stile, "draw", *arguments], check=True, capture_output=True, text=True).stdout

def check(svg, limit):
    root = ET.fromstring(svg.encode())
    assert root.find(SVG + "title").text and root.find(SVG + "desc").text, "no title or description"
    boxes = []
    for rect in root.iter(SVG + "rect"):
        if rect.get("class", "").startswith("box"):
            boxes.append(tuple(float(rect.get(name)) for name in ("x", "y", "width", "height")))
    assert 0 < len(boxes) <= limit, f"{len(boxes)} boxes"
    width, height = float(root.get("width")), float(root.get("height"))
    for index, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height, "a box stands outside"
        for a, b, c, d in boxes[index + 1:]:
            assert not (x < a + c and a < x + w and y < b + d and b < y + h), f"boxes overlap: {x, y} {a, b}"
    return root, boxes

for name in sorted(os.listdir(os.path.join(here, "policies"))):
    folder = os.path.join(here, "policies", name)
    if os.path.isdir(folder):
        check(draw(folder), 240)
root, _ = check(draw(os.path.join(here, "policies", "ledger"), "--action", "approve"), 240)
text = "".join(root.itertext())
assert "permit Payroll/approve" in text and "payroll.stile:9" in text, "the rule and its place are missing"
links = {link.get("href") for link in root.iter(SVG + "a")}
assert "./payroll.stile#L9" in links, links
assert "delete on payrun" not in text

folder = os.path.join(work, "large")
os.mkdir(folder)
with open(os.path.join(folder, "all.stile"), "w") as file:
    actions = ", ".join(f"a{index}" for index in range(50))
    file.write('catalog "large" version 1.0.0 {\n  entity user { team: string = "" }\n'
               f'  entity doc {{ kind: string = "", size: int = 0 }}\n  action {actions} on doc\n}}\npolicy "L" {{\n')
    for index in range(10_000):
        file.write(f'  permit a{index % 50} on doc when user.team == "t{index % 700}" and resource.kind == "k{index % 30}"'
                   f' and resource.size > {index}\n')
    file.write("}\n")
for arguments in ([], ["--depth", "1"], ["--action", "a7"], ["--boxes", "60"]):
    limit = 60 if "--boxes" in arguments else 240
    root, boxes = check(draw(folder, *arguments), limit)
    assert "folded" in "".join(root.itertext())
    print(f"10,000 rules {' '.join(arguments)}: {len(boxes)} boxes")
PYTHON
refuses 65 'the catalog has no "sign"' stile draw "$ledger" --action sign
says "ledger 1.0.0" stile draw "$ledger" --depth 0
ok "pictures: well-formed, without overlaps, bounded"
echo "survey: $passed tests passed"
