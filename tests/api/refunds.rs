//! Money that is asked back over HTTP: parts and the rest, races, keys, and what the order and the books say of it.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::payments::{Purchase, ledger, purchase, text};
use crate::world::{Member, World, in_world, uuid_text};

fn refund_path(name: &Value) -> String {
    format!("/api/payment/{}/refund/", text(name))
}

fn complete_path(order: &Value) -> String {
    format!("/api/orders/{}/complete/", text(&order["order_uuid"]))
}

/// A purchase that is paid, and its payment.
async fn paid_purchase(world: &World) -> (Purchase<'_>, Value) {
    let it = purchase(world).await;
    let payment = it.buyer.pays(&it.order).await;
    world.settle().await;
    assert_eq!(it.order_status().await, 1);
    (it, payment)
}

impl Purchase<'_> {
    fn refund_path(&self) -> String {
        refund_path(&self.order["order_uuid"])
    }

    /// Asks so much back; `None`: all that is left.
    async fn asks_back(&self, amount: Option<&str>) -> Value {
        let body = amount.map_or(json!({}), |amount| json!({"refund_amount": amount}));
        self.buyer.post(&self.refund_path(), &body).expect(201).await.data()
    }

    async fn stock(&self, world: &World) -> Value {
        let path = format!("/api/product/{}/", self.lamp.id);
        world.get(&path).expect(200).await.json()["stock"].clone()
    }
}

/// How often somebody was told something of this title.
async fn told(member: &Member<'_>, title: &str) -> usize {
    let notices = member.notices().await;
    notices.iter().filter(|notice| *notice == title).count()
}

fn movements(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter().map(|(kind, fen)| ((*kind).to_owned(), *fen)).collect()
}

#[test]
fn a_part_goes_back_and_the_rest_is_the_sellers() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (it, payment) = paid_purchase(world).await;
        let body = json!({"refund_amount": 5, "refund_reason": "有划痕"});
        let answer = it.buyer.post(&it.refund_path(), &body).expect(201).await;
        assert_eq!(answer.json()["code"], 200);
        let refund = answer.data();
        assert_eq!(
            refund,
            json!({
                "success": true, "refund_id": refund["refund_id"], "order_id": it.order["order_uuid"],
                "refund_amount": "5.00", "refund_status": "pending",
            })
        );
        world.settle().await;
        let order = it.buyer.order(&it.order).await;
        assert_eq!(
            (&order["status"], &order["refund_status"]),
            (&json!(1), &json!("succeeded"))
        );
        let shown = it.payment().await;
        assert_eq!(
            (&shown["status"], &shown["status_display"]),
            (&json!("success"), &json!("部分退款"))
        );
        for person in [&it.buyer, &it.seller] {
            assert_eq!(told(person, "退款成功").await, 1);
        }

        // By the payment's own name as well.
        let path = refund_path(&payment["payment_uuid"]);
        it.buyer
            .post(&path, &json!({"refund_amount": "0.90"}))
            .expect(201)
            .await;
        it.buyer.ask("POST", &complete_path(&it.order)).expect(200).await;
        world.settle().await;
        let mut books = ledger(platform, &payment).await;
        books.sort();
        let divided = [
            ("held", 1990),
            ("refunded", -500),
            ("refunded", -90),
            ("released", -1400),
        ];
        assert_eq!(books, movements(&divided));
        assert_eq!(it.stock(world).await, 0);

        let late = it.buyer.post(&it.refund_path(), &json!({"refund_amount": "1.00"}));
        assert_eq!(late.expect(409).await.kind(), "already-released");
        assert_eq!(
            it.buyer.ask("POST", &it.refund_path()).expect(409).await.kind(),
            "already-released"
        );
    });
}

#[test]
fn with_all_of_its_money_gone_an_order_is_called_off() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        // At once, and by way of a part.
        for parts in [&[None][..], &[Some("10.00"), None], &[Some("10.00"), Some("9.90")]] {
            let (it, payment) = paid_purchase(world).await;
            for part in parts {
                it.asks_back(*part).await;
            }
            world.settle().await;
            let order = it.buyer.order(&it.order).await;
            assert_eq!(
                (&order["status"], &order["refund_status"]),
                (&json!(3), &json!("succeeded"))
            );
            assert_eq!(it.stock(world).await, 1);
            assert_eq!(it.payment().await["status_display"], "已退款");
            let gone: i64 = ledger(platform, &payment).await.iter().map(|(_, fen)| fen).sum();
            assert_eq!(gone, 0);
            for person in [&it.buyer, &it.seller] {
                assert_eq!(told(person, "退款成功").await, parts.len());
                assert_eq!(told(person, "订单已取消").await, 1);
            }
            let more = it
                .buyer
                .post(&it.refund_path(), &json!({"refund_amount": "0.01"}))
                .expect(400)
                .await;
            assert_eq!(more.kind(), "refund-exceeds");
            assert_eq!(
                it.buyer.ask("POST", &it.refund_path()).expect(409).await.kind(),
                "already-refunded"
            );
        }
        // Or its buyer calls it off himself after a part: only the rest goes back, and he is told how much that is.
        let (it, payment) = paid_purchase(world).await;
        it.asks_back(Some("10.00")).await;
        let cancelled = it.buyer.cancels(&it.order, "不要了").await;
        assert_eq!(cancelled["refund_status"], "pending");
        world.settle().await;
        assert_eq!(it.buyer.order(&it.order).await["refund_status"], "succeeded");
        let mut books = ledger(platform, &payment).await;
        books.sort();
        assert_eq!(
            books,
            movements(&[("held", 1990), ("refunded", -1000), ("refunded", -990)])
        );
    });
}

#[test]
fn money_is_asked_back_only_by_its_buyer_or_a_service_and_only_what_was_paid() {
    in_world(async |world| {
        let it = purchase(world).await;
        let stranger = world.member("路人").await;
        world.ask("POST", &it.refund_path()).expect(401).await;
        let unpaid = it.buyer.ask("POST", &it.refund_path()).expect(409).await;
        assert_eq!(unpaid.kind(), "order-not-paid");
        let payment = it.buyer.starts_paying(&it.order).await;
        let by_payment = refund_path(&payment["payment_uuid"]);
        assert_eq!(
            it.buyer.ask("POST", &by_payment).expect(409).await.kind(),
            "order-not-paid"
        );
        it.buyer.clicks_pay(&payment).await;
        world.settle().await;

        for other in [&stranger, &it.seller] {
            other.ask("POST", &it.refund_path()).expect(404).await;
            other.ask("POST", &by_payment).expect(404).await;
        }
        it.buyer
            .ask("POST", &refund_path(&json!(uuid_text())))
            .expect(404)
            .await;
        for amount in ["19.91", "99999999.99"] {
            let more = it
                .buyer
                .post(&it.refund_path(), &json!({"refund_amount": amount}))
                .expect(400)
                .await;
            assert_eq!(
                (more.kind().as_str(), &more.json()["refundable"]),
                ("refund-exceeds", &json!("19.90"))
            );
            assert!(more.json()["error"]["fields"]["refund_amount"].is_string());
        }
        for amount in [json!("0"), json!("1.005"), json!(-1), json!("x"), json!(100_000_000)] {
            let refused = it
                .buyer
                .post(&it.refund_path(), &json!({"refund_amount": amount}))
                .expect(400)
                .await;
            assert!(
                refused.json()["error"]["fields"]["refund_amount"].is_string(),
                "{}",
                refused.text()
            );
        }
        assert_eq!(it.order_status().await, 1);
        assert_eq!(it.buyer.order(&it.order).await["refund_status"], json!(null));

        let service = world.service_token("notification-service").await;
        let nulls = json!({"refund_amount": null, "refund_reason": null});
        let refund = world
            .post(&it.refund_path(), &nulls)
            .bearer(&service)
            .expect(201)
            .await
            .data();
        assert_eq!(refund["refund_amount"], "19.90");
        world.settle().await;
        assert_eq!(it.order_status().await, 3);
    });
}

#[test]
fn a_key_asks_for_one_refund() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (it, payment) = paid_purchase(world).await;
        let key = uuid_text();
        let ask = |body: Value| it.buyer.post(&it.refund_path(), &body).header("Idempotency-Key", &key);
        let body = json!({"refund_amount": "5.00", "refund_reason": "有划痕"});
        let racing = join_all((0..4).map(|_| ask(body.clone()).expect(201))).await;
        let first = racing[0].data();
        for answer in &racing {
            assert_eq!(answer.data()["refund_id"], first["refund_id"]);
        }
        // The same in other words, by the payment's name, and long after: what became of it is told.
        world.settle().await;
        let spelt = r#"{ "refund_reason":"有划痕","refund_amount":"5.00" }"#;
        let again = it
            .buyer
            .ask("POST", &refund_path(&payment["payment_uuid"]))
            .header("Idempotency-Key", &key)
            .raw("application/json", spelt)
            .expect(201)
            .await
            .data();
        assert_eq!(
            (&again["refund_id"], &again["refund_amount"], &again["refund_status"]),
            (&first["refund_id"], &json!("5.00"), &json!("succeeded"))
        );
        for other in [json!({"refund_amount": "4.00"}), json!({})] {
            assert_eq!(ask(other).expect(409).await.kind(), "idempotency-key-reused");
        }
        assert_eq!(
            ledger(platform, &payment).await,
            movements(&[("held", 1990), ("refunded", -500)])
        );

        // The same key for another order is another refund.
        let (other, _) = paid_purchase(world).await;
        let path = other.refund_path();
        let refund = other
            .buyer
            .post(&path, &body)
            .header("Idempotency-Key", &key)
            .expect(201)
            .await
            .data();
        assert_ne!(refund["refund_id"], first["refund_id"]);
    });
}

/// Twenty parts at once of what is enough for three of them.
#[test]
fn parts_that_race_never_exceed_what_was_paid() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (it, payment) = paid_purchase(world).await;
        let (path, part) = (it.refund_path(), json!({"refund_amount": "5.00"}));
        let answers = join_all((0..20).map(|_| it.buyer.post(&path, &part).send())).await;
        let mut asked = 0;
        for answer in answers {
            match (answer.status.as_u16(), answer.kind().as_str()) {
                (201, _) => asked += 500,
                (400, "refund-exceeds") | (409, "changed-meanwhile") => {}
                other => panic!("{other:?}: {}", answer.text()),
            }
        }
        assert!((500..=1500).contains(&asked), "{asked}");
        world.settle().await;
        let books = ledger(platform, &payment).await;
        let gone: i64 = books.iter().map(|(_, fen)| fen).sum();
        assert_eq!(gone, 1990 - asked, "{books:?}");

        // The rest.
        it.asks_back(None).await;
        world.settle().await;
        let gone: i64 = ledger(platform, &payment).await.iter().map(|(_, fen)| fen).sum();
        assert_eq!((gone, it.order_status().await), (0, json!(3)));
        assert_eq!(it.buyer.order(&it.order).await["refund_status"], "succeeded");
    });
}

/// Whichever comes first, every fen ends with the buyer or the seller, and the order says the same as the books.
#[test]
fn asking_back_and_the_orders_end_at_once_end_well() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        for (end, amount) in [
            ("complete", None),
            ("complete", Some("5.00")),
            ("cancel", None),
            ("cancel", Some("5.00")),
            ("complete", None),
        ] {
            let (it, payment) = paid_purchase(world).await;
            let body = amount.map_or(json!({}), |amount| json!({"refund_amount": amount}));
            let end_path = format!("/api/orders/{}/{end}/", text(&it.order["order_uuid"]));
            let refund_path = it.refund_path();
            let (ended, refunded) = tokio::join!(
                it.buyer.ask("POST", &end_path).send(),
                it.buyer.post(&refund_path, &body).send(),
            );
            world.settle().await;
            let books = ledger(platform, &payment).await;
            let sum: i64 = books.iter().map(|(_, fen)| fen).sum();
            let released: i64 = books
                .iter()
                .filter(|(kind, _)| kind == "released")
                .map(|(_, fen)| fen)
                .sum();
            let told = format!("{end} {amount:?}: {} {}: {books:?}", ended.status, refunded.status);
            let order = it.buyer.order(&it.order).await;
            match order["status"].as_u64().unwrap() {
                1 => assert_eq!(sum, 1490, "only the part went back: {told}"),
                2 => assert_eq!((sum, released < 0), (0, true), "{told}"),
                3 => assert_eq!((sum, released), (0, 0), "{told}"),
                _ => panic!("{told}"),
            }
            if refunded.status == 201 {
                assert_eq!(order["refund_status"], "succeeded", "{told}");
            }
        }
    });
}
