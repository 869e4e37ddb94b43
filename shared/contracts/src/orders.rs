//! What OrderService announces.

use kernel::{BuyerId, Money, OrderId, PaymentId, RefundId, SellerId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Event;
use crate::payments::RefundReason;

/// What every event about an order says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSummary {
    /// The order.
    pub order_uuid: OrderId,
    /// Who buys.
    pub buyer_uuid: BuyerId,
    /// Who sells.
    pub seller_uuid: SellerId,
    /// What it is called: the first product's title.
    pub title: String,
    /// How many different products it has.
    pub product_count: usize,
    /// The whole amount.
    #[serde(with = "kernel::money::fen")]
    pub total: Money,
}

/// Who called an order off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// Nobody: it was not paid in time.
    Timeout,
    /// Another service of the system, on behalf of the market.
    Service,
}

/// Topic `order-events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    /// It was placed and waits for payment.
    OrderCreated {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// Until when it can be paid.
        expires_at: Timestamp,
    },
    /// It was paid.
    OrderPaid {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// By this payment.
        payment_uuid: PaymentId,
    },
    /// It completes by itself soon unless the buyer objects.
    OrderCompletionDue {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// When.
        completes_at: Timestamp,
    },
    /// The goods were received, by the buyer's word or by time.
    OrderCompleted {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// The payment that holds the money.
        payment_uuid: PaymentId,
        /// How much of it is the seller's now: the total without what goes back, or went back, to the buyer.
        #[serde(with = "kernel::money::fen")]
        to_seller: Money,
    },
    /// It was called off. What it had reserved goes back on sale.
    OrderCancelled {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// By whom.
        cancelled_by: CancelledBy,
        /// Whether it had been paid.
        was_paid: bool,
        /// What goes back to the buyer now: all that was paid and not asked back before.
        #[serde(with = "kernel::money::fen")]
        to_buyer: Money,
        /// Products and quantities to put back.
        products: Vec<Reserved>,
    },
    /// A refund of it is decided, whoever asked for it and why. This is the event that tells buyer and seller: the refunds
    /// of which an order knows are announced here once, and the others by `RefundSettled` alone.
    OrderRefundSettled {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// The refund.
        refund_uuid: RefundId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
        /// Why.
        reason: RefundReason,
        /// Whether the buyer has it. If not, a person takes care of it.
        succeeded: bool,
    },
}

/// A product and how many pieces of it an order holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    /// The product.
    pub product_uuid: kernel::ProductId,
    /// Pieces.
    pub quantity: kernel::Quantity,
}

impl Event for OrderEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::OrderCreated { .. } => "OrderCreated",
            Self::OrderPaid { .. } => "OrderPaid",
            Self::OrderCompletionDue { .. } => "OrderCompletionDue",
            Self::OrderCompleted { .. } => "OrderCompleted",
            Self::OrderCancelled { .. } => "OrderCancelled",
            Self::OrderRefundSettled { .. } => "OrderRefundSettled",
        }
    }
}

/// `GET /api/orders/internal/{order_uuid}`: an order, as PaymentService and ProductService need it. Money is text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderForServices {
    /// The order.
    pub order_uuid: OrderId,
    /// Who buys.
    pub buyer_uuid: BuyerId,
    /// Who sells.
    pub seller_uuid: SellerId,
    /// 0 pending_payment, 1 paid, 2 completed, 3 cancelled.
    #[schema(minimum = 0, maximum = 3)]
    pub status: u8,
    /// What has to be paid.
    pub total_amount: Money,
    /// Until when it can be paid, milliseconds UTC.
    pub payable_until: Timestamp,
    /// What it is called.
    pub title: String,
}

/// `POST /api/orders/internal/{order_uuid}/refund`: what is asked back of a paid order. The order decides, because it is
/// the order that may be completed, cancelled or asked for another refund at the same moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefundDemand {
    /// The refund, as whoever asks names it: asking twice under one name is asking once.
    pub refund_uuid: RefundId,
    /// The buyer who asks; `None`: a service does.
    #[serde(default)]
    pub buyer_uuid: Option<BuyerId>,
    /// How much; `None`: all that is left.
    #[serde(default)]
    #[schema(value_type = Option<kernel::schema::Amount>)]
    pub amount: Option<Money>,
    /// Why, in his words.
    #[serde(default)]
    pub reason: Option<Text<0, 500>>,
    /// Fingerprint of the request, if it may be repeated under an `Idempotency-Key`.
    #[serde(default)]
    pub fingerprint: Option<Text<1, 64>>,
}

/// The answer: the refund as the order has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefundForServices {
    /// The refund.
    pub refund_uuid: RefundId,
    /// The order.
    pub order_uuid: OrderId,
    /// How much goes back.
    pub amount: Money,
    /// What became of it.
    pub refund_status: RefundStatus,
}

/// What became of a refund, in the words that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// Not decided yet.
    Pending,
    /// The buyer has his money.
    Succeeded,
    /// A person takes care of it.
    NeedsAttention,
}

/// Why an order gives nothing back: the `error.type` of the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefundRefusal {
    /// It is not paid.
    OrderNotPaid,
    /// It is completed: the money is the seller's.
    AlreadyReleased,
    /// Everything was asked back before.
    AlreadyRefunded,
    /// More is asked for than is left; `refundable` in the answer says how much that is.
    RefundExceeds,
    /// The fingerprint is not the one of the request that first named this refund.
    IdempotencyKeyReused,
    /// It is being changed by others.
    ChangedMeanwhile,
}

impl RefundRefusal {
    /// The word that goes over the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OrderNotPaid => "order-not-paid",
            Self::AlreadyReleased => "already-released",
            Self::AlreadyRefunded => "already-refunded",
            Self::RefundExceeds => "refund-exceeds",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::ChangedMeanwhile => "changed-meanwhile",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_as_it_is_written() {
        use RefundRefusal::*;
        for refusal in [
            OrderNotPaid,
            AlreadyReleased,
            AlreadyRefunded,
            RefundExceeds,
            IdempotencyKeyReused,
            ChangedMeanwhile,
        ] {
            let word = serde_json::to_value(refusal).unwrap();
            assert_eq!(word, refusal.word());
            assert_eq!(serde_json::from_value::<RefundRefusal>(word).unwrap(), refusal);
        }
    }
}
