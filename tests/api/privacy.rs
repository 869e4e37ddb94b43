//! What people tell about themselves stays where it belongs: not in logs, not in events, not in clear beside an order.

use std::path::Path;

use cfmp::{Data, Options};
use serde_json::{Value, json};

use crate::world::{Member, PASSWORD, Product, World, in_world_with, uuid_text};

/// What a buyer tells about himself, distinct enough to be found wherever it turns up.
struct Confidences {
    name: String,
    phone: String,
    address: String,
    postal_code: String,
    remark: String,
    home: String,
    mistyped_password: String,
}

impl Confidences {
    fn new() -> Self {
        let unique = || uuid_text()[..12].to_owned();
        Self {
            name: format!("顾千帆{}", unique()),
            phone: format!("139-{}", unique()),
            address: format!("紫荆公寓 {} 室", unique()),
            postal_code: format!("P{}", unique()),
            remark: format!("门铃坏了 {}", unique()),
            home: format!("丁香 {} 栋", unique()),
            mistyped_password: format!("{}-7", unique()),
        }
    }

    fn of_orders(&self) -> [&str; 5] {
        [&self.name, &self.phone, &self.address, &self.postal_code, &self.remark]
    }

    fn order(&self, product: &Product) -> Value {
        let mut order = product.order();
        order["shipping_name"] = json!(self.name);
        order["shipping_phone"] = json!(self.phone);
        order["shipping_address"] = json!(self.address);
        order["shipping_postal_code"] = json!(self.postal_code);
        order["remark"] = json!(self.remark);
        order
    }
}

#[test]
fn personal_data_and_tokens_are_in_no_log_and_in_no_event_and_in_no_table_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        data: Data::Folder(folder.path().to_owned()),
        ..Options::test()
    };
    in_world_with(options, async |world| {
        let Some(platform) = world.platform() else { return };
        let told = Confidences::new();
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let title = format!("台灯{}", uuid_text());
        let mut tokens = refusals(world, &buyer, &told).await;
        tokens.extend([buyer.token.clone(), seller.token.clone()]);
        buyer
            .ask("PATCH", "/api/v1/user/me/")
            .json(&json!({"address": told.home}))
            .expect(200)
            .await;
        purchases(world, &seller, &buyer, &title, &told).await;
        world.settle().await;

        let log: String = platform
            .logs()
            .of(None)
            .into_iter()
            .map(|line| line.text + "\n")
            .collect();
        assert!(
            log.contains("answered") && log.contains("refused"),
            "the log is looked for in the right place"
        );
        let me = buyer.get("/api/v1/user/me/").expect(200).await.json();
        let username = me["username"].as_str().unwrap();
        let accounts = [
            username,
            &buyer.email,
            &seller.email,
            &told.home,
            PASSWORD,
            &told.mistyped_password,
        ];
        let tokens = tokens.iter().map(String::as_str);
        for secret in told.of_orders().into_iter().chain(accounts).chain(tokens.clone()) {
            assert!(
                !log.contains(secret),
                "{secret} is in the log: {:?}",
                log.lines().find(|l| l.contains(secret))
            );
        }

        // Tables, their streams, queues and the events that went through them: all of it is in these files.
        let kept = files(folder.path());
        let found = |text: &str| {
            kept.iter()
                .find(|(_, bytes)| contains(bytes, text))
                .map(|(name, _)| name)
        };
        for file in ["tables.sqlite", "queues.sqlite"] {
            assert!(
                kept.iter().any(|(name, _)| name.starts_with(file)),
                "{file} is looked for in the right place"
            );
        }
        assert!(found(&title).is_some(), "texts are kept as they are");
        for secret in told
            .of_orders()
            .into_iter()
            .chain([PASSWORD, &told.mistyped_password, &told.home])
            .chain(tokens)
        {
            assert_eq!(found(secret), None, "{secret} is kept in clear");
        }

        // The e-mail addresses of accounts are kept, with the accounts alone: log-ins are found by them.
        for table in platform.template().tables.values() {
            let (_, rows) = platform.dynamodb("Scan", &json!({"TableName": table.name})).await;
            let rows = rows.to_string();
            let is_an_account = ["UsersTable", "LoginsTable", "CaptchasTable"].contains(&table.logical_id.as_str());
            assert!(
                is_an_account || !rows.contains(&buyer.email),
                "{} is in {}",
                buyer.email,
                table.logical_id
            );
        }
    });
}

/// Requests that are refused while they hold what must not be logged; answers the tokens they used.
async fn refusals(world: &World, buyer: &Member<'_>, told: &Confidences) -> Vec<String> {
    let login = "/api/v1/auth/login-with-password/";
    for (path, body) in [
        (login, json!({"email": buyer.email, "password": told.mistyped_password})),
        (login, json!({"email": [buyer.email], "password": PASSWORD})),
        (
            login,
            json!({"email": format!("{} {}", buyer.email, told.home), "password": PASSWORD}),
        ),
        (
            "/api/v1/auth/register/",
            json!({"email": buyer.email, "password": PASSWORD, "captcha": "000000"}),
        ),
        ("/api/v1/captcha/", json!({"scene": told.home, "email": buyer.email})),
    ] {
        world.post(path, &body).expect(400).await;
    }
    let forged = format!("{}x", buyer.token);
    world
        .post("/api/auth/verify-token/", &json!({"token": forged}))
        .expect(401)
        .await;
    world.get("/api/orders/").bearer(&forged).expect(401).await;
    // Values of a wrong type and of a wrong length, which error messages like to repeat.
    for field in ["shipping_name", "shipping_phone", "shipping_address", "remark"] {
        let product = Product {
            id: uuid::Uuid::new_v4().to_string(),
            seller: uuid::Uuid::new_v4().to_string(),
            price: "1.00".to_owned(),
        };
        for value in [
            json!({"x": told.address}),
            json!([told.name]),
            json!(told.phone.repeat(60)),
        ] {
            let mut body = told.order(&product);
            body[field] = value;
            buyer.post("/api/orders/", &body).expect(400).await;
        }
    }
    let service = world.service_token("order-service").await;
    world.get("/api/orders/").bearer(&service).expect(403).await;
    vec![forged, service]
}

/// One purchase that is completed, one that is undone.
async fn purchases(world: &World, seller: &Member<'_>, buyer: &Member<'_>, title: &str, told: &Confidences) {
    for is_kept in [true, false] {
        let product = seller.puts_up(title, "19.90", 1).await;
        let order = buyer
            .post("/api/orders/", &told.order(&product))
            .expect(201)
            .await
            .data();
        // They are there for those whom they concern.
        for person in [buyer, seller] {
            assert_eq!(person.order(&order).await["shipping_address"], json!(told.address));
        }
        buyer.pays(&order).await;
        world.settle().await;
        if is_kept {
            let path = format!("/api/orders/{}/complete/", order["order_uuid"].as_str().unwrap());
            buyer.ask("POST", &path).expect(200).await;
        } else {
            seller.cancels(&order, "卖完了").await;
        }
        world.settle().await;
    }
}

/// Every file of the folder, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|window| window == text)
}
