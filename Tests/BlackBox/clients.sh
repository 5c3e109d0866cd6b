#!/usr/bin/env bash
# What the clients promise, against a running daemon and against a server that misbehaves.
#
#   clients.sh BINARIES
#
# SANITIZERS: one of libstile's test for each, "address,undefined" unless given. FUZZ: mutated frames for its reader.
# RESTARTS: of the daemon under the Swift client's questions.
source "$(dirname "$0")/lib.sh"
tests=$here/Tests/Clients sources=$here/Sources/CStile
sanitizers=${SANITIZERS:-address,undefined} fuzz=${FUZZ:-100000} seed=${SEED:-$RANDOM} restarts=${RESTARTS:-20}
store=$work/store socket=$work/decision.sock
stile tenant create acme --store "$store" >/dev/null
stile policy push "$here/policies/ledger" --store "$store" --tenant acme >/dev/null
stile load --store "$store" --tenant acme "$here"/policies/ledger/data/*.jsonl >/dev/null
serve "$store" "$socket" "$work/log"
server=$process
cc -O1 -Wall -Wextra -o "$work/strange" "$tests/strange.c" -pthread
"$work/strange" "$work/strange.sock" &
started
strange=$process
await test -S "$work/strange.sock" || fail "no strange server"

# 1. libstile, as it is installed.
make -s -C "$here" install-libstile DESTDIR="$work/root" PREFIX=/usr >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "install"; }
grep -v '^typedef' "$sources/include/stile.h" | grep -o '\bstile_[a-z_]*(' | tr -d '(' | sort -u >"$work/declared"
nm -D --defined-only "$work/root/usr/lib/libstile.so" | sed -n 's/.* T \(.*\)@@STILE_0.1/\1/p' | sort >"$work/shown"
diff "$work/declared" "$work/shown" >&2 || fail "the library shows other functions than its header"
ok "libstile shows the functions of its header, versioned, and nothing else"
export PKG_CONFIG_PATH=$work/root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/root
# shellcheck disable=SC2046 # several options
cc -std=c11 -Wall -Werror -o "$work/example" "$tests/example.c" $(pkg-config --cflags --libs libstile)
# shellcheck disable=SC2046
cc -std=c11 -o "$work/example-static" "$tests/example.c" $(pkg-config --cflags libstile) "$work/root/usr/lib/libstile.a" -pthread
for program in example example-static; do
  LD_LIBRARY_PATH=$work/root/usr/lib "$work/$program" "$socket" acme | grep -qx "permitted by Payroll/read" || fail "$program"
done
c++ -x c++ -fsyntax-only "$sources/include/stile.h" 2>/dev/null || ! command -v c++ >/dev/null || fail "the header is no C++"
ok "a program is built with pkg-config, against the shared and the static library"

for sanitizer in $sanitizers; do
  cc -O1 -g -std=gnu11 -Wall -Wextra "-fsanitize=$sanitizer" -fno-sanitize-recover=all -I"$sources/include" \
    -o "$work/test" "$tests/libstile_test.c" "$sources"/*.c -pthread
  "$work/test" "$socket" acme "$work/strange.sock" "$binaries/stile" "$store" >"$work/out" || { cat "$work/out" >&2; fail "libstile under $sanitizer"; }
  cat "$work/out" | grep -v '^[0-9]* passed'
  passed=$((passed + $(sed -n 's/^\([0-9]*\) passed.*/\1/p' "$work/out")))
done
cc -O1 -g -std=gnu11 -fsanitize=address,undefined -fno-sanitize-recover=all -I"$sources" -I"$sources/include" \
  -o "$work/fuzz" "$tests/libstile_fuzz.c" "$sources"/*.c -pthread
"$work/fuzz" "$fuzz" "$seed" || fail "libstile's reader, seed $seed"
ok "libstile's reader takes any bytes"

# 2. The Python client.
python3 "$tests/stile_test.py" "$socket" acme "$work/strange.sock" >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "the Python client"; }
ok "the Python client: $(sed -n 's/^Ran \([0-9]* tests\).*/\1/p' "$work/out")"

# 3. The Swift client.
"$binaries/client-example" "$socket" acme | grep -qx "permitted by Payroll/read" || fail "the Swift example"
[[ "$(sed 's/^    //' "$here/README.md")" == *"$(sed 1d "$tests/Example/main.swift")"* ]] || fail "README.md has another Swift example"
ok "the Swift example of README.md runs"
"$binaries/client-exercise" "$socket" acme "$work/strange.sock" "$binaries/stile" "$store" >"$work/out" || { cat "$work/out" >&2; fail "the Swift client"; }
grep -v '^[0-9]* passed' "$work/out"
passed=$((passed + $(sed -n 's/^\([0-9]*\) passed.*/\1/p' "$work/out")))

# 4. Restarts under load.
"$work/test" hold "$socket" acme 4000 >"$work/held" &
started
holding=$process
for _ in 1 2 3 4; do
  sleep 0.7
  stop "$server"
  serve "$store" "$socket" "$work/log"
  server=$process
done
ended "$holding" || fail "libstile lost a question in a restart"
ok "no question of $(cat "$work/held") is lost while the daemon is restarted four times"

"$binaries/client-exercise" hold "$socket" acme "$work/enough" >"$work/held" &
started
holding=$process
for _ in $(seq "$restarts"); do
  sleep 0.3
  stop "$server"
  serve "$store" "$socket" "$work/log"
  server=$process
done
sleep 0.3
touch "$work/enough"
ended "$holding" || { cat "$work/held" >&2; fail "StileClient lost a question in a restart"; }
ok "StileClient, the daemon restarted $restarts times: $(cat "$work/held")"

kill "$strange"
stop "$server"
echo "$passed passed, 0 failed"
