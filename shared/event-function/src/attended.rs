//! Invocations whose outcome a person waits for: a message that died is tried once more, or rehearsed.

use cloud::rehearsal::Effect;
use serde::{Deserialize, Serialize};

use crate::EventError;
use crate::door::Answer;

/// Member of an event that says that a person waits. Events of queues and streams do not have it.
pub const ATTENDED: &str = "attended";

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attendance {
    /// To have it done.
    Redrive,
    /// To know what would be done; nothing is changed.
    Rehearsal,
}

/// What a person is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attended {
    /// Why it failed; `None`: it is done, or, in a rehearsal with no effect, there is nothing to do.
    pub cause: Option<String>,
    /// The first thing that would happen, in a rehearsal. What follows from it is not known.
    pub effect: Option<Effect>,
}

impl Attended {
    pub(crate) fn of(answer: Result<Answer, EventError>, effect: Option<Effect>) -> Self {
        let cause = answer.map_or_else(|error| Some(error.chain()), |answer| answer.cause);
        Self {
            // Behind the first effect of a rehearsal everything fails; that is no news.
            cause: cause.filter(|_| effect.is_none()),
            effect,
        }
    }
}
