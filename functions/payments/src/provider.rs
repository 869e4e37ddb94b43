//! What a payment provider is to us, whichever company it is.

use async_trait::async_trait;
use http_function::{HeaderMap, StatusCode};
use kernel::{Money, PaymentId, RefundId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Payment;
use crate::refund::Refund;
use crate::statement::{Day, Stated};

/// The providers there are. A payment remembers which one took it, whatever is configured later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// The built-in one that takes no real money.
    Sandbox,
    /// Alipay, the open platform.
    Alipay,
    /// WeChat Pay, API v3.
    WechatPay,
    /// The older system, whose payments were imported.
    Legacy,
}

impl ProviderName {
    /// The word in tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Alipay => "alipay",
            Self::WechatPay => "wechat_pay",
            Self::Legacy => "legacy",
        }
    }
}

/// Where the buyer meets the provider. A trade is made for one of them and can not be moved to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A page in a browser on a desktop: Alipay's `page.pay`.
    Page,
    /// A page in a browser on a phone, which opens the provider's app: Alipay's `wap.pay`, WeChat Pay's `h5`.
    MobilePage,
    /// A code that the provider's app scans: Alipay's `precreate`, WeChat Pay's `native`.
    QrCode,
    /// A script inside the provider's app: WeChat Pay's `jsapi`.
    InApp,
}

/// What a provider wants to know of the buyer before it makes a trade. Personal: it is passed on and not kept.
#[derive(Clone, Default)]
pub struct Payer {
    /// His id in our WeChat app; `jsapi` needs it.
    pub openid: Option<String>,
    /// The address he calls from; `h5` needs it.
    pub ip: Option<String>,
}

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payer(..)")
    }
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
    /// Paid, and all or a part of it went back. Where the money went is known from our refunds, or to a person.
    Returned(Receipt),
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

/// What was seen of one of our refunds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundObservation {
    /// The payment that it is of.
    pub payment: PaymentId,
    /// The refund, where its number is one of ours: a person may have made others at the provider.
    pub refund: Option<RefundId>,
    /// How much, where that was said.
    pub amount: Option<Money>,
    /// What became of it; `None` where the provider has to be asked.
    pub outcome: Option<Refunding>,
}

/// What a genuine callback says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// How a trade stands.
    Payment(Observation),
    /// How a refund stands.
    Refund(RefundObservation),
}

impl News {
    /// Which payment it is about.
    #[must_use]
    pub fn payment(&self) -> PaymentId {
        match self {
            Self::Payment(seen) => seen.payment,
            Self::Refund(seen) => seen.payment,
        }
    }
}

/// Answer to making a trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Making {
    /// The buyer can pay it like this.
    Offered(Offer),
    /// It exists and is paid.
    AlreadyPaid,
    /// It exists and is closed: it can not be paid any more.
    Closed,
    /// Refused for good, for this reason.
    Rejected(String),
    /// No answer that can be trusted: the trade may exist; ask again under the same number.
    Unknown(Silence),
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
    /// Media type of the text.
    pub content_type: &'static str,
    /// The words.
    pub text: &'static str,
}

/// A provider. Its trade number is the payment's UUID, its refund number the refund's, both as 32 hex digits, so that
/// asking twice is asking for the same thing.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which one it is.
    fn name(&self) -> ProviderName;

    /// Where buyers can meet it, first the one that is meant when none is wished for.
    fn channels(&self) -> &[Channel];

    /// Whether an offer that was made stays good for as long as the payment. One that does not is made anew each time the
    /// buyer asks.
    fn offers_last(&self, channel: Channel) -> bool;

    /// The offer, where it needs no answer of the provider's: a page whose link proves itself. Such a payment is with the
    /// buyer as soon as it is stored.
    fn ready_offer(&self, payment: &Payment) -> Option<Offer>;

    /// Makes the trade, or makes the same one again.
    async fn create(&self, payment: &Payment, payer: &Payer) -> Making;

    /// How the trade stands.
    async fn query(&self, payment: &Payment) -> Queried;

    /// Closes the trade.
    async fn close(&self, payment: &Payment) -> Closing;

    /// Gives money back.
    async fn refund(&self, refund: &Refund) -> Refunding;

    /// What became of a refund.
    async fn query_refund(&self, refund: &Refund) -> Refunding;

    /// What it states of a day.
    async fn statement(&self, day: Day) -> Stated;

    /// Verifies and reads a callback. Pure.
    ///
    /// # Errors
    /// [`CallbackError`].
    fn parse_callback(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<News, CallbackError>;

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
