//! A day of our books against the providers' statements, with the simulated Alipay and WeChat Pay: they write statements in
//! their own formats from books of their own.

use std::time::Duration;

use cfmp::simulator::{Operation, Spoiling, Switches};
use cfmp::{Options, Platform};
use http::StatusCode;
use serde_json::{Value, json};

use crate::inside;
use crate::payments::text;
use crate::world::{Member, World, in_world, in_world_with};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const METHODS: [&str; 2] = ["alipay", "wechat_pay"];

/// A market, the time of which is told by the clocks of Beijing.
struct Market<'a> {
    world: &'a World,
    platform: &'a Platform,
}

/// A paid order.
struct Sale<'a> {
    seller: Member<'a>,
    buyer: Member<'a>,
    order: Value,
    payment: Value,
    /// The number of its trade.
    number: String,
}

impl<'a> Market<'a> {
    /// Opens at noon.
    async fn open(world: &'a World) -> Option<Self> {
        let market = Self {
            world,
            platform: world.platform()?,
        };
        market.wait_until(1, 12 * HOUR_MS).await;
        Some(market)
    }

    fn local_ms(&self) -> i64 {
        self.platform.clock().now_ms() + 8 * HOUR_MS
    }

    /// Moves the clock to so long after the midnight before the day that is so many days ahead.
    async fn wait_until(&self, days: i64, into_the_day: i64) {
        let now = self.local_ms();
        let until = now - now.rem_euclid(DAY_MS) + days * DAY_MS + into_the_day;
        let span = Duration::from_millis(u64::try_from(until - now).unwrap());
        self.world.advance(span).await;
        self.world.settle().await;
    }

    /// `2026-01-31`, so many days from now.
    fn day(&self, days: i64) -> String {
        let at = kernel::Timestamp::from_millis(self.local_ms() + days * DAY_MS);
        at.to_string()[..10].to_owned()
    }

    async fn starts(&self, method: &str) -> Sale<'a> {
        let (seller, buyer) = (self.world.member("卖家").await, self.world.member("买家").await);
        // A title as a seller may type it, in the hope to move a column.
        let product = seller.puts_up("台灯,`九成新\",\"1", "19.90", 1).await;
        let order = buyer.orders(&product).await;
        let wish = json!({
            "order_uuid": order["order_uuid"], "payment_method": method, "amount": order["total_amount"],
            "channel": "qr_code",
        });
        let payment = buyer.post("/api/payment/create/", &wish).expect(201).await.data();
        let number = text(&payment["payment_uuid"]).replace('-', "");
        Sale {
            seller,
            buyer,
            order,
            payment,
            number,
        }
    }

    async fn sells(&self, method: &str) -> Sale<'a> {
        let sale = self.starts(method).await;
        self.platform.simulator().unwrap().pay(&sale.number).unwrap();
        self.world.settle().await;
        sale
    }

    async fn gives_back(&self, sale: &Sale<'_>, amount: &str) {
        let path = format!("/api/payment/{}/refund/", text(&sale.order["order_uuid"]));
        let part = json!({"refund_amount": amount});
        sale.buyer.post(&path, &part).expect(201).await;
        self.world.settle().await;
    }

    async fn administrator(&self) -> Member<'a> {
        inside::administrator(self.world, self.platform).await
    }

    fn switches(&self, of: Option<&str>, switches: &Switches) {
        self.platform.simulator().unwrap().set_switches(of, switches).unwrap();
    }

    async fn dynamodb(&self, operation: &str, table: &str, mut request: Value) -> Value {
        request["TableName"] = json!(self.platform.template().tables[table].name);
        let (status, answer) = self.platform.dynamodb(operation, &request).await;
        assert_eq!(status, StatusCode::OK, "{operation} {table}: {answer}");
        answer
    }

    /// Enters the same once more under an id of its own, as if something had gone wrong with us.
    async fn doubles(&self, table: &str, key: &str, id: &str) -> String {
        let find = json!({"Key": {key: {"S": id}}, "ConsistentRead": true});
        let mut item = self.dynamodb("GetItem", table, find).await["Item"].clone();
        let double = uuid::Uuid::new_v4().to_string();
        item[key] = json!({"S": double});
        self.dynamodb("PutItem", table, json!({"Item": item})).await;
        double
    }

    async fn refund_of(&self, sale: &Sale<'_>) -> String {
        let refunds = self.dynamodb("Scan", "RefundsTable", json!({})).await;
        let mut refunds = refunds["Items"].as_array().unwrap().iter();
        let found = refunds.find(|refund| refund["payment_uuid"]["S"] == sale.payment["payment_uuid"]);
        text(&found.unwrap()["refund_uuid"]["S"])
    }
}

fn path(method: &str, query: &str) -> String {
    format!("/api/payment/reconciliation/{method}/?{query}")
}

async fn report(administrator: &Member<'_>, method: &str, day: &str) -> Value {
    let asked = administrator.get(&path(method, &format!("day={day}")));
    asked.expect(200).await.data()
}

/// Kinds and what they are about, in order.
fn differences(report: &Value) -> Vec<(String, Value)> {
    let differences = report["differences"].as_array().unwrap();
    assert_eq!(report["difference_count"], differences.len(), "{report:#}");
    let mut found: Vec<_> = differences
        .iter()
        .map(|difference| (text(&difference["kind"]), difference["out_trade_no"].clone()))
        .collect();
    found.sort_by_key(|(kind, number)| (kind.clone(), number.to_string()));
    found
}

fn sums(payments: (u64, i64), refunds: (u64, i64)) -> Value {
    let sum = |(count, fen)| json!({"count": count, "fen": fen});
    json!({"payments": sum(payments), "refunds": sum(refunds)})
}

#[test]
fn a_day_on_which_nothing_went_wrong_has_no_differences() {
    in_world_with(Options::simulated(), async |world| {
        let Some(market) = Market::open(world).await else {
            return;
        };
        for method in METHODS {
            market.sells(method).await;
            let sale = market.sells(method).await;
            market.gives_back(&sale, "5.00").await;
            market.gives_back(&sale, "0.90").await;
            let sale = market.sells(method).await;
            sale.seller.cancels(&sale.order, "卖完了").await;
            // Nobody pays this one.
            market.starts(method).await;
        }
        world.settle().await;
        market.wait_until(1, 11 * HOUR_MS).await;
        let administrator = market.administrator().await;
        for method in METHODS {
            let found = report(&administrator, method, &market.day(-1)).await;
            let all = sums((3, 5970), (3, 2580));
            assert_eq!(
                found,
                json!({
                    "payment_method": method, "day": market.day(-1), "agrees": true, "difference_count": 0,
                    "differences": [], "totals": {"ours": all, "theirs": all},
                })
            );
            // Yesterday is what is meant where nothing is said.
            let asked = administrator.get(&path(method, "")).expect(200).await;
            assert_eq!(asked.data(), found);
            // A day on which nothing moved has no statement, and needs none.
            let none = sums((0, 0), (0, 0));
            let found = report(&administrator, method, &market.day(-2)).await;
            assert_eq!(found["totals"], json!({"ours": none, "theirs": none}));
            assert_eq!(found["agrees"], true);
        }
    });
}

#[test]
fn each_difference_is_listed_with_both_sides() {
    in_world_with(Options::simulated(), async |world| {
        let Some(market) = Market::open(world).await else {
            return;
        };
        let mut expected = Vec::new();
        for method in METHODS {
            let kind = |kind: &str, number: &str| (kind.to_owned(), json!(number));
            // A person gives money back on the provider's own pages.
            let by_hand = market.sells(method).await;
            let simulator = market.platform.simulator().unwrap();
            simulator.refund(&by_hand.number, 100).unwrap();
            world.settle().await;
            // Our record of a payment is gone.
            let lost = market.sells(method).await;
            let key = json!({"Key": {"payment_uuid": {"S": lost.payment["payment_uuid"]}}});
            market.dynamodb("DeleteItem", "PaymentsTable", key).await;
            // The provider told of another amount than its statement has.
            let held = market.starts(method).await;
            let wrong = Switches {
                wrong_amount_fen: Some(1),
                ..Switches::default()
            };
            market.switches(Some(&held.number), &wrong);
            simulator.pay(&held.number).unwrap();
            world.settle().await;
            // What is entered twice has no second half.
            let sale = market.sells(method).await;
            market.gives_back(&sale, "5.00").await;
            let id = text(&sale.payment["payment_uuid"]);
            let double = market.doubles("PaymentsTable", "payment_uuid", &id).await;
            let refund = market.refund_of(&sale).await;
            market.doubles("RefundsTable", "refund_uuid", &refund).await;
            let other = json!({
                "Key": {"refund_uuid": {"S": refund}},
                "UpdateExpression": "SET amount = :less",
                "ExpressionAttributeValues": {":less": {"N": "499"}},
            });
            market.dynamodb("UpdateItem", "RefundsTable", other).await;
            // Paid on another day, by our books.
            let moved = market.sells(method).await;
            let earlier = market.platform.clock().now_ms() - DAY_MS;
            let earlier = json!({
                "Key": {"payment_uuid": {"S": moved.payment["payment_uuid"]}},
                "UpdateExpression": "SET receipt.paid_at = :earlier",
                "ExpressionAttributeValues": {":earlier": {"N": earlier.to_string()}},
            });
            market.dynamodb("UpdateItem", "PaymentsTable", earlier).await;
            world.settle().await;
            expected.push([
                kind("amount-differs", &held.number),
                kind("held-for-a-person", &held.number),
                kind("missing-at-provider", &double.replace('-', "")),
                kind("missing-here", &lost.number),
                kind("paid-on-another-day", &moved.number),
                kind("refund-amount-differs", &sale.number),
                kind("refund-missing-at-provider", &sale.number),
                kind("refund-missing-here", &by_hand.number),
            ]);
        }
        market.wait_until(1, 11 * HOUR_MS).await;
        let administrator = market.administrator().await;
        for (method, expected) in METHODS.into_iter().zip(expected) {
            let found = report(&administrator, method, &market.day(-1)).await;
            assert_eq!(differences(&found), expected, "{method}: {found:#}");
            assert_eq!(found["agrees"], false);
            assert_eq!(found["totals"]["theirs"], sums((5, 9950), (2, 600)));
            assert_eq!(found["totals"]["ours"], sums((4, 5971), (2, 999)));
            let of = |kind: &str| {
                let mut all = found["differences"].as_array().unwrap().iter();
                all.find(|difference| difference["kind"] == kind).unwrap().clone()
            };
            let lost = of("missing-here");
            assert_eq!((&lost["payment_uuid"], &lost["ours"]), (&Value::Null, &Value::Null));
            assert_eq!(lost["theirs"]["fen"], 1990);
            let held = of("held-for-a-person");
            assert_eq!(held["ours"]["status"], "mismatch");
            assert_eq!(
                (&held["ours"]["fen"], &held["ours"]["asked_fen"]),
                (&json!(1), &json!(1990))
            );
            assert_eq!(held["theirs"]["fen"], 1990);
            let by_hand = of("refund-missing-here");
            assert!(by_hand["payment_uuid"].is_string() && by_hand["order_uuid"].is_string());
            assert_eq!(
                (&by_hand["refund_uuid"], &by_hand["ours"]),
                (&Value::Null, &Value::Null)
            );
            assert!(text(&by_hand["out_refund_no"]).starts_with("person_"));
            let refund = of("refund-missing-at-provider");
            assert_eq!(refund["ours"]["status"], "succeeded");
            assert!(refund["refund_uuid"].is_string() && refund["theirs"].is_null());

            table_is_as_the_report(&administrator, method, &market.day(-1), &found).await;
        }
    });
}

/// What the books of the day do not have is looked up by its number, and shown as it stands.
#[test]
fn a_line_whose_payment_or_refund_stands_otherwise_here_says_how() {
    in_world_with(Options::simulated(), async |world| {
        let Some(platform) = world.platform() else { return };
        for method in METHODS {
            look_up(world, platform, method).await;
        }
    });
}

/// Has one line of a payment and one of a refund that the report has to look up.
pub async fn look_up(world: &World, platform: &Platform, method: &str) {
    let market = Market { world, platform };
    market.wait_until(1, 12 * HOUR_MS).await;
    let sale = market.sells(method).await;
    market.gives_back(&sale, "5.00").await;
    let refund = market.refund_of(&sale).await;
    let stands = |key: Value, word: &str, forgotten: &str| {
        json!({
            "Key": key,
            "UpdateExpression": format!("SET #status = :word REMOVE {forgotten}"),
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":word": {"S": word}},
        })
    };
    let payment = json!({"payment_uuid": {"S": sale.payment["payment_uuid"]}});
    let expired = stands(payment, "expired", "receipt, settled_day");
    market.dynamodb("UpdateItem", "PaymentsTable", expired).await;
    let given_up = stands(json!({"refund_uuid": {"S": refund}}), "needs_human", "settled_day");
    market.dynamodb("UpdateItem", "RefundsTable", given_up).await;
    world.settle().await;

    market.wait_until(1, 11 * HOUR_MS).await;
    let administrator = market.administrator().await;
    let found = report(&administrator, method, &market.day(-1)).await;
    let seen: Vec<_> = found["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| {
            (
                &difference["kind"],
                &difference["ours"]["status"],
                &difference["ours"]["fen"],
            )
        })
        .collect();
    let expected = [
        (&json!("missing-here"), &json!("expired"), &Value::Null),
        (&json!("refund-missing-here"), &json!("needs_human"), &json!(500)),
    ];
    assert_eq!(seen, expected, "{found:#}");
    assert_eq!(found["differences"][0]["payment_uuid"], sale.payment["payment_uuid"]);
    assert_eq!(found["differences"][1]["refund_uuid"], json!(refund));
}

/// As a table, by either way to ask for it.
async fn table_is_as_the_report(administrator: &Member<'_>, method: &str, day: &str, report: &Value) {
    let by_query = administrator.get(&path(method, &format!("day={day}&format=csv")));
    let by_header = administrator.get(&path(method, &format!("day={day}")));
    let by_header = by_header.header("accept", "text/csv,*/*;q=0.1").expect(200).await;
    let table = by_query.expect(200).await;
    assert_eq!(table.body, by_header.body);
    assert_eq!(table.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(table.headers["cache-control"], "no-store");
    assert_eq!(
        table.headers["content-disposition"],
        format!("attachment; filename=\"reconciliation-{method}-{day}.csv\"")
    );
    let text = table.text();
    assert!(
        text.starts_with("\u{feff}对账日期,") && text.ends_with("\r\n"),
        "{text}"
    );
    let rows: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(rows[2], "差异数,8");
    assert_eq!(rows[4], "付款,4,59.71,5,99.50");
    assert_eq!(rows[5], "退款,2,9.99,2,6.00");
    for (row, difference) in rows[7..].iter().zip(report["differences"].as_array().unwrap()) {
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells.len(), 14, "{row}");
        assert_eq!(difference["kind"], cells[0]);
        assert_eq!(difference["out_trade_no"], cells[2].trim_end_matches('\t'));
    }
    let json = administrator.get(&path(method, &format!("day={day}&format=json")));
    let json = json.header("accept", "text/csv").expect(200).await;
    assert_eq!(&json.data(), report);
}

/// The provider made it before midnight; its notification was lost, and we asked after midnight.
#[test]
fn a_refund_around_midnight_is_a_difference_on_neither_day() {
    in_world_with(Options::simulated(), async |world| {
        let Some(market) = Market::open(world).await else {
            return;
        };
        let sale = market.sells("wechat_pay").await;
        market.wait_until(0, DAY_MS - 30_000).await;
        let lost = Switches {
            lost: true,
            ..Switches::default()
        };
        market.switches(Some(&sale.number), &lost);
        let (theirs, ours) = (market.day(0), market.day(1));
        let buyer = world.log_in(&sale.buyer.email).await;
        let path = format!("/api/payment/{}/refund/", text(&sale.order["order_uuid"]));
        buyer.post(&path, &json!({"refund_amount": "5.00"})).expect(201).await;
        world.settle().await;
        world.advance(Duration::from_secs(180)).await;
        world
            .until("the refund is known", async || {
                buyer.order(&sale.order).await["refund_status"] == "succeeded"
            })
            .await;
        world.settle().await;
        let refund = market.refund_of(&sale).await;
        let find = json!({"Key": {"refund_uuid": {"S": refund}}, "ConsistentRead": true});
        let found = market.dynamodb("GetItem", "RefundsTable", find).await;
        let settled_day = text(&found["Item"]["settled_day"]["S"]);
        assert!(settled_day.starts_with(&format!("wechat_pay#{ours}#")), "{settled_day}");

        market.wait_until(1, 11 * HOUR_MS).await;
        let administrator = market.administrator().await;
        let of_theirs = report(&administrator, "wechat_pay", &theirs).await;
        let both = sums((1, 1990), (1, 500));
        assert_eq!(of_theirs["totals"], json!({"ours": both, "theirs": both}));
        let of_ours = report(&administrator, "wechat_pay", &ours).await;
        let none = sums((0, 0), (0, 0));
        assert_eq!(of_ours["totals"], json!({"ours": none, "theirs": none}));
        assert_eq!((&of_theirs["agrees"], &of_ours["agrees"]), (&json!(true), &json!(true)));
    });
}

#[test]
fn a_statement_that_is_not_there_or_not_believed_is_said_to_be_so() {
    in_world_with(Options::simulated(), async |world| {
        let Some(market) = Market::open(world).await else {
            return;
        };
        for method in METHODS {
            market.sells(method).await;
        }
        let day = market.day(0);
        market.wait_until(1, 8 * HOUR_MS).await;
        let administrator = market.administrator().await;
        for method in METHODS {
            let early = administrator.get(&path(method, &format!("day={day}")));
            assert_eq!(early.expect(409).await.kind(), "statement-not-ready", "{method}");
            let today = administrator.get(&path(method, &format!("day={}", market.day(0))));
            assert_eq!(today.expect(409).await.kind(), "statement-not-ready", "{method}");
        }
        market.wait_until(0, 11 * HOUR_MS).await;
        world.expect_failures(8);
        for answer in [
            Spoiling::Unsigned,
            Spoiling::WronglySigned,
            Spoiling::ServerError,
            Spoiling::Lost,
        ] {
            let spoilt = Switches {
                answer,
                answer_to: Some(Operation::Statement),
                ..Switches::default()
            };
            market.switches(None, &spoilt);
            for method in METHODS {
                let asked = administrator.get(&path(method, &format!("day={day}")));
                assert_eq!(asked.expect(503).await.kind(), "unavailable", "{method} {answer:?}");
            }
        }
        market.switches(None, &Switches::default());
        for method in METHODS {
            assert_eq!(report(&administrator, method, &day).await["agrees"], true);
        }
    });
}

#[test]
fn only_administrators_compare_and_the_sandbox_has_no_statements() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let member = world.member("路人").await;
        let service = world.service_token("order-service").await;
        let administrator = inside::administrator(world, platform).await;
        for method in METHODS {
            let path = path(method, "");
            world.get(&path).expect(401).await;
            world.get(&path).bearer(&service).expect(403).await;
            member.get(&path).expect(403).await;
            assert_eq!(administrator.get(&path).expect(409).await.kind(), "no-statement");
        }
        let nobodys = administrator.get(&path("cash", "")).expect(400).await;
        assert!(nobodys.json()["error"]["fields"]["payment_method"].is_string());
    });
}

/// A payment that nobody paid has no place among the days.
#[test]
fn only_what_moved_is_found_by_its_day() {
    in_world_with(Options::simulated(), async |world| {
        let Some(market) = Market::open(world).await else {
            return;
        };
        let unpaid = market.starts("alipay").await;
        let paid = market.sells("alipay").await;
        for (sale, is_found) in [(unpaid, false), (paid, true)] {
            let find = json!({"Key": {"payment_uuid": {"S": sale.payment["payment_uuid"]}}, "ConsistentRead": true});
            let found = market.dynamodb("GetItem", "PaymentsTable", find).await;
            assert_eq!(found["Item"]["settled_day"].is_object(), is_found);
        }
    });
}
