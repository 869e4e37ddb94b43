//! Orders: placing, listing, cancelling, completing, expiring.

use std::time::Duration;

use kernel::OrderId;
use serde_json::{Value, json};

use crate::world::{Product, World, in_world, uuid_text};

#[test]
fn the_clients_word_on_money_and_people_counts_for_nothing() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 3).await;

        // A total of its own is not even read; a header is nobody's identity.
        let mut body = lamp.order_of(2);
        body["total_amount"] = json!("0.01");
        let order = buyer
            .post("/api/orders/", &body)
            .header("UUID", &seller.id)
            .expect(201)
            .await
            .data();
        assert_eq!(
            (&order["total_amount"], &order["buyer_uuid"]),
            (&json!("39.80"), &json!(buyer.id))
        );

        // A price that is not the product's is refused, with the one that is.
        let other = world.member("买家").await;
        let mut body = lamp.order();
        body["products"][0]["price"] = json!("0.01");
        let refused = other.post("/api/orders/", &body).expect(409).await;
        assert_eq!(
            (refused.kind().as_str(), &refused.json()["current_price"]),
            ("price-changed", &json!("19.90"))
        );

        // So is a seller who is not the product's.
        let mut body = lamp.order();
        body["seller_uuid"] = json!(other.id);
        assert_eq!(
            other.post("/api/orders/", &body).expect(400).await.kind(),
            "several-sellers"
        );
        assert_eq!(
            seller.post("/api/orders/", &lamp.order()).expect(400).await.kind(),
            "own-product"
        );
        assert_eq!(stock(world, &lamp).await, 1, "a refused order reserves nothing");
    });
}

#[test]
fn every_spelling_of_a_price_is_the_same_price_and_no_fraction_of_a_fen_is_money() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 9).await;
        for price in [json!("19.9"), json!("19.90"), json!(19.9)] {
            let mut body = lamp.order();
            body["products"][0]["price"] = price;
            world.member("买家").await.post("/api/orders/", &body).expect(201).await;
        }
        let buyer = world.member("买家").await;
        for price in [
            json!("0.004"),
            json!(0.004),
            json!("19.901"),
            json!(-19.9),
            json!("1e2"),
            json!("100000000"),
        ] {
            let mut body = lamp.order();
            body["products"][0]["price"] = price.clone();
            let refused = buyer.post("/api/orders/", &body).expect(400).await;
            assert!(
                refused.json()["error"]["fields"]["products[0].price"].is_string(),
                "{price}: {}",
                refused.text()
            );
        }
        for quantity in [json!(1.5), json!(0), json!(-1), json!("1"), json!(1000), json!(null)] {
            let mut body = lamp.order();
            body["products"][0]["quantity"] = quantity.clone();
            let refused = buyer.post("/api/orders/", &body).expect(400).await;
            assert!(
                refused.json()["error"]["fields"]["products[0].quantity"].is_string(),
                "{quantity}: {}",
                refused.text()
            );
        }
        assert_eq!(stock(world, &lamp).await, 6);
    });
}

#[test]
fn two_hundred_buyers_for_one_unit_make_one_order() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let Some(crowd) = world.crowd(200) else { return };
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let asks = crowd
            .iter()
            .map(|buyer| buyer.post("/api/orders/", &lamp.order()).send());
        let answers = futures::future::join_all(asks).await;
        let mut placed = 0;
        for answer in &answers {
            match answer.status.as_u16() {
                201 => placed += 1,
                _ => assert_eq!((answer.status.as_u16(), answer.kind().as_str()), (409, "out-of-stock")),
            }
        }
        assert_eq!(placed, 1);
        assert_eq!(stock(world, &lamp).await, 0);
        assert_eq!(seller.get("/api/orders/sold/").expect(200).await.json()["count"], 1);
    });
}

#[test]
fn a_second_order_for_a_product_leads_to_the_first_even_when_they_race() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        for stock in [1, 9] {
            let lamp = seller.puts_up("台灯", "19.90", stock).await;
            let asks = (0..6).map(|_| buyer.post("/api/orders/", &lamp.order()).send());
            let answers = futures::future::join_all(asks).await;
            let (placed, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status.as_u16() == 201);
            assert_eq!(placed.len(), 1, "{answers:?}");
            let order = placed[0].data()["order_uuid"].clone();
            for answer in others {
                // A real HTTP 409 breaks the front-end.
                assert_eq!(
                    (answer.status.as_u16(), &answer.json()["code"]),
                    (200, &json!(409)),
                    "{}",
                    answer.text()
                );
                let data = answer.data();
                assert_eq!(
                    (&data["existing_order_uuid"], &data["existing_order_id"]),
                    (&order, &order)
                );
                assert_eq!(
                    (&data["redirect_to_payment"], &data["order_status"]),
                    (&json!(true), &json!("pending_payment"))
                );
            }
            assert_eq!(
                self::stock(world, &lamp).await,
                u64::from(stock) - 1,
                "the losers hold no stock"
            );
        }
        // Once it is called off, the product can be ordered again.
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        buyer.cancels(&order, "").await;
        world.settle().await;
        buyer.orders(&lamp).await;
    });
}

#[test]
fn one_idempotency_key_places_one_order() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 5).await;
        let key = uuid_text();
        let ask = || {
            buyer
                .post("/api/orders/", &lamp.order())
                .header("idempotency-key", &key)
        };
        let (first, second) = tokio::join!(ask().expect(201), ask().expect(201));
        assert_eq!(first.json(), second.json());
        assert_eq!(ask().expect(201).await.json(), first.json());
        assert_eq!(stock(world, &lamp).await, 4);

        let other = buyer
            .post("/api/orders/", &lamp.order_of(2))
            .header("idempotency-key", &key)
            .expect(409)
            .await;
        assert_eq!(other.kind(), "idempotency-key-reused");
        // The same key of somebody else is another key.
        let neighbour = world.member("买家").await;
        neighbour
            .post("/api/orders/", &lamp.order())
            .header("idempotency-key", &key)
            .expect(201)
            .await;
        for key in ["", "with space", &"x".repeat(256)] {
            buyer
                .post("/api/orders/", &lamp.order())
                .header("idempotency-key", key)
                .expect(400)
                .await;
        }
    });
}

#[test]
fn an_unpaid_order_expires_and_its_stock_returns() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        world.settle().await;

        world.advance(Duration::from_secs(29 * 60)).await;
        world.settle().await;
        assert_eq!(buyer.order(&order).await["status"], 0);
        world.advance(Duration::from_secs(2 * 60)).await;
        world
            .until("the order has expired", async || {
                buyer.order(&order).await["status"] == 3
            })
            .await;
        world.settle().await;
        assert_eq!(stock(world, &lamp).await, 1);
        assert_eq!(seller.notices().await.len(), 2, "placed, cancelled");
        assert_eq!(buyer.order(&order).await["refund_status"], Value::Null);
    });
}

#[test]
fn a_paid_order_completes_by_itself_after_a_reminder() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        buyer.pays(&order).await;
        world.settle().await;
        let before = buyer.notices().await.len();

        // A log-in ends after a day; he logs in again to look.
        world.advance(Duration::from_secs(6 * 24 * 60 * 60 + 60)).await;
        let buyer = world.log_in(&buyer.email).await;
        world
            .until("the buyer is reminded", async || {
                buyer.notices().await.len() == before + 1
            })
            .await;
        assert_eq!(buyer.order(&order).await["status"], 1);

        world.advance(Duration::from_secs(24 * 60 * 60)).await;
        let buyer = world.log_in(&buyer.email).await;
        world
            .until("the order is completed", async || {
                buyer.order(&order).await["status"] == 2
            })
            .await;
        world.settle().await;
        assert_eq!(buyer.notices().await.len(), before + 2);
    });
}

#[test]
fn an_order_is_its_buyers_and_sellers_alone() {
    in_world(async |world| {
        let (seller, buyer, stranger) = (
            world.member("卖家").await,
            world.member("买家").await,
            world.member("路人").await,
        );
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        let path = format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());
        for person in [&seller, &buyer] {
            person.get(&path).expect(200).await;
        }
        stranger.get(&path).expect(404).await;
        for verb in ["cancel", "complete"] {
            stranger.ask("POST", &format!("{path}/{verb}/")).expect(404).await;
        }
        assert_eq!(
            seller.ask("POST", &format!("{path}/cancel/")).expect(409).await.kind(),
            "order-not-cancellable"
        );
        assert_eq!(
            buyer.ask("PUT", &format!("{path}/complete")).expect(409).await.kind(),
            "order-not-completable"
        );
        // There is no way to write an order as such.
        buyer
            .ask("PUT", &path)
            .json(&json!({"status": 1, "total_amount": "0.01"}))
            .expect(405)
            .await;
        assert_eq!(buyer.order(&order).await["status"], 0);

        for verb in ["POST", "PUT", "PATCH"] {
            let answer = buyer.ask(verb, &format!("{path}/cancel/")).expect(200).await;
            assert_eq!(answer.data()["status"], 3, "{verb}: calling off again changes nothing");
        }
        world.settle().await;
        assert_eq!(seller.notices().await.len(), 2);
    });
}

#[test]
fn only_services_move_orders_from_inside_and_never_to_paid() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer.orders(&lamp).await;
        let id = order["order_uuid"].as_str().unwrap();
        let service = world.service_token("payment-service").await;
        let paths = [
            format!("/api/orders/internal/{id}/"),
            format!("/api/orders/internal/orders/{id}/"),
        ];
        for path in &paths {
            world.get(path).expect(401).await;
            buyer.get(path).expect(403).await;
            let answer = world.get(path).bearer(&service).expect(200).await.json();
            assert_eq!(
                (&answer["success"], &answer["data"]["order"]["total_amount"]),
                (&json!(true), &json!("19.90"))
            );
            assert!(!answer.to_string().contains("13800138000"), "no personal data");
        }
        let patch = |status: u8| {
            world
                .ask("PATCH", &paths[1])
                .json(&json!({"status": status, "total_amount": "0.01"}))
        };
        patch(1).expect(401).await;
        patch(1).bearer(&buyer.token).expect(403).await;
        assert_eq!(patch(1).bearer(&service).expect(409).await.kind(), "illegal-transition");
        assert_eq!(
            patch(2).bearer(&service).expect(409).await.kind(),
            "order-not-completable"
        );
        patch(0).bearer(&service).expect(200).await;
        patch(9).bearer(&service).expect(400).await;
        // Public routes are no place for services.
        world
            .get(&format!("/api/orders/{id}"))
            .bearer(&service)
            .expect(403)
            .await;
        let unchanged = buyer.order(&order).await;
        assert_eq!(
            (&unchanged["status"], &unchanged["total_amount"]),
            (&json!(0), &json!("19.90"))
        );
        assert_eq!(
            patch(3).bearer(&service).expect(200).await.json()["data"]["order"]["status"],
            3
        );
        world.settle().await;
        assert_eq!(stock(world, &lamp).await, 1);
    });
}

#[test]
fn lists_are_filtered_sorted_paged_and_private() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let mut placed = Vec::new();
        for price in ["30.00", "10.00", "20.00"] {
            let product = seller.puts_up("书", price, 1).await;
            placed.push(buyer.orders(&product).await);
            world.advance(Duration::from_millis(5)).await;
        }
        buyer.cancels(&placed[0], "").await;
        let amounts = async |query: &str| {
            let list = buyer.get(&format!("/api/orders/{query}")).expect(200).await.json();
            let orders = list["results"]["data"].as_array().unwrap().clone();
            let amounts: Vec<String> = orders
                .iter()
                .map(|order| order["total_amount"].as_str().unwrap().to_owned())
                .collect();
            (list["count"].as_u64().unwrap(), amounts.join(" "))
        };
        assert_eq!(amounts("").await, (3, "20.00 10.00 30.00".into()));
        assert_eq!(amounts("?sort=created_asc").await, (3, "30.00 10.00 20.00".into()));
        assert_eq!(amounts("?sort=amount_desc").await, (3, "30.00 20.00 10.00".into()));
        assert_eq!(
            amounts("?sort=amount_asc&status=pending_payment").await,
            (2, "10.00 20.00".into())
        );
        assert_eq!(amounts("?status=cancelled").await, (1, "30.00".into()));
        assert_eq!(amounts("?status=all&page=2&page_size=2").await, (3, "30.00".into()));
        assert_eq!(
            amounts("?page=99").await,
            (3, String::new()),
            "past the end is an empty page"
        );
        for query in ["?status=lost", "?sort=random", "?page=0", "?page_size=101", "?page=x"] {
            buyer.get(&format!("/api/orders/{query}")).expect(400).await;
        }
        let page = buyer.get("/api/orders/?page=2&page_size=1").expect(200).await.json();
        assert!(page["next"].as_str().unwrap().contains("page=3"));
        assert!(page["previous"].as_str().unwrap().contains("page=1"));
        assert_eq!(seller.get("/api/orders/").expect(200).await.json()["count"], 0);
        assert_eq!(seller.get("/api/orders/sold/").expect(200).await.json()["count"], 3);
        // Once answered 200 with nothing, which looked like an empty market.
        for token in ["null", "undefined", ""] {
            world.get("/api/orders/").bearer(token).expect(401).await;
        }
        world.get("/api/orders/").expect(401).await;

        // `stats` is a route of its own, not somebody's order id.
        world.settle().await;
        let stats = buyer.get("/api/orders/stats/").expect(200).await.json();
        assert_eq!(
            (&stats["total_orders"], &stats["data"]["cancelled"]),
            (&json!(3), &json!(1))
        );
    });
}

/// The members of an object and what kind each is.
fn shape(value: &Value) -> Vec<(String, &'static str)> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let members = value.as_object().unwrap().iter();
    members.map(|(name, value)| (name.clone(), kind(value))).collect()
}

/// `name kind` in a line each, sorted by name.
fn members(text: &str) -> Vec<(String, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut members: Vec<(String, &str)> = lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect();
    members.sort();
    members
}

const ORDER: &str = "
    order_id text
    order_uuid text
    status number
    created_at text
    updated_at text
    payment_method number
    payment_time null
    buyer_id text
    buyer_uuid text
    seller_id text
    seller_uuid text
    total_amount text
    remark text
    cancel_reason null
    refund_status null
    shipping_name text
    shipping_phone text
    shipping_address text
    shipping_postal_code text
    expires_at text
    products list
";

/// Every answer about an order has every member of it, whatever its state; a member's name or kind is what a page of the
/// front-end reads.
#[test]
fn an_order_is_told_member_by_member() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let bike = seller.puts_up("自行车", "128.50", 3).await;
        let mut body = bike.order_of(2);
        body["payment_method"] = json!(1);
        body["shipping_postal_code"] = json!("100084");
        let created = buyer.post("/api/orders/", &body).expect(201).await.json();
        assert_eq!(shape(&created), members("code number\nmessage text\ndata object"));
        assert_eq!(created["code"], 200);
        let order = &created["data"];
        assert_eq!(shape(order), members(ORDER));
        for (member, value) in [
            ("status", json!(0)),
            ("payment_method", json!(1)),
            ("buyer_id", json!(buyer.id)),
            ("buyer_uuid", json!(buyer.id)),
            ("seller_id", json!(seller.id)),
            ("seller_uuid", json!(seller.id)),
            ("total_amount", json!("257.00")),
            ("remark", json!("请放在门口")),
            ("shipping_name", json!("张三丰")),
            ("shipping_phone", json!("13800138000")),
            ("shipping_address", json!("大学城北区 8 号楼 404")),
            ("shipping_postal_code", json!("100084")),
        ] {
            assert_eq!(order[member], value, "{member}");
        }
        assert_eq!(order["order_id"], order["order_uuid"]);
        let line = &order["products"][0];
        let kinds =
            "product_id text\nproduct_uuid text\nproduct_name text\nproduct_image text\nprice text\nquantity number";
        assert_eq!(shape(line), members(kinds));
        assert_eq!(
            (
                &line["product_id"],
                &line["product_uuid"],
                &line["product_name"],
                &line["price"],
                &line["quantity"]
            ),
            (
                &json!(bike.id),
                &json!(bike.id),
                &json!("自行车"),
                &json!("128.50"),
                &json!(2)
            )
        );
        // Clients cut date and time out of it.
        let at = order["created_at"].as_str().unwrap();
        assert!(
            at.len() > 19 && at.as_bytes()[10] == b'T' && at.ends_with("+08:00"),
            "{at}"
        );

        for person in [&buyer, &seller] {
            assert_eq!(&person.order(order).await, order, "both sides see the same");
        }
        let list = buyer.get("/api/orders/").expect(200).await.json();
        assert_eq!(
            shape(&list),
            members("count number\nnext null\nprevious null\nresults object")
        );
        assert_eq!(shape(&list["results"]), members("code number\nmessage text\ndata list"));
        assert_eq!(
            (&list["results"]["code"], &list["results"]["data"]),
            (&json!(200), &json!([order]))
        );

        let stats = buyer.get("/api/orders/stats").expect(200).await.json();
        let names = "code number\nmessage text\ntotal_orders number\npending_payment number\npaid_orders number\n\
            completed_orders number\ncancelled_orders number\ntotal_amount text\nrecent_orders number\nrecent_amount text\ndata object";
        assert_eq!(shape(&stats), members(names));
        let older = "total number\npending_payment number\npaid number\ncompleted number\ncancelled number";
        assert_eq!(shape(&stats["data"]), members(older));

        // The members stay in every state.
        buyer.pays(order).await;
        world.settle().await;
        let paid = buyer.order(order).await;
        let with = |changes: &[(&str, &str)]| {
            let lines = ORDER
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(|line| {
                    let (name, _) = line.split_once(' ').unwrap();
                    let changed = changes.iter().find(|(changed, _)| *changed == name);
                    changed.map_or(line.to_owned(), |(name, kind)| format!("{name} {kind}"))
                });
            lines.collect::<Vec<_>>().join("\n")
        };
        let after_payment = with(&[("payment_time", "text"), ("expires_at", "null")]);
        assert_eq!(shape(&paid), members(&after_payment));
        assert_eq!(paid["payment_method"], 0, "how it was really paid");
        let path = format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());
        let cancelled = seller
            .post(&format!("{path}/cancel/"), &json!({"reason": "卖完了"}))
            .expect(200)
            .await;
        assert_eq!(
            shape(&cancelled.json()),
            members("code number\nmessage text\ndata object")
        );
        let after_cancelling = with(&[
            ("payment_time", "text"),
            ("expires_at", "null"),
            ("cancel_reason", "text"),
            ("refund_status", "text"),
        ]);
        assert_eq!(shape(&cancelled.data()), members(&after_cancelling));
        assert_eq!(cancelled.data()["cancel_reason"], "卖完了");
        world.settle().await;
        assert_eq!(buyer.order(order).await["refund_status"], "succeeded");

        let service = world.service_token("payment-service").await;
        for form in ["internal", "internal/orders"] {
            let internal = format!("/api/orders/{form}/{}/", order["order_uuid"].as_str().unwrap());
            let answer = world.get(&internal).bearer(&service).expect(200).await.json();
            assert_eq!(shape(&answer), members("success bool\ndata object"));
            let told = &answer["data"]["order"];
            for member in [
                "order_id",
                "order_uuid",
                "buyer_id",
                "buyer_uuid",
                "seller_id",
                "seller_uuid",
                "total_amount",
            ] {
                assert_eq!(told[member], order[member], "{member}");
            }
            assert_eq!(
                (&told["status"], &told["refund_status"]),
                (&json!(3), &json!("succeeded"))
            );
        }
    });
}

/// The front-end posts, the documents put, older clients patch; some with a slash, some without a body.
#[test]
fn an_order_is_cancelled_and_completed_by_every_verb_with_and_without_slash_and_body() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 20).await;
        for verb in ["POST", "PUT", "PATCH"] {
            for slash in ["", "/"] {
                let order = buyer.orders(&lamp).await;
                let path = format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());
                let cancel = buyer.ask(verb, &format!("{path}/cancel{slash}"));
                let (cancel, reason) = match (verb, slash) {
                    ("POST", "") => (cancel, ""),
                    ("POST", _) => (cancel.raw("application/json", ""), ""),
                    ("PUT", "") => (cancel.json(&json!({})), ""),
                    ("PUT", _) => (cancel.json(&json!({"reason": null})), ""),
                    _ => (cancel.json(&json!({"reason": "买错了"})), "买错了"),
                };
                let cancelled = cancel.expect(200).await;
                assert_eq!(
                    (
                        &cancelled.json()["code"],
                        &cancelled.data()["status"],
                        &cancelled.data()["cancel_reason"]
                    ),
                    (&json!(200), &json!(3), &json!(reason))
                );

                let order = buyer.orders(&lamp).await;
                buyer.pays(&order).await;
                world.settle().await;
                let path = format!("/api/orders/{}/complete{slash}", order["order_uuid"].as_str().unwrap());
                seller.ask(verb, &path).expect(403).await;
                let completed = buyer.ask(verb, &path).expect(200).await;
                assert_eq!(
                    (&completed.json()["code"], &completed.data()["status"]),
                    (&json!(200), &json!(2))
                );
                let again = buyer.ask(verb, &path).expect(200).await;
                assert_eq!(
                    again.data(),
                    completed.data(),
                    "{verb}: completing again changes nothing"
                );
            }
        }
        world.settle().await;
        let list = buyer
            .get("/api/orders?status=completed&page_size=4&page=1&sort=created_asc")
            .expect(200)
            .await
            .json();
        assert_eq!((&list["count"], &list["previous"]), (&json!(6), &Value::Null));
        let next = list["next"].as_str().unwrap();
        for kept in ["status=completed", "page_size=4", "sort=created_asc", "page=2"] {
            assert!(next.contains(kept), "{next}");
        }
        let second = buyer.get(next).expect(200).await.json();
        assert_eq!(second["results"]["data"].as_array().unwrap().len(), 2);
        assert_eq!(second["next"], Value::Null);
        assert!(second["previous"].as_str().unwrap().contains("page=1"));
    });
}

async fn stock(world: &World, product: &Product) -> u64 {
    let answer = world.get(&format!("/api/product/{}/", product.id)).expect(200).await;
    answer.json()["stock"].as_u64().unwrap()
}

/// Its first try had reserved the last pieces when its answer was lost, and the second was told that they were gone.
#[test]
fn an_order_that_is_repeated_finds_what_its_first_try_reserved() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let key = uuid_text();
        let order = OrderId::derived(&[&buyer.id, &key]);
        let reservation = json!({"order_uuid": order, "quantity": 1});
        world
            .post(&format!("/api/products/{}/reserve-stock/", lamp.id), &reservation)
            .bearer(&world.service_token("order-service").await)
            .expect(200)
            .await;

        let again = buyer
            .post("/api/orders/", &lamp.order())
            .header("Idempotency-Key", &key);
        assert_eq!(again.expect(201).await.data()["order_uuid"], json!(order));
        // Somebody else's order finds the shelf empty, with a key and without.
        let other = world.member("别人").await;
        let late = other.post("/api/orders/", &lamp.order());
        assert_eq!(late.clone().expect(409).await.kind(), "out-of-stock");
        let late = late.header("Idempotency-Key", uuid_text());
        assert_eq!(late.expect(409).await.kind(), "out-of-stock");
    });
}
