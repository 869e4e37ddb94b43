//! Products: putting up, finding, changing; stock that orders reserve and give back.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Answer, Ask, Product, World, in_world, uuid_text};

fn order_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A service's ask to `reserve` or `restore` stock.
fn stock_call<'a>(world: &'a World, token: &str, verb: &str, product: &str, order: &str, quantity: u64) -> Ask<'a> {
    let body = json!({"quantity": quantity, "order_uuid": order});
    world
        .post(&format!("/api/products/{product}/{verb}-stock/"), &body)
        .bearer(token)
}

async fn stock(world: &World, product: &Product) -> u64 {
    world
        .get(&format!("/api/product/{}/", product.id))
        .expect(200)
        .await
        .json()["stock"]
        .as_u64()
        .unwrap()
}

fn titles(list: &Value) -> Vec<String> {
    list["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["title"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_product_is_put_up_and_everybody_sees_what_is_public_of_it() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let body = json!({
            "title": "台灯", "description": "九成新", "price": 19.9, "stock": 3, "image": "/media/lamp.jpg",
            "media": ["https://img.example.edu/side.jpg"], "categories": ["宿舍"], "function": 1,
            "status": 1, "seller_uuid": order_id(), "visit_count": 99,
        });
        let created = seller.post("/api/product/", &body).expect(201).await;
        assert_eq!(created.json()["code"], 200);
        let id = created.data()["product_uuid"].as_str().unwrap().to_owned();

        let mut answers = Vec::new();
        for path in [
            "/api/product/ID/",
            "/api/product/ID",
            "/api/products/ID/",
            "/api/products/ID",
        ] {
            answers.push(world.get(&path.replace("ID", &id)).expect(200).await.json());
        }
        assert!(
            answers.iter().all(|answer| *answer == created.data()),
            "bare, and the same on every path"
        );
        let shown = &answers[0];
        for (member, value) in [
            ("product_id", json!(id)),
            ("name", json!("台灯")),
            ("price", json!("19.90")),
            ("stock", json!(3)),
            ("status", json!(0)),
            ("function", json!(1)),
            ("visit_count", json!(0)),
            ("categories", json!(["宿舍"])),
            ("image", json!("/media/lamp.jpg")),
            ("seller_uuid", json!(seller.id)),
        ] {
            assert_eq!(shown[member], value, "{member}");
        }
        assert_eq!(shown["media"].as_array().unwrap().len(), 2);
        assert_eq!(shown["user_info"]["user_id"], json!(seller.id));
        let text = shown.to_string();
        assert!(
            !text.contains(&seller.email) && !text.contains("email") && !text.contains("address"),
            "{text}"
        );

        world.get(&format!("/api/product/{}/", order_id())).expect(404).await;
        world.get("/api/product/17/").expect(400).await;
    });
}

#[test]
fn what_is_wrong_with_a_product_is_named_and_nothing_is_written() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let good = json!({"title": "台灯", "description": "九成新", "price": "19.90"});
        let long = |count: usize| json!("长".repeat(count));
        let mut wrong: Vec<(&str, Value)> = vec![
            ("title", json!(null)),
            ("title", json!(7)),
            ("title", json!("  ")),
            ("title", long(101)),
            ("title", json!("a\u{0}b")),
            ("name", json!("")),
            ("description", json!(null)),
            ("description", json!("")),
            ("description", json!(["x"])),
            ("description", long(5001)),
            ("price", json!(null)),
            ("price", json!("")),
            ("price", json!(0)),
            ("price", json!("-1")),
            ("price", json!("0.004")),
            ("price", json!(19.901)),
            ("price", json!("100000000")),
            ("price", json!({"fen": 1})),
            ("stock", json!(0)),
            ("stock", json!(1000)),
            ("stock", json!(1.5)),
            ("stock", json!("1")),
            ("image", json!("")),
            ("image", json!("javascript:alert(1)")),
            ("image", json!(7)),
            ("media", json!("/a")),
            ("media", json!(vec!["/a"; 10])),
            ("media[0]", json!(["ftp://x/y"])),
            ("categories", json!(["1", "2", "3", "4", "5", "6"])),
            ("categories[1]", json!(["书", ""])),
            ("function", json!(2)),
            ("function", json!("1")),
        ];
        for (field, value) in wrong.drain(..) {
            let mut body = good.clone();
            body[field.split('[').next().unwrap()] = value.clone();
            let refused = seller.post("/api/product/", &body).expect(400).await;
            let fields = refused.json()["error"]["fields"].clone();
            let found = fields[field].is_string() || fields[field.split('[').next().unwrap()].is_string();
            assert!(found, "{field} = {value}: {}", refused.text());
        }
        for field in ["title", "description", "price"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            let refused = seller.post("/api/product/", &body).expect(400).await;
            assert_eq!(
                refused.json()["error"]["fields"][field],
                "is required",
                "{}",
                refused.text()
            );
        }
        for body in [
            &b"not json"[..],
            b"[]",
            b"",
            b"{\"title\": \"\xff\"}",
            b"{\"title\": \"x\"} {}",
        ] {
            seller
                .ask("POST", "/api/product/")
                .raw("application/json", body)
                .expect(400)
                .await;
        }
        assert_eq!(world.get("/api/product/").expect(200).await.json()["count"], 0);

        for token in ["null", "undefined", "x.y.z"] {
            world.post("/api/product/", &good).bearer(token).expect(401).await;
        }
        world.post("/api/product/", &good).expect(401).await;
        let service = world.service_token("order-service").await;
        world.post("/api/product/", &good).bearer(&service).expect(403).await;
    });
}

#[test]
fn products_are_searched_sorted_and_paged() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let mut ids = Vec::new();
        for (title, price) in [("Desk lamp", "20.00"), ("LAMP 台灯", "10.00"), ("Book", "30.00")] {
            ids.push(seller.puts_up(title, price, 1).await.id);
            world.advance(Duration::from_secs(1)).await;
        }
        let list = async |query: &str| world.get(&format!("/api/product/{query}")).expect(200).await.json();

        let all = list("").await;
        assert_eq!(titles(&all), ["Book", "LAMP 台灯", "Desk lamp"]);
        assert_eq!(
            (&all["count"], &all["total_pages"], &all["current_page"]),
            (&json!(3), &json!(1), &json!(1))
        );
        assert_eq!(
            (&all["data"]["results"], &all["data"]["count"]),
            (&all["results"], &json!(3))
        );
        assert_eq!(all["links"], json!({"next": null, "previous": null}));
        assert_eq!(
            all["results"],
            world.get("/api/products").expect(200).await.json()["results"]
        );

        assert_eq!(titles(&list("?sort_by=2").await), ["LAMP 台灯", "Desk lamp", "Book"]);
        assert_eq!(titles(&list("?sort_by=3").await), ["Book", "Desk lamp", "LAMP 台灯"]);
        assert_eq!(titles(&list("?title=lamp").await), ["LAMP 台灯", "Desk lamp"]);
        assert_eq!(titles(&list("?title=%E5%8F%B0%E7%81%AF").await), ["LAMP 台灯"]);
        assert_eq!(titles(&list("?min_price=10.01&max_price=20").await), ["Desk lamp"]);
        assert_eq!(
            titles(&list("?title=&min_price=&max_price=&status=&sort_by=").await).len(),
            3
        );

        let second = list("?page=2&page_size=2&sort_by=2").await;
        assert_eq!(
            (titles(&second), &second["count"]),
            (vec!["Book".to_owned()], &json!(3))
        );
        let previous = second["links"]["previous"].as_str().unwrap();
        assert_eq!(
            titles(&world.get(previous).expect(200).await.json()),
            ["LAMP 台灯", "Desk lamp"]
        );
        assert_eq!(titles(&list("?page=9").await), [""; 0]);

        let named = list(&format!("?ids={},{},{},{}", ids[2], ids[0], ids[2], order_id())).await;
        let mut found = titles(&named);
        found.sort();
        assert_eq!(
            (found, &named["count"]),
            (vec!["Book".to_owned(), "Desk lamp".to_owned()], &json!(2))
        );

        for (query, field) in [
            ("?page=0", "page"),
            ("?page_size=101", "page_size"),
            ("?min_price=x", "min_price"),
            ("?max_price=-1", "max_price"),
            ("?status=4", "status"),
            ("?sort_by=4", "sort_by"),
            ("?ids=1,2", "ids"),
        ] {
            let refused = world.get(&format!("/api/product/{query}")).expect(400).await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{query}: {}",
                refused.text()
            );
        }
        let too_many: Vec<String> = (0..101).map(|_| order_id()).collect();
        world
            .get(&format!("/api/products?ids={}", too_many.join(",")))
            .expect(400)
            .await;
    });
}

#[test]
fn only_its_seller_changes_a_product() {
    in_world(async |world| {
        let (seller, other) = (world.member("卖家").await, world.member("别人").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let path = format!("/api/product/{}/", lamp.id);
        let edit = json!({"title": "新台灯", "price": "15", "stock": 4, "image": "/new.jpg", "seller_uuid": other.id});

        assert_eq!(
            other.ask("PATCH", &path).json(&edit).expect(404).await.kind(),
            "not-found"
        );
        world.ask("PUT", &path).json(&edit).expect(401).await;
        let service = world.service_token("order-service").await;
        world.ask("PUT", &path).json(&edit).bearer(&service).expect(403).await;
        seller
            .ask("PATCH", &format!("/api/product/{}/", order_id()))
            .json(&edit)
            .expect(404)
            .await;
        assert_eq!(world.get(&path).expect(200).await.json()["title"], "台灯");

        let edited = seller.ask("PUT", &path).json(&edit).expect(200).await.data();
        assert_eq!(world.get(&path).expect(200).await.json(), edited);
        assert_eq!(
            (&edited["title"], &edited["price"], &edited["stock"]),
            (&json!("新台灯"), &json!("15.00"), &json!(4))
        );
        assert_eq!(
            (&edited["description"], &edited["seller_uuid"]),
            (&json!("九成新"), &json!(seller.id))
        );

        // Taken off sale, it can not be bought or found, and can be offered again.
        for (wish, status, on_sale) in [(2, 2, 0), (0, 0, 1)] {
            let shown = seller
                .ask("PATCH", &path)
                .json(&json!({"status": wish}))
                .expect(200)
                .await
                .data();
            assert_eq!(shown["status"], status);
            assert_eq!(world.get("/api/product/").expect(200).await.json()["count"], on_sale);
            let sold = world.get("/api/product/?status=2").expect(200).await.json();
            assert_eq!(sold["count"], 1 - on_sale);
        }
        let sold_out = seller
            .ask("PATCH", &path)
            .json(&json!({"stock": 0}))
            .expect(200)
            .await
            .data();
        assert_eq!((&sold_out["stock"], &sold_out["status"]), (&json!(0), &json!(2)));

        for (field, value) in [
            ("status", json!(1)),
            ("status", json!(3)),
            ("status", json!("0")),
            ("stock", json!(-1)),
            ("stock", json!(1000)),
            ("price", json!("0")),
            ("title", json!("")),
        ] {
            let refused = seller
                .ask("PATCH", &path)
                .json(&json!({field: value}))
                .expect(400)
                .await;
            assert!(
                refused.json()["error"]["fields"][field].is_string(),
                "{field}: {}",
                refused.text()
            );
        }
    });
}

#[test]
fn stock_is_reserved_and_given_back_once_however_often_it_is_asked() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 3).await;
        let token = world.service_token("order-service").await;
        let call = |verb: &str, order: &str, quantity| stock_call(world, &token, verb, &lamp.id, order, quantity);
        let (first, second) = (order_id(), order_id());

        let reserved = call("reserve", &first, 2).expect(200).await.json();
        assert_eq!(reserved["success"], true);
        assert_eq!(
            reserved["data"],
            json!({"product_uuid": lamp.id, "order_uuid": first, "quantity": 2, "status": "reserved"})
        );
        assert_eq!(call("reserve", &first, 2).expect(200).await.json(), reserved);
        assert_eq!(stock(world, &lamp).await, 1);
        assert_eq!(
            call("reserve", &first, 1).expect(409).await.kind(),
            "reservation-differs"
        );
        assert_eq!(call("reserve", &second, 2).expect(409).await.kind(), "out-of-stock");
        call("reserve", &second, 1).expect(200).await;
        assert_eq!(stock(world, &lamp).await, 0);
        assert_eq!(
            call("reserve", &first, 2).expect(200).await.json(),
            reserved,
            "also when nothing is left"
        );

        // What was reserved goes back, whatever quantity is named; once.
        let restored = call("restore", &first, 1).expect(200).await.json();
        assert_eq!(
            restored["data"],
            json!({"product_uuid": lamp.id, "order_uuid": first, "quantity": 2, "status": "restored"})
        );
        assert_eq!(call("restore", &first, 2).expect(200).await.json(), restored);
        assert_eq!(stock(world, &lamp).await, 2);
        assert_eq!(
            call("reserve", &first, 2).expect(409).await.kind(),
            "reservation-closed"
        );

        // A restore that overtakes its reserve shuts the door on it.
        let late = order_id();
        call("restore", &late, 1).expect(200).await;
        assert_eq!(call("reserve", &late, 1).expect(409).await.kind(), "reservation-closed");
        assert_eq!(stock(world, &lamp).await, 2);

        // Not on sale, and not there.
        let path = format!("/api/product/{}/", lamp.id);
        seller.ask("PATCH", &path).json(&json!({"status": 2})).expect(200).await;
        assert_eq!(call("reserve", &order_id(), 1).expect(409).await.kind(), "not-on-sale");
        for verb in ["reserve", "restore"] {
            let unknown = stock_call(world, &token, verb, &order_id(), &order_id(), 1);
            assert_eq!(unknown.expect(404).await.kind(), "not-found");
        }
    });
}

#[test]
fn stock_is_moved_by_services_only_and_by_whole_pieces() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 5).await;
        let service = world.service_token("order-service").await;
        for verb in ["reserve", "restore"] {
            stock_call(world, &seller.token, verb, &lamp.id, &order_id(), 1)
                .expect(403)
                .await;
            stock_call(world, "null", verb, &lamp.id, &order_id(), 1)
                .expect(401)
                .await;
            let path = format!("/api/products/{}/{verb}-stock/", lamp.id);
            world
                .post(&path, &json!({"quantity": 1, "order_uuid": order_id()}))
                .expect(401)
                .await;
            for quantity in [json!(0), json!(-1), json!(1.5), json!(1000), json!("1"), json!(null)] {
                let body = json!({"quantity": quantity, "order_uuid": order_id()});
                let refused = world.post(&path, &body).bearer(&service).expect(400).await;
                assert!(
                    refused.json()["error"]["fields"]["quantity"].is_string(),
                    "{}",
                    refused.text()
                );
            }
            for order in [json!(17), json!("17"), json!(null)] {
                let body = json!({"quantity": 1, "order_uuid": order});
                let refused = world.post(&path, &body).bearer(&service).expect(400).await;
                assert!(
                    refused.json()["error"]["fields"]["order_uuid"].is_string(),
                    "{}",
                    refused.text()
                );
            }
        }
        assert_eq!(stock(world, &lamp).await, 5);
    });
}

#[test]
fn of_two_hundred_orders_for_the_last_piece_one_gets_it_and_the_others_are_told() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let token = world.service_token("order-service").await;
        let orders: Vec<String> = (0..200).map(|_| order_id()).collect();
        let answers = join_all(
            orders
                .iter()
                .map(|order| stock_call(world, &token, "reserve", &lamp.id, order, 1).send()),
        )
        .await;
        let (won, lost): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1);
        for answer in lost {
            assert_eq!(
                (answer.status.as_u16(), answer.kind().as_str()),
                (409, "out-of-stock"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(stock(world, &lamp).await, 0);
    });
}

#[test]
fn a_sellers_edit_never_undoes_what_buyers_took_meanwhile() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 60).await;
        let token = world.service_token("order-service").await;
        let path = format!("/api/product/{}/", lamp.id);
        let orders: Vec<String> = (0..40).map(|_| order_id()).collect();
        let taking = join_all(
            orders
                .iter()
                .map(|order| stock_call(world, &token, "reserve", &lamp.id, order, 1).send()),
        );
        let editing = async {
            let mut edited = 0;
            for number in 1..=20 {
                let edit = json!({"price": format!("{number}.00")});
                let answer = seller.ask("PATCH", &path).json(&edit).send().await;
                assert!(matches!(answer.status.as_u16(), 200 | 409), "{}", answer.text());
                edited += u32::from(answer.status == 200);
            }
            edited
        };
        let (taken, edited) = tokio::join!(taking, editing);
        assert!(edited > 0);
        let taken = taken.iter().filter(|answer| answer.status == 200).count() as u64;
        assert_eq!(taken, 40);
        assert_eq!(stock(world, &lamp).await, 60 - taken);
        join_all(
            orders
                .iter()
                .map(|order| stock_call(world, &token, "restore", &lamp.id, order, 1).expect(200)),
        )
        .await;
        assert_eq!(stock(world, &lamp).await, 60);
    });
}

#[test]
fn a_reservation_whose_order_never_came_to_be_is_released_when_its_lease_ends() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let token = world.service_token("order-service").await;
        let order = order_id();
        stock_call(world, &token, "reserve", &lamp.id, &order, 1)
            .expect(200)
            .await;

        world.advance(Duration::from_secs(13 * 60)).await;
        world.settle().await;
        assert_eq!(stock(world, &lamp).await, 0);
        world.advance(Duration::from_secs(3 * 60)).await;
        world
            .until("the stock is back", async || stock(world, &lamp).await == 1)
            .await;

        let token = world.service_token("order-service").await;
        let again = stock_call(world, &token, "reserve", &lamp.id, &order, 1)
            .expect(409)
            .await;
        assert_eq!(again.kind(), "reservation-closed");
        stock_call(world, &token, "restore", &lamp.id, &order, 1)
            .expect(200)
            .await;
        assert_eq!(stock(world, &lamp).await, 1);
    });
}

#[test]
fn a_living_order_keeps_its_stock_when_the_lease_ends() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let order = buyer
            .post("/api/orders/", &lamp.order())
            .header("idempotency-key", uuid_text())
            .expect(201)
            .await;
        assert_eq!(order.data()["status"], 0);
        for _ in 0..4 {
            world.advance(Duration::from_secs(5 * 60)).await;
            world.settle().await;
            assert_eq!(stock(world, &lamp).await, 0);
        }
        world.advance(Duration::from_secs(12 * 60)).await;
        world
            .until("the expired order has given it back", async || {
                stock(world, &lamp).await == 1
            })
            .await;
    });
}

#[test]
fn categories_are_a_list_and_products_name_theirs_by_number_or_by_name() {
    in_world(async |world| {
        let categories = world.get("/api/product/category/").expect(200).await.json();
        let categories = categories.as_array().unwrap();
        assert!(categories.len() > 5);
        for category in categories {
            assert!(
                category["category_id"].is_u64() && category["name"].is_string(),
                "{category}"
            );
            assert_eq!(category.as_object().unwrap().len(), 2);
        }
        let seller = world.member("卖家").await;
        let mut body = json!({"title": "台灯", "description": "九成新", "price": "1", "categories": [4, "手工"]});
        let shown = seller.post("/api/product/", &body).expect(201).await.data();
        let fourth = categories.iter().find(|category| category["category_id"] == 4).unwrap();
        assert_eq!(shown["categories"], json!([fourth["name"], "手工"]));
        body["categories"] = json!([4, 99]);
        let refused = seller.post("/api/product/", &body).expect(400).await.json();
        assert!(refused["error"]["fields"]["categories[1]"].is_string(), "{refused}");
    });
}

#[test]
fn a_deleted_product_is_gone_for_everybody_but_its_orders() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 2).await;
        let path = format!("/api/product/{}/", lamp.id);
        let order = buyer.orders(&lamp).await;
        assert_eq!(buyer.ask("DELETE", &path).expect(404).await.kind(), "not-found");
        world.ask("DELETE", &path).expect(401).await;

        let deleted = seller.ask("DELETE", &path).expect(200).await.json();
        assert_eq!((&deleted["code"], &deleted["data"]), (&json!(200), &json!(null)));
        seller.ask("DELETE", &path).expect(404).await;
        for gone in [
            path.as_str(),
            &format!("/api/products/{}/", lamp.id),
            &format!("{path}reviews/"),
        ] {
            world.get(gone).expect(404).await;
        }
        seller.ask("PATCH", &path).json(&json!({"status": 0})).expect(404).await;
        buyer.ask("POST", &format!("{path}collection/")).expect(404).await;
        for list in [
            "/api/product/",
            "/api/product/?status=2",
            &format!("/api/products?ids={}", lamp.id),
        ] {
            assert_eq!(world.get(list).expect(200).await.json()["count"], 0, "{list}");
        }
        assert_eq!(seller.get("/api/product/publish/").expect(200).await.json()["count"], 0);
        let service = world.service_token("order-service").await;
        stock_call(world, &service, "reserve", &lamp.id, &order_id(), 1)
            .expect(404)
            .await;

        // Its order shows it as it was sold, goes on, and gives back what it held.
        assert_eq!(buyer.order(&order).await["products"][0]["product_name"], "台灯");
        buyer.cancels(&order, "不要了").await;
        world.settle().await;
        let Some(platform) = world.platform() else { return };
        let read = json!({
            "TableName": platform.template().tables["ProductsTable"].name,
            "Key": {"product_uuid": {"S": lamp.id}},
        });
        let (_, kept) = platform.dynamodb("GetItem", &read).await;
        assert_eq!(kept["Item"]["stock"]["N"], "2");
        assert!(kept["Item"].get("shelf").is_none());
    });
}

#[test]
fn the_market_bans_approves_and_reviews_and_a_seller_can_not_undo_it() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let administrator = inside::administrator(world, platform).await;
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let (path, root) = (
            format!("/api/product/{}/", lamp.id),
            format!("/api/root/products/{}/", lamp.id),
        );
        let judge = async |status: u64| {
            administrator
                .ask("PATCH", &root)
                .json(&json!({"status": status}))
                .send()
                .await
        };
        let count = async |list: &str| world.get(list).expect(200).await.json()["count"].clone();

        for (verdict, status) in [(1, 1), (1, 1), (3, 3), (0, 0), (3, 3), (1, 1)] {
            let judged = judge(verdict).await;
            assert_eq!(
                (judged.status.as_u16(), &judged.data()["status"]),
                (200, &json!(status))
            );
            assert_eq!(world.get(&path).expect(200).await.json(), judged.data());
            assert_eq!(count("/api/product/").await, u64::from(status == 0));
            let held = administrator
                .get(&format!("/api/product/?status={status}"))
                .expect(200)
                .await
                .json();
            assert_eq!(held["count"], 1, "administrators find what is held back");
            assert_eq!(
                count(&format!("/api/product/?status={status}")).await,
                u64::from(status == 0)
            );
        }
        let refused = seller.ask("PATCH", &path).json(&json!({"status": 0})).expect(409).await;
        assert_eq!(refused.kind(), "held-by-the-market");
        let refused = buyer.post("/api/orders/", &lamp.order()).send().await;
        assert_eq!(refused.status.as_u16(), 409, "{}", refused.text());
        // Who asks what a seller put up sees it only where it concerns him.
        let publish = format!("/api/product/publish/?user_id={}", seller.id);
        for (member, found) in [(&buyer, 0), (&seller, 1), (&administrator, 1)] {
            assert_eq!(member.get(&publish).expect(200).await.json()["count"], found);
        }

        assert_eq!(judge(0).await.status.as_u16(), 200);
        seller.ask("PATCH", &path).json(&json!({"status": 2})).expect(200).await;
        assert_eq!(judge(0).await.kind(), "withdrawn");
        assert_eq!(judge(2).await.status.as_u16(), 400);
        let nothing = format!("/api/root/products/{}/", order_id());
        administrator
            .ask("PATCH", &nothing)
            .json(&json!({"status": 1}))
            .expect(404)
            .await;
        seller.ask("PATCH", &root).json(&json!({"status": 0})).expect(403).await;
    });
}

#[test]
fn what_a_seller_put_up_is_listed_by_its_status() {
    in_world(async |world| {
        let (seller, other) = (world.member("卖家").await, world.member("别人").await);
        other.puts_up("别人的", "1", 1).await;
        let mut products = Vec::new();
        for title in ["一", "二", "三"] {
            world.advance(Duration::from_secs(1)).await;
            products.push(seller.puts_up(title, "1", 1).await);
        }
        let withdraw = format!("/api/product/{}/", products[1].id);
        seller
            .ask("PATCH", &withdraw)
            .json(&json!({"status": 2}))
            .expect(200)
            .await;
        let list = async |query: &str| {
            seller
                .get(&format!("/api/product/publish/{query}"))
                .expect(200)
                .await
                .json()
        };

        let all = list("").await;
        assert_eq!(titles(&all), ["三", "二", "一"], "newest first");
        assert_eq!(
            (&all["count"], &all["current_page"], &all["total_pages"]),
            (&json!(3), &json!(1), &json!(1))
        );
        assert_eq!(all["data"], json!({"results": all["results"], "count": 3}));
        assert_eq!(titles(&list("?status=0").await), ["三", "一"]);
        assert_eq!(titles(&list("?status=2").await), ["二"]);
        assert_eq!(titles(&list("?page=2&page_size=2").await), ["一"]);
        let his = format!("?user_id={}&status=", seller.id);
        assert_eq!(titles(&list(&his).await), ["三", "二", "一"]);
        let anonymous = world
            .get(&format!("/api/product/publish{his}"))
            .expect(200)
            .await
            .json();
        assert_eq!(titles(&anonymous), ["三", "二", "一"]);
        let nobody = format!("?user_id={}", order_id());
        assert_eq!(list(&nobody).await["count"], 0);
        world.get("/api/product/publish/").expect(401).await;
    });
}

#[test]
fn a_user_keeps_an_eye_on_a_product_or_does_not() {
    in_world(async |world| {
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let lamp = seller.puts_up("台灯", "19.90", 1).await;
        let path = format!("/api/product/{}/collection", lamp.id);
        let anonymous = world.get(&path).expect(200).await.json();
        assert_eq!(anonymous, json!({"is_collected": false}));
        world
            .get(&path)
            .header("authorization", "Bearer null")
            .expect(200)
            .await;
        for (method, collected) in [
            ("GET", false),
            ("POST", true),
            ("GET", true),
            ("POST", true),
            ("DELETE", false),
            ("DELETE", false),
            ("GET", false),
        ] {
            let answer = buyer.ask(method, &path).expect(200).await.json();
            assert_eq!(answer["is_collected"], collected, "{method}");
            assert_eq!(
                seller.get(&format!("{path}/")).expect(200).await.json()["is_collected"],
                false
            );
        }
        world.ask("POST", &path).expect(401).await;
        let nothing = format!("/api/product/{}/collection/", order_id());
        buyer.ask("POST", &nothing).expect(404).await;
    });
}

#[test]
fn a_buyer_reviews_what_he_received_once_for_each_order() {
    in_world(async |world| {
        let (seller, buyer, other) = (
            world.member("卖家").await,
            world.member("买家").await,
            world.member("别人").await,
        );
        let lamp = seller.puts_up("台灯", "19.90", 5).await;
        let path = format!("/api/product/{}/reviews/", lamp.id);
        let empty = world.get(&path).expect(200).await.json();
        assert_eq!((&empty["results"], &empty["count"]), (&json!([]), &json!(0)));

        let order = buyer.orders(&lamp).await;
        let review = |order: &Value, rating: u64| json!({"order_uuid": order["order_uuid"], "rating": rating, "content": "很好用"});
        assert_eq!(
            buyer.post(&path, &review(&order, 4)).expect(409).await.kind(),
            "not-received"
        );
        assert_eq!(
            other.post(&path, &review(&order, 1)).expect(403).await.kind(),
            "not-bought"
        );
        let made_up = json!({"order_uuid": order_id()});
        assert_eq!(
            buyer.post(&path, &review(&made_up, 4)).expect(403).await.kind(),
            "not-bought"
        );
        let book = seller.puts_up("书", "9.00", 1).await;
        let elsewhere = format!("/api/product/{}/reviews/", book.id);
        assert_eq!(
            buyer.post(&elsewhere, &review(&order, 4)).expect(403).await.kind(),
            "not-bought"
        );

        for rating in [4, 5] {
            world.advance(Duration::from_secs(1)).await;
            let order = if rating == 4 {
                order.clone()
            } else {
                buyer.orders(&lamp).await
            };
            buyer.pays(&order).await;
            world.settle().await;
            let complete = format!("/api/orders/{}/complete/", order["order_uuid"].as_str().unwrap());
            buyer.ask("POST", &complete).expect(200).await;
            // Two at once are one.
            let both = join_all([0, 1].map(|_| buyer.post(&path, &review(&order, rating)).send())).await;
            let mut statuses: Vec<u16> = both.iter().map(|answer| answer.status.as_u16()).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409], "{both:?}");
            assert_eq!(
                buyer.post(&path, &review(&order, 1)).expect(409).await.kind(),
                "reviewed"
            );
        }
        let all = world.get(&path).expect(200).await.json();
        let ratings: Vec<_> = all["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["rating"].clone())
            .collect();
        assert_eq!(
            (ratings, &all["count"]),
            (vec![json!(5), json!(4)], &json!(2)),
            "newest first"
        );
        let shown = &all["results"][0];
        assert_eq!(
            (&shown["content"], &shown["user_info"]["user_id"]),
            (&json!("很好用"), &json!(buyer.id))
        );
        assert!(
            !all.to_string().contains(order["order_uuid"].as_str().unwrap()),
            "an order is nobody else's business"
        );
        let product = world
            .get(&format!("/api/product/{}/", lamp.id))
            .expect(200)
            .await
            .json();
        assert_eq!(product["rating_avg"], "4.5");
    });
}

#[test]
fn a_service_changes_stock_once_for_each_key_and_never_below_nothing() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 2).await;
        let path = format!("/api/product/{}/update-stock/", lamp.id);
        let service = world.service_token("order-service").await;
        let change = |quantity: i64| world.post(&path, &json!({"quantity": quantity})).bearer(&service);

        let first = change(-2).header("idempotency-key", "count-1").expect(200).await.json();
        assert_eq!(first["success"], true);
        assert!(first["message"].is_string());
        assert_eq!(
            first["data"],
            json!({"product_id": lamp.id, "quantity_changed": -2, "old_stock": 2, "current_stock": 0})
        );
        assert_eq!(world.get("/api/product/").expect(200).await.json()["count"], 0, "sold");
        assert_eq!(change(3).expect(200).await.json()["data"]["current_stock"], 3);
        assert_eq!(
            world.get("/api/product/").expect(200).await.json()["count"],
            1,
            "on sale again"
        );
        let again = change(-2).header("idempotency-key", "count-1").expect(200).await.json();
        assert_eq!((again, stock(world, &lamp).await), (first, 3));
        let reused = change(-1).header("idempotency-key", "count-1").expect(409).await;
        assert_eq!(reused.kind(), "idempotency-key-reused");

        let refused = change(-4).header("idempotency-key", "count-2").expect(400).await;
        assert_eq!(
            (&refused.json()["success"], refused.kind()),
            (&json!(false), "out-of-stock".to_owned())
        );
        assert_eq!(
            refused.json()["error"]["fields"]["quantity"],
            "must not take away more than 3"
        );
        // What was refused was not done under its key.
        change(1).expect(200).await;
        change(-4).header("idempotency-key", "count-2").expect(200).await;
        assert_eq!(stock(world, &lamp).await, 0);

        let nothing = format!("/api/product/{}/update-stock/", order_id());
        world
            .post(&nothing, &json!({"quantity": 1}))
            .bearer(&service)
            .expect(404)
            .await;
        change(1).header("idempotency-key", "x".repeat(256)).expect(400).await;
        seller.post(&path, &json!({"quantity": 1})).expect(403).await;
        world.post(&path, &json!({"quantity": 1})).expect(401).await;
    });
}

#[test]
fn changes_of_stock_and_orders_at_once_add_up() {
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let lamp = seller.puts_up("台灯", "19.90", 3).await;
        let service = world.service_token("order-service").await;
        let path = format!("/api/product/{}/update-stock/", lamp.id);
        let changes = (0..4).map(|_| {
            let change = world.post(&path, &json!({"quantity": 1})).bearer(&service);
            change.header("idempotency-key", "the-same").send()
        });
        let orders: Vec<String> = (0..4).map(|_| order_id()).collect();
        let reserves = orders
            .iter()
            .map(|order| stock_call(world, &service, "reserve", &lamp.id, order, 1).send());
        let (changes, reserves) = futures::join!(join_all(changes), join_all(reserves));
        // Whoever found no turn in time may ask again.
        world.expect_failures(8);
        for answer in changes.iter().chain(&reserves) {
            assert!(
                [200, 409, 503].contains(&answer.status.as_u16()),
                "{}: {}",
                answer.asked,
                answer.text()
            );
        }
        let held = reserves.iter().filter(|answer| answer.status == 200).count() as u64;
        let added = u64::from(changes.iter().any(|answer| answer.status == 200));
        assert_eq!(stock(world, &lamp).await + held, 3 + added);
    });
}

#[test]
fn a_visit_of_a_browser_counts_and_the_most_visited_come_first() {
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    in_world(async |world| {
        let seller = world.member("卖家").await;
        let (lamp, book) = (
            seller.puts_up("台灯", "19.90", 1).await,
            seller.puts_up("书", "9.00", 1).await,
        );
        let path = |product: &Product| format!("/api/product/{}/", product.id);
        for _ in 0..3 {
            world.get(&path(&lamp)).header("user-agent", FIREFOX).expect(200).await;
        }
        // Robots, services and the seller himself are no visitors; what is not there is not visited.
        world.get(&path(&book)).expect(200).await;
        let robot = "Mozilla/5.0 (compatible; Googlebot/2.1)";
        world.get(&path(&book)).header("user-agent", robot).expect(200).await;
        seller.get(&path(&book)).header("user-agent", FIREFOX).expect(200).await;
        let service_path = format!("/api/products/{}/", book.id);
        world.get(&service_path).header("user-agent", FIREFOX).expect(200).await;
        let nothing = format!("/api/product/{}/", order_id());
        world.get(&nothing).header("user-agent", FIREFOX).expect(404).await;

        // A seller's edit is no obstacle and takes no visit away.
        seller
            .ask("PATCH", &path(&lamp))
            .json(&json!({"price": "18"}))
            .expect(200)
            .await;
        assert_eq!(world.get(&path(&lamp)).expect(200).await.json()["visit_count"], 3);
        assert_eq!(world.get(&path(&book)).expect(200).await.json()["visit_count"], 0);
        let list = world.get("/api/product/?sort_by=1").expect(200).await.json();
        assert_eq!(titles(&list), ["台灯", "书"]);
    });
}

/// A list read every product that was ever put up.
#[test]
fn a_list_costs_the_same_round_trips_whatever_was_sold_before() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let seller = world.member("卖家").await;
        let cost = async || {
            let moment = inside::now(platform);
            world.get("/api/product/?page_size=5").expect(200).await;
            inside::calls(platform, "ListProductsFunction", moment)
        };
        for title in ["一", "二", "三"] {
            seller.puts_up(title, "1", 1).await;
        }
        let few = cost().await;
        let table = &platform.template().tables["ProductsTable"].name;
        // A long history, as it is after years: sold, on the shelves of what is sold.
        for start in 0..40 {
            let rows: Vec<Value> = (0..25)
                .map(|offset| {
                    let number = start * 25 + offset;
                    json!({"PutRequest": {"Item": {
                        "product_uuid": {"S": uuid::Uuid::from_u128(number)}, "seller_uuid": {"S": seller.id},
                        "seller_name": {"S": "卖家"}, "title": {"S": "旧书".repeat(40)}, "description": {"S": "旧"},
                        "price": {"N": "100"}, "stock": {"N": "0"}, "status": {"S": "on_sale"},
                        "handover": {"S": "pick_up"}, "pictures": {"L": []}, "categories": {"L": []},
                        "visit_count": {"N": "0"}, "created_at": {"N": "1"}, "updated_at": {"N": "1"},
                        "version": {"N": "1"}, "shelf": {"S": format!("sold#{}", number % 8)},
                    }}})
                })
                .collect();
            let (status, answer) = platform
                .dynamodb("BatchWriteItem", &json!({"RequestItems": {table: rows}}))
                .await;
            assert!(status.is_success(), "{answer}");
        }
        let many = cost().await;
        assert_eq!(few, many);
        assert_eq!(many.len(), 9, "eight shelves side by side, and one batch: {many:?}");
        let sold = world.get("/api/product/?status=2").expect(200).await.json();
        assert_eq!(sold["count"], 1000);
        let last = world
            .get("/api/product/?status=2&page=10&page_size=100")
            .expect(200)
            .await
            .json();
        assert_eq!(titles(&last).len(), 100);
        let published = world
            .get(&format!("/api/product/publish/?user_id={}&page_size=1", seller.id))
            .expect(200)
            .await
            .json();
        assert_eq!(published["count"], 1003);
    });
}
