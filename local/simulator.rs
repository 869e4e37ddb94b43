//! Alipay and WeChat Pay, played: what stands outside of the platform, so that a whole purchase needs no account.
//!
//! It is an HTTP server with a port of its own. It shares no protocol code with the functions and signs with other
//! libraries than theirs, so that what works here was not made to fit. It lives by the platform's clock, and what it
//! knows is kept in the platform's data folder. People and tests make things go wrong with [`Switches`].

mod alipay;
mod amount;
mod front;
mod keys;
mod ledger;
mod moment;
mod notifier;
mod page;
mod statement;
mod switches;
mod timetable;
mod trade;
mod wechat_pay;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::keys::Keys;
use self::ledger::Ledger;
use self::moment::Day;
pub use self::switches::{Fate, Operation, SignedBy, Spoiling, Switches};
pub use self::trade::Company;
use self::trade::{Outcome, RefundWish, Refusal, Trade};
use crate::aws::storage::Durability;
use crate::clock::PlatformClock;
use crate::faults::Faults;
use crate::functions::Functions;

/// The merchant's app at Alipay.
pub const ALIPAY_APP_ID: &str = "2021000199999999";
/// The merchant's account at Alipay.
pub const ALIPAY_SELLER_ID: &str = "2088100199999999";
/// The merchant's app at WeChat.
pub const WECHAT_APP_ID: &str = "wx5100000000000001";
/// The merchant's account at WeChat Pay.
pub const WECHAT_MERCHANT_ID: &str = "1900000001";
/// Logical ids of the secrets that the merchant's functions read.
const ALIPAY_SECRET: &str = "AlipaySecret";
const WECHAT_PAY_SECRET: &str = "WechatPaySecret";

/// Why the companies can not be played.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The port belongs to someone else.
    #[error("the simulator's port {port} can not be used: {source}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// A file can not be used.
    #[error("{}: {source}; without this file the simulator makes new keys", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ledger can not be used.
    #[error("the simulator's ledger: {0}")]
    Ledger(#[from] rusqlite::Error),
    /// A key can not be made or used.
    #[error("the simulator's keys: {0}")]
    Key(String),
    /// Something can not be written as JSON.
    #[error("the simulator: {0}")]
    Json(#[from] serde_json::Error),
    /// A statement can not be packed.
    #[error("the simulator's statement: {0}")]
    Archive(#[from] zip::result::ZipError),
    /// There is no such trade, or this can not be done with it.
    #[error("the trade {out_trade_no}: {reason}")]
    Trade {
        /// The merchant's number.
        out_trade_no: String,
        /// Why not.
        reason: String,
    },
    /// A text is not a day.
    #[error("{0} is not a day such as 2026-01-31")]
    Day(String),
}

impl SimulatorError {
    fn key(error: impl std::fmt::Display) -> Self {
        Self::Key(error.to_string())
    }

    fn refused(out_trade_no: &str, refusal: Refusal) -> Self {
        Self::Trade {
            out_trade_no: out_trade_no.to_owned(),
            reason: refusal.to_string(),
        }
    }
}

/// Where the simulator will serve.
#[derive(Debug)]
pub(crate) struct Place {
    listener: TcpListener,
    base_url: String,
}

/// What the simulator is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Folder that keeps ledger and keys.
    pub(crate) data: PathBuf,
    /// Whether they are to outlive the process.
    pub(crate) durability: Durability,
    /// The time.
    pub(crate) clock: PlatformClock,
    /// Whether Alipay's merchant works with certificates instead of bare keys.
    pub(crate) alipay_certificates: bool,
}

/// The companies. Clones share them.
#[derive(Debug, Clone)]
pub struct Simulator {
    core: Arc<Core>,
}

/// What every part of it works with.
#[derive(Debug)]
struct Core {
    base_url: String,
    clock: PlatformClock,
    ledger: Ledger,
    keys: Keys,
    alipay_certificates: bool,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Requests being answered.
    answering: AtomicUsize,
    /// Grows with everything that happens, so that an observer can tell that nothing did.
    activity: AtomicU64,
    /// Counts what is signed now with one key, now with the other.
    turns: AtomicUsize,
    /// Notices being sent.
    under_way: Mutex<Vec<i64>>,
    wake: Notify,
    /// Whose calls may go wrong on purpose.
    callers: OnceLock<(Functions, Faults)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How an answer leaves.
#[derive(Debug)]
enum Answer {
    /// At once.
    Now(Response<Bytes>),
    /// After so many milliseconds of real time.
    Late(Response<Bytes>, u32),
    /// Not at all: the connection breaks.
    Never,
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        Self::Now(response)
    }
}

/// Who signs an answer or a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// The company.
    Genuine,
    /// A stranger.
    Stranger,
    /// Nobody.
    Nobody,
    /// The company, with something that begins with `WECHATPAY/SIGNTEST/` and is no signature.
    Probe,
}

impl Place {
    /// Takes a port on 127.0.0.1; 0 is any free one.
    pub(crate) async fn take(port: u16) -> Result<Place, SimulatorError> {
        let taken = |source| SimulatorError::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Place {
            listener,
            base_url: format!("http://{address}"),
        })
    }

    /// What the template's parameters are, where it has them.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Alipay", "real".to_owned()),
            ("WechatPay", "real".to_owned()),
            ("AlipayGateway", format!("{}/gateway.do", self.base_url)),
            ("AlipayAppId", ALIPAY_APP_ID.to_owned()),
            ("AlipaySellerId", ALIPAY_SELLER_ID.to_owned()),
            ("WechatPayBaseUrl", self.base_url.clone()),
            // No other host is to be reached from here.
            ("WechatPayBackupUrl", String::new()),
            ("WechatPayAppId", WECHAT_APP_ID.to_owned()),
            ("WechatPayMerchantId", WECHAT_MERCHANT_ID.to_owned()),
        ]
    }
}

impl Simulator {
    /// Opens ledger and keys, and serves. Notifications are sent from [`Simulator::notify`] on.
    pub(crate) async fn open(place: Place, setup: Setup) -> Result<Simulator, SimulatorError> {
        let now_ms = setup.clock.now_ms();
        let kept = (setup.durability == Durability::Kept).then(|| setup.data.join("simulator-keys.json"));
        let keys = tokio::task::spawn_blocking(move || Keys::open(kept.as_deref(), now_ms));
        let keys = keys.await.map_err(SimulatorError::key)??;
        let ledger = Ledger::open(&ledger_file(&setup.data), setup.durability)?;
        let core = Arc::new(Core {
            base_url: place.base_url,
            clock: setup.clock,
            ledger,
            keys,
            alipay_certificates: setup.alipay_certificates,
            client: Client::builder(TokioExecutor::new()).build_http(),
            answering: AtomicUsize::new(0),
            activity: AtomicU64::new(0),
            turns: AtomicUsize::new(0),
            under_way: Mutex::default(),
            wake: Notify::new(),
            callers: OnceLock::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        core.tasks.spawn(front::serve(place.listener, Arc::clone(&core)));
        Ok(Simulator { core })
    }

    /// The secrets that the functions read, by logical id.
    pub(crate) fn secrets(&self) -> Result<Vec<(&'static str, String)>, SimulatorError> {
        let keys = &self.core.keys;
        Ok(vec![
            (ALIPAY_SECRET, keys.alipay_secret(self.core.alipay_certificates)?),
            (WECHAT_PAY_SECRET, keys.wechat_pay_secret()?),
        ])
    }

    /// From now on calls of these functions pass the seat of the faults.
    pub(crate) fn watch_callers(&self, functions: Functions, faults: Faults) {
        // There is one platform, and it says so once.
        let _ = self.core.callers.set((functions, faults));
    }

    /// Begins to send notifications.
    pub(crate) fn notify(&self) {
        self.core.tasks.spawn(notifier::run(Arc::clone(&self.core)));
    }

    /// What ends it when it is dropped, without waiting for the end.
    pub(crate) fn guard(&self) -> DropGuard {
        self.core.stop.clone().drop_guard()
    }

    /// Ends it, and waits until it has ended. What was on its way is sent again after the next start on the same data.
    pub(crate) async fn stop(&self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }

    /// A number that grows with everything that happens here.
    pub(crate) fn activity(&self) -> u64 {
        self.core.activity.load(Ordering::SeqCst)
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.core.base_url
    }

    /// What the merchant keeps secret with a company, as his functions read it: JSON.
    ///
    /// # Errors
    /// A key can not be written.
    pub fn merchant_secret(&self, company: Company) -> Result<String, SimulatorError> {
        match company {
            Company::Alipay => self.core.keys.alipay_secret(self.core.alipay_certificates),
            Company::WechatPay => self.core.keys.wechat_pay_secret(),
        }
    }

    /// How many requests, notifications and refunds are under way or due now. What is due later does not count.
    ///
    /// # Errors
    /// The ledger can not be read.
    pub fn pending(&self) -> Result<usize, SimulatorError> {
        let due = self.core.ledger.count_due(self.core.clock.now_ms())?;
        Ok(due + self.core.answering.load(Ordering::SeqCst))
    }

    /// Sets the switches of one trade, or of all that have none of their own.
    ///
    /// # Errors
    /// The ledger can not be written.
    pub fn set_switches(&self, out_trade_no: Option<&str>, switches: &Switches) -> Result<(), SimulatorError> {
        self.core.ledger.set_switches(out_trade_no, switches)
    }

    /// The buyer opens the payment page or scans the code, and pays.
    ///
    /// # Errors
    /// [`SimulatorError::Trade`], also for one whose page Alipay has never been asked for.
    pub fn pay(&self, out_trade_no: &str) -> Result<(), SimulatorError> {
        let trade = self.core.trade(out_trade_no)?;
        let paid = self.core.pay(trade.company, out_trade_no)?;
        paid.map(drop)
            .map_err(|refusal| SimulatorError::refused(out_trade_no, refusal))
    }

    /// Somebody of the merchant's gives money back on the company's own pages, under a number of the company's making.
    ///
    /// # Errors
    /// [`SimulatorError::Trade`].
    pub fn refund(&self, out_trade_no: &str, amount_fen: i64) -> Result<(), SimulatorError> {
        let company = self.core.trade(out_trade_no)?.company;
        let now_ms = self.core.clock.now_ms();
        let done = self.core.ledger.change(company, out_trade_no, |trade| {
            let wish = RefundWish {
                refund_no: format!("person_{}", Uuid::new_v4().simple()),
                refund_id: keys::digits(29),
                amount_fen,
                reason: None,
                // WeChat Pay tells the address that the merchant has set there; here it is that of the payment.
                notify_url: trade.wish.notify_url.clone(),
            };
            trade.refund(wish, Fate::Done, now_ms, now_ms)?;
            Ok(((), Vec::new()))
        })?;
        self.core.happened();
        done.map(drop)
            .map_err(|refusal| SimulatorError::refused(out_trade_no, refusal))
    }

    /// All trades and refunds as the companies see them: those of a day in Beijing that was paid or given back on it, or
    /// all of them. Amounts in fen, times in milliseconds.
    ///
    /// # Errors
    /// [`SimulatorError::Day`]; the ledger can not be read.
    pub fn books(&self, day: Option<&str>) -> Result<Value, SimulatorError> {
        let day = day
            .map(|text| Day::parse(text).ok_or_else(|| SimulatorError::Day(text.to_owned())))
            .transpose()?;
        let within = |at_ms: Option<i64>| day.is_none_or(|day| at_ms.is_some_and(|at_ms| day.contains(at_ms)));
        let now_ms = self.core.clock.now_ms();
        let (mut trades, mut refunds) = (Vec::new(), Vec::new());
        for trade in self.core.ledger.trades()? {
            if within(trade.paid_ms()) {
                trades.push(json!({
                    "company": trade.company,
                    "out_trade_no": trade.wish.out_trade_no,
                    "trade_no": trade.trade_no,
                    "title": trade.wish.title,
                    "amount_fen": trade.wish.amount_fen,
                    "returned_fen": trade.returned_fen(),
                    "standing": trade.standing(now_ms),
                    "created_ms": trade.created_ms,
                    "paid_ms": trade.paid_ms(),
                }));
            }
            for refund in &trade.refunds {
                let succeeded_ms = match refund.outcome {
                    Outcome::Succeeded { at_ms } => Some(at_ms),
                    _ => None,
                };
                if within(succeeded_ms) {
                    refunds.push(json!({
                        "company": trade.company,
                        "out_trade_no": trade.wish.out_trade_no,
                        "refund_no": refund.refund_no,
                        "refund_id": refund.refund_id,
                        "amount_fen": refund.amount_fen,
                        "outcome": match refund.outcome {
                            Outcome::Processing { .. } => "processing",
                            Outcome::Succeeded { .. } => "succeeded",
                            Outcome::Abnormal { .. } => "abnormal",
                        },
                        "requested_ms": refund.requested_ms,
                        "succeeded_ms": succeeded_ms,
                    }));
                }
            }
        }
        Ok(json!({ "trades": trades, "refunds": refunds }))
    }

    /// All notifications with what became of them, oldest first; of one trade if its number is given.
    ///
    /// # Errors
    /// The ledger can not be read.
    pub fn notifications(&self, out_trade_no: Option<&str>) -> Result<Value, SimulatorError> {
        self.core.ledger.notifications(out_trade_no)
    }
}

/// A request that is being answered, or other work that has to come to an end before anything is idle.
struct AtWork<'a>(&'a Core);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
        self.0.happened();
    }
}

impl Core {
    fn at_work(&self) -> AtWork<'_> {
        self.answering.fetch_add(1, Ordering::SeqCst);
        self.activity.fetch_add(1, Ordering::SeqCst);
        AtWork(self)
    }

    /// There may be something to send.
    fn happened(&self) {
        self.activity.fetch_add(1, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// A trade at whichever company.
    fn trade(&self, out_trade_no: &str) -> Result<Trade, SimulatorError> {
        for company in [Company::Alipay, Company::WechatPay] {
            if let Some(trade) = self.ledger.find(company, out_trade_no)? {
                return Ok(trade);
            }
        }
        Err(SimulatorError::refused(out_trade_no, Refusal::Unknown))
    }

    /// The buyer pays.
    fn pay(&self, company: Company, out_trade_no: &str) -> Result<Result<Trade, Refusal>, SimulatorError> {
        let now_ms = self.clock.now_ms();
        let paid = self.ledger.change(company, out_trade_no, |trade| {
            trade.open(now_ms)?;
            trade.pay(now_ms)?;
            Ok(((), ledger::notice_of_payment(trade, now_ms).into_iter().collect()))
        })?;
        self.happened();
        Ok(paid.map(|(trade, ())| trade))
    }

    /// When a refund that is wished for now will have been processed.
    fn processed_ms(&self, switches: &Switches) -> i64 {
        let now_ms = self.clock.now_ms();
        match switches.refund {
            Fate::Slow => now_ms.saturating_add(i64::from(switches.refund_ms)),
            Fate::Done | Fate::Refused | Fate::Abnormal => now_ms,
        }
    }

    /// Whether it is the second one's turn of two.
    fn other_turn(&self) -> bool {
        self.turns.fetch_add(1, Ordering::SeqCst) % 2 == 1
    }
}

/// Who signs an answer that goes through this.
fn signer(spoiling: Spoiling) -> Signer {
    match spoiling {
        Spoiling::Unsigned => Signer::Nobody,
        Spoiling::WronglySigned => Signer::Stranger,
        Spoiling::SignTest => Signer::Probe,
        Spoiling::None | Spoiling::Lost | Spoiling::Hanging | Spoiling::ServerError => Signer::Genuine,
    }
}

/// What becomes of a finished answer.
fn spoiled(response: Response<Bytes>, spoiling: Spoiling, switches: &Switches) -> Answer {
    match spoiling {
        Spoiling::Lost => Answer::Never,
        Spoiling::Hanging => Answer::Late(response, switches.hang_ms),
        _ => Answer::Now(response),
    }
}

fn json_text(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// A header's value, if it is text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn ledger_file(data: &Path) -> PathBuf {
    data.join("simulator.sqlite")
}

/// Whether an address can be notified: HTTPS, or a platform on this machine.
fn is_notifiable(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    url.scheme() == "https" || (url.scheme() == "http" && local)
}
