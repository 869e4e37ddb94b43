//! A user's payments: the list, its counts, one by its own UUID, and the way back from the provider.

use std::collections::BTreeMap;

use cfmp::{Options, Platform};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::inside;
use crate::payments::{cancel_path, payment_path, purchase, text};
use crate::world::{Member, World, in_world, in_world_with, uuid_text};

const RECORDS: &str = "/api/payment/records/";

async fn records(member: &Member<'_>, query: &str) -> Value {
    member.get(&format!("{RECORDS}{query}")).expect(200).await.json()
}

fn ids(list: &Value) -> Vec<String> {
    let entries = list["results"]["data"].as_array().unwrap();
    entries.iter().map(|entry| text(&entry["payment_uuid"])).collect()
}

/// Pending, paid, cancelled, failed: one of each, oldest first.
async fn history(world: &World, buyer: &Member<'_>) -> Vec<Value> {
    let seller = world.member("卖家").await;
    let mut payments = Vec::new();
    for outcome in ["pending", "success", "cancelled", "failed"] {
        let order = buyer.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
        let payment = buyer.starts_paying(&order).await;
        match outcome {
            "success" => buyer.clicks_pay(&payment).await,
            "cancelled" => {
                buyer.ask("PATCH", &cancel_path(&payment)).expect(200).await;
            }
            "failed" => {
                let url = text(&payment["payment_data"]["payment_url"]);
                world
                    .ask("POST", &url)
                    .raw("application/x-www-form-urlencoded", "outcome=fail")
                    .expect(200)
                    .await;
            }
            _ => {}
        }
        payments.push(payment);
    }
    world.settle().await;
    payments
}

#[test]
fn a_user_finds_his_payments_newest_first_and_by_status() {
    in_world(async |world| {
        let buyer = world.member("买家").await;
        let none = records(&buyer, "").await;
        assert_eq!(
            none,
            json!({"count": 0, "next": null, "previous": null, "results": {
                "code": 200, "message": none["results"]["message"], "data": [],
            }})
        );
        let payments = history(world, &buyer).await;
        let newest_first: Vec<String> = payments
            .iter()
            .rev()
            .map(|payment| text(&payment["payment_uuid"]))
            .collect();
        // Without the slash as well, and nothing that the path of an order catches.
        let list = buyer.get("/api/payment/records").expect(200).await.json();
        assert_eq!((list["count"].as_u64(), ids(&list)), (Some(4), newest_first.clone()));
        let statuses: Vec<&Value> = list["results"]["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["status"])
            .collect();
        assert_eq!(statuses, ["failed", "cancelled", "success", "pending"]);
        // An entry is what the payment alone is answered as.
        let alone = buyer.get(&payment_path(&payments[1])).expect(200).await.data();
        assert_eq!(list["results"]["data"][2], alone);
        for (field, of_opened) in payments[0].as_object().unwrap() {
            if field != "status" {
                assert_eq!(&list["results"]["data"][3][field], of_opened, "{field}");
            }
        }

        for (word, number, position) in [
            ("pending", 0, 0),
            ("success", 2, 1),
            ("cancelled", 4, 2),
            ("failed", 3, 3),
        ] {
            for filter in [word.to_owned(), number.to_string()] {
                let list = records(&buyer, &format!("?status={filter}")).await;
                assert_eq!(list["count"], 1, "{filter}");
                assert_eq!(ids(&list), [text(&payments[position]["payment_uuid"])], "{filter}");
            }
        }
        assert_eq!(records(&buyer, "?status=processing").await["count"], 0);
        assert_eq!(records(&buyer, "?status=").await["count"], 4);

        // Pages.
        let mut found = Vec::new();
        for page in 1..=3 {
            let list = records(&buyer, &format!("?page_size=3&page={page}")).await;
            assert_eq!(list["count"], 4);
            assert_eq!(list["next"].is_string(), page < 2, "{list}");
            assert_eq!(list["previous"].is_string(), page > 1, "{list}");
            found.extend(ids(&list));
        }
        assert_eq!(found, newest_first);
        let next = text(&records(&buyer, "?page_size=3&status=2&page=1").await["results"]["data"][0]["payment_uuid"]);
        assert_eq!(next, text(&payments[1]["payment_uuid"]));

        let stranger = world.member("路人").await;
        assert_eq!(records(&stranger, "").await["count"], 0);
    });
}

/// `GET payment/<uuid>/` used to answer 500 always.
#[test]
fn a_payment_is_found_by_its_own_uuid_and_by_its_orders() {
    in_world(async |world| {
        let it = purchase(world).await;
        let first = it.buyer.starts_paying(&it.order).await;
        it.buyer.ask("PUT", &cancel_path(&first)).expect(200).await;
        let second = it.buyer.starts_paying(&it.order).await;
        let by = async |name: &Value| {
            let path = format!("/api/payment/{}", text(name));
            it.buyer.get(&path).expect(200).await.data()["payment_uuid"].clone()
        };
        assert_eq!(by(&it.order["order_uuid"]).await, second["payment_uuid"], "the latest");
        assert_eq!(by(&first["payment_uuid"]).await, first["payment_uuid"]);
        assert_eq!(by(&second["payment_uuid"]).await, second["payment_uuid"]);
        let stranger = world.member("路人").await;
        for name in [&it.order["order_uuid"], &first["payment_uuid"]] {
            for other in [&stranger, &it.seller] {
                other.get(&format!("/api/payment/{}", text(name))).expect(404).await;
            }
        }
        it.buyer.get(&format!("/api/payment/{}", uuid_text())).expect(404).await;
        // A number is that of a migrated order.
        it.buyer.get("/api/payment/999999999/").expect(404).await;
    });
}

async fn scan(platform: &Platform, table: &str) -> Vec<Value> {
    let name = &platform.template().tables[table].name;
    let (status, answer) = platform
        .dynamodb("Scan", &json!({"TableName": name, "ConsistentRead": true}))
        .await;
    assert_eq!(status, 200, "{answer}");
    answer["Items"].as_array().unwrap().clone()
}

/// What a recount of all payments gives, by user and status, against the counts that are kept.
async fn counts_are_a_recount(platform: &Platform) {
    let mut recount: BTreeMap<(String, String), i64> = BTreeMap::new();
    for payment in scan(platform, "PaymentsTable").await {
        let listed = text(&payment["listed_under"]["S"]);
        let (user, status) = listed.split_once(':').unwrap();
        assert_eq!(payment["user_uuid"]["S"], user);
        *recount.entry((user.to_owned(), status.to_owned())).or_default() += 1;
    }
    let mut kept = BTreeMap::new();
    for counts in scan(platform, "PaymentCountsTable").await {
        for (name, count) in counts.as_object().unwrap() {
            if let Some(count) = count["N"].as_str().filter(|count| *count != "0") {
                kept.insert((text(&counts["user_uuid"]["S"]), name.clone()), count.parse().unwrap());
            }
        }
    }
    assert_eq!(kept, recount);
}

#[test]
fn the_counts_are_kept_exactly_whatever_races_and_repeats() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        history(world, &buyer).await;
        // Many orders of one buyer, each opened by racing clicks, then paid and cancelled at once.
        let mut orders = Vec::new();
        for _ in 0..6 {
            orders.push(buyer.orders(&seller.puts_up("书", "9.00", 1).await).await);
        }
        let payments = join_all(orders.iter().map(|order| async {
            let clicks = join_all((0..3).map(|_| buyer.starts_paying(order))).await;
            clicks[0].clone()
        }))
        .await;
        counts_are_a_recount(platform).await;
        join_all(payments.iter().map(|payment| async {
            let path = cancel_path(payment);
            let cancel = buyer.ask("POST", &path).send();
            tokio::join!(cancel, buyer.presses_pay(payment));
        }))
        .await;
        world.settle().await;
        counts_are_a_recount(platform).await;
        // The provider says everything again.
        world.advance(std::time::Duration::from_secs(31 * 60)).await;
        world.settle().await;
        counts_are_a_recount(platform).await;
        assert_eq!(records(&buyer, "?page_size=100").await["count"], 10);
    });
}

/// What a list cost: its calls to the store, and the read units of all of them.
async fn cost(world: &World, platform: &Platform, member: &Member<'_>, query: &str) -> (Vec<String>, f64) {
    world.settle().await;
    let since = platform
        .recording()
        .calls(|_| true)
        .last()
        .map_or(0, |call| call.sequence);
    records(member, query).await;
    let calls = platform.recording().calls(|call| {
        let entry = &call.entry;
        call.sequence > since && entry.function == "ListPaymentsFunction" && entry.target.starts_with("dynamodb:")
    });
    let units = |consumed: &Value| -> f64 {
        let tables = consumed.as_array().cloned().unwrap_or_else(|| vec![consumed.clone()]);
        tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum()
    };
    let consumed = calls
        .iter()
        .filter_map(|call| call.entry.consumed.as_ref())
        .map(units)
        .sum();
    (calls.into_iter().map(|call| call.entry.target).collect(), consumed)
}

/// A list used to cost more with every entry of the history.
#[test]
fn a_page_of_thousands_costs_what_a_page_of_ten_does() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (few, many) = (world.member("买家").await, world.member("买家").await);
        let table = &platform.template().tables["PaymentsTable"].name;
        let counts = &platform.template().tables["PaymentCountsTable"].name;
        for (member, size) in [(&few, 10_usize), (&many, 3_000)] {
            for batch in 0..size.div_ceil(25) {
                let of_batch = (batch * 25)..size.min(batch * 25 + 25);
                let puts: Vec<Value> = of_batch
                    .map(|number| {
                        let at = (1_000_000 + number).to_string();
                        json!({"PutRequest": {"Item": {
                            "payment_uuid": {"S": uuid::Uuid::new_v4()}, "order_uuid": {"S": uuid::Uuid::new_v4()},
                            "user_uuid": {"S": member.id}, "listed_under": {"S": format!("{}:cancelled", member.id)},
                            "amount": {"N": "1990"}, "method": {"S": "alipay"}, "provider": {"S": "sandbox"},
                            "subject": {"S": "x"}, "created_at": {"N": at}, "updated_at": {"N": at},
                            "expires_at": {"N": at}, "status": {"S": "closed"}, "checks": {"N": "0"},
                            "ledger": {"M": {"entries": {"L": []}, "refund_reserved": {"N": "0"}}}, "version": {"N": "1"},
                        }}})
                    })
                    .collect();
                let (status, answer) = platform
                    .dynamodb("BatchWriteItem", &json!({"RequestItems": {table: puts}}))
                    .await;
                assert_eq!(status, 200, "{answer}");
            }
            let item = json!({"user_uuid": {"S": member.id}, "cancelled": {"N": size.to_string()}});
            let (status, answer) = platform
                .dynamodb("PutItem", &json!({"TableName": counts, "Item": item}))
                .await;
            assert_eq!(status, 200, "{answer}");
        }
        let (calls, units) = cost(world, platform, &few, "").await;
        assert_eq!(calls.len(), 3, "{calls:?}");
        for query in ["", "?status=4", "?page=300", "?status=cancelled&page=300"] {
            assert_eq!(
                cost(world, platform, &many, query).await,
                (calls.clone(), units),
                "{query}"
            );
        }
        let (middle, middle_units) = cost(world, platform, &many, "?page=150").await;
        assert_eq!(middle, calls, "{middle:?}");
        println!("a page of 10 payments, of 10 or of 3000: {units} RCU; the middle one of 3000: {middle_units} RCU");
        let list = records(&many, "?page=300").await;
        assert_eq!(ids(&list).len(), 10);
        assert_eq!(records(&many, "?page=301").await["results"]["data"], json!([]));
    });
}

/// Back from the provider's page; the configured address, told of the order and nothing else.
#[test]
fn a_returning_browser_is_sent_to_the_configured_page() {
    let template = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let (parameter, rest) = template.split_once("  PaymentReturnPage:").unwrap();
    let page = "https://market.example.edu/payment?from=provider";
    let configured = rest.replacen("Default: \"\"", &format!("Default: \"{page}\""), 1);
    let folder = std::env::temp_dir().join(format!("cfmp-return-{}", uuid_text()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("template.yaml");
    std::fs::write(&file, format!("{parameter}  PaymentReturnPage:{configured}")).unwrap();
    in_world_with(
        Options {
            template: file,
            ..Options::test()
        },
        async |world| {
            let Some(platform) = world.platform() else { return };
            let it = purchase(world).await;
            let payment = it.buyer.starts_paying(&it.order).await;
            let back = format!(
                "/api/payment/callback/alipay?out_trade_no={}&trade_status=TRADE_SUCCESS&page=https://evil.example",
                text(&payment["payment_uuid"])
            );
            let moment = inside::now(platform);
            let answer = world.get(&back).expect(303).await;
            assert_eq!(
                answer.headers["location"].to_str().unwrap(),
                format!("{page}&order_uuid={}", text(&it.order["order_uuid"]))
            );
            let written = inside::writes(platform, "PaymentCallbackFunction", moment);
            assert_eq!(written, [""; 0], "what the browser claims changes nothing");
            assert_eq!(it.payment().await["status"], "pending");

            for nothing in [
                "",
                &format!("?out_trade_no={}", uuid_text()),
                "?returnUrl=//evil.example",
            ] {
                let answer = world
                    .get(&format!("/api/payment/callback/wechat_pay/{nothing}"))
                    .expect(303)
                    .await;
                assert_eq!(answer.headers["location"], page, "{nothing}");
            }
        },
    );
    std::fs::remove_dir_all(folder).unwrap();
}
