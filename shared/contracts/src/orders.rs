//! What OrderService announces.

use kernel::{BuyerId, Money, OrderId, PaymentId, RefundId, SellerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Event;

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
        /// The payment that is the seller's now.
        payment_uuid: PaymentId,
    },
    /// It was called off. What it had reserved goes back on sale.
    OrderCancelled {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// By whom.
        cancelled_by: CancelledBy,
        /// Whether money comes back.
        was_paid: bool,
        /// Products and quantities to put back.
        products: Vec<Reserved>,
    },
    /// What became of the money that came back, as the order shows it.
    OrderRefundSettled {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// The refund.
        refund_uuid: RefundId,
        /// How much.
        #[serde(with = "kernel::money::fen")]
        amount: Money,
        /// Whether the buyer has it. If not, a person takes care of it.
        succeeded: bool,
    },
}

/// A product and how many pieces of it an order holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderForServices {
    /// The order.
    pub order_uuid: OrderId,
    /// Who buys.
    pub buyer_uuid: BuyerId,
    /// Who sells.
    pub seller_uuid: SellerId,
    /// 0 pending_payment, 1 paid, 2 completed, 3 cancelled.
    pub status: u8,
    /// What has to be paid.
    pub total_amount: Money,
    /// Until when it can be paid, milliseconds UTC.
    pub payable_until: Timestamp,
    /// What it is called.
    pub title: String,
}
