//! Notifications: telling people, and what they have read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Ask, Member, World, in_world, uuid_text};

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
