//! What can go wrong with policies and assessments, and how each audience is told.

use event_function::EventError;
use http_function::Problem;
use tables::TableError;

use crate::policy::WrongEdit;

/// A refusal or failure of SecurityService.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// An edit of the policies that means nothing.
    #[error(transparent)]
    Edit(#[from] WrongEdit),
    /// Other administrators edit the policies again and again.
    #[error("the policies are being changed by others")]
    ChangedMeanwhile,
    /// A request that does not parse, or comes from the wrong kind of caller.
    #[error("refused")]
    Call(Problem),
    /// A table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<Problem> for SecurityError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<SecurityError> for Problem {
    fn from(error: SecurityError) -> Self {
        match error {
            SecurityError::Edit(WrongEdit { position, error }) => {
                let field = format!("policies[{position}].config_data");
                match error.threshold {
                    Some(threshold) => Self::invalid_field(format!("{field}.{threshold}"), error.reason),
                    None => Self::invalid_field(field, error.reason),
                }
            }
            SecurityError::ChangedMeanwhile => Self::conflict(
                "changed-meanwhile",
                "The policies were changed just now. Look again and repeat.",
            ),
            SecurityError::Call(problem) => problem,
            SecurityError::Table(error) => error.into(),
        }
    }
}

impl From<SecurityError> for EventError {
    fn from(error: SecurityError) -> Self {
        match error {
            SecurityError::Table(error) => error.into(),
            other => Self::never(other),
        }
    }
}
