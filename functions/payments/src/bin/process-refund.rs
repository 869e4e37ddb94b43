//! `RefundRequested`: gives money back to the buyer, once, however often it is asked for.
//!
//! A refund that the provider accepted but has not made stays with `reconcile-refunds`; so does one without a clear answer,
//! whose message comes again besides.

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
    refunds.make(&wish, delivery.now).await.map(|_| ())
}
