#!/usr/bin/env bash
# schemathesis reads the description that the running system serves, and asks whatever it allows and whatever it forbids.
# Without it, a description that our own tests and our own types agree on could still promise what no client is given.
set -euo pipefail
cd "$(dirname "$0")/../.."

settings=$PWD/tests/peers/schemathesis.toml

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

# Somebody who may call what users and what administrators call, a service, and things that they can name.
things=$(python3 - "$url" <<'PYTHON'
import json, sys, urllib.request

base = sys.argv[1]


def ask(path, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    return json.load(urllib.request.urlopen(urllib.request.Request(base + path, data, headers)))


def log_in(name):
    return ask("/api/v1/auth/login-with-password/", {"email": f"{name}@cfmp.test", "password": "cfmp-demo-1"})


administrator, seller = log_in("admin"), log_in("seller")
user, service = administrator["access_token"], ask("/_local/service-token?service=order-service")["token"]
product = ask("/api/product/", {"title": "台灯", "description": "九成新", "price": "19.90", "stock": 500}, seller["access_token"])["data"]
wanted = {"product_uuid": product["product_uuid"], "price": "19.90", "quantity": 1}
order = {"products": [wanted], "seller_uuid": product["seller_uuid"], "shipping_name": "张三",
         "shipping_phone": "13800138000", "shipping_address": "8 号楼 404"}
order = ask("/api/orders/", order, user)["data"]["order_uuid"]
payment = {"order_uuid": order, "payment_method": "alipay", "amount": "19.90"}
payment = ask("/api/payment/create/", payment, user)["data"]["payment_uuid"]
print(f"export USER_TOKEN={user} SERVICE_TOKEN={service} PRODUCT={product['product_uuid']} ORDER={order}")
print(f"export PAYMENT={payment} BUYER={log_in('buyer')['user_id']}")
PYTHON
)
eval "$things"

# It keeps what it learned beside itself.
cd "$workplace"
"$venv/bin/schemathesis" --config-file "$settings" run "$url/api/openapi.json" "$@"
