#!/usr/bin/env bash
# Fuzzes the policy language with libFuzzer: lexer and parser, checker, compiler.
#
#   run.sh SECONDS [TARGET…]     each target for so long
#   run.sh replay [TARGET…]      the corpus once, and 2,000 mutations of it
#
# Built by swiftc alone, beside the package: -sanitize=fuzzer brings libFuzzer's main and the coverage it steers by, and
# lld is the linker that takes both. Inputs that were found to break something stay in found/TARGET and are replayed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/.build/fuzz
what=${1:?SECONDS or replay}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(parser checker compiler)

# Limits of one input, and of the whole: an input above them is a finding.
limits=(-max_len=65536 -timeout=5 -rss_limit_mb=1024)

if ! find "$(dirname "$(readlink -f "$(command -v swiftc)")")/.." -name 'libclang_rt.fuzzer-*.a' 2>/dev/null | grep -q .; then
  echo "fuzz: this toolchain has no libFuzzer; left out" >&2
  exit "${REQUIRED:-0}"
fi

flags=(-swift-version 6 -package-name stile -O -wmo -parse-as-library -sanitize=fuzzer
  -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility
  -enable-upcoming-feature InternalImportsByDefault -suppress-warnings -I "$build" -Xcc "-fmodule-map-file=$build/CLinux.modulemap")

# module NAME: compiles a room of Sources, unless nothing of it has changed, nor of one before it.
changed=
module() {
  local newest
  newest=$(find "$root/Sources/$1" "$here/run.sh" -type f -newer "$build/$1.o" 2>/dev/null | head -1 || true)
  if [ ! -f "$build/$1.o" ] || [ -n "$newest" ] || [ -n "$changed" ]; then
    changed=$1
    find "$root/Sources/$1" -name '*.swift' | sort >"$build/$1.files"
    swiftc "${flags[@]}" -module-name "$1" -emit-module -emit-module-path "$build/$1.swiftmodule" -c \
      -o "$build/$1.o" @"$build/$1.files"
  fi
}

# corpus TARGET: the seeds: every file of policies of this repository, and each tenant as one text.
corpus() {
  local seeds=$build/seeds/$1 folder
  rm -rf "$seeds"
  mkdir -p "$seeds" "$build/corpus/$1" "$build/artifacts/$1"
  find "$root/policies" "$root/Tests/PolicyLanguageTests" -name '*.stile' -size -60k | sort | while read -r file; do
    cp "$file" "$seeds/$(echo "${file#"$root/"}" | tr / _)"
  done
  for folder in "$root"/policies/*/; do
    cat "$folder"*.stile >"$seeds/tenant_$(basename "$folder")"
  done
  if [ -d "$here/found/$1" ]; then cp "$here/found/$1"/* "$seeds/"; fi
}

mkdir -p "$build"
# The room in C is one header to the others and its objects to the linker.
echo "module CLinux { header \"$root/Sources/CLinux/include/CLinux.h\" export * }" >"$build/CLinux.modulemap"
for source in "$root"/Sources/CLinux/*.c; do
  clang -O2 -c -I "$root/Sources/CLinux/include" -o "$build/$(basename "$source" .c).object" "$source"
done
# What the grammar spells out.
sed -n '/^file /,/^\/\* Tokens/p' "$root/grammar/stile.ebnf" | grep -o '"[^" ]*"' | sort -u >"$build/words.dict"
for room in Memory PolicyLanguage DecisionEngine; do module "$room"; done
for target in "${targets[@]}"; do
  extra=()
  [ "$target" != compiler ] || extra=("$here/questions.swift" "$build/DecisionEngine.o" "$build/Memory.o" "$build"/*.object)
  swiftc "${flags[@]}" -use-ld=lld -module-name "${target}_fuzz" -o "$build/$target" \
    "$here/targets/$target.swift" "$here/input.swift" "${extra[@]}" "$build/PolicyLanguage.o"
done

failed=0
for target in "${targets[@]}"; do
  corpus "$target"
  if [ "$what" = replay ]; then
    runs=$(($(find "$build/seeds/$target" -type f | wc -l) + 2000))
    bound=(-runs="$runs" -max_total_time=60)
    folders=("$build/seeds/$target")
  else
    bound=(-max_total_time="$what")
    folders=("$build/corpus/$target" "$build/seeds/$target")
  fi
  log=$build/$target.log
  if ! "$build/$target" "${limits[@]}" "${bound[@]}" -dict="$build/words.dict" -print_final_stats=1 \
    -artifact_prefix="$build/artifacts/$target/" "${folders[@]}" >"$log" 2>&1; then
    failed=1
    echo "fuzz $target: FAILED" >&2
    grep -vE '^#[0-9]|NEW_FUNC|^Dictionary|^INFO' "$log" | tail -60 >&2
    continue
  fi
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  coverage=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
  echo "fuzz $target: $executed executions, $coverage, peak $memory MiB"
done
exit $failed
