#!/usr/bin/env bash
# Has a client in another language, made from the protos alone, go through every method of the API:
# what works, and each way in which it is refused, with code, reason, metadata and details.
#
#   AAP_BINARY=target/release/aap bash tests/interop/python.sh
#
# It needs Python 3 with pip (which it installs by apt-get where it can); the packages that it needs,
# and the client's generated code, go to target/ci-tools.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$(realpath "${AAP_BINARY:?is not set: build, and name the program to test}")
# shellcheck source=tests/interop/python/packages.sh
. tests/interop/python/packages.sh
timeout --kill-after=10 300 python3 tests/interop/python/main.py "$binary"
