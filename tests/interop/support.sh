# Starts `aap serve --dev` in a fresh directory for the scripts beside this one, and stops it.
#
# To be sourced; it goes to the top of the tree. Everything has a time limit; when a script fails, the server's log is shown.
# shellcheck shell=bash
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$(realpath "${AAP_BINARY:?is not set: build, and name the program to test}")
directory=$(mktemp -d)
# The process that was started here, which is the server or its tracer; empty when it has ended.
job=
trap clean_up EXIT

# Says why, and ends the script.
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# start [PREFIX…]: starts the server, perhaps under another program, and waits until it is healthy.
start() {
  local attempt
  for attempt in 1 2 3 4 5; do
    export AAP_LISTEN=127.0.0.1:$((20000 + RANDOM % 12000))
    (cd "$directory" && exec "$@" "$binary" serve --dev >server.out 2>server.log) &
    job=$!
    if until_true 15 answers_or_ended && answers; then
      return
    fi
    # Another process may have that address.
    grep -q "can't listen on" "$directory/server.log" || fail "the server does not start"
    echo "attempt $attempt: $AAP_LISTEN is taken"
    wait "$job" || true
    job=
  done
  fail "no address is free"
}

# cut_blocks FILE SECTION NAME: cuts the shell blocks of a document's section, or of all of it, into
# files of the directory, NAME.1 and so on.
cut_blocks() {
  awk -v prefix="$directory/$3." -v section="${2:+## $2}" '
    BEGIN { inside = !section }
    section && /^## / { inside = ($0 == section) }
    /^```/ && file { close(file); file = ""; next }
    inside && $0 == "```sh" { file = prefix (++count); next }
    file { print > file }
  ' "$1"
}

answers() {
  grpcurl -plaintext -max-time 2 "$AAP_LISTEN" grpc.health.v1.Health/Check 2>/dev/null \
    | grep -q '"status": "SERVING"'
}

answers_or_ended() {
  answers || has_ended
}

has_ended() {
  ! kill -0 "$job" 2>/dev/null
}

# until_true SECONDS COMMAND…: repeats a command until it succeeds or the time is over.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# The number of the server's own process, also under a tracer.
server_pid() {
  cat "$directory/aap-dev/LOCK"
}

# Tells the server to stop, and demands that it does, in good order.
stop() {
  local status=0
  kill -TERM "$(server_pid)"
  until_true 20 has_ended || fail "the server has not stopped 20 s after SIGTERM"
  wait "$job" || status=$?
  job=
  ((status == 0)) || fail "the server ended with status $status after SIGTERM"
  [[ ! -e $directory/aap-dev.env ]] || fail "the server has left its credentials behind"
}

clean_up() {
  local status=$?
  trap - EXIT
  if ((status != 0)); then
    echo "== the server's log" >&2
    cat "$directory/server.log" >&2 || true
  fi
  if [[ -n $job ]] && ! has_ended; then
    kill -KILL "$(server_pid 2>/dev/null || echo "$job")" 2>/dev/null || true
    kill -KILL "$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
  fi
  rm -rf "$directory"
  exit "$status"
}
