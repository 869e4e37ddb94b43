//! Every minute: expires orders that were not paid in time, reminds buyers a day before an order completes by itself,
//! completes orders a week after their payment.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::{Sweep, sweep};
use kernel::Timestamp;
use orders::error::OrderError;
use orders::table::{DueOrders, WriteOrders};

struct Desk {
    due: DueOrders,
    orders: WriteOrders,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            due: DueOrders::from_env(&cloud)?,
            orders: WriteOrders::from_env(&cloud)?,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_schedule(Desk::from_env, expire_orders)
}

async fn expire_orders(desk: Arc<Desk>, now: Timestamp) -> Result<Sweep, OrderError> {
    let due = desk.due.due(now).await?;
    // The index may lag behind: each order is read and decided anew, so one that was paid meanwhile stays paid.
    let orders = &desk.orders;
    let pass = async |id| orders.change(id, |order| order.let_time_pass(now)).await.map(|_| ());
    Ok(sweep(due, pass).await)
}
