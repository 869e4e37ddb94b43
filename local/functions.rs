//! The deployed functions: who calls one gets an instance of it, one invocation at a time.

use std::fmt;

use bytes::Bytes;

/// What an invocation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Answered(Bytes),
    /// The function reported an error, or could not be started.
    Failed {
        /// `errorType` of the report.
        error_type: String,
        /// `errorMessage` of the report.
        message: String,
    },
    /// The function's time ran out; its instance was killed.
    TimedOut,
    /// The process ended before it answered.
    Crashed,
}

/// What started an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A request to the HTTP API, with its route key.
    Http(String),
    /// The Invoke API.
    Invoke,
    /// Messages of a queue, with its name.
    Queue(String),
    /// Records of a table's stream, with the table's name.
    Stream(String),
    /// A schedule, with its name in the template.
    Schedule(String),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Http(route) => write!(f, "http {route}"),
            Trigger::Invoke => write!(f, "invoke"),
            Trigger::Queue(name) => write!(f, "queue {name}"),
            Trigger::Stream(table) => write!(f, "stream {table}"),
            Trigger::Schedule(name) => write!(f, "schedule {name}"),
        }
    }
}

/// The functions of one platform. Clones share them.
#[derive(Debug, Clone)]
pub struct Functions {}

impl Functions {
    /// Invokes a function and waits for what comes of it. Cancelling the wait does not cancel the invocation.
    pub async fn invoke(&self, _logical_id: &str, _payload: Bytes, _trigger: Trigger) -> Outcome {
        Outcome::Crashed
    }

    /// Invocations that were asked for and have not come to an end.
    #[must_use]
    pub fn running(&self) -> usize {
        0
    }
}
