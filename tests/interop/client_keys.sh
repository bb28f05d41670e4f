#!/usr/bin/env bash
# Client keys in other people's hands: each algorithm in each encoding opens with OpenSSL, keytool,
# Java's KeyStore, Python's cryptography and Node's tls, the compatible one with Go's pkcs12 too, and
# with a wrong password in none of them. Then with sessions by what is in the files.
#
#   AAP_BINARY=target/release/aap bash tests/interop/client_keys.sh
#
# It needs openssl, a JDK, Node, Go, grpcurl, and Python with pip (the JDK and pip it installs by
# apt-get where it can); the packages for Python go to target/ci-tools.
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly here=tests/interop/client_keys
readonly LOCATION=accounts/acme/regions/local
readonly AUDIENCE=aap.example/interop
readonly ADMIN_SAN=spiffe://aap.example/admin
readonly ALGORITHMS=(rsa-2048 rsa-3072 ec-p256) ENCODINGS=(modern compatible)
# What grpcurl ends with for UNAUTHENTICATED: 64 and the code.
readonly UNAUTHENTICATED=80
# A password that could be one, and is none of these files'.
readonly WRONG=another-horse-8

main() {
  fetch_tools
  make_certificates
  serve
  enter
  local algorithm encoding
  for algorithm in "${ALGORITHMS[@]}"; do
    for encoding in "${ENCODINGS[@]}"; do
      issue "$algorithm" "$encoding"
      open_everywhere "$algorithm" "$encoding"
    done
    check_tls_session "$algorithm"
  done
  check_nobody
  check_command_line
  stop
  echo "== SIGTERM: ended with status 0"
}

fetch_tools() {
  if ! command -v javac >/dev/null || ! python3 -m pip --version >/dev/null 2>&1; then
    command -v apt-get >/dev/null || fail "no JDK or no pip, and no apt-get to install them"
    apt-get install -y --no-install-recommends default-jdk-headless python3 python3-pip
  fi
  local packages=$PWD/target/ci-tools/client-keys
  if ! cmp -s "$here/requirements.txt" "$packages/requirements.txt"; then
    rm -rf "$packages"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$packages" \
      -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$packages"
  fi
  export PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1
  javac -d "$directory" "$here/OpenClientKey.java"
  (cd "$here/go" && go build -o "$directory/open-with-go" .)
  openssl version
  java -version 2>&1 | head -n 1
  echo "node $(node --version), $(go version)"
}

# The server is started without anything before it.
server_pid() {
  echo "$job"
}

make_certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=hosts \
    -keyout "$directory/hosts-key.pem" -out "$directory/hosts.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=server \
    -keyout "$directory/server-key.pem" -out "$directory/server.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' \
    >"$directory/server.ext"
  openssl x509 -req -in "$directory/server.csr" -CA "$directory/hosts.pem" \
    -CAkey "$directory/hosts-key.pem" -CAcreateserial -days 2 -extfile "$directory/server.ext" \
    -out "$directory/server.pem" 2>/dev/null
}

serve() {
  local attempt told
  for attempt in 1 2 3 4 5; do
    export ADDRESS=127.0.0.1:$((20000 + RANDOM % 12000))
    configure
    "$binary" serve --config "$directory/aap.toml" >"$directory/server.out" 2>"$directory/server.log" &
    job=$!
    if until_true 15 answers_or_ended && answers; then
      export AAP_SERVER=https://$ADDRESS AAP_CA=$directory/hosts.pem AAP_ACCOUNT=acme AAP_REGION=local
      export AAP_TOKEN_FILE=$directory/admin.token AAP_AUDIENCE=$AUDIENCE
      return
    fi
    grep -q "can't listen on" "$directory/server.log" || fail "the server does not start"
    echo "attempt $attempt: $ADDRESS is taken"
    wait "$job" || true
    job=
  done
  fail "no address is free"
}

# caller NAME ROLE MORE: a caller's table, and its token in a file.
caller() {
  local made
  made=$("$binary" token new)
  sed -n 's/^token  *//p' <<<"$made" >"$directory/$1.token"
  cat <<TOML
[[callers]]
name = "$1"
role = "$2"
accounts = ["acme"]
token_sha256 = "$(sed -n 's/^token_sha256 //p' <<<"$made")"
$3
TOML
}

configure() {
  cat >"$directory/aap.toml" <<TOML
data_dir = "$directory/data"
caller_ca = "$directory/hosts.pem"

[sessions]
audience = "$AUDIENCE"

[[listeners]]
address = "$ADDRESS"
certificate = "$directory/server.pem"
key = "$directory/server-key.pem"

$(caller admin admin "san = \"$ADMIN_SAN\"")
$(caller enforcer enforcer '')
TOML
}

# speak ARGUMENT…: grpcurl over TLS, bounded.
speak() {
  grpcurl -cacert "$directory/hosts.pem" -max-time 5 "$@"
}

answers() {
  speak "$ADDRESS" grpc.health.v1.Health/Check 2>/dev/null | grep -q '"status": "SERVING"'
}

enter() {
  "$binary" policy create Secrets --scope shared --permissions secret-user \
    --resources 'secret/*' --any-network 2>/dev/null
  local algorithm
  for algorithm in "${ALGORITHMS[@]}"; do
    "$binary" access-point create "$algorithm" --client-key --policies Secrets
  done
}

# The files of a key are named by its algorithm and its encoding.
issue() {
  local file=$directory/$1-$2
  "$binary" client-key issue "$1" --algorithm "$1" --encoding "$2" \
    --to "$file.json" --pkcs12-to "$file.p12" --password-to "$file.password" -o name >/dev/null
  printf '%s\n' "$WRONG" >"$directory/wrong"
}

# open_everywhere ALGORITHM ENCODING: with the right password in all, with a wrong one in none.
open_everywhere() {
  local tool file=$directory/$1-$2 told
  local tools=(openssl keytool key_store python node)
  if [[ $2 == compatible ]]; then
    tools+=(go)
  fi
  for tool in "${tools[@]}"; do
    told=$("open_with_$tool" "$file.p12" "$file.password" 2>&1) \
      || fail "$tool does not open a key of $1 in the $2 encoding: $told"
    if "open_with_$tool" "$file.p12" "$directory/wrong" >/dev/null 2>&1; then
      fail "$tool opens a key of $1 in the $2 encoding with a wrong password"
    fi
  done
  echo "ok: $1, $2: opens with ${tools[*]}, and with a wrong password in none"
}

# Each takes the file and the file with the password, and makes sure that key and certificate belong
# together.

open_with_openssl() {
  local from_certificate from_key
  from_certificate=$(openssl pkcs12 -in "$1" -passin "file:$2" -nokeys \
    | openssl x509 -noout -pubkey)
  from_key=$(openssl pkcs12 -in "$1" -passin "file:$2" -nocerts -noenc | openssl pkey -pubout)
  [[ -n $from_key && $from_key == "$from_certificate" ]]
}

open_with_keytool() {
  local listed
  listed=$(keytool -list -storetype PKCS12 -keystore "$1" -storepass:file "$2")
  grep -q PrivateKeyEntry <<<"$listed"
}

open_with_key_store() {
  java -cp "$directory" OpenClientKey "$1" "$2"
}

open_with_python() {
  python3 "$here/open_client_key.py" "$1" "$2"
}

open_with_node() {
  node "$here/open_client_key.mjs" "$1" "$2"
}

open_with_go() {
  "$directory/open-with-go" "$1" "$2"
}

# create_session ACCESS_POINT CERTIFICATE KEY: by client-key TLS.
create_session() {
  speak -cert "$2" -key "$3" -d "{
    \"access_point\": \"$LOCATION/accessPoints/$1\", \"client_key_tls\": {}
  }" "$ADDRESS" aap.v1.SessionService/CreateSession
}

# Says what an enforcement point is told about a session.
reason_of() {
  speak -H "authorization: Bearer $(<"$directory/enforcer.token")" -d "{
    \"parent\": \"$LOCATION\",
    \"check\": {
      \"session\": \"$1\", \"action\": \"GetSecretValue\", \"resource\": \"secret/a\",
      \"instance\": \"shared\", \"origin\": {\"public_network\": {}, \"address\": \"203.0.113.1\"}
    }
  }" "$ADDRESS" aap.v1.AuthorizationService/CheckAccess | sed -n 's/.*"reason": "\(.*\)".*/\1/p'
}

is_allowed() {
  [[ $(reason_of "$1") == DECISION_REASON_POLICY_GRANTS ]]
}

check_tls_session() {
  local file=$directory/$1-modern token
  openssl pkcs12 -in "$file.p12" -passin "file:$file.password" -nokeys -out "$file.pem" 2>/dev/null
  openssl pkcs12 -in "$file.p12" -passin "file:$file.password" -nocerts -noenc \
    -out "$file-key.pem" 2>/dev/null
  token=$(create_session "$1" "$file.pem" "$file-key.pem" | sed -n 's/.*"token": "\(.*\)".*/\1/p')
  [[ $token == aaps_* ]] || fail "no session by client-key TLS with a key of $1"
  is_allowed "$token" || fail "what a session of $1 asks is not allowed"
  echo "ok: $1: grpcurl gets a session by client-key TLS, which is allowed what its policy grants"
}

check_nobody() {
  local status=0 told key=$directory/ec-p256-modern-key.pem
  openssl req -x509 -new -key "$key" -days 2 -subj /CN=admin \
    -addext "subjectAltName=URI:$ADMIN_SAN" -addext extendedKeyUsage=clientAuth \
    -out "$directory/forged.pem"
  told=$(speak -cert "$directory/forged.pem" -key "$key" -d "{
    \"parent\": \"$LOCATION\", \"network_rule_id\": \"Other\",
    \"network_rule\": {\"public_network\": {}, \"addresses\": [\"203.0.113.0/24\"]}
  }" "$ADDRESS" aap.v1.PolicyService/CreateNetworkRule 2>&1) || status=$?
  ((status == UNAUTHENTICATED)) || fail "who signs the admin's name by itself got $status: $told"
  grep -q ERROR_REASON_CALLER_UNAUTHENTICATED <<<"$told" || fail "got $told"
  echo "ok: a certificate signed by itself with the admin's name is UNAUTHENTICATED"
  status=0
  told=$(create_session rsa-2048 "$directory/forged.pem" "$key" 2>&1) || status=$?
  ((status == UNAUTHENTICATED)) || fail "another access point's key got $status: $told"
  grep -q ERROR_REASON_SESSION_REFUSED <<<"$told" || fail "got $told"
  echo "ok: another access point's key gets no session"
}

# session ALGORITHM: what an application does with its file, by the command line.
session() {
  local file=$directory/$1-compatible
  "$binary" session create "$1" --client-key "$file.json" --password-file "$file.password"
}

check_command_line() {
  local algorithm token again id
  for algorithm in "${ALGORITHMS[@]}"; do
    token=$(until_session "$algorithm")
    is_allowed "$token" || fail "what a session of $algorithm asks is not allowed"
  done
  echo "ok: the command line gets sessions by the client-key files"
  id=$(sed -n 's/.*"KeyId":"\([^"]*\)".*/\1/p' "$directory/$algorithm-compatible.json")
  "$binary" client-key disable "$algorithm/$id" >/dev/null
  [[ $(reason_of "$token") == DECISION_REASON_CREDENTIAL_DISABLED ]] \
    || fail "a session of a disabled key goes on"
  if session "$algorithm" >/dev/null 2>&1; then
    fail "a disabled key gets a session"
  fi
  "$binary" client-key enable "$algorithm/$id" >/dev/null
  [[ $(reason_of "$token") == DECISION_REASON_CREDENTIAL_INVALID ]] \
    || fail "a session comes back with its key"
  again=$(session "$algorithm")
  is_allowed "$again" || fail "a new session of an enabled key is not allowed"
  echo "ok: a key that is disabled ends its sessions for good, and gets others when it is enabled"
}

# A session, as soon as what is signed proves something again after the start.
until_session() {
  until_true 15 session_is_granted "$1" || fail "no session by the command line with a key of $1"
  cat "$directory/session"
}

session_is_granted() {
  session "$1" >"$directory/session" 2>"$directory/session.error"
}

main
