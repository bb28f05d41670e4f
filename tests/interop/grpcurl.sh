#!/usr/bin/env bash
# Follows the README as a new user would: runs the shell blocks of its section "Try it", word for
# word, against a fresh server, and compares what comes with what the README promises. Then looks at
# what grpcurl shows of the server besides.
#
#   AAP_BINARY=target/release/aap bash tests/interop/grpcurl.sh
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly LOCATION=accounts/demo/regions/local
# What a check that is denied ends with.
readonly DENIED=10

main() {
  take_blocks
  # Where the README looks for the program.
  mkdir -p "$directory/target/release"
  ln -s "$binary" "$directory/target/release/aap"
  # shellcheck disable=SC2119
  start
  run_blocks
  echo "== what the blocks did"
  check_created
  check_key
  check_decisions
  check_records
  echo "== what the server says of itself"
  check_health
  check_reflection
  check_error
  stop
  echo "== SIGTERM: ended with status 0"
}

# Takes the README's shell blocks, and looks at the first one.
take_blocks() {
  cut_blocks README.md 'Try it' block
  blocks=$(find "$directory" -name 'block.*' | wc -l)
  ((blocks > 1)) || fail "the README has no section \"Try it\" with shell blocks"
  [[ $(<"$directory/block.1") == 'cargo run --release -- serve --dev' ]] \
    || fail "the first block does not start the server: $(<"$directory/block.1")"
}

# Runs all blocks but the first in one shell, as one types them; what each says goes to a file. A
# server takes no proof of its first seconds, in which nobody has typed so much yet: then the session
# is asked for again.
run_blocks() {
  (
    cd "$directory"
    # shellcheck disable=SC2016
    timeout 60 bash -c '
      for number in $(seq 2 "$1"); do
        . "./block.$number" >"out.$number" 2>"err.$number"
        status=$?
        if grep -q "session create" "block.$number"; then
          again=$(sed -n "/^aap session/,\$p" "block.$number")
          for _ in $(seq 20); do
            ((status)) || break
            sleep 0.5
            eval "$again" 2>>"err.$number"
            status=$?
          done
        fi
        echo "$status" >"status.$number"
      done
    ' run "$blocks"
  )
  local number status
  for ((number = 2; number <= blocks; number++)); do
    echo "== block $number"
    cat "$directory/block.$number"
    echo "-- answers"
    cat "$directory/out.$number" "$directory/err.$number"
    status=$(<"$directory/status.$number")
    if grep -q '198.51.100.9' "$directory/block.$number"; then
      ((status == DENIED)) || fail "the denied check ended with status $status"
    else
      ((status == 0)) || fail "block $number ended with status $status"
    fi
  done
}

# answer PATTERN: what the block said whose commands have that.
answer() {
  local number
  for ((number = 2; number <= blocks; number++)); do
    if grep -q -- "$1" "$directory/block.$number"; then
      cat "$directory/out.$number"
      return
    fi
  done
  fail "no block of the README has $1"
}

# demand WHAT TEXT PATTERN…: a text must have lines that match, in that order.
demand() {
  local what=$1 text=$2 pattern
  shift 2
  for pattern in "$@"; do
    if ! grep -q -- "$pattern" <<<"$text"; then
      fail "$what: $pattern is missing"
    fi
    text=$(sed "0,/${pattern//\//\\/}/d" <<<"$text")
  done
  echo "ok: $what"
}

check_created() {
  demand 'a network rule, a policy and an access point are created' "$(answer 'network-rule create')" \
    'network rule `Office` created at revision' 'policy `Reports` created at revision' \
    'access point `reports` created at revision'
}

check_key() {
  local file
  demand 'a client key is issued' "$(answer 'client-key issue')" \
    'client key `reports/KAAP\.[0-9a-f-]\{36\}` issued at revision'
  for file in reports.json reports.password; do
    [[ $(stat -c %a "$directory/$file") == 600 ]] || fail "$file can be read by others"
  done
  [[ $(<"$directory/reports.session") == aaps_* ]] || fail 'there is no session'
  echo 'ok: its files are for their owner alone, and it has a session'
}

check_decisions() {
  demand 'the office is let in' "$(answer 'from 203.0.113.7')" \
    '^allowed: policy `Reports` grants it, and network rule `Office` lets the call in$' \
    '^decided at revision .*; record .*, on disk$'
  demand 'anywhere else is not, with a reason' "$(answer 'from 198.51.100.9')" \
    '^denied: no network rule lets a call in from there (the nearest policy is `Reports`)$' \
    '^decided at revision .*; record .*, on disk$'
  demand 'grpcurl asks the same, and gets a durable receipt' "$(answer '"address": "203.0.113.7"')" \
    '"outcome": "OUTCOME_ALLOW"' '"reason": "DECISION_REASON_POLICY_GRANTS"' \
    'Reports"' 'Office"' '"leafHash": "' '"durable": true'
}

check_records() {
  demand 'the audit log has the start, the session and both decisions, the last one first' \
    "$(answer 'audit list')" ' deny .*NETWORK_NOT_ALLOWED' ' allow .*secret/reports/2025' \
    ' session .*granted to' ' start '
}

# show ARGUMENT…: grpcurl without credentials, bounded.
show() {
  grpcurl -plaintext -max-time 5 "$@"
}

check_health() {
  local service
  for service in '' aap.v1.AuthorizationService aap.v1.AuditService aap.v1.PolicyService; do
    demand "health of \"$service\"" \
      "$(show -d "{\"service\": \"$service\"}" "$AAP_LISTEN" grpc.health.v1.Health/Check)" \
      '"status": "SERVING"'
  done
}

check_reflection() {
  local wanted listed
  wanted=$(
    sed -n 's/^service \(.*\) {$/aap.v1.\1/p' proto/aap/v1/*.proto
    printf '%s\n' grpc.health.v1.Health grpc.reflection.v1.ServerReflection \
      grpc.reflection.v1alpha.ServerReflection
  )
  listed=$(show "$AAP_LISTEN" list)
  diff <(sort <<<"$wanted") <(sort <<<"$listed") || fail "reflection lists other services"
  echo "ok: reflection lists all $(wc -l <<<"$listed") services"
  demand 'reflection describes a method with its comment' \
    "$(show "$AAP_LISTEN" describe aap.v1.AuthorizationService.CheckAccess)" \
    '^// Answers one check\.' 'rpc CheckAccess ('
  demand 'reflection describes a field with its comment' \
    "$(show "$AAP_LISTEN" describe aap.v1.CheckAccessRequest)" \
    '// Required\. The question\.' 'check = 2;'
}

# One bad request: what is wrong is shown whole, since reflection knows what errors carry.
check_error() {
  local shown status=0
  # shellcheck source=/dev/null
  . "$directory/aap-dev.env"
  shown=$(show -H "authorization: Bearer $AAP_ADMIN" \
    -d "{\"parent\": \"$LOCATION\", \"policy_id\": \"no spaces\", \"policy\": {}}" \
    "$AAP_LISTEN" aap.v1.PolicyService/CreatePolicy 2>&1) || status=$?
  # 64 and INVALID_ARGUMENT.
  ((status == 67)) || fail "a bad request ended with status $status: $shown"
  echo "$shown"
  demand 'an error shows its code and its reason' "$shown" \
    'Code: InvalidArgument' '"@type": "type.googleapis.com/google.rpc.ErrorInfo"'
  # The order of keys in a detail is grpcurl's own affair.
  local pattern
  for pattern in '"domain": "aap"' '"reason": "ERROR_REASON_INVALID_FIELDS"' \
    'type.googleapis.com/google.rpc.BadRequest' '"field": "policy_id"' '"field": "policy.scope"'; do
    demand "an error shows $pattern" "$shown" "$pattern"
  done
  demand 'reflection describes what errors carry' \
    "$(show "$AAP_LISTEN" describe google.rpc.ErrorInfo)" 'message ErrorInfo {' 'reason = 1;'
}

main
