//! What PaymentService announces, and what it is asked for on the topic `refunds`.

use kernel::{Money, OrderId, PaymentId, RefundId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Event;

/// How an order is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Alipay.
    Alipay,
    /// WeChat Pay.
    WechatPay,
}

impl PaymentMethod {
    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Alipay => 0,
            Self::WechatPay => 1,
        }
    }

    /// The word that clients know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alipay => "alipay",
            Self::WechatPay => "wechat_pay",
        }
    }

    /// The method that clients call `number`.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Alipay, Self::WechatPay]
            .into_iter()
            .find(|method| u64::from(method.number()) == number)
    }
}

impl std::str::FromStr for PaymentMethod {
    type Err = NotAMethod;

    fn from_str(word: &str) -> Result<Self, NotAMethod> {
        [Self::Alipay, Self::WechatPay]
            .into_iter()
            .find(|method| method.word() == word)
            .ok_or(NotAMethod)
    }
}

/// A word that is no payment method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMethod;

impl std::fmt::Display for NotAMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("must be alipay or wechat_pay")
    }
}

impl std::error::Error for NotAMethod {}

/// Topic `payment-events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    /// The money arrived while the payment was open.
    PaymentSucceeded {
        /// The payment.
        payment_uuid: PaymentId,
        /// The order it pays.
        order_uuid: OrderId,
        /// Who paid.
        user_uuid: UserId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
        /// How.
        method: PaymentMethod,
        /// When, by the provider's word.
        paid_at: Timestamp,
    },
    /// The provider says that the payment failed; the order can still be paid.
    PaymentFailed {
        /// The payment.
        payment_uuid: PaymentId,
        /// The order.
        order_uuid: OrderId,
        /// Who tried to pay.
        user_uuid: UserId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
    },
    /// Money that does not match what was asked for. It is held until a person decides.
    PaymentMismatched {
        /// The payment.
        payment_uuid: PaymentId,
        /// The order.
        order_uuid: OrderId,
        /// Who paid.
        user_uuid: UserId,
    },
}

impl Event for PaymentEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::PaymentSucceeded { .. } => "PaymentSucceeded",
            Self::PaymentFailed { .. } => "PaymentFailed",
            Self::PaymentMismatched { .. } => "PaymentMismatched",
        }
    }
}

/// Why money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundReason {
    /// A paid order was cancelled.
    OrderCancelled,
    /// The payment came when its order was cancelled already.
    PaidAfterCancellation,
    /// The order had been paid by another payment.
    PaidTwice,
    /// The payment had been closed before the money came.
    PaidAfterClosing,
    /// Asked for over HTTP, by the buyer or a service.
    Requested,
}

impl RefundReason {
    /// The word in ids and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OrderCancelled => "order_cancelled",
            Self::PaidAfterCancellation => "paid_after_cancellation",
            Self::PaidTwice => "paid_twice",
            Self::PaidAfterClosing => "paid_after_closing",
            Self::Requested => "requested",
        }
    }
}

/// The refund that gives back the whole of a payment, or all that is left of it. It has one id whatever the reason, so that two reasons for giving
/// the same money back give it back once.
#[must_use]
pub fn full_refund_id(payment: PaymentId) -> RefundId {
    RefundId::derived(&["full", &payment.to_string()])
}

/// Topic `refunds`: requests and outcomes.
///
/// OrderService asks for every refund that stands in an order (all reasons but [`RefundReason::PaidAfterClosing`]) and tells
/// its parties of the outcome by `OrderRefundSettled`. Of money that came after its payment was closed no order knows:
/// PaymentService asks for that itself, and `RefundSettled` is all that is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum RefundMessage {
    /// Money has to go back to the buyer.
    RefundRequested {
        /// The refund, as the requester names it; see [`full_refund_id`].
        refund_uuid: RefundId,
        /// The payment it is taken from.
        payment_uuid: PaymentId,
        /// The order.
        order_uuid: OrderId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
        /// Why.
        reason: RefundReason,
    },
    /// It is decided.
    RefundSettled {
        /// The refund.
        refund_uuid: RefundId,
        /// The payment it was taken from.
        payment_uuid: PaymentId,
        /// The order.
        order_uuid: OrderId,
        /// Who gets the money.
        user_uuid: UserId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
        /// Why.
        reason: RefundReason,
        /// Whether the buyer has it. If not, a person takes care of it.
        succeeded: bool,
    },
}

impl Event for RefundMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::RefundRequested { .. } => "RefundRequested",
            Self::RefundSettled { .. } => "RefundSettled",
        }
    }
}
