#!/bin/bash
# Roles that policies offer, from outside: taken, decided by, ended by time, by revocation and by deactivation; what is
# refused; what a logged decision and an open question make of them; and what a crash leaves.
#   Tests/BlackBox/grants.sh .build/debug
source "$(dirname "$0")/lib.sh"
export NO_COLOR=1
tenant=$here/policies/just-in-time
store=$work/store
socket=$work/socket

# take CODE TEXT [ARGUMENT…]: `stile grant take` ends with the code and says the text; what it said is in $work/out.
take() {
  local code=$1 text=$2 status=0
  shift 2
  stile grant take --store "$store" --tenant acme "$@" >"$work/out" 2>&1 || status=$?
  [ "$status" = "$code" ] || { cat "$work/out" >&2; fail "grant take $* ended with $status, not $code"; }
  grep -qF -- "$text" "$work/out" || { cat "$work/out" >&2; fail "grant take $* does not say: $text"; }
}
# asks OUTCOME [SESSION]: what stiled says to sam's restart of db-1; the answer is in $work/answer.
asks() {
  local session=${2-s-sam}
  stile ask --json --socket "$socket" --tenant acme \
    '{"subject":{"type":"user","id":"sam"},"action":{"name":"restart"},"resource":{"type":"system","id":"db-1"}'"${session:+,\"session\":\"$session\"}}" \
    >"$work/answer" || true
  grep -qF "\"outcome\":\"$1\"" "$work/answer" || { cat "$work/answer" >&2; fail "sam's restart is no $1"; }
}
# The first UUID in $work/out.
uuid() { grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' "$work/out" | head -1; }
field() { sed -n "s/.*\"$1\":\"*\([^\",}]*\).*/\1/p" "$work/${2-out}"; }

stile tenant create acme --store "$store" >"$work/out"
stile policy push "$tenant" --store "$store" --tenant acme >"$work/out"
cat "$tenant"/data/*.jsonl - >"$work/data.jsonl" <<'JSON'
{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"eve","userName":"eve","active":true}
{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"off","userName":"off","active":false}
{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g-engineers","displayName":"Engineers","members":[{"value":"sam","type":"User"},{"value":"off","type":"User"}]}
{"session":{"id":"s-old","subject":{"type":"user","id":"sam"},"assurance":"mfa","auth_time":"now-10m","expires":"now+8h"}}
{"session":{"id":"s-over","subject":{"type":"user","id":"sam"},"assurance":"mfa","auth_time":"now-1m","expires":"now-1s"}}
JSON
stile load "$work/data.jsonl" --store "$store" --tenant acme >"$work/out"
serve "$store" "$socket" "$work/log" --log every

# Who may, and who may not.
asks deny
take 2 "STEP UP  to mfa within 300 s" user:sam operator --reason "OPS-17"
take 2 "by Systems/standby-cover, systems.stile:" user:sam operator --reason "OPS-17" --session s-old
take 1 "no offer of the role operator is for the subject, now (not_offered)" user:eve operator --reason x
take 1 "the subject is deactivated (subject_inactive)" user:off operator --reason x
take 1 "the session has ended (session_ended)" user:sam operator --reason x --session s-over
take 1 "is offered for at most 14400 s (duration_too_long)" user:sam operator --reason x --session s-sam --for 5h
take 1 "no offer of the role engineer" user:sam engineer --reason x --session s-sam
take 3 'have no role "boss"; offered are operator' user:sam boss --reason x
take 3 "the store has no such subject" user:nobody operator --reason x
take 65 'the store has no session "none"' user:sam operator --reason x --session none
take 65 "belongs to another subject" user:eve operator --reason x --session s-sam
take 65 "a reason is needed" user:sam operator --reason " " --session s-sam
take 65 "above 1000" user:sam operator --reason "$(printf 'x%.0s' {1..1001})" --session s-sam
take 65 "is no subject" sam operator --reason x
take 64 "invalid" user:sam operator --reason x --for soon
asks deny
[ "$(stile grant list --store "$store" --tenant acme)" = "no grants" ] || fail "what was denied is listed"
ok "a role is granted by offers alone, step-up and denials say why"

# An open question is answered anew when a role is taken, and when its time is over.
request='{"subject":{"type":"user","id":"sam"},"action":{"name":"restart"},"resource":{"type":"system","id":"db-1"},"session":"s-sam"}'
echo "$request" | stile encode --subscribe --tenant acme >"$work/frames"
python3 - "$here/Sources/PythonClient" "$socket" "$work/frames" "$binaries/stile" "$store" <<'PYTHON'
import socket, struct, subprocess, sys, time

sys.path.insert(0, sys.argv[1])
import stile

connection = socket.socket(socket.AF_UNIX)
connection.settimeout(10)
connection.connect(sys.argv[2])
connection.sendall(open(sys.argv[3], "rb").read())


def read(count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "the daemon closed the connection"
        data += part
    return data


def answer():
    """The next answer: its kind, and when it came."""
    while True:
        frame = stile._decode(read(struct.unpack(">I", read(4))[0]))
        if 2 in frame:
            return stile._decision(frame).kind, time.time()


assert answer()[0] == "not_permitted"
subprocess.run(
    [sys.argv[4], "grant", "take", "--store", sys.argv[5], "--tenant", "acme", "user:sam", "operator", "--for", "2s",
     "--session", "s-sam", "--reason", "open"], check=True, capture_output=True)
kind, taken = answer()
assert kind == "permitted", kind
kind, ended = answer()
assert kind == "not_permitted" and 1 < ended - taken < 3, (kind, ended - taken)
PYTHON
ok "an open question is answered anew when a role is taken and when it ends"

# Taken for three seconds: permitted until then, and the answer says so.
take 0 "GRANTED  role operator until" user:sam operator --reason "OPS-17: db-1 hangs" --session s-sam --for 3s
asks permit
stile grant list --store "$store" --tenant acme --active --json >"$work/out"
id=$(uuid)
until=$(date -d "$(field until)" +%s%3N)
valid=$(sed -n 's/.*"valid_until_ms":\([0-9]*\).*/\1/p' "$work/answer")
[ "$valid" -le "$until" ] && [ "$valid" -gt $((until - 1000)) ] || fail "valid until $valid, the grant until $until"
decision=$(field evaluation_id answer)
stile grant list --store "$store" --tenant acme >"$work/out"
grep -qE "^$id  user:sam  operator  active +.*  OPS-17: db-1 hangs$" "$work/out" || fail "the list does not show it"
stile grant show "$id" --store "$store" --tenant acme >"$work/out"
grep -qF 'by Systems/standby-cover, systems.stile:' "$work/out" && grep -qF 'for "OPS-17: db-1 hangs"' "$work/out" \
  || fail "the grant is not shown"
await bash -c "[ \$(date +%s%3N) -gt $until ]"
asks deny
stile grant list --store "$store" --tenant acme --json >"$work/out"
grep -F "$id" "$work/out" | grep -qF '"state":"ended"' || fail "it has not ended"
stile grant list --store "$store" --tenant acme --active >"$work/out"
grep -qx "no grants" "$work/out" || fail "what has ended is active"
ok "a grant ends by time, and the answer says until when it holds"

# Revoked.
take 0 '"outcome":"granted"' user:sam operator --reason "again" --session s-sam --json
id=$(uuid)
asks permit
refuses 66 "no grant 00000000-0000-4000-8000-000000000000" \
  stile grant revoke 00000000-0000-4000-8000-000000000000 --store "$store" --tenant acme
refuses 65 "is no grant's id" stile grant revoke x --store "$store" --tenant acme
stile grant revoke "$id" --store "$store" --tenant acme --reason "done" >"$work/out"
asks deny
refuses 1 "has ended already: it is revoked" stile grant revoke "$id" --store "$store" --tenant acme
stile grant show "$id" --store "$store" --tenant acme >"$work/out"
grep -qE 'revoked .* by .*: "done"' "$work/out" || fail "the revocation is not shown"
ok "a grant ends by revocation"

# Deactivated, and active again: what was taken does not come back.
take 0 '"outcome":"granted"' user:sam operator --reason "third" --session s-sam --json
id=$(uuid)
asks permit
sam='{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"sam","userName":"sam","team":"data","active":'
echo "${sam}false}" | stile load --store "$store" --tenant acme >"$work/out"
asks deny
echo "${sam}true}" | stile load --store "$store" --tenant acme >"$work/out"
asks deny
stile grant list --store "$store" --tenant acme --subject user:sam --role operator --json >"$work/out"
grep -F "$id" "$work/out" | grep -qF '"state":"deactivated"' || fail "it is not told that sam was deactivated"
ok "a grant ends with its subject's deactivation, for good"

# An offer that goes takes the effect of what was granted with it, and brings it back.
take 0 "GRANTED" user:sam operator --reason "fourth" --session s-sam
asks permit
mkdir "$work/closed"
cp "$tenant"/*.stile "$work/closed"
python3 - "$work/closed/systems.stile" <<'PYTHON'
import re, sys
text = open(sys.argv[1]).read()
text, count = re.subn(r'\n  // Engineers take.*?standby team\."\n', "\n", text, flags=re.S)
assert count == 1
text = re.sub(r'test "so does an engineer.*?\n}\n', "", text, flags=re.S)
open(sys.argv[1], "w").write(text)
PYTHON
stile policy push "$work/closed" --store "$store" --tenant acme --socket "$socket" >"$work/out"
asks deny
take 1 "no offer of the role operator" user:sam operator --reason x --session s-sam
stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" >"$work/out"
asks permit
ok "a grant has effect while its role is offered"

# A logged decision, explained when the grant is long gone.
await grep -qF '"same":true' <(stile why --store "$store" --tenant acme "$decision" --json | sed 's/"agrees":true/"same":true/') \
  || fail "the decision is not decided again as it was"
stile why --store "$store" --tenant acme "$decision" >"$work/out" || fail "the decision is not explained"
grep -qF "PERMIT" "$work/out" || { cat "$work/out" >&2; fail "the explanation is of another answer"; }
ok "a logged decision is explained by the grant of then"

# The most that may run at once.
for index in $(seq 1 63); do
  take 0 "GRANTED" user:sam operator --reason "number $index" --session s-sam
done
take 70 "64 are the most" user:sam operator --reason "one too many" --session s-sam
ok "of one subject 64 grants run at once"

stile verify --store "$store" --tenant acme >"$work/out" || { cat "$work/out" >&2; fail "store and log disagree"; }
# A backup holds them; so does a sealed tenant.
stile tenant seal acme --store "$store" >"$work/out"
stile verify --store "$store" --tenant acme >"$work/out" || { cat "$work/out" >&2; fail "store and log disagree, sealed"; }
[ "$(stile grant list --store "$store" --tenant acme --active | grep -c operator)" = 64 ] || fail "sealing has lost some"
asks permit

# What was acknowledged is there after the writer was killed, whenever that was.
for round in $(seq 1 "${KILLS:-5}"); do
  stile grant list --store "$store" --tenant acme --active --json >"$work/before"
  id=$(tail -1 "$work/before" | sed -n 's/.*"id":"\([0-9a-f-]\{36\}\)".*/\1/p')
  stile grant revoke "$id" --store "$store" --tenant acme >"$work/out"
  "$binaries/stile" grant take --store "$store" --tenant acme user:sam operator --reason "kill $round" \
    --session s-sam --json >"$work/killed" 2>/dev/null &
  victim=$!
  sleep "0.0$((round * 3 % 10))"
  kill -9 "$victim" 2>/dev/null || true
  wait "$victim" 2>/dev/null || true
  count=$(stile grant list --store "$store" --tenant acme --active --json | grep -cF "\"reason\":\"kill $round\"" || true)
  if grep -qF '"outcome":"granted"' "$work/killed" && [ "$count" != 1 ]; then fail "an acknowledged grant is lost"; fi
done
stile verify --store "$store" --tenant acme >"$work/out" || { cat "$work/out" >&2; fail "store and log disagree after kills"; }
ok "an acknowledged grant is committed, and a killed writer leaves all or nothing"

# A store from before there were grants gets their database with the first write. A daemon that has it open reads it from
# then on: here of a candidate, whose catalog lays views out otherwise, so that they are made of what is stored.
cc -O1 -o "$work/early" "$here/Tests/BlackBox/early.c" -llmdb
store=$work/early-store socket=$work/early-socket
stile tenant create acme --store "$store" >"$work/out"
stile policy push "$tenant" --store "$store" --tenant acme >"$work/out"
stile load --store "$store" --tenant acme "$tenant"/data/*.jsonl >"$work/out"
mkdir "$work/wider"
cp "$tenant"/*.stile "$work/wider"
sed -i 's/entity user { team: string = "" }/entity user { area: string = "", team: string = "" }/' "$work/wider/catalog.stile"
stile shadow start acme "$work/wider" --store "$store" >"$work/out"
"$work/early" "$store/tenants/acme"
serve "$store" "$socket" "$work/early-log"
tally() { stile shadow status acme --store "$store" --json | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
compared() { [ "$(tally compared)" = "$1" ]; }
asks deny
await compared 1 || fail "the candidate does not decide: $(stile shadow status acme --store "$store")"
take 0 "GRANTED" user:sam operator --reason "before and after" --session s-sam
asks permit
await compared 2 || fail "the candidate decides no more: $(stile shadow status acme --store "$store")"
[ "$(tally different)" = 0 ] || fail "a daemon that was there before the grants' database does not see it"
ok "a daemon that opened a store from before grants sees those that are made since"

echo "grants: $passed tests passed"
