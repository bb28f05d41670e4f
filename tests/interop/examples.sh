#!/usr/bin/env bash
# Follows the READMEs under examples/ as their readers would: runs their shell blocks, word for
# word, against a server to try. Then has all clients use another server at the same time: sessions
# that are renewed, a client key that is disabled and enabled, a server that is killed under them.
#
#   AAP_BINARY=target/release/aap bash tests/interop/examples.sh [LANGUAGE…]   all by default
#
# It needs what python.sh needs, openssl, buf, Go, npm, a JDK and Maven. What is fetched and built
# is where the READMEs have it, but for what Maven fetches, which goes to target/ci-tools/maven.
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly ALL=(python go node java)
# A server takes no assertion of its first five seconds.
readonly TOO_EARLY=6

export MAVEN_OPTS="${MAVEN_OPTS:-} -Dmaven.repo.local=$PWD/target/ci-tools/maven"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

main() {
  local languages=("$@") language
  ((${#languages[@]} > 0)) || languages=("${ALL[@]}")
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    # Debian has what a virtual environment needs in a package of its own.
    apt-get install -y python3-venv
  fi
  prepare
  for language in "${languages[@]}"; do
    follow "$language"
  done
  stop
  drive "${languages[@]}"
}

# Starts a server to try, and makes on it what the README says.
prepare() {
  cut_blocks examples/README.md 'Something to try them on' world
  [[ $(<"$directory/world.1") == 'cargo run --release -- serve --dev' ]] \
    || fail "the first block does not start the server: $(<"$directory/world.1")"
  # Where the second block looks for the program.
  mkdir -p "$directory/target/release"
  ln -s "$binary" "$directory/target/release/aap"
  # shellcheck disable=SC2119
  start
  local started=$SECONDS
  cd "$directory"
  # shellcheck source=/dev/null
  . ./world.2
  cd "$OLDPWD"
  late() { ((SECONDS > started + TOO_EARLY)); }
  until_true 10 late
}

# follow LANGUAGE: builds the example, and has it do what its README shows.
follow() {
  local language=$1 status
  cut_blocks "examples/$language/README.md" '' "$language"
  export GATEWAY_LISTEN=127.0.0.1:$((20000 + RANDOM % 12000))
  export GATEWAY_SERVER=http://$GATEWAY_LISTEN
  rm -rf "examples/$language/audit-log"
  # In a shell of its own and in no condition, where `set -e` would not count.
  set +e
  (set -e; run_blocks "$directory/$language") >"$directory/$language.out"
  status=$?
  set -e
  cat "$directory/$language.out"
  ((status == 0)) || fail "the example in $language ended with status $status"
  (($(grep -c '^reports/2025 is read: 19 bytes$' "$directory/$language.out") == 21)) \
    || fail "the application in $language does not read"
  grep -q 'allowed: the policy Reports grants it by the network rule Here' \
    "$directory/$language.said" || fail "the gateway in $language does not say its decisions"
  rm -r "examples/$language/audit-log"
}

# run_blocks PREFIX: builds, starts the gateway, reads through it, and starts the follower. What
# goes on for ever is ended with all that it has started.
run_blocks() {
  local block=$1 since=$SECONDS
  # shellcheck source=/dev/null
  . "$block.1"
  echo "== built in $((SECONDS - since)) s: ${block##*/}"
  set -m
  # shellcheck source=/dev/null
  . "$block.2" >"$block.said"
  # shellcheck disable=SC2064
  trap "kill -- -$!" EXIT
  until_true 20 grep -q '^serving on' "$block.said"
  # shellcheck source=/dev/null
  . "$block.3"
  # shellcheck source=/dev/null
  . "$block.4" &
  follows() { [[ -s audit-log/records.jsonl ]]; }
  until_true 20 follows
  kill -- -$!
}

# drive LANGUAGE…: the driver is in Python, too; its packages are others than the example's.
drive() {
  # shellcheck source=tests/interop/python/packages.sh
  . tests/interop/python/packages.sh
  python3 -m grpc_tools.protoc -I examples/proto --python_out="$generated" \
    --grpc_python_out="$generated" examples/proto/example/v1/secret_service.proto
  PYTHONPATH=$PYTHONPATH:tests/interop/python timeout --kill-after=10 300 \
    python3 tests/interop/examples/main.py "$binary" "$@"
}

main "$@"
