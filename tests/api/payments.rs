//! Payments: opening, paying, cancelling, callbacks true and false, late money, refunds, the ledger.

use std::time::Duration;

use aws_lc_rs::hmac;
use cfmp::Platform;
use futures::future::join_all;
use keys::Seed;
use serde_json::{Value, json};

use crate::world::{Answer, Member, Product, World, in_world, uuid_text};

const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A seller, a buyer, something to buy and an order for it.
pub struct Purchase<'a> {
    pub seller: Member<'a>,
    pub buyer: Member<'a>,
    pub lamp: Product,
    pub order: Value,
}

pub async fn purchase(world: &World) -> Purchase<'_> {
    let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
    let lamp = seller.puts_up("台灯", "19.90", 1).await;
    let order = buyer.orders(&lamp).await;
    Purchase {
        seller,
        buyer,
        lamp,
        order,
    }
}

impl Purchase<'_> {
    /// The body that opens a payment of the order.
    fn wish(&self) -> Value {
        json!({
            "order_uuid": self.order["order_uuid"], "payment_method": "alipay", "amount": "19.90",
            "payment_subject": "台灯",
        })
    }

    pub async fn payment(&self) -> Value {
        self.buyer.get(&payment_path(&self.order)).expect(200).await.data()
    }

    pub async fn order_status(&self) -> Value {
        self.buyer.order(&self.order).await["status"].clone()
    }
}

pub fn payment_path(order: &Value) -> String {
    format!("/api/payment/{}/", text(&order["order_uuid"]))
}

pub fn cancel_path(payment: &Value) -> String {
    format!("/api/payment/{}/cancel/", text(&payment["payment_uuid"]))
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// What stands in the table about a payment.
async fn stored(platform: &Platform, payment: &Value) -> Value {
    let table = &platform.template().tables["PaymentsTable"].name;
    let key =
        json!({"TableName": table, "Key": {"payment_uuid": {"S": payment["payment_uuid"]}}, "ConsistentRead": true});
    let (status, answer) = platform.dynamodb("GetItem", &key).await;
    assert_eq!(status, 200, "{answer}");
    answer["Item"].clone()
}

/// The movements in a payment's ledger, in fen, signed.
pub async fn ledger(platform: &Platform, payment: &Value) -> Vec<(String, i64)> {
    let item = stored(platform, payment).await;
    let entries = item["ledger"]["M"]["entries"]["L"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| {
            let kind = text(&entry["M"]["kind"]["S"]);
            let amount: i64 = text(&entry["M"]["amount"]["N"]).parse().unwrap();
            let sign = if kind == "held" { 1 } else { -1 };
            (kind, sign * amount)
        })
        .collect()
}

/// The sandbox provider's own hand: signs what it would sign, and what it would not.
pub struct Hand<'a> {
    world: &'a World,
    platform: &'a Platform,
    key: hmac::Key,
}

impl<'a> Hand<'a> {
    pub fn of(world: &'a World, platform: &'a Platform) -> Self {
        let secret = platform.aws().secrets().value("SandboxProviderSecret").unwrap();
        let seed: Seed = secret.parse().unwrap();
        let key = seed.keys("sandbox-provider").unwrap()[0];
        Self {
            world,
            platform,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        }
    }

    fn sign(&self, parts: &[&str]) -> String {
        let tag = hmac::sign(&self.key, parts.join("\n").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The notification that a payment succeeded.
    pub fn success(&self, payment: &Value) -> Value {
        json!({
            "merchant": "cfmp", "out_trade_no": text(&payment["payment_uuid"]).replace('-', ""), "trade_no": "SB1",
            "trade_status": "TRADE_SUCCESS", "amount": 1990, "currency": "CNY", "paid_at": self.platform.clock().now_ms(),
        })
    }

    /// Sends a signed notification.
    pub async fn notifies(&self, body: &Value) -> Answer {
        let timestamp = self.platform.clock().now_ms().to_string();
        let signature = self.sign(&["sandbox-notification", &timestamp, &body.to_string()]);
        self.posts(body, &timestamp, &signature).await
    }

    async fn posts(&self, body: &Value, timestamp: &str, signature: &str) -> Answer {
        self.world
            .post("/api/payment/callback/alipay/", body)
            .header("sandbox-timestamp", timestamp)
            .header("sandbox-signature", signature)
            .send()
            .await
    }

    /// A signed call of the merchant; answers `answer`.
    async fn asks(&self, payment: &Value, verb: &str, body: &Value) -> Value {
        let trade = text(&payment["payment_uuid"]).replace('-', "");
        let path = format!("/sandbox/trades/{trade}/{verb}");
        let timestamp = self.platform.clock().now_ms().to_string();
        let signature = self.sign(&["sandbox-call", &path, &timestamp, &body.to_string()]);
        let call = self.world.post(&path, body).header("sandbox-timestamp", timestamp);
        call.header("sandbox-signature", signature).expect(200).await.json()["answer"].clone()
    }

    /// Pays a payment at the provider in such a way that its notification goes astray.
    async fn pays_unheard(&self, payment: &Value) {
        let url = text(&payment["payment_data"]["payment_url"]);
        let (_, query) = url.split_once('?').unwrap();
        let mut order: serde_json::Map<String, Value> = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name != "sign")
            .map(|(name, value)| (name.into_owned(), json!(value)))
            .collect();
        order.insert("notify_url".into(), json!("http://127.0.0.1:1/nobody"));
        assert_eq!(
            self.asks(payment, "pay", &Value::Object(order)).await["trade_status"],
            "TRADE_SUCCESS"
        );
    }
}

#[test]
fn every_click_answers_the_same_payment_and_another_method_replaces_it() {
    in_world(async |world| {
        let it = purchase(world).await;
        let first = it.buyer.post("/api/payment/create/", &it.wish()).expect(201).await;
        assert_eq!(first.json()["code"], 200);
        let first = first.data();
        assert_eq!(
            (
                &first["amount"],
                &first["payment_method"],
                &first["status"],
                &first["payment_id"]
            ),
            (&json!("19.90"), &json!(0), &json!(0), &first["payment_uuid"])
        );
        assert_eq!(first["expires_at"], it.order["expires_at"]);
        for name in ["qrcode", "url", "qr_code", "payment_url"] {
            assert!(text(&first["payment_data"][name]).contains("/sandbox/pay?"), "{first}");
        }

        // The amount in any spelling; the old integer id beside it is not read.
        let mut again = it.wish();
        again["amount"] = json!(19.9);
        again["order_id"] = json!(17);
        let again = it.buyer.post("/api/payment/create", &again).expect(200).await.data();
        assert_eq!(again, first);

        let mut other = it.wish();
        other["payment_method"] = json!("wechat_pay");
        let other = it.buyer.post("/api/payment/create/", &other).expect(201).await.data();
        assert_ne!(other["payment_uuid"], first["payment_uuid"]);
        let latest = it.payment().await;
        assert_eq!(
            (&latest["payment_uuid"], &latest["status"]),
            (&other["payment_uuid"], &json!("pending"))
        );
        if let Some(platform) = world.platform() {
            assert_eq!(stored(platform, &first).await["status"]["S"], "closed");
        }

        it.buyer.clicks_pay(&other).await;
        let paid = it.payment().await;
        assert_eq!(
            (&paid["status"], &paid["payment_data"]["payment_url"]),
            (&json!("success"), &json!(""))
        );
        // Also before OrderService has heard of it.
        let refused = it.buyer.post("/api/payment/create/", &it.wish()).expect(409).await;
        assert!(
            ["already-paid", "order-not-payable"].contains(&refused.kind().as_str()),
            "{}",
            refused.text()
        );
    });
}

#[test]
fn an_idempotency_key_stands_for_one_request() {
    in_world(async |world| {
        let it = purchase(world).await;
        let key = uuid_text();
        let create = |body: &Value| {
            it.buyer
                .post("/api/payment/create/", body)
                .header("Idempotency-Key", &key)
        };
        let first = create(&it.wish()).expect(201).await.data();
        assert_eq!(create(&it.wish()).expect(200).await.data(), first);
        // The same request in other words.
        let spelt = format!(
            r#"{{ "payment_subject":"台灯", "amount":"19.90","payment_method":"alipay","order_uuid":{} }}"#,
            it.order["order_uuid"]
        );
        let ask = it
            .buyer
            .ask("POST", "/api/payment/create/")
            .header("Idempotency-Key", &key);
        assert_eq!(ask.raw("application/json", spelt).expect(200).await.data(), first);

        let mut other = it.wish();
        other["payment_method"] = json!("wechat_pay");
        assert_eq!(create(&other).expect(409).await.kind(), "idempotency-key-reused");

        it.buyer.clicks_pay(&first).await;
        let after = create(&it.wish()).expect(200).await.data();
        assert_eq!(
            (&after["payment_uuid"], &after["status"]),
            (&first["payment_uuid"], &json!(2))
        );
    });
}

/// Whatever stops in the middle is taken up again: by the next click, or by time.
#[test]
fn what_stopped_in_the_middle_goes_on_under_the_same_number() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let write = async |table: &str, key: Value, expression: &str, values: Value| {
            let update = json!({
                "TableName": platform.template().tables[table].name, "Key": key, "UpdateExpression": expression,
                "ExpressionAttributeNames": {"#status": "status"}, "ExpressionAttributeValues": values,
            });
            let (status, answer) = platform.dynamodb("UpdateItem", &update).await;
            assert_eq!(status, 200, "{answer}");
        };

        // As if create-payment had ended between noting the payment and storing the provider's offer.
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let key = json!({"payment_uuid": {"S": payment["payment_uuid"]}});
        write(
            "PaymentsTable",
            key,
            "SET #status = :created REMOVE offer",
            json!({":created": {"S": "created"}}),
        )
        .await;
        assert_eq!(it.payment().await["payment_data"]["payment_url"], "");
        assert_eq!(
            it.buyer.starts_paying(&it.order).await["payment_data"],
            payment["payment_data"]
        );

        // As if process-refund had ended between the provider's refund and storing it.
        it.buyer.clicks_pay(&payment).await;
        world.settle().await;
        let refund = full_refund(&payment);
        let number = refund.replace('-', "");
        let made = Hand::of(world, platform)
            .asks(&payment, "refund", &json!({"refund_no": number, "amount": 1990}))
            .await;
        assert_eq!(made["result"], "SUCCEEDED");
        it.buyer.cancels(&it.order, "不要了").await;
        world.settle().await;
        let whole = [("held".to_owned(), 1990), ("refunded".to_owned(), -1990)];
        assert_eq!(ledger(platform, &payment).await, whole);

        // As if it had never come to store that: the minute's run asks the provider and finds it done.
        let values = json!({
            ":requested": {"S": "requested"}, ":shard": {"S": "0"},
            ":now": {"N": platform.clock().now_ms().to_string()},
        });
        let key = json!({"refund_uuid": {"S": refund}});
        let expression = "SET #status = :requested, due_shard = :shard, due_at = :now, next_attempt = :now";
        write("RefundsTable", key.clone(), expression, values).await;
        world.advance(Duration::from_secs(61)).await;
        world
            .until("the refund is settled again", async || {
                let table = &platform.template().tables["RefundsTable"].name;
                let (_, found) = platform
                    .dynamodb("GetItem", &json!({"TableName": table, "Key": key}))
                    .await;
                found["Item"]["status"]["S"] == "succeeded"
            })
            .await;
        world.settle().await;
        assert_eq!(ledger(platform, &payment).await, whole);
        assert_eq!(it.buyer.order(&it.order).await["refund_status"], "succeeded");
    });
}

/// Two clicks at once used to open two payments.
#[test]
fn requests_that_race_open_one_payment() {
    in_world(async |world| {
        let it = purchase(world).await;
        let clicks = (0..8).map(|_| it.buyer.post("/api/payment/create/", &it.wish()).send());
        let answers = join_all(clicks).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(created, 1, "{answers:?}");
        let first = answers[0].data()["payment_uuid"].clone();
        for answer in &answers {
            assert!(answer.status.is_success(), "{}", answer.text());
            assert_eq!(answer.data()["payment_uuid"], first);
            assert_eq!(answer.data()["payment_data"], answers[0].data()["payment_data"]);
        }

        let second = purchase(world).await;
        let key = uuid_text();
        let clicks = (0..6).map(|_| {
            second
                .buyer
                .post("/api/payment/create/", &second.wish())
                .header("Idempotency-Key", &key)
                .send()
        });
        let answers = join_all(clicks).await;
        for answer in &answers {
            assert!(answer.status.is_success(), "{}", answer.text());
            assert_eq!(answer.data()["payment_uuid"], answers[0].data()["payment_uuid"]);
        }
    });
}

/// The amount, the owner and the state of the order used to be the client's word.
#[test]
fn only_the_buyer_pays_only_the_price_and_only_while_it_is_wanted() {
    in_world(async |world| {
        let it = purchase(world).await;
        let stranger = world.member("路人").await;
        for other in [&stranger, &it.seller] {
            assert_eq!(
                other.post("/api/payment/create/", &it.wish()).expect(404).await.kind(),
                "not-found"
            );
        }
        world.post("/api/payment/create/", &it.wish()).expect(401).await;
        for amount in ["0.01", "19.89", "199.00"] {
            let mut body = it.wish();
            body["amount"] = json!(amount);
            let refused = it.buyer.post("/api/payment/create/", &body).expect(400).await;
            assert_eq!(refused.kind(), "amount-mismatch");
            assert!(refused.json()["error"]["fields"]["amount"].is_string());
        }
        let fields = [
            ("order_uuid", json!(null)),
            ("order_uuid", json!("17")),
            ("payment_method", json!(null)),
            ("payment_method", json!("cash")),
            ("payment_method", json!(0)),
            ("amount", json!(null)),
            ("amount", json!("19.905")),
            ("amount", json!(-19.9)),
            ("payment_subject", json!("字".repeat(257))),
            ("payment_subject", json!(5)),
        ];
        for (field, value) in fields {
            let mut body = it.wish();
            body[field] = value;
            let refused = it.buyer.post("/api/payment/create/", &body).expect(400).await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{field}: {}",
                refused.text()
            );
        }
        it.buyer.get(&payment_path(&it.order)).expect(404).await;

        let payment = it.buyer.starts_paying(&it.order).await;
        for other in [&stranger, &it.seller] {
            other.get(&payment_path(&it.order)).expect(404).await;
            other.post(&cancel_path(&payment), &json!({})).expect(404).await;
        }
        it.buyer.cancels(&it.order, "不要了").await;
        let refused = it.buyer.post("/api/payment/create/", &it.wish()).expect(409).await;
        assert_eq!(refused.kind(), "order-not-payable");
        world.settle().await;
        assert_eq!(
            it.payment().await["status"],
            "cancelled",
            "the order's end closes its payment"
        );
    });
}

#[test]
fn ten_callbacks_at_once_are_one_payment() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let hand = Hand::of(world, platform);
        let success = hand.success(&payment);

        let answers = join_all((0..10).map(|_| hand.notifies(&success))).await;
        for answer in answers {
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "success"));
        }
        world.settle().await;
        assert_eq!(it.order_status().await, 1);
        assert_eq!(ledger(platform, &payment).await, [("held".to_owned(), 1990)]);
        assert_eq!(
            it.buyer.notices().await.len(),
            2,
            "placed and paid: {:?}",
            it.buyer.notices().await
        );

        // A replay, also after the order completed, moves nothing. It used to bring the order back to paid.
        let path = format!("/api/orders/{}/complete/", text(&it.order["order_uuid"]));
        it.buyer.ask("POST", &path).expect(200).await;
        world.settle().await;
        assert_eq!(hand.notifies(&success).await.text(), "success");
        let failed = {
            let mut body = success.clone();
            body["trade_status"] = json!("TRADE_FAILED");
            body
        };
        assert_eq!(hand.notifies(&failed).await.text(), "success");
        world.settle().await;
        assert_eq!(it.order_status().await, 2);
        assert_eq!(it.payment().await["status"], "success");
        let movements = ledger(platform, &payment).await;
        assert_eq!(movements, [("held".to_owned(), 1990), ("released".to_owned(), -1990)]);
    });
}

/// Callbacks used to be believed without a signature.
#[test]
fn callbacks_that_are_not_the_providers_change_nothing() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let hand = Hand::of(world, platform);
        let success = hand.success(&payment);
        let now = platform.clock().now_ms();
        let genuine = |body: &Value, at: i64| hand.sign(&["sandbox-notification", &at.to_string(), &body.to_string()]);
        let signature = genuine(&success, now);

        let mut cheaper = success.clone();
        cheaper["amount"] = json!(1);
        let forged = [
            (&success, now, String::new()),
            (&success, now, "00".repeat(32)),
            (&success, now, "SIGNTEST".to_owned()),
            (&cheaper, now, signature.clone()),
            (&success, now + 1, signature.clone()),
            (&success, now - 300_000, genuine(&success, now - 300_000)),
            (&success, now + 400_000, genuine(&success, now + 400_000)),
            (
                &success,
                now,
                hand.sign(&["sandbox-answer", &now.to_string(), &success.to_string()]),
            ),
        ];
        for (body, at, signature) in forged {
            let answer = hand.posts(body, &at.to_string(), &signature).await;
            assert_eq!(answer.status, 401, "{at} {signature}");
            assert_ne!(answer.text(), "success");
        }
        world.post("/api/payment/callback/alipay/", &success).expect(401).await;
        world.ask("POST", "/api/payment/callback/alipay/").expect(401).await;
        world.post("/api/payment/callback/cash/", &success).expect(400).await;

        // Signed, but about nothing of ours, or not to be understood.
        let mut unknown = success.clone();
        unknown["out_trade_no"] = json!(uuid_text());
        assert_eq!(hand.notifies(&unknown).await.status, 404);
        let mut absurd = success.clone();
        absurd["amount"] = json!(-5);
        assert_eq!(hand.notifies(&absurd).await.status, 400);

        assert_eq!(it.payment().await["status"], "pending");
        assert_eq!(
            stored(platform, &payment).await["version"]["N"],
            "1",
            "nothing was written"
        );
    });
}

#[test]
fn money_that_does_not_match_is_held_for_a_person() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let hand = Hand::of(world, platform);
        for (field, value) in [
            ("amount", json!(1)),
            ("currency", json!("USD")),
            ("merchant", json!("somebody")),
        ] {
            let it = purchase(world).await;
            let payment = it.buyer.starts_paying(&it.order).await;
            let mut wrong = hand.success(&payment);
            wrong[field] = value;
            // It is stored, so the provider need not send it again.
            assert_eq!(hand.notifies(&wrong).await.text(), "success");
            world.settle().await;
            assert_eq!(it.payment().await["status"], "processing");
            assert_eq!(it.order_status().await, 0);
            assert!(ledger(platform, &payment).await.is_empty());
            // Whatever comes now, a person decides; and nobody pays a second time meanwhile.
            assert_eq!(hand.notifies(&hand.success(&payment)).await.text(), "success");
            world.settle().await;
            assert_eq!(it.payment().await["status"], "processing");
            let refused = it.buyer.post("/api/payment/create/", &it.wish()).expect(409).await;
            assert_eq!(refused.kind(), "payment-under-review");
        }
    });
}

#[test]
fn a_cancelled_payment_makes_room_and_money_that_comes_for_it_goes_back() {
    in_world(async |world| {
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let cancelled = it.buyer.ask("POST", &cancel_path(&payment)).expect(200).await.data();
        assert_eq!(cancelled["status"], "cancelled");
        it.buyer.ask("POST", &cancel_path(&payment)).expect(200).await;

        // The provider had not heard of the trade, so the old page can still be paid: late money.
        it.buyer.clicks_pay(&payment).await;
        world.settle().await;
        assert_eq!(it.payment().await["status"], "cancelled");
        assert_eq!(it.order_status().await, 0, "late money pays nothing");
        if let Some(platform) = world.platform() {
            let movements = ledger(platform, &payment).await;
            assert_eq!(movements, [("held".to_owned(), 1990), ("refunded".to_owned(), -1990)]);
            let refund = Hand::of(world, platform)
                .asks(&payment, "refund", &json!({"refund_no": "another", "amount": 1}))
                .await;
            assert_eq!(
                refund["reason"], "REFUND_EXCEEDS_PAYMENT",
                "the provider gave it all back"
            );
        }

        let second = it.buyer.pays(&it.order).await;
        assert_ne!(second["payment_uuid"], payment["payment_uuid"]);
        world.settle().await;
        assert_eq!(it.order_status().await, 1);
        let refused = it.buyer.ask("POST", &cancel_path(&second)).expect(409).await;
        assert_eq!(
            (refused.kind().as_str(), &refused.json()["payment_status"]),
            ("payment-not-cancellable", &json!("success"))
        );
    });
}

/// Money that was on its way when the buyer cancelled is found, not lost.
#[test]
fn a_payment_that_is_paid_at_the_provider_can_not_be_cancelled() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        Hand::of(world, platform).pays_unheard(&payment).await;
        assert_eq!(it.payment().await["status"], "pending");
        let refused = it.buyer.ask("POST", &cancel_path(&payment)).expect(409).await;
        assert_eq!(refused.json()["payment_status"], "success");

        // So is money for another method than the one wished for now.
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        Hand::of(world, platform).pays_unheard(&payment).await;
        let mut other = it.wish();
        other["payment_method"] = json!("wechat_pay");
        assert_eq!(
            it.buyer.post("/api/payment/create/", &other).expect(409).await.kind(),
            "already-paid"
        );
        world.settle().await;
        assert_eq!(it.order_status().await, 1);
    });
}

#[test]
fn a_lost_callback_is_asked_after() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let hand = Hand::of(world, platform);

        // By the returning browser, whatever it claims, and whoever it is.
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let back = format!(
            "/api/payment/callback/alipay?out_trade_no={}&trade_status=TRADE_SUCCESS",
            text(&payment["payment_uuid"])
        );
        assert_eq!(world.get(&back).expect(200).await.data()["status"], "pending");
        hand.pays_unheard(&payment).await;
        assert_eq!(world.get(&back).expect(200).await.data()["status"], "success");
        world.get("/api/payment/callback/alipay/").expect(200).await;
        world
            .get(&format!("/api/payment/callback/alipay?out_trade_no={}", uuid_text()))
            .expect(200)
            .await;

        // By time.
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        hand.pays_unheard(&payment).await;
        world.advance(Duration::from_secs(61)).await;
        world.settle().await;
        world
            .until("the payment is found", async || {
                it.payment().await["status"] == "success"
            })
            .await;
        world.settle().await;
        assert_eq!(it.order_status().await, 1);
    });
}

/// What the merchant has not confirmed is sent again, until he does.
#[test]
fn a_notification_that_went_astray_is_sent_again() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        Hand::of(world, platform).pays_unheard(&payment).await;

        let table = &platform.template().tables["SandboxTradesTable"].name;
        let key = json!({"out_trade_no": {"S": text(&payment["payment_uuid"]).replace('-', "")}});
        let owed = async || {
            let (_, found) = platform
                .dynamodb("GetItem", &json!({"TableName": table, "Key": key}))
                .await;
            found["Item"].get("due_at").is_some()
        };
        assert!(owed().await);
        // The merchant's address is put right.
        let update = json!({
            "TableName": table, "Key": key, "UpdateExpression": "SET notify_url = :right",
            "ExpressionAttributeValues": {":right": {"S": format!("{}/api/payment/callback/alipay", platform.base_url())}},
        });
        let (status, answer) = platform.dynamodb("UpdateItem", &update).await;
        assert_eq!(status, 200, "{answer}");
        world.advance(Duration::from_secs(121)).await;
        world
            .until("the notification is confirmed", async || !owed().await)
            .await;
        world.settle().await;
        assert_eq!(it.payment().await["status"], "success");
        assert_eq!(it.order_status().await, 1);
    });
}

/// Unpaid orders used to wait for ever.
#[test]
fn what_is_not_paid_in_time_expires_and_can_not_be_paid_any_more() {
    in_world(async |world| {
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        world.advance(HALF_AN_HOUR).await;
        world
            .until("the payment expires", async || {
                it.payment().await["status"] == "cancelled"
            })
            .await;
        world.settle().await;
        assert_eq!(it.order_status().await, 3);
        let url = text(&payment["payment_data"]["payment_url"]);
        let page = world.get(&url).expect(200).await.text();
        assert!(page.contains("超时") && !page.contains("<form"), "{page}");
        let pay = world
            .ask("POST", &url)
            .raw("application/x-www-form-urlencoded", "outcome=pay");
        pay.expect(409).await;
        assert_eq!(
            it.buyer
                .post("/api/payment/create/", &it.wish())
                .expect(409)
                .await
                .kind(),
            "order-not-payable"
        );
    });
}

#[test]
fn the_front_ends_simulated_payment_is_its_owners_and_nobody_elses() {
    in_world(async |world| {
        let it = purchase(world).await;
        let payment = it.buyer.starts_paying(&it.order).await;
        let form = json!({
            "order_uuid": it.order["order_uuid"], "payment_id": payment["payment_id"],
            "payment_uuid": payment["payment_uuid"], "status": 2, "total_amount": 0, "sign": "simulated_signature",
        });
        let path = "/api/payment/callback/alipay/";
        world.post(path, &form).expect(401).await;
        let stranger = world.member("路人").await;
        for other in [&stranger, &it.seller] {
            other.post(path, &form).expect(404).await;
        }
        for (field, value) in [
            ("order_uuid", json!(null)),
            ("payment_uuid", json!(null)),
            ("status", json!(null)),
            ("status", json!(3)),
            ("payment_uuid", json!("undefined")),
        ] {
            let mut body = form.clone();
            body[field] = value;
            let refused = it.buyer.post(path, &body).expect(400).await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{}",
                refused.text()
            );
        }
        let mut other_order = form.clone();
        other_order["order_uuid"] = json!(uuid_text());
        it.buyer.post(path, &other_order).expect(404).await;
        assert_eq!(it.payment().await["status"], "pending");

        for _ in 0..2 {
            let answer = it.buyer.post(path, &form).expect(200).await.json();
            assert_eq!(
                (&answer["success"], &answer["status"], &answer["code"]),
                (&json!(true), &json!("success"), &json!(200))
            );
            assert!(answer["message"].is_string());
        }
        world.settle().await;
        assert_eq!(it.order_status().await, 1);

        let second = purchase(world).await;
        let payment = second.buyer.starts_paying(&second.order).await;
        second.buyer.ask("POST", &cancel_path(&payment)).expect(200).await;
        let mut late = form;
        late["order_uuid"] = second.order["order_uuid"].clone();
        late["payment_uuid"] = payment["payment_uuid"].clone();
        assert_eq!(
            second.buyer.post(path, &late).expect(409).await.kind(),
            "payment-not-payable"
        );
    });
}

#[test]
fn the_payment_page_shows_what_is_paid_and_fails_on_demand() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let title = "A&B=1+1 \"}' <script>alert(1)</script> 💡";
        let lamp = seller.puts_up(title, "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        let payment = buyer.starts_paying(&order).await;
        let url = text(&payment["payment_data"]["payment_url"]);

        let answer = world.get(&url).expect(200).await;
        assert!(
            answer.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(
            answer.headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
        let page = answer.text();
        assert!(
            page.contains("¥19.90") && page.contains("💡") && page.contains("A&#38;B=1+1"),
            "{page}"
        );
        assert!(!page.contains("<script"));

        // Any change of the link is seen.
        for broken in [
            url.replace("amount=1990", "amount=1"),
            url.split("&sign=").next().unwrap().to_owned(),
        ] {
            assert!(world.get(&broken).expect(403).await.text().contains("支付链接无效"));
            let pay = world
                .ask("POST", &broken)
                .raw("application/x-www-form-urlencoded", "outcome=pay");
            pay.expect(403).await;
        }
        let odd = world
            .ask("POST", &url)
            .raw("application/x-www-form-urlencoded", "outcome=steal");
        odd.expect(400).await;

        let fail = world
            .ask("POST", &url)
            .raw("application/x-www-form-urlencoded", "outcome=fail");
        assert!(fail.expect(200).await.text().contains("支付失败"));
        world.settle().await;
        let failed = buyer.get(&payment_path(&order)).expect(200).await.data();
        assert_eq!(failed["status"], "failed");
        assert!(world.get(&url).expect(200).await.text().contains("支付失败"));

        // The order can still be paid.
        buyer.pays(&order).await;
        world.settle().await;
        assert_eq!(buyer.order(&order).await["status"], 1);
    });
}

#[test]
fn money_goes_back_once_however_often_it_is_asked_for() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.pays(&it.order).await;
        world.settle().await;
        it.buyer.cancels(&it.order, "不要了").await;
        world.settle().await;
        assert_eq!(it.buyer.order(&it.order).await["refund_status"], "succeeded");
        let whole = [("held".to_owned(), 1990), ("refunded".to_owned(), -1990)];
        assert_eq!(ledger(platform, &payment).await, whole);
        assert_eq!(it.payment().await["status_display"], "已退款");
        assert_eq!(
            world
                .get(&format!("/api/product/{}/", it.lamp.id))
                .expect(200)
                .await
                .json()["stock"],
            1
        );

        // Asked for again, by the same name and by another: nothing is left, so nothing moves, and nothing fails.
        for refund in [full_refund(&payment), uuid_text()] {
            let event = json!({
                "event_id": uuid_text(), "version": 1, "occurred_at": 1, "type": "RefundRequested",
                "data": {
                    "refund_uuid": refund, "payment_uuid": payment["payment_uuid"],
                    "order_uuid": it.order["order_uuid"], "amount": 1990, "reason": "paid_twice",
                },
            });
            let message = json!({"Records": [{"messageId": uuid_text(), "body": event.to_string()}]});
            let answer = world.invoke("ProcessRefundFunction", &message).await.json();
            assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
        }
        world.settle().await;
        assert_eq!(ledger(platform, &payment).await, whole);
    });
}

/// The name of a payment's full refund, which everybody who asks for it derives alike.
fn full_refund(payment: &Value) -> String {
    kernel::RefundId::derived(&["full", &text(&payment["payment_uuid"])]).to_string()
}

#[test]
fn what_is_held_is_released_a_week_later() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let it = purchase(world).await;
        let payment = it.buyer.pays(&it.order).await;
        world.settle().await;
        world.advance(WEEK - Duration::from_secs(60)).await;
        world.settle().await;
        world.advance(Duration::from_secs(180)).await;
        // The log-in of a week ago is no longer good.
        let buyer = world.log_in(&it.buyer.email).await;
        world
            .until("the order completes", async || {
                buyer.order(&it.order).await["status"] == 2
            })
            .await;
        world.settle().await;
        let movements = ledger(platform, &payment).await;
        assert_eq!(movements, [("held".to_owned(), 1990), ("released".to_owned(), -1990)]);
    });
}

/// Whoever comes first, the money ends where the order says.
#[test]
fn paying_and_cancelling_at_once_ends_well() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let round_trip = [("held".to_owned(), 1990), ("refunded".to_owned(), -1990)];
        for page_is_open in [true, false, true, false] {
            let it = purchase(world).await;
            let payment = it.buyer.starts_paying(&it.order).await;
            let (paid, _) = tokio::join!(
                pays(world, &payment, page_is_open),
                it.buyer.cancels(&it.order, "不要了")
            );
            world.settle().await;
            assert_eq!(it.order_status().await, 3, "the buyer did call it off");
            let movements = ledger(platform, &payment).await;
            match paid {
                true => assert_eq!(movements, round_trip),
                false => assert!(movements.is_empty(), "{movements:?}"),
            }
        }
        for page_is_open in [true, false, true, false] {
            let it = purchase(world).await;
            let payment = it.buyer.starts_paying(&it.order).await;
            let path = cancel_path(&payment);
            let cancel = it.buyer.ask("POST", &path).send();
            let (paid, cancelled) = tokio::join!(pays(world, &payment, page_is_open), cancel);
            world.settle().await;
            let outcome = (it.payment().await["status"].clone(), it.order_status().await);
            let movements = ledger(platform, &payment).await;
            match (cancelled.status.as_u16(), paid) {
                (200, true) => assert_eq!(
                    (outcome, movements.as_slice()),
                    ((json!("cancelled"), json!(0)), &round_trip[..])
                ),
                (200, false) => assert_eq!((outcome, movements.len()), ((json!("cancelled"), json!(0)), 0)),
                (409, true) => assert_eq!((outcome, movements.len()), ((json!("success"), json!(1)), 1)),
                other => panic!("{other:?}: {}", cancelled.text()),
            }
        }
    });
}

/// Presses the button, after the page was opened or from the link alone; whether the provider took the money.
async fn pays(world: &World, payment: &Value, page_is_open: bool) -> bool {
    let url = text(&payment["payment_data"]["payment_url"]);
    if page_is_open {
        world.get(&url).expect(200).await;
    }
    let answer = world
        .ask("POST", &url)
        .raw("application/x-www-form-urlencoded", "outcome=pay")
        .send()
        .await;
    match answer.status.as_u16() {
        200 => true,
        409 => false,
        other => panic!("{other}: {}", answer.text()),
    }
}
