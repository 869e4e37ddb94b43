//! Each function's permissions are exactly what it uses.
//!
//! A missing one fails whatever needs it. An excess one shows up here: one world sees every operation and every way in
//! which it can end, another one the real providers' protocols, and then nothing that the template grants may have been left
//! unused.

use std::collections::BTreeSet;
use std::time::Duration;

use cfmp::faults::Fault;
use cfmp::{Options, Platform, Providers};
use http::StatusCode;
use serde_json::{Value, json};

use crate::inside;
use crate::push::{self, Tab};
use crate::world::{Member, PASSWORD, Product, World, in_world_with, uuid_text};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Function, action, logical id of the resource, and why nothing here uses it.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    (
        "CaptchaFunction",
        "dynamodb:DeleteItem",
        "CaptchasTable",
        "a captcha is withdrawn when its mail can not be sent: users.rs, on a platform of its own",
    ),
    (
        "MailPeopleFunction",
        "dynamodb:DeleteItem",
        "InboxesTable",
        "a mail is given back when it can not be sent: notifications.rs, on a platform of its own",
    ),
    (
        "KeepDeadLettersFunction",
        "dynamodb:GetShardIterator",
        "/stream/",
        "a change that a stream function gave up: dead_letters.rs",
    ),
    (
        "KeepDeadLettersFunction",
        "dynamodb:GetRecords",
        "/stream/",
        "a change that a stream function gave up: dead_letters.rs",
    ),
    (
        "PreviewRedriveFunction",
        "lambda:InvokeFunction",
        ":function:",
        "there are letters of one consumer here: dead_letters.rs",
    ),
    (
        "RedriveDeadLetterFunction",
        "lambda:InvokeFunction",
        ":function:",
        "there are letters of one consumer here: dead_letters.rs",
    ),
];

/// Everything happens to these.
struct Flows<'a> {
    world: &'a World,
    platform: &'a Platform,
    seller: Member<'a>,
    buyer: Member<'a>,
}

/// Permissions that only a world with the real providers has.
const OF_REAL_PROVIDERS: [&str; 2] = ["AlipaySecret", "WechatPaySecret"];

#[test]
fn every_permission_is_used() {
    let with_sandbox = unused(Providers::Sandbox, async |mut flows| {
        flows.accounts().await;
        flows.shopping().await;
        flows.idempotency_keys().await;
        flows.unpaid_orders().await;
        flows.older_orders().await;
        flows.undone_payments().await;
        flows.interrupted_payments().await;
        flows.statements().await;
        flows.services().await;
        flows.notifications().await;
        flows.security().await;
        flows.dead_letters().await;
        flows.open_pages().await;
        flows.time_passes().await;
    });
    let with_real_providers = unused(Providers::Simulated, async |flows| flows.real_providers().await);

    let nowhere_used = |(function, action, resource): &&Grant| {
        let is_only_there = OF_REAL_PROVIDERS.iter().any(|secret| resource.contains(secret));
        is_only_there || with_sandbox.contains(&(function.clone(), action.clone(), resource.clone()))
    };
    let unused: Vec<_> = with_real_providers.iter().filter(nowhere_used).collect();
    let explained = |(function, action, resource): &Grant| {
        let mut known = UNUSED.iter();
        known.any(|(f, a, r, _)| f == function && a == action && resource.contains(r))
    };
    let unexplained: Vec<_> = unused.iter().filter(|grant| !explained(grant)).collect();
    assert!(unexplained.is_empty(), "granted and never used: {unexplained:#?}");
    for (function, action, resource, _) in UNUSED {
        let is_unused = unused
            .iter()
            .any(|(f, a, r)| f == function && a == action && r.contains(resource));
        assert!(is_unused, "no exception any more: {function} {action} {resource}");
    }
}

/// Function, action and resource.
type Grant = (String, String, String);

/// What a world in which all of this happens leaves unused. Nothing may be denied there.
fn unused(providers: Providers, happens: impl AsyncFnOnce(Flows<'_>)) -> BTreeSet<Grant> {
    let mut left = BTreeSet::new();
    let options = Options {
        providers,
        ..Options::test()
    };
    in_world_with(options, async |world| {
        let Some(platform) = world.platform() else { return };
        happens(Flows {
            world,
            platform,
            seller: world.member("卖家").await,
            buyer: world.member("买家").await,
        })
        .await;
        world.settle().await;
        let denied = platform.recording().events(|event| event.entry.kind == "denied");
        assert!(denied.is_empty(), "{denied:#?}");
        let unused = platform.aws().permissions().unused().into_iter();
        left.extend(unused.map(|grant| (grant.function, grant.action, grant.resource)));
    });
    left
}

impl Flows<'_> {
    async fn purchase(&self) -> (Product, Value) {
        let product = self.seller.puts_up("台灯", "19.90", 1).await;
        let order = self.buyer.orders(&product).await;
        (product, order)
    }

    /// A log-in ends after a day.
    async fn log_in_again(&mut self) {
        self.buyer = self.world.log_in(&self.buyer.email).await;
        self.seller = self.world.log_in(&self.seller.email).await;
    }

    /// Looks into a table or changes it, as an operator would.
    async fn dynamodb(&self, operation: &str, table: &str, mut request: Value) -> Value {
        request["TableName"] = json!(self.platform.template().tables[table].name);
        let (status, answer) = self.platform.dynamodb(operation, &request).await;
        assert_eq!(status, StatusCode::OK, "{operation} {table}: {answer}");
        answer
    }

    async fn accounts(&self) {
        let buyer = &self.buyer;
        let rename = json!({"username": &uuid_text()[..20]});
        buyer.ask("PATCH", "/api/v1/user/me/").json(&rename).expect(200).await;
        self.world.get(&format!("/api/users/{}/", buyer.id)).expect(200).await;
        self.world
            .post("/api/auth/verify-token/", &json!({"token": buyer.token}))
            .expect(200)
            .await;
        let administrator = inside::administrator(self.world, self.platform).await;
        let path = format!("/api/root/user/{}/", buyer.id);
        let rename = json!({"username": &uuid_text()[..20]});
        administrator.ask("PATCH", &path).json(&rename).expect(200).await;
        administrator.get("/api/v1/user/").expect(200).await;
        let captcha = json!({"scene": "register", "email": format!("{}@cfmp.test", uuid_text())});
        self.world.post("/api/v1/captcha/", &captcha).expect(200).await;
        self.world.post("/api/v1/captcha/", &captcha).expect(400).await;
        // A hash by older rules is renewed at the next log-in: this one took one pass over 8 MiB.
        const OLD: &str =
            "$argon2id$v=19$m=8192,t=1,p=1$ktfRUJPsG/pft0WV314xRQ$/FGlQRRNdeG18goCNruIIPN2QlYCPmtTr5O9vXlLkws";
        let outdated = json!({
            "Key": {"user_uuid": {"S": buyer.id}},
            "UpdateExpression": "SET password_hash = :old",
            "ExpressionAttributeValues": {":old": {"S": OLD}},
        });
        self.dynamodb("UpdateItem", "UsersTable", outdated).await;
        let wrong = json!({"email": buyer.email, "password": format!("{PASSWORD}!")});
        self.world
            .post("/api/v1/auth/login-with-password/", &wrong)
            .expect(400)
            .await;
        self.world.log_in(&buyer.email).await;
    }

    async fn shopping(&self) {
        let (product, order) = self.purchase().await;
        let path = format!("/api/product/{}/", product.id);
        self.world.get("/api/product/").expect(200).await;
        self.seller
            .ask("PATCH", &path)
            .json(&json!({"description": "八成新"}))
            .expect(200)
            .await;
        for path in ["/api/orders/", "/api/orders/sold/", "/api/orders/stats/"] {
            self.buyer.get(path).expect(200).await;
            self.seller.get(path).expect(200).await;
        }
        // The second order for the product leads to the first.
        self.seller
            .ask("PATCH", &path)
            .json(&json!({"stock": 1}))
            .expect(200)
            .await;
        let again = self.buyer.post("/api/orders/", &product.order()).expect(200).await;
        assert_eq!(again.json()["code"], 409);

        self.buyer.pays(&order).await;
        self.world.settle().await;
        let path = format!("/api/payment/{}/", text(&order["order_uuid"]));
        assert_eq!(self.buyer.get(&path).expect(200).await.data()["status"], "success");
        self.buyer.get("/api/payment/records/").expect(200).await;
        // An order that has an old number is found by it; this one has none.
        self.buyer.get("/api/payment/17/").expect(404).await;
        self.world
            .until("the order is paid", async || {
                self.buyer.order(&order).await["status"] == 1
            })
            .await;
        let path = format!("/api/payment/{}/refund/", text(&order["order_uuid"]));
        let part = json!({"refund_amount": "5.00"});
        self.buyer.post(&path, &part).expect(201).await;
        let path = format!("/api/orders/{}/complete/", text(&order["order_uuid"]));
        self.buyer.ask("POST", &path).expect(200).await;
        self.world.settle().await;

        let path = format!("/api/product/{}/", product.id);
        let review = json!({"order_uuid": order["order_uuid"], "rating": 5, "content": "很好"});
        self.buyer.post(&format!("{path}reviews/"), &review).expect(201).await;
        self.world.get(&format!("{path}reviews/")).expect(200).await;
        self.world
            .get(&path)
            .header("user-agent", "Mozilla/5.0")
            .expect(200)
            .await;
        for method in ["POST", "GET", "DELETE"] {
            self.buyer.ask(method, &format!("{path}collection/")).expect(200).await;
        }
        self.seller.get("/api/product/publish/").expect(200).await;
        let service = self.world.service_token("payment-service").await;
        let restock = self
            .world
            .post(&format!("{path}update-stock/"), &json!({"quantity": 1}));
        let restock = restock.bearer(&service).header("idempotency-key", "restock");
        restock.expect(200).await;
        let administrator = inside::administrator(self.world, self.platform).await;
        let judge = administrator.ask("PATCH", &format!("/api/root/products/{}/", product.id));
        judge.json(&json!({"status": 1})).expect(200).await;
        self.seller.ask("DELETE", &path).expect(200).await;
    }

    async fn idempotency_keys(&self) {
        let product = self.seller.puts_up("书", "9.00", 1).await;
        let mut overpaid = product.order();
        overpaid["products"][0]["price"] = json!("8.00");
        self.buyer.post("/api/orders/", &overpaid).expect(409).await;
        for _ in 0..2 {
            let order = self.buyer.post("/api/orders/", &product.order());
            order.header("idempotency-key", &product.id).expect(201).await;
        }
    }

    async fn unpaid_orders(&self) {
        let (_, order) = self.purchase().await;
        let payment = self.buyer.starts_paying(&order).await;
        let path = format!("/api/payment/{}/cancel/", text(&payment["payment_uuid"]));
        self.buyer.ask("POST", &path).expect(200).await;
        // The second click finds the payment of the first.
        let second = self.buyer.starts_paying(&order).await;
        assert_eq!(
            self.buyer.starts_paying(&order).await["payment_uuid"],
            second["payment_uuid"]
        );
        self.buyer.cancels(&order, "不要了").await;
        self.world.settle().await;
        // This one expires, and with it its payment.
        let (product, order) = self.purchase().await;
        self.buyer.starts_paying(&order).await;
        self.world.advance(MINUTE * 31).await;
        self.world
            .until("the order has expired", async || {
                self.buyer.order(&order).await["status"] == 3
            })
            .await;
        self.world.settle().await;
        let shown = self
            .world
            .get(&format!("/api/product/{}/", product.id))
            .expect(200)
            .await
            .json();
        assert_eq!(shown["stock"], 1);
    }

    /// Orders that are named by the integer that they had in the older system; lists by amount; what has ended is hidden.
    async fn older_orders(&self) {
        let service = self.world.service_token("payment-service").await;
        for number in [1, 2] {
            let (_, order) = self.purchase().await;
            let migrated = json!({
                "Key": {"order_uuid": {"S": order["order_uuid"]}},
                "UpdateExpression": "SET legacy_id = :number",
                "ExpressionAttributeValues": {":number": {"N": number.to_string()}},
            });
            self.dynamodb("UpdateItem", "OrdersTable", migrated).await;
            let path = format!("/api/orders/{number}/");
            self.buyer.get(&path).expect(200).await;
            let internal = format!("/api/orders/internal/{number}/");
            self.world.get(&internal).bearer(&service).expect(200).await;
            if number == 1 {
                self.buyer.ask("POST", &format!("{path}cancel/")).expect(200).await;
            } else {
                self.buyer.pays(&order).await;
                self.world.settle().await;
                self.buyer.ask("POST", &format!("{path}complete/")).expect(200).await;
            }
            self.world.settle().await;
            self.buyer.ask("DELETE", &path).expect(200).await;
        }
        for list in ["/api/orders/", "/api/orders/sold/"] {
            self.buyer.get(&format!("{list}?sort=amount_desc")).expect(200).await;
        }
        let administrator = inside::administrator(self.world, self.platform).await;
        administrator.get("/api/root/order/?day=15").expect(200).await;
    }

    /// The money went back, and that could not be stored: the minute's run finds out.
    async fn undone_payments(&self) {
        let (_, order) = self.purchase().await;
        self.buyer.pays(&order).await;
        self.world.settle().await;
        let result = "ProcessRefundFunction call dynamodb:TransactWriteItems RefundsTable #2";
        self.platform.faults().watch();
        self.platform.faults().set(result.parse().unwrap(), Fault::Fail);
        self.seller.cancels(&order, "卖完了").await;
        self.world
            .until("the refund is settled", async || {
                self.world.advance(MINUTE).await;
                self.buyer.order(&order).await["refund_status"] == "succeeded"
            })
            .await;
        assert_eq!(self.platform.faults().switches()[0].struck, 1);
        self.platform.faults().clear();
        self.world.settle().await;
    }

    /// Two payments of which nobody hears, because they are not there when the provider tells. He tells again of one; of
    /// the other he is asked.
    async fn interrupted_payments(&self) {
        let mut orders = Vec::new();
        for told_again in [true, false] {
            let (_, order) = self.purchase().await;
            let payment = self.buyer.starts_paying(&order).await;
            let key = json!({"payment_uuid": {"S": payment["payment_uuid"]}});
            let stored = self.dynamodb("GetItem", "PaymentsTable", json!({"Key": key})).await;
            self.dynamodb("DeleteItem", "PaymentsTable", json!({"Key": key})).await;
            self.buyer.clicks_pay(&payment).await;
            if !told_again {
                let number = text(&payment["payment_uuid"]).replace('-', "");
                let given_up = json!({
                    "Key": {"out_trade_no": {"S": number}},
                    "ConditionExpression": "attribute_exists(due_at)",
                    "UpdateExpression": "REMOVE notifications, due_shard, due_at",
                });
                self.dynamodb("UpdateItem", "SandboxTradesTable", given_up).await;
            }
            self.dynamodb("PutItem", "PaymentsTable", json!({"Item": stored["Item"]}))
                .await;
            orders.push(order);
        }
        self.world.advance(MINUTE * 2).await;
        for order in orders {
            self.world
                .until("the order is paid", async || {
                    self.buyer.order(&order).await["status"] == 1
                })
                .await;
        }
        self.world.settle().await;
    }

    /// A payment that is called off, and one that is refunded, which the provider tells by a callback.
    async fn real_providers(&self) {
        let (_, order) = self.purchase().await;
        let path = format!(
            "/api/payment/{}/cancel/",
            text(&self.pay_by_wechat(&order).await["payment_uuid"])
        );
        self.buyer.ask("POST", &path).expect(200).await;
        let payment = self.pay_by_wechat(&order).await;
        let simulator = self.platform.simulator().unwrap();
        simulator.pay(&text(&payment["payment_uuid"]).replace('-', "")).unwrap();
        self.world.settle().await;
        self.buyer.cancels(&order, "不要了").await;
        self.world
            .until("the refund is heard of", async || {
                self.world.advance(MINUTE).await;
                self.buyer.order(&order).await["refund_status"] == "succeeded"
            })
            .await;
        crate::reconciliation::look_up(self.world, self.platform, "wechat_pay").await;
    }

    async fn pay_by_wechat(&self, order: &Value) -> Value {
        let wish = json!({
            "order_uuid": order["order_uuid"], "payment_method": "wechat_pay", "amount": order["total_amount"],
        });
        self.buyer.post("/api/payment/create/", &wish).expect(201).await.data()
    }

    /// The sandbox has none; our side of a day is read before it says so.
    async fn statements(&self) {
        let administrator = inside::administrator(self.world, self.platform).await;
        let report = administrator.get("/api/payment/reconciliation/alipay/");
        assert_eq!(report.expect(409).await.kind(), "no-statement");
    }

    async fn services(&self) {
        let service = self.world.service_token("payment-service").await;
        let (product, order) = self.purchase().await;
        let path = format!("/api/orders/internal/orders/{}/", text(&order["order_uuid"]));
        self.world.get(&path).bearer(&service).expect(200).await;
        let cancel = json!({"status": 3, "cancel_reason": "x"});
        self.world
            .ask("PATCH", &path)
            .json(&cancel)
            .bearer(&service)
            .expect(200)
            .await;
        self.world.settle().await;
        // Reserved by an order that never comes to be, and found by the sweep.
        let path = format!("/api/products/{}/reserve-stock/", product.id);
        let claim = json!({"order_uuid": uuid::Uuid::new_v4(), "quantity": 1});
        self.world.post(&path, &claim).bearer(&service).expect(200).await;
        // A restore that overtakes its reserve.
        let path = format!("/api/products/{}/restore-stock/", product.id);
        let claim = json!({"order_uuid": uuid::Uuid::new_v4(), "quantity": 1});
        self.world.post(&path, &claim).bearer(&service).expect(200).await;
    }

    async fn notifications(&self) {
        let service = self.world.service_token("payment-service").await;
        let notice = json!({"user_uuid": self.buyer.id, "type": "system", "title": "维护", "content": "今晚维护"});
        for _ in 0..2 {
            let ask = self.world.post("/api/notifications/", &notice).bearer(&service);
            ask.header("idempotency-key", "maintenance").expect(201).await;
        }
        let list = self.buyer.get("/api/notifications/").expect(200).await.json();
        let id = text(&list["results"]["data"][0]["notification_uuid"]);
        self.buyer
            .ask("PATCH", &format!("/api/notifications/{id}/read/"))
            .expect(200)
            .await;
        for path in [
            "/api/notifications/unread-count/",
            "/api/v1/user/message/",
            "/api/notifications/preferences/",
            &format!("/api/notifications/{id}/"),
            &format!("/api/notifications/detail/{id}/"),
        ] {
            self.buyer.get(path).expect(200).await;
        }
        self.buyer.ask("POST", "/api/notifications/read-all/").expect(200).await;
        self.buyer
            .ask("PUT", "/api/notifications/preferences/")
            .json(&json!({"promotion": {"push": false}}))
            .expect(200)
            .await;
        self.buyer
            .ask("DELETE", &format!("/api/notifications/{id}/"))
            .expect(200)
            .await;
    }

    async fn security(&self) {
        let administrator = inside::administrator(self.world, self.platform).await;
        let policies = "/api/security/policies";
        self.buyer.get(policies).expect(200).await;
        let edit = json!({"policies": [{"policy_id": "order_velocity", "config_data": {"max_orders": 49}}]});
        administrator
            .ask("PUT", &format!("{policies}/update/"))
            .json(&edit)
            .expect(200)
            .await;
        let tested = administrator
            .post(&format!("{policies}/back-test/"), &edit)
            .expect(200)
            .await;
        assert_ne!(tested.data()["looked_at"], 0);
        self.buyer
            .post("/api/security/fraud-detection/", &json!({}))
            .expect(200)
            .await;
        for query in [String::new(), format!("?user_uuid={}", self.buyer.id)] {
            let list = administrator.get(&format!("/api/security/risk-assessments/{query}"));
            assert_ne!(list.expect(200).await.json()["count"], 0);
        }
        // An order that is asked about again is answered as before.
        let service = self.world.service_token("order-service").await;
        let order = json!({
            "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": self.buyer.id, "seller_uuid": self.seller.id,
            "total_amount": "19.90", "phone_fingerprint": "a".repeat(32), "address_fingerprint": "b".repeat(32),
        });
        for _ in 0..2 {
            let ask = self.world.post("/api/internal/security/assess-order", &order);
            ask.bearer(&service).expect(200).await;
        }
    }

    /// A message that means nothing: looked at, rehearsed, tried again, and put aside.
    async fn dead_letters(&self) {
        let administrator = inside::administrator(self.world, self.platform).await;
        let event = json!({"type": "OrderPaid"});
        let letter = inside::dead_letter(self.world, self.platform, "NoticesDeadLetters", &event).await;
        let path = "/api/root/dead-letters/";
        for query in ["", "?consumer=notify-people"] {
            let list = administrator.get(&format!("{path}{query}")).expect(200).await;
            assert_eq!(list.json()["count"], 1);
        }
        administrator.get(&format!("{path}{letter}/")).expect(200).await;
        administrator
            .ask("POST", &format!("{path}{letter}/preview/"))
            .expect(200)
            .await;
        administrator
            .ask("POST", &format!("{path}{letter}/redrive/"))
            .expect(409)
            .await;
        let reason = json!({"reason": "it means nothing"});
        administrator
            .post(&format!("{path}{letter}/discard/"), &reason)
            .expect(200)
            .await;
    }

    /// As many pages as may be, of which all but one were lost.
    async fn open_pages(&self) {
        for number in 0..10 {
            push::leave_behind(self.platform, &self.buyer, &format!("lost{number}=")).await;
        }
        let mut tab = Tab::open(self.platform, &self.buyer).await;
        push::leave_behind(self.platform, &self.buyer, "lost=").await;
        let told = push::tell(self.world, &self.buyer, "今晚维护").await;
        tab.is_told().await;
        let (missed, _) = tab.resumes(told["id"].as_str()).await;
        assert!(missed.contains(&text(&told["id"])), "{missed:?}");
        drop(tab);
        self.world
            .until("the page is forgotten", async || {
                self.platform.aws().connections().ids().is_empty()
            })
            .await;
        self.world.settle().await;
    }

    /// Reservations whose lease ends, an order that completes by itself.
    async fn time_passes(&mut self) {
        let (_, order) = self.purchase().await;
        self.buyer.pays(&order).await;
        self.world.settle().await;
        self.world.advance(DAY * 8).await;
        self.log_in_again().await;
        self.world
            .until("the order is completed", async || {
                self.buyer.order(&order).await["status"] == 2
            })
            .await;
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
