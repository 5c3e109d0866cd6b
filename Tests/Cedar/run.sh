#!/usr/bin/env bash
# Holds Stile's answers equal to Cedar's: random policies (QUESTIONS of them) and the applications of Cedar's evaluation
# (REQUESTS of each data set).
#
#   run.sh DIRECTORY-OF-BINARIES PYTHON-WITH-CEDARPY
#
# The test binaries must be built. Without cedarpy nothing is asked, and that is said; with REQUIRED=1 it is a failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binaries=$1 python=$2
if ! "$python" -c 'import cedarpy' 2>/dev/null; then
  echo "Cedar is not asked: $python has no cedarpy (make $(dirname "$(dirname "$python")")/ready installs it)" >&2
  exit "${REQUIRED:-0}"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/../.."
STILE_CEDAR_CASES="$work/cases" STILE_CEDAR_TRIPLES="${QUESTIONS:-2000}" ${SWIFT:-swift} test --skip-build --filter CedarTests \
  > "$work/log" 2>&1 || { tail -40 "$work/log" >&2; exit 1; }
grep '^seed' "$work/log" || true
"$python" "$here/differential.py" "$work/cases"
"$python" "$here/applications.py" "$binaries" --requests "${REQUESTS:-100}" --rounds "${ROUNDS:-1}"
