//! Every minute: asks after open payments whose callback may be lost, ends those that are overdue, and goes on with refunds
//! that are not decided.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::{Sweep, sweep};
use kernel::Timestamp;
use payments::cashier::Cashier;
use payments::error::PaymentError;
use payments::refunds::Refunds;
use payments::table::Due;

struct Desk {
    due: Due,
    cashier: Cashier,
    refunds: Refunds,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let (cashier, refunds) = tokio::try_join!(Cashier::from_env(&cloud), Refunds::from_env(&cloud))?;
        Ok(Self {
            due: Due::from_env(&cloud)?,
            cashier,
            refunds,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_schedule(Desk::from_env, resume_payments)
}

async fn resume_payments(desk: Arc<Desk>, now: Timestamp) -> Result<Sweep, PaymentError> {
    let (payments, refunds) = tokio::try_join!(desk.due.payments(now), desk.due.refunds(now))?;
    let payments = sweep(payments, |id| desk.cashier.resume(id, now)).await;
    let refunds = sweep(refunds, |id| desk.refunds.resume(id, now)).await;
    Ok(Sweep {
        due: payments.due + refunds.due,
        failed: payments.failed + refunds.failed,
    })
}
