//! Every minute: how many dead letters wait for a person. The log line is what the alarm listens to, and its absence too.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use event_function::Sweep;
use kernel::Timestamp;
use root::error::RootError;
use root::table::Letters;

fn main() -> ExitCode {
    event_function::open_schedule(async |cloud: Cloud| Letters::from_env(&cloud), watch_dead_letters)
}

async fn watch_dead_letters(letters: Arc<Letters>, _now: Timestamp) -> Result<Sweep, RootError> {
    let waiting = letters.waiting().await?;
    tracing::info!(waiting, "dead letters wait for a person");
    // Nothing of it is due to anybody but a person.
    Ok(Sweep::default())
}
