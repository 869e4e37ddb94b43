//! What the other services announce, read from one queue.

use contracts::{NotificationMessage, OrderEvent, PaymentEvent, RefundMessage};
use serde::Deserialize;

/// An event of any topic that the queue is subscribed to. The event's `type` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum News {
    /// Of OrderService.
    Order(OrderEvent),
    /// Of PaymentService.
    Payment(PaymentEvent),
    /// About money that goes back.
    Refund(RefundMessage),
    /// Asked for by another service.
    Request(NotificationMessage),
}
