//! Whether trying again makes sense.

use std::error::Error;

use service_client::CallError;
use tables::TableError;

/// The one question that an error of an event function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may work later: the message stays in its queue, and after its last receive goes to the dead-letter queue.
    Again,
    /// It can never work and a person has to see it: the message is left to its dead-letter queue as well, since that
    /// is where people look, but it is logged as hopeless.
    Never,
}

/// A message, a change or a run that failed.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct EventError {
    retry: Retry,
    source: Box<dyn Error + Send + Sync>,
}

impl EventError {
    /// It may work later.
    pub fn again(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            retry: Retry::Again,
            source: source.into(),
        }
    }

    /// It can never work.
    pub fn never(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            retry: Retry::Never,
            source: source.into(),
        }
    }

    /// Whether trying again makes sense.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The error with all its causes, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut next: Option<&(dyn Error + 'static)> = Some(self.source.as_ref());
        let mut chain = Vec::new();
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        chain.join(": ")
    }
}

impl From<TableError> for EventError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Corrupt { .. } => Self::never(error),
            _ => Self::again(error),
        }
    }
}

impl From<CallError> for EventError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable { .. } => Self::again(error),
            CallError::NotUnderstood { .. } => Self::never(error),
        }
    }
}

/// How Lambda names the failure in its metrics and in the record of a failed asynchronous invocation.
impl From<EventError> for lambda_runtime::Diagnostic {
    fn from(error: EventError) -> Self {
        let error_type = match error.retry {
            Retry::Again => "Retryable",
            Retry::Never => "NonRetryable",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.chain(),
        }
    }
}
