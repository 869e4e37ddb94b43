//! `RefundSettled`: the order shows what became of its refund.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::RefundMessage;
use event_function::Delivery;
use orders::error::OrderError;
use orders::order::RefundOutcome;
use orders::table::WriteOrders;

fn main() -> ExitCode {
    event_function::open_queue(async |cloud: Cloud| WriteOrders::from_env(&cloud), apply_refund_outcome)
}

async fn apply_refund_outcome(orders: Arc<WriteOrders>, delivery: Delivery<RefundMessage>) -> Result<(), OrderError> {
    let RefundMessage::RefundSettled {
        refund_uuid,
        order_uuid,
        succeeded,
        ..
    } = delivery.event.event
    else {
        // The subscription lets only outcomes through; a request is PaymentService's business.
        return Ok(());
    };
    let outcome = if succeeded {
        RefundOutcome::Succeeded
    } else {
        RefundOutcome::NeedsAttention
    };
    orders
        .change(order_uuid, |order| {
            Ok(order.settle_refund(refund_uuid, outcome, delivery.now))
        })
        .await?;
    Ok(())
}
