#!/usr/bin/env bash
# Has roots, proofs and checkpoints of a log of 100,000 records verified by others: by Python with
# hashlib alone, written from RFC 9162, and by Go's own signed notes and transparency logs.
#
#   AAP_BINARY=target/release/aap bash tests/interop/verify.sh
#
# It needs Go, and what python.sh needs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$(realpath "${AAP_BINARY:?is not set: build, and name the program to test}")
directory=$(mktemp -d)
readonly directory binary
trap 'rm -rf "$directory"' EXIT

# shellcheck source=tests/interop/python/packages.sh
. tests/interop/python/packages.sh
timeout --kill-after=10 300 python3 tests/interop/python/verify.py "$binary" \
  "$directory/key" "$directory/lines"
(cd tests/interop/go && go build -o "$directory/verify" .)
"$directory/verify" "$(cat "$directory/key")" "$directory/lines"
# It isn't satisfied by everything.
sed '1s/\\n\([0-9]*\)\\n/\\n1\1\\n/' "$directory/lines" >"$directory/altered"
if "$directory/verify" "$(cat "$directory/key")" "$directory/altered" 2>/dev/null; then
  echo "FAILED: an altered checkpoint is taken" >&2
  exit 1
fi
echo "== an altered checkpoint is refused"
