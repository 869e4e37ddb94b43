#!/usr/bin/env bash
# Client libraries of Alipay and WeChat Pay that others wrote: they verify the requests and notifications that our adapters
# and tests made (tests/vectors). Without them, a mistake that our signing and our verifying share would go unnoticed until
# the first real payment.
set -euo pipefail
cd "$(dirname "$0")/../.."

workplace=${CARGO_TARGET_DIR:-$PWD/target}/peers/vectors
if [ ! -x "$workplace/venv/bin/python" ] || ! "$workplace/venv/bin/python" -c 'import alipay, wechatpayv3' 2>/dev/null; then
  python3 -m venv "$workplace/venv"
  "$workplace/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-alipay-sdk==3.4.0 wechatpayv3==2.0.4 cryptography==50.0.2
fi

"$workplace/venv/bin/python" tests/peers/vectors/alipay_open_platform.py --check
"$workplace/venv/bin/python" tests/peers/vectors/wechat_pay_v3.py --check
