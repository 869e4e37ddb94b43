//! One purchase under way: its people at the HTTP API and at the providers.

use std::collections::{BTreeMap, VecDeque};

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

/// How often something is tried again, once a minute, before it is given up.
const MOST_TRIES: u32 = 60;

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
#[derive(Debug, Clone, Copy)]
struct Person {
    id: UserId,
    name: &'static str,
    privilege: Privilege,
}

/// The way to the platform, for everybody.
pub(super) struct Desk<'a> {
    platform: &'a Platform,
    client: Client<HttpConnector, Full<Bytes>>,
    tokens: UserTokens,
    buyer: Buyer,
}

impl<'a> Desk<'a> {
    pub(super) fn open(platform: &'a Platform) -> Result<Desk<'a>, RunError> {
        let secret = platform.aws().secrets().value("UserTokenSecret");
        let secret = secret.ok_or_else(|| RunError::Tokens("the template has no UserTokenSecret".to_owned()))?;
        let seed: Seed = secret.parse().map_err(RunError::tokens)?;
        Ok(Desk {
            platform,
            client: Client::builder(TokioExecutor::new()).build_http(),
            tokens: UserTokens::derive(&seed).map_err(RunError::tokens)?,
            buyer: Buyer::new(platform.simulator().map(crate::simulator::Simulator::base_url)),
        })
    }

    /// An administrator has a dead letter tried once more. One that fails again goes on waiting, where it is found.
    pub(super) async fn redrive(&self, letter: &str) -> Result<(), RunError> {
        let administrator = Person {
            id: UserId::derived(&["purchases", "administrator"]),
            name: "administrator",
            privilege: Privilege::Administrator,
        };
        let path = format!("/api/root/dead-letters/{letter}/redrive");
        self.ask(administrator, Method::POST, &path, None, &Value::Null).await?;
        Ok(())
    }

    /// What `who` is answered: the status and the JSON.
    async fn ask(
        &self,
        who: Person,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<(u16, Value), RunError> {
        let failed = |reason: String| RunError::Unanswered {
            path: path.to_owned(),
            reason,
        };
        // Tokens live for a day, and days pass.
        let now = Timestamp::from_millis(self.platform.clock().now_ms());
        let token = self.tokens.issue(who.id, who.name, who.privilege, now);
        let token = token.map_err(RunError::tokens)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.platform.base_url()))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| failed(error.to_string()))?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| failed(format!("{error:?}")))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// One purchase under way.
#[derive(Debug)]
pub(super) struct Purchase {
    pub(super) wish: Wish,
    pub(super) trouble: Trouble,
    /// What is to be done, and from which minute on.
    todo: VecDeque<(u32, Act)>,
    tries: u32,
    seed: u64,
    buyer: Person,
    seller: Person,
    /// What the seller put up.
    pub(super) product: Option<String>,
    pub(super) order: Option<String>,
    /// What the buyer has been offered, by way.
    offers: BTreeMap<Which, Value>,
    /// What was put off or given up, and why.
    pub(super) notes: Vec<String>,
}

impl Purchase {
    pub(super) fn new(seed: u64, wish: Wish, trouble: Trouble) -> Purchase {
        let person = |name: &'static str| Person {
            id: UserId::derived(&["purchases", &seed.to_string(), name, &wish.number.to_string()]),
            name,
            privilege: Privilege::Member,
        };
        Purchase {
            todo: wish.acts.iter().copied().collect(),
            tries: 0,
            seed,
            buyer: person("buyer"),
            seller: person("seller"),
            product: None,
            order: None,
            offers: BTreeMap::new(),
            notes: Vec::new(),
            wish,
            trouble,
        }
    }

    pub(super) fn is_due(&self, minute: u32) -> bool {
        self.todo.front().is_some_and(|(at, _)| *at <= minute)
    }

    /// Whether its people are through with it.
    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// Does what is due by `minute`. What can not be done yet waits for the next one, and so does what comes after it.
    pub(super) async fn go_on(&mut self, desk: &Desk<'_>, minute: u32) -> Result<(), RunError> {
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

    async fn act(&mut self, desk: &Desk<'_>, act: Act) -> Result<Done, RunError> {
        match act {
            Act::Order => self.order(desk).await,
            Act::Open(which) => self.opens(desk, which).await,
            Act::Pay(which) => self.pays(desk, which).await,
            Act::CancelAsBuyer => {
                let body = json!({"reason": "changed my mind"});
                self.posts(desk, self.buyer, "orders", "cancel", &body).await
            }
            Act::CancelAsSeller => match self.waits_for_money(desk).await? {
                Done::Yes => {
                    let body = json!({"reason": "sold to somebody else"});
                    self.posts(desk, self.seller, "orders", "cancel", &body).await
                }
                other => Ok(other),
            },
            Act::Complete => match self.waits_for_money(desk).await? {
                Done::Yes => self.posts(desk, self.buyer, "orders", "complete", &Value::Null).await,
                other => Ok(other),
            },
            Act::AskBack(amount) => match self.waits_for_money(desk).await? {
                Done::Yes => {
                    let body = amount.map_or(json!({}), |fen| json!({"refund_amount": yuan(fen)}));
                    self.posts(desk, self.buyer, "payment", "refund", &body).await
                }
                other => Ok(other),
            },
        }
    }

    async fn order(&mut self, desk: &Desk<'_>) -> Result<Done, RunError> {
        let wish = &self.wish;
        let price = yuan(wish.price_fen);
        if self.product.is_none() {
            let product = json!({
                "title": format!("Lamp {} & \"shade\" = a+b 🛋", wish.number), "description": "used",
                "price": price, "stock": wish.stock,
            });
            let (status, answer) = desk
                .ask(self.seller, Method::POST, "/api/product", None, &product)
                .await?;
            let Some(id) = answer["data"]["product_uuid"].as_str() else {
                return Err(RunError::Refused(format!("a product: {status} {answer}")));
            };
            self.product = Some(id.to_owned());
        }
        let order = json!({
            "products": [{"product_uuid": self.product, "price": price, "quantity": wish.quantity}],
            "seller_uuid": self.seller.id,
            "payment_method": i32::from(wish.first.method == "wechat_pay"),
            "shipping_name": "buyer",
            // SecurityService knows people by these.
            "shipping_phone": format!("138{:08}", wish.number),
            "shipping_address": format!("Room {}", wish.number),
        });
        let key = self.key("order");
        let (status, answer) = desk
            .ask(self.buyer, Method::POST, "/api/orders", Some(&key), &order)
            .await?;
        match answer["data"]["order_uuid"].as_str() {
            Some(id) if status < 300 => {
                self.order = Some(id.to_owned());
                Ok(Done::Yes)
            }
            _ if status >= 500 => Ok(Done::Again(told(status, &answer))),
            _ => Err(RunError::Refused(format!("an order: {status} {answer}"))),
        }
    }

    async fn opens(&mut self, desk: &Desk<'_>, which: Which) -> Result<Done, RunError> {
        let (way, key) = (self.wish.way(which), self.payment_key(which));
        if let Some(simulator) = desk.platform.simulator() {
            // The payment's id, and so its number at the provider, follows from the key.
            let payment = PaymentId::derived(&[&self.buyer.id.to_string(), &key]);
            let number = payment.uuid().simple().to_string();
            if !self.offers.contains_key(&which) && self.tries == 0 {
                simulator.set_switches(Some(&number), &self.trouble.switches)?;
            }
        }
        let mut body = json!({
            "order_uuid": self.order, "payment_method": way.method, "channel": way.channel,
            "amount": yuan(self.wish.total_fen()), "payment_subject": "lamp",
        });
        if way.channel == "in_app" {
            body["openid"] = json!("o6_bmjrPTlm6_2sgVt7hMZOPfL2M");
        }
        let (status, answer) = desk
            .ask(self.buyer, Method::POST, "/api/payment/create", Some(&key), &body)
            .await?;
        Ok(match status {
            200 | 201 => {
                self.offers.insert(which, answer["data"]["payment_data"].clone());
                Done::Yes
            }
            _ => put_off_or_refused(status, &answer),
        })
    }

    async fn pays(&mut self, desk: &Desk<'_>, which: Which) -> Result<Done, RunError> {
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
        match desk.buyer.pays(offer).await? {
            Paying::Refused(_) => self.notes.push(format!("the {which:?} page can not be paid")),
            Paying::Paid(Some(back)) if self.wish.returns => {
                let status = desk.buyer.returns(&back).await?;
                if status.is_server_error() {
                    return Err(RunError::Refused(format!("a returning browser: {status}")));
                }
            }
            Paying::Paid(_) => {}
        }
        Ok(Done::Yes)
    }

    /// Most things can be done with a paid order only.
    async fn waits_for_money(&self, desk: &Desk<'_>) -> Result<Done, RunError> {
        let path = format!("/api/orders/{}", self.order.as_deref().unwrap_or_default());
        let (status, answer) = desk.ask(self.buyer, Method::GET, &path, None, &Value::Null).await?;
        Ok(match (status, answer["data"]["status"].as_u64()) {
            (200, Some(0)) => Done::Again("the order is not paid".to_owned()),
            (200, Some(1)) => Done::Yes,
            (200, Some(_)) => Done::Never("the order has ended".to_owned()),
            _ => Done::Again(told(status, &answer)),
        })
    }

    async fn posts(&self, desk: &Desk<'_>, who: Person, of: &str, verb: &str, body: &Value) -> Result<Done, RunError> {
        let order = self.order.as_deref().unwrap_or_default();
        let path = format!("/api/{of}/{order}/{verb}");
        // A refund of a part, and the refund of the rest, are two.
        let key = self.key(&format!("{verb}-{}", self.todo.len()));
        let (status, answer) = desk.ask(who, Method::POST, &path, Some(&key), body).await?;
        Ok(match status {
            200..300 => Done::Yes,
            _ => put_off_or_refused(status, &answer),
        })
    }
}

fn told(status: u16, answer: &Value) -> String {
    format!("{status} {}", answer["error"]["type"].as_str().unwrap_or_default())
}

fn put_off_or_refused(status: u16, answer: &Value) -> Done {
    let told = told(status, answer);
    if status >= 500 || told.contains("changed-meanwhile") {
        Done::Again(told)
    } else {
        Done::Never(told)
    }
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}
