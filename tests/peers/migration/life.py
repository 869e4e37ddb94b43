"""What was moved lives on: log-ins with old passwords, old integers, paying, cancelling, expiring, completing.

    life.py ADDRESS SOCKET ORDERS
"""

import subprocess
import sys
import time

from local_platform import Platform

platform, socket, orders = Platform(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def sql(query):
    command = ["mariadb", "--no-defaults", "-S", socket, "-u", "root", "-N", "-B", "cfmp", "-e", query]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split("\t") for line in lines]


def ask(method, path, token, body=None, expect=200):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    status, answer = platform.request(method, path, body, headers)
    assert status == expect, (method, path, status, answer)
    return answer


def log_in(email):
    status, answer = platform.request("POST", "/api/v1/auth/login-with-password/", {"email": email, "password": "old-pass-1"})
    return answer.get("access_token") if status == 200 else None


def until(what, holds):
    deadline = time.monotonic() + 120
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.5)
    print(f"life: {what}")
    return seen


def users_who_log_in():
    duplicate = "SELECT LOWER(email) FROM `user` GROUP BY LOWER(email) HAVING COUNT(*) > 1"
    return f"""SELECT user_id FROM `user` WHERE status = 0 AND email LIKE '%@%' AND password LIKE 'pbkdf2%'
        AND LOWER(email) NOT IN ({duplicate})"""


def purchases(status, extra):
    """Order, its buyer's and its seller's address, its product; clean ones, of people who can log in."""
    query = f"""SELECT o.order_id, b.email, s.email, i.product_id FROM `order` o JOIN order_item i ON i.order_id = o.order_id
        JOIN product p ON p.product_id = i.product_id JOIN `user` b ON b.user_id = o.buyer_id JOIN `user` s ON s.user_id = p.`user`
        WHERE o.status = {status} AND o.total_amount = i.price AND i.quantity = 1 AND b.user_id IN ({users_who_log_in()})
        AND b.user_id <> s.user_id AND s.status = 0 AND p.price > 0
        AND (SELECT COUNT(*) FROM order_item j WHERE j.order_id = o.order_id) = 1 AND {extra} ORDER BY o.order_id DESC LIMIT 6"""
    found = sql(query)
    assert found, (status, extra)
    return found


paid_once = "(SELECT COUNT(*) FROM payment p WHERE p.order_id = o.order_id AND p.status = 2 AND p.amount = o.total_amount) = 1"
nobody_else = "NOT EXISTS (SELECT 1 FROM order_item k WHERE k.product_id = i.product_id AND k.order_id <> i.order_id) AND p.status = 0"

# Old passwords, and a newer hash after the first log-in.
number, email, _, _ = purchases(2, paid_once)[0]
token = log_in(email)
assert token, email
login = platform.dynamodb("GetItem", {"TableName": "LoginsTable", "Key": {"login": {"S": f"email#{email.lower()}"}}})["Item"]
key = {"user_uuid": login["user_uuid"]}
user = platform.dynamodb("GetItem", {"TableName": "UsersTable", "Key": key})["Item"]
assert user["password_hash"]["S"].startswith("$argon2id$"), "hashed anew"
assert log_in(email) and "imported_at" not in user
status, _ = platform.request("POST", "/api/v1/auth/login-with-password/", {"email": email, "password": "old-pass-2"})
assert status == 400
print("life: an old password logs in, and is hashed anew")

# Old integers, for their owners only.
assert ask("GET", f"/api/orders/{number}/", token)["data"]["status"] == 2
assert ask("GET", f"/api/payment/{number}/", token)["data"]["status"] == "success"
stranger = next(found for found in map(lambda row: log_in(row[1]), purchases(3, "TRUE")) if found and found != token)
ask("GET", f"/api/orders/{number}/", stranger, expect=404)
ask("GET", f"/api/payment/{number}/", stranger, expect=404)
print("life: old integers work for their owners only")

# Lists and figures are what the rows amount to.
figures, listed = ask("GET", "/api/orders/stats/", token), ask("GET", "/api/orders/?page_size=100", token)
assert figures["total_orders"] == listed["count"] > 0, (figures, listed["count"])

# An order that waits for its payment can be paid here.
waiting = purchases(0, f"p.status = 0 AND {nobody_else} AND o.created_at > (SELECT MAX(created_at) FROM `order` WHERE created_at < "
                       "'2090-01-01' AND status = 0) - INTERVAL 20 MINUTE")
assert len(waiting) >= 2, waiting
number, email, _, product = waiting[0]
token = log_in(email)
order = ask("GET", f"/api/orders/{number}/", token)["data"]
assert order["status"] == 0, order
made = ask("POST", "/api/payment/create/", token, {
    "order_uuid": order["order_uuid"], "payment_method": "alipay", "amount": order["total_amount"], "payment_subject": "x"}, expect=201)
page = made["data"]["payment_data"]["payment_url"]
platform.request("POST", page[len(platform.address):], form="outcome=pay",
                 headers={"Content-Type": "application/x-www-form-urlencoded"})
until("a moved order is paid here", lambda: ask("GET", f"/api/orders/{number}/", token)["data"]["status"] == 1)

# One that nobody pays expires, and its piece is for sale again.
number, email, _, _ = waiting[1]
token = log_in(email)
order = ask("GET", f"/api/orders/{number}/", token)["data"]
assert order["status"] == 0, order
product = order["products"][0]["product_uuid"]
assert ask("GET", f"/api/product/{product}/", token)["stock"] == 0
platform.request("POST", "/_local/clock", {"advance_ms": 32 * 60 * 1000})
until("a moved order expires", lambda: ask("GET", f"/api/orders/{number}/", token)["data"]["status"] == 3)
until("its piece is for sale again", lambda: ask("GET", f"/api/product/{product}/", token)["stock"] == 1)

# A paid one that its buyer calls off: the money is with the older system, so a person gives it back.
paid = purchases(1, f"{paid_once} AND {nobody_else}")
number, email, _, _ = paid[0]
token = log_in(email)
order = ask("GET", f"/api/orders/{number}/", token)["data"]
assert order["status"] == 1, order
ask("POST", f"/api/orders/{number}/cancel/", token, {"reason": "不要了"})
until("a refund of the older system waits for a person",
      lambda: ask("GET", f"/api/orders/{number}/", token)["data"]["refund_status"] == "needs_attention")
product = order["products"][0]["product_uuid"]
until("its piece is for sale again", lambda: ask("GET", f"/api/product/{product}/", token)["stock"] == 1)

# Another one completes by itself, after its buyer was reminded.
number, email, _, _ = next(row for row in paid[1:] if log_in(row[1]))
token = log_in(email)
assert ask("GET", f"/api/orders/{number}/", token)["data"]["status"] == 1
platform.request("POST", "/_local/clock", {"advance_ms": 7 * 24 * 3600 * 1000})
time.sleep(2)
platform.request("POST", "/_local/clock", {"advance_ms": 2 * 24 * 3600 * 1000})


def completed():
    global token
    token = log_in(email)
    return token and ask("GET", f"/api/orders/{number}/", token)["data"]["status"] == 2


until("a moved order completes by itself", completed)
