//! `RefundSettled`: the order shows what became of its refund.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::{Envelope, RefundMessage};
use kernel::Clock;
use orders::error::OrderError;
use orders::order::RefundOutcome;
use orders::table::WriteOrders;

struct Desk {
    orders: WriteOrders,
    clock: Clock,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: WriteOrders::from_env(&cloud)?,
            clock: cloud.clock().clone(),
        })
    }
}

fn main() -> ExitCode {
    event_function::open_queue(Desk::from_env, apply_refund_outcome)
}

async fn apply_refund_outcome(desk: Arc<Desk>, event: Envelope<RefundMessage>) -> Result<(), OrderError> {
    let RefundMessage::RefundSettled {
        refund_uuid,
        order_uuid,
        succeeded,
        ..
    } = event.event
    else {
        // The subscription lets only outcomes through; a request is PaymentService's business.
        return Ok(());
    };
    let outcome = if succeeded {
        RefundOutcome::Succeeded
    } else {
        RefundOutcome::NeedsAttention
    };
    desk.orders
        .change(order_uuid, |order| {
            Ok(order.settle_refund(refund_uuid, outcome, desk.clock.now()))
        })
        .await?;
    Ok(())
}
