//! Stream of the orders table: keeps the counters of buyers and sellers.
//!
//! Beside `publish-order-events` the second reader of the stream. A batch writes each counter item once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use event_function::Change;
use futures::stream::TryStreamExt;
use kernel::Timestamp;
use orders::error::OrderError;
use orders::statistics::{Account, Movement};
use orders::table::{OrderRecord, WriteFigures};

fn main() -> ExitCode {
    event_function::open_stream_batches(async |cloud: Cloud| WriteFigures::from_env(&cloud), count_orders)
}

/// Counter items written at the same time.
const AT_ONCE: usize = 8;

async fn count_orders(
    figures: Arc<WriteFigures>,
    changes: Vec<Change<OrderRecord>>,
    now: Timestamp,
) -> Result<(), OrderError> {
    let mut accounts: BTreeMap<Account, Vec<Movement>> = BTreeMap::new();
    for change in changes {
        let Some(movement) = Movement::of(change)? else {
            continue;
        };
        for account in movement.accounts() {
            accounts.entry(account).or_default().push(movement);
        }
    }
    futures::stream::iter(accounts.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |(account, movements)| {
            let figures = figures.clone();
            async move { figures.take_in(account, &movements, now).await }
        })
        .await
}
