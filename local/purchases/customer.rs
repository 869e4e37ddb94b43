//! One purchase under way: its people at the HTTP API and at the providers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::{PaymentId, Timestamp, UserId};
use keys::user_token::UserTokens;
use keys::{Privilege, Seed};
use serde_json::{Value, json};

use super::RunError;
use super::plan::{Act, Trouble, Which, Wish};
use crate::Platform;
use crate::buyer::{Buyer, Paying};
use crate::clock::PlatformClock;
use crate::operator::Operator;
use crate::simulator::Simulator;

/// How often something is tried again, once a minute, before it is given up.
const MOST_TRIES: u32 = 60;
/// After so long without an answer a client gives up and asks again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Logical id of the secret behind users' tokens.
pub(crate) const USER_TOKEN_SECRET: &str = "UserTokenSecret";

/// What came of an act.
enum Done {
    /// It is done.
    Yes,
    /// Later, for this reason.
    Again(String),
    /// Never, for this reason: what is left of the purchase is given up.
    Never(String),
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) name: String,
}

/// A request that was made, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The purchase's number in its run.
    pub(crate) number: u32,
    /// What for.
    pub(crate) operation: &'static str,
    /// HTTP status; 0 where no answer came.
    pub(crate) status: u16,
    /// The error's type, or why no answer came.
    pub(crate) error: String,
    /// From when it should have been made until it was answered.
    pub(crate) took: Duration,
}

/// Who is told of every request.
pub(crate) type Observer = Box<dyn Fn(Asked) + Send + Sync>;

/// The way to the platform, for everybody.
pub(crate) struct Desk {
    base_url: String,
    operator: Operator,
    clock: PlatformClock,
    client: Client<HttpConnector, Full<Bytes>>,
    tokens: UserTokens,
    buyer: Buyer,
    /// Who is told of every request. With one, everything may break: what is not answered is asked again, and what is
    /// refused was refused. Without one the platform is whole, and what always works has to work.
    observer: Option<Observer>,
    /// What was put up for sale, by the number of the purchase that it was put up for.
    shelf: Mutex<BTreeMap<u32, String>>,
}

/// Who asks.
enum By<'a> {
    Person(&'a Person),
    Administrator,
    /// A service, with this token.
    Service(&'a str),
}

/// A question of somebody's.
struct Question<'a> {
    operation: &'static str,
    who: By<'a>,
    method: Method,
    path: &'a str,
    key: Option<&'a str>,
    body: Value,
}

impl Desk {
    pub(super) fn open(platform: &Platform) -> Result<Desk, RunError> {
        let secret = platform.aws().secrets().value(USER_TOKEN_SECRET);
        let secret = secret.ok_or_else(|| RunError::Tokens(format!("the template has no {USER_TOKEN_SECRET}")))?;
        let simulator = platform.simulator().map(Simulator::base_url);
        Desk::at(platform.base_url(), simulator, platform.clock().clone(), secret)
    }

    /// The way to a platform that may be in another process. `secret` is that of user tokens, `clock` one that shows the
    /// platform's time.
    pub(crate) fn at(
        base_url: &str,
        simulator: Option<&str>,
        clock: PlatformClock,
        secret: &str,
    ) -> Result<Desk, RunError> {
        let seed: Seed = secret.parse().map_err(RunError::tokens)?;
        Ok(Desk {
            base_url: base_url.to_owned(),
            operator: Operator::at(base_url, simulator),
            clock,
            client: Client::builder(TokioExecutor::new()).build_http(),
            tokens: UserTokens::derive(&seed).map_err(RunError::tokens)?,
            buyer: Buyer::new(simulator),
            observer: None,
            shelf: Mutex::default(),
        })
    }

    /// An administrator has a dead letter tried once more. One that fails again goes on waiting, where it is found.
    pub(crate) async fn redrive(&self, letter: &str) -> Result<(), RunError> {
        let path = format!("/api/root/dead-letters/{letter}/redrive");
        let question = Question {
            operation: "redrive",
            who: By::Administrator,
            method: Method::POST,
            path: &path,
            key: None,
            body: Value::Null,
        };
        self.ask(&question).await.map(drop)
    }

    /// The same where everything may break.
    pub(crate) fn observed(self, observer: Observer) -> Desk {
        Desk {
            observer: Some(observer),
            ..self
        }
    }

    /// A fresh token: log-ins last a day, and days pass.
    pub(crate) fn token(&self, who: &Person) -> Result<String, RunError> {
        self.issue(who.id, &who.name, Privilege::Member)
    }

    fn administrator(&self) -> Result<String, RunError> {
        const NAME: &str = "administrator";
        self.issue(UserId::derived(&["purchases", NAME]), NAME, Privilege::Administrator)
    }

    fn issue(&self, id: UserId, name: &str, privilege: Privilege) -> Result<String, RunError> {
        let now = Timestamp::from_millis(self.clock.now_ms());
        let token = self.tokens.issue(id, name, privilege, now);
        token.map_err(RunError::tokens)
    }

    /// What was put up for sale, by the number of the purchase that it was put up for.
    pub(crate) fn shelf(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, number: u32, operation: &'static str, (status, error): (u16, String), took: Duration) {
        if let Some(observer) = &self.observer {
            observer(Asked {
                number,
                operation,
                status,
                error,
                took,
            });
        }
    }

    /// A service, with its token, tells somebody something about `about`; whether it was taken on. Asked again, it is the same.
    pub(crate) async fn tell(&self, token: &str, number: u32, who: &Person, about: &str) -> Result<bool, RunError> {
        let notice = json!({
            "user_uuid": who.id, "type": "system", "title": "公告", "content": "今晚维护", "related_id": about,
        });
        let question = Question {
            operation: "notify",
            who: By::Service(token),
            method: Method::POST,
            path: "/api/notifications",
            key: Some(about),
            body: notice,
        };
        let began = Instant::now();
        let answer = self.ask(&question).await;
        let seen = match &answer {
            Ok((status, answer)) => (*status, kind(answer).to_owned()),
            Err(error) => (0, error.to_string()),
        };
        let is_taken = (200..300).contains(&seen.0);
        self.observe(number, question.operation, seen, began.elapsed());
        Ok(is_taken)
    }

    /// What is answered: the status and the JSON.
    async fn ask(&self, question: &Question<'_>) -> Result<(u16, Value), RunError> {
        let failed = |reason: String| RunError::Unanswered {
            path: question.path.to_owned(),
            reason,
        };
        let token = match question.who {
            By::Person(person) => self.token(person)?,
            By::Administrator => self.administrator()?,
            By::Service(token) => token.to_owned(),
        };
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(format!("{}{}", self.base_url, question.path))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        if let Some(key) = question.key {
            request = request.header("idempotency-key", key);
        }
        let body = match &question.body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answered = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|error| failed(format!("{error:?}")))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
        };
        let silence = || Err(failed(format!("no answer within {} s", PATIENCE.as_secs())));
        tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| silence())
    }
}

/// One purchase under way.
#[derive(Debug)]
pub(crate) struct Purchase {
    pub(crate) wish: Wish,
    pub(crate) trouble: Trouble,
    /// The purchase whose goods these are; its own, unless several want the same.
    goods: u32,
    /// What is to be done, and from which minute on.
    todo: VecDeque<(u32, Act)>,
    tries: u32,
    seed: u64,
    buyer: Person,
    seller: Person,
    /// How much later than it should the next request begins.
    lateness: Duration,
    /// What is sold.
    pub(crate) product: Option<String>,
    pub(crate) order: Option<String>,
    /// What the buyer has been offered, by way.
    offers: BTreeMap<Which, Value>,
    /// What was put off or given up, and why.
    pub(crate) notes: Vec<String>,
    /// Whether something that was wished for was given up.
    pub(crate) gave_up: bool,
}

impl Purchase {
    /// One with people of its own.
    pub(super) fn new(seed: u64, wish: Wish, trouble: Trouble) -> Purchase {
        let person = |name: &'static str| Person {
            id: UserId::derived(&["purchases", &seed.to_string(), name, &wish.number.to_string()]),
            name: name.to_owned(),
        };
        let (buyer, seller, goods) = (person("buyer"), person("seller"), wish.number);
        Purchase::between(seed, (buyer, seller), goods, wish, trouble)
    }

    /// One between these people, buyer and seller, of what was put up for the purchase `goods`.
    pub(crate) fn between(
        seed: u64,
        (buyer, seller): (Person, Person),
        goods: u32,
        wish: Wish,
        trouble: Trouble,
    ) -> Purchase {
        Purchase {
            todo: wish.acts.iter().copied().collect(),
            tries: 0,
            seed,
            buyer,
            seller,
            goods,
            lateness: Duration::ZERO,
            product: None,
            order: None,
            offers: BTreeMap::new(),
            notes: Vec::new(),
            gave_up: false,
            wish,
            trouble,
        }
    }

    /// The minute in which there is something to do again.
    pub(crate) fn next_minute(&self) -> Option<u32> {
        self.todo.front().map(|(at, _)| *at)
    }

    pub(crate) fn is_due(&self, minute: u32) -> bool {
        self.next_minute().is_some_and(|at| at <= minute)
    }

    /// It is gone on with later than it should be: that counts into how long the next request takes.
    pub(crate) fn is_late_by(&mut self, lateness: Duration) {
        self.lateness = lateness;
    }

    /// Whether its people are through with it.
    pub(crate) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// Does what is due by `minute`. What can not be done yet waits for the next one, and so does what comes after it.
    pub(crate) async fn go_on(&mut self, desk: &Desk, minute: u32) -> Result<(), RunError> {
        while let Some((_, act)) = self.todo.front().copied().filter(|(at, _)| *at <= minute) {
            match self.act(desk, act).await? {
                Done::Yes => {
                    self.todo.pop_front();
                    self.tries = 0;
                }
                Done::Again(why) if self.tries < MOST_TRIES => {
                    if self.tries == 0 {
                        self.notes.push(format!("minute {minute}: {act:?} is put off: {why}"));
                    }
                    self.tries += 1;
                    if let Some((at, _)) = self.todo.front_mut() {
                        *at = minute + 1;
                    }
                }
                Done::Again(why) | Done::Never(why) => {
                    self.notes.push(format!("minute {minute}: {act:?} is given up: {why}"));
                    self.gave_up = true;
                    self.todo.clear();
                }
            }
        }
        Ok(())
    }

    /// The key by which a repeated request is known.
    fn key(&self, what: &str) -> String {
        format!("purchase-{}-{}-{what}", self.seed, self.wish.number)
    }

    fn payment_key(&self, which: Which) -> String {
        self.key(match which {
            Which::First => "first",
            Which::Second => "second",
        })
    }

    /// Asks something in the purchase's name.
    async fn ask(&mut self, desk: &Desk, question: Question<'_>) -> Result<(u16, Value), RunError> {
        let (began, lateness) = (Instant::now(), std::mem::take(&mut self.lateness));
        let answer = desk.ask(&question).await;
        let took = began.elapsed() + lateness;
        let seen = match &answer {
            Ok((status, answer)) => (*status, kind(answer).to_owned()),
            Err(error) => (0, error.to_string()),
        };
        desk.observe(self.wish.number, question.operation, seen, took);
        match answer {
            Err(RunError::Unanswered { .. }) if desk.observer.is_some() => Ok((0, Value::Null)),
            answer => answer,
        }
    }

    async fn act(&mut self, desk: &Desk, act: Act) -> Result<Done, RunError> {
        if matches!(act, Act::CancelAsSeller | Act::Complete | Act::AskBack(_)) {
            match self.waits_for_money(desk).await? {
                Done::Yes => {}
                other => return Ok(other),
            }
        }
        let (buyer, seller) = (self.buyer.clone(), self.seller.clone());
        match act {
            Act::Order => self.order(desk).await,
            Act::Open(which) => self.opens(desk, which).await,
            Act::Pay(which) => self.pays(desk, which).await,
            Act::CancelAsBuyer => {
                let body = json!({"reason": "changed my mind"});
                self.posts(desk, &buyer, ["cancel", "orders", "cancel"], body).await
            }
            Act::CancelAsSeller => {
                let body = json!({"reason": "sold to somebody else"});
                self.posts(desk, &seller, ["cancel", "orders", "cancel"], body).await
            }
            Act::Complete => {
                let of = ["complete", "orders", "complete"];
                self.posts(desk, &buyer, of, Value::Null).await
            }
            Act::AskBack(amount) => {
                let body = amount.map_or(json!({}), |fen| json!({"refund_amount": yuan(fen)}));
                self.posts(desk, &buyer, ["refund", "payment", "refund"], body).await
            }
        }
    }

    /// Puts up what is to be sold; somebody else's goods are waited for.
    async fn puts_up(&mut self, desk: &Desk) -> Result<Done, RunError> {
        let known = desk.shelf().get(&self.goods).cloned();
        if known.is_some() || self.goods != self.wish.number {
            self.product = known;
            return Ok(match self.product {
                Some(_) => Done::Yes,
                None => Done::Again("the goods are not there yet".to_owned()),
            });
        }
        let product = json!({
            "title": format!("Lamp {} & \"shade\" = a+b 🛋", self.wish.number), "description": "used",
            "price": yuan(self.wish.price_fen), "stock": self.wish.stock,
        });
        let seller = self.seller.clone();
        let question = Question {
            operation: "put up",
            who: By::Person(&seller),
            method: Method::POST,
            path: "/api/product",
            key: None,
            body: product,
        };
        let (status, answer) = self.ask(desk, question).await?;
        match answer["data"]["product_uuid"].as_str() {
            Some(id) => {
                desk.shelf().insert(self.goods, id.to_owned());
                self.product = Some(id.to_owned());
                Ok(Done::Yes)
            }
            None if desk.observer.is_some() => Ok(put_off_or_refused(status, &answer)),
            None => Err(RunError::Refused(format!("a product: {status} {answer}"))),
        }
    }

    async fn order(&mut self, desk: &Desk) -> Result<Done, RunError> {
        if self.product.is_none() {
            match self.puts_up(desk).await? {
                Done::Yes => {}
                other => return Ok(other),
            }
        }
        let wish = &self.wish;
        let order = json!({
            "products": [{
                "product_uuid": self.product, "price": yuan(wish.price_fen), "quantity": wish.quantity,
            }],
            "seller_uuid": self.seller.id,
            "payment_method": i32::from(wish.first.method == "wechat_pay"),
            "shipping_name": "buyer",
            // SecurityService knows people by these.
            "shipping_phone": format!("138{:08}", wish.number),
            "shipping_address": format!("Room {}", wish.number),
        });
        let (key, buyer) = (self.key("order"), self.buyer.clone());
        let question = Question {
            operation: "order",
            who: By::Person(&buyer),
            method: Method::POST,
            path: "/api/orders",
            key: Some(&key),
            body: order,
        };
        let (status, answer) = self.ask(desk, question).await?;
        match answer["data"]["order_uuid"].as_str() {
            Some(id) if (200..300).contains(&status) => {
                self.order = Some(id.to_owned());
                Ok(Done::Yes)
            }
            _ if status >= 500 || desk.observer.is_some() => Ok(put_off_or_refused(status, &answer)),
            _ => Err(RunError::Refused(format!("an order: {status} {answer}"))),
        }
    }

    async fn opens(&mut self, desk: &Desk, which: Which) -> Result<Done, RunError> {
        let (way, key) = (self.wish.way(which), self.payment_key(which));
        if !self.offers.contains_key(&which) && self.tries == 0 {
            // The payment's id, and so its number at the provider, follows from the key.
            let payment = PaymentId::derived(&[&self.buyer.id.to_string(), &key]);
            let mut switches = serde_json::to_value(&self.trouble.switches).map_err(RunError::refused)?;
            switches["out_trade_no"] = json!(payment.uuid().simple().to_string());
            if let Err(error) = desk.operator.set_switches(&switches).await {
                return match desk.observer {
                    Some(_) => Ok(Done::Again(error.to_string())),
                    None => Err(RunError::Refused(error.to_string())),
                };
            }
        }
        let mut body = json!({
            "order_uuid": self.order, "payment_method": way.method, "channel": way.channel,
            "amount": yuan(self.wish.total_fen()), "payment_subject": "lamp",
        });
        if way.channel == "in_app" {
            body["openid"] = json!("o6_bmjrPTlm6_2sgVt7hMZOPfL2M");
        }
        let buyer = self.buyer.clone();
        let question = Question {
            operation: "open payment",
            who: By::Person(&buyer),
            method: Method::POST,
            path: "/api/payment/create",
            key: Some(&key),
            body,
        };
        let (status, answer) = self.ask(desk, question).await?;
        Ok(match status {
            200 | 201 => {
                self.offers.insert(which, answer["data"]["payment_data"].clone());
                Done::Yes
            }
            _ => put_off_or_refused(status, &answer),
        })
    }

    async fn pays(&mut self, desk: &Desk, which: Which) -> Result<Done, RunError> {
        let way = self.wish.way(which);
        // Its page is good for five minutes: who comes back to it clicks again in the shop.
        if (way.method, way.channel) == ("wechat_pay", "mobile_page") && self.tries == 0 {
            match self.opens(desk, which).await? {
                Done::Again(why) => return Ok(Done::Again(why)),
                Done::Yes | Done::Never(_) => {}
            }
        }
        let Some(offer) = self.offers.get(&which) else {
            return Ok(Done::Never("nothing was offered".to_owned()));
        };
        let is_empty = |name: &str| offer[name].as_str().unwrap_or_default().is_empty();
        if is_empty("payment_url") && is_empty("jsapi_params") {
            self.notes
                .push(format!("the {which:?} payment can not be paid any more"));
            return Ok(Done::Yes);
        }
        let (began, lateness) = (Instant::now(), std::mem::take(&mut self.lateness));
        let paid = match desk.buyer.pays(offer).await {
            Ok(Paying::Paid(Some(back))) if self.wish.returns => match desk.buyer.returns(&back).await {
                Ok(status) if status.is_server_error() => Err(format!("a returning browser: {status}")),
                Ok(_) => Ok(true),
                Err(error) => Err(error.to_string()),
            },
            Ok(Paying::Paid(_)) => Ok(true),
            Ok(Paying::Refused(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        };
        let seen = match &paid {
            Ok(true) => (200, String::new()),
            Ok(false) => (409, "the page can not be paid".to_owned()),
            Err(error) => (0, error.clone()),
        };
        desk.observe(self.wish.number, "pay", seen, began.elapsed() + lateness);
        match paid {
            Ok(is_paid) => {
                if !is_paid {
                    self.notes.push(format!("the {which:?} page can not be paid"));
                }
                Ok(Done::Yes)
            }
            Err(error) if desk.observer.is_some() => Ok(Done::Again(error)),
            Err(error) => Err(RunError::Refused(error)),
        }
    }

    /// Most things can be done with a paid order only.
    async fn waits_for_money(&mut self, desk: &Desk) -> Result<Done, RunError> {
        let path = format!("/api/orders/{}", self.order.as_deref().unwrap_or_default());
        let buyer = self.buyer.clone();
        let question = Question {
            operation: "look",
            who: By::Person(&buyer),
            method: Method::GET,
            path: &path,
            key: None,
            body: Value::Null,
        };
        let (status, answer) = self.ask(desk, question).await?;
        Ok(match (status, answer["data"]["status"].as_u64()) {
            (200, Some(0)) => Done::Again("the order is not paid".to_owned()),
            (200, Some(1)) => Done::Yes,
            (200, Some(_)) => Done::Never("the order has ended".to_owned()),
            _ => Done::Again(told(status, &answer)),
        })
    }

    /// Posts to something of the order: the operation, whose path it is in, and the verb at its end.
    async fn posts(
        &mut self,
        desk: &Desk,
        who: &Person,
        [operation, of, verb]: [&'static str; 3],
        body: Value,
    ) -> Result<Done, RunError> {
        let order = self.order.as_deref().unwrap_or_default();
        let path = format!("/api/{of}/{order}/{verb}");
        // A refund of a part, and the refund of the rest, are two.
        let key = self.key(&format!("{verb}-{}", self.todo.len()));
        let question = Question {
            operation,
            who: By::Person(who),
            method: Method::POST,
            path: &path,
            key: Some(&key),
            body,
        };
        let (status, answer) = self.ask(desk, question).await?;
        Ok(match status {
            200..300 => Done::Yes,
            _ => put_off_or_refused(status, &answer),
        })
    }
}

/// An error's type.
fn kind(answer: &Value) -> &str {
    answer["error"]["type"].as_str().unwrap_or_default()
}

fn told(status: u16, answer: &Value) -> String {
    match status {
        0 => "no answer".to_owned(),
        _ => format!("{status} {}", kind(answer)),
    }
}

fn put_off_or_refused(status: u16, answer: &Value) -> Done {
    let told = told(status, answer);
    // No answer, a fault of the platform's, too many requests.
    if status == 0 || status >= 500 || status == 429 || told.contains("changed-meanwhile") {
        Done::Again(told)
    } else {
        Done::Never(told)
    }
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}
