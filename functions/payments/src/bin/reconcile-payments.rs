//! Every minute: asks the providers after open payments whose callback may be lost, ends those that are overdue, and looks
//! once more at those that ended where the provider did not know them.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::{Sweep, sweep};
use kernel::Timestamp;
use payments::cashier::Cashier;
use payments::error::PaymentError;
use payments::table::DuePayments;

struct Desk {
    due: DuePayments,
    cashier: Cashier,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            due: DuePayments::from_env(&cloud)?,
            cashier: Cashier::from_env(&cloud).await?,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_schedule(Desk::from_env, reconcile_payments)
}

async fn reconcile_payments(desk: Arc<Desk>, now: Timestamp) -> Result<Sweep, PaymentError> {
    let due = desk.due.at(now).await?;
    Ok(sweep(due, |id| desk.cashier.reconcile(id, now)).await)
}
