#!/usr/bin/env bash
# What is under deploy/, checked by what can run: the unit by systemd-analyze, the manifests against
# Kubernetes' schemas, and the Debian package built, installed, served by its unit's command line as
# its user, removed, and gone but for its data.
#
#   AAP_BINARY=target/release/aap bash tests/interop/packages.sh
#
# It needs root, for the package; and it refuses where the package is installed already.
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly DATA=/var/lib/aap
readonly KUBERNETES_VALIDATE=1.37.0

main() {
  ((EUID == 0)) || fail "only root can install a package"
  [[ ! -e /usr/bin/aap && ! -e $DATA && ! -e /etc/aap ]] || fail "aap is installed here"
  check_manifests
  trap remove EXIT
  bash deploy/debian/build.sh "$binary" "$directory"
  before=$(files)
  dpkg --install "$directory"/aap_*.deb >/dev/null
  check_unit
  serve
  stop
  dpkg --remove aap >/dev/null
  [[ ! -e /usr/bin/aap && -e /etc/aap/aap.toml ]] || fail "a removal takes the program and leaves the configuration"
  dpkg --purge aap >/dev/null
  [[ -s $DATA/data/FORMAT ]] || fail "the data is gone"
  [[ $(files) == "$before" ]] || fail "the package left behind: $(diff <(echo "$before") <(files))"
  ! getent passwd aap >/dev/null || fail "the user is left behind"
  echo "== installed, served, removed without a trace but its data"
}

# Everything that a package may leave behind somewhere.
files() {
  find /etc /lib/systemd /usr/bin /usr/share/doc -xdev \( -name 'aap' -o -name 'aap.*' -o -path '*/aap/*' \) | sort
}

check_manifests() {
  local tools=target/ci-tools/python-kubernetes
  if ! [[ -x $tools/bin/kubernetes-validate ]]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet "kubernetes-validate==$KUBERNETES_VALIDATE"
  fi
  "$tools/bin/kubernetes-validate" --strict deploy/kubernetes/*.yaml 2>&1 | sed 's/^INFO //'
}

check_unit() {
  # Units of the machine itself may have faults of their own.
  local said
  said=$(systemd-analyze verify /lib/systemd/system/aap.service 2>&1 | grep -F aap.service || true)
  [[ -z $said ]] || fail "systemd-analyze verify: $said"
  systemd-analyze security --offline=yes --threshold=20 --no-pager /lib/systemd/system/aap.service | tail -n 1
}

# The server is started without anything before it.
server_pid() {
  echo "$job"
}

# Listens as the service manager does, for the unit says that the server tells it.
expect_readiness() {
  grep -x Type=notify /lib/systemd/system/aap.service >/dev/null || fail "the unit waits for nothing"
  notify=@aap-packages-$$
  python3 - "$notify" <<'EOF' &
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + sys.argv[1][1:])
listener.settimeout(60)
sys.exit(0 if listener.recv(4096).startswith(b"READY=1\n") else 1)
EOF
  manager=$!
  until_true 10 grep -qF "$notify" /proc/net/unix
}

# As the unit does it: its command line, its user, its directory.
serve() {
  local command made
  AAP_LISTEN=127.0.0.1:$((20000 + RANDOM % 12000))
  made=$(/usr/bin/aap token new)
  sed -e "s/put the digest here/$(grep -oE '[0-9a-f]{64}' <<<"$made" | tail -n 1)/" \
    -e "s/127.0.0.1:7300/$AAP_LISTEN/" -e "s/127.0.0.1:9464/127.0.0.1:0/" \
    /usr/share/doc/aap/aap.toml.example >/etc/aap/aap.toml
  chown root:aap /etc/aap/aap.toml
  chmod 0640 /etc/aap/aap.toml
  install -d -m 0700 -o aap -g aap "$DATA"
  read -ra command <<<"$(sed -n 's/^ExecStart=//p' /lib/systemd/system/aap.service)"
  expect_readiness
  setpriv --reuid aap --regid aap --clear-groups --no-new-privs --inh-caps=-all \
    env -i "NOTIFY_SOCKET=$notify" "${command[@]}" >"$directory/server.out" 2>"$directory/server.log" &
  job=$!
  until_true 15 answers_or_ended
  answers || fail "the server does not start"
  wait "$manager" || fail "the service manager isn't told that the server is ready"
  grpcurl -plaintext -H "authorization: Bearer $(grep -oE 'aap_[A-Za-z0-9_-]+' <<<"$made" | head -n 1)" \
    -d '{"parent": "accounts/acme/regions/local"}' "$AAP_LISTEN" aap.v1.PolicyService/ListPolicies >/dev/null
  echo "== serves by the unit's command line, as its user"
}

remove() {
  local status=$?
  if [[ -n $job ]] && ! has_ended; then
    kill -KILL "$job" 2>/dev/null || true
  fi
  dpkg --purge aap >/dev/null 2>&1 || true
  # Made here, by a server that was tried.
  rm -rf "$DATA" /etc/aap
  (exit "$status")
  clean_up
}

main
