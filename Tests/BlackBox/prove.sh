#!/usr/bin/env bash
# Proofs against the running programs: no stale answer, killed writers lose nothing, hostile frames harm nobody.
#
#   TRIALS=… KILLS=… FRAMES=… prove.sh BINARIES
source "$(dirname "$0")/lib.sh"
trials=${TRIALS:-200} kills=${KILLS:-10} frames=${FRAMES:-20000} seed=${SEED:-$RANDOM}
fail() {
  echo "FAILED (seed $seed): $*" >&2
  tail -5 "$work/log" >&2 || true
  exit 1
}
RANDOM=$seed
echo "seed $seed"
cc -O1 -o "$work/hostile" "$here/Tests/BlackBox/hostile.c"
cc -O1 -o "$work/stale" "$here/Tests/BlackBox/stale.c"
store=$work/store socket=$work/decision.sock
stile tenant create acme --store "$store" >/dev/null
stile policy push "$here/policies/ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$here"/policies/ledger/data/*.jsonl >/dev/null
serve "$store" "$socket" "$work/log"
server=$process

approve='"action":{"name":"approve"},"resource":{"type":"payrun","id":"p","properties":{"total":10,"status":"draft","created_by":"bob"}}'
permitted='{"subject":{"type":"user","id":"ada"},'$approve',"session":"s-ada"}'
denied='{"subject":{"type":"user","id":"cho"},'$approve',"device":"laptop-1"}'

# 1. Hostile frames.
printf '%s\n' "$permitted" "$denied" "${denied/approve/delete}" "${denied/payrun/invoice}" >"$work/questions"
stile encode --tenant acme <"$work/questions" >"$work/frames"
before=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
"$work/hostile" "$socket" "$work/frames" "$frames" "$seed" || fail "hostile frames"
kill -0 "$server" || fail "the daemon died"
after=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
echo "resident memory before $before kB, after $after kB"
[ "$after" -lt $((before + 20000)) ] || fail "memory grew"

# 2. Stale answers.
printf '%s\n' "$permitted" >"$work/questions"
stile encode --tenant acme <"$work/questions" >"$work/frames"
"$work/stale" "$socket" "$binaries/stile" "$store" acme "$work/frames" "$trials" || fail "stale answers"

# 3. Versions activated under load, each second one with another layout of views: no answer is lost, wrong or an error.
cp -r "$here/policies/ledger" "$work/other"
sed -i 's/^  entity user {/  entity user {\n    title: string = ""/' "$work/other/catalog.stile"
asked=${QUESTIONS:-5000}
for _ in $(seq "$asked"); do printf '%s\n' "$permitted"; done >"$work/questions"
"$binaries/stile" ask --socket "$socket" --tenant acme <"$work/questions" >"$work/answers" &
started
asking=$process
pushes=0
while kill -0 "$asking" 2>/dev/null && [ "$pushes" -lt 50 ]; do
  pushes=$((pushes + 1))
  folder=$work/other
  [ $((pushes % 2)) = 0 ] && folder=$here/policies/ledger
  stile policy push "$folder" --store "$store" --tenant acme --socket "$socket" >/dev/null || fail "a push under load"
done
ended "$asking" || fail "the asking client"
[ "$(grep -c '^{"decision":true,' "$work/answers")" = "$asked" ] || fail "answers changed: $(grep -v '^{"decision":true,' "$work/answers" | head -2)"
echo "$pushes versions activated under $asked questions, every answer right"

# 4. Writers killed at random points; every acknowledged line is there, log and views agree, the daemon answers.
number=0
for round in $(seq "$kills"); do
  for line in $(seq 3000); do
    printf '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"k%d-%d","userName":"k","active":true}\n' "$round" "$line"
  done >"$work/lines"
  # The program itself, not a function around it: the kill must hit the writer.
  "$binaries/stile" load --each --store "$store" --tenant acme "$work/lines" >"$work/acknowledged" &
  started
  sleep "0.0$((RANDOM % 90 + 10))"
  kill -9 "$process" 2>/dev/null || true
  ended "$process" 2>/dev/null || true
  last=$(grep -c '^{"ok":true,.*}$' "$work/acknowledged" || true)
  number=$((number + last))
  if [ "$last" -gt 0 ]; then
    answer=$(stile ask --json --socket "$socket" --tenant acme \
      '{"subject":{"type":"user","id":"k'"$round-$last"'"},"action":{"name":"read"},"resource":{"type":"payrun","id":"p"}}' || true)
    case $answer in
      *unknown_subject*) fail "acknowledged line $last of round $round is lost" ;;
      *'"decision"'*) ;;
      *) fail "no answer: $answer" ;;
    esac
  fi
done
stile verify --store "$store" --tenant acme || fail "log and views disagree"
kill -0 "$server" || fail "the daemon died"
echo "$kills writers killed after $number acknowledged changes, none lost"
stop "$server"
echo "4 passed, 0 failed"
