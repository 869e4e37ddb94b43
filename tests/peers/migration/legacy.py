"""Generated data of the older systems, dirty in every way that is known, as SQL on standard output.

    legacy.py monolith|split ORDERS NOW SECRET_KEY

NOW is a moment in seconds; a seed decides the rest. Tokens are made by `cryptography`, hashes by hashlib: nothing of the
code that reads them.
"""

import base64
import hashlib
import json
import random
import sys
import uuid
from datetime import datetime, timezone

from cryptography.fernet import Fernet

SYSTEM, ORDERS, NOW, SECRET = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
DAY = 86400
chance = random.Random(1)
key = base64.urlsafe_b64encode(SECRET.encode()[:32].ljust(32, b"="))
fernet, other = Fernet(key), Fernet(Fernet.generate_key())
MONOLITH = SYSTEM == "monolith"
DECOY = "TEST-ONLY"


class Raw(str):
    pass


def quote(value):
    if value is None:
        return "NULL"
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


class Table:
    def __init__(self, name, columns):
        self.name, self.columns, self.rows = name, columns, []

    def add(self, *values):
        self.rows.append("(" + ",".join(map(quote, values)) + ")")
        if len(self.rows) >= 500:
            self.flush()

    def flush(self):
        if self.rows:
            columns = ",".join(f"`{column}`" for column in self.columns)
            print(f"INSERT INTO {self.name} ({columns}) VALUES {','.join(self.rows)};")
            self.rows = []


def at(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def money(fen):
    sign = "-" if fen < 0 else ""
    return Raw(f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02}")


def percent(share):
    return chance.random() * 100 < share


NAMESPACE = uuid.UUID("6f1a7a54-31a0-4b0e-9d0f-5c1d2e3f4a5b")


def hexed(kind, number):
    return uuid.uuid5(NAMESPACE, f"{kind}{number}").hex


order_ddl = """order_id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {who}, total_amount DECIMAL(10,2) NOT NULL,
 status SMALLINT NOT NULL, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL, payment_method SMALLINT NULL,
 payment_time DATETIME(6) NULL, remark LONGTEXT NULL, cancel_reason LONGTEXT NULL, shipping_name VARCHAR(500) NULL,
 shipping_phone VARCHAR(200) NULL, shipping_address LONGTEXT NULL, shipping_postal_code VARCHAR(20) NULL"""
payment_ddl = """payment_id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {who}, amount DECIMAL(10,2) NOT NULL,
 payment_method SMALLINT NOT NULL, status SMALLINT NOT NULL, created_at DATETIME(6) NOT NULL, paid_at DATETIME(6) NULL,
 expires_at DATETIME(6) NULL, transaction_id BIGINT NULL, payment_subject VARCHAR(255) NOT NULL, payment_data JSON NOT NULL,
 failure_reason VARCHAR(255) NULL"""
notification_ddl = """id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {who}, `type` SMALLINT NOT NULL, title VARCHAR(100) NOT NULL,
 content LONGTEXT NOT NULL, `read` TINYINT(1) NOT NULL, created_at DATETIME(6) NOT NULL, related_id VARCHAR(50) NULL,
 related_data JSON NULL"""
policy_ddl = """policy_id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, policy_name VARCHAR(100) NOT NULL, policy_description LONGTEXT NOT NULL,
 is_enabled TINYINT(1) NOT NULL, security_level VARCHAR(10) NOT NULL, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL"""

print("SET NAMES utf8mb4; SET sql_mode=''; SET time_zone='+00:00'; SET foreign_key_checks=0; SET unique_checks=0;")
if MONOLITH:
    print("CREATE DATABASE cfmp CHARACTER SET utf8mb4; USE cfmp;")
    ddl = {
        "`user`": """user_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, username VARCHAR(30) NOT NULL, password VARCHAR(200) NOT NULL,
 email VARCHAR(50) NOT NULL, created_at DATETIME(6) NOT NULL, status INT NOT NULL, privilege INT NOT NULL, captcha VARCHAR(4) NULL,
 is_authenticated TINYINT(1) NOT NULL, avatar VARCHAR(100) NULL, address VARCHAR(100) NULL""",
        "messages": "message_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, title VARCHAR(100) NOT NULL, content LONGTEXT NOT NULL, created_at DATETIME(6) NOT NULL",
        "user_messages": "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT NOT NULL, messages_id BIGINT NOT NULL",
        "product": """product_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, `user` BIGINT NULL, title VARCHAR(100) NOT NULL,
 description LONGTEXT NOT NULL, price DECIMAL(10,2) NOT NULL, status SMALLINT NOT NULL, created_at DATETIME(6) NOT NULL,
 `function` SMALLINT NOT NULL, visit_count INT UNSIGNED NOT NULL, rating_avg DECIMAL(2,1) NOT NULL, KEY (`user`)""",
        "product_media": """media_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, product_id BIGINT NOT NULL, media VARCHAR(100) NULL,
 is_main TINYINT(1) NOT NULL, created_at DATETIME(6) NOT NULL, KEY (product_id)""",
        "collection": """collection_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT NOT NULL, product_id BIGINT NOT NULL,
 created_at DATETIME(6) NOT NULL""",
        "`order`": order_ddl.format(who="buyer_id BIGINT NOT NULL") + ", KEY (buyer_id), KEY (created_at)",
        "order_item": """id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id INT NOT NULL, product_id BIGINT NOT NULL,
 price DECIMAL(10,2) NOT NULL, quantity INT UNSIGNED NOT NULL, KEY (order_id), KEY (product_id)""",
        "payment": payment_ddl.format(who="order_id INT NOT NULL, user_id BIGINT NOT NULL") + ", KEY (order_id)",
        "notification": notification_ddl.format(who="user_id BIGINT NOT NULL"),
        "security_policy": policy_ddl,
    }
else:
    print("CREATE DATABASE cfmp_order CHARACTER SET utf8mb4; CREATE DATABASE cfmp_payment CHARACTER SET utf8mb4;")
    print("CREATE DATABASE cfmp_notification CHARACTER SET utf8mb4;")
    ddl = {
        "cfmp_order.`order`": order_ddl.format(
            who="order_uuid CHAR(32) NOT NULL UNIQUE, buyer_uuid CHAR(32) NOT NULL, seller_uuid CHAR(32) NULL") + ", KEY (created_at)",
        "cfmp_order.order_item": """id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id INT NOT NULL, product_uuid CHAR(32) NOT NULL,
 product_name VARCHAR(200) NOT NULL, product_price DECIMAL(10,2) NOT NULL, product_image VARCHAR(500) NULL,
 quantity INT UNSIGNED NOT NULL, KEY (order_id)""",
        "cfmp_payment.payment": payment_ddl.format(
            who="payment_uuid CHAR(32) NOT NULL UNIQUE, order_uuid CHAR(32) NOT NULL, user_uuid CHAR(32) NOT NULL")
        + ", callback_received TINYINT(1) NOT NULL DEFAULT 0, callback_data JSON NULL, callback_time DATETIME(6) NULL, KEY (order_uuid)",
        "cfmp_notification.notification": notification_ddl.format(
            who="notification_uuid CHAR(32) NOT NULL, user_uuid CHAR(32) NOT NULL") + ", read_at DATETIME(6) NULL",
        "cfmp_notification.security_policy": policy_ddl + ", policy_uuid CHAR(32) NOT NULL, config_data JSON NULL",
    }
for name, columns in ddl.items():
    print(f"CREATE TABLE {name} ({columns}) ENGINE=InnoDB;")
print("START TRANSACTION;")

USERS, PRODUCTS = max(ORDERS // 5, 50), ORDERS + 2000
GONE_USER = USERS + 999_999

ORDER_COLUMNS = ["total_amount", "status", "created_at", "updated_at", "payment_method", "payment_time", "remark", "cancel_reason",
                 "shipping_name", "shipping_phone", "shipping_address", "shipping_postal_code"]
PAYMENT_COLUMNS = ["amount", "payment_method", "status", "created_at", "paid_at", "expires_at", "transaction_id", "payment_subject",
                   "payment_data", "failure_reason"]
NOTICE_COLUMNS = ["type", "title", "content", "read", "created_at", "related_id", "related_data"]
if MONOLITH:
    orders = Table("`order`", ["order_id", "buyer_id"] + ORDER_COLUMNS)
    items = Table("order_item", ["order_id", "product_id", "price", "quantity"])
    payments = Table("payment", ["order_id", "user_id"] + PAYMENT_COLUMNS)
    notices = Table("notification", ["user_id"] + NOTICE_COLUMNS)
    users = Table("`user`", ["user_id", "username", "password", "email", "created_at", "status", "privilege", "captcha",
                             "is_authenticated", "avatar", "address"])
    salt = "migrationsalt"
    digest = base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"old-pass-1", salt.encode(), 2600)).decode()
    password = f"pbkdf2_sha256$2600${salt}${digest}"
    for user in range(1, USERS + 1):
        email, name, hashed = f"user{user}@example.edu", f"学生{user}", password
        if user > 10:
            if percent(1):
                email = f"User{chance.randint(1, user - 1)}@Example.edu"
            elif percent(0.5):
                email = "no address"
            if percent(0.5):
                name = f"学生 {user}"
            elif percent(0.5):
                name = f"学生{chance.randint(1, user - 1)}"
            if percent(0.2):
                hashed = "!unusable"
        made = NOW - chance.randint(30, 900) * DAY
        users.add(user, name, hashed, email, at(made), int(percent(1)), int(user == 1), None, percent(50),
                  f"avatar/{user}.png" if percent(40) else None, f"{user % 20} 号楼 {user % 500}" if percent(60) else None)
    users.flush()
    messages = Table("messages", ["message_id", "title", "content", "created_at"])
    got = Table("user_messages", ["user_id", "messages_id"])
    for message in range(1, 21):
        messages.add(message, f"公告 {message}", f"第 {message} 号公告", at(NOW - message * 10 * DAY))
        for user in range(1, min(USERS, 200) + 1):
            got.add(user, message)
    messages.flush(), got.flush()
    policies = Table("security_policy", ["policy_name", "policy_description", "is_enabled", "security_level", "created_at", "updated_at"])
    for name in ("password_policy", "login_limit", "order_limit"):
        policies.add(name, "", True, "medium", at(NOW - 300 * DAY), at(NOW - 300 * DAY))
    policies.flush()
else:
    orders = Table("cfmp_order.`order`", ["order_id", "order_uuid", "buyer_uuid", "seller_uuid"] + ORDER_COLUMNS)
    items = Table("cfmp_order.order_item", ["order_id", "product_uuid", "product_name", "product_price", "product_image", "quantity"])
    payments = Table("cfmp_payment.payment", ["payment_uuid", "order_uuid", "user_uuid"] + PAYMENT_COLUMNS)
    notices = Table("cfmp_notification.notification", ["notification_uuid", "user_uuid"] + NOTICE_COLUMNS + ["read_at"])
    policies = Table("cfmp_notification.security_policy", ["policy_name", "policy_description", "is_enabled", "security_level", "created_at",
                                                           "updated_at", "policy_uuid", "config_data"])
    policies.add("password_policy", "", True, "medium", at(NOW - 300 * DAY), at(NOW - 300 * DAY), hexed("policy", 1), "{}")
    policies.flush()

sellers, prices, sold = {}, {}, set()
for product in range(1, PRODUCTS + 1):
    sellers[product] = chance.randint(1, USERS)
    prices[product] = chance.randint(1, 50000)
    if percent(0.3):
        sellers[product] = None
    elif percent(0.05):
        sellers[product] = GONE_USER


def sealed(text):
    if not MONOLITH:
        return text
    if percent(1):
        return text
    if percent(0.15):
        return other.encrypt_at_time(text.encode(), NOW - DAY).decode()
    return fernet.encrypt_at_time(text.encode(), NOW - DAY).decode()


numbers = {"payment": 0}


def pay(order, user, fen, status, when, paid=None):
    numbers["payment"] += 1
    number = numbers["payment"]
    row = [money(fen), chance.randint(0, 1), status, at(when), None if paid is None else at(paid), at(when + 1800),
           202600000000 + number if paid is not None else None, "校园二手 订单", json.dumps({"qrcode": "x"}),
           "用户取消" if status == 3 else None]
    if MONOLITH:
        payments.add(order, user, *row)
    else:
        payments.add(hexed("payment", number), hexed("order", order), hexed("user", user), *row)


def notify(user, kind, title, content, read, when, related, data=None):
    row = [kind, title, content, read, at(when), related, data]
    if MONOLITH:
        notices.add(user, *row)
    else:
        numbers["notice"] = numbers.get("notice", 0) + 1
        notices.add(hexed("notice", numbers["notice"]), hexed("user", user), *row, at(when + 60) if read else None)


def put_item(order, product, fen, quantity):
    if MONOLITH:
        items.add(order, product, money(fen), quantity)
    else:
        items.add(order, hexed("product", product), f"商品 {product}", money(fen), f"/media/{product}.jpg", quantity)


RECENT = max(ORDERS // 1000, 20)
held = []
for order in range(1, ORDERS + 1):
    recent = order > ORDERS - RECENT
    product = order
    buyer = chance.randint(1, USERS)
    placed = NOW - chance.randint(60, 600) if recent else NOW - 6 * 3600 - int(chance.random() ** 2 * 700 * DAY)
    status = 0 if recent else chance.choices([0, 1, 2, 3], [7, 4, 70, 19])[0]
    fen, quantity = prices[product], 1
    total = fen
    several = percent(0.3) and not recent
    second = ORDERS + chance.randint(1, 2000) if several or percent(2) and not recent else None
    if second is not None:
        if MONOLITH and not several:
            sellers[second] = sellers[product]
        total += prices[second]
    if percent(0.5):
        total += chance.choice([-1, 1, 100])
    if total <= 0:
        total = 1
    if percent(0.05):
        total = chance.choice([0, -500])
    if percent(0.05):
        quantity = 0
    updated = placed + (0 if status == 0 else chance.randint(60, 3 * DAY))
    updated = min(updated, NOW - 30)
    paid_at = min(placed + chance.randint(10, 1500), updated)
    created_text, updated_text = at(placed), at(updated)
    if percent(0.1) and not recent:
        created_text = chance.choice(["0000-00-00 00:00:00", "1970-01-02 00:00:00", at(NOW + 400 * DAY)])
    if percent(0.1):
        updated_text = chance.choice(["0000-00-00 00:00:00", at(placed - 5 * DAY), at(NOW + 900 * DAY)])
    remark = chance.choice([None, "", "尽快发货", "放在楼下", "谢谢"])
    reason = chance.choice([None, "", "不想要了", "买错了"]) if status == 3 else None
    if percent(0.1):
        remark = "很长的备注" * 130
    if percent(0.05) and status == 3:
        reason = "很长的理由" * 130
    name, phone, address = sealed("张三"), sealed(f"138{order % 100000000:08}"), sealed(f"{order % 30} 号楼 {order % 700}")
    if percent(0.5):
        name, phone = chance.choice([(None, None), ("", ""), (name, "")])
    if percent(0.1):
        address = sealed("一个非常长的地址" * 50)
    if percent(0.05) and not recent:
        status = 9
    who = buyer
    if percent(0.1):
        who = GONE_USER
    row = [money(total), status, created_text, updated_text, None if percent(30) else chance.randint(0, 1),
           at(paid_at) if status in (1, 2) else None, remark, reason, name, phone, address, chance.choice([None, "", "100871"])]
    if MONOLITH:
        orders.add(order, who, *row)
    else:
        seller = sellers[product]
        orders.add(order, hexed("order", order), hexed("user", who), hexed("user", seller) if seller else None, *row)
    if not percent(0.2):
        put_item(order, product, fen, quantity)
        if second is not None:
            put_item(order, second, prices[second], 1)
    if status in (1, 2):
        if percent(8):
            pay(order, who, total, chance.choice([0, 3, 4]), placed + 5)
        if not percent(0.3):
            payer = who if not percent(0.1) else chance.randint(1, USERS)
            amount = total if not percent(0.1) else total + 100
            pay(order, payer, amount, 2, placed + 10, paid_at)
            if percent(0.3):
                pay(order, who, total, 2, placed + 20, paid_at + 5)
    elif status == 0:
        if percent(60):
            pay(order, who, total, chance.choice([0, 1]), placed + 5)
        if percent(1) and not recent:
            pay(order, who, total, 2, placed + 9, paid_at)
    elif status == 3:
        if percent(30):
            pay(order, who, total, chance.choice([3, 4]), placed + 5)
        if percent(0.8):
            pay(order, who, total, 2, placed + 7, paid_at)
        elif not MONOLITH and percent(3):
            pay(order, who, total, 3, placed + 7, paid_at)
    if status in (0, 1):
        held.append(product)
    if status in (1, 2):
        sold.add(product)
    notify(who if who != GONE_USER else buyer, 0, "订单通知", f"您的订单 {order} 已更新", not percent(30), placed + 30, str(order))
    if percent(1):
        notify(buyer, chance.choice([1, 2]), "活动" if not percent(5) else "", "很长的通知" * 500 if percent(2) else "开学季优惠",
               percent(50), placed + 40, None, json.dumps({"order_id": order}) if percent(50) else "[1, 2]")
for ghost in range(1, 101):
    put_item(ORDERS + 5000 + ghost, 1, 100, 1)
    pay(ORDERS + 5000 + ghost, 1, 100, chance.choice([0, 2]), NOW - 90 * DAY, NOW - 90 * DAY)
    if MONOLITH:
        notify(GONE_USER, 1, "公告", "没有人", False, NOW - 80 * DAY, None)
    notify(1, 7, "公告", "没有这种类型", False, NOW - 80 * DAY, None)
for table in (orders, items, payments, notices):
    table.flush()

if MONOLITH:
    products = Table("product", ["product_id", "user", "title", "description", "price", "status", "created_at", "function", "visit_count",
                                 "rating_avg"])
    media = Table("product_media", ["product_id", "media", "is_main", "created_at"])
    collection = Table("collection", ["user_id", "product_id", "created_at"])
    # Two recent orders of one product: the second one comes too late.
    print(f"UPDATE order_item SET product_id = {ORDERS - 1} WHERE order_id = {ORDERS - 2};")
    for product in range(1, PRODUCTS + 1):
        status = 2 if product in sold and not percent(2) else chance.choices([0, 1, 3], [95, 2, 3])[0]
        if product > ORDERS - RECENT and product <= ORDERS:
            status = 0 if product != ORDERS - RECENT + 1 else 2
        title = f"商品 {product}"
        products.add(product, sellers[product], title, f"{title}，九成新" if not percent(0.1) else "", money(prices[product]) if not percent(0.02)
                     else money(0), status, at(NOW - chance.randint(1, 800) * DAY), chance.randint(0, 1), chance.randint(0, 900),
                     Raw(chance.choice(["0.0", "4.5", "5.0"])))
        for number in range(chance.randint(0, 2)):
            media.add(product, f"product/{product}-{number}.jpg", number == 0, at(NOW - DAY))
        if percent(2):
            collection.add(chance.randint(1, USERS), product, at(NOW - DAY))
    for table in (products, media, collection):
        table.flush()
print("COMMIT;")
