//! Notifications: telling people, and what they have read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cfmp::{Options, Platform};
use serde_json::{Value, json};

use crate::inside;
use crate::payments::Hand;
use crate::world::{Ask, Member, World, in_world, in_world_with, uuid_text};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn notice(user: &str, kind: Value) -> Value {
    json!({
        "user_uuid": user, "type": kind, "title": "系统维护", "content": "今晚 22 点维护",
        "related_id": "m-1", "related_data": {"from": "22:00", "deep": {"list": [1.5, null, "x"]}},
    })
}

fn sends<'a>(world: &'a World, token: &str, body: &Value) -> Ask<'a> {
    world.post("/api/notifications/", body).bearer(token)
}

async fn unread(member: &Member<'_>) -> u64 {
    let count = member.get("/api/notifications/unread-count/").expect(200).await.json();
    assert_eq!(
        (&count["code"], &count["unread_count"]),
        (&json!(200), &count["data"]["total_unread"])
    );
    count["unread_count"].as_u64().unwrap()
}

async fn list(member: &Member<'_>, query: &str) -> Value {
    member
        .get(&format!("/api/notifications/{query}"))
        .expect(200)
        .await
        .json()
}

#[test]
fn a_service_tells_somebody_something_and_he_reads_it_once() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let token = world.service_token("order-service").await;
        let made = sends(world, &token, &notice(&ann.id, json!("system")))
            .expect(201)
            .await
            .data();
        for (member, value) in [
            ("user_uuid", json!(ann.id)),
            ("type", json!(1)),
            ("title", json!("系统维护")),
            ("content", json!("今晚 22 点维护")),
            ("read", json!(false)),
            ("read_at", json!(null)),
            ("related_id", json!("m-1")),
            (
                "related_data",
                json!({"from": "22:00", "deep": {"list": [1.5, null, "x"]}}),
            ),
        ] {
            assert_eq!(made[member], value, "{member}");
        }
        assert_eq!(made["id"], made["notification_uuid"]);
        assert!(made["type_display"].is_string());

        let all = list(&ann, "").await;
        assert_eq!(
            (&all["count"], &all["unread_count"], &all["results"]["code"]),
            (&json!(1), &json!(1), &json!(200))
        );
        assert_eq!(all["results"]["data"], json!([made]));
        assert_eq!(unread(&ann).await, 1);

        let path = format!("/api/notifications/{}/read/", made["id"].as_str().unwrap());
        let read = ann.ask("PATCH", &path).expect(200).await.data();
        assert_eq!((&read["read"], read["read_at"].is_string()), (&json!(true), true));
        world.advance(Duration::from_secs(60)).await;
        for method in ["POST", "PUT", "PATCH"] {
            assert_eq!(
                ann.ask(method, &path).expect(200).await.data(),
                read,
                "the first reading counts"
            );
        }
        assert_eq!(unread(&ann).await, 0);
        assert_eq!(list(&ann, "").await["unread_count"], 0);
    });
}

#[test]
fn only_services_tell_and_only_people_who_exist_are_told() {
    in_world(async |world| {
        let (ann, bob) = (world.member("ann").await, world.member("bob").await);
        let token = world.service_token("payment-service").await;
        let body = notice(&ann.id, json!(0));
        for path in ["/api/notifications/", "/api/internal/notifications/create/"] {
            world.post(path, &body).expect(401).await;
            world.post(path, &body).bearer("null").expect(401).await;
            bob.post(path, &body).expect(403).await;
            world.post(path, &body).bearer(&token).expect(201).await;
        }
        let nobody = sends(world, &token, &notice(&uuid::Uuid::new_v4().to_string(), json!(0)))
            .expect(404)
            .await;
        assert_eq!(nobody.kind(), "user-not-found");

        // Services have no notifications, and nobody has anybody else's.
        for path in ["/api/notifications/", "/api/notifications/unread-count/"] {
            world.get(path).expect(401).await;
            world.get(path).bearer(&token).expect(403).await;
        }
        assert_eq!((unread(&ann).await, unread(&bob).await), (2, 0));
        let id = list(&ann, "").await["results"]["data"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/api/notifications/{id}/read/");
        assert_eq!(bob.ask("POST", &path).expect(404).await.kind(), "not-found");
        world.ask("POST", &path).expect(401).await;
        world.ask("POST", &path).bearer(&token).expect(403).await;
        ann.ask("POST", &format!("/api/notifications/{}/read/", uuid::Uuid::new_v4()))
            .expect(404)
            .await;
        assert_eq!(unread(&ann).await, 2);
    });
}

#[test]
fn what_is_wrong_with_a_notification_is_named_and_nobody_is_told() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let token = world.service_token("order-service").await;
        let good = notice(&ann.id, json!(0));
        for (field, value) in [
            ("user_uuid", json!("ann")),
            ("user_uuid", json!(null)),
            ("type", json!(3)),
            ("type", json!("Transaction")),
            ("type", json!(null)),
            ("type", json!(0.5)),
            ("title", json!("")),
            ("title", json!("长".repeat(101))),
            ("title", json!(7)),
            ("content", json!("")),
            ("content", json!("长".repeat(2001))),
            ("related_id", json!("")),
            ("related_id", json!("x".repeat(101))),
            ("related_id", json!(7)),
            ("related_data", json!([])),
            ("related_data", json!({"x": "x".repeat(4096)})),
        ] {
            let mut body = good.clone();
            body[field] = value.clone();
            let refused = sends(world, &token, &body).expect(400).await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{field} = {value}: {}",
                refused.text()
            );
        }
        for field in ["user_uuid", "type", "title", "content"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            let refused = sends(world, &token, &body).expect(400).await;
            assert_eq!(
                refused.json()["error"]["fields"][field],
                "is required",
                "{}",
                refused.text()
            );
        }
        assert_eq!(unread(&ann).await, 0);
    });
}

#[test]
fn a_repeated_request_with_its_key_tells_once() {
    in_world(async |world| {
        let (ann, bob) = (world.member("ann").await, world.member("bob").await);
        let token = world.service_token("order-service").await;
        let key = uuid_text();
        let ask = |body: &Value| sends(world, &token, body).header("idempotency-key", &key);
        let body = notice(&ann.id, json!("transaction"));
        let (first, second) = tokio::join!(ask(&body).expect(201), ask(&body).expect(201));
        assert_eq!(first.json(), second.json());
        let mut other = body.clone();
        other["content"] = json!("别的内容");
        assert_eq!(ask(&other).expect(409).await.kind(), "idempotency-key-reused");
        ask(&notice(&bob.id, json!("transaction"))).expect(201).await;
        // The key of another service is another key.
        let payments = world.service_token("payment-service").await;
        sends(world, &payments, &other)
            .header("idempotency-key", &key)
            .expect(201)
            .await;
        assert_eq!((unread(&ann).await, unread(&bob).await), (2, 1));

        // Without a key, each request is one of its own.
        sends(world, &token, &body).expect(201).await;
        sends(world, &token, &body).expect(201).await;
        assert_eq!(unread(&ann).await, 4);
    });
}

#[test]
fn lists_are_filtered_and_paged() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let mut ids = Vec::new();
        for kind in [json!(0), json!("1"), json!("promotion"), json!("transaction")] {
            let token = world.service_token("order-service").await;
            let made = sends(world, &token, &notice(&ann.id, kind)).expect(201).await.data();
            ids.push(made["id"].as_str().unwrap().to_owned());
            world.advance(Duration::from_secs(1)).await;
        }
        ann.ask("POST", &format!("/api/notifications/{}/read", ids[0]))
            .expect(200)
            .await;
        let found = async |query: &str| -> Vec<usize> {
            let list = list(&ann, query).await;
            let entries = list["results"]["data"].as_array().unwrap().clone();
            entries
                .iter()
                .map(|entry| ids.iter().position(|id| entry["id"] == json!(id)).unwrap())
                .collect()
        };
        assert_eq!(found("").await, [3, 2, 1, 0]);
        assert_eq!(found("?type=transaction").await, [3, 0]);
        assert_eq!(found("?type=0&read=false").await, [3]);
        assert_eq!(found("?read=true").await, [0]);
        assert_eq!(found("?unread_only=true").await, [3, 2, 1]);
        assert_eq!(found("?unread_only=1&type=2").await, [2]);
        assert_eq!(found("?page=2&page_size=3").await, [0]);
        assert_eq!(found("?page=7").await, [0_usize; 0]);
        let page = list(&ann, "?page=2&page_size=1&unread_only=true").await;
        assert_eq!((&page["count"], &page["unread_count"]), (&json!(3), &json!(3)));
        for neighbour in ["next", "previous"] {
            assert!(page[neighbour].as_str().unwrap().contains("unread_only=true"), "{page}");
        }
        for (query, field) in [
            ("?type=3", "type"),
            ("?read=maybe", "read"),
            ("?unread_only=x", "unread_only"),
        ] {
            let refused = ann.get(&format!("/api/notifications/{query}")).expect(400).await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{query}: {}",
                refused.text()
            );
        }

        let count = ann
            .get("/api/notifications/unread-count/?type=transaction")
            .expect(200)
            .await
            .json();
        assert_eq!(count["unread_count"], 1);
        assert_eq!(
            count["data"],
            json!({"total_unread": 3, "by_type": {"transaction": 1, "system": 1, "promotion": 1}})
        );
    });
}

/// An event as SQS hands it to the function.
fn queued(events: &[Value]) -> Value {
    let records: Vec<Value> = events
        .iter()
        .enumerate()
        .map(|(position, event)| json!({"messageId": format!("m{position}"), "body": event.to_string(), "eventSource": "aws:sqs"}))
        .collect();
    json!({"Records": records})
}

#[test]
fn an_event_that_comes_again_tells_nobody_twice_and_marks_nothing_unread() {
    in_world(async |world| {
        let (buyer, seller) = (world.member("买家").await, world.member("卖家").await);
        let event = json!({
            "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1_767_225_600_000_i64, "type": "OrderPaid",
            "data": {
                "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": buyer.id, "seller_uuid": seller.id, "title": "台灯",
                "product_count": 1, "total": 1990, "payment_uuid": uuid::Uuid::new_v4(),
            },
        });
        let answer = world
            .invoke("notify-people", &queued(&[event.clone(), event.clone()]))
            .await
            .json();
        assert_eq!(answer["batchItemFailures"], json!([]));
        assert_eq!(
            (buyer.notices().await, seller.notices().await),
            (vec!["支付成功".to_owned()], vec!["买家已付款".to_owned()])
        );

        let notice = list(&buyer, "").await["results"]["data"][0].clone();
        assert!(
            notice["content"].as_str().unwrap().contains("「台灯」")
                && notice["content"].as_str().unwrap().contains("¥19.90")
        );
        assert_eq!(
            (&notice["type"], &notice["related_id"]),
            (&json!(0), &event["data"]["order_uuid"])
        );
        buyer
            .ask(
                "PUT",
                &format!("/api/notifications/{}/read", notice["id"].as_str().unwrap()),
            )
            .expect(200)
            .await;
        world.invoke("notify-people", &queued(&[event])).await;
        assert_eq!((unread(&buyer).await, unread(&seller).await), (0, 1));
    });
}

#[test]
fn a_request_on_the_queue_tells_who_exists_and_only_what_can_not_be_read_comes_back() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let request = |user: &str| {
            json!({
                "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1_767_225_600_000_i64,
                "type": "NotificationRequested",
                "data": {
                    "notification_uuid": uuid::Uuid::new_v4(), "user_uuid": user, "kind": "promotion", "title": "优惠",
                    "content": "毕业季", "related_id": null,
                },
            })
        };
        let nobody = uuid::Uuid::new_v4().to_string();
        let unknown =
            json!({"event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1, "type": "Thunder", "data": {}});
        let batch = queued(&[request(&nobody), unknown, json!("no event"), request(&ann.id)]);
        let answer = world.invoke("notify-people", &batch).await.json();
        assert_eq!(
            answer["batchItemFailures"],
            json!([{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}])
        );
        assert_eq!(ann.notices().await, ["优惠"]);
    });
}

#[test]
fn everything_is_read_at_once_and_what_comes_later_is_not() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let token = world.service_token("order-service").await;
        let mut ids = Vec::new();
        for kind in [0, 0, 1, 2] {
            let made = sends(world, &token, &notice(&ann.id, json!(kind)))
                .expect(201)
                .await
                .data();
            ids.push(made["id"].as_str().unwrap().to_owned());
            world.advance(Duration::from_secs(1)).await;
        }
        let read_at = async |position: usize| -> Value {
            let path = format!("/api/notifications/{}/", ids[position]);
            ann.get(&path).expect(200).await.data()["read_at"].clone()
        };
        let first = format!("/api/notifications/{}/read/", ids[0]);
        let by_itself = ann.ask("PUT", &first).expect(200).await.data()["read_at"].clone();
        assert_eq!(read_at(1).await, json!(null), "looking is not reading");

        world.advance(MINUTE).await;
        let done = ann
            .ask("PATCH", "/api/notifications/read-all/?type=transaction")
            .expect(200)
            .await
            .data();
        assert_eq!(done, json!({"updated_count": 1, "unread_count": 2}));
        assert_eq!(read_at(0).await, by_itself, "the first reading counts");
        let together = read_at(1).await;
        assert!(together.as_str() > by_itself.as_str(), "{together} {by_itself}");
        assert_eq!(
            ann.get("/api/notifications/unread-count/").expect(200).await.json()["data"],
            json!({"total_unread": 2, "by_type": {"transaction": 0, "system": 1, "promotion": 1}})
        );
        for (query, count) in [
            ("?read=true", 2),
            ("?read=false", 2),
            ("?type=0&unread_only=true", 0),
            ("?type=0", 2),
        ] {
            let list = list(&ann, query).await;
            assert_eq!(list["count"], count, "{query}");
            assert_eq!(list["results"]["data"].as_array().unwrap().len(), count, "{query}");
        }
        // Marking what was read with everything changes nothing.
        world.advance(MINUTE).await;
        let path = format!("/api/notifications/{}/read/", ids[1]);
        assert_eq!(ann.ask("POST", &path).expect(200).await.data()["read_at"], together);

        let token = world.service_token("order-service").await;
        let late = sends(world, &token, &notice(&ann.id, json!(0)))
            .expect(201)
            .await
            .data();
        assert_eq!(unread(&ann).await, 3);
        assert_eq!(
            list(&ann, "?unread_only=1&type=0").await["results"]["data"],
            json!([late])
        );
        for method in ["POST", "PUT"] {
            ann.ask(method, "/api/notifications/read-all").expect(200).await;
            assert_eq!(unread(&ann).await, 0);
        }
        assert_eq!(list(&ann, "?read=true").await["count"], 5);
        let refused = ann.ask("POST", "/api/notifications/read-all/?type=9").expect(400).await;
        assert!(refused.json()["error"]["fields"]["type"].is_string());
    });
}

#[test]
fn a_notification_is_looked_at_opened_and_deleted_for_good() {
    in_world(async |world| {
        let (ann, bob) = (world.member("ann").await, world.member("bob").await);
        let event = json!({
            "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1_767_225_600_000_i64, "type": "OrderPaid",
            "data": {
                "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": ann.id, "seller_uuid": bob.id, "title": "台灯",
                "product_count": 1, "total": 1990, "payment_uuid": uuid::Uuid::new_v4(),
            },
        });
        world
            .invoke("notify-people", &queued(std::slice::from_ref(&event)))
            .await;
        let token = world.service_token("order-service").await;
        let other = sends(world, &token, &notice(&ann.id, json!(1)))
            .expect(201)
            .await
            .data();

        let told = list(&ann, "?type=0").await["results"]["data"][0].clone();
        let id = told["id"].as_str().unwrap();
        let (plain, opening) = (
            format!("/api/notifications/{id}/"),
            format!("/api/notifications/detail/{id}/"),
        );
        assert_eq!(ann.get(&plain).expect(200).await.data(), told);
        assert_eq!(unread(&ann).await, 2);
        let opened = ann.get(&opening).expect(200).await.data();
        assert_eq!((&opened["read"], opened["read_at"].is_string()), (&json!(true), true));
        assert_eq!(unread(&ann).await, 1);
        assert_eq!(ann.get(&opening).expect(200).await.data(), opened);
        assert_eq!(ann.get(&plain).expect(200).await.data(), opened);

        for path in [&plain, &opening] {
            assert_eq!(bob.get(path).expect(404).await.kind(), "not-found");
        }
        bob.ask("DELETE", &plain).expect(404).await;
        assert_eq!(ann.ask("DELETE", &plain).expect(200).await.json()["data"], json!(null));
        ann.ask("DELETE", &plain).expect(404).await;
        ann.get(&plain).expect(404).await;
        ann.ask("POST", &format!("{plain}read/")).expect(404).await;
        let left = list(&ann, "").await;
        assert_eq!((&left["count"], &left["results"]["data"]), (&json!(1), &json!([other])));

        // Its event, delivered again, does not bring it back; the other side still has its own.
        let answer = world.invoke("notify-people", &queued(&[event])).await.json();
        assert_eq!(answer["batchItemFailures"], json!([]));
        assert_eq!(list(&ann, "").await["count"], 1);
        assert_eq!(bob.notices().await, ["买家已付款"]);
        // Unread when it is deleted, it is not counted any more.
        let path = format!("/api/notifications/{}/", other["id"].as_str().unwrap());
        ann.ask("DELETE", &path).expect(200).await;
        assert_eq!(
            (unread(&ann).await, list(&ann, "").await["count"].clone()),
            (0, json!(0))
        );
    });
}

#[test]
fn the_page_of_messages_has_its_own_shape() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        world.get("/api/v1/user/message/").expect(401).await;
        assert_eq!(
            ann.get("/api/v1/user/message/").expect(200).await.json(),
            json!({
                "links": {"next": null, "previous": null}, "count": 0, "total_pages": 1, "current_page": 1, "results": [],
            })
        );
        let token = world.service_token("order-service").await;
        for kind in [0, 1, 2] {
            sends(world, &token, &notice(&ann.id, json!(kind))).expect(201).await;
            world.advance(Duration::from_secs(1)).await;
        }
        let all = list(&ann, "").await["results"]["data"].clone();
        let page = ann
            .get("/api/v1/user/message?page=2&page_size=2")
            .expect(200)
            .await
            .json();
        assert_eq!(
            (
                &page["count"],
                &page["total_pages"],
                &page["current_page"],
                &page["links"]["next"]
            ),
            (&json!(3), &json!(2), &json!(2), &json!(null))
        );
        assert!(
            page["links"]["previous"]
                .as_str()
                .unwrap()
                .contains("/api/v1/user/message/?page_size=2&page=1")
        );
        assert_eq!(
            page["results"],
            json!([{
                "message_id": all[2]["id"], "title": "系统维护", "content": "今晚 22 点维护",
                "created_at": all[2]["created_at"],
            }])
        );
        assert_eq!(page.as_object().unwrap().len(), 5);
    });
}

#[test]
fn people_are_told_what_they_want_to_be_told() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let token = world.service_token("order-service").await;
        let path = "/api/notifications/preferences/";
        let all = json!({"in_app": true, "push": true, "email": true});
        assert_eq!(
            ann.get(path).expect(200).await.data(),
            json!({"transaction": all, "system": all, "promotion": all})
        );
        let put = |body: Value| ann.ask("PUT", path).json(&body);
        let kept = put(json!({"promotion": {"in_app": false}, "system": {"push": false}}))
            .expect(200)
            .await
            .data();
        assert_eq!(kept["promotion"], json!({"in_app": false, "push": true, "email": true}));
        assert_eq!(kept["transaction"], all);
        let refused = put(json!({"transaction": {"in_app": false}, "system": {"in_app": false}}))
            .expect(400)
            .await;
        assert_eq!(refused.kind(), "transaction-notifications-stay");
        assert!(refused.json()["error"]["fields"]["transaction.in_app"].is_string());
        assert_eq!(
            ann.get(path).expect(200).await.data(),
            kept,
            "all of a wish is granted, or nothing"
        );

        let unwanted = sends(world, &token, &notice(&ann.id, json!(2)))
            .expect(200)
            .await
            .json();
        assert_eq!((&unwanted["code"], &unwanted["data"]), (&json!(200), &json!(null)));
        for kind in [0, 1] {
            sends(world, &token, &notice(&ann.id, json!(kind))).expect(201).await;
        }
        assert_eq!(list(&ann, "").await["count"], 2);
        // Whether it is pushed stands in what is stored, so that whoever pushes need not ask.
        if let Some(platform) = world.platform() {
            let mut pushes: Vec<(String, bool)> = rows(platform, "NotificationsTable", &ann.id)
                .await
                .iter()
                .map(|row| (text(&row["kind"]["S"]), row["push"]["BOOL"].as_bool().unwrap()))
                .collect();
            pushes.sort();
            assert_eq!(pushes, [("system".to_owned(), false), ("transaction".to_owned(), true)]);
        }
    });
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// What a table holds of a user.
async fn rows(platform: &Platform, table: &str, user: &str) -> Vec<Value> {
    let query = json!({
        "TableName": platform.template().tables[table].name, "ConsistentRead": true,
        "KeyConditionExpression": "user_uuid = :user", "ExpressionAttributeValues": {":user": {"S": user}},
    });
    let (status, answer) = platform.dynamodb("Query", &query).await;
    assert_eq!(status, 200, "{answer}");
    answer["Items"].as_array().unwrap().clone()
}

/// The table of `docs/notifications.md`: transition to (told, Chinese, English, whether it is mailed).
fn documented() -> BTreeMap<String, Vec<(String, String, String, bool)>> {
    let mut table: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let lines = include_str!("../../docs/notifications.md").lines();
    for line in lines.skip_while(|line| !line.starts_with("| Transition")).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [transition, _, told, zh, en, mail] = cells[..] else {
            break;
        };
        let rows = table.entry(transition.to_owned()).or_default();
        if told != "nobody" {
            rows.push((told.to_owned(), zh.to_owned(), en.to_owned(), mail == "yes"));
        }
    }
    table
}

/// A buyer who reads Chinese, a seller who reads English, and what both were told so far.
struct Scene<'a> {
    world: &'a World,
    platform: &'a Platform,
    buyer: Member<'a>,
    seller: Member<'a>,
    table: BTreeMap<String, Vec<(String, String, String, bool)>>,
    walked: BTreeSet<String>,
    seen: BTreeSet<String>,
    mails: usize,
}

impl<'a> Scene<'a> {
    async fn set(world: &'a World, platform: &'a Platform) -> Self {
        let (buyer, seller) = (world.member("买家").await, world.member("seller").await);
        let english = json!({"language": "en"});
        let me = seller.ask("PATCH", "/api/v1/user/me/").json(&english).expect(200).await;
        assert_eq!(me.json()["language"], "en");
        let mut scene = Self {
            world,
            platform,
            buyer,
            seller,
            table: documented(),
            walked: BTreeSet::new(),
            seen: BTreeSet::new(),
            mails: 0,
        };
        scene.mails = scene.mailed().await.len();
        scene
    }

    async fn order(&self) -> Value {
        let product = self.seller.puts_up("台灯", "19.90", 1).await;
        self.buyer.orders(&product).await
    }

    /// Everything that both were told, as (who, notification).
    async fn told(&self) -> Vec<(&'static str, Value)> {
        let mut all = Vec::new();
        for (who, member) in [("buyer", &self.buyer), ("seller", &self.seller)] {
            let list = list(member, "?page_size=100").await;
            assert_eq!(list["next"], json!(null), "one page holds them all");
            let notices = list["results"]["data"].as_array().unwrap().clone();
            assert_eq!(list["count"], notices.len());
            assert_eq!(unread(member).await, notices.len() as u64, "nobody read anything");
            all.extend(notices.into_iter().map(|notice| (who, notice)));
        }
        all
    }

    /// Everything that both were mailed, as (who, subject).
    async fn mailed(&self) -> Vec<(&'static str, String)> {
        let mails = self.world.get("/_local/mails").expect(200).await.json();
        let mails = mails["mails"].as_array().unwrap().clone();
        let mail = |mail: &Value| {
            let all = mail.to_string();
            let to = [("buyer", &self.buyer.email), ("seller", &self.seller.email)];
            let (who, _) = to.into_iter().find(|(_, email)| all.contains(email.as_str()))?;
            Some((who, text(&mail["subject"])))
        };
        mails.iter().filter_map(mail).collect()
    }

    /// What happened since the last time is these transitions, and both were told exactly what the table says.
    async fn went_through(&mut self, transitions: &[&str]) {
        self.world.settle().await;
        let mut expected = Vec::new();
        let mut mails = Vec::new();
        for transition in transitions {
            let rows = self
                .table
                .get(*transition)
                .unwrap_or_else(|| panic!("no row for {transition}"));
            for (who, zh, en, is_mailed) in rows {
                let title = if who == "buyer" { zh } else { en };
                expected.push((who.clone(), title.clone()));
                if *is_mailed {
                    mails.push((who.clone(), title.clone()));
                }
            }
            self.walked.insert((*transition).to_owned());
        }
        let mut new = Vec::new();
        for (who, notice) in self.told().await {
            if !self.seen.insert(text(&notice["id"])) {
                continue;
            }
            let content = text(&notice["content"]);
            assert!(content.contains("台灯") && content.contains("¥"), "{content}");
            assert_eq!(notice["type"], 0);
            new.push((who.to_owned(), text(&notice["title"])));
        }
        let mailed = self.mailed().await;
        let mut new_mails: Vec<_> = mailed[self.mails..]
            .iter()
            .map(|(who, subject)| ((*who).to_owned(), subject.clone()))
            .collect();
        self.mails = mailed.len();
        for list in [&mut expected, &mut new, &mut mails, &mut new_mails] {
            list.sort();
        }
        assert_eq!(new, expected, "told: {transitions:?}");
        assert_eq!(new_mails, mails, "mailed: {transitions:?}");
    }

    /// A log-in ends after a day.
    async fn days_pass(&mut self, days: u32) {
        for _ in 0..days {
            self.world.advance(DAY).await;
        }
        self.buyer = self.world.log_in(&self.buyer.email).await;
        self.seller = self.world.log_in(&self.seller.email).await;
    }

    /// Waits for what a schedule has to bring about.
    async fn until_told(&self, what: &str, title: &str, times: usize) {
        self.world
            .until(what, async || {
                let told = self.buyer.notices().await;
                told.iter().filter(|told| *told == title).count() == times
            })
            .await;
    }

    /// Hands every change of the table to the function that announces it once more.
    async fn announce_again(&self, table: &str, function: &str) {
        let table = &self.platform.template().tables[table];
        let stream = table.stream_arn.clone().unwrap();
        let mut after: Option<String> = None;
        loop {
            let store = self.platform.aws().store();
            let records = store
                .records(&table.name, &stream, after.as_deref(), 100)
                .await
                .unwrap();
            let Some(last) = records.last() else { return };
            after = Some(text(&last["dynamodb"]["SequenceNumber"]));
            let answer = self.world.invoke(function, &json!({"Records": records})).await.json();
            assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
        }
    }
}

/// Notifications used to be rejected, forgotten (the seller never heard of a cancellation), or sent again and again.
#[test]
fn every_transition_tells_exactly_what_the_documented_table_says() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let mut scene = Scene::set(world, platform).await;
        let hand = Hand::of(world, platform);
        let ask = async |member: &Member<'_>, method: &str, path: String| {
            member.ask(method, &path).expect(200).await;
        };
        let id = |order: &Value| text(&order["order_uuid"]);
        let payment_cancelled = |payment: &Value| format!("/api/payment/{}/cancel/", text(&payment["payment_uuid"]));

        // A payment that is opened, fails, is opened again and called off; then it is paid, and the goods are received.
        let order = scene.order().await;
        scene.went_through(&["placed"]).await;
        let payment = scene.buyer.starts_paying(&order).await;
        scene.went_through(&["payment opened, closed or expired"]).await;
        let mut failed = hand.success(&payment);
        failed["trade_status"] = json!("TRADE_FAILED");
        assert_eq!(hand.notifies(&failed).await.text(), "success");
        scene.went_through(&["payment failed"]).await;
        let payment = scene.buyer.starts_paying(&order).await;
        ask(&scene.buyer, "POST", payment_cancelled(&payment)).await;
        scene.went_through(&["payment opened, closed or expired"]).await;
        scene.buyer.pays(&order).await;
        scene.went_through(&["payment succeeded", "paid"]).await;
        ask(&scene.buyer, "POST", format!("/api/orders/{}/complete/", id(&order))).await;
        scene.went_through(&["completed by the buyer"]).await;

        // Nobody pays.
        let order = scene.order().await;
        scene.buyer.cancels(&order, "不要了").await;
        scene.went_through(&["placed", "cancelled unpaid by the buyer"]).await;
        let order = scene.order().await;
        let service = world.service_token("payment-service").await;
        world
            .ask("PATCH", &format!("/api/orders/internal/orders/{}/", id(&order)))
            .json(&json!({"status": 3, "cancel_reason": "x"}))
            .bearer(&service)
            .expect(200)
            .await;
        scene.went_through(&["placed", "cancelled by a service"]).await;
        let order = scene.order().await;
        scene.buyer.starts_paying(&order).await;
        scene.went_through(&["placed"]).await;
        world.advance(MINUTE * 31).await;
        scene.until_told("the order has expired", "订单已取消", 3).await;
        scene
            .went_through(&["expired", "payment opened, closed or expired"])
            .await;

        // Paid, and called off.
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        scene.went_through(&["placed", "paid"]).await;
        scene.buyer.cancels(&order, "不要了").await;
        scene
            .went_through(&["cancelled paid by the buyer", "refund requested", "refund settled"])
            .await;
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        scene.went_through(&["placed", "paid"]).await;
        scene.seller.cancels(&order, "卖完了").await;
        scene
            .went_through(&["cancelled paid by the seller", "refund requested", "refund settled"])
            .await;

        // A part goes back, and then the rest, after which there is no order any more.
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        scene.went_through(&["placed", "paid"]).await;
        let path = format!("/api/payment/{}/refund/", id(&order));
        for (wish, more) in [
            (json!({"refund_amount": "5.00"}), None),
            (json!({}), Some("cancelled paid by the buyer")),
        ] {
            let answer = scene.buyer.post(&path, &wish).send().await;
            assert!(answer.status.is_success(), "{}", answer.text());
            let settled = ["refund requested", "refund settled"];
            let transitions: Vec<&str> = settled.into_iter().chain(more).collect();
            scene.went_through(&transitions).await;
        }

        // The provider says that it was paid, and knows nothing of it when it is to give the money back.
        let order = scene.order().await;
        let payment = scene.buyer.starts_paying(&order).await;
        assert_eq!(hand.notifies(&hand.success(&payment)).await.text(), "success");
        scene.went_through(&["placed", "paid"]).await;
        scene.seller.cancels(&order, "卖完了").await;
        scene
            .went_through(&[
                "cancelled paid by the seller",
                "refund requested",
                "refund needs attention",
            ])
            .await;

        // Money that comes after its payment was closed; the order knows nothing of it.
        let order = scene.order().await;
        let payment = scene.buyer.starts_paying(&order).await;
        ask(&scene.buyer, "POST", payment_cancelled(&payment)).await;
        scene.buyer.clicks_pay(&payment).await;
        scene.went_through(&["placed", "late payment refunded"]).await;
        let payment = scene.buyer.starts_paying(&order).await;
        ask(&scene.buyer, "POST", payment_cancelled(&payment)).await;
        assert_eq!(hand.notifies(&hand.success(&payment)).await.text(), "success");
        scene.went_through(&["late payment needs attention"]).await;
        let payment = scene.buyer.starts_paying(&order).await;
        let mut wrong = hand.success(&payment);
        wrong["amount"] = json!(1);
        assert_eq!(hand.notifies(&wrong).await.text(), "success");
        scene.went_through(&["payment of another amount"]).await;
        scene.buyer.cancels(&order, "不要了").await;
        scene.went_through(&["cancelled unpaid by the buyer"]).await;

        // Nobody says that the goods were received.
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        scene.went_through(&["placed", "paid"]).await;
        scene.days_pass(6).await;
        scene.until_told("the buyer was reminded", "即将自动确认收货", 1).await;
        scene.went_through(&["reminded"]).await;
        scene.days_pass(1).await;
        scene.until_told("the order completed by itself", "交易完成", 2).await;
        scene.went_through(&["completed by itself"]).await;

        let walked: BTreeSet<_> = scene.table.keys().cloned().collect();
        assert_eq!(scene.walked, walked, "a transition of the table was not walked");

        // All of it is announced once more; nothing comes of it.
        scene.announce_again("OrdersTable", "publish-order-events").await;
        scene.announce_again("PaymentsTable", "publish-payment-events").await;
        scene.announce_again("RefundsTable", "publish-payment-events").await;
        scene.went_through(&[]).await;
    });
}

#[test]
fn mails_are_sent_once_in_ones_language_to_those_who_want_them() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let mut scene = Scene::set(world, platform).await;
        let event = |id: uuid::Uuid, seller: &str| {
            json!({
                "event_id": id, "version": 1, "occurred_at": 1_767_225_600_000_i64, "type": "OrderPaid",
                "data": {
                    "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": scene.buyer.id, "seller_uuid": seller,
                    "title": "台灯", "product_count": 1, "total": 1990, "payment_uuid": uuid::Uuid::new_v4(),
                },
            })
        };
        let paid = event(uuid::Uuid::new_v4(), &scene.seller.id);
        let nobodys = event(uuid::Uuid::new_v4(), &uuid::Uuid::new_v4().to_string());
        for _ in 0..2 {
            let twice = queued(&[paid.clone(), nobodys.clone(), paid.clone()]);
            let answer = world.invoke("mail-people", &twice).await.json();
            assert_eq!(answer["batchItemFailures"], json!([]));
        }
        assert_eq!(
            scene.mailed().await[scene.mails..],
            [("seller", "The buyer has paid".to_owned())]
        );
        let mails = world.get("/_local/mails").expect(200).await.json();
        let mail = mails["mails"].as_array().unwrap().last().unwrap().clone();
        let text_of_mail = text(&mail["text"]);
        assert!(
            text_of_mail.contains("¥19.90") && text_of_mail.contains("notification preferences"),
            "{text_of_mail}"
        );
        scene.mails += 1;

        let quiet = json!({"transaction": {"email": false}});
        scene
            .seller
            .ask("PUT", "/api/notifications/preferences/")
            .json(&quiet)
            .expect(200)
            .await;
        world
            .invoke("mail-people", &queued(&[event(uuid::Uuid::new_v4(), &scene.seller.id)]))
            .await;
        assert_eq!(scene.mailed().await[scene.mails..], []);

        // Addresses are in no log.
        let logs = platform.logs().of(None);
        for email in [&scene.seller.email, &scene.buyer.email] {
            assert!(logs.iter().all(|line| !line.text.contains(email.as_str())));
        }
    });
}

/// The platform with a permission of one function taken away.
fn without_permission(function: &str, action: &str, test: impl AsyncFnOnce(&World)) {
    let template = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let folder = std::env::temp_dir().join(format!("cfmp-without-{}", uuid_text()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("template.yaml");
    let (before, after) = template.split_once(&format!("\n  {function}:\n")).unwrap();
    let after = after.replacen(action, "dynamodb:DescribeTable", 1);
    std::fs::write(&file, format!("{before}\n  {function}:\n{after}")).unwrap();
    let options = Options {
        template: file,
        ..Options::test()
    };
    in_world_with(options, test);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_mail_that_can_not_be_sent_waits_and_ends_where_people_look() {
    without_permission("MailPeopleFunction", "ses:SendEmail", async |world| {
        let Some(platform) = world.platform() else { return };
        let mut scene = Scene::set(world, platform).await;
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        world.expect_dead_letters(1);
        world
            .until("the mail is a dead letter", async || {
                world.advance(MINUTE).await;
                !world.dead_letters().await.is_empty()
            })
            .await;
        assert_eq!(scene.mailed().await[scene.mails..], []);
        // It may be tried again, and the list does not care.
        scene.mails = 0;
        let entries = rows(platform, "InboxesTable", &scene.seller.id).await;
        let entries: Vec<String> = entries.iter().map(|row| text(&row["entry"]["S"])).collect();
        assert_eq!(entries, ["inbox"]);
        world
            .until("the seller was told", async || {
                scene.seller.notices().await == ["The buyer has paid", "You have a new order"]
            })
            .await;
    });
}

#[test]
fn while_the_user_service_is_down_people_are_told_and_mails_wait() {
    without_permission("InternalContactFunction", "dynamodb:GetItem", async |world| {
        let Some(platform) = world.platform() else { return };
        let scene = Scene::set(world, platform).await;
        let token = world.service_token("order-service").await;
        sends(world, &token, &notice(&scene.buyer.id, json!(1)))
            .expect(201)
            .await;
        let order = scene.order().await;
        scene.buyer.pays(&order).await;
        world.expect_dead_letters(1);
        world
            .until("the mail is a dead letter", async || {
                world.advance(MINUTE).await;
                !world.dead_letters().await.is_empty()
            })
            .await;
        // In the default language, because nobody says which is his.
        world
            .until("both were told", async || {
                let told = (scene.seller.notices().await, scene.buyer.notices().await.len());
                told == (vec!["买家已付款".to_owned(), "您有新的订单".to_owned()], 3)
            })
            .await;
        assert_eq!(scene.mailed().await[scene.mails..], []);
    });
}

/// What a request cost at the tables: calls, and units read and written.
fn cost(platform: &Platform, moment: inside::Moment, function: &str) -> (usize, f64, f64) {
    let calls = inside::recorded_calls(platform, function, moment);
    let calls: Vec<_> = calls
        .into_iter()
        .filter(|call| call.target.starts_with("dynamodb:"))
        .collect();
    let units = |is_write: bool| -> f64 {
        let of = |call: &cfmp::recording::Call| {
            let writes = ["Put", "Update", "Delete", "TransactWrite"];
            let wrote = writes.iter().any(|verb| call.target.contains(verb));
            if wrote != is_write {
                return 0.0;
            }
            match &call.consumed {
                Some(Value::Array(tables)) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
                Some(table) => table["CapacityUnits"].as_f64().unwrap_or_default(),
                None => 0.0,
            }
        };
        calls.iter().map(of).sum()
    };
    (calls.len(), units(false), units(true))
}

/// Gives a user so many notifications, every tenth of them unread, as `notify-people` would have left them.
async fn history(platform: &Platform, user: &str, size: u64) {
    let name = |table: &str| platform.template().tables[table].name.clone();
    let (notifications, inboxes) = (name("NotificationsTable"), name("InboxesTable"));
    let number = |n: u64| json!({"N": n.to_string()});
    for chunk in (0..size).collect::<Vec<_>>().chunks(25) {
        let puts: Vec<Value> = chunk
            .iter()
            .map(|n| {
                let at = 1_767_225_600_000 + n;
                let hex = format!("0{at:011x}");
                let id = format!("{}-{}-8000-8000-{n:012x}", &hex[..8], &hex[8..]);
                let mut item = json!({
                    "user_uuid": {"S": user}, "notification_uuid": {"S": id}, "kind": {"S": "transaction"},
                    "title": {"S": "买家已付款"}, "content": {"S": "买家已为「台灯」支付 ¥19.90，请尽快交付商品。"},
                    "created_at": number(at), "era": number(0), "push": {"BOOL": true},
                });
                if n % 10 != 0 {
                    item["read_at"] = number(at + 1);
                }
                json!({"PutRequest": {"Item": item}})
            })
            .collect();
        let batch = json!({"RequestItems": {&notifications: puts}});
        let (status, answer) = platform.dynamodb("BatchWriteItem", &batch).await;
        assert_eq!(status, 200, "{answer}");
    }
    let tally = |total: u64, unread: u64| {
        json!({"M": {
            "total": number(total), "unread": number(unread), "era": number(0), "read_all_at": {"L": []},
        }})
    };
    let channels = json!({"M": {"in_app": {"BOOL": true}, "push": {"BOOL": true}, "email": {"BOOL": true}}});
    let inbox = json!({
        "user_uuid": {"S": user}, "entry": {"S": "inbox"}, "version": number(1),
        "preferences": {"M": {"transaction": channels, "system": channels, "promotion": channels}},
        "transaction": tally(size, size.div_ceil(10)), "system": tally(0, 0), "promotion": tally(0, 0),
        "promises": {"M": {}},
    });
    let put = json!({"TableName": inboxes, "Item": inbox});
    let (status, answer) = platform.dynamodb("PutItem", &put).await;
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn ten_thousand_notifications_cost_no_more_than_a_hundred() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let mut costs: Vec<Vec<(usize, u64, u64)>> = Vec::new();
        for size in [100_u64, 10_000] {
            let ann = world.member("ann").await;
            history(platform, &ann.id, size).await;
            let last = size / 10;
            let mut of_size = Vec::new();
            for (method, path, function) in [
                (
                    "GET",
                    "/api/notifications/?type=0".to_owned(),
                    "ListNotificationsFunction",
                ),
                ("GET", "/api/notifications/".to_owned(), "ListNotificationsFunction"),
                (
                    "GET",
                    "/api/notifications/?unread_only=true&page_size=5".to_owned(),
                    "ListNotificationsFunction",
                ),
                (
                    "GET",
                    "/api/notifications/?read=true".to_owned(),
                    "ListNotificationsFunction",
                ),
                (
                    "GET",
                    format!("/api/notifications/?page={last}"),
                    "ListNotificationsFunction",
                ),
                (
                    "GET",
                    format!("/api/v1/user/message/?page={last}"),
                    "ListMessagesFunction",
                ),
                (
                    "GET",
                    "/api/notifications/unread-count/".to_owned(),
                    "UnreadCountFunction",
                ),
                (
                    "POST",
                    "/api/notifications/read-all/".to_owned(),
                    "ReadAllNotificationsFunction",
                ),
                (
                    "GET",
                    "/api/notifications/?read=false".to_owned(),
                    "ListNotificationsFunction",
                ),
            ] {
                let moment = inside::now(platform);
                let answer = ann.ask(method, &path).expect(200).await.json();
                let (calls, reads, writes) = cost(platform, moment, function);
                println!("{size:>6} {method:4} {path:50} {calls} calls, {reads} read, {writes} written");
                of_size.push((calls, (reads * 2.0) as u64, writes as u64));
                if path == "/api/notifications/" {
                    assert_eq!(
                        (&answer["count"], &answer["unread_count"]),
                        (&json!(size), &json!(size / 10))
                    );
                }
            }
            assert_eq!(unread(&ann).await, 0);
            costs.push(of_size);
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[1].iter().all(|(calls, ..)| *calls <= 2), "{costs:?}");
    });
}

#[test]
fn telling_somebody_something_writes_two_units() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (buyer, seller) = (world.member("买家").await, world.member("卖家").await);
        let tellings = 24;
        let events: Vec<Value> = (0..tellings / 2)
            .map(|n| {
                json!({
                    "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1_767_225_600_000_i64 + n,
                    "type": "OrderPaid",
                    "data": {
                        "order_uuid": uuid::Uuid::new_v4(), "buyer_uuid": buyer.id, "seller_uuid": seller.id,
                        "title": "九成新台灯，可调光，送灯泡", "product_count": 3, "total": 1990,
                        "payment_uuid": uuid::Uuid::new_v4(),
                    },
                })
            })
            .collect();
        let moment = inside::now(platform);
        let answer = world.invoke("notify-people", &queued(&events)).await.json();
        assert_eq!(answer["batchItemFailures"], json!([]));
        let (calls, reads, writes) = cost(platform, moment, "NotifyPeopleFunction");
        println!("{tellings} notifications: {calls} calls, {reads} units read, {writes} units written");
        assert!(
            writes <= 2.0 * tellings as f64,
            "{writes} units for {tellings} notifications"
        );
        assert_eq!(list(&seller, "").await["count"], tellings / 2);

        // Delivered again, it writes nothing.
        let moment = inside::now(platform);
        world.invoke("notify-people", &queued(&events)).await;
        assert_eq!(cost(platform, moment, "NotifyPeopleFunction").2, 0.0);
        assert_eq!((unread(&buyer).await, unread(&seller).await), (12, 12));
    });
}

/// The counts of one inbox, changed from all sides at once, are those of a recount.
#[test]
fn counts_stay_right_when_everything_happens_at_once() {
    in_world(async |world| {
        let ann = world.member("ann").await;
        let token = world.service_token("order-service").await;
        let events: Vec<Value> = (0..6)
            .map(|n| {
                json!({
                    "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1_767_225_600_000_i64 + n,
                    "type": "NotificationRequested",
                    "data": {
                        "notification_uuid": uuid::Uuid::new_v4(), "user_uuid": ann.id, "kind": "system", "title": "维护",
                        "content": "今晚维护", "related_id": null,
                    },
                })
            })
            .collect();
        let deliveries = async || {
            for event in &events {
                // Whoever loses too many races leaves the message in its queue, from where it comes again.
                let delivery = queued(std::slice::from_ref(event));
                world
                    .until("the event is handled", async || {
                        let answer = world.invoke("notify-people", &delivery).await.json();
                        answer["batchItemFailures"] == json!([])
                    })
                    .await;
            }
        };
        let requests = async || {
            for _ in 0..4 {
                sends(world, &token, &notice(&ann.id, json!(1))).expect(201).await;
            }
        };
        let reader = async || {
            for _ in 0..6 {
                let listed = list(&ann, "").await["results"]["data"].as_array().unwrap().clone();
                if let Some(first) = listed.first() {
                    let path = format!("/api/notifications/detail/{}/", text(&first["id"]));
                    ann.get(&path).send().await;
                }
            }
            ann.ask("POST", "/api/notifications/read-all/").send().await;
        };
        tokio::join!(deliveries(), deliveries(), requests(), reader());
        let list = list(&ann, "?page_size=100").await;
        let entries = list["results"]["data"].as_array().unwrap();
        let unread_ones = entries.iter().filter(|entry| entry["read"] == json!(false)).count();
        assert_eq!((&list["count"], entries.len()), (&json!(10), 10));
        assert_eq!(unread(&ann).await, unread_ones as u64);
    });
}
