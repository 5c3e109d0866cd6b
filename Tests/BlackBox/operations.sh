#!/usr/bin/env bash
# What an operator relies on, from outside: the service manager's view of the daemon, the last good version, a full
# disk, the sandbox.
#
#   operations.sh BINARIES
#
# The full disk is a small tmpfs in a mount namespace of this script's own, so that nothing stays mounted. Where no
# namespace can be had, a limit of file sizes stands in for it.
if [ -z "${STILE_OWN_MOUNTS:-}" ]; then
  for way in --mount "--map-root-user --mount"; do
    # shellcheck disable=SC2086 # several options
    if unshare $way mount -t tmpfs -o size=2m tmpfs /mnt 2>/dev/null; then
      STILE_OWN_MOUNTS=yes exec unshare $way bash "$0" "$@"
    fi
  done
fi
source "$(dirname "$0")/lib.sh"
ledger=$here/policies/ledger
question='{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"},"session":"s-bob"}'
# fill STORE: the tenant acme with the example's policies and data.
fill() {
  stile tenant create acme --store "$1" >/dev/null
  stile policy push "$ledger" --store "$1" --tenant acme >/dev/null
  stile load --store "$1" --tenant acme "$ledger"/data/*.jsonl >/dev/null
}
# decides SOCKET TENANT RULE: the question is permitted by the rule.
decides() { stile ask --socket "$1" --tenant "$2" "$question" 2>&1 | grep -q "by $3,"; }
store=$work/store socket=$work/decision.sock
fill "$store"

# 1. The service manager's socket. The period is long enough for a busy machine to keep half of it.
cc -O1 -o "$work/notify" "$here/Tests/BlackBox/notify.c"
"$work/notify" "$work/notify.sock" >"$work/told" &
started
listener=$process
await test -S "$work/notify.sock" || fail "no notify socket"
# tells PATTERN: the daemon sends a message like this one, after the first $heard.
heard=0
told() { tail -n "+$((heard + 1))" "$work/told"; }
has_told() { told | grep "^[0-9]* $1\$" >/dev/null; }
tells() { await has_told "$1" || { cat "$work/told" >&2; fail "not told: $1"; }; }
hear() { heard=$(wc -l <"$work/told"); }
period=2000000
NOTIFY_SOCKET=$work/notify.sock WATCHDOG_USEC=$period bash -c 'WATCHDOG_PID=$$ exec "$@"' - \
  "$binaries/stiled" --store "$store" --socket "$socket" --reactors 1 2>"$work/log" &
started
server=$process
tells 'READY=1'
tells 'STATUS=1 tenants'
decides "$socket" acme Payroll/read || fail "no answer after READY=1"
ok "a started daemon says that it is ready, how it stands, and answers"

hear
kill -HUP "$server"
tells 'RELOADING=1;MONOTONIC_USEC=[0-9]*'
tells 'READY=1'
told | awk '
  / RELOADING=1;/ { split($2, parts, "MONOTONIC_USEC="); age = $1 - parts[2]; reloading = NR }
  / READY=1$/ { ready = NR }
  END { exit !(reloading && reloading < ready && age >= 0 && age < 1000000) }' || { cat "$work/told" >&2; fail "reloading"; }
ok "a daemon that gets SIGHUP says that it reloads, since when, and that it is ready again"

sleep 4
awk -v half=$((period / 2)) '
  / WATCHDOG=1$/ || / READY=1$/ { if (last && $1 - last > half) late = $1 - last; last = $1 }
  / WATCHDOG=1$/ { signs++ }
  END { if (late || signs < 4) { print signs " signs of life, one after " late " us"; exit 1 } }' "$work/told" >&2 ||
  fail "signs of life"
ok "a daemon under a watchdog gives a sign of life every half period at the latest"

hear
kill -TERM "$server"
tells 'STOPPING=1;STATUS=.*'
ended "$server" || fail "ended with $?"
[ ! -e "$socket" ] || fail "the socket is left"
ok "a daemon that gets SIGTERM says that it stops, and ends with 0"

hear
NOTIFY_SOCKET=$work/notify.sock WATCHDOG_USEC=300000 WATCHDOG_PID=1 serve "$store" "$socket" "$work/log"
tells 'STATUS=1 tenants'
sleep 0.5
! has_told WATCHDOG=1 || fail "a sign of life for another process"
stop "$process"
ok "a watchdog meant for another process gets no sign of life"

# 2. The last good version. A version that another program has accepted and this one does not: its text is altered in
# the store, because what does not compile is refused at the push.
cc -O1 -o "$work/spoil" "$here/Tests/BlackBox/spoil.c" -llmdb
mkdir "$work/second"
cp "$ledger"/*.stile "$work/second"
sed -i 's/permit read on payrun as "read"/permit read on payrun as "second"/' "$work/second/payroll.stile"
stile policy push "$work/second" --store "$store" --tenant acme >/dev/null
serve "$store" "$socket" "$work/log"
decides "$socket" acme Payroll/second || fail "the second version does not decide"
stop "$process"
"$work/spoil" "$store/tenants/acme" 'permit read on payrun as "second"' 'permut read on payrun as "second"' ||
  fail "nothing was spoiled"
hear
NOTIFY_SOCKET=$work/notify.sock serve "$store" "$socket" "$work/log"
server=$process
decides "$socket" acme Payroll/read || fail "the last good version does not decide"
grep -q 'tenant acme: version 1 decides; .*version 2 does not check: .*error' "$work/log" ||
  { cat "$work/log" >&2; fail "the log does not say what decides and why"; }
grep -q 'payroll.stile:6:' "$work/log" || fail "the log does not say where"
ok "a daemon started on a version that does not compile decides by the last good one and logs why"

tells 'STATUS=1 tenants, 1 not ready: see the log'
stile status --socket "$socket" --tenant acme | grep -q 'version 1, version 1 still decides; version 2 does not check' ||
  fail "the status does not tell"
ok "a version that does not decide is told to the service manager and by stile status"

active() {
  printf '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"bob","userName":"bob","active":%s}\n' "$1" |
    stile load --store "$store" --tenant acme >/dev/null
}
active false
! decides "$socket" acme Payroll/read || fail "a user who is not active any more is permitted"
active true
decides "$socket" acme Payroll/read || fail "a user who is active again is not permitted"
ok "the last good version decides by what is loaded while another version does not compile"

stile policy rollback 1 --store "$store" --tenant acme --socket "$socket" | grep -q "version 1 decides" ||
  fail "rollback"
tells 'STATUS=1 tenants'
ok "a rollback to the last good version makes the tenant ready"

refuses 65 "version 2 has no catalog that this program can read" \
  stile policy rollback 2 --store "$store" --tenant acme
# Text that can be read, with an action that the catalog does not have.
"$work/spoil" "$store/tenants/acme" 'permut read on payrun as "second"' 'permit reab on payrun as "second"' ||
  fail "nothing was spoiled"
refuses 69 "version 2 is stored, but version 1 still decides; version 2 does not check" \
  stile policy rollback 2 --store "$store" --tenant acme --socket "$socket"
decides "$socket" acme Payroll/read || fail "the last good version does not go on"
stile policy push "$ledger" --store "$store" --tenant acme --socket "$socket" | grep -q "version 3 decides" ||
  fail "a good version after a bad one"
stop "$server"
ok "a version that stops compiling under a running daemon leaves the last good one deciding, until a good one comes"
kill "$listener"
ended "$listener" || true

# The only version does not compile: nothing decides, so nobody keeps its views meanwhile.
store=$work/lone
fill "$store"
"$work/spoil" "$store/tenants/acme" 'permit read on payrun as "read"' 'permut read on payrun as "read"' ||
  fail "nothing was spoiled"
serve "$store" "$socket" "$work/log"
server=$process
grep -q 'no version decides; nothing decides: every answer is deny; version 1 does not check' "$work/log" ||
  { cat "$work/log" >&2; fail "the log does not say that nothing decides"; }
! decides "$socket" acme Payroll/read || fail "a permit without a policy"
active false
stile policy push "$ledger" --store "$store" --tenant acme --socket "$socket" | grep -q "version 2 decides" ||
  fail "a good version after the only one"
! decides "$socket" acme Payroll/read || fail "a user who is not active any more is permitted"
active true
decides "$socket" acme Payroll/read || fail "a user who is active again is not permitted"
stop "$server"
ok "a daemon without a version that compiles denies, and the next one that does decides by what was loaded meanwhile"

# 3. A full disk.
disk=$work/disk store=$work/disk/store
mkdir "$disk"
limited=()
if [ -n "${STILE_OWN_MOUNTS:-}" ]; then
  mount -t tmpfs -o size=2m tmpfs "$disk"
  trap 'umount --lazy "$disk" || true; finish' EXIT
  full="disk_full: no room left on the disk of $store/tenants/acme; nothing of this batch was kept. Free room"
else
  echo "NOT TESTED: a full disk, because no mount namespace can be had here; a limit of file sizes stands in for it"
  limited=(bash -c 'trap "" XFSZ; ulimit -f 1000; exec "$@"' -)
  full="nothing of this batch was kept. Look for a limit of file sizes"
fi
fill "$store"
# What an operator can free.
head -c 600000 /dev/zero >"$disk/ballast"
serve "$store" "$socket" "$work/log"
server=$process
# users FIRST LAST: lines for load.
users() {
  local number
  for ((number = $1; number <= $2; number++)); do
    printf '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"u%d","userName":"u","active":true}\n' "$number"
  done
}
# knows USER: the daemon has the user.
knows() {
  local answer
  answer=$(stile ask --json --socket "$socket" --tenant acme \
    '{"subject":{"type":"user","id":"'"$1"'"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"}}' || true)
  [[ $answer == *'"decision"'* && $answer != *unknown_subject* ]]
}
# Questions, one after the other, for as long as the disk is full.
while [ ! -e "$work/enough" ]; do
  echo "$question"
  sleep 0.02
done | stile ask --socket "$socket" --tenant acme >"$work/answers" &
started
asking=$process

users 1 9000 >"$work/lines"
refuses 70 "$full" "${limited[@]}" "$binaries/stile" load --batch 500 --store "$store" --tenant acme "$work/lines"
kept=$(sed -n 's/.* on was kept; \([0-9]*\) changes before it were.*/\1/p' "$work/out")
grep -q "lines:$((kept + 1)):" "$work/out" || { cat "$work/out" >&2; fail "the place is not named"; }
! grep -q "Mend the line" "$work/out" || fail "the line is blamed for the disk"
[ "$kept" -ge 500 ] || fail "the disk was full before anything was loaded"
knows "u$kept" || fail "acknowledged line $kept is lost"
! knows "u$((kept + 1))" || fail "a refused batch was kept"
ok "a batch that the disk has no room for is refused with place and mend, and the batches before it are kept"

# Now line by line, to the last page.
users 10001 19000 >"$work/lines"
status=0
"${limited[@]}" "$binaries/stile" load --each --store "$store" --tenant acme "$work/lines" >"$work/acknowledged" 2>"$work/out" ||
  status=$?
[ "$status" = 70 ] || fail "a line without room ended with $status"
grep -qF -- "$full" "$work/out" || { cat "$work/out" >&2; fail "a line without room is not told"; }
each=$(grep -c '^{"ok":true,' "$work/acknowledged" || true)
[ "$each" = 0 ] || knows "u$((10000 + each))" || fail "acknowledged line $each is lost"
! knows "u$((10001 + each))" || fail "a refused line was kept"
# Eleven changes of the example's data, and a version put and made active.
stile verify --store "$store" --tenant acme | tee "$work/out" | grep -q "^$((13 + kept + each)) entries, .* 0 differences" ||
  { cat "$work/out" >&2; fail "not what was acknowledged: 13, $kept and $each"; }
ok "everything acknowledged before the disk was full is there, and log and views agree"

"$binaries/stiled" --store "$store" --socket "$work/other.sock" --reactors 1 2>"$work/other.log" &
started
await test -S "$work/other.sock" || { cat "$work/other.log" >&2; fail "no daemon on a full disk"; }
decides "$work/other.sock" acme Payroll/read || fail "no answer on a full disk"
stop "$process"
ok "a daemon starts and answers on a full disk"

if [ -n "${STILE_OWN_MOUNTS:-}" ]; then
  versions() { stile policy list --store "$store" --tenant acme | grep -c '[0-9]' || true; }
  before=$(versions)
  # To the last page; and more than what has become free inside of the store's file.
  cat /dev/zero >"$disk/rest" 2>/dev/null || true
  cp -r "$work/second" "$work/large"
  yes '// filler' | head -c 500000 >>"$work/large/payroll.stile" || true
  echo >>"$work/large/payroll.stile"
  refuses 70 "disk_full: no room left on the disk of $store/tenants/acme" \
    stile policy push "$work/large" --store "$store" --tenant acme
  [ "$(versions)" = "$before" ] || fail "a refused version was kept"
  decides "$socket" acme Payroll/read || fail "a refused version changed what decides"
  refuses 70 "disk_full: no room left on the disk of $store" stile tenant create late --store "$store"
  ! stile tenant list --store "$store" | grep -q late || fail "a refused tenant is listed"
  [ ! -e "$store/tenants/late" ] || { ls -la "$store/tenants/late" >&2; fail "a refused tenant has left something"; }
  stile verify --store "$store" --tenant acme >/dev/null || fail "log and views disagree"
  ok "policies and tenants that the disk has no room for are refused with place and mend, and nothing of them is kept"

  # loses: the log of decisions has lost some and says why.
  lost() { stile status --json --socket "$socket" --tenant acme | sed -n 's/.*"lost":\([0-9]*\).*/\1/p'; }
  loses() { [ "$(lost)" -gt 0 ]; }
  await loses || { stile status --socket "$socket" --tenant acme >&2; fail "no loss is counted although the disk is full"; }
  stile status --socket "$socket" --tenant acme | grep -q 'No space left on device' || fail "the status does not say why"
  grep -q 'tenant acme: decisions are answered but not logged: .*No space left on device.*free room' "$work/log" ||
    { cat "$work/log" >&2; fail "the daemon does not say what it loses and how to mend it"; }
  ok "decisions that cannot be logged are answered, counted as lost and told with the mend"
fi

touch "$work/enough"
ended "$asking" || fail "the asking client"
asked=$(wc -l <"$work/answers")
[ "$asked" -ge 10 ] || fail "only $asked questions"
[ "$(grep -c '^{"decision":true,' "$work/answers")" = "$asked" ] || fail "answers changed on a full disk"
kill -0 "$server" || fail "the daemon died"
ok "the daemon answers while the disk is full"

rm -f "$disk/ballast" "$disk/rest"
sed -n "$((each + 1)),$((each + 500))p" "$work/lines" >"$work/rest"
stile load --store "$store" --tenant acme "$work/rest" >/dev/null || fail "loading after room was made"
knows "u$((10000 + each + 500))" || fail "the daemon does not see what was loaded after room was made"
stile verify --store "$store" --tenant acme >/dev/null || fail "log and views disagree"
ok "loading works again once there is room"

if [ -n "${STILE_OWN_MOUNTS:-}" ]; then
  decides "$socket" acme Payroll/read || fail "no answer after room was made"
  recovered() {
    decides "$socket" acme Payroll/read || fail "no answer after room was made"
    grep -q 'tenant acme: decisions are logged again; [1-9][0-9]* were lost' "$work/log"
  }
  await recovered || { cat "$work/log" >&2; fail "the log does not recover"; }
  after=$(lost)
  for _ in 1 2 3 4 5; do decides "$socket" acme Payroll/read || fail "no answer"; done
  stile policy push "$work/second" --store "$store" --tenant acme --socket "$socket" >/dev/null || fail "a push"
  decides "$socket" acme Payroll/second || fail "a version pushed after room was made does not decide"
  stile tenant create late --store "$store" >/dev/null || fail "a tenant"
  sleep 0.3
  [ "$(lost)" = "$after" ] || fail "decisions are lost although there is room"
  stop "$server"
  stile log verify --store "$store" --tenant acme >"$work/out" || { cat "$work/out" >&2; fail "the log does not verify"; }
  stile log show --store "$store" --tenant acme >"$work/shown" || fail "the log"
  [ "$(grep -c 'Payroll/read\|Payroll/second' "$work/shown")" -ge 6 ] || fail "what was decided after room was made is not logged"
  stile verify --store "$store" --tenant acme >/dev/null || fail "log and views disagree"
  ok "the log of decisions goes on by itself once there is room, and verifies; so do policies and tenants"
else
  stop "$server"
fi

# 4. The sandbox. Started as a terminal does: a process group of its own, SIGINT not ignored.
folder=$work/folder temporary=$work/temporary
mkdir "$temporary"
cp -r "$ledger" "$folder"
# sandbox: starts it; its id is in $process.
sandbox() {
  TMPDIR=$temporary setsid env --default-signal=INT "$binaries/stile" dev "$folder" >"$work/dev" 2>"$work/dev.log" &
  started
}
# interrupted PROCESS: Control-C goes to the whole group; nothing of it may stay.
interrupted() {
  kill -INT -- "-$1"
  ended "$1" || { cat "$work/dev.log" >&2; fail "the sandbox ended with $?"; }
  ! kill -0 -- "-$1" 2>/dev/null || fail "a process is left"
  [ -z "$(ls -A "$temporary")" ] || fail "left: $(ls -A "$temporary")"
}
sandbox
await grep -q 'Control-C stops' "$work/dev" || { cat "$work/dev.log" >&2; fail "the sandbox does not start"; }
socket=$(sed -n 's/^socket *//p' "$work/dev")
[ "$(sed -n 's/^tenant *//p' "$work/dev")" = dev ] || fail "no tenant printed"
[ -d "$(sed -n 's/^store *//p' "$work/dev")" ] || fail "no store printed"
await decides "$socket" dev Payroll/read || fail "the sandbox does not answer"
ok "the sandbox prints store, socket and tenant, and answers"

# Milliseconds since the epoch.
now() { date +%s%3N; }
# saved FILE EXPRESSION: edits as an editor does, with a rename.
saved() {
  sed "$2" "$folder/$1" >"$work/edited"
  ! cmp -s "$work/edited" "$folder/$1" || fail "nothing edited in $1"
  mv "$work/edited" "$folder/$1"
}
# stays RULE: the rule decides, and goes on for a second.
stays() {
  local until=$(($(now) + 1000))
  while [ "$(now)" -lt "$until" ]; do
    decides "$socket" dev "$1" || { cat "$work/dev" "$work/dev.log" >&2; fail "$1 does not go on deciding"; }
  done
}
saved payroll.stile 's/permit read on payrun as "read"/permit read on payrun as "saved"/'
begin=$(now)
until decides "$socket" dev Payroll/saved; do
  [ $(($(now) - begin)) -lt 1000 ] || fail "a saved file does not decide within a second"
done
await grep -q '^version 2 decides' "$work/dev" || fail "the new version is not told"
ok "a saved policy decides within a second"

saved payroll.stile 's/user.department == /user.departmint == /'
await grep -q 'the last good version goes on deciding' "$work/dev" || fail "a wrong file is not told"
grep -q 'payroll.stile:4:' "$work/dev" || fail "the place is not told"
grep -q 'did you mean `department`?' "$work/dev" || fail "the diagnostic is not told"
stays Payroll/saved
saved payroll.stile 's/user.departmint == /user.department == /; s/as "saved"/as "mended"/'
await decides "$socket" dev Payroll/mended || fail "a mended file does not decide"
ok "a wrong policy is told with its diagnostic, the last good one decides until it is mended"

saved catalog.stile 's/enum(employee, contractor, vendor)/enum(permanent, contractor, vendor)/'
saved payroll.stile 's/employee/permanent/; s/as "mended"/as "misfit"/'
await grep -q 'user "ada": attribute "employment" needs' "$work/dev.log" || fail "data that do not fit are not told"
stays Payroll/mended
saved catalog.stile 's/enum(permanent, contractor, vendor)/enum(employee, contractor, vendor)/'
saved payroll.stile 's/permanent/employee/; s/as "misfit"/as "fitting"/'
await decides "$socket" dev Payroll/fitting || fail "a catalog that fits again does not decide"
ok "a catalog that the data do not fit is told, the last good one decides until it is mended"

interrupted "$process"
ok "Control-C stops the sandbox and leaves no process and no directory"

users 1 20000 >"$folder/data/many.jsonl"
sandbox
begun() { [ -n "$(ls -A "$temporary")" ]; }
await begun || fail "no directory"
! grep -q socket "$work/dev" || fail "filled before it could be interrupted"
interrupted "$process"
ok "Control-C while the sandbox is being filled leaves no process and no directory"

rm -r "$folder/data"
saved payroll.stile 's/user.department == /user.departmint == /'
sandbox
status=0
ended "$process" || status=$?
[ "$status" = 65 ] || fail "a sandbox on wrong policies ended with $status"
grep -q 'did you mean `department`?' "$work/dev.log" || fail "the diagnostic is not told at the start"
[ -z "$(ls -A "$temporary")" ] || fail "a directory is left after a start that failed"
ok "a sandbox on wrong policies tells the diagnostic and leaves no directory"

# 5. Budgets of a tenant: what one takes beyond its limit is refused, and another goes on.
store=$work/budgets socket=$work/budgets.sock
fill "$store"
stile tenant create other --store "$store" >/dev/null
stile policy push "$ledger" --store "$store" --tenant other >/dev/null
stile load --store "$store" --tenant other "$ledger"/data/*.jsonl >/dev/null
serve "$store" "$socket" "$work/log"
server=$process
refuses 64 'is no limit: write NAME=VALUE' stile tenant limit acme --store "$store" speed=5
refuses 64 'write 5000, 16MiB or none' stile tenant limit acme --store "$store" rules=5MB
refuses 66 'no tenant "acne"' stile tenant limit acne --store "$store" rules=5
stile tenant limit acme --store "$store" questions-per-second=20 tree-bytes=16MiB | grep -q '^tree-bytes  16777216$' ||
  fail "a limit is not told"
stile tenant limit acme --store "$store" --json | grep -q '"questions-per-second":20,.*"rules":null' || fail "limits"
for _ in $(seq 200); do echo "$question"; done >"$work/many"
answered() { stile ask --socket "$socket" --tenant "$1" <"$work/many" | grep -c '^{"decision":true,'; }
slowed() { [ "$(answered acme)" -lt 150 ]; }
await slowed || fail "more questions than the limit"
stile ask --socket "$socket" --tenant acme <"$work/many" >"$work/answers"
grep -q 'budget_exceeded.*more than 20 questions a second' "$work/answers" || fail "the limit is not named"
[ "$(answered other)" = 200 ] || fail "another tenant is held up"
stile tenant limit acme --store "$store" questions-per-second=none >/dev/null
freed() { [ "$(answered acme)" = 200 ]; }
await freed || fail "a limit that is gone still holds"
ok "a tenant that asks more than it may is denied by name, another is not, and a change of the limit holds at once"

stile tenant limit acme --store "$store" rules=2 >/dev/null
refuses 65 'rules of the tenant is 2, and this takes' stile policy push "$ledger" --store "$store" --tenant acme
decides "$socket" acme Payroll/read || fail "the version before does not decide"
stop "$server"
serve "$store" "$socket" "$work/log"
! decides "$socket" acme Payroll/read || fail "a version above the limit decides after a restart"
grep -q 'version 1 is too large: rules of the tenant is 2' "$work/log" || fail "the log does not say why"
stile tenant limit acme --store "$store" rules=none >/dev/null
stop "$process"
ok "a version above the tenant's limits is refused at the push, and by a daemon that starts"

# 6. A tenant that seals: its file tells nothing, keys can change under a daemon that answers, without a key it denies.
store=$work/sealing socket=$work/sealing.sock data=$work/sealing/tenants/acme/data.mdb
stile tenant create acme --store "$store" --sealed | grep -q 'its key is .*/control/keys/acme.key: keep a copy' ||
  fail "the key's place is not told"
stile policy push "$ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$ledger"/data/*.jsonl >/dev/null
! grep -qa 'Payroll Approvers' "$data" || fail "a sealed file tells of groups"
! grep -qa 'permit read on payrun' "$data" || fail "a sealed file tells of policies"
stile tenant list --store "$store" --json | grep -q '"sealed":true' || fail "list does not say that it is sealed"
serve "$store" "$socket" "$work/log"
server=$process
decides "$socket" acme Payroll/read || fail "a sealed tenant is not decided for"
(for _ in $(seq 40); do stile ask --socket "$socket" --tenant acme "$question" >/dev/null || exit 1; done) &
asker=$!
stile tenant seal acme --store "$store" | grep -q '^[0-9]* values of tenant acme sealed' || fail "sealing says nothing"
wait "$asker" || fail "an answer failed while the data key changed"
decides "$socket" acme Payroll/read || fail "no decision under the new data key"
stile verify --store "$store" --tenant acme >/dev/null || fail "log and views disagree after sealing anew"
mv "$store/control/keys/acme.key" "$work/former.key"
head -c 32 /dev/urandom >"$store/control/keys/acme.key"
chmod 600 "$store/control/keys/acme.key"
refuses 70 'is not the key that tenant "acme" was sealed under' stile policy list --store "$store" --tenant acme
stile tenant rewrap acme --former "$work/former.key" --store "$store" >/dev/null
stile policy list --store "$store" --tenant acme >/dev/null || fail "the new key does not open"
stop "$server"
mv "$store/control/keys/acme.key" "$work/acme.key"
serve "$store" "$socket" "$work/log"
! decides "$socket" acme Payroll/read || fail "decided without the key"
grep -q 'acme.key' "$work/log" || fail "the log does not name the key that is missing"
mkdir "$work/keys"
cp "$work/acme.key" "$work/keys/"
stop "$process"
STILE_KEYS=$work/keys serve "$store" "$socket" "$work/log"
decides "$socket" acme Payroll/read || fail "STILE_KEYS is not looked in"
stop "$process"
ok "a sealed tenant: nothing readable, keys change under a daemon that answers, no key means no decision"
# 7. A daemon that has answered and sleeps does not keep the store's pages from being used again.
store=$work/pages socket=$work/pages.sock
fill "$store"
serve "$store" "$socket" "$work/log"
decides "$socket" acme Payroll/read || fail "no answer"
for turn in $(seq 300); do
  echo "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"bob\"},\"value\":\"low\",\"at\":$turn}}"
done >"$work/signals"
bytes() { stat -c %s "$store/tenants/acme/data.mdb"; }
before=$(bytes)
stile load --store "$store" --tenant acme --each "$work/signals" >/dev/null
[ $(($(bytes) - before)) -lt 1000000 ] || fail "300 commits took $(($(bytes) - before)) bytes"
decides "$socket" acme Payroll/read || fail "no answer after the commits"
stop "$process"
ok "a daemon that sleeps holds up no page of the store"

# 8. A number below zero is taken both ways that it can be written.
for spelling in "--nice -3" "--nice=-3"; do
  # shellcheck disable=SC2086 # two words
  serve "$store" "$socket" "$work/log" $spelling --pin -1
  # The socket is there before each thread has said how urgent it is.
  found=""
  for _ in $(seq 100); do
    cat /proc/"$process"/task/*/stat | sed 's/.*) //' | cut -d ' ' -f 17 | grep -x -- -3 >/dev/null && found=1 && break
    grep 'nice -3' "$work/log" >/dev/null && found=1 && break
    sleep 0.05
  done
  [ -n "$found" ] || { cat "$work/log" >&2; fail "$spelling has no effect"; }
  stop "$process"
done
refuses 64 "--nice must be from -20 to 19" "$binaries/stiled" --store "$store" --nice -21
ok "--nice takes a number below zero, with = and without"
echo "$passed passed, 0 failed"
