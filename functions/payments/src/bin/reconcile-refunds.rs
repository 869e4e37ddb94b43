//! Every minute: asks the providers after refunds that are not decided, and for those that they do not know.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::{Sweep, sweep};
use kernel::Timestamp;
use payments::error::PaymentError;
use payments::refunds::Refunds;
use payments::table::DueRefunds;

struct Desk {
    due: DueRefunds,
    refunds: Refunds,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            due: DueRefunds::from_env(&cloud)?,
            refunds: Refunds::from_env(&cloud).await?,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_schedule(Desk::from_env, reconcile_refunds)
}

async fn reconcile_refunds(desk: Arc<Desk>, now: Timestamp) -> Result<Sweep, PaymentError> {
    let due = desk.due.at(now).await?;
    Ok(sweep(due, |id| desk.refunds.reconcile(id, now)).await)
}
