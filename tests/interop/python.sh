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
readonly here=tests/interop/python tools=$PWD/target/ci-tools/python
readonly packages=$tools/packages generated=$tools/generated

# Into a directory of their own, not a virtual environment: Debian has what that needs elsewhere.
if ! python3 -m pip --version >/dev/null 2>&1; then
  command -v apt-get >/dev/null || { echo "pip is not there, and no apt-get to install it" >&2; exit 1; }
  apt-get install -y python3 python3-pip
fi
if ! cmp -s "$here/requirements.txt" "$packages/requirements.txt"; then
  rm -rf "$packages"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$packages" \
    -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$packages"
fi

export PYTHONPATH=$packages:$generated PYTHONDONTWRITEBYTECODE=1
rm -rf "$generated"
mkdir -p "$generated"
python3 -m grpc_tools.protoc -I proto --python_out="$generated" --grpc_python_out="$generated" \
  proto/aap/v1/*.proto
timeout --kill-after=10 300 python3 "$here/main.py" "$binary"
