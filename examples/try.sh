# Sourced by every example's run.sh: copies the example into a directory of its own, so that trying it changes nothing here,
# with ports of its own and short bakes, and stops everything that was started.
# $TIDEGATE is the binary, default: the one in the PATH.
set -euo pipefail
tidegate=${TIDEGATE:-tidegate}
place=$(mktemp -d "${TMPDIR:-/tmp}/tg-example-XXXXXX")
cp -r . "$place"
cd "$place"
load=

finish() {
    status=$?
    [ -z "$load" ] || kill "$load" 2>/dev/null || true
    "$tidegate" server --stop >/dev/null 2>&1 || true
    "$tidegate" proxy stop --instances >/dev/null 2>&1 || true
    for _ in $(seq 100); do "$tidegate" proxy status >/dev/null 2>&1 || break; sleep 0.1; done
    rm -rf "$place"
    exit "$status"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Gives the example a free port in the place of the one it is written with.
use_free_port() {
    port=$(free_port)
    sed -i "s/127\.0\.0\.1:$1/127.0.0.1:$port/" tidegate.yaml
    url=http://127.0.0.1:$port
}

# Users come: so many requests per second until the end of the example.
users() {
    "$tidegate" load --url "$url/" --rate "$1" --duration 120 --connections 8 >/dev/null &
    load=$!
}

# Fails unless the command ends with this exit code.
expect() {
    wanted=$1
    shift
    code=0
    "$@" || code=$?
    [ "$code" = "$wanted" ] || { echo "expected exit code $wanted, got $code: $*" >&2; exit 1; }
}
