//! `OrderCancelled`: closes the order's open payment. `OrderCompleted`: releases to the seller what is his.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::OrderEvent;
use event_function::Delivery;
use kernel::{OrderId, Timestamp};
use payments::cashier::Cashier;
use payments::error::PaymentError;

fn main() -> ExitCode {
    event_function::open_queue(async |cloud: Cloud| Cashier::from_env(&cloud).await, apply_order_event)
}

async fn apply_order_event(cashier: Arc<Cashier>, delivery: Delivery<OrderEvent>) -> Result<(), PaymentError> {
    let now = delivery.now;
    match delivery.event.event {
        OrderEvent::OrderCancelled { order, .. } => close_live(&cashier, order.order_uuid, now).await,
        OrderEvent::OrderCompleted {
            payment_uuid,
            to_seller,
            ..
        } => cashier.release(payment_uuid, to_seller, now).await.map(|_| ()),
        // The subscription lets only these two through.
        OrderEvent::OrderCreated { .. }
        | OrderEvent::OrderPaid { .. }
        | OrderEvent::OrderCompletionDue { .. }
        | OrderEvent::OrderRefundSettled { .. } => Ok(()),
    }
}

/// Where the provider says that it is paid, that is stored and announced: OrderService finds its order cancelled and asks
/// for the refund.
async fn close_live(cashier: &Cashier, order: OrderId, now: Timestamp) -> Result<(), PaymentError> {
    let head = cashier.payments().read().head(order).await?;
    let Some(live) = head.and_then(|head| head.live) else {
        return Ok(());
    };
    let Some(payment) = cashier.payments().read().find(live).await? else {
        return Ok(());
    };
    cashier.close(payment, now).await.map(|_| ())
}
