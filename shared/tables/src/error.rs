//! What can go wrong with a table, from the caller's point of view.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use cloud::rehearsal::Refused;

/// A failed table operation.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The condition of a write did not hold: the item was changed meanwhile, exists already, or is not there.
    /// Nothing was written.
    #[error("the condition of the write did not hold")]
    ConditionFailed,
    /// Conditions of a transaction did not hold; `actions` are the positions of its failed actions, from 0.
    /// Nothing was written.
    #[error("the conditions of actions {actions:?} of the transaction did not hold")]
    TransactionRefused {
        /// Positions of the failed actions in the order in which they were added.
        actions: Vec<usize>,
    },
    /// The table is throttled or contended, or can not be reached. Whether a write took place is unknown; a
    /// conditional one may be tried again.
    #[error("the table {table} does not answer: {reason}")]
    Unavailable {
        /// The table.
        table: String,
        /// The service's words.
        reason: String,
    },
    /// A stored item is not what the service writes.
    #[error("an item of the table {table} is corrupt: {reason}")]
    Corrupt {
        /// The table.
        table: String,
        /// What is wrong; names the item's key, never its content.
        reason: String,
    },
    /// Nothing was written, because this is a rehearsal.
    #[error(transparent)]
    Rehearsed(#[from] Refused),
    /// The table refused the call as such: a missing permission, a wrong index. A fault of deployment or code.
    #[error("the table {table} refused the call: {reason}")]
    Refused {
        /// The table.
        table: String,
        /// The service's words.
        reason: String,
    },
}

impl TableError {
    pub(crate) fn of<E, R>(table: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let reason = DisplayErrorContext(error).to_string();
        let table = table.to_owned();
        match error.code() {
            Some("ConditionalCheckFailedException") => Self::ConditionFailed,
            Some(
                "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "ThrottlingException"
                | "TransactionConflictException"
                | "TransactionInProgressException"
                | "InternalServerError"
                | "ServiceUnavailable",
            ) => Self::Unavailable { table, reason },
            Some(_) => Self::Refused { table, reason },
            None => Self::Unavailable { table, reason },
        }
    }
}

/// Gives the refusal of a conditional write its business meaning at the place of the call.
pub trait WhenConditionFails<T> {
    /// Turns a failed condition into the error of `meaning`; other errors are converted.
    ///
    /// # Errors
    /// The error of `meaning`, or the converted table error.
    fn when_condition_fails<E: From<TableError>>(self, meaning: impl FnOnce() -> E) -> Result<T, E>;
}

impl<T> WhenConditionFails<T> for Result<T, TableError> {
    fn when_condition_fails<E: From<TableError>>(self, meaning: impl FnOnce() -> E) -> Result<T, E> {
        self.map_err(|error| match error {
            TableError::ConditionFailed | TableError::TransactionRefused { .. } => meaning(),
            other => other.into(),
        })
    }
}
