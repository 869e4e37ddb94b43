//! The sandbox provider, seen from its merchant: how its trades are offered, asked about, closed, refunded, and how its
//! callbacks are believed.
//!
//! It takes no real money, but its protocol is a real one. Everything that passes between the two is signed with
//! HMAC-SHA256 under a key that both derive from one secret; each kind of message begins with a line of its own, so that
//! a signature of one kind never passes for another:
//!
//! | Message | Signed text |
//! |---|---|
//! | payment page | `sandbox-page`, then the query without `sign`: sorted, form-encoded |
//! | merchant's call | `sandbox-call`, path, timestamp, body |
//! | answer to it | `sandbox-answer`, signature of the call, raw text of `answer` |
//! | notification | `sandbox-notification`, timestamp, body |

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use cloud::{Cloud, StartError};
use http::header::CONTENT_TYPE;
use http_function::{HeaderMap, Method, StatusCode};
use kernel::{Clock, Money, PaymentId, Timestamp};
use keys::{Seed, SeedError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use service_client::{Connection, Header};
use uuid::Uuid;

use crate::payment::Payment;
use crate::provider::{
    Acknowledgement, CallbackError, Channel, Closing, Handled, Making, News, Observation, Offer, Payer, Provider,
    ProviderName, Queried, Receipt, Refunding, Silence, Trade, refund_number, trade_number,
};
use crate::refund::Refund;
use crate::statement::{Day, Stated};

/// We, as the sandbox knows us.
const MERCHANT: &str = "cfmp";
/// What the key is derived for.
const PURPOSE: &str = "sandbox-provider";
/// A notification older or newer than this proves nothing.
const WINDOW: Duration = Duration::from_secs(300);
/// Time limit of a call.
const LIMIT: Duration = Duration::from_millis(2_000);
/// Time limit of a simulated payment, which includes its notification.
const PAY_LIMIT: Duration = Duration::from_millis(5_000);

const TIMESTAMP: &str = "sandbox-timestamp";
const SIGNATURE: &str = "sandbox-signature";

/// Whether a callback claims to be the sandbox's.
#[must_use]
pub fn signs(headers: &HeaderMap) -> bool {
    headers.contains_key(SIGNATURE)
}

/// The sandbox provider.
pub struct Sandbox {
    connection: Connection,
    base_url: String,
    signatures: Signatures,
    clock: Clock,
}

/// Makes and verifies signatures. The current key first, then the previous one where there is one.
struct Signatures(Vec<hmac::Key>);

/// Answer to a question about a trade, and to paying it.
#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "SCREAMING_SNAKE_CASE")]
enum TradeAnswer {
    Found(TradeReport),
    TradeNotExist,
    Refused { reason: String },
}

/// Answer to closing a trade.
#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "SCREAMING_SNAKE_CASE")]
enum CloseAnswer {
    Closed,
    AlreadyPaid,
    TradeNotExist,
}

/// Answer to a refund and to a question about one.
#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "SCREAMING_SNAKE_CASE")]
enum RefundAnswer {
    Succeeded,
    Rejected { reason: String },
    RefundNotExist,
}

/// A trade, in answers and notifications.
#[derive(Deserialize)]
struct TradeReport {
    merchant: String,
    out_trade_no: Uuid,
    trade_no: String,
    trade_status: TradeStatus,
    /// Fen.
    amount: i64,
    currency: String,
    #[serde(default)]
    paid_at: Option<Timestamp>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TradeStatus {
    WaitBuyerPay,
    TradeSuccess,
    TradeFailed,
    TradeClosed,
}

#[derive(Deserialize)]
struct Signed<'a> {
    #[serde(borrow)]
    answer: &'a RawValue,
    sign: String,
}

/// What the sandbox has to know of a trade before the buyer pays it.
#[derive(Serialize)]
struct Order<'a> {
    amount: String,
    expires_at: String,
    merchant: &'a str,
    method: &'a str,
    notify_url: String,
    out_trade_no: String,
    return_url: String,
    subject: &'a str,
}

impl Sandbox {
    /// Reads the secret named by `SANDBOX_PROVIDER_SECRET`, and `API_BASE_URL`, where the sandbox stands too.
    ///
    /// # Errors
    /// [`StartError`] names what is missing.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let signatures = cloud.derived("SANDBOX_PROVIDER_SECRET", Signatures::derive).await?;
        Ok(Self {
            connection: Connection::new(cloud),
            base_url: cloud.settings().required("API_BASE_URL")?,
            signatures,
            clock: cloud.clock().clone(),
        })
    }

    /// Pays the trade as if its buyer had done it on the payment page: the front-end's simulated payment.
    ///
    /// # Errors
    /// `Ok(None)` when the trade can not be paid any more; [`Silence`].
    pub async fn pay(&self, payment: &Payment) -> Result<Option<Observation>, Silence> {
        let order = serde_json::to_value(self.order(payment)).map_err(|error| Silence(error.to_string()))?;
        match self.call("pay", payment.id, &order, PAY_LIMIT).await? {
            TradeAnswer::Found(report) => report.about(payment.id).map(Some),
            TradeAnswer::Refused { reason } => {
                tracing::info!(payment = %payment.id, reason, "the sandbox refused a simulated payment");
                Ok(None)
            }
            TradeAnswer::TradeNotExist => Err(Silence("a trade that was just stated is not known".into())),
        }
    }

    fn order<'a>(&self, payment: &'a Payment) -> Order<'a> {
        let callback = format!("{}/api/payment/callback/{}", self.base_url, payment.method.word());
        Order {
            amount: payment.amount.fen().to_string(),
            expires_at: payment.expires_at.millis().to_string(),
            merchant: MERCHANT,
            method: payment.method.word(),
            notify_url: callback.clone(),
            out_trade_no: trade_number(payment.id),
            return_url: callback,
            subject: &payment.subject,
        }
    }

    fn page_url(&self, payment: &Payment) -> String {
        format!(
            "{}/sandbox/pay?{}",
            self.base_url,
            self.signatures.signed_query(&self.order(payment))
        )
    }

    /// Calls the sandbox about a trade and reads its answer, if that is genuine.
    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        verb: &str,
        payment: PaymentId,
        body: &Value,
        limit: Duration,
    ) -> Result<T, Silence> {
        let path = format!("/sandbox/trades/{}/{verb}", trade_number(payment));
        let (timestamp, body) = (self.clock.now().millis().to_string(), body.to_string());
        let signature = self
            .signatures
            .sign(&format!("sandbox-call\n{path}\n{timestamp}\n{body}"));
        let headers: [Header; 3] = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (http::HeaderName::from_static(TIMESTAMP), timestamp),
            (http::HeaderName::from_static(SIGNATURE), signature.clone()),
        ];
        let url = format!("{}{path}", self.base_url);
        let answer = self
            .connection
            .send(Method::POST, &url, &headers, Bytes::from(body), limit)
            .await
            .map_err(|error| Silence(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(Silence(format!("status {}", answer.status.as_u16())));
        }
        self.signatures.read_answer(&signature, &answer.body)
    }
}

impl Signatures {
    fn derive(seed: &Seed) -> Result<Self, SeedError> {
        let keys = seed.keys(PURPOSE)?;
        Ok(Self(
            keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect(),
        ))
    }

    fn sign(&self, text: &str) -> String {
        match self.0.first() {
            Some(key) => hex(hmac::sign(key, text.as_bytes()).as_ref()),
            // A seed always yields a key; without one nothing is signed and everything refused.
            None => String::new(),
        }
    }

    /// In constant time.
    fn verifies(&self, text: &str, signature: &str) -> bool {
        let Some(tag) = unhex(signature) else { return false };
        self.0
            .iter()
            .any(|key| hmac::verify(key, text.as_bytes(), &tag).is_ok())
    }

    fn signed_query(&self, order: &Order<'_>) -> String {
        // In alphabetical order: the text that is signed.
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("amount", &order.amount)
            .append_pair("expires_at", &order.expires_at)
            .append_pair("merchant", order.merchant)
            .append_pair("method", order.method)
            .append_pair("notify_url", &order.notify_url)
            .append_pair("out_trade_no", &order.out_trade_no)
            .append_pair("return_url", &order.return_url)
            .append_pair("subject", order.subject)
            .finish();
        let sign = self.sign(&format!("sandbox-page\n{query}"));
        format!("{query}&sign={sign}")
    }

    fn read_answer<T: for<'de> Deserialize<'de>>(&self, call_signature: &str, answer: &[u8]) -> Result<T, Silence> {
        let signed: Signed<'_> =
            serde_json::from_slice(answer).map_err(|_| Silence("the answer is not signed".into()))?;
        let raw = signed.answer.get();
        // Bound to the call it answers: an older answer is no answer to this one.
        if !self.verifies(&format!("sandbox-answer\n{call_signature}\n{raw}"), &signed.sign) {
            return Err(Silence("the answer's signature is wrong".into()));
        }
        serde_json::from_str(raw).map_err(|error| Silence(format!("the answer is not understood: {error}")))
    }

    fn read_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Observation, CallbackError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signature = header(SIGNATURE).ok_or(CallbackError::NotGenuine("there is none"))?;
        let timestamp = header(TIMESTAMP).ok_or(CallbackError::NotGenuine("it has no timestamp"))?;
        let text = std::str::from_utf8(body).map_err(|_| CallbackError::NotGenuine("the body is not text"))?;
        if !self.verifies(&format!("sandbox-notification\n{timestamp}\n{text}"), signature) {
            return Err(CallbackError::NotGenuine("it is wrong"));
        }
        let sent_at = timestamp
            .parse()
            .map_err(|_| CallbackError::NotGenuine("its timestamp is no number"))?;
        let sent_at = Timestamp::from_millis(sent_at);
        if now.since(sent_at).max(sent_at.since(now)) >= WINDOW {
            return Err(CallbackError::NotGenuine("it is too old or too new"));
        }
        let report: TradeReport =
            serde_json::from_str(text).map_err(|error| CallbackError::NotUnderstood(error.to_string()))?;
        report.observation()
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> ProviderName {
        ProviderName::Sandbox
    }

    /// Its page fits every screen.
    fn channels(&self) -> &[Channel] {
        &[Channel::Page, Channel::MobilePage, Channel::QrCode, Channel::InApp]
    }

    fn offers_last(&self, _channel: Channel) -> bool {
        true
    }

    /// A signed URL. The sandbox learns of the trade when the buyer opens it.
    fn ready_offer(&self, payment: &Payment) -> Option<Offer> {
        Some(Offer::Redirect(self.page_url(payment)))
    }

    async fn create(&self, payment: &Payment, _payer: &Payer) -> Making {
        Making::Offered(Offer::Redirect(self.page_url(payment)))
    }

    async fn query(&self, payment: &Payment) -> Queried {
        match self.call("query", payment.id, &json!({}), LIMIT).await {
            Ok(TradeAnswer::Found(report)) => report.about(payment.id).map_or_else(Queried::Unknown, Queried::Found),
            Ok(TradeAnswer::TradeNotExist) => Queried::NotFound,
            Ok(TradeAnswer::Refused { reason }) => Queried::Unknown(Silence(reason)),
            Err(silence) => Queried::Unknown(silence),
        }
    }

    async fn close(&self, payment: &Payment) -> Closing {
        match self.call("close", payment.id, &json!({}), LIMIT).await {
            Ok(CloseAnswer::Closed) => Closing::Closed,
            Ok(CloseAnswer::AlreadyPaid) => Closing::AlreadyPaid,
            Ok(CloseAnswer::TradeNotExist) => Closing::NotFound,
            Err(silence) => Closing::Unknown(silence),
        }
    }

    async fn refund(&self, refund: &Refund) -> Refunding {
        let body = json!({"refund_no": refund_number(refund.id), "amount": refund.amount.fen()});
        refunding(self.call("refund", refund.payment, &body, LIMIT).await)
    }

    async fn query_refund(&self, refund: &Refund) -> Refunding {
        let body = json!({"refund_no": refund_number(refund.id)});
        refunding(self.call("refund-query", refund.payment, &body, LIMIT).await)
    }

    async fn statement(&self, _day: Day) -> Stated {
        Stated::Absent("the sandbox provider takes no real money and writes no statements".to_owned())
    }

    fn parse_callback(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<News, CallbackError> {
        self.signatures.read_notification(headers, body, now).map(News::Payment)
    }

    fn ack(&self, handled: Handled) -> Acknowledgement {
        let (status, text) = match handled {
            Handled::Stored => (StatusCode::OK, "success"),
            Handled::NotGenuine => (StatusCode::UNAUTHORIZED, "failure: not genuine"),
            Handled::NotUnderstood => (StatusCode::BAD_REQUEST, "failure: not understood"),
            Handled::UnknownTrade => (StatusCode::NOT_FOUND, "failure: unknown trade"),
            Handled::NotStored => (StatusCode::SERVICE_UNAVAILABLE, "failure: send it again"),
        };
        Acknowledgement {
            status,
            content_type: "text/plain; charset=utf-8",
            text,
        }
    }
}

impl TradeReport {
    fn about(self, payment: PaymentId) -> Result<Observation, Silence> {
        match self.observation() {
            Ok(seen) if seen.payment == payment => Ok(seen),
            Ok(_) => Err(Silence("the answer is about another trade".into())),
            Err(error) => Err(Silence(error.to_string())),
        }
    }

    fn observation(self) -> Result<Observation, CallbackError> {
        let trade = match self.trade_status {
            TradeStatus::WaitBuyerPay => Trade::Waiting,
            TradeStatus::TradeFailed => Trade::Failed,
            TradeStatus::TradeClosed => Trade::Closed,
            TradeStatus::TradeSuccess => {
                let receipt = Receipt {
                    trade_no: self.trade_no,
                    amount: Money::from_fen(self.amount)
                        .map_err(|error| CallbackError::NotUnderstood(format!("amount: {error}")))?,
                    currency: self.currency,
                    paid_at: self
                        .paid_at
                        .ok_or_else(|| CallbackError::NotUnderstood("paid_at is missing".into()))?,
                };
                if self.merchant == MERCHANT {
                    Trade::Paid(receipt)
                } else {
                    Trade::PaidToAnother(receipt)
                }
            }
        };
        Ok(Observation {
            payment: PaymentId::from(self.out_trade_no),
            trade,
        })
    }
}

fn refunding(answer: Result<RefundAnswer, Silence>) -> Refunding {
    match answer {
        Ok(RefundAnswer::Succeeded) => Refunding::Succeeded,
        Ok(RefundAnswer::Rejected { reason }) => Refunding::Rejected(reason),
        Ok(RefundAnswer::RefundNotExist) => Refunding::NotFound,
        Err(silence) => Refunding::Unknown(silence),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sandbox({})", self.base_url)
    }
}

/// The sandbox's side of a notification, for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// The adapter. It calls nobody.
    pub(crate) fn adapter() -> Sandbox {
        Sandbox {
            connection: Connection::to_the_web_as("test"),
            base_url: "https://api.example.com".into(),
            signatures: signatures("a", None),
            clock: Clock::default(),
        }
    }

    /// Headers as the sandbox sends them to [`adapter`] with `body`.
    pub(crate) fn signed(body: &str, at: Timestamp) -> HeaderMap {
        notification(&signatures("a", None), body, at)
    }

    pub(super) fn signatures(seed: &str, previous: Option<&str>) -> Signatures {
        let secret = json!({"seed": seed.repeat(32), "previous_seed": previous.map(|text| text.repeat(32))});
        Signatures::derive(&secret.to_string().parse().unwrap()).unwrap()
    }

    pub(crate) fn report(payment: PaymentId) -> Value {
        json!({
            "merchant": MERCHANT, "out_trade_no": trade_number(payment), "trade_no": "SB1",
            "trade_status": "TRADE_SUCCESS", "amount": 1990, "currency": "CNY", "paid_at": NOW,
        })
    }

    pub(super) fn notification(by: &Signatures, body: &str, at: Timestamp) -> HeaderMap {
        let timestamp = at.millis().to_string();
        let mut headers = HeaderMap::new();
        let signature = by.sign(&format!("sandbox-notification\n{timestamp}\n{body}"));
        headers.insert(TIMESTAMP, timestamp.parse().unwrap());
        headers.insert(SIGNATURE, signature.parse().unwrap());
        headers
    }
}

#[cfg(test)]
mod tests {
    use contracts::payments::PaymentMethod;

    use super::fixture::{NOW, notification, report, signatures};
    use super::*;

    #[test]
    fn a_genuine_notification_is_believed_also_after_the_key_was_rotated() {
        let payment = PaymentId::random();
        let body = report(payment).to_string();
        let headers = notification(&signatures("a", None), &body, NOW);
        for verifier in [signatures("a", None), signatures("b", Some("a"))] {
            let seen = verifier.read_notification(&headers, body.as_bytes(), NOW).unwrap();
            assert_eq!(seen.payment, payment);
            assert!(matches!(seen.trade, Trade::Paid(receipt) if receipt.amount == Money::from_fen(1990).unwrap()));
        }
    }

    #[test]
    fn what_is_not_genuine_is_not_read() {
        let ours = signatures("a", None);
        let body = report(PaymentId::random()).to_string();
        let genuine = notification(&ours, &body, NOW);
        let refused = |headers: &HeaderMap, body: &str, at| {
            let outcome = ours.read_notification(headers, body.as_bytes(), at);
            matches!(outcome, Err(CallbackError::NotGenuine(_)))
        };
        assert!(refused(&HeaderMap::new(), &body, NOW), "unsigned");
        assert!(
            refused(&notification(&signatures("x", None), &body, NOW), &body, NOW),
            "foreign key"
        );
        assert!(refused(&genuine, &body.replace("1990", "1"), NOW), "changed body");
        assert!(refused(&genuine, &body, NOW.plus(WINDOW)), "too old");
        assert!(refused(&genuine, &body, NOW.minus(WINDOW)), "from the future");
        let mut moved = genuine.clone();
        moved.insert(TIMESTAMP, NOW.plus(WINDOW).millis().to_string().parse().unwrap());
        assert!(refused(&moved, &body, NOW.plus(WINDOW)), "changed timestamp");
        for signature in ["", "zz", "00", "SIGNTEST", "é"] {
            let mut probe = genuine.clone();
            probe.insert(SIGNATURE, http::HeaderValue::from_str(signature).unwrap());
            assert!(refused(&probe, &body, NOW), "{signature}");
        }
        // A signature of one kind of message is none for another.
        let mut borrowed = genuine;
        let timestamp = NOW.millis();
        let answer = ours.sign(&format!("sandbox-answer\n{timestamp}\n{body}"));
        borrowed.insert(SIGNATURE, answer.parse().unwrap());
        assert!(refused(&borrowed, &body, NOW));
    }

    #[test]
    fn money_for_another_merchant_is_not_ours() {
        let ours = signatures("a", None);
        let mut body = report(PaymentId::random());
        body["merchant"] = json!("somebody else");
        let body = body.to_string();
        let seen = ours
            .read_notification(&notification(&ours, &body, NOW), body.as_bytes(), NOW)
            .unwrap();
        assert!(matches!(seen.trade, Trade::PaidToAnother(_)));
    }

    #[test]
    fn an_answer_to_another_call_is_no_answer() {
        let ours = signatures("a", None);
        let raw = r#"{"result": "CLOSED"}"#;
        let answer = format!(
            r#"{{"answer": {raw}, "sign": "{}"}}"#,
            ours.sign(&format!("sandbox-answer\ncall 1\n{raw}"))
        );
        assert!(matches!(
            ours.read_answer("call 1", answer.as_bytes()),
            Ok(CloseAnswer::Closed)
        ));
        assert!(ours.read_answer::<CloseAnswer>("call 2", answer.as_bytes()).is_err());
        assert!(ours.read_answer::<CloseAnswer>("call 1", raw.as_bytes()).is_err());
    }

    /// Titles are typed by sellers.
    #[test]
    fn every_title_survives_the_payment_page_s_query() {
        for subject in ["a=b+c&d", "\"}; drop", "台灯 💡 100%", "x?y#z/\\", &"字".repeat(256)] {
            let order = Order {
                amount: "1990".into(),
                expires_at: "1".into(),
                merchant: MERCHANT,
                method: PaymentMethod::Alipay.word(),
                notify_url: "http://x/notify".into(),
                out_trade_no: "1".repeat(32),
                return_url: "http://x/return".into(),
                subject,
            };
            let query = signatures("a", None).signed_query(&order);
            let read: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            assert!(read.contains(&("subject".into(), subject.into())));
            assert!(read.is_sorted_by(|a, b| a.0 <= b.0 || b.0 == "sign"));
        }
    }
}
