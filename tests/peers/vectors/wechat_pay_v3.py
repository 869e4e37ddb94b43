#!/usr/bin/env python3
"""Test vectors of the WeChat Pay adapter, made and checked by a client library that is not ours.

    bash tests/peers/vectors.sh      # makes the environment, and verifies what the adapter made
    target/peers/vectors/venv/bin/python tests/peers/vectors/wechat_pay_v3.py            # new keys, new tests/vectors/wechat_pay.json
    target/peers/vectors/venv/bin/python tests/peers/vectors/wechat_pay_v3.py --check    # verifies

`tests/vectors/wechat_pay.json` is read by the unit tests of `functions/payments`. What they make themselves stands in
`tests/vectors/wechat_pay_ours.json`; they compare it, and `--check` has the library verify it. With new keys the tests
fail and print what that file has to hold.

The keys are made for tests and open nothing.
"""

import base64
import datetime
import json
import pathlib
import sys
import tempfile
from unittest import mock

import wechatpayv3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from wechatpayv3 import WeChatPay, WeChatPayType, utils

VECTORS = pathlib.Path(__file__).parents[2] / "vectors"
THEIRS, OURS = VECTORS / "wechat_pay.json", VECTORS / "wechat_pay_ours.json"

NOW = 1767225600  # 2026-01-01T00:00:00Z
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
APP_ID, MERCHANT_ID = "wx8888888888888888", "1900000109"
PAYMENT = "0123456789abcdef0123456789abcdef"
REFUND = "fedcba9876543210fedcba9876543210"
API_KEYS = ["new-api-v3-key-0123456789abcdefg", "old-api-v3-key-0123456789abcdefg"]
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000001092026010100000000000001"

TRANSACTION = {
    "transaction_id": "4200000000202601010000000001", "amount": {"payer_total": 1500, "total": 1990, "currency": "CNY", "payer_currency": "CNY"},
    "mchid": MERCHANT_ID, "trade_state": "SUCCESS", "bank_type": "CMC", "success_time": "2026-01-01T07:59:58+08:00",
    "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}, "out_trade_no": PAYMENT, "appid": APP_ID,
    "trade_state_desc": "支付成功", "trade_type": "NATIVE", "attach": "",
}
REFUNDED = {
    "mchid": MERCHANT_ID, "transaction_id": "4200000000202601010000000001", "out_trade_no": PAYMENT,
    "refund_id": "50000000382026010100000000001", "out_refund_no": REFUND, "refund_status": "SUCCESS",
    "success_time": "2026-01-01T07:59:59+08:00", "user_received_account": "招商银行信用卡0403",
    "amount": {"total": 1990, "refund": 500, "payer_total": 1500, "payer_refund": 377},
}


def pem(key, form=serialization.PrivateFormat.PKCS8):
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def certificate(key, serial, start, days):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tenpay.com sign (test)")])
    start = datetime.datetime.fromtimestamp(start, datetime.timezone.utc)
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(serial)
        .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM).decode()
    )


def serial_as_the_library_writes_it(text):
    return hex(utils.load_certificate(text).serial_number)[2:].upper()


def signed(key, serial, body, nonce="c5ac7061fccab6bf3e254dcf98995b8c"):
    """A message as WeChat Pay sends it."""
    headers = {
        "wechatpay-timestamp": str(NOW), "wechatpay-nonce": nonce, "wechatpay-serial": serial,
        "wechatpay-signature": utils.rsa_sign(key, f"{NOW}\n{nonce}\n{body}\n"),
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
    }
    return {"headers": headers, "body": body}


def sealed(text, api_key, associated, kind, nonce="fdasflkja484"):
    ciphertext = AESGCM(api_key.encode()).encrypt(nonce.encode(), text.encode(), associated.encode())
    return {"original_type": kind, "algorithm": "AEAD_AES_256_GCM", "ciphertext": base64.b64encode(ciphertext).decode(),
            "associated_data": associated, "nonce": nonce}


def notification(event, resource):
    return json.dumps({"id": "EV-2018022511223320873", "create_time": "2026-01-01T08:00:00+08:00",
                       "resource_type": "encrypt-resource", "event_type": event, "summary": "通知", "resource": resource},
                      ensure_ascii=False)


def authorization(key, serial, method, path, body):
    with mock.patch.object(utils.time, "time", return_value=float(NOW)):
        return utils.build_authorization(path, method, MERCHANT_ID, serial, key, body, NONCE)


def library(vectors, api_key, certificates=None):
    secret = vectors["secret"]
    common = dict(wechatpay_type=WeChatPayType.NATIVE, mchid=MERCHANT_ID, private_key=secret["merchant_private_key"],
                  cert_serial_no=secret["merchant_serial_no"], apiv3_key=api_key, appid=APP_ID, notify_url="")
    if certificates:
        return WeChatPay(cert_dir=certificates, **common)
    key = secret["public_keys"][0]
    return WeChatPay(public_key=key["key"], public_key_id=key["id"], **common)


def is_believed(vectors, message, api_key):
    """What the library reads of a notification."""
    if message["headers"]["wechatpay-serial"].startswith("PUB_KEY_ID_"):
        return library(vectors, api_key).callback(message["headers"], message["body"])
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "platform.pem").write_text(vectors["secret"]["platform_certificates"][0])
        return library(vectors, api_key, folder).callback(message["headers"], message["body"])


def make():
    merchant, by_key, by_certificate = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    # Its first byte is zero in front: some programs write that zero, some do not.
    serial = 0x0A9D0C5C1F3C5D9E2B7A6F8E1D4C3B2A19080716
    platform = certificate(by_certificate, serial, NOW - 86400, 3650)
    expired = certificate(by_certificate, serial + 1, NOW - 2 * 86400, 1)
    merchant_serial = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
    secret = {
        "merchant_private_key": pem(merchant), "merchant_serial_no": merchant_serial, "api_v3_keys": API_KEYS,
        "public_keys": [{"id": PUBLIC_KEY_ID, "key": public_pem(by_key)}], "platform_certificates": [platform, expired],
    }
    requests = []
    for method, path, body in [
        ("GET", f"/v3/pay/transactions/out-trade-no/{PAYMENT}?mchid={MERCHANT_ID}", ""),
        ("POST", "/v3/pay/transactions/native", json.dumps({"description": "a=b+c&d \"}; 台灯 💡 100%"}, ensure_ascii=False)),
        ("POST", f"/prefix/v3/pay/transactions/out-trade-no/{PAYMENT}/close", json.dumps({"mchid": MERCHANT_ID})),
    ]:
        requests.append({"method": method, "path": path, "body": body, "timestamp": NOW, "nonce": NONCE,
                         "authorization": authorization(merchant, merchant_serial, method, path, body)})
    vectors = {
        "made_by": f"wechatpayv3 {wechatpayv3.__version__}", "now": NOW, "app_id": APP_ID, "merchant_id": MERCHANT_ID,
        "payment": PAYMENT, "refund": REFUND, "secret": secret,
        "merchant_private_key_pkcs1": pem(merchant, serialization.PrivateFormat.TraditionalOpenSSL),
        "platform": {"public_key": pem(by_key), "certificate": pem(by_certificate),
                     "certificate_serial": serial_as_the_library_writes_it(platform),
                     "expired_serial": serial_as_the_library_writes_it(expired)},
        "requests": requests,
        "transaction": TRANSACTION, "refunded": REFUNDED,
    }
    pay = library(vectors, API_KEYS[0])
    package = "prepay_id=wx201410272009395522657a690389285100"
    vectors["jsapi"] = {"timestamp": NOW, "nonce": NONCE, "package": package,
                        "pay_sign": pay.sign([APP_ID, str(NOW), NONCE, package])}
    text, refund_text = (json.dumps(value, ensure_ascii=False) for value in (TRANSACTION, REFUNDED))
    number = vectors["platform"]["certificate_serial"]
    vectors["answers"] = {
        "trade": signed(by_key, PUBLIC_KEY_ID, text),
        "trade_by_certificate": signed(by_certificate, number, text),
        "closed": signed(by_key, PUBLIC_KEY_ID, ""),
        "already_paid": signed(by_key, PUBLIC_KEY_ID, '{"code":"ORDERPAID","message":"订单已支付"}'),
    }
    vectors["callbacks"] = {
        "payment": signed(by_key, PUBLIC_KEY_ID, notification("TRANSACTION.SUCCESS", sealed(text, API_KEYS[0], "transaction", "transaction"))),
        "payment_before_the_rotation": signed(by_key, PUBLIC_KEY_ID, notification("TRANSACTION.SUCCESS", sealed(text, API_KEYS[1], "", "transaction"))),
        "payment_by_certificate": signed(by_certificate, number, notification("TRANSACTION.SUCCESS", sealed(text, API_KEYS[0], "transaction", "transaction"))),
        "refund": signed(by_key, PUBLIC_KEY_ID, notification("REFUND.SUCCESS", sealed(refund_text, API_KEYS[0], "refund", "refund"))),
    }
    for name, message in vectors["callbacks"].items():
        key = API_KEYS[1] if name == "payment_before_the_rotation" else API_KEYS[0]
        assert is_believed(vectors, message, key)["resource"] == (REFUNDED if name == "refund" else TRANSACTION), name
    VECTORS.mkdir(exist_ok=True)
    THEIRS.write_text(json.dumps(vectors, ensure_ascii=False, indent=1) + "\n")


def check():
    vectors, ours = json.loads(THEIRS.read_text()), json.loads(OURS.read_text())
    merchant = utils.load_private_key(vectors["secret"]["merchant_private_key"]).public_key()
    for request in ours["requests"]:
        kind, _, fields = request["authorization"].partition(" ")
        fields = dict(field.split("=", 1) for field in fields.split(","))
        fields = {name: value.strip('"') for name, value in fields.items()}
        assert kind == "WECHATPAY2-SHA256-RSA2048" and fields["mchid"] == MERCHANT_ID, request
        assert fields["serial_no"] == vectors["secret"]["merchant_serial_no"], request
        # The library's verifier joins three lines; the first two of a request's five stand in its first.
        first = f"{request['method']}\n{request['path']}\n{fields['timestamp']}"
        assert utils.rsa_verify(first, fields["nonce_str"], request["body"], fields["signature"], merchant), request
        if request["body"]:
            json.loads(request["body"])
    script = json.loads(ours["jsapi"])
    assert script["signType"] == "RSA" and script["package"].startswith("prepay_id="), script
    assert script["paySign"] == library(vectors, API_KEYS[0]).sign(
        [script["appId"], script["timeStamp"], script["nonceStr"], script["package"]]), script
    for name, message in ours["callbacks"].items():
        believed = is_believed(vectors, message, API_KEYS[0])
        assert believed and believed["resource"]["out_trade_no"] == PAYMENT, name
    print(f"{len(ours['requests'])} requests, 1 script, {len(ours['callbacks'])} notifications: all right")


if __name__ == "__main__":
    check() if "--check" in sys.argv[1:] else make()
