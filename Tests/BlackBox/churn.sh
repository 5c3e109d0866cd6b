#!/usr/bin/env bash
# Answers while policies are activated, signals recorded and users updated: none is an error, none is older than what was
# acknowledged before it was asked for.
#
#   ACTIVATIONS=… SIGNALS=… UPDATES=… RATE=… QUIET=… LIMIT=… URGENT=… churn.sh BINARIES [RESULT]
#
# With URGENT the daemon is scheduled before all that is not (SCHED_FIFO), where that is allowed: then the times are its
# own, and not those of the writers and of whatever else the machine does.
# LIMIT is the most that the 99.9th percentile of the times may be under change, as a multiple of that in quiet; 0 only
# tells. The figures are printed, and written to the file RESULT.
source "$(dirname "$0")/lib.sh"
activations=${ACTIVATIONS:-10} signals=${SIGNALS:-1000} updates=${UPDATES:-20000}
cc -O1 -o "$work/churn" "$here/Tests/BlackBox/churn.c" -pthread
store=$work/store socket=$work/decision.sock
mkdir "$work/folder" "$work/folder/one" "$work/folder/two"
cp "$here"/policies/ledger/*.stile "$work/folder/one"
cp "$here"/policies/ledger/*.stile "$work/folder/two"
sed -i 's/permit approve on payrun as "approve"/permit approve on payrun as "other"/' "$work/folder/two/payroll.stile"
stile tenant create acme --store "$store" >/dev/null
stile policy push "$work/folder/one" --store "$store" --tenant acme >/dev/null
{
  members=
  for witness in $(seq 0 15); do
    id=w$witness
    echo '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"id":"'$id'","userName":"'$id'","active":true,"userType":"employee","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Finance"}}'
    echo '{"session":{"id":"s-'$id'","subject":{"type":"user","id":"'$id'"},"assurance":"mfa","amr":["pwd","otp"],"auth_time":"now","expires":"now+8h","device":"laptop-1"}}'
    members="$members${members:+,}"'{"value":"'$id'","type":"User"}'
  done
  echo '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g-approvers","displayName":"Payroll Approvers","members":['"$members"']}'
  echo '{"device":{"id":"laptop-1","properties":{}}}'
  echo '{"signal":{"name":"device.compliant","subject":{"type":"device","id":"laptop-1"},"value":true,"at":"now"}}'
} | stile load --store "$store" --tenant acme >/dev/null
for witness in $(seq 0 15); do
  echo '{"subject":{"type":"user","id":"w'"$witness"'"},"action":{"name":"approve"},"resource":{"type":"payrun","id":"p","properties":{"total":10,"status":"draft","created_by":"bob"}},"session":"s-w'"$witness"'"}'
done | stile encode --tenant acme >"$work/frames"
urgently=()
if [ -n "${URGENT:-}" ]; then
  if chrt --fifo 5 true 2>/dev/null; then
    urgently=(chrt --fifo 5)
  else
    echo "NOT TESTED: times of the daemon alone, because it may not be made urgent here"
  fi
fi
"${urgently[@]}" "$binaries/stiled" --store "$store" --socket "$socket" --reactors 2 2>"$work/log" &
started
server=$process
await test -S "$socket" || { cat "$work/log" >&2; fail "the daemon made no socket"; }
"$work/churn" "$socket" "$binaries/stile" "$store" acme "$work/frames" "$activations" "$signals" "$updates" \
  "${RATE:-1000}" "${QUIET:-2}" "${LIMIT:-0}" "$work/folder" >"$work/figures" ||
  { cat "$work/figures" >&2; tail -5 "$work/log" >&2; fail "answers under change"; }
cat "$work/figures"
[ -z "${2:-}" ] || cp "$work/figures" "$2"
stile verify --store "$store" --tenant acme | grep -q ' 0 differences' || fail "log and views disagree"
stile status --socket "$socket" --tenant acme | grep -q '0 decisions lost' || fail "decisions are lost from the log"
stop "$server"
ok "no error and no stale answer under $activations activations, $signals signals and $updates updates"
echo "$passed passed, 0 failed"
