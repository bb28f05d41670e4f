#!/usr/bin/env bash
# Follows the audit log with many watchers of different filters and speeds while records come and the
# server restarts, and looks that each gets exactly its records, each once and in order.
#
#   bash tests/interop/watch.sh [RECORDS [WATCHERS [RESTARTS]]]      1,000,000, 50 and 4 by default
#
# AAP_BINARY is the program to test; without it, the one that cargo builds for its tests.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export AAP_WATCH_RECORDS=${1:-1000000} AAP_WATCH_WATCHERS=${2:-50} AAP_WATCH_RESTARTS=${3:-4}
for number in "$AAP_WATCH_RECORDS" "$AAP_WATCH_WATCHERS" "$AAP_WATCH_RESTARTS"; do
  if ! [[ $number =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash tests/interop/watch.sh [RECORDS [WATCHERS [RESTARTS]]]" >&2
    exit 2
  fi
done
if [[ -n ${AAP_BINARY:-} ]]; then
  # The test runs in the package's directory, wherever this was called.
  AAP_BINARY=$(realpath "$AAP_BINARY")
  export AAP_BINARY
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=10 1800 \
  cargo test --locked --test it every_watcher_gets_exactly -- --nocapture 2>&1 | tee "$output"
# A test that was renamed would not be run, and not be missed.
grep -q "^[0-9]* records, $AAP_WATCH_RESTARTS restarts, .* each once and in order" "$output"
