//! Real-time push: open browsers hear of notifications at once, and miss nothing over reconnects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cfmp::{Options, Platform};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::{Member, PATIENCE, World, in_world};

/// A page that somebody has open.
pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Tab {
    /// Connects with this token, or with none.
    pub async fn connect(platform: &Platform, token: Option<&str>) -> Result<Tab, StatusCode> {
        let url = platform.websocket_url().unwrap();
        let url = match token {
            Some(token) => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("token", token)
                    .finish();
                format!("{url}?{query}")
            }
            None => url,
        };
        match connect_async(url).await {
            Ok((socket, _)) => Ok(Tab { socket }),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn open(platform: &Platform, member: &Member<'_>) -> Tab {
        Tab::connect(platform, Some(&member.token)).await.unwrap()
    }

    pub async fn says(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message; `None` once the connection is closed.
    async fn next(&mut self) -> Option<Result<Value, Option<CloseFrame>>> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("waited in vain for a message")? {
                Ok(Message::Text(text)) => return Some(Ok(serde_json::from_str(&text).unwrap())),
                Ok(Message::Close(frame)) => return Some(Err(frame)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message.
    pub async fn hears(&mut self) -> Value {
        self.next()
            .await
            .expect("the connection is lost")
            .expect("the connection was closed")
    }

    /// The next notification.
    pub async fn is_told(&mut self) -> Value {
        let message = self.hears().await;
        assert_eq!(message["type"], "notification", "{message}");
        message["data"].clone()
    }

    /// The code with which the other side closes the connection.
    async fn is_closed(&mut self) -> u16 {
        match self.next().await {
            Some(Err(Some(frame))) => frame.code.into(),
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Asks for what it missed until it has everything; the ids in the order in which they came.
    pub async fn resumes(&mut self, last_id: Option<&str>) -> (Vec<String>, Value) {
        let mut request = json!({"action": "resume", "last_id": last_id});
        let mut ids = Vec::new();
        loop {
            self.says(&request).await;
            let mut count = 0;
            let resumed = loop {
                let message = self.hears().await;
                if message["type"] == "notification" {
                    count += 1;
                    ids.push(id_of(&message["data"]));
                } else {
                    break message;
                }
            };
            assert_eq!(resumed["type"], "resumed", "{resumed}");
            assert_eq!(resumed["count"], count);
            assert_eq!(resumed["more"], !resumed["next"].is_null());
            if resumed["next"].is_null() {
                return (ids, resumed);
            }
            request = resumed["next"].clone();
        }
    }

    /// Goes with a word.
    async fn leaves(mut self) {
        self.socket.close(None).await.unwrap();
    }
}

fn id_of(notification: &Value) -> String {
    notification["id"].as_str().unwrap().to_owned()
}

/// Has a service tell somebody something; the notification.
pub async fn tell(world: &World, member: &Member<'_>, content: &str) -> Value {
    let token = world.service_token("order-service").await;
    let notice = json!({"user_uuid": member.id, "type": "system", "title": "公告", "content": content});
    let told = world
        .post("/api/notifications/", &notice)
        .bearer(&token)
        .expect(201)
        .await;
    told.data()
}

/// Connections of somebody, as the table has them.
async fn registered(platform: &Platform, member: &Member<'_>) -> Vec<String> {
    let query = json!({
        "TableName": platform.template().tables["ConnectionsTable"].name,
        "KeyConditionExpression": "user_uuid = :user",
        "ExpressionAttributeValues": {":user": {"S": member.id}},
    });
    let (status, answer) = platform.dynamodb("Query", &query).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let items = answer["Items"].as_array().unwrap().iter();
    items
        .map(|item| item["connection_id"]["S"].as_str().unwrap().to_owned())
        .collect()
}

/// Registers a connection of an hour ago whose end nobody told of: what a platform leaves that is killed.
pub async fn leave_behind(platform: &Platform, member: &Member<'_>, id: &str) {
    let now = platform.clock().now_ms();
    let put = json!({
        "TableName": platform.template().tables["ConnectionsTable"].name,
        "Item": {
            "user_uuid": {"S": member.id}, "connection_id": {"S": id},
            "connected_at": {"N": (now - 3_600_000).to_string()},
            "expires_at": {"N": (now / 1000 + 3_600).to_string()},
        },
    });
    let (status, answer) = platform.dynamodb("PutItem", &put).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[test]
fn a_purchase_reaches_the_open_pages_of_both_sides_at_once() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
        let mut stall = Tab::open(platform, &seller).await;
        let (mut phone, mut laptop) = (Tab::open(platform, &buyer).await, Tab::open(platform, &buyer).await);
        let mut slowest = Duration::ZERO;
        for round in ["cold", "warm"] {
            let lamp = seller.puts_up("台灯", "19.90", 1).await;
            let order = buyer.orders(&lamp).await;
            let since = Instant::now();
            let (sold, on_phone, on_laptop) = tokio::join!(stall.is_told(), phone.is_told(), laptop.is_told());
            slowest = since.elapsed();
            println!(
                "{round}: an order reached three pages {} ms after its answer",
                slowest.as_millis()
            );
            assert_eq!(on_phone, on_laptop);
            for (notice, member) in [(&sold, &seller), (&on_phone, &buyer)] {
                assert_eq!(notice["related_id"], order["order_uuid"], "{notice}");
                assert_eq!(
                    (&notice["user_uuid"], &notice["read"]),
                    (&json!(member.id), &json!(false))
                );
                // What is pushed is what the list shows.
                let list = member.get("/api/notifications/").expect(200).await.json();
                assert_eq!(&list["results"]["data"][0], notice);
            }
        }
        // On an idle machine it is a fraction of a second; on one that builds and tests much besides, patience.
        assert!(slowest < Duration::from_secs(10), "{slowest:?}");

        // No token is in what people read about the platform.
        world.settle().await;
        let events = platform.recording().events(|_| true);
        let logs = platform.logs().of(None);
        let written = format!("{events:?}{logs:?}");
        for member in [&seller, &buyer] {
            assert!(!written.contains(&member.token));
        }
    });
}

#[test]
fn a_token_may_come_as_a_subprotocol_and_what_is_no_websocket_is_refused() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let ann = world.member("ann").await;
        let mut request = platform.websocket_url().unwrap().into_client_request().unwrap();
        let offer = HeaderValue::try_from(format!("cfmp, {}", ann.token)).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offer);
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "cfmp");
        let mut tab = Tab { socket };
        tab.says(&json!({"action": "ping"})).await;
        assert_eq!(tab.hears().await, json!({"type": "pong"}));

        world.get("/ws").expect(426).await;
        world.post("/ws", &json!({})).expect(426).await;
    });
}

#[test]
fn what_a_page_says_is_understood_or_named() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let ann = world.member("ann").await;
        let mut tab = Tab::open(platform, &ann).await;
        for nonsense in [
            json!("hello"),
            json!({}),
            json!({"action": "shout"}),
            json!({"action": 7}),
            json!({"action": "$connect"}),
            json!({"action": "resume", "last_id": "the last one"}),
            json!({"action": "resume", "after": "yesterday"}),
        ] {
            tab.says(&nonsense).await;
            let refusal = tab.hears().await;
            assert_eq!(
                (&refusal["type"], &refusal["error"]["type"]),
                (&json!("error"), &json!("invalid-message")),
                "{nonsense}: {refusal}"
            );
        }
        tab.socket
            .send(Message::binary(&b"{\"action\":\"ping\"}"[..]))
            .await
            .unwrap();
        assert_eq!(tab.hears().await["error"]["type"], "invalid-message");
        tab.says(&json!({"action": "ping"})).await;
        assert_eq!(tab.hears().await["type"], "pong");
        // The gateway takes frames of 32 KB.
        tab.says(&json!("x".repeat(33 * 1024))).await;
        assert_eq!(tab.is_closed().await, 1009);
    });
}

#[test]
fn a_page_that_comes_back_gets_what_it_missed_in_order_and_in_parts() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (ann, bob) = (world.member("ann").await, world.member("bob").await);
        let mut tab = Tab::open(platform, &ann).await;
        assert_eq!(tab.resumes(None).await.0, Vec::<String>::new());
        let first = tell(world, &ann, "一").await;
        assert_eq!(tab.is_told().await, first);
        tab.leaves().await;

        // Long after, so that the first is not told again.
        world.advance(Duration::from_secs(3_600)).await;
        let mut missed = Vec::new();
        for number in 0..55 {
            missed.push(id_of(&tell(world, &ann, &number.to_string()).await));
            world.advance(Duration::from_millis(5)).await;
        }
        tell(world, &bob, "别人的").await;
        world.settle().await;

        let mut tab = Tab::open(platform, &ann).await;
        let (again, resumed) = tab.resumes(Some(&id_of(&first))).await;
        assert_eq!(again[0], id_of(&first), "the overlap");
        assert_eq!(again[1..], missed);
        assert_eq!(resumed["cut"], false);
        // Who has everything gets what is near the last one, and nothing else.
        let (again, _) = tab.resumes(Some(missed.last().unwrap())).await;
        assert_eq!(again.last(), missed.last());
        // An id that is not there, somebody else's, and none: the newest, and that there is more.
        let bobs = Tab::open(platform, &bob).await.resumes(None).await.0;
        for unknown in [None, Some(uuid::Uuid::new_v4().to_string()), Some(bobs[0].clone())] {
            let (newest, resumed) = tab.resumes(unknown.as_deref()).await;
            assert_eq!((newest.as_slice(), &resumed["cut"]), (&missed[5..], &json!(true)));
        }
    });
}

/// Somebody whose page comes and goes.
struct Visitor<'a> {
    platform: &'a Platform,
    member: &'a Member<'a>,
    /// How often each notification reached him.
    received: BTreeMap<String, u32>,
    last_id: Option<String>,
    visits: u32,
    random: u32,
}

impl Visitor<'_> {
    /// Connects, asks for what he missed, and leaves after some messages, or when nothing comes for a while; every other
    /// time without a word.
    async fn visits(&mut self) {
        const SILENCE: Duration = Duration::from_millis(500);
        // Who comes too often is asked to wait.
        let Ok(mut tab) = Tab::connect(self.platform, Some(&self.member.token)).await else {
            return;
        };
        self.visits += 1;
        self.random = self.random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        tab.says(&json!({"action": "resume", "last_id": self.last_id})).await;
        // New ones come between those that were missed, so until it has all of these the page goes on from where it was.
        let (mut newest, mut is_complete) = (None, false);
        for _ in 0..=(self.random >> 16) % (10 + 4 * self.visits) {
            let Ok(message) = tokio::time::timeout(SILENCE, tab.hears()).await else {
                break;
            };
            match message["type"].as_str() {
                Some("notification") => {
                    let id = id_of(&message["data"]);
                    *self.received.entry(id.clone()).or_default() += 1;
                    newest = Some(id);
                }
                Some("resumed") if message["more"] == true => tab.says(&message["next"]).await,
                Some("resumed") => is_complete = true,
                _ => panic!("{message}"),
            }
            if is_complete {
                self.last_id = newest.clone().or(self.last_id.take());
            }
        }
        if self.visits.is_multiple_of(2) {
            tab.leaves().await;
        }
    }
}

/// Pages come and go while notifications come as fast as they can be stored, and time passes so that most of them are not
/// near the last one seen.
#[test]
fn nothing_is_missed_however_often_a_page_reconnects() {
    const ROUNDS: usize = 4;
    const BURST: usize = 40;
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let ann = world.member("ann").await;
        let mut visitor = Visitor {
            platform,
            member: &ann,
            received: BTreeMap::new(),
            last_id: None,
            visits: 0,
            random: 7,
        };
        let (began, mut stored) = (Instant::now(), BTreeSet::new());
        for round in 0..ROUNDS {
            let tellings = (0..BURST).map(async |number| id_of(&tell(world, &ann, &format!("{round}.{number}")).await));
            let burst = futures::stream::iter(tellings).buffer_unordered(2).collect::<Vec<_>>();
            tokio::pin!(burst);
            loop {
                tokio::select! {
                    ids = &mut burst => break stored.extend(ids),
                    () = visitor.visits() => {}
                }
            }
            world.settle().await;
            world.advance(Duration::from_secs(60)).await;
        }
        while visitor.received.len() < stored.len() {
            assert!(
                began.elapsed() < 3 * PATIENCE,
                "missed {:?}",
                stored.len() - visitor.received.len()
            );
            visitor.visits().await;
        }
        println!(
            "{} notifications in {} ms over {} connections, {} deliveries",
            stored.len(),
            began.elapsed().as_millis(),
            visitor.visits,
            visitor.received.values().sum::<u32>()
        );
        assert_eq!(visitor.received.into_keys().collect::<BTreeSet<_>>(), stored);
        assert!(visitor.visits > 3, "{}", visitor.visits);
    });
}

#[test]
fn connections_that_are_gone_are_forgotten() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let (ann, bob) = (world.member("ann").await, world.member("bob").await);
        // A page is closed, with and without a word.
        let (one, two) = (Tab::open(platform, &ann).await, Tab::open(platform, &ann).await);
        assert_eq!(registered(platform, &ann).await.len(), 2);
        one.leaves().await;
        drop(two);
        world
            .until("both are forgotten", async || {
                registered(platform, &ann).await.is_empty()
            })
            .await;

        // Nobody told of its end: the next push finds out.
        leave_behind(platform, &ann, "lost=").await;
        let mut tab = Tab::open(platform, &ann).await;
        let told = tell(world, &ann, "一").await;
        assert_eq!(tab.is_told().await, told);
        world.settle().await;
        assert_eq!(registered(platform, &ann).await, platform.aws().connections().ids());

        // The gateway ends what is silent for ten minutes, and everything after two hours.
        world.advance(Duration::from_secs(9 * 60)).await;
        tab.says(&json!({"action": "ping"})).await;
        assert_eq!(tab.hears().await["type"], "pong");
        world.advance(Duration::from_secs(9 * 60)).await;
        tab.says(&json!({"action": "ping"})).await;
        assert_eq!(tab.hears().await["type"], "pong");
        world.advance(Duration::from_secs(10 * 60)).await;
        assert_eq!(tab.is_closed().await, 1001);
        let mut tab = Tab::open(platform, &bob).await;
        world.advance(Duration::from_secs(2 * 60 * 60)).await;
        assert_eq!(tab.is_closed().await, 1001);
        world
            .until("both are forgotten", async || {
                registered(platform, &ann).await.is_empty() && registered(platform, &bob).await.is_empty()
            })
            .await;
    });
}

#[test]
fn a_user_has_ten_pages_and_lost_ones_do_not_count() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let ann = world.member("ann").await;
        for number in 0..10 {
            leave_behind(platform, &ann, &format!("lost{number}=")).await;
        }
        let mut tabs = Vec::new();
        for _ in 0..10 {
            tabs.push(Tab::open(platform, &ann).await);
        }
        assert_eq!(registered(platform, &ann).await.len(), 10);
        let refused = Tab::connect(platform, Some(&ann.token)).await.err();
        assert_eq!(refused, Some(StatusCode::TOO_MANY_REQUESTS));
        tabs.pop().unwrap().leaves().await;
        world
            .until("there is a place", async || registered(platform, &ann).await.len() == 9)
            .await;
        tabs.push(Tab::open(platform, &ann).await);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_stops_says_goodbye() {
    if crate::inside::is_elsewhere() {
        return;
    }
    let platform = Platform::start(Options::test()).await.unwrap();
    let world = World::at(platform.base_url());
    let ann = world.member("ann").await;
    let mut tab = Tab::open(&platform, &ann).await;
    let (closed, ()) = tokio::join!(tab.is_closed(), platform.stop());
    assert_eq!(closed, 1001);
}
