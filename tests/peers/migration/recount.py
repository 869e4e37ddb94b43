"""An independent recount: what SQL says should have arrived, against what is in the tables. The rules are said again here, in SQL.

    recount.py nothing|tamper|mend ADDRESS
    recount.py monolith|split ADDRESS SOCKET NOW
"""

import collections
import subprocess
import sys

from local_platform import Platform

what, platform = sys.argv[1], Platform(sys.argv[2])
TABLES = ["UsersTable", "LoginsTable", "ProductsTable", "OrdersTable", "PaymentsTable", "RefundsTable", "NotificationsTable"]
KEYS = {"UsersTable": "user_uuid", "LoginsTable": "login", "ProductsTable": "product_uuid", "OrdersTable": "order_uuid",
        "PaymentsTable": "payment_uuid", "RefundsTable": "refund_uuid", "NotificationsTable": "notification_uuid"}

if what == "nothing":
    for table in TABLES:
        assert not list(platform.scan(table, [KEYS[table]])), f"{table} is not empty"
    sys.exit()
if what in ("tamper", "mend"):
    # One fen of one payment.
    payment = sorted(platform.scan("PaymentsTable", ["payment_uuid"]), key=lambda item: item["payment_uuid"]["S"])[0]
    step = "1" if what == "tamper" else "-1"
    platform.dynamodb("UpdateItem", {
        "TableName": "PaymentsTable", "Key": payment, "UpdateExpression": "SET amount = amount + :step",
        "ExpressionAttributeValues": {":step": {"N": step}}})
    sys.exit()

socket, now = sys.argv[3], int(sys.argv[4])
# The moment of the migration: four hours before the one by which the data was made.
today = now - 4 * 3600


def sql(query):
    command = ["mariadb", "--no-defaults", "-S", socket, "-u", "root", "-N", "-B", "-e", f"SET time_zone='+00:00'; {query}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split("\t") for line in lines]


def fen(text):
    whole, _, decimals = text.partition(".")
    return int(whole) * 100 + int((decimals + "00")[:2])


valid = f"BETWEEN '2000-01-01' AND FROM_UNIXTIME({today} + 86400)"
amounts = """o.total_amount > 0
    AND NOT EXISTS (SELECT 1 FROM {payment} p WHERE {paid} AND p.status = 2 AND p.amount <> o.total_amount)
    AND NOT EXISTS (SELECT 1 FROM {payment} p WHERE {paid} AND (p.amount <= 0 OR p.status NOT BETWEEN 0 AND 4))"""
if what == "monolith":
    order, item, payment, paid = "cfmp.`order`", "cfmp.order_item", "cfmp.payment", "p.order_id = o.order_id"
    notification = "cfmp.notification n JOIN cfmp.`user` u ON u.user_id = n.user_id"
    taken = f"""o.status BETWEEN 0 AND 3 AND EXISTS (SELECT 1 FROM cfmp.`user` b WHERE b.user_id = o.buyer_id)
        AND (SELECT COUNT(*) FROM {item} i WHERE i.order_id = o.order_id) > 0
        AND (SELECT COUNT(*) = COUNT(s.user_id) AND COUNT(DISTINCT s.user_id) = 1 AND MIN(i.quantity) > 0 AND MAX(i.quantity) < 1000
             FROM {item} i LEFT JOIN cfmp.product q ON q.product_id = i.product_id LEFT JOIN cfmp.`user` s ON s.user_id = q.`user`
             WHERE i.order_id = o.order_id)"""
    late = f"""EXISTS (SELECT 1 FROM {item} i JOIN cfmp.product q ON q.product_id = i.product_id WHERE i.order_id = o.order_id AND (q.status <> 0
        OR EXISTS (SELECT 1 FROM {item} j JOIN {order} e ON e.order_id = j.order_id WHERE j.product_id = i.product_id AND e.order_id <> o.order_id
        AND (e.status = 1 OR e.status = 0 AND e.order_id < o.order_id AND e.created_at > FROM_UNIXTIME({now} - 3600)))))"""
else:
    order, item, payment = "cfmp_order.`order`", "cfmp_order.order_item", "cfmp_payment.payment"
    paid, notification, late = "p.order_uuid = o.order_uuid", "cfmp_notification.notification n", "FALSE"
    taken = f"""o.status BETWEEN 0 AND 3 AND o.seller_uuid IS NOT NULL
        AND (SELECT COUNT(*) > 0 AND MIN(i.quantity) > 0 AND MAX(i.quantity) < 1000 FROM {item} i WHERE i.order_id = o.order_id)"""
taken += f""" AND (o.created_at {valid} OR o.updated_at {valid} OR COALESCE(o.payment_time {valid}, FALSE))
    AND {amounts.format(payment=payment, paid=paid)}"""
succeeded = f"EXISTS (SELECT 1 FROM {payment} p WHERE {paid} AND p.status = 2)"
# A date that can not be gives way to the next one of the row.
placed = f"""CASE WHEN o.created_at {valid} THEN o.created_at WHEN o.updated_at {valid} THEN o.updated_at ELSE o.payment_time END"""
becomes = f"""CASE WHEN o.status = 0 AND {succeeded} THEN 1
    WHEN o.status = 0 AND {placed} > FROM_UNIXTIME({now} - 3600) AND NOT {late} THEN 0 WHEN o.status = 0 THEN 3 ELSE o.status END"""

faults = []


def same(name, expected, found):
    mark = "same" if expected == found else "DIFFERENT"
    print(f"recount: {mark}: {name}: {expected} by SQL, {found} here")
    if expected != found:
        faults.append(name)


words = {"pending_payment": "0", "paid": "1", "completed": "2", "cancelled": "3"}
here, sums = collections.Counter(), collections.Counter()
by_user = collections.Counter()
for found in platform.scan("OrdersTable", ["status", "total", "buyer_uuid", "legacy_id"]):
    status = words[found["status"]["S"]]
    here[status] += 1
    sums[status] += int(found["total"]["N"])
expected, expected_sums = collections.Counter(), collections.Counter()
for status, count, total in sql(f"SELECT {becomes} AS s, COUNT(*), SUM(o.total_amount) FROM {order} o WHERE {taken} GROUP BY s"):
    expected[status], expected_sums[status] = int(count), fen(total)
for status in sorted(expected | here):
    same(f"orders of status {status}", expected[status], here[status])
    same(f"fen of orders of status {status}", expected_sums[status], sums[status])

here, sums = collections.Counter(), collections.Counter()
for found in platform.scan("PaymentsTable", ["status", "amount"]):
    here[found["status"]["S"]] += 1
    sums[found["status"]["S"]] += int(found["amount"]["N"])
state = "CASE WHEN p.status = 2 OR p.status = 3 AND p.paid_at IS NOT NULL THEN 'paid' WHEN p.status = 3 THEN 'failed' ELSE 'closed' END"
expected, expected_sums = collections.Counter(), collections.Counter()
for status, count, total in sql(f"SELECT {state} AS s, COUNT(*), SUM(p.amount) FROM {payment} p JOIN {order} o ON {paid} WHERE {taken} GROUP BY s"):
    expected[status], expected_sums[status] = int(count), fen(total)
[(count, total)] = sql(f"SELECT COUNT(*), COALESCE(SUM(o.total_amount), 0) FROM {order} o WHERE {taken} AND o.status IN (1, 2) AND NOT {succeeded}")
expected["paid"] += int(count)
expected_sums["paid"] += fen(total)
for status in sorted(expected | here):
    same(f"payments that are {status}", expected[status], here[status])
    same(f"fen of payments that are {status}", expected_sums[status], sums[status])

count = sum(1 for _ in platform.scan("NotificationsTable", ["notification_uuid"]))
messages = int(sql("SELECT COUNT(*) FROM cfmp.user_messages")[0][0]) if what == "monolith" else 0
[(notices,)] = sql(f"SELECT COUNT(*) FROM {notification} WHERE n.`type` BETWEEN 0 AND 2")
same("notifications", int(notices) + messages, count)
if what == "monolith":
    [(users,)] = sql("SELECT COUNT(*) FROM cfmp.`user`")
    same("accounts", int(users), sum(1 for _ in platform.scan("UsersTable", ["user_uuid"])))
    same("log-ins", 2 * int(users), sum(1 for _ in platform.scan("LoginsTable", ["login"])))
    [(products,)] = sql("SELECT COUNT(*) FROM cfmp.product p JOIN cfmp.`user` u ON u.user_id = p.`user` WHERE p.price > 0")
    same("products", int(products), sum(1 for _ in platform.scan("ProductsTable", ["product_uuid"])))

# History told nobody anything, and nothing was lost among dead letters.
status, letters = platform.request("GET", "/_local/dead-letters")
same("dead letters", 0, len(letters["dead_letters"]))
status, mails = platform.request("GET", "/_local/mails")
same("mails", 0, len(mails.get("mails", mails)))
sys.exit(1 if faults else 0)
