//! `RefundRequested`: gives money back to the buyer, once, however often it is asked for.
//!
//! A refund that the provider accepted but has not made stays with `resume-payments`; so does one without a clear answer,
//! whose message comes again besides.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::{Envelope, RefundMessage};
use kernel::Clock;
use payments::error::PaymentError;
use payments::refunds::{RefundWish, Refunds};

struct Desk {
    refunds: Refunds,
    clock: Clock,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            refunds: Refunds::from_env(&cloud).await?,
            clock: cloud.clock().clone(),
        })
    }
}

fn main() -> ExitCode {
    event_function::open_queue(Desk::from_env, process_refund)
}

async fn process_refund(desk: Arc<Desk>, event: Envelope<RefundMessage>) -> Result<(), PaymentError> {
    let RefundMessage::RefundRequested {
        refund_uuid,
        payment_uuid,
        amount,
        reason,
        ..
    } = event.event
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
    desk.refunds.make(&wish, desk.clock.now()).await.map(|_| ())
}
