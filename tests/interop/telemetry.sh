#!/usr/bin/env bash
# Metrics as Prometheus reads them: its linter, its server, the alert rules, and every query of the
# dashboard, which must return data.
#
#   AAP_BINARY=target/release/aap bash tests/interop/telemetry.sh
set -euo pipefail
# shellcheck source=tests/interop/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

readonly LOCATION=accounts/acme/regions/local
prometheus=

main() {
  find_prometheus
  trap end EXIT
  serve
  check_rules
  work
  lint
  check_health
  scrape
  check_dashboard
  stop
  echo "== SIGTERM: ended with status 0"
}

find_prometheus() {
  if ! command -v promtool >/dev/null; then
    command -v apt-get >/dev/null || fail "prometheus is not there, and no apt-get to install it by"
    apt-get install -y --no-install-recommends prometheus
  fi
  prometheus --version 2>&1 | head -n 1
}

# The server is started without anything before it.
server_pid() {
  echo "$job"
}

# Three callers, metrics, and a server that has them.
serve() {
  local name role made
  export AAP_AUDIENCE=aap.example
  AAP_LISTEN=127.0.0.1:$((20000 + RANDOM % 12000))
  metrics=127.0.0.1:$((20000 + RANDOM % 12000))
  {
    printf 'listen = ["%s"]\ndata_dir = "%s/data"\n' "$AAP_LISTEN" "$directory"
    printf '[telemetry]\nprometheus = "%s"\n' "$metrics"
    printf '[sessions]\naudience = "%s"\n' "$AAP_AUDIENCE"
    for name in admin enforcer auditor; do
      role=$name
      made=$("$binary" token new)
      printf '[[callers]]\nname = "%s"\nrole = "%s"\naccounts = ["acme"]\n' "$name" "$role"
      printf 'token_sha256 = "%s"\n' "$(grep -oE '[0-9a-f]{64}' <<<"$made" | tail -n 1)"
      if [[ $name == enforcer ]]; then
        echo 'assert_identity = true'
      fi
      grep -oE 'aap_[A-Za-z0-9_-]+' <<<"$made" | head -n 1 >"$directory/$name.token"
    done
  } >"$directory/aap.toml"
  unset AAP_DATA_DIR
  "$binary" serve --config "$directory/aap.toml" >"$directory/server.out" 2>"$directory/server.log" &
  job=$!
  until_true 15 answers_or_ended
  answers || fail "the server does not start"
}

# call CALLER METHOD JSON
call() {
  grpcurl -plaintext -max-time 10 -H "authorization: Bearer $(cat "$directory/$1.token")" \
    -d "$3" "$AAP_LISTEN" "aap.v1.$2"
}

# Gives every panel something to show: allows, denies, changes, a stranger, sessions.
work() {
  call admin PolicyService/CreatePolicy '{"parent": "'$LOCATION'", "policy_id": "p", "policy": {
    "scope": "shared", "permissions": ["PERMISSION_TEMPLATE_SECRET_USER"],
    "resources": ["secret/*"], "any_network": {}}}' >/dev/null
  call admin AccessPointService/CreateAccessPoint '{"parent": "'$LOCATION'",
    "access_point_id": "a", "access_point": {"client_key": {},
    "policies": ["'$LOCATION'/policies/p"]}}' >/dev/null
  check secret/db | grep OUTCOME_ALLOW >/dev/null || fail "a check is not allowed"
  check key/db | grep OUTCOME_DENY >/dev/null || fail "a check is not denied"
  grpcurl -plaintext -d '{}' "$AAP_LISTEN" aap.v1.PolicyService/ListPolicies >/dev/null 2>&1 || true
  work_with_sessions
}

# A session that is granted, one that is not, and all of them revoked.
work_with_sessions() {
  local key=(--client-key "$directory/key.json" --password-file "$directory/key.password")
  export AAP_SERVER=http://$AAP_LISTEN AAP_ACCOUNT=acme AAP_REGION=local
  AAP_TOKEN=$(cat "$directory/admin.token") "$binary" client-key issue a --to "$directory/key.json" \
    --password-to "$directory/key.password" >/dev/null
  until_true 30 "$binary" session create a "${key[@]}" >/dev/null 2>"$directory/session.error" \
    || fail "no session: $(cat "$directory/session.error")"
  if "$binary" session create nothing "${key[@]}" >/dev/null 2>&1; then
    fail "an access point that isn't there gets a session"
  fi
  AAP_TOKEN=$(cat "$directory/admin.token") "$binary" session revoke a >/dev/null
}

check() {
  call enforcer AuthorizationService/CheckAccess '{"parent": "'$LOCATION'", "check": {
    "access_point": "'$LOCATION'/accessPoints/a", "action": "GetSecretValue",
    "resource": "'"$1"'", "instance": "shared"}}'
}

lint() {
  curl -fsS "http://$metrics/metrics" >"$directory/metrics"
  promtool check metrics <"$directory/metrics"
  echo "== promtool check metrics: $(grep -c '^# TYPE' "$directory/metrics") metrics"
}

check_health() {
  curl -fsS "http://$metrics/livez" >/dev/null
  curl -fsS "http://$metrics/readyz"
  local service
  for service in livez readyz; do
    grpcurl -plaintext -d '{"service": "'$service'"}' "$AAP_LISTEN" grpc.health.v1.Health/Check \
      | grep '"status": "SERVING"' >/dev/null || fail "$service is not told over gRPC"
  done
  echo "== alive and ready, over HTTP and gRPC"
}

check_rules() {
  local name
  promtool check rules deploy/prometheus/alerts.yaml
  promtool test rules deploy/prometheus/alerts_test.yaml
  for name in $(sed -n 's/^ *- alert: //p' deploy/prometheus/alerts.yaml); do
    grep "^## $name\$" deploy/RUNBOOK.md >/dev/null || fail "$name is not in the runbook"
    grep "RUNBOOK.md#${name,,}\$" deploy/prometheus/alerts.yaml >/dev/null \
      || fail "$name doesn't point to the runbook"
  done
}

# Runs Prometheus until it has looked several times.
scrape() {
  local address=127.0.0.1:$((20000 + RANDOM % 12000))
  cat >"$directory/prometheus.yaml" <<EOF
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$PWD/deploy/prometheus/alerts.yaml"]
scrape_configs: [{job_name: aap, static_configs: [{targets: ["$metrics"]}]}]
EOF
  prometheus --config.file="$directory/prometheus.yaml" --web.listen-address="$address" \
    --storage.tsdb.path="$directory/tsdb" >"$directory/prometheus.log" 2>&1 &
  prometheus=$!
  api=http://$address/api/v1
  until_true 20 has_scraped || { cat "$directory/prometheus.log" >&2; fail "nothing is scraped"; }
}

# Goes on working, so that there are rates.
has_scraped() {
  check secret/db >/dev/null
  check key/db >/dev/null
  [[ $(query 'count_over_time(up{job="aap"}[1m])' | result_of) -ge 6 ]] 2>/dev/null
}

query() {
  curl -fsS "$api/query" --data-urlencode "query=$1"
}

result_of() {
  python3 -c 'import json,sys
for one in json.load(sys.stdin)["data"]["result"]: print(int(float(one["value"][1])))'
}

check_dashboard() {
  python3 - "$api" deploy/grafana/aap.json <<'EOF'
import json, sys, urllib.parse, urllib.request
api, dashboard = sys.argv[1], json.load(open(sys.argv[2]))
queries, empty = 0, []
for panel in dashboard["panels"]:
    for target in panel.get("targets", []):
        query = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
        url = api + "/query?" + urllib.parse.urlencode({"query": query})
        found = json.load(urllib.request.urlopen(url))["data"]["result"]
        queries += 1
        if not found or any(one["value"][1] == "NaN" for one in found):
            empty.append(f"{panel['title']}: {query}")
firing = json.load(urllib.request.urlopen(api + "/alerts"))["data"]["alerts"]
firing = [one["labels"]["alertname"] for one in firing if one["state"] == "firing"]
print("\n".join(empty), end="\n" if empty else "")
if empty or queries == 0:
    sys.exit("queries of the dashboard return nothing")
# Of a disk that is nearly full, this server may rightly say so.
if set(firing) - {"AapDiskFull", "AapDiskFills"}:
    sys.exit(f"alerts fire: {firing}")
print(f"== the dashboard's {queries} queries return data; no alert fires")
EOF
}

end() {
  local status=$?
  if [[ -n $prometheus ]]; then
    kill "$prometheus" 2>/dev/null || true
    wait "$prometheus" 2>/dev/null || true
  fi
  (exit "$status")
  clean_up
}

main
