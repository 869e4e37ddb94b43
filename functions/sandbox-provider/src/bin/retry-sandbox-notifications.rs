//! Every minute: sends notifications again that the merchant has not confirmed.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::{Sweep, sweep};
use kernel::Timestamp;
use sandbox_provider::error::SandboxError;
use sandbox_provider::notification::Notifier;
use sandbox_provider::order::TradeNumber;
use sandbox_provider::signature::Signatures;
use sandbox_provider::stage;
use sandbox_provider::table::Trades;

struct House {
    trades: Trades,
    signatures: Signatures,
    notifier: Notifier,
}

impl House {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        stage::refuse_production(cloud.settings())?;
        Ok(Self {
            trades: Trades::from_env(&cloud)?,
            signatures: Signatures::from_env(&cloud).await?,
            notifier: Notifier::from_env(&cloud)?,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_schedule(House::from_env, retry_notifications)
}

async fn retry_notifications(house: Arc<House>, now: Timestamp) -> Result<Sweep, SandboxError> {
    let due = house.trades.due(now).await?;
    Ok(sweep(due, |number| retry(&house, number, now)).await)
}

/// A merchant who does not confirm is no failure of this run: the notification stays owed.
async fn retry(house: &House, number: TradeNumber, now: Timestamp) -> Result<(), SandboxError> {
    match house.trades.find(&number).await? {
        // The index may lag behind.
        Some(trade) if trade.owed.is_some_and(|owed| owed.due_at <= now) => {
            house.notifier.notify(&house.trades, &house.signatures, &trade).await
        }
        _ => Ok(()),
    }
}
