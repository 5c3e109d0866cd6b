#!/usr/bin/env bash
# One client or tenant that behaves badly beside many that do not: these get their answers, in their time, and the
# daemon's memory stays bounded.
#
#   CONNECTIONS=… ROUNDS=… SECONDS_EACH=… LIMIT=… URGENT=… fair.sh BINARIES [RESULT]
#
# With URGENT daemon and clients are scheduled before all that is not (SCHED_FIFO), where that is allowed: then the times
# are not those of whatever else the machine does. Give it many short rounds, for the kernel leaves others some time.
# LIMIT is the most that the 99th percentile of the others' times may be, as a multiple of that without the hostile one;
# 0, the default, checks progress and memory only. The figures are printed, and written to the file RESULT.
source "$(dirname "$0")/lib.sh"
connections=${CONNECTIONS:-31} rounds=${ROUNDS:-1} seconds=${SECONDS_EACH:-0.3} limit=${LIMIT:-0}
cc -O1 -o "$work/fair" "$here/Tests/BlackBox/fair.c"
cc -O1 -o "$work/spread" "$here/Tests/BlackBox/spread.c"
cc -O1 -o "$work/behind" "$here/Tests/BlackBox/behind.c"
store=$work/store socket=$work/decision.sock ledger=$here/policies/ledger
for tenant in acme other; do
  stile tenant create $tenant --store "$store" >/dev/null
  stile policy push "$ledger" --store "$store" --tenant $tenant >/dev/null
  stile load --store "$store" --tenant $tenant "$ledger"/data/*.jsonl >/dev/null
done
stile tenant limit other --store "$store" questions-per-second=1000 >/dev/null
question='{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"},"session":"s-bob"}'
for tenant in acme other; do
  for _ in $(seq 100); do echo "$question"; done | stile encode --tenant $tenant >"$work/$tenant"
done
# One reactor, so that nobody can step aside; the answers that may be left unread are few, so that their end is seen.
urgently=()
if [ -n "${URGENT:-}" ]; then
  if chrt --fifo 5 true 2>/dev/null; then
    urgently=(chrt --fifo 5)
  else
    echo "NOT TESTED: times without those of other programs, because nothing may be made urgent here"
  fi
fi
"${urgently[@]}" "$binaries/stiled" --store "$store" --socket "$socket" --reactors 1 --max-unsent 1024 --log off \
  2>"$work/log" &
started
server=$process
await test -S "$socket" || { cat "$work/log" >&2; fail "the daemon made no socket"; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }
before=$(memory)
: >"$work/figures"
# holds HOSTILE FRAMES LIMIT: one run; its figures are kept.
holds() {
  local name=$1 frames=$2
  "${urgently[@]}" "$work/fair" "$socket" "$work/acme" "$name" "$work/$frames" "$connections" "$rounds" "$seconds" "$3" >"$work/out" ||
    { cat "$work/out" >&2; fail "$name of $frames"; }
  sed "s/^{/{\"tenant\":\"$frames\",/" "$work/out" | tee -a "$work/figures"
}
holds silent acme "$limit"
holds slow acme "$limit"
holds flood acme "$limit"
holds flood other "$limit"
ok "a client that never reads, one that reads slowly, one that floods, and a tenant above its budget hold up nobody"
status=0
"$work/behind" "$socket" "$work/acme" "$server" || status=$?
[ "$status" = 0 ] || [ "$status" = 3 ] || fail "what comes behind an urgent byte or a descriptor waits for more"
[ "$status" = 0 ] || echo "NOT TESTED: descriptors, which this system cannot refuse"
ok "what comes behind an urgent byte is answered at once, and a descriptor is refused to its sender"
# A batch is answered whole, over one snapshot: it is the most that one client can hold up others for.
holds batch acme 0
after=$(memory)
echo "resident memory before $before kB, after $after kB"
[ "$after" -lt $((before + 16384)) ] || fail "memory grew"
kill -0 "$server" || fail "the daemon died"
stop "$server"
[ -z "${2:-}" ] || cp "$work/figures" "$2"
ok "what hostile clients leave unread and unasked takes no more memory than is allowed"

# Connections spread over reactors. The log is off, for it may compress what it holds when nobody asks any more.
"$binaries/stiled" --store "$store" --socket "$socket" --reactors 2 --log off 2>"$work/log" &
started
server=$process
await test -S "$socket" || { cat "$work/log" >&2; fail "the daemon made no socket"; }
change="printf '%s\\n' '{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"bob\",\"userName\":\"bob\",\"active\":false}' |
  '$binaries/stile' load --store '$store' --tenant acme >/dev/null"
# Reactors look at how much of the time they work, so on a busy machine daemon and client go before the rest, where allowed.
favoured=()
[ "$(nice -n -5 nice 2>/dev/null)" != -5 ] || favoured=(nice -n -5)
"${favoured[@]}" "$work/spread" "$socket" "$work/acme" "$server" 16 2 20 "$change" || fail "connections do not spread"
ok "busy connections that are with one reactor spread over all, with their open questions, and no answer is lost or out of order"

# The same daemon, which has just been asked so much that polling may pay, when nobody asks any more.
ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
used=$(ticks)
sleep "${IDLE:-3}"
used=$(($(ticks) - used)) most=$((${IDLE:-3} * $(getconf CLK_TCK) / 100))
echo "idle for ${IDLE:-3} s: $used of $((most * 100)) ticks of a processor"
[ "$used" -le "$most" ] || fail "a daemon that nobody asks uses a processor"
stop "$server"
ok "a daemon that nobody asks does not poll"
echo "$passed passed, 0 failed"
