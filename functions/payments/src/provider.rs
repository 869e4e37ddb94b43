//! What a payment provider is to us, whichever company it is.

use async_trait::async_trait;
use http_function::{HeaderMap, StatusCode};
use kernel::{Money, PaymentId, RefundId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::payment::Payment;
use crate::refund::Refund;

/// The providers there are. A payment remembers which one took it, whatever is configured later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// The built-in one that takes no real money.
    Sandbox,
}

/// The only currency there is.
pub const CURRENCY: &str = "CNY";

/// How the buyer gets to pay: what a provider answers to a new trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Offer {
    /// Text to show as a QR code.
    QrCode(String),
    /// A page to open.
    Redirect(String),
    /// An HTML form that submits itself.
    AutoForm(String),
    /// Parameters for a script inside the provider's app, as JSON text.
    JsapiParams(String),
}

/// Money that came, by the provider's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The provider's number of the trade.
    pub trade_no: String,
    /// How much.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
    /// Of which currency.
    pub currency: String,
    /// When.
    pub paid_at: Timestamp,
}

/// How a trade stands at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trade {
    /// Not paid yet, and still can be.
    Waiting,
    /// Paid.
    Paid(Receipt),
    /// Paid, but to another merchant or app than ours.
    PaidToAnother(Receipt),
    /// Failed for good.
    Failed,
    /// Can not be paid any more.
    Closed,
}

/// What was seen of one of our payments. Callback, query and browser's return all produce it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The payment, which is also the number of its trade.
    pub payment: PaymentId,
    /// How its trade stands.
    pub trade: Trade,
}

/// Answer to a question about a trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queried {
    /// The provider knows the trade.
    Found(Observation),
    /// The provider does not know it (yet: some learn of it when the buyer opens the page).
    NotFound,
    /// No answer that can be trusted.
    Unknown(Silence),
}

/// Answer to closing a trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// It can not be paid any more.
    Closed,
    /// Too late: it is paid.
    AlreadyPaid,
    /// The provider does not know it. Money may still come.
    NotFound,
    /// No answer that can be trusted.
    Unknown(Silence),
}

/// Answer to a refund, or to a question about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refunding {
    /// The buyer has the money.
    Succeeded,
    /// Accepted; not done yet.
    Processing,
    /// The provider does not know such a refund.
    NotFound,
    /// Refused for good, for this reason.
    Rejected(String),
    /// No answer that can be trusted: whether the refund was made is not known.
    Unknown(Silence),
}

/// A provider that gave no trustworthy answer, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payment provider gave no answer that can be trusted: {0}")]
pub struct Silence(pub String);

/// Why a callback is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// No signature, a wrong one, or one that is too old.
    #[error("the signature proves nothing: {0}")]
    NotGenuine(&'static str),
    /// The provider's own, but of a shape that is not known.
    #[error("the callback is not understood: {0}")]
    NotUnderstood(String),
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handled {
    /// Its result is stored, now or already before.
    Stored,
    /// It is not the provider's.
    NotGenuine,
    /// It is not understood.
    NotUnderstood,
    /// It is about a trade that is not ours.
    UnknownTrade,
    /// It could not be stored; the provider should send it again.
    NotStored,
}

/// The answer to a callback, in the provider's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// HTTP status.
    pub status: StatusCode,
    /// Plain text.
    pub text: &'static str,
}

/// A provider. Its trade number is the payment's UUID, its refund number the refund's, both as 32 hex digits, so that
/// asking twice is asking for the same thing.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which one it is.
    fn name(&self) -> ProviderName;

    /// The offer, where it needs no answer of the provider's: a page whose link proves itself. Such a payment is with the
    /// buyer as soon as it is stored.
    fn ready_offer(&self, payment: &Payment) -> Option<Offer>;

    /// Makes the trade, or makes the same one again.
    ///
    /// # Errors
    /// [`Silence`]: the trade may exist; ask again under the same number.
    async fn create(&self, payment: &Payment) -> Result<Offer, Silence>;

    /// How the trade stands.
    async fn query(&self, payment: &Payment) -> Queried;

    /// Closes the trade.
    async fn close(&self, payment: &Payment) -> Closing;

    /// Gives money back.
    async fn refund(&self, refund: &Refund) -> Refunding;

    /// What became of a refund.
    async fn query_refund(&self, refund: &Refund) -> Refunding;

    /// Verifies and reads a callback. Pure.
    ///
    /// # Errors
    /// [`CallbackError`].
    fn parse_callback(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Observation, CallbackError>;

    /// The answer to a callback.
    fn ack(&self, handled: Handled) -> Acknowledgement;
}

/// The number under which a provider knows a payment.
#[must_use]
pub fn trade_number(payment: PaymentId) -> String {
    payment.uuid().simple().to_string()
}

/// The number under which a provider knows a refund.
#[must_use]
pub fn refund_number(refund: RefundId) -> String {
    refund.uuid().simple().to_string()
}
