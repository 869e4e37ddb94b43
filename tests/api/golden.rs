//! The contract, recorded: for every route one request and its answer, compared member by member.
//!
//! The records are in `tests/api/golden/`. What differs from run to run stands there as `<buyer>`, `<time>` and the like.
//! A difference is a broken page somewhere: change a record only together with all clients
//! (`INSTA_UPDATE=always cargo test --test api golden`).

use std::cell::RefCell;
use std::collections::BTreeSet;

use cfmp::Platform;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::inside;
use crate::world::{Answer, Ask, Member, PASSWORD, Product, World, in_world};

/// Routes that belong to no client of the contract.
const NOT_RECORDED: &[(&str, &str)] = &[
    ("/sandbox/", "pages and calls of the sandbox provider: sandbox tests"),
    ("/api/docs", "pages for people: documentation.rs"),
    ("/api/openapi.json", "documentation.rs"),
];

/// What stands for a phone or an address.
const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef";

/// Takes records.
struct Recorder<'a> {
    world: &'a World,
    /// What is called how in the records.
    names: RefCell<Vec<(String, String)>>,
    uuid: Regex,
    time: Regex,
    cursor: Regex,
    token: Regex,
}

impl<'a> Recorder<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            names: RefCell::new(vec![
                (world.base_url().to_owned(), "<base>".to_owned()),
                (
                    form_urlencoded::byte_serialize(world.base_url().as_bytes()).collect(),
                    "<base, encoded>".to_owned(),
                ),
            ]),
            uuid: Regex::new("[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}").unwrap(),
            time: Regex::new(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?\+\d{2}:\d{2}").unwrap(),
            cursor: Regex::new(r"(after|expires_at)=\d+").unwrap(),
            token: Regex::new(r"eyJ[\w-]+\.[\w-]+\.[\w-]+").unwrap(),
        }
    }

    /// From now on `value` stands in the records as `<name>`.
    fn call(&self, value: &Value, name: &str) -> String {
        let value = text(value);
        self.names.borrow_mut().insert(0, (value.clone(), format!("<{name}>")));
        value
    }

    /// Sends a request, records it and its answer as `name`.
    async fn record(&self, name: &str, who: &str, ask: Ask<'a>) -> Answer {
        let (method, path, body) = ask.parts();
        let answer = ask.send().await;
        let mut record = json!({
            "request": {"by": who, "method": method, "path": path},
            "answer": {
                "status": answer.status.as_u16(),
                "content_type": answer.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned()),
            },
        });
        if let Some(location) = answer.headers.get("location") {
            record["answer"]["location"] = json!(location.to_str().unwrap());
        }
        if !body.is_empty() {
            record["request"]["body"] = serde_json::from_slice(&body).unwrap();
        }
        if !answer.body.is_empty() {
            record["answer"]["body"] = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
        }
        let record = self.stable(record);
        insta::with_settings!({
            snapshot_path => "golden",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_json_snapshot!(name, record);
        });
        answer
    }

    /// Clients contradict each other in their verbs: records the same request, repeated by each of the others.
    async fn record_again(&self, name: &str, who: &str, verbs: &[&str], ask: impl Fn(&str) -> Ask<'a>) {
        for verb in verbs {
            self.record(&format!("{name}-again-{}", verb.to_lowercase()), who, ask(verb))
                .await;
        }
    }

    fn stable(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.stable_text(text)),
            Value::Array(entries) => entries.into_iter().map(|entry| self.stable(entry)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| match name.as_str() {
                    "request_id" => (name, json!("<request id>")),
                    "captcha" => (name, json!("<captcha>")),
                    "kid" | "x" => (name, json!("<key>")),
                    // An edition is in effect within ten seconds; which one it is depends on how long all before took.
                    "exp" | "wait_time" | "payable_until" | "policy_edition" => (name, json!("<number>")),
                    _ => (name, self.stable(member)),
                })
                .collect::<Map<_, _>>()
                .into(),
            other => other,
        }
    }

    fn stable_text(&self, mut text: String) -> String {
        for (value, name) in self.names.borrow().iter() {
            text = text.replace(value, name);
            // Providers know a payment by its UUID without hyphens.
            if self.uuid.is_match(value) {
                text = text.replace(&value.replace('-', ""), name);
            }
        }
        let text = self.token.replace_all(&text, "<token>");
        let text = self.time.replace_all(&text, "<time>");
        let text = self.cursor.replace_all(&text, "$1=<time>");
        self.uuid.replace_all(&text, "<uuid>").into_owned()
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

#[test]
fn every_answer_is_as_recorded() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let start = inside::now(platform);
        let recorder = Recorder::new(world);
        let people = people(&recorder, platform).await;
        products(&recorder, &people).await;
        orders(&recorder, &people).await;
        payments(&recorder, &people).await;
        notifications(&recorder, &people).await;
        security(&recorder, &people).await;
        administration(&recorder, &people).await;
        dead_letters(&recorder, &people, platform).await;

        let recorded: BTreeSet<String> = inside::invoked_over_http(platform, start)
            .into_iter()
            .map(|(_, route)| route)
            .collect();
        let missing: Vec<_> = platform
            .template()
            .routes
            .iter()
            .filter(|route| route.path != "$default" && !recorded.contains(&format!("{} {}", route.method, route.path)))
            .filter(|route| !NOT_RECORDED.iter().any(|(prefix, _)| route.path.starts_with(prefix)))
            .collect();
        assert!(missing.is_empty(), "no record of {missing:#?}");
    });
}

struct People<'a> {
    buyer: Member<'a>,
    seller: Member<'a>,
    administrator: Member<'a>,
    service: String,
}

/// Section 5: users.
async fn people<'a>(recorder: &Recorder<'a>, platform: &Platform) -> People<'a> {
    let world = recorder.world;
    let buyer = "buyer@golden.cfmp.test";
    let asked = json!({"scene": "register", "email": buyer});
    recorder
        .record("captcha", "anybody", world.post("/api/v1/captcha/", &asked))
        .await;
    recorder
        .record(
            "captcha-too-frequently",
            "anybody",
            world.post("/api/v1/captcha/", &asked),
        )
        .await;
    let captcha = world.captcha(buyer).await;
    let registration = |password_repeat: &str| {
        json!({"username": "golden-buyer", "password": PASSWORD, "password_repeat": password_repeat, "email": buyer,
               "captcha": captcha})
    };
    let path = "/api/v1/auth/register/";
    recorder
        .record(
            "register-other-password",
            "anybody",
            world.post(path, &registration("other-1")),
        )
        .await;
    recorder
        .record("register", "anybody", world.post(path, &registration(PASSWORD)))
        .await;
    let path = "/api/v1/auth/login-with-password/";
    let wrong = json!({"email": buyer, "password": "wrong-1"});
    recorder
        .record("log-in-wrong", "anybody", world.post(path, &wrong))
        .await;
    let logged_in = recorder
        .record(
            "log-in",
            "anybody",
            world.post(path, &json!({"email": buyer, "password": PASSWORD})),
        )
        .await
        .json();
    recorder.call(&logged_in["user_id"], "buyer");
    let buyer = world.log_in(buyer).await;
    let seller = world.member("seller").await;
    recorder.call(&json!(seller.id), "seller");
    let shown = world.get(&format!("/api/users/{}/", seller.id)).expect(200).await;
    recorder.call(&shown.json()["username"], "seller's name");
    let administrator = inside::administrator(world, platform).await;
    recorder.call(&json!(administrator.id), "administrator");
    let service = world.service_token("order-service").await;

    recorder.record("me", "buyer", buyer.get("/api/v1/user/me/")).await;
    let change = json!({"address": "大学城北区 8 号楼 404"});
    recorder
        .record(
            "change-me",
            "buyer",
            buyer.ask("PATCH", "/api/v1/user/me/").json(&change),
        )
        .await;
    for (name, path) in [("user", "/api/users/{}/"), ("user-v1", "/api/v1/user/{}")] {
        let path = path.replace("{}", &buyer.id);
        recorder.record(name, "anybody", world.get(&path)).await;
    }
    let path = format!("/api/internal/users/{}/contact/", buyer.id);
    let notifier = world.service_token("notification-service").await;
    recorder
        .record("contact", "service", world.get(&path).bearer(&notifier))
        .await;
    let path = "/api/auth/verify-token/";
    recorder
        .record(
            "verify-token",
            "anybody",
            world.post(path, &json!({"token": buyer.token})),
        )
        .await;
    recorder
        .record(
            "verify-token-invalid",
            "anybody",
            world.post(path, &json!({"token": "x"})),
        )
        .await;
    recorder
        .record("keys-of-users", "anybody", world.get("/.well-known/jwks.json"))
        .await;
    recorder
        .record(
            "keys-of-services",
            "anybody",
            world.get("/.well-known/service-jwks.json"),
        )
        .await;
    People {
        buyer,
        seller,
        administrator,
        service,
    }
}

/// Section 6: products.
async fn products(recorder: &Recorder<'_>, people: &People<'_>) {
    let world = recorder.world;
    let seller = &people.seller;
    let lamp = json!({"title": "台灯", "description": "九成新", "price": "19.9", "stock": 5});
    let made = recorder
        .record("create-product", "seller", seller.post("/api/product/", &lamp))
        .await
        .data();
    let product = recorder.call(&made["product_uuid"], "lamp");
    for (name, path) in [
        ("product", "/api/product/{}/"),
        ("product-for-services", "/api/products/{}/"),
        ("product-reviews", "/api/product/{}/reviews/"),
    ] {
        recorder
            .record(name, "anybody", world.get(&path.replace("{}", &product)))
            .await;
    }
    for (name, path) in [
        (
            "products",
            "/api/product/?title=台灯&min_price=10&max_price=20&sort_by=2",
        ),
        ("products-for-services", "/api/products/"),
        ("product-categories", "/api/product/category/"),
    ] {
        recorder.record(name, "anybody", world.get(path)).await;
    }
    for (name, verb) in [("collect-product", "POST"), ("forget-product", "DELETE")] {
        let ask = people.buyer.ask(verb, &format!("/api/product/{product}/collection"));
        recorder.record(name, "buyer", ask).await;
    }
    recorder
        .record(
            "product-collection",
            "buyer",
            people.buyer.get(&format!("/api/product/{product}/collection")),
        )
        .await;
    recorder
        .record(
            "published-products",
            "anybody",
            world.get(&format!("/api/product/publish/?user_id={}&status=0", seller.id)),
        )
        .await;
    let change = json!({"price": "18.00"});
    for method in ["PUT", "PATCH"] {
        let ask = seller.ask(method, &format!("/api/product/{product}/")).json(&change);
        recorder
            .record(&format!("change-product-{}", method.to_lowercase()), "seller", ask)
            .await;
    }
    let claim = json!({"quantity": 1, "order_uuid": uuid::Uuid::new_v4()});
    for call in ["reserve-stock", "restore-stock"] {
        for again in ["", "-again"] {
            let ask = world
                .post(&format!("/api/products/{product}/{call}/"), &claim)
                .bearer(&people.service);
            recorder.record(&format!("{call}{again}"), "service", ask).await;
        }
    }
    for (name, quantity) in [("update-stock", 2), ("update-stock-below-zero", -99)] {
        let ask = world
            .post(
                &format!("/api/product/{product}/update-stock/"),
                &json!({"quantity": quantity}),
            )
            .header("idempotency-key", name)
            .bearer(&people.service);
        recorder.record(name, "service", ask).await;
    }
    let gone = seller.puts_up("旧书", "1.00", 1).await;
    recorder.call(&json!(gone.id), "book");
    recorder
        .record(
            "delete-product",
            "seller",
            seller.ask("DELETE", &format!("/api/product/{}/", gone.id)),
        )
        .await;
}

/// Section 2: orders.
async fn orders(recorder: &Recorder<'_>, people: &People<'_>) {
    let world = recorder.world;
    let (buyer, seller) = (&people.buyer, &people.seller);
    let product = seller.puts_up("自行车", "100.00", 3).await;
    recorder.call(&json!(product.id), "bicycle");
    let order = recorder
        .record("create-order", "buyer", buyer.post("/api/orders/", &product.order()))
        .await
        .data();
    let id = recorder.call(&order["order_uuid"], "order");
    recorder
        .record(
            "create-order-duplicate",
            "buyer",
            buyer.post("/api/orders/", &product.order()),
        )
        .await;
    let lamp = seller.puts_up("台灯", "19.90", 1).await;
    recorder.call(&json!(lamp.id), "lamp 2");
    let cheaper = Product {
        price: "1.00".to_owned(),
        ..lamp.clone()
    };
    recorder
        .record(
            "create-order-price-changed",
            "buyer",
            buyer.post("/api/orders/", &cheaper.order()),
        )
        .await;
    recorder
        .record(
            "create-order-own-product",
            "seller",
            seller.post("/api/orders/", &lamp.order()),
        )
        .await;
    recorder
        .record(
            "create-order-anonymous",
            "nobody",
            world.post("/api/orders/", &lamp.order()),
        )
        .await;
    recorder
        .record(
            "create-order-problem-json",
            "buyer",
            buyer
                .post("/api/orders/", &json!({}))
                .header("accept", "application/problem+json"),
        )
        .await;
    recorder
        .record("order", "buyer", buyer.get(&format!("/api/orders/{id}/")))
        .await;
    recorder
        .record(
            "order-not-found",
            "buyer",
            buyer.get("/api/orders/00000000-0000-4000-8000-000000000000/"),
        )
        .await;
    world.settle().await;
    recorder
        .record(
            "orders",
            "buyer",
            buyer.get("/api/orders/?page=1&page_size=5&status=pending_payment&sort=amount_desc"),
        )
        .await;
    recorder
        .record("orders-sold", "seller", seller.get("/api/orders/sold/"))
        .await;
    for path in ["/api/orders/internal/{}/", "/api/orders/internal/orders/{}/"] {
        let name = if path.contains("orders/{}") && path.matches("orders").count() == 2 {
            "order-for-services-2"
        } else {
            "order-for-services"
        };
        let ask = world.get(&path.replace("{}", &id)).bearer(&people.service);
        recorder.record(name, "service", ask).await;
    }
    let ask = world
        .ask("PATCH", &format!("/api/orders/internal/orders/{id}/"))
        .json(&json!({"status": 2}))
        .bearer(&people.service);
    recorder.record("order-moved-where-it-may-not", "service", ask).await;
    let cancelled = json!({"reason": "不要了"});
    recorder
        .record(
            "cancel-order",
            "buyer",
            buyer.ask("PUT", &format!("/api/orders/{id}/cancel/")).json(&cancelled),
        )
        .await;

    recorder
        .record_again("cancel-order", "buyer", &["POST", "PATCH"], |verb| {
            buyer.ask(verb, &format!("/api/orders/{id}/cancel/")).json(&cancelled)
        })
        .await;

    let paid = buyer.orders(&product).await;
    let id = recorder.call(&paid["order_uuid"], "paid order");
    buyer.pays(&paid).await;
    world.settle().await;
    recorder
        .record("order-paid", "buyer", buyer.get(&format!("/api/orders/{id}/")))
        .await;
    recorder
        .record(
            "complete-order-as-seller",
            "seller",
            seller.ask("POST", &format!("/api/orders/{id}/complete/")),
        )
        .await;
    recorder
        .record(
            "complete-order",
            "buyer",
            buyer.ask("POST", &format!("/api/orders/{id}/complete/")),
        )
        .await;
    recorder
        .record_again("complete-order", "buyer", &["PUT", "PATCH"], |verb| {
            buyer.ask(verb, &format!("/api/orders/{id}/complete/"))
        })
        .await;
    let review = json!({"order_uuid": id, "rating": 5, "content": "很好"});
    recorder
        .record(
            "review-product",
            "buyer",
            buyer.post(&format!("/api/product/{}/reviews/", product.id), &review),
        )
        .await;
    recorder
        .record(
            "hide-order",
            "buyer",
            buyer.ask("DELETE", &format!("/api/orders/{id}/")),
        )
        .await;
    let again = buyer.orders(&product).await;
    let id = recorder.call(&again["order_uuid"], "returned order");
    buyer.pays(&again).await;
    world.settle().await;
    recorder
        .record(
            "cancel-paid-order",
            "seller",
            seller.post(&format!("/api/orders/{id}/cancel/"), &cancelled),
        )
        .await;
    world.settle().await;
    recorder
        .record("order-refunded", "buyer", buyer.get(&format!("/api/orders/{id}/")))
        .await;
    recorder
        .record("order-statistics", "buyer", buyer.get("/api/orders/stats/"))
        .await;
}

/// Section 3: payments.
async fn payments(recorder: &Recorder<'_>, people: &People<'_>) {
    let (world, buyer) = (recorder.world, &people.buyer);
    let product = people.seller.puts_up("耳机", "50.00", 3).await;
    recorder.call(&json!(product.id), "earphones");
    let order = buyer.orders(&product).await;
    let order_id = recorder.call(&order["order_uuid"], "order to pay");
    let wish = |amount: &str| json!({"order_uuid": order_id, "payment_method": "alipay", "amount": amount, "payment_subject": "耳机"});
    let path = "/api/payment/create/";
    recorder
        .record("create-payment-other-amount", "buyer", buyer.post(path, &wish("0.01")))
        .await;
    let payment = recorder
        .record("create-payment", "buyer", buyer.post(path, &wish("50")))
        .await
        .data();
    let id = recorder.call(&payment["payment_uuid"], "payment");
    recorder
        .record("create-payment-again", "buyer", buyer.post(path, &wish("50.00")))
        .await;
    recorder
        .record(
            "cancel-payment",
            "buyer",
            buyer.ask("POST", &format!("/api/payment/{id}/cancel/")),
        )
        .await;
    recorder
        .record_again("cancel-payment", "buyer", &["PUT", "PATCH"], |verb| {
            buyer.ask(verb, &format!("/api/payment/{id}/cancel/"))
        })
        .await;
    let payment = buyer.starts_paying(&order).await;
    let id = recorder.call(&payment["payment_uuid"], "payment 2");
    recorder
        .record(
            "payment-pending",
            "buyer",
            buyer.get(&format!("/api/payment/{order_id}/")),
        )
        .await;
    let simulated = json!({
        "order_uuid": order_id, "payment_id": id, "payment_uuid": id, "status": 2, "total_amount": 0,
        "sign": "simulated_signature",
    });
    let path = "/api/payment/callback/alipay/";
    recorder
        .record("payment-callback-nulls", "buyer", buyer.post(path, &json!({"order_uuid": null, "payment_id": null, "payment_uuid": null, "status": 2, "total_amount": 0, "sign": "simulated_signature"})))
        .await;
    recorder
        .record("payment-callback-simulated", "buyer", buyer.post(path, &simulated))
        .await;
    recorder.record("payment-return", "nobody", world.get(path)).await;
    world.settle().await;
    recorder
        .record("payment", "buyer", buyer.get(&format!("/api/payment/{order_id}/")))
        .await;
    let path = format!("/api/orders/internal/{order_id}/refund/");
    let part = json!({"refund_uuid": "2f0f3a52-8d1e-4b7a-9c04-cf3b1e5da202", "amount": "1.00"});
    recorder
        .record(
            "refund-order-for-services",
            "service",
            world.post(&path, &part).bearer(&people.service),
        )
        .await;
    world.settle().await;
    let path = format!("/api/payment/{order_id}/refund/");
    recorder
        .record(
            "refund-too-much",
            "buyer",
            buyer.post(&path, &json!({"refund_amount": "50.01"})),
        )
        .await;
    recorder
        .record(
            "refund-part",
            "buyer",
            buyer.post(&path, &json!({"refund_amount": "10", "refund_reason": "划痕"})),
        )
        .await;
    world.settle().await;
    recorder
        .record(
            "payment-refunded-in-part",
            "buyer",
            buyer.get(&format!("/api/payment/{order_id}/")),
        )
        .await;
    recorder
        .record(
            "payment-records",
            "buyer",
            buyer.get("/api/payment/records/?status=success&page_size=1"),
        )
        .await;
}

/// Section 4: notifications.
async fn notifications(recorder: &Recorder<'_>, people: &People<'_>) {
    let (world, buyer) = (recorder.world, &people.buyer);
    let mut last = String::new();
    for (name, path) in [
        ("create-notification", "/api/notifications/"),
        ("create-notification-internally", "/api/internal/notifications/create/"),
    ] {
        let notice = json!({
            "user_uuid": buyer.id, "type": "promotion", "title": "促销", "content": name, "related_id": "42",
            "related_data": {"page": "sale"},
        });
        let made = recorder
            .record(name, "service", world.post(path, &notice).bearer(&people.service))
            .await;
        last = recorder.call(&made.data()["notification_uuid"], name);
    }
    world.settle().await;
    recorder
        .record(
            "notifications",
            "buyer",
            buyer.get("/api/notifications/?type=promotion&unread_only=true"),
        )
        .await;
    recorder
        .record(
            "unread-count",
            "buyer",
            buyer.get("/api/notifications/unread-count/?type=promotion"),
        )
        .await;
    recorder
        .record(
            "notification",
            "buyer",
            buyer.get(&format!("/api/notifications/{last}/")),
        )
        .await;
    recorder
        .record(
            "mark-notification-read",
            "buyer",
            buyer.ask("PATCH", &format!("/api/notifications/{last}/read/")),
        )
        .await;
    recorder
        .record_again("mark-notification-read", "buyer", &["PUT", "POST"], |verb| {
            buyer.ask(verb, &format!("/api/notifications/{last}/read/"))
        })
        .await;
    recorder
        .record(
            "notification-detail",
            "buyer",
            buyer.get(&format!("/api/notifications/detail/{last}/")),
        )
        .await;
    recorder
        .record(
            "messages",
            "buyer",
            buyer.get("/api/v1/user/message/?page=1&page_size=2"),
        )
        .await;
    recorder
        .record(
            "mark-all-read",
            "buyer",
            buyer.ask("PATCH", "/api/notifications/read-all/?type=promotion"),
        )
        .await;
    recorder
        .record_again("mark-all-read", "buyer", &["PUT", "POST"], |verb| {
            buyer.ask(verb, "/api/notifications/read-all/?type=promotion")
        })
        .await;
    let path = "/api/notifications/preferences/";
    let preferences = recorder.record("preferences", "buyer", buyer.get(path)).await;
    let ask = buyer.ask("PUT", path).json(&preferences.data());
    recorder.record("change-preferences", "buyer", ask).await;
    recorder
        .record(
            "delete-notification",
            "buyer",
            buyer.ask("DELETE", &format!("/api/notifications/{last}/")),
        )
        .await;
}

/// Section 4: security.
async fn security(recorder: &Recorder<'_>, people: &People<'_>) {
    let (world, buyer, administrator) = (recorder.world, &people.buyer, &people.administrator);
    let path = "/api/security/policies/";
    recorder.record("security-policies", "buyer", buyer.get(path)).await;
    recorder
        .record(
            "security-policies-for-administrators",
            "administrator",
            administrator.get(path),
        )
        .await;
    let edit = json!({
        "security_level": "medium",
        "policies": [{"policy_id": "new_account", "is_enabled": true, "config_data": {"max_age_hours": 12, "min_amount": "500.00"}}],
    });
    recorder
        .record(
            "back-test-policies",
            "administrator",
            administrator.post("/api/security/policies/back-test/", &edit),
        )
        .await;
    let ask = administrator.ask("PUT", "/api/security/policies/update/").json(&edit);
    recorder.record("update-policies", "administrator", ask).await;
    for call in ["risk-assessment", "fraud-detection"] {
        let path = format!("/api/security/{call}/");
        recorder.record(call, "buyer", buyer.post(&path, &json!({}))).await;
        let about = json!({"user_uuid": buyer.id, "amount": "100.00"});
        let ask = world.post(&path, &about).bearer(&people.service);
        recorder.record(&format!("{call}-for-services"), "service", ask).await;
    }
    let order = json!({
        "order_uuid": "7e0f3a52-8d1e-4b7a-9c04-cf3b1e5da201", "buyer_uuid": buyer.id, "seller_uuid": people.seller.id,
        "total_amount": "10.00", "phone_fingerprint": FINGERPRINT, "address_fingerprint": FINGERPRINT,
    });
    let ask = world
        .post("/api/internal/security/assess-order/", &order)
        .bearer(&people.service);
    recorder.record("assess-order", "service", ask).await;
    let path = format!("/api/security/risk-assessments/?user_uuid={}&page_size=1", buyer.id);
    recorder
        .record("risk-assessments", "administrator", administrator.get(&path))
        .await;
}

/// Section 7, and the administrators' rows of section 5.
async fn administration(recorder: &Recorder<'_>, people: &People<'_>) {
    let administrator = &people.administrator;
    let buyer = &people.buyer.id;
    recorder
        .record(
            "root-orders",
            "administrator",
            administrator.get("/api/root/order/?day=5"),
        )
        .await;
    recorder
        .record(
            "root-user",
            "administrator",
            administrator.get(&format!("/api/root/user/{buyer}")),
        )
        .await;
    recorder
        .record(
            "root-change-user",
            "administrator",
            administrator
                .ask("PATCH", &format!("/api/root/user/{buyer}/"))
                .json(&json!({"status": 1})),
        )
        .await;
    let product = people.seller.puts_up("滑板", "30.00", 1).await;
    recorder.call(&json!(product.id), "skateboard");
    let path = format!("/api/root/products/{}/", product.id);
    let ask = administrator.ask("PATCH", &path).json(&json!({"status": 1}));
    recorder.record("root-change-product", "administrator", ask).await;
    recorder
        .record(
            "users",
            "administrator",
            administrator.get("/api/v1/user/?page=1&status=1"),
        )
        .await;
    recorder
        .record(
            "reconciliation-of-the-sandbox",
            "administrator",
            administrator.get("/api/payment/reconciliation/alipay/"),
        )
        .await;
}

/// What nobody could handle.
async fn dead_letters(recorder: &Recorder<'_>, people: &People<'_>, platform: &Platform) {
    let administrator = &people.administrator;
    let event = json!({
        "event_id": "5f0c8a1e-4b7d-5c2a-9e3f-1a6d8b4c7e20", "version": 1, "occurred_at": 1_795_375_204_000_i64,
        "type": "PaymentSucceeded", "data": {
            "payment_uuid": "7a2b9c4d-3e5f-4a6b-8c7d-9e0f1a2b3c4d", "order_uuid": "6d1f0c1e-52b6-4f0e-9d53-0d2f4a3b8c11",
            "user_uuid": people.buyer.id, "amount": 1990, "method": "alipay", "paid_at": 1_795_375_204_000_i64,
        },
    });
    let letter = inside::dead_letter(recorder.world, platform, "PaymentEventsForOrdersDeadLetters", &event).await;
    recorder.call(&json!(letter), "letter");
    let path = "/api/root/dead-letters/";
    let ask = administrator.get(&format!("{path}?consumer=apply-payment-event&page_size=1"));
    recorder.record("dead-letters", "administrator", ask).await;
    let ask = administrator.get(&format!("{path}{letter}/"));
    recorder.record("dead-letter", "administrator", ask).await;
    let ask = administrator.ask("POST", &format!("{path}{letter}/preview/"));
    recorder.record("preview-redrive", "administrator", ask).await;
    let ask = administrator.ask("POST", &format!("{path}{letter}/redrive/"));
    recorder.record("redrive-dead-letter", "administrator", ask).await;
    let reason = json!({"reason": "the order was settled by hand"});
    let ask = administrator.post(&format!("{path}{letter}/discard/"), &reason);
    recorder.record("discard-dead-letter", "administrator", ask).await;
}
