#!/usr/bin/env bash
# The examples in policies/: each checks without a finding, is laid out by `stile fmt`, passes its tests with every rule and every
# condition reached, and answers what its README shows.
#
#   policies.sh DIRECTORY-OF-BINARIES
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
binaries=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"
stile() { NO_COLOR=1 "$binaries/stile" "$@"; }
fail() { echo "policies.sh: $*" >&2; exit 1; }

# The questions that a README shows: `    $ stile ask …`, and behind it the first line of the answer.
readme() {
  local question="" line
  while IFS= read -r line; do
    case $line in
      '    $ stile ask '*) question=${line#'    $ stile '} ;;
      '    '*)
        if [ -n "$question" ]; then
          answer=$(eval "stile $question" | head -1) || true
          [[ $answer == "${line#    }"* ]] || fail "$1: 'stile $question' answers '$answer'"
          asked=$((asked + 1)) question=""
        fi ;;
    esac
  done < "$1"
}

count=0 asked=0
for folder in policies/*/; do
  folder=${folder%/}
  stile check "$folder" > "$work/check" || { cat "$work/check"; fail "$folder does not check"; }
  ! grep -qE '^(warning|error)' "$work/check" || { cat "$work/check"; fail "$folder has findings"; }
  stile fmt --check "$folder" > /dev/null || fail "$folder: run 'stile fmt $folder'"
  stile test "$folder" --min-coverage 100 > "$work/test" || { grep -v '^ok' "$work/test"; fail "$folder: tests"; }
  [ -f "$folder/README.md" ] || fail "$folder has no README.md"
  readme "$folder/README.md"
  count=$((count + 1))
done
echo "$count example tenants check, are laid out and pass their tests; $asked questions of their READMEs are answered as shown"
