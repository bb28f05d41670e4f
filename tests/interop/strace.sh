#!/usr/bin/env bash
# Shows by the server's system calls that nothing is answered before it is on disk: the answer of a
# create goes to the socket after the syncs of the journal and of its head, the answer of a check
# after the sync of the audit segment that holds its record.
#
#   AAP_BINARY=target/release/aap bash tests/interop/strace.sh
#
# The trace has the calls of all threads in the order in which they began and ended. A thread stands
# still until its call is written down, so what a sync lets go on stands after that sync.
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly LOCATION=accounts/demo/regions/local
# One order could come about by chance.
readonly TIMES=5
readonly TRACE=$directory/trace

main() {
  install
  # The strings are long enough to know records and answers by what they hold.
  start strace -f -ttt -y -s 4096 -o "$TRACE" \
    -e trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg
  # shellcheck source=/dev/null
  . "$directory/aap-dev.env"
  local number
  for ((number = 1; number <= TIMES; number++)); do
    create_and_check "Strace$number"
  done
  stop
  for ((number = 1; number <= TIMES; number++)); do
    echo "== create $number: the journal and its head are synced before the answer"
    prove "networkRules/Strace$number" '/journal/db>' '/journal/head>' "networkRules/Strace$number"
    echo "== check $number: the audit segment is synced before the answer"
    prove "secret/Strace$number" '/audit/[0-9]+[.]seg>' '' "policies/Strace$number" "$log_id"
  done
}

install() {
  if ! command -v strace >/dev/null; then
    command -v apt-get >/dev/null || fail "strace is not there, and no apt-get to install it by"
    apt-get install -y strace
  fi
  strace --version | head -n 1
}

# Creates a network rule, a policy and an access point of that name, and asks a check about them.
create_and_check() {
  local name=$1 answer
  call "$AAP_ADMIN" PolicyService/CreateNetworkRule "{
    \"parent\": \"$LOCATION\", \"network_rule_id\": \"$name\",
    \"network_rule\": {\"public_network\": {}, \"addresses\": [\"203.0.113.0/24\"]}
  }" >/dev/null
  call "$AAP_ADMIN" PolicyService/CreatePolicy "{
    \"parent\": \"$LOCATION\", \"policy_id\": \"$name\",
    \"policy\": {
      \"scope\": \"shared\", \"permissions\": [\"PERMISSION_TEMPLATE_SECRET_USER\"],
      \"resources\": [\"secret/$name\"], \"any_network\": {}
    }
  }" >/dev/null
  call "$AAP_ADMIN" AccessPointService/CreateAccessPoint "{
    \"parent\": \"$LOCATION\", \"access_point_id\": \"$name\",
    \"access_point\": {\"client_key\": {}, \"policies\": [\"$LOCATION/policies/$name\"]}
  }" >/dev/null
  answer=$(call "$AAP_ENFORCER" AuthorizationService/CheckAccess "{
    \"parent\": \"$LOCATION\",
    \"check\": {
      \"access_point\": \"$LOCATION/accessPoints/$name\", \"action\": \"GetSecretValue\",
      \"resource\": \"secret/$name\", \"instance\": \"shared\"
    }
  }")
  grep -q OUTCOME_ALLOW <<<"$answer" || fail "the check of $name is denied: $answer"
  # Only answers of checks have it.
  log_id=$(sed -n 's/.*"logId": "\(.*\)".*/\1/p' <<<"$answer")
  [[ -n $log_id ]] || fail "the check of $name has no receipt: $answer"
}

call() {
  grpcurl -plaintext -max-time 10 -H "authorization: Bearer $1" -d "$3" "$AAP_ADDRESS" "aap.v1.$2"
}

# prove MARK FILE NEXT ANSWER…: that a write to FILE holds MARK, that then a sync of that same file
# has ended, that then a sync of NEXT has, if there is one, and that then the first write to a socket
# begins that holds all of ANSWER. Shows these calls.
prove() {
  local mark=$1 file=$2 next=$3 answer=$4 too=${5:-}
  awk -v mark="$mark" -v file="$file" -v next_file="$next" -v answer="$answer" -v too="$too" '
    # A call without the bytes that it carries.
    function show(text) {
      gsub(/"([^"\\]|\\.)*"(\.\.\.)?/, "\"…\"", text)
      printf "%7d  %s\n", FNR, substr(text, 1, 160)
    }
    function path(text) {
      match(text, /<[^>]*>/)
      return substr(text, RSTART, RLENGTH)
    }
    # Whether a sync is the one to wait for: of the file written, and then of the next one.
    function is_wanted(text) {
      if (stage == 1) return path(text) == written
      return stage == 2 && path(text) ~ next_file
    }
    function ended(thread, text) {
      if (!(thread in waits) || text !~ /= [0-9]+$/) return
      if (waits[thread] == stage) {
        show(begun[thread])
        if (text != begun[thread]) show(text)
        stage += (stage == 1 && next_file == "") ? 2 : 1
      }
      delete waits[thread]
    }

    $3 ~ /^(pwrite64|write)\(/ && stage == 0 && path($0) ~ file && index($0, mark) {
      written = path($0)
      waits[$1] = 0
      begun[$1] = $0
    }
    $3 ~ /^(fdatasync|fsync)\(/ && is_wanted($0) {
      waits[$1] = stage
      begun[$1] = $0
    }
    $3 ~ /^(write|writev|sendto|sendmsg)\(/ && path($0) ~ /^<(socket|TCP)/ &&
    index($0, answer) && index($0, too) {
      show($0)
      answered = 1
      exit
    }
    !/<unfinished \.\.\.>$/ { ended($1, $0) }

    END {
      if (!answered) print "there is no answer"
      else if (stage == 0) print "answered before it was written"
      else if (stage < 3) print "answered before it was synced"
      exit !(answered && stage == 3)
    }
  ' "$TRACE" || fail "no proof in the trace of $mark"
}

main
