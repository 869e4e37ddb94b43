//! What can go wrong with a trade, and how callers are told.

use event_function::EventError;
use http_function::{Problem, StatusCode};
use tables::TableError;

use crate::order::BadOrder;
use crate::signature::NotGenuine;
use crate::trade::Refusal;

/// A refusal or failure of the sandbox provider.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The signature proves nothing.
    #[error(transparent)]
    NotGenuine(#[from] NotGenuine),
    /// An order that can not be.
    #[error(transparent)]
    BadOrder(#[from] BadOrder),
    /// The trade does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A call that there is not.
    #[error("there is no such call")]
    NoSuchCall,
    /// Changed by somebody else again and again.
    #[error("the trade is being changed by others")]
    ChangedMeanwhile,
    /// A request that does not parse.
    #[error("refused")]
    Call(Problem),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<Problem> for SandboxError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<SandboxError> for Problem {
    fn from(error: SandboxError) -> Self {
        let text = error.to_string();
        match error {
            SandboxError::NotGenuine(_) => Self::new(StatusCode::UNAUTHORIZED, "bad-signature", text),
            SandboxError::BadOrder(_) => Self::new(StatusCode::BAD_REQUEST, "bad-order", text),
            SandboxError::Refused(_) => Self::conflict("trade-refused", text),
            SandboxError::NoSuchCall => Self::not_found("call"),
            SandboxError::ChangedMeanwhile => Self::unavailable(text),
            SandboxError::Call(problem) => problem,
            SandboxError::Table(error) => error.into(),
        }
    }
}

impl From<SandboxError> for EventError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Table(error) => error.into(),
            SandboxError::ChangedMeanwhile => Self::again(error),
            other => Self::never(other),
        }
    }
}
