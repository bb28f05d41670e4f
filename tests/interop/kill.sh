#!/usr/bin/env bash
# Kills the server under load, so many times, and looks for everything that it had acknowledged.
#
#   bash tests/interop/kill.sh [ROUNDS]      5 rounds by default
#
# AAP_BINARY is the program to test; without it, the one that cargo builds for its tests. A failed
# run is repeated with the AAP_KILL_SEED that it printed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export AAP_KILL_ROUNDS=${1:-5}
if ! [[ $AAP_KILL_ROUNDS =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash tests/interop/kill.sh [ROUNDS]" >&2
  exit 2
fi
if [[ -n ${AAP_BINARY:-} ]]; then
  # The test runs in the package's directory, wherever this was called.
  AAP_BINARY=$(realpath "$AAP_BINARY")
  export AAP_BINARY
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=10 1800 cargo test --locked --test it killed -- --nocapture 2>&1 | tee "$output"
# A test that was renamed would not be run, and not be missed.
grep -q "^after $AAP_KILL_ROUNDS kills all .* are there$" "$output"
