#!/usr/bin/env bash
# Questions held open, from outside: the first answer, pushes after changes and after time alone, limits.
#
#   OPEN=… SIGNALS=… ROUNDS=… subscriptions.sh BINARIES
#
# OPEN questions are held open at once, SIGNALS times a signal about one subject is pushed, ROUNDS rounds of random
# changes must end in the truth.
source "$(dirname "$0")/lib.sh"
open=${OPEN:-2000} signals=${SIGNALS:-100} rounds=${ROUNDS:-10} seed=${SEED:-$RANDOM}
fail() {
  echo "FAILED (seed $seed): $*" >&2
  tail -5 "$work/log" >&2 || true
  exit 1
}
echo "seed $seed"
cc -O1 -Wall -o "$work/subscribe" "$here/Tests/BlackBox/subscribe.c"
store=$work/store socket=$work/decision.sock
mkdir "$work/policies"
cat >"$work/policies/catalog.stile" <<'POLICY'
catalog "open" version 1.0.0 {
  assurance password < mfa
  entity user { level: 0...9 = 0 }
  signal user.risk: enum(low < medium < high) = low from caep "risk-level-change" expires 7d
  signal device.compliant: bool = false from caep "device-compliance-change" expires 24h
  entity doc { status: enum(open, closed) = open }
  action read, edit, sign on doc
}
POLICY
cat >"$work/policies/docs.stile" <<'POLICY'
policy "Docs" {
  permit read on doc as "calm" when user.risk == low
  permit edit on doc as "edit"
    to user in group "Editors" or user.level >= 7
    when resource.status == open and device.compliant
    requires mfa within 15m
  permit sign on doc as "sign" to user in group "Readers" when user.risk <= medium
  forbid any on doc as "closed" when resource.status == closed and user.level < 5
}
POLICY
stile tenant create acme --store "$store" >/dev/null
stile policy push "$work/policies" --store "$store" --tenant acme >/dev/null
serve "$store" "$socket" "$work/log"
server=$process

# frames NAME: the questions on standard input, to be held open and to be asked.
frames() {
  tee "$work/$1.questions" | stile encode --tenant acme >"$work/$1.ask"
  stile encode --subscribe --tenant acme <"$work/$1.questions" >"$work/$1.open"
}
# with NAME MODE…: runs the program on these frames.
with() {
  local name=$1
  shift
  "$work/subscribe" "$socket" "$binaries/stile" "$store" acme "$work/$name.open" "$work/$name.ask" "$@"
}

# 1. A signal about one subject.
awk -v n="$open" 'BEGIN { for (u = 0; u < n; u++) print "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"u" u "\",\"userName\":\"u\",\"active\":true}" }' \
  >"$work/users"
stile load --batch 5000 --store "$store" --tenant acme "$work/users" >/dev/null
awk -v n="$open" 'BEGIN { for (u = 0; u < n; u++) print "{\"subject\":{\"type\":\"user\",\"id\":\"u" u "\"},\"action\":{\"name\":\"read\"},\"resource\":{\"type\":\"doc\",\"id\":\"r" u % 1000 "\"}}" }' |
  frames many
before=$(awk '/^RssAnon/ { print $2 }' "/proc/$server/status")
with many signal "$signals" "$seed" | tee "$work/out" || fail "signals"
# Each signal has had one question decided again, and the time none.
again=$(stile status --json --socket "$socket" --tenant acme | sed 's/.*"reconsiderations":\([0-9]*\).*/\1/')
[ "$again" = "$signals" ] || fail "$signals signals had questions decided $again times"
ok "a signal about one subject has that subject's question decided again and pushed, and no other"

# 2. Everything changes: a policy that permits nothing, then the old one again.
mkdir "$work/closed"
cp "$work/policies/catalog.stile" "$work/closed"
echo 'policy "Docs" { forbid any on doc as "nothing" }' >"$work/closed/docs.stile"
with many await 1 60 >"$work/out" &
started
waiting=$process
await grep -q open "$work/out" || fail "not opened"
during=$(awk '/^RssAnon/ { print $2 }' "/proc/$server/status")
echo "memory for a question held open: $(((during - before) * 1024 / open)) bytes"
stile policy push "$work/closed" --store "$store" --tenant acme --socket "$socket" >/dev/null
ended "$waiting" || fail "a new version of the policies"
tail -1 "$work/out"
stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" >/dev/null
ok "a new version of the policies is pushed to every question that it changes"

# 3. Random changes of all kinds, and time: what was pushed last is what is true.
awk 'BEGIN { for (q = 0; q < 400; q++) { user = q % 40
  printf "{\"subject\":{\"type\":\"user\",\"id\":\"u%d\"},\"action\":{\"name\":\"%s\"},\"resource\":{\"type\":\"doc\",\"id\":\"d%d\"}", user, substr("readeditsign", 1 + 4 * (int(q / 40) % 3), 4), (q * 7) % 25
  if (q % 3 > 0) printf ",\"session\":\"s%d\"", user
  if (q % 5 == 0) printf ",\"device\":\"v%d\"", q % 10
  print "}" } }' | frames few
for group in 0 1 2 3; do
  echo '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g'$group'","displayName":"Readers","members":[]}'
done | stile load --store "$store" --tenant acme >/dev/null
with few converge "$rounds" "$seed" || fail "random changes"
ok "after random changes of every kind each question's answer is the one that was pushed last"

# 4. A client that does not read: nothing piles up for it, and it gets the newest answers when it reads again.
stop "$server"
serve "$store" "$socket" "$work/log" --max-unsent 64 --max-subscriptions "$((open > 1000 ? open : 1000))"
server=$process
rm -f "$work/gate"
GATE=$work/gate with many await 1 60 >"$work/out" &
started
waiting=$process
await grep -q open "$work/out" || fail "not opened"
before=$(awk '/^RssAnon/ { print $2 }' "/proc/$server/status")
for _ in 1 2 3 4 5 6; do
  stile policy rollback 2 --store "$store" --tenant acme --socket "$socket" >/dev/null
  sleep 0.1
  stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" >/dev/null
  sleep 0.1
done
stile policy rollback 2 --store "$store" --tenant acme --socket "$socket" >/dev/null
after=$(awk '/^RssAnon/ { print $2 }' "/proc/$server/status")
[ "$after" -lt $((before + 8192)) ] || fail "memory grew from $before to $after kB for clients that do not read"
touch "$work/gate"
ended "$waiting" || fail "the newest answers"
stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" >/dev/null
ok "a client that has not read gets each question's newest answer, and costs no memory meanwhile"
stop "$server"

# 5. A client that asks more at once than it may leave unread, and reads then: long answers to short questions.
cc -O1 -Wall -o "$work/greedy" "$here/Tests/BlackBox/greedy.c"
serve "$store" "$socket" "$work/log" --max-unsent 16
"$work/greedy" "$socket" "$work/many.ask" || fail "answers stay away"
stop "$process"
ok "a client that leaves more unread than it may gets every answer when it reads"

# 6. Limits.
serve "$store" "$socket" "$work/log" --max-subscriptions 70
with few edges 70 0 || fail "limits"
stop "$process"
ok "a subscription that is refused names its limit and leaves the connection as it was; an end frees its place"
echo "$passed passed, 0 failed"
