# Puts the packages that the clients in Python need, and their generated code, into target/ci-tools.
#
# To be sourced, from the top of the tree.
# shellcheck shell=bash
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
