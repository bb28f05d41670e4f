#!/usr/bin/env bash
# TLS as other people's tools speak it: certificates made by openssl, calls made by grpcurl.
#
#   AAP_BINARY=target/release/aap bash tests/interop/tls.sh
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly LOCATION=accounts/acme/regions/local
readonly ADMIN_SAN=spiffe://aap.example/admin
# What grpcurl ends with for UNAUTHENTICATED: 64 and the code.
readonly UNAUTHENTICATED=80

main() {
  openssl version
  make_certificates
  serve
  check_public
  check_admin
  check_nobody
  check_replacement
  stop
  echo "== SIGTERM: ended with status 0"
}

# The server is started without anything before it.
server_pid() {
  echo "$job"
}

# request NAME SUBJECT EXTENSIONS…: makes a key, a request, and the extensions to sign it with.
request() {
  local name=$1 subject=$2
  shift 2
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$directory/$name-key.pem"
  openssl req -new -key "$directory/$name-key.pem" -subj "$subject" -out "$directory/$name.csr"
  printf '%s\n' "$@" >"$directory/$name.ext"
}

# sign NAME [AUTHORITY]: signs a request, by an authority or by its own key.
sign() {
  local name=$1 authority=${2:-}
  local by=(-signkey "$directory/$name-key.pem")
  if [[ -n $authority ]]; then
    by=(-CA "$directory/$authority.pem" -CAkey "$directory/$authority-key.pem" -CAcreateserial)
  fi
  openssl x509 -req -in "$directory/$name.csr" "${by[@]}" -days 2 \
    -extfile "$directory/$name.ext" -out "$directory/$name.pem" 2>/dev/null
}

make_certificates() {
  local authority
  for authority in hosts callers; do
    request "$authority" "/CN=$authority" basicConstraints=critical,CA:TRUE keyUsage=keyCertSign
    sign "$authority"
  done
  make_server
  request admin /CN=nobody "subjectAltName=URI:$ADMIN_SAN" extendedKeyUsage=clientAuth
  sign admin callers
  request forged /CN=admin "subjectAltName=URI:$ADMIN_SAN" extendedKeyUsage=clientAuth
  sign forged
  request astray /CN=admin "subjectAltName=URI:$ADMIN_SAN" extendedKeyUsage=clientAuth
  sign astray hosts
}

make_server() {
  request server /CN=server 'subjectAltName=DNS:localhost,IP:127.0.0.1' extendedKeyUsage=serverAuth
  sign server hosts
}

serve() {
  local attempt
  for attempt in 1 2 3 4 5; do
    export ADDRESS=127.0.0.1:$((20000 + RANDOM % 12000))
    configure
    "$binary" serve --config "$directory/aap.toml" --check-config
    "$binary" serve --config "$directory/aap.toml" >"$directory/server.out" 2>"$directory/server.log" &
    job=$!
    if until_true 15 answers_or_ended && answers; then
      return
    fi
    grep -q "can't listen on" "$directory/server.log" || fail "the server does not start"
    echo "attempt $attempt: $ADDRESS is taken"
    wait "$job" || true
    job=
  done
  fail "no address is free"
}

configure() {
  cat >"$directory/aap.toml" <<TOML
data_dir = "$directory/data"
caller_ca = "$directory/callers.pem"

[[listeners]]
address = "$ADDRESS"
certificate = "$directory/server.pem"
key = "$directory/server-key.pem"

[[callers]]
name = "admin"
role = "admin"
accounts = ["acme"]
san = "$ADMIN_SAN"
TOML
}

# speak ARGUMENT…: grpcurl over TLS, bounded.
speak() {
  grpcurl -cacert "$directory/hosts.pem" -max-time 5 "$@"
}

# speak_as NAME ARGUMENT…: the same with a client certificate.
speak_as() {
  local name=$1
  shift
  speak -cert "$directory/$name.pem" -key "$directory/$name-key.pem" "$@"
}

answers() {
  speak "$ADDRESS" grpc.health.v1.Health/Check 2>/dev/null | grep -q '"status": "SERVING"'
}

check_public() {
  local listed
  listed=$(speak "$ADDRESS" list)
  grep -q '^aap.v1.PolicyService$' <<<"$listed" || fail "reflection lists no PolicyService"
  echo "ok: health and reflection are told over TLS"
  if grpcurl -plaintext -max-time 5 "$ADDRESS" list >/dev/null 2>&1; then
    fail "plain text is spoken where TLS is"
  fi
  echo "ok: plain text is not spoken"
}

# create ID NAME [ARGUMENT…]: has somebody create a network rule; says what came of it.
create() {
  local id=$1
  shift
  "$@" -d "{
    \"parent\": \"$LOCATION\", \"network_rule_id\": \"$id\",
    \"network_rule\": {\"public_network\": {}, \"addresses\": [\"203.0.113.0/24\"]}
  }" "$ADDRESS" aap.v1.PolicyService/CreateNetworkRule
}

check_admin() {
  local created
  created=$(create Office speak_as admin)
  grep -q "\"name\": \"$LOCATION/networkRules/Office\"" <<<"$created" || fail "got $created"
  echo "ok: an admin known by its certificate creates a network rule"
}

check_nobody() {
  local who status told
  for who in 'speak_as forged' 'speak_as astray' speak; do
    status=0
    # shellcheck disable=SC2086
    told=$(create Other $who 2>&1) || status=$?
    ((status == UNAUTHENTICATED)) || fail "$who ended with status $status: $told"
    grep -q 'ERROR_REASON_CALLER_UNAUTHENTICATED' <<<"$told" || fail "$who got $told"
    echo "ok: $who is UNAUTHENTICATED"
  done
}

# The serial number of the certificate that the server shows.
serial() {
  openssl s_client -connect "$ADDRESS" -alpn h2 </dev/null 2>/dev/null \
    | openssl x509 -noout -serial
}

check_replacement() {
  local before
  before=$(serial)
  make_server
  shows_another() { [[ $(serial) != "$before" ]]; }
  until_true 10 shows_another || fail "the server goes on showing $before"
  answers || fail "the server does not answer any more"
  echo "ok: a certificate that is replaced is shown without being asked for"
}

main
