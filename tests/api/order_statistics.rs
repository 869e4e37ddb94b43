//! Order statistics: counters that the stream keeps, compared with a recount.

use std::collections::BTreeMap;

use cfmp::Platform;
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Member, in_world};

type Images = BTreeMap<(String, u64), Value>;

async fn scan(platform: &Platform, table: &str) -> Vec<Value> {
    let request = json!({"TableName": platform.template().tables[table].name, "ConsistentRead": true});
    let (status, answer) = platform.dynamodb("Scan", &request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["Items"].as_array().unwrap().clone()
}

fn number(value: &Value) -> i64 {
    value["N"].as_str().unwrap().parse().unwrap()
}

/// Remembers how every order stands, under its version.
async fn remember(platform: &Platform, images: &mut Images) {
    for order in scan(platform, "OrdersTable").await {
        let version = u64::try_from(number(&order["version"])).unwrap();
        images.insert((order["order_uuid"]["S"].as_str().unwrap().to_owned(), version), order);
    }
}

/// The records that the stream had of the changes from each image to the next.
fn records(platform: &Platform, images: &Images) -> Vec<Value> {
    let seconds = platform.clock().now_ms() / 1000;
    let mut records = Vec::new();
    let mut before: Option<(&String, &Value)> = None;
    for (place, ((id, _), image)) in images.iter().enumerate() {
        let mut change = json!({
            "ApproximateCreationDateTime": seconds, "Keys": {"order_uuid": {"S": id}}, "NewImage": image,
            "SequenceNumber": format!("{place:021}"), "SizeBytes": 600, "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        if let Some((_, old)) = before.filter(|(known, _)| *known == id) {
            change["OldImage"] = old.clone();
        }
        before = Some((id, image));
        records.push(json!({
            "eventID": format!("{place:032}"), "eventName": "MODIFY", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": change,
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1",
        }));
    }
    records
}

/// What somebody's statistics should be, counted one by one.
async fn recount(platform: &Platform, buyer: &Member<'_>) -> Value {
    let orders = scan(platform, "OrdersTable").await;
    let his: Vec<&Value> = orders
        .iter()
        .filter(|order| order["buyer_uuid"]["S"] == buyer.id)
        .collect();
    let of = |status: &str| his.iter().filter(|order| order["status"]["S"] == status).count();
    let kept = his
        .iter()
        .filter(|order| ["paid", "completed"].contains(&order["status"]["S"].as_str().unwrap()));
    let fen: i64 = kept.map(|order| number(&order["total"])).sum();
    let amount = format!("{}.{:02}", fen / 100, fen % 100);
    let (pending, paid, completed, cancelled) = (of("pending_payment"), of("paid"), of("completed"), of("cancelled"));
    json!({
        "code": 200, "message": "订单统计",
        "total_orders": his.len(), "pending_payment": pending, "paid_orders": paid, "completed_orders": completed,
        "cancelled_orders": cancelled, "total_amount": amount, "recent_orders": his.len(), "recent_amount": amount,
        "data": {"total": his.len(), "pending_payment": pending, "paid": paid, "completed": completed, "cancelled": cancelled},
    })
}

#[test]
fn statistics_equal_a_recount_whatever_the_stream_repeats_or_mixes_up() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let seller = world.member("卖家").await;
        let buyers = [world.member("买家").await, world.member("买家").await];
        let mut images = Images::new();
        let nothing = buyers[0].get("/api/orders/stats/").expect(200).await.json();
        assert_eq!(
            (&nothing["total_orders"], &nothing["total_amount"]),
            (&json!(0), &json!("0.00"))
        );

        for (place, buyer) in buyers.iter().enumerate() {
            let mut orders = Vec::new();
            for price in ["1.10", "2.20", "3.30", "4.40", "5.50", "6.60"] {
                orders.push(buyer.orders(&seller.puts_up("书", price, 1).await).await);
            }
            remember(platform, &mut images).await;
            for order in &orders[..4 - place] {
                buyer.pays(order).await;
            }
            world.settle().await;
            remember(platform, &mut images).await;
            let path = |order: &Value| format!("/api/orders/{}", order["order_uuid"].as_str().unwrap());
            buyer
                .ask("POST", &format!("{}/complete/", path(&orders[0])))
                .expect(200)
                .await;
            seller.cancels(&orders[1], "卖完了").await;
            buyer.cancels(&orders[4], "").await;
            world.settle().await;
            remember(platform, &mut images).await;
            buyer.ask("DELETE", &path(&orders[0])).expect(200).await;
            buyer.ask("DELETE", &path(&orders[4])).expect(200).await;
            world.settle().await;
            remember(platform, &mut images).await;
        }
        let mut expected = Vec::new();
        for buyer in &buyers {
            let recounted = recount(platform, buyer).await;
            assert_eq!(buyer.get("/api/orders/stats/").expect(200).await.json(), recounted);
            expected.push(recounted);
        }
        let counters = scan(platform, "OrderStatisticsTable").await;
        assert_eq!(counters.len(), 3, "two buyers and a seller, none of whom is both");

        // Everything again, backwards, in pieces, and twice.
        let records = records(platform, &images);
        assert!(records.len() > 25, "{}", records.len());
        let mut backwards = records.clone();
        backwards.reverse();
        let every_third: Vec<Value> = (0..3)
            .flat_map(|first| records.iter().skip(first).step_by(3).cloned())
            .collect();
        for batch in [&records[..], &backwards, &every_third, &records[20..], &backwards[7..9]] {
            let answer = world.invoke("count-orders", &json!({"Records": batch})).await;
            assert_eq!(answer.json(), json!({"batchItemFailures": []}));
        }
        for (buyer, expected) in buyers.iter().zip(expected) {
            assert_eq!(buyer.get("/api/orders/stats/").expect(200).await.json(), expected);
        }
        let figures = |items: &[Value]| -> BTreeMap<String, Value> {
            let of = |item: &Value| {
                let figures = &item["figures"]["M"];
                (
                    item["user_uuid"]["S"].as_str().unwrap().to_owned(),
                    json!([figures["orders"], figures["hidden"], figures["kept"], figures["days"]]),
                )
            };
            items.iter().map(of).collect()
        };
        assert_eq!(
            figures(&scan(platform, "OrderStatisticsTable").await),
            figures(&counters)
        );

        // The counters begin anew from the same records in any order.
        for counter in &counters {
            let key = json!({"user_uuid": counter["user_uuid"], "role": counter["role"]});
            let request = json!({"TableName": platform.template().tables["OrderStatisticsTable"].name, "Key": key});
            assert_eq!(platform.dynamodb("DeleteItem", &request).await.0, StatusCode::OK);
        }
        for batch in backwards.chunks(10).chain(every_third.chunks(7)) {
            let answer = world.invoke("count-orders", &json!({"Records": batch})).await;
            assert_eq!(answer.json(), json!({"batchItemFailures": []}));
        }
        assert_eq!(
            figures(&scan(platform, "OrderStatisticsTable").await),
            figures(&counters)
        );

        // A record from before anybody remembers is not counted on suspicion.
        let mut old = records[0].clone();
        old["dynamodb"]["ApproximateCreationDateTime"] = json!(platform.clock().now_ms() / 1000 - 49 * 60 * 60);
        old["dynamodb"]["NewImage"]["order_uuid"] = json!({"S": uuid::Uuid::new_v4()});
        let answer = world.invoke("count-orders", &json!({"Records": [old]})).await;
        assert_eq!(
            answer.json()["batchItemFailures"][0]["itemIdentifier"],
            records[0]["dynamodb"]["SequenceNumber"]
        );
        assert_eq!(
            figures(&scan(platform, "OrderStatisticsTable").await),
            figures(&counters)
        );
    });
}
