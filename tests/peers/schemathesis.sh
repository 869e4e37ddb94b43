#!/usr/bin/env bash
# schemathesis reads the description that the running system serves, and asks whatever it allows and whatever it forbids.
# Without it, a description that our own tests and our own types agree on could still promise what no client is given.
set -euo pipefail
cd "$(dirname "$0")/../.."

workplace=${CARGO_TARGET_DIR:-$PWD/target}/peers
venv=$workplace/schemathesis
if [ ! -x "$venv/bin/schemathesis" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
fi

log=$(mktemp)
cargo run --quiet -- --memory --port 0 >"$log" &
platform=$!
trap 'kill "$platform" 2>/dev/null; wait "$platform" 2>/dev/null || true; rm -f "$log"' EXIT
deadline=$((SECONDS + 900))
until url=$(sed -n 's/^ready: //p' "$log") && [ -n "$url" ]; do
  kill -0 "$platform" || { echo "the platform did not start" >&2; exit 1; }
  [ "$SECONDS" -lt "$deadline" ] || { echo "the platform is not ready" >&2; exit 1; }
  sleep 0.2
done

# $1: path, $2: JSON body or nothing; prints the member $3 of the answer.
ask() {
  python3 - "$url$1" "$2" "$3" <<'PYTHON'
import json, sys, urllib.request

url, body, member = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, {"Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request))[member])
PYTHON
}
# An administrator, since he may call what users call as well.
USER_TOKEN=$(ask /api/v1/auth/login-with-password '{"email": "admin@cfmp.test", "password": "cfmp-demo-1"}' access_token)
SERVICE_TOKEN=$(ask '/_local/service-token?service=order-service' '' token)
export USER_TOKEN SERVICE_TOKEN

"$venv/bin/schemathesis" --config-file tests/peers/schemathesis.toml run "$url/api/openapi.json" "$@"
