//! `OrderCancelled`: closes the order's open payment. `OrderCompleted`: releases what is held to the seller.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::{Envelope, OrderEvent};
use kernel::{Clock, OrderId, Timestamp};
use payments::cashier::Cashier;
use payments::error::PaymentError;

struct Desk {
    cashier: Cashier,
    clock: Clock,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            cashier: Cashier::from_env(&cloud).await?,
            clock: cloud.clock().clone(),
        })
    }
}

fn main() -> ExitCode {
    event_function::open_queue(Desk::from_env, apply_order_event)
}

async fn apply_order_event(desk: Arc<Desk>, event: Envelope<OrderEvent>) -> Result<(), PaymentError> {
    let now = desk.clock.now();
    match event.event {
        OrderEvent::OrderCancelled { order, .. } => close_live(&desk.cashier, order.order_uuid, now).await,
        OrderEvent::OrderCompleted { payment_uuid, .. } => desk.cashier.release(payment_uuid, now).await.map(|_| ()),
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
