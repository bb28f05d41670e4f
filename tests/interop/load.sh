#!/usr/bin/env bash
# Has many clients change, repeat, read and check at random, and finds one order in which the server
# can have answered all of it.
#
#   bash tests/interop/load.sh [CLIENTS [SECONDS]]      100 clients for 60 s by default
#
# AAP_BINARY is the program to test; without it, the one that cargo builds for its tests. A failed
# run is repeated with the AAP_LOAD_SEED that it printed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export AAP_LOAD_CLIENTS=${1:-100} AAP_LOAD_SECONDS=${2:-60}
if ! [[ $AAP_LOAD_CLIENTS =~ ^[1-9][0-9]*$ && $AAP_LOAD_SECONDS =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash tests/interop/load.sh [CLIENTS [SECONDS]]" >&2
  exit 2
fi
if [[ -n ${AAP_BINARY:-} ]]; then
  # The test runs in the package's directory, wherever this was called.
  AAP_BINARY=$(realpath "$AAP_BINARY")
  export AAP_BINARY
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=10 "$((AAP_LOAD_SECONDS + 600))" \
  cargo test --locked --test it many_clients_see_one_order -- --nocapture 2>&1 | tee "$output"
# A test that was renamed would not be run, and not be missed.
grep -q '^[0-9]* calls and [0-9]* changes have one order$' "$output"
