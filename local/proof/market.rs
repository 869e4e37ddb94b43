//! The market in which flows run: a platform of its own, a seller and a buyer, and a client that behaves as real ones do.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::{Timestamp, UserId};
use keys::user_token::UserTokens;
use keys::{Privilege, Seed, ServiceName, ServiceTokens};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::StartError;
use crate::aws::mail::captcha;
use crate::buyer::{Buyer, BuyerError, Paying};
use crate::turns::{HEADER, Lane};

use super::house::{House, Site};

/// Everyone's password.
const PASSWORD: &str = "cfmp-proof-1";
/// After so long without an answer a client gives up and asks again.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// How often a client asks before it gives up for good.
const ATTEMPTS: u32 = 8;
/// What a client waits before it asks again, by the platform's clock.
const PAUSE: Duration = Duration::from_secs(3);
/// Longest wait for everything to come to rest, by the machine's clock: longer than a hanging function.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the market is looked at while it comes to rest.
const LOOK: Duration = Duration::from_millis(10);
/// Looks without a change after which only the clock can change something.
const STILL: u32 = 4;
/// The same while a stream is unread: a failed batch is tried again after a second at most.
const STILL_WITH_STREAMS: u32 = 130;

/// Why a flow can not be gone through.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// There is no platform.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A client was answered something that it can do nothing with, or nothing usable however often it asked.
    #[error("{request} was answered with {answer}")]
    Refused {
        /// The request.
        request: String,
        /// The last answer.
        answer: String,
    },
    /// A provider's page does not open.
    #[error(transparent)]
    Page(#[from] BuyerError),
    /// The inside of the platform did not answer.
    #[error("{0}")]
    Inside(String),
    /// Something goes on and on.
    #[error("no rest within {} s: {pending}", PATIENCE.as_secs())]
    NoRest {
        /// What was still to do.
        pending: String,
    },
}

/// Somebody on the market.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) email: String,
    name: String,
}

/// What a client may say.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    method: Method,
    path: String,
    token: Option<String>,
    key: Option<String>,
    lane: Option<Lane>,
    body: Option<(&'static str, String)>,
}

impl Wish {
    pub(super) fn get(path: impl Into<String>) -> Wish {
        Wish {
            method: Method::GET,
            path: path.into(),
            token: None,
            key: None,
            lane: None,
            body: None,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: &Value) -> Wish {
        Wish {
            method: Method::POST,
            body: Some(("application/json", body.to_string())),
            ..Wish::get(path)
        }
    }

    pub(super) fn form(path: impl Into<String>, fields: &str) -> Wish {
        Wish {
            method: Method::POST,
            body: Some(("application/x-www-form-urlencoded", fields.to_owned())),
            ..Wish::get(path)
        }
    }

    /// With an `Idempotency-Key` that stays the same when it is repeated.
    pub(super) fn keyed(self) -> Wish {
        Wish {
            key: Some(Uuid::new_v4().to_string()),
            ..self
        }
    }

    /// As a part of one of two flows that take turns.
    pub(super) fn in_lane(self, lane: Lane) -> Wish {
        Wish {
            lane: Some(lane),
            ..self
        }
    }

    pub(super) fn by(self, token: String) -> Wish {
        Wish {
            token: Some(token),
            ..self
        }
    }
}

impl Wish {
    fn refused(&self, answer: String) -> MarketError {
        MarketError::Refused {
            request: format!("{} {}", self.method, self.path),
            answer,
        }
    }
}

/// An answer that came.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Answer {
    /// Whether what was asked for was done.
    pub(super) fn is_yes(&self) -> bool {
        (200..400).contains(&self.status)
    }

    /// `data` of the envelope.
    pub(super) fn data(&self) -> Value {
        let mut body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body.get_mut("data").map(Value::take).unwrap_or_default()
    }
}

/// A market.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) house: House,
    pub(super) seller: Person,
    pub(super) buyer: Person,
    /// How many pieces of each product were put up.
    pub(super) put_up: BTreeMap<String, i64>,
    /// Where pages connect.
    pub(super) websocket_url: String,
    /// How many mails buyer and seller have had.
    mails: [usize; 2],
    client: Client<HttpConnector, Full<Bytes>>,
    user_tokens: UserTokens,
    service_tokens: ServiceTokens,
}

impl Market {
    /// Opens a market of its own.
    pub(super) async fn open(site: Site) -> Result<Market, MarketError> {
        let house = House::open(site).await?;
        let platform = house.here()?;
        let seed = |secret: &str| -> Result<Seed, MarketError> {
            let value = platform.aws().secrets().value(secret);
            let value = value.ok_or_else(|| inside(format!("the template has no {secret}")))?;
            value.parse().map_err(inside)
        };
        let user_tokens = UserTokens::derive(&seed("UserTokenSecret")?).map_err(inside)?;
        let service_tokens = ServiceTokens::derive(&seed("ServiceTokenSecret")?).map_err(inside)?;
        let nobody = |name: &str| Person {
            id: UserId::random(),
            email: format!("{name}@cfmp.test"),
            name: name.to_owned(),
        };
        let websocket_url = platform.websocket_url().unwrap_or_default();
        let mut market = Market {
            house,
            websocket_url,
            seller: nobody("seller"),
            buyer: nobody("buyer"),
            put_up: BTreeMap::new(),
            mails: [0, 0],
            client: Client::builder(TokioExecutor::new()).build_http(),
            user_tokens,
            service_tokens,
        };
        market.seller.id = market.register(&market.seller).await?;
        market.buyer.id = market.register(&market.buyer).await?;
        // Those with captchas.
        market.too_many_mails([usize::MAX; 2])?;
        Ok(market)
    }

    async fn register(&self, person: &Person) -> Result<UserId, MarketError> {
        let email = &person.email;
        let wish = json!({"scene": "register", "email": email});
        self.insist(&Wish::post("/api/v1/captcha", &wish)).await?;
        let mails = self.house.here()?.aws().mails().map_err(inside)?;
        let captcha = captcha(&mails, email);
        let account = json!({
            "username": person.name, "password": PASSWORD, "password_repeat": PASSWORD, "email": email,
            "captcha": captcha,
        });
        self.insist(&Wish::post("/api/v1/auth/register", &account)).await?;
        let log_in = json!({"email": email, "password": PASSWORD});
        let answer = self
            .insist(&Wish::post("/api/v1/auth/login-with-password", &log_in))
            .await?;
        let session: Value = serde_json::from_str(&answer.text).map_err(inside)?;
        serde_json::from_value(session["user_id"].clone()).map_err(inside)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.house.now_ms())
    }

    /// A fresh token: log-ins last a day, and weeks go by here.
    pub(super) fn token(&self, person: &Person) -> Result<String, MarketError> {
        let token = self
            .user_tokens
            .issue(person.id, &person.name, Privilege::Member, self.now());
        token.map_err(inside)
    }

    pub(super) fn service_token(&self, service: ServiceName) -> Result<String, MarketError> {
        self.service_tokens.issue(service, self.now()).map_err(inside)
    }

    /// Asks as often as a real client would: again, the same, where the answer was lost or the server at fault.
    pub(super) async fn insist(&self, wish: &Wish) -> Result<Answer, MarketError> {
        match self.hears(wish).await? {
            Ok(answer) if answer.is_yes() => Ok(answer),
            Ok(Answer { status, text }) => Err(wish.refused(format!("{status} {text}"))),
            Err(last) => Err(wish.refused(last)),
        }
    }

    /// The same, where no is an answer as well.
    pub(super) async fn tries(&self, wish: &Wish) -> Result<Answer, MarketError> {
        self.hears(wish).await?.map_err(|last| wish.refused(last))
    }

    /// Asks until there is an answer that it would not change to ask again.
    async fn hears(&self, wish: &Wish) -> Result<Result<Answer, String>, MarketError> {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.passes(PAUSE).await?;
            }
            match self.ask(wish).await? {
                Ok(answer) => {
                    let again = answer.status >= 500
                        || answer.status == 429
                        || (answer.status == 409 && answer.text.contains("changed-meanwhile"));
                    if !again {
                        return Ok(Ok(answer));
                    }
                    last = format!("{} {}", answer.status, answer.text);
                }
                Err(reason) => {
                    last = reason;
                    self.house.revive().await?;
                }
            }
        }
        Ok(Err(last))
    }

    /// Asks once; `Err` where no answer came.
    pub(super) async fn ask(&self, wish: &Wish) -> Result<Result<Answer, String>, MarketError> {
        let url = if wish.path.starts_with("http") {
            wish.path.clone()
        } else {
            format!("{}{}", self.house.base_url(), wish.path)
        };
        let mut request = Request::builder().method(wish.method.clone()).uri(url);
        if let Some(token) = &wish.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = &wish.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(lane) = wish.lane {
            request = request.header(HEADER, lane.letter());
        }
        let mut body = Bytes::new();
        if let Some((kind, text)) = &wish.body {
            request = request.header("content-type", *kind);
            body = Bytes::from(text.clone());
        }
        let request = request.body(Full::new(body)).map_err(inside)?;
        let answered = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| format!("{error:?}"))?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answer { status, text })
        };
        let gave_up = || Err("no answer within 10 s".to_owned());
        Ok(tokio::time::timeout(CLIENT_PATIENCE, answered)
            .await
            .unwrap_or_else(|_| gave_up()))
    }

    /// Puts up a product and answers its id.
    pub(super) async fn puts_up(&mut self, price: &str, stock: u32) -> Result<String, MarketError> {
        let body = json!({"title": "台灯", "description": "九成新", "price": price, "stock": stock});
        let wish = Wish::post("/api/product", &body).by(self.token(&self.seller)?);
        let id = text(&self.insist(&wish).await?.data(), "product_uuid")?;
        self.put_up.insert(id.clone(), i64::from(stock));
        Ok(id)
    }

    /// Pays what a payment offers, at simulated providers.
    pub(super) async fn pays_at_the_provider(&self, offer: &Value) -> Result<(), MarketError> {
        let buyer = Buyer::new(self.house.simulator());
        match buyer.pays(offer).await? {
            Paying::Paid(_) => Ok(()),
            Paying::Refused(page) => Err(inside(format!("a provider's page can not be paid: {page}"))),
        }
    }

    /// Lets time pass, and nothing else.
    pub(super) async fn passes(&self, span: Duration) -> Result<(), MarketError> {
        self.house
            .advance(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
            .await
    }

    /// Waits until nothing is under way any more: nothing at all is left to do, or only the clock can bring it about.
    pub(super) async fn rests(&self) -> Result<(), MarketError> {
        let mut last = (String::new(), 0);
        let rest = async {
            loop {
                let (pending, is_idle) = self.house.pending().await?;
                if is_idle {
                    return Ok(());
                }
                let (moves, streams) = (pending.is_moving(), pending.streams.values().any(|left| *left > 0));
                let seen = format!("{pending:?}");
                last = if seen == last.0 && !moves {
                    (seen, last.1 + 1)
                } else {
                    (seen, 0)
                };
                let enough = if streams { STILL_WITH_STREAMS } else { STILL };
                if last.1 >= enough {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, rest)
            .await
            .unwrap_or_else(|_| Err(MarketError::NoRest { pending: String::new() }))
    }

    /// Lets so much time pass, and waits for what it brings about.
    pub(super) async fn lives_through(&self, span: Duration) -> Result<(), MarketError> {
        self.passes(span).await?;
        // Schedules wake after this, and what they start may not have been seen yet.
        tokio::time::sleep(LOOK * 3).await;
        self.rests().await
    }

    /// Everything that a person was told about a thing, as titles.
    pub(super) async fn told(&self, person: &Person, about: &str) -> Result<Vec<String>, MarketError> {
        let mut titles = Vec::new();
        let mut seen = HashSet::new();
        for page in 1_u32.. {
            let path = format!("/api/notifications?page_size=100&page={page}");
            let answer = self.insist(&Wish::get(path).by(self.token(person)?)).await?;
            let list: Value = serde_json::from_str(&answer.text).map_err(inside)?;
            for notice in list["results"]["data"].as_array().into_iter().flatten() {
                let id = text(notice, "id")?;
                if seen.insert(id) && notice["related_id"] == about {
                    titles.push(text(notice, "title")?);
                }
            }
            if list["next"].is_null() {
                break;
            }
        }
        titles.sort();
        Ok(titles)
    }

    /// Whether buyer and seller had more new mails than `most` since this was asked last.
    pub(super) fn too_many_mails(&mut self, most: [usize; 2]) -> Result<Vec<String>, MarketError> {
        let mails = self.house.here()?.aws().mails().map_err(inside)?;
        let mut found = Vec::new();
        for ((person, seen), most) in [&self.buyer, &self.seller].into_iter().zip(&mut self.mails).zip(most) {
            let had = mails.iter().filter(|mail| mail.to.contains(&person.email)).count();
            let new = had.saturating_sub(*seen);
            if new > most {
                found.push(format!("{new} mails instead of {most} at most to {}", person.email));
            }
            *seen = had;
        }
        Ok(found)
    }

    /// Messages that nobody could handle.
    pub(super) async fn dead_letters(&self) -> Result<Vec<String>, MarketError> {
        let letters = self.house.here()?.dead_letters().await.map_err(inside)?;
        Ok(letters
            .iter()
            .map(|letter| format!("{}: {}", letter.of, letter.content))
            .collect())
    }
}

/// A text field of an answer.
pub(super) fn text(value: &Value, field: &str) -> Result<String, MarketError> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| inside(format!("there is no {field} in {value}")))
}

pub(super) fn inside(error: impl std::fmt::Display) -> MarketError {
    MarketError::Inside(error.to_string())
}
