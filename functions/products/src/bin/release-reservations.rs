//! Every minute: reservations whose lease has ended, because the call that made them failed before its order came to be,
//! or whose order simply lives.
//!
//! OrderService is asked about each. Where there is no order, or a cancelled one, the pieces go back on the shelf; where
//! there is one, it keeps them and its end takes care of them. What can not be decided now stays due.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::Sweep;
use kernel::{OrderId, ProductId, Timestamp};
use products::error::ProductError;
use products::orders;
use products::stock::Release;
use products::table::{Stockroom, Turn};
use service_client::Services;

fn main() -> ExitCode {
    event_function::open_schedule(Sweeper::from_env, release_reservations)
}

struct Sweeper {
    stockroom: Stockroom,
    services: Services,
}

impl Sweeper {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            services: Services::from_env(&cloud).await?,
            stockroom: Stockroom::from_env(cloud).await?,
        })
    }
}

async fn release_reservations(sweeper: Arc<Sweeper>, now: Timestamp) -> Result<Sweep, ProductError> {
    let due = sweeper.stockroom.due(now).await?;
    Ok(event_function::sweep(due, |(order, product)| release(&sweeper, order, product, now)).await)
}

async fn release(sweeper: &Sweeper, order: OrderId, product: ProductId, now: Timestamp) -> Result<(), ProductError> {
    // The index lags behind the table: a reservation that is gone or closed by now needs nothing.
    let Some(reservation) = sweeper.stockroom.reservation(order, product).await? else {
        return Ok(());
    };
    let standing = orders::standing(&sweeper.services, order).await?;
    let turn = match reservation.lease_ended(standing, now) {
        Release::GiveBack(next) => {
            tracing::warn!(%order, %product, ?standing, "a reservation without an order is released");
            sweeper.stockroom.give_back(&next).await?
        }
        Release::Keep(next) => sweeper.stockroom.keep(&next).await?,
        Release::Nothing => Turn::Won,
    };
    match turn {
        Turn::Won => Ok(()),
        Turn::Lost => Err(ProductError::Contended),
    }
}
