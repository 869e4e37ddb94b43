//! Every queue of dead letters: what arrives is kept where it can be looked at, and seen to one by one.
//!
//! Kept twice it is the same letter. What can not be kept stays in its queue.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::SqsMessage;
use kernel::Timestamp;
use root::arrival::Arrivals;
use root::error::RootError;
use root::table::Letters;

struct Desk {
    arrivals: Arrivals,
    letters: Letters,
}

impl Desk {
    fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            arrivals: Arrivals::from_env(cloud)?,
            letters: Letters::from_env(cloud)?,
        })
    }
}

fn main() -> ExitCode {
    event_function::open_messages(async |cloud: Cloud| Desk::from_env(&cloud), keep_dead_letters)
}

async fn keep_dead_letters(desk: Arc<Desk>, message: SqsMessage, now: Timestamp) -> Result<(), RootError> {
    for letter in desk.arrivals.letters(&message, now).await? {
        if desk.letters.keep(&letter).await? {
            tracing::warn!(letter = %letter.id, consumer = %letter.consumer, "a dead letter is kept");
        }
    }
    Ok(())
}
