//! Lists of orders: what they show, and that a long history costs no more than a short one.

use std::time::Duration;

use cfmp::Platform;
use contracts::orders::CancelledBy;
use contracts::payments::PaymentMethod;
use http::StatusCode;
use kernel::{BuyerId, Money, OrderId, PaymentId, ProductId, Quantity, SellerId, Timestamp};
use orders::delivery::{Particulars, Seal};
use orders::order::{Line, Order, Paid, State};
use orders::statistics::Figures;
use orders::table::OrderRecord;
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Answer, Member, World, in_world};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The orders of a buyer and a seller who met nobody else, as they come from the older system.
struct History<'a> {
    buyer: Member<'a>,
    seller: Member<'a>,
    orders: Vec<Order>,
}

/// Puts `count` orders into the tables, the last of them a minute ago: four of five completed, the rest cancelled, but
/// the last two pending and paid.
async fn import<'a>(platform: &Platform, people: [Member<'a>; 2], count: u64, first_number: u64) -> History<'a> {
    let seed = platform
        .aws()
        .secrets()
        .value("SealingSecret")
        .unwrap()
        .parse()
        .unwrap();
    let seal = Seal::derive(&seed).unwrap();
    let now = Timestamp::from_millis(platform.clock().now_ms());
    let [buyer, seller] = people;
    let order = |number: u64| {
        let age = u32::try_from(count - number).unwrap();
        let is_under_way = number + 2 >= count;
        let at = now.minus(if is_under_way {
            MINUTE * age
        } else {
            DAY * 3 + MINUTE * age
        });
        let fen = i64::try_from(100 + number * 7919 % 50_000).unwrap();
        let id = OrderId::random();
        let line = Line {
            product_uuid: ProductId::random(),
            title: "书".to_owned(),
            image: String::new(),
            price: Money::from_fen(fen).unwrap(),
            quantity: Quantity::new(1).unwrap(),
        };
        let particulars = Particulars {
            shipping_name: "张三丰".parse().unwrap(),
            shipping_phone: "13800138000".parse().unwrap(),
            shipping_address: "大学城北区 8 号楼 404".parse().unwrap(),
            shipping_postal_code: None,
            remark: None,
        };
        let paid = Paid {
            payment_uuid: PaymentId::random(),
            method: PaymentMethod::Alipay,
            at,
        };
        let state = match number {
            _ if number + 1 == count => State::PendingPayment {
                expires_at: at.plus(MINUTE * 30),
            },
            _ if is_under_way => State::Paid {
                paid,
                completes_at: at.plus(DAY * 7),
                reminded: false,
            },
            _ if number.is_multiple_of(5) => State::Cancelled {
                paid: None,
                by: CancelledBy::Buyer,
                reason: String::new(),
                at,
            },
            _ => State::Completed { paid, at },
        };
        Order {
            id,
            legacy_id: Some(first_number + number),
            buyer: BuyerId::from(buyer.id.parse::<uuid::Uuid>().unwrap()),
            seller: SellerId::from(seller.id.parse::<uuid::Uuid>().unwrap()),
            total: line.price,
            lines: vec![line],
            particulars: seal.seal(id, &particulars).unwrap(),
            intended_method: None,
            placed_at: at,
            updated_at: at,
            state,
            refunds: Vec::new(),
            fingerprint: None,
            hidden: false,
            version: 1,
        }
    };
    let orders: Vec<Order> = (0..count).map(order).collect();

    let tables = &platform.template().tables;
    // Streams pass over what is imported, so whoever imports it counts it.
    let mut figures = Figures::default();
    for order in &orders {
        figures.import(order, now);
    }
    let figures: serde_dynamo::Item = serde_dynamo::to_item(&figures).unwrap();
    for (user, role) in [(&buyer.id, "buyer"), (&seller.id, "seller")] {
        let item = json!({
            "user_uuid": {"S": user}, "role": {"S": role}, "version": {"N": "1000"}, "figures": {"M": figures},
        });
        let request = json!({"TableName": tables["OrderStatisticsTable"].name, "Item": item});
        let (status, answer) = platform.dynamodb("PutItem", &request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let table = &tables["OrdersTable"].name;
    for some in orders.chunks(25) {
        let puts: Vec<Value> = some
            .iter()
            .map(|order| {
                let item: serde_dynamo::Item = serde_dynamo::to_item(OrderRecord::from(order)).unwrap();
                let mut item = json!(item);
                item["imported_at"] = json!({"N": now.millis().to_string()});
                json!({"PutRequest": {"Item": item}})
            })
            .collect();
        let (status, answer) = platform
            .dynamodb("BatchWriteItem", &json!({"RequestItems": {table: puts}}))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    History { buyer, seller, orders }
}

/// What a list was asked to do: round trips of the function, and request units.
#[derive(Debug, PartialEq)]
struct Cost {
    calls: Vec<String>,
    units: f64,
}

/// A machine that is busy with other tests may take longer over thousands of rows than a function waits; then it is asked
/// again.
async fn measured(world: &World, member: &Member<'_>, path: &str) -> (Answer, Cost) {
    let platform = world.platform().unwrap();
    let (moment, answer) = loop {
        let moment = inside::now(platform);
        let answer = member.get(path).send().await;
        match answer.status {
            StatusCode::OK => break (moment, answer),
            StatusCode::SERVICE_UNAVAILABLE => world.expect_failures(1),
            status => panic!("{path}: {status}: {}", answer.text()),
        }
    };
    let calls = inside::recorded_calls(platform, "ListOrdersFunction", moment);
    let units = calls.iter().map(|call| {
        let units = |table: &Value| table["CapacityUnits"].as_f64().unwrap_or(0.0);
        match &call.consumed {
            Some(Value::Array(tables)) => tables.iter().map(units).sum(),
            Some(table) => units(table),
            None => 0.0,
        }
    });
    let units = units.sum();
    let mut calls: Vec<String> = calls.into_iter().map(|call| call.target).collect();
    calls.sort();
    (answer, Cost { calls, units })
}

fn ids(answer: &Answer) -> Vec<String> {
    let orders = answer.json()["results"]["data"].as_array().unwrap().clone();
    orders
        .iter()
        .map(|order| order["order_uuid"].as_str().unwrap().to_owned())
        .collect()
}

/// What the list should show: the ids of all pages.
fn expected(orders: &[Order], status: &str, sort: &str) -> Vec<String> {
    let mut wanted: Vec<&Order> = orders
        .iter()
        .filter(|order| status == "all" || order.status().word() == status)
        .collect();
    match sort {
        "created_desc" | "created_asc" => wanted.sort_by_key(|order| order.placed_at),
        _ => wanted.sort_by_key(|order| (order.total, order.placed_at)),
    }
    if sort.ends_with("desc") {
        wanted.reverse();
    }
    wanted.iter().map(|order| order.id.to_string()).collect()
}

/// A list once read the whole history, and then looked up two users for every order on it.
#[test]
fn a_page_of_ten_thousand_orders_takes_the_same_calls_as_one_of_ten() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let people = async || [world.member("买家").await, world.member("卖家").await];
        let long = import(platform, people().await, 10_000, 1_000_000).await;
        let short = import(platform, people().await, 10, 1).await;
        world.settle().await;

        // The first call of an instance fetches keys and secrets.
        for history in [&long, &short] {
            history.buyer.get("/api/orders/").expect(200).await;
        }
        println!(
            "{:<32} {:<14} {:>12} {:>12} {:>6} {:>6}",
            "list", "page", "calls/10000", "calls/10", "RCU", "RCU"
        );
        for (list, statuses, sorts) in [
            (
                "/api/orders",
                &["all", "pending_payment", "paid", "completed", "cancelled"][..],
                &["created_desc", "created_asc", "amount_desc", "amount_asc"][..],
            ),
            (
                "/api/orders/sold",
                &["all", "completed"],
                &["created_desc", "amount_asc"],
            ),
        ] {
            for status in statuses {
                for sort in sorts {
                    let compared = compare(world, [&long, &short], list, status, sort);
                    compared.await;
                }
            }
        }
    });
}

/// The first page, one in the middle and the last one, with one order each: all of them show what they should, and take
/// the same calls for the long history and for the short one.
async fn compare(world: &World, histories: [&History<'_>; 2], list: &str, status: &str, sort: &str) {
    let wanted = histories.map(|history| expected(&history.orders, status, sort));
    for place in ["first", "middle", "last"] {
        let mut costs = Vec::new();
        for (history, wanted) in histories.into_iter().zip(&wanted) {
            let page = match place {
                "first" => 1,
                "middle" => wanted.len().div_ceil(2),
                _ => wanted.len(),
            };
            let path = format!("{list}/?status={status}&sort={sort}&page_size=1&page={page}");
            let member = if list.ends_with("sold") {
                &history.seller
            } else {
                &history.buyer
            };
            let (answer, cost) = measured(world, member, &path).await;
            assert_eq!(ids(&answer), wanted[page - 1..page], "{path}");
            assert_eq!(answer.json()["count"], wanted.len(), "{path}");
            assert_eq!(answer.json()["next"].is_null(), page == wanted.len(), "{path}");
            // No call to UserService or anybody else: tables only, and few of them.
            assert!(
                cost.calls.len() <= 5 && cost.calls.iter().all(|call| call.starts_with("dynamodb:")),
                "{path}: {cost:?}"
            );
            costs.push(cost);
        }
        let [long, short] = costs.try_into().unwrap();
        println!(
            "{list:<18} {status:<15} {sort:<13} {place:<8} {:>6} {:>6} {:>7.1} {:>7.1}",
            long.calls.len(),
            short.calls.len(),
            long.units,
            short.units
        );
        assert_eq!(long.calls, short.calls, "{list} {status} {sort} {place}");
        if place != "middle" {
            assert!(
                long.units <= short.units + 0.5,
                "{list} {status} {sort} {place}: {} {}",
                long.units,
                short.units
            );
        }
    }
    // Past the end is an empty page, which needs no orders.
    let (answer, _) = measured(
        world,
        &histories[0].buyer,
        &format!("/api/orders/?status={status}&sort={sort}&page=1000000&page_size=100"),
    )
    .await;
    assert_eq!(ids(&answer), [""; 0]);
}

/// Before, the announcements of orders knew history by themselves, and those of payments not at all.
#[test]
fn history_is_told_to_nobody_and_what_follows_from_it_is() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let people = [world.member("买家").await, world.member("卖家").await];
        let History { buyer, seller, orders } = import(platform, people, 5, 1).await;
        world.settle().await;
        assert_eq!((buyer.notices().await.len(), seller.notices().await.len()), (0, 0));
        let statistics = buyer.get("/api/orders/stats/").expect(200).await.json();
        assert_eq!(
            (&statistics["total_orders"], &statistics["pending_payment"]),
            (&json!(5), &json!(1))
        );

        let pending = buyer.order(&json!({"order_uuid": orders.last().unwrap().id})).await;
        buyer.pays(&pending).await;
        world.settle().await;
        assert_eq!(buyer.order(&pending).await["status"], 1);
        assert!(!buyer.notices().await.is_empty() && !seller.notices().await.is_empty());
        let statistics = buyer.get("/api/orders/stats/").expect(200).await.json();
        assert_eq!(
            (&statistics["total_orders"], &statistics["pending_payment"]),
            (&json!(5), &json!(0))
        );
    });
}

#[test]
fn a_buyer_takes_what_has_ended_off_his_lists_and_nothing_is_lost() {
    in_world(async |world| {
        let (seller, buyer, stranger) = (
            world.member("卖家").await,
            world.member("买家").await,
            world.member("路人").await,
        );
        let mut orders = Vec::new();
        for price in ["30.00", "10.00", "20.00"] {
            orders.push(buyer.orders(&seller.puts_up("书", price, 1).await).await);
        }
        let [kept, cancelled, completed] = &orders[..] else {
            panic!("three orders")
        };
        buyer.cancels(cancelled, "").await;
        buyer.pays(completed).await;
        world.settle().await;
        let path = |order: &Value| format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());

        // What is under way stays.
        for (order, status) in [(kept, "pending_payment"), (completed, "paid")] {
            let refused = buyer.ask("DELETE", &path(order)).expect(409).await;
            assert_eq!(refused.kind(), "order-not-deletable");
            assert_eq!(refused.json()["order_status"], status);
        }
        buyer
            .ask("POST", &format!("{}/complete", path(completed)))
            .expect(200)
            .await;
        world.settle().await;
        let before = buyer.get("/api/orders/stats/").expect(200).await.json();
        stranger.ask("DELETE", &path(completed)).expect(404).await;
        seller.ask("DELETE", &path(completed)).expect(403).await;

        for order in [cancelled, completed] {
            for slash in ["", "/", ""] {
                let answer = buyer
                    .ask("DELETE", &format!("{}{slash}", path(order)))
                    .expect(200)
                    .await
                    .json();
                assert_eq!((&answer["code"], &answer["data"]), (&json!(200), &Value::Null));
            }
        }
        world.settle().await;
        for query in [
            "",
            "?status=cancelled",
            "?status=completed",
            "?sort=amount_desc",
            "?sort=amount_asc",
            "?sort=created_asc",
        ] {
            let list = buyer.get(&format!("/api/orders/{query}")).expect(200).await;
            let shown = if query.contains("status") {
                vec![]
            } else {
                vec![kept["order_uuid"].as_str().unwrap()]
            };
            assert_eq!(ids(&list), shown, "{query}");
            assert_eq!(list.json()["count"], shown.len(), "{query}");
        }
        let sold = seller.get("/api/orders/sold/").expect(200).await.json();
        assert_eq!(sold["count"], 3);
        for person in [&buyer, &seller] {
            let order = person.order(cancelled).await;
            assert_eq!(order["status"], 3);
        }
        assert_eq!(
            buyer.get("/api/orders/stats/").expect(200).await.json(),
            before,
            "it still counts"
        );
        assert_eq!(
            buyer.notices().await.len(),
            6,
            "three placed, one cancelled, paid, completed: nobody is told"
        );
    });
}

#[test]
fn an_order_of_the_older_system_answers_to_its_integer() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let people = [world.member("买家").await, world.member("卖家").await];
        let History { buyer, seller, orders } = import(platform, people, 12, 100).await;
        let stranger = world.member("路人").await;
        world.settle().await;
        assert_eq!(buyer.notices().await.len(), 0, "the older system told of them");
        let at = |number: u64| {
            (
                format!("/api/orders/{}/", 100 + number),
                orders[usize::try_from(number).unwrap()].id,
            )
        };

        let (path, id) = at(1);
        for person in [&buyer, &seller] {
            let order = person.get(&path).expect(200).await.data();
            assert_eq!((&order["order_id"], &order["order_uuid"]), (&json!(id), &json!(id)));
        }
        stranger.get(&path).expect(404).await;
        for nothing in ["99", "112", "0", "18446744073709551615"] {
            buyer.get(&format!("/api/orders/{nothing}/")).expect(404).await;
        }
        for nonsense in ["-1", "1.5", "1e2", "18446744073709551616"] {
            let refused = buyer.get(&format!("/api/orders/{nonsense}/")).expect(400).await;
            assert!(refused.json()["error"]["fields"]["order_id"].is_string());
        }
        let service = world.service_token("payment-service").await;
        for form in ["/api/orders/internal", "/api/orders/internal/orders"] {
            let (path, id) = (format!("{form}/111/"), at(11).1);
            let seen = world.get(&path).bearer(&service).expect(200).await.json();
            assert_eq!(seen["data"]["order"]["order_uuid"], json!(id));
            world.get(&format!("{form}/112/")).bearer(&service).expect(404).await;
        }

        // What is done to it, by its integer as by its id.
        for (action, refused) in [("cancel", 409), ("complete", 403)] {
            let path = format!("/api/orders/{}/{action}/", if action == "cancel" { 111 } else { 110 });
            stranger.ask("PATCH", &path).expect(404).await;
            seller.ask("PATCH", &path).expect(refused).await;
        }
        buyer.ask("DELETE", &path).expect(200).await;
        buyer.ask("DELETE", "/api/orders/110/").expect(409).await;
        world.settle().await;
        let stats = buyer.get("/api/orders/stats/").expect(200).await.json();
        assert_eq!(
            (
                &stats["total_orders"],
                &stats["completed_orders"],
                &stats["cancelled_orders"]
            ),
            (&json!(12), &json!(8), &json!(2))
        );
        assert_eq!(buyer.get("/api/orders/").expect(200).await.json()["count"], 11);
    });
}

/// The filter once began its days at midnight UTC: from 00:00 to 08:00 local time, today's orders were missing.
#[test]
fn administrators_see_every_order_of_the_last_days_of_their_zone_today_included() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let administrator = inside::administrator(world, platform).await;
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        for day in ["?day=0", "?day=7", "?day=-5", "?day=x", "?day=5.0"] {
            let refused = administrator.get(&format!("/api/root/order/{day}")).expect(400).await;
            assert!(refused.json()["error"]["fields"]["day"].is_string(), "{day}");
        }
        buyer.get("/api/root/order/?day=5").expect(403).await;

        let to_local = async |hour: u64, minute: u64, days: u64| {
            const DAY_MS: u64 = 24 * 60 * 60 * 1000;
            let now = u64::try_from(platform.clock().now_ms()).unwrap() + 8 * 60 * 60 * 1000;
            let today = now - now % DAY_MS;
            let mut at = today + (hour * 60 + minute) * 60 * 1000 + days * DAY_MS;
            if at <= now {
                at += DAY_MS;
            }
            world.advance(Duration::from_millis(at - now)).await;
        };
        let order = async || {
            let (seller, buyer) = (world.log_in(&seller.email).await, world.log_in(&buyer.email).await);
            buyer.orders(&seller.puts_up("书", "9.00", 1).await).await
        };
        let shown = async |day: u32| {
            let administrator = world.log_in(&administrator.email).await;
            let answer = administrator
                .get(&format!("/api/root/order/?day={day}"))
                .expect(200)
                .await;
            assert_eq!(answer.json()["code"], 200);
            let orders = answer.data().as_array().unwrap().clone();
            orders.iter().map(|order| order["order_id"].clone()).collect::<Vec<_>>()
        };

        to_local(23, 30, 0).await;
        let late = order().await["order_uuid"].clone();
        to_local(0, 10, 0).await;
        let early = order().await["order_uuid"].clone();
        to_local(3, 0, 0).await;
        let placed = order().await;
        let night = placed["order_uuid"].clone();
        assert_eq!(
            shown(5).await,
            [night.clone(), early.clone(), late.clone()],
            "newest first"
        );
        let administrator = world.log_in(&administrator.email).await;
        let listed = administrator.get("/api/root/order?day=5").expect(200).await.data();
        assert_eq!(
            listed[0],
            json!({
                "order_id": placed["order_id"], "created_at": placed["created_at"],
                "total_amount": "9.00", "status": 0,
            })
        );
        // Four days on, the day of the second and third is the first of five.
        to_local(7, 59, 4).await;
        world.settle().await;
        assert_eq!(shown(5).await, [night.clone(), early.clone()]);
        assert_eq!(shown(10).await, [night.clone(), early.clone(), late.clone()]);
        to_local(0, 1, 0).await;
        assert_eq!(shown(5).await, [""; 0]);
        assert_eq!(shown(15).await, [night, early, late]);
        world.settle().await;
    });
}
