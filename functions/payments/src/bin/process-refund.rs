//! `RefundRequested`: gives money back to the buyer, once, however often it is asked for.
//!
//! Once it is stored, `reconcile-refunds` goes on with whatever is not decided: a refund that the provider accepted but has
//! not made, and one without a clear answer.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::RefundMessage;
use event_function::Delivery;
use payments::error::PaymentError;
use payments::refunds::{RefundWish, Refunds};

fn main() -> ExitCode {
    event_function::open_queue(async |cloud: Cloud| Refunds::from_env(&cloud).await, process_refund)
}

async fn process_refund(refunds: Arc<Refunds>, delivery: Delivery<RefundMessage>) -> Result<(), PaymentError> {
    let RefundMessage::RefundRequested {
        refund_uuid,
        payment_uuid,
        amount,
        reason,
        ..
    } = delivery.event.event
    else {
        // The subscription lets only requests through; outcomes are this service's own words.
        return Ok(());
    };
    let wish = RefundWish {
        id: refund_uuid,
        payment: payment_uuid,
        amount,
        reason,
    };
    match refunds.make(&wish, delivery.now).await {
        // It is stored: from here on it is due by itself, and the message has nothing to add.
        Err(PaymentError::Provider(silence)) => {
            tracing::warn!(refund = %refund_uuid, cause = %silence, "a refund without a clear answer is asked after later");
            Ok(())
        }
        made => made.map(|_| ()),
    }
}
