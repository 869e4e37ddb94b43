//! The market in which flows run: a platform of its own, a seller and a buyer, and a client that behaves as real ones do.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
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

use crate::aws::deliveries::Pending;
use crate::{Data, Options, Platform, Providers, Source, StartError};

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
    body: Option<(&'static str, String)>,
}

impl Wish {
    pub(super) fn get(path: impl Into<String>) -> Wish {
        Wish {
            method: Method::GET,
            path: path.into(),
            token: None,
            key: None,
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

    pub(super) fn by(self, token: String) -> Wish {
        Wish {
            token: Some(token),
            ..self
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
    /// `data` of the envelope.
    pub(super) fn data(&self) -> Value {
        let mut body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body.get_mut("data").map(Value::take).unwrap_or_default()
    }
}

/// A market.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) platform: Platform,
    pub(super) seller: Person,
    pub(super) buyer: Person,
    /// How many pieces of each product were put up.
    pub(super) put_up: BTreeMap<String, i64>,
    /// How many mails buyer and seller have had.
    mails: [usize; 2],
    client: Client<HttpConnector, Full<Bytes>>,
    user_tokens: UserTokens,
    service_tokens: ServiceTokens,
}

impl Market {
    /// Opens a market of its own.
    pub(super) async fn open(functions: Source, template: PathBuf) -> Result<Market, MarketError> {
        let platform = Platform::start(Options {
            port: 0,
            data: Data::Memory,
            template,
            functions,
            edge: true,
            providers: Providers::Sandbox,
            alipay_certificates: false,
            migration: false,
            demo: false,
            show_logs: std::env::var_os("CFMP_SHOW_LOGS").is_some(),
        })
        .await?;
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
        let mut market = Market {
            platform,
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
        let mails = self.platform.aws().mails().map_err(inside)?;
        let mail = mails.into_iter().rev().find(|mail| mail.to.contains(email));
        let text = mail.and_then(|mail| mail.text.or(mail.html)).unwrap_or_default();
        let captcha = text
            .split(|c: char| !c.is_ascii_digit())
            .find(|digits| digits.len() == 6);
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
        Timestamp::from_millis(self.platform.clock().now_ms())
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
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.passes(PAUSE)?;
            }
            match self.ask(wish).await? {
                Ok(answer) if (200..400).contains(&answer.status) => return Ok(answer),
                Ok(answer) => {
                    last = format!("{} {}", answer.status, answer.text);
                    let again = answer.status >= 500
                        || answer.status == 429
                        || (answer.status == 409 && answer.text.contains("changed-meanwhile"));
                    if !again {
                        break;
                    }
                }
                Err(reason) => last = reason,
            }
        }
        Err(MarketError::Refused {
            request: format!("{} {}", wish.method, wish.path),
            answer: last,
        })
    }

    /// Asks once; `Err` where no answer came.
    pub(super) async fn ask(&self, wish: &Wish) -> Result<Result<Answer, String>, MarketError> {
        let url = if wish.path.starts_with("http") {
            wish.path.clone()
        } else {
            format!("{}{}", self.platform.base_url(), wish.path)
        };
        let mut request = Request::builder().method(wish.method.clone()).uri(url);
        if let Some(token) = &wish.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = &wish.key {
            request = request.header("idempotency-key", key);
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

    /// Lets time pass, and nothing else.
    pub(super) fn passes(&self, span: Duration) -> Result<(), MarketError> {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.platform.clock().advance(span).map_err(inside)
    }

    /// Waits until nothing is under way any more: nothing at all is left to do, or only the clock can bring it about.
    pub(super) async fn rests(&self) -> Result<(), MarketError> {
        let mut last = (String::new(), 0);
        let rest = async {
            loop {
                let pending = self.platform.work.pending().map_err(inside)?;
                if pending.is_idle() && self.platform.work.is_idle() {
                    return Ok(());
                }
                let (moves, streams) = (moves(&pending), pending.streams.values().any(|left| *left > 0));
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
        self.passes(span)?;
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
        let mails = self.platform.aws().mails().map_err(inside)?;
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
    pub(super) fn dead_letters(&self) -> Result<Vec<String>, MarketError> {
        let queues = self.platform.aws().queues();
        let known = self.platform.template().queues.values();
        let mut letters = Vec::new();
        for queue in known.filter(|queue| queues.is_dead_letter_queue(&queue.arn)) {
            for message in queues.peek(&queue.arn, 20).map_err(inside)? {
                letters.push(format!("{}: {}", queue.name, message.body));
            }
        }
        Ok(letters)
    }
}

/// Whether something is under way, or about to be.
fn moves(pending: &Pending) -> bool {
    let delivered = pending
        .queues
        .iter()
        .any(|queue| !queue.dead_letters && queue.visible > 0);
    pending.invocations > 0 || delivered || pending.providers > 0
}

/// A text field of an answer.
pub(super) fn text(value: &Value, field: &str) -> Result<String, MarketError> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| inside(format!("there is no {field} in {value}")))
}

pub(super) fn inside(error: impl std::fmt::Display) -> MarketError {
    MarketError::Inside(error.to_string())
}
