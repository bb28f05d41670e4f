#!/usr/bin/env bash
# Makes the packages `aap.v1` and `example.v1` here, from the protos.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
rm -rf aap example
python3 -m grpc_tools.protoc -I ../../proto -I ../proto \
  --python_out=. --pyi_out=. --grpc_python_out=. \
  ../../proto/aap/v1/*.proto ../proto/example/v1/*.proto
