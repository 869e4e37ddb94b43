#!/usr/bin/env python3
"""Test vectors of the Alipay adapter, made by another implementation of the protocol.

python-alipay-sdk knows nothing of our code. Here it plays both sides: as the app it signs requests, as Alipay it signs
answers and notifications, and it computes the serial numbers of certificates. The adapter's tests read
tests/vectors/alipay.json; without it, a mistake that our signing and our verifying share would go unnoticed.

    bash tests/peers/vectors.sh      # makes the environment, and verifies what our code signed
    target/peers/vectors/venv/bin/python tests/peers/vectors/alipay_open_platform.py           # writes the vectors; keys are kept
    target/peers/vectors/venv/bin/python tests/peers/vectors/alipay_open_platform.py --check   # verifies

The keys in the file are made by this script and by nobody else, for tests only. What stands under `ours` was signed by
our code (its tests compare it), and is kept when the rest is written anew.
"""

import datetime
import json
import pathlib
import re
import sys
import urllib.parse

import alipay
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

FILE = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "alipay.json"

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
GATEWAY = "https://openapi.alipay.com/gateway.do"
CALLBACK = "https://api.example.test/api/payment/callback/alipay"
PAYMENT, REFUND = "0b6f5a3e8c1d4f279a442d5e7c9b1a30", "7d1c2b3a4f5e46978a9b0c1d2e3f4a5b"
# 1 800 000 000 000 ms after the epoch, and half an hour later, as clocks in Beijing show them.
NOW, EXPIRES = "2027-01-15 16:00:00", "2027-01-15 16:30:00"
TITLE = 'a=b+c & "d"} 台灯/💡 100% \\'
# Characters that Alipay forbids in a title, and what stands for them.
FORBIDDEN = str.maketrans({"/": "／", "=": "＝", "&": "＆"})


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pem(key, form):
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def certificate(subject, key, issuer, issuer_key, serial):
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(serial).not_valid_before(datetime.datetime(2020, 1, 1))
    made = made.not_valid_after(datetime.datetime(2099, 1, 1)).sign(issuer_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def dn(common):
    """A name in the order in which Alipay's certificates have it."""
    parts = [
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, "CFMP Tests"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
        (NameOID.COMMON_NAME, common),
    ]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def new_keys():
    pkcs8, pkcs1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    app, ours_next, theirs, theirs_next, stranger, root, old_root = (rsa.generate_private_key(65537, 2048) for _ in range(7))
    curve = ec.generate_private_key(ec.SECP256R1())
    short = rsa.generate_private_key(65537, 1024)
    roots = [
        # Alipay's own chain begins with roots of another algorithm than RSA, which do not count.
        certificate(dn("Test Root E1"), curve, dn("Test Root E1"), curve, 11),
        certificate(dn("Test Root R1"), root, dn("Test Root R1"), root, 2**127 + 12345),
        certificate(dn("Test Root R0"), old_root, dn("Test Root R0"), old_root, 7),
    ]
    return {
        "comment": "Test keys, made by tests/peers/vectors/alipay_open_platform.py. They open nothing.",
        "app_private_key_pkcs8": pem(app, pkcs8),
        "app_private_key_pkcs1": pem(app, pkcs1),
        "app_public_key": public(app),
        "other_private_key": pem(ours_next, pkcs8),
        "alipay_private_key": pem(theirs, pkcs8),
        "alipay_public_key": public(theirs),
        "alipay_next_private_key": pem(theirs_next, pkcs8),
        "alipay_next_public_key": public(theirs_next),
        "stranger_private_key": pem(stranger, pkcs8),
        "stranger_public_key": public(stranger),
        "elliptic_public_key": public(curve),
        "elliptic_private_key": pem(curve, pkcs8),
        "short_public_key": public(short),
        "short_private_key": pem(short, pkcs8),
        "app_certificate": certificate(dn("Test App"), app, dn("Test Root R1"), root, 0x2025_0607_0809_1011_1213_1415_1617_18),
        "alipay_certificate": certificate(dn("Test Alipay"), theirs, dn("Test Root R1"), root, 0x2020_0101),
        "alipay_next_certificate": certificate(dn("Test Alipay"), theirs_next, dn("Test Root R1"), root, 0x2020_0102),
        "alipay_root_certificate": "\n".join(roots),
    }


def requests(keys):
    """What the app asks, signed by the library with a key, and with certificates."""
    app, alipay_key = keys["app_private_key_pkcs8"], keys["alipay_public_key"]
    modes = {
        "keys": alipay.AliPay(APP_ID, None, app, alipay_key),
        "certificates": alipay.DCAliPay(
            APP_ID, app, keys["app_certificate"], keys["alipay_certificate"], keys["alipay_root_certificate"]
        ),
    }
    trade = {"out_trade_no": PAYMENT}
    subject = {"total_amount": "19.90", "subject": TITLE.translate(FORBIDDEN)}
    pages = {"notify_url": CALLBACK, "return_url": CALLBACK}
    wishes = [
        ("page.pay", trade | subject | {"product_code": "FAST_INSTANT_TRADE_PAY", "time_expire": EXPIRES}, pages),
        ("wap.pay", trade | subject | {"product_code": "QUICK_WAP_PAY", "time_expire": EXPIRES}, pages),
        ("precreate", trade | subject | {"time_expire": EXPIRES}, {"notify_url": CALLBACK}),
        ("query", trade, {}),
        ("close", trade, {}),
        ("refund", trade | {"refund_amount": "5.00", "out_request_no": REFUND}, {}),
        ("fastpay.refund.query", trade | {"out_request_no": REFUND}, {}),
    ]
    made = {}
    for mode, client in modes.items():
        for verb, content, urls in wishes:
            method = f"alipay.trade.{verb}"
            body = client.build_body(method, compact(content), format="JSON", **urls)
            body["timestamp"] = NOW
            made[f"{mode} {method}"] = client.sign_data(body)
    return made


def answers(keys):
    """Answers as the gateway gives them, signed by the library as Alipay, and read by it as the app."""
    gateway = alipay.AliPay(APP_ID, None, keys["alipay_private_key"], keys["app_public_key"])
    app = alipay.AliPay(APP_ID, None, keys["app_private_key_pkcs8"], keys["alipay_public_key"])
    paid = {
        "code": "10000", "msg": "Success", "buyer_logon_id": "csq***@sandbox.com", "buyer_pay_amount": "18.90",
        "fund_bill_list": [{"amount": "19.90", "fund_channel": "ALIPAYACCOUNT"}], "invoice_amount": "18.90",
        "out_trade_no": PAYMENT, "point_amount": "0.00", "receipt_amount": "18.90",
        "send_pay_date": "2027-01-15 16:05:07", "store_name": "店/铺\"}", "total_amount": "19.90",
        "trade_no": "2027011522001400000000000001", "trade_status": "TRADE_SUCCESS",
    }
    unknown = {"code": "40004", "msg": "Business Failed", "sub_code": "ACQ.TRADE_NOT_EXIST", "sub_msg": "交易不存在"}
    code = {"code": "10000", "msg": "Success", "out_trade_no": PAYMENT, "qr_code": "https://qr.alipay.com/bax03431ljhokirwl38f00a7"}
    texts = [
        ("paid", "query", compact(paid)),
        ("paid, slashes escaped", "query", compact(paid).replace("/", "\\/")),
        ("paid, pretty", "query", json.dumps(paid, indent=2)),
        ("not known", "query", compact(unknown)),
        ("code", "precreate", compact(code).replace("/", "\\/")),
    ]
    made = {}
    for title, verb, text in texts:
        node = f"alipay_trade_{verb}_response"
        body = f'{{"{node}":{text},"sign":"{gateway._sign(text)}"}}'
        if '"}"' not in text and "\\\"}" not in text:
            # The library looks for the end of the text by counting braces, also those inside strings.
            app._verify_and_return_sync_response(body, node)
        assert app._verify(text, gateway._sign(text))
        made[title] = body
    return made


def notifications(keys):
    """Notifications as the gateway posts them."""
    gateway = alipay.AliPay(APP_ID, None, keys["alipay_private_key"], keys["app_public_key"])
    app = alipay.AliPay(APP_ID, None, keys["app_private_key_pkcs8"], keys["alipay_public_key"])
    paid = {
        "app_id": APP_ID, "auth_app_id": APP_ID, "body": "", "buyer_id": "2088102116773037", "buyer_pay_amount": "18.90",
        "charset": "utf-8", "fund_bill_list": '[{"amount":"19.90","fundChannel":"ALIPAYACCOUNT"}]',
        "gmt_create": "2027-01-15 16:04:55", "gmt_payment": "2027-01-15 16:05:07", "invoice_amount": "18.90",
        "notify_id": "2027011500222160508050171234567890", "notify_time": "2027-01-15 16:05:08",
        "notify_type": "trade_status_sync", "out_trade_no": PAYMENT, "point_amount": "0.00", "receipt_amount": "18.90",
        "seller_id": SELLER_ID, "subject": TITLE.translate(FORBIDDEN), "total_amount": "19.90",
        "trade_no": "2027011522001400000000000001", "trade_status": "TRADE_SUCCESS", "version": "1.0",
    }
    back = {"gmt_refund": "2027-01-15 17:00:00.123", "out_biz_no": REFUND, "refund_fee": "5.00"}
    closed = {key: value for key, value in paid.items() if key not in ("gmt_payment", "receipt_amount")}
    texts = {
        "paid": paid,
        "finished": paid | {"trade_status": "TRADE_FINISHED"},
        "partly refunded": paid | back,
        "all refunded": paid | back | {"refund_fee": "19.90", "trade_status": "TRADE_CLOSED"},
        "timed out": closed | {"trade_status": "TRADE_CLOSED"},
        "waiting": closed | {"trade_status": "WAIT_BUYER_PAY"},
        "to another app": paid | {"app_id": "2021000000000002"},
        "to another seller": paid | {"seller_id": "2088000000000002"},
    }
    made = {}
    for title, fields in texts.items():
        signed = dict(urllib.parse.parse_qsl(gateway.sign_data(dict(fields)), keep_blank_values=True))
        sign = signed.pop("sign")
        assert signed == fields and app.verify(dict(fields) | {"sign_type": "RSA2"}, sign)
        made[title] = urllib.parse.urlencode(fields | {"sign": sign, "sign_type": "RSA2"})
    return made


def serial_numbers(keys):
    names = ["app_certificate", "alipay_certificate", "alipay_next_certificate"]
    numbers = {name: alipay.DCAliPay.get_cert_sn(keys[name]) for name in names}
    numbers["alipay_root_certificate"] = alipay.DCAliPay.get_root_cert_sn(keys["alipay_root_certificate"])
    assert re.fullmatch("[0-9a-f]{32}_[0-9a-f]{32}", numbers["alipay_root_certificate"]), numbers
    return numbers


def write():
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    keys = known.get("keys") or new_keys()
    vectors = {
        "made_by": "tests/peers/vectors/alipay_open_platform.py with python-alipay-sdk 3.4.0",
        "app_id": APP_ID, "seller_id": SELLER_ID, "gateway": GATEWAY, "callback": CALLBACK, "payment": PAYMENT,
        "refund": REFUND, "title": TITLE, "keys": keys, "serial_numbers": serial_numbers(keys),
        "requests": requests(keys), "answers": answers(keys), "notifications": notifications(keys),
        "ours": known.get("ours", {}),
    }
    FILE.write_text(json.dumps(vectors, ensure_ascii=False, indent=2) + "\n")
    print(f"{FILE}: {len(vectors['requests'])} requests, {len(vectors['answers'])} answers, "
          f"{len(vectors['notifications'])} notifications")


def check():
    """Everything our code signed carries the app's signature, for the library acting as Alipay."""
    vectors = json.loads(FILE.read_text())
    gateway = alipay.AliPay(APP_ID, None, vectors["keys"]["alipay_private_key"], vectors["keys"]["app_public_key"])
    assert vectors["ours"], "nothing signed by our code is stored"
    for title, sent in vectors["ours"].items():
        fields = dict(urllib.parse.parse_qsl(sent, keep_blank_values=True, strict_parsing=True))
        sign = fields.pop("sign")
        # A request's signature covers `sign_type`; the library takes it off, as in notifications.
        text = "&".join(f"{key}={fields[key]}" for key in sorted(fields))
        assert gateway._verify(text, sign), title
        assert not gateway._verify(text + " ", sign), title
        json.loads(fields["biz_content"])
    print(f"{len(vectors['ours'])} requests signed by our code are genuine")


if __name__ == "__main__":
    check() if "--check" in sys.argv[1:] else write()
