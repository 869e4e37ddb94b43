//! The world of a test: a system of its own, people in it, and the promise that nothing is left behind.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cfmp::{Options, Platform};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::{Timestamp, UserId};
use keys::Privilege;
use keys::user_token::UserTokens;
use serde_json::{Value, json};

use crate::described;

/// How long anything that happens by itself may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The password of everybody in a test.
pub const PASSWORD: &str = "cfmp-test-1";

/// A system under test.
pub struct World {
    platform: Option<Platform>,
    base_url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    people: AtomicU64,
    failures: AtomicU32,
    failures_allowed: AtomicU32,
    dead_letters_allowed: AtomicU32,
}

/// Runs a test in a world of its own, then makes sure that nothing was left behind: no undelivered message, no dead
/// letter, no 5xx that the test did not announce.
pub fn in_world(test: impl AsyncFnOnce(&World)) {
    in_world_with(Options::test(), test);
}

/// The same on a platform with other options.
pub fn in_world_with(options: Options, test: impl AsyncFnOnce(&World)) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let world = World::open(options).await;
            test(&world).await;
            world.close().await;
        });
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What was asked, for messages.
    pub asked: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The JSON body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: not JSON: {}", self.asked, self.text()))
    }

    /// `data` of the envelope.
    #[track_caller]
    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    /// `error.type` of the envelope.
    #[track_caller]
    pub fn kind(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap_or_default().to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request under construction.
#[derive(Clone)]
pub struct Ask<'a> {
    world: &'a World,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub fn raw(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// Its method, its path and its body.
    pub fn parts(&self) -> (String, String, Bytes) {
        (self.method.to_string(), self.path.clone(), self.body.clone())
    }

    /// Sends it and expects this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> impl Future<Output = Answer> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.send().await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{caller}: {}: {}",
                answer.asked,
                answer.text()
            );
            answer
        }
    }

    /// Sends it.
    pub async fn send(self) -> Answer {
        let asked = format!("{} {}", self.method, self.path);
        let (method, path) = (self.method.clone(), self.path.clone());
        let url = if self.path.starts_with("http") {
            self.path
        } else {
            format!("{}{}", self.world.base_url, self.path)
        };
        let mut request = Request::builder().method(self.method).uri(url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap();
        let answer = self
            .world
            .client
            .request(request)
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.status.is_server_error() && !asked.contains("/_local/") {
            self.world.failures.fetch_add(1, Ordering::Relaxed);
        }
        described::check(method.as_str(), &path, parts.status, &parts.headers, &body);
        Answer {
            asked,
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

impl World {
    pub async fn open(options: Options) -> Self {
        if let Ok(url) = std::env::var("CFMP_BASE_URL") {
            return Self::at(url.trim_end_matches('/'));
        }
        let platform = Platform::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        let world = Self::at(platform.base_url());
        Self {
            platform: Some(platform),
            ..world
        }
    }

    /// The system that serves at `base_url`, whoever started it.
    pub fn at(base_url: &str) -> Self {
        Self {
            platform: None,
            base_url: base_url.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            people: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            failures_allowed: AtomicU32::new(0),
            dead_letters_allowed: AtomicU32::new(0),
        }
    }

    async fn close(self) {
        let Some(platform) = self.platform else { return };
        if let Err(Some(mut pending)) = platform.settle(PATIENCE).await {
            pending.queues.retain(|queue| queue.total() > 0);
            panic!("left behind: {pending:?}");
        }
        let dead = self_dead_letters(&self.client, &self.base_url).await;
        assert!(
            dead.len() <= self.dead_letters_allowed.load(Ordering::Relaxed) as usize,
            "dead letters that the test did not announce: {dead:#?}"
        );
        let (failures, allowed) = (self.failures.into_inner(), self.failures_allowed.into_inner());
        assert!(
            failures <= allowed,
            "{failures} answers with a 5xx, {allowed} announced"
        );
        platform.stop().await;
    }

    /// URL of the system, without a slash at its end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The inside of the platform; `None` on a deployment.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Announces that up to `count` answers will be 5xx.
    pub fn expect_failures(&self, count: u32) {
        self.failures_allowed.fetch_add(count, Ordering::Relaxed);
    }

    /// Announces that up to `count` messages will end as dead letters.
    pub fn expect_dead_letters(&self, count: u32) {
        self.dead_letters_allowed.fetch_add(count, Ordering::Relaxed);
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask {
            world: self,
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Ask<'_> {
        self.ask("POST", path).json(body)
    }

    /// Somebody new, registered and logged in.
    pub async fn member(&self, name: &str) -> Member<'_> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let unique = uuid_text();
        let (username, email) = (
            format!("{name}{number}{}", &unique[..6]),
            format!("member{number}.{}@cfmp.test", &unique[..12]),
        );
        self.post("/api/v1/captcha/", &json!({"scene": "register", "email": email}))
            .expect(200)
            .await;
        let captcha = self.captcha(&email).await;
        self.post(
            "/api/v1/auth/register/",
            &json!({"username": username, "password": PASSWORD, "password_repeat": PASSWORD, "email": email, "captcha": captcha}),
        )
        .send()
        .await;
        self.log_in(&email).await
    }

    /// So many people with tokens of their own, who never registered: a crowd would be registered for minutes. `None` on a
    /// deployment, whose keys nobody but itself has.
    pub fn crowd(&self, size: usize) -> Option<Vec<Member<'_>>> {
        let platform = self.platform()?;
        let seed = platform
            .aws()
            .secrets()
            .value("UserTokenSecret")
            .unwrap()
            .parse()
            .unwrap();
        let tokens = UserTokens::derive(&seed).unwrap();
        let now = Timestamp::from_millis(platform.clock().now_ms());
        let member = |_| {
            let id = UserId::random();
            Member {
                world: self,
                id: id.to_string(),
                email: String::new(),
                token: tokens.issue(id, "路人", Privilege::Member, now).unwrap(),
            }
        };
        Some((0..size).map(member).collect())
    }

    /// The captcha that was mailed to `email`.
    pub async fn captcha(&self, email: &str) -> String {
        let mails = self.get("/_local/mails").expect(200).await.json();
        let mails = mails["mails"].as_array().unwrap().clone();
        let mail = mails
            .iter()
            .rev()
            .find(|mail| mail.to_string().contains(email))
            .expect("a mail with a captcha");
        let text = mail["text"].as_str().unwrap_or_default();
        let digits: Vec<&str> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|run| run.len() == 6)
            .collect();
        (*digits.first().unwrap_or_else(|| panic!("no captcha in {text}"))).to_owned()
    }

    pub async fn log_in(&self, email: &str) -> Member<'_> {
        let login = self
            .post(
                "/api/v1/auth/login-with-password/",
                &json!({"email": email, "password": PASSWORD}),
            )
            .expect(200)
            .await
            .json();
        Member {
            world: self,
            id: login["user_id"].as_str().unwrap().to_owned(),
            email: email.to_owned(),
            token: login["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// A token of one of the services.
    pub async fn service_token(&self, service: &str) -> String {
        let answer = self
            .get(&format!("/_local/service-token?service={service}"))
            .expect(200)
            .await
            .json();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Lets time pass.
    pub async fn advance(&self, span: Duration) {
        let body = json!({"advance_ms": u64::try_from(span.as_millis()).unwrap()});
        self.post("/_local/clock", &body).expect(200).await;
    }

    /// Waits until everything that follows from what was done has happened.
    #[track_caller]
    pub fn settle(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self
                .get(&format!("/_local/idle?timeout_ms={}", PATIENCE.as_millis()))
                .expect(200)
                .await
                .json();
            assert_eq!(answer["idle"], true, "{caller}: still pending: {answer:#}");
        }
    }

    /// Asks again until the answer is as `wanted`, or time runs out.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let since = Instant::now();
        while !holds().await {
            assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::task::yield_now().await;
        }
    }

    /// Messages that nobody could handle.
    pub async fn dead_letters(&self) -> Vec<Value> {
        self_dead_letters(&self.client, &self.base_url).await
    }

    /// Hands an event to a function through the Invoke API and answers what it returned.
    pub async fn invoke(&self, function: &str, event: &Value) -> Answer {
        self.ask("POST", &format!("/2015-03-31/functions/{function}/invocations"))
            .json(event)
            .send()
            .await
    }
}

async fn self_dead_letters(client: &Client<HttpConnector, Full<Bytes>>, base_url: &str) -> Vec<Value> {
    let request = Request::get(format!("{base_url}/_local/dead-letters"))
        .body(Full::default())
        .unwrap();
    let answer = client
        .request(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    serde_json::from_slice::<Value>(&answer).unwrap()["dead_letters"]
        .as_array()
        .unwrap()
        .clone()
}

/// A random text for names that must be new.
pub fn uuid_text() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A logged-in person.
#[derive(Clone)]
pub struct Member<'a> {
    world: &'a World,
    pub id: String,
    pub email: String,
    pub token: String,
}

/// A product that somebody put up.
#[derive(Debug, Clone)]
pub struct Product {
    pub id: String,
    pub seller: String,
    pub price: String,
}

impl Product {
    /// The body that orders one piece of it.
    pub fn order(&self) -> Value {
        self.order_of(1)
    }

    /// The body that orders `quantity` pieces of it.
    pub fn order_of(&self, quantity: u64) -> Value {
        json!({
            "products": [{"product_uuid": self.id, "price": self.price, "quantity": quantity}],
            "seller_uuid": self.seller,
            "payment_method": 0,
            "shipping_name": "张三丰",
            "shipping_phone": "13800138000",
            "shipping_address": "大学城北区 8 号楼 404",
            "remark": "请放在门口",
        })
    }
}

impl<'a> Member<'a> {
    pub fn ask(&self, method: &str, path: &str) -> Ask<'a> {
        self.world.ask(method, path).bearer(&self.token)
    }

    pub fn get(&self, path: &str) -> Ask<'a> {
        self.ask("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Ask<'a> {
        self.ask("POST", path).json(body)
    }

    /// Puts a product up for sale.
    pub async fn puts_up(&self, title: &str, price: &str, stock: u32) -> Product {
        let body = json!({"title": title, "description": "九成新", "price": price, "stock": stock});
        let answer = self.post("/api/product/", &body).expect(201).await;
        let id = answer.data()["product_uuid"].as_str().unwrap().to_owned();
        Product {
            id,
            seller: self.id.clone(),
            price: price.to_owned(),
        }
    }

    /// Orders one piece of a product; answers the order.
    pub async fn orders(&self, product: &Product) -> Value {
        self.post("/api/orders/", &product.order()).expect(201).await.data()
    }

    /// Pays an order on the sandbox provider's page, as a person would; answers the payment.
    pub async fn pays(&self, order: &Value) -> Value {
        let payment = self.starts_paying(order).await;
        self.clicks_pay(&payment).await;
        payment
    }

    /// Creates the payment of an order.
    pub async fn starts_paying(&self, order: &Value) -> Value {
        let body = json!({
            "order_uuid": order["order_uuid"], "payment_method": "alipay",
            "amount": order["total_amount"], "payment_subject": "二手",
        });
        let answer = self.post("/api/payment/create/", &body).send().await;
        assert!(answer.status.is_success(), "{}: {}", answer.asked, answer.text());
        answer.data()
    }

    /// Opens the payment page and presses the button, which works.
    pub async fn clicks_pay(&self, payment: &Value) {
        let answer = self.presses_pay(payment).await;
        assert!(
            answer.status.is_success() || answer.status.is_redirection(),
            "{}: {}",
            answer.asked,
            answer.text()
        );
    }

    /// The same, whatever comes of it: a page that can not be paid has no button.
    pub async fn presses_pay(&self, payment: &Value) -> Answer {
        let url = payment["payment_data"]["payment_url"].as_str().unwrap().to_owned();
        let page = self.world.get(&url).send().await;
        match form_of(&page.text(), "pay") {
            Some((action, fields)) => {
                let press = self.world.ask("POST", &action);
                press.raw("application/x-www-form-urlencoded", fields).send().await
            }
            None => page,
        }
    }

    pub async fn order(&self, order: &Value) -> Value {
        self.get(&format!("/api/orders/{}/", order["order_uuid"].as_str().unwrap()))
            .expect(200)
            .await
            .data()
    }

    pub async fn cancels(&self, order: &Value, reason: &str) -> Value {
        let path = format!("/api/orders/{}/cancel/", order["order_uuid"].as_str().unwrap());
        self.post(&path, &json!({"reason": reason})).expect(200).await.data()
    }

    /// The titles of all of his notifications, newest first.
    pub async fn notices(&self) -> Vec<String> {
        let list = self.get("/api/notifications/?page_size=100").expect(200).await.json();
        let notices = list["results"]["data"].as_array().unwrap().clone();
        notices
            .iter()
            .map(|notice| notice["title"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The form on a page whose button has the value `button`: its action and its fields, URL-encoded.
fn form_of(page: &str, button: &str) -> Option<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let start = tag.find(&format!("{name}=\""))? + name.len() + 2;
        let text = &tag[start..];
        Some(unescape(&text[..text.find('"')?]))
    };
    let tags: Vec<&str> = page.split('<').collect();
    let action = tags
        .iter()
        .find(|tag| tag.starts_with("form"))
        .and_then(|tag| attribute(tag, "action"));
    let mut fields = form_urlencoded::Serializer::new(String::new());
    for tag in &tags {
        let hidden = tag.starts_with("input") && tag.contains("type=\"hidden\"");
        let chosen = tag.starts_with("button") && attribute(tag, "value").as_deref() == Some(button);
        if (hidden || chosen)
            && let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value"))
        {
            fields.append_pair(&name, &value);
        }
    }
    Some((action?, fields.finish()))
}

fn unescape(text: &str) -> String {
    text.replace("&#38;", "&")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}
