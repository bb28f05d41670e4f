#!/usr/bin/env bash
# Builds the clients under examples/ and has all of them use one server: sessions that are renewed,
# a client key that is disabled and enabled, a server that is killed under them.
#
#   AAP_BINARY=target/release/aap bash tests/interop/examples.sh [LANGUAGE…]   all by default
#
# It needs what python.sh needs, openssl, buf, and Go. What it fetches and builds goes to
# target/ci-tools/examples, and what is made from the protos to where the examples' READMEs have it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$(realpath "${AAP_BINARY:?is not set: build, and name the program to test}")
languages=("$@")
((${#languages[@]} > 0)) || languages=(python go)
readonly binary languages
readonly built=$PWD/target/ci-tools/examples

# Fetched by their lock file, in a directory of their own: Debian has elsewhere what a virtual
# environment needs.
build_python() {
  local lock=examples/python/requirements.txt fetched=$built/python
  if ! cmp -s "$lock" "$fetched/requirements.txt"; then
    rm -rf "$fetched"
    python3 -m pip install --quiet --disable-pip-version-check --require-hashes \
      --target "$fetched" -r "$lock"
    cp "$lock" "$fetched"
  fi
  PYTHONPATH=$fetched bash examples/python/generate.sh
}

build_go() {
  (cd examples/go && go generate ./... && go vet ./... && go build -o "$built/go/" ./cmd/...)
}

mkdir -p "$built"
# The driver's own, in Python too; its packages are others than the example's.
# shellcheck source=tests/interop/python/packages.sh
. tests/interop/python/packages.sh
python3 -m grpc_tools.protoc -I examples/proto --python_out="$generated" \
  --grpc_python_out="$generated" examples/proto/example/v1/secret_service.proto
for language in "${languages[@]}"; do
  start=$SECONDS
  (unset PYTHONPATH; "build_$language")
  echo "== built the example in $language in $((SECONDS - start)) s"
done
PYTHONPATH=$PYTHONPATH:tests/interop/python timeout --kill-after=10 300 \
  python3 tests/interop/examples/main.py "$binary" "$built" "${languages[@]}"
