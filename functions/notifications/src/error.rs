//! What can go wrong with a notification, and how each audience is told.

use event_function::EventError;
use http_function::{Problem, StatusCode};
use service_client::CallError;
use tables::TableError;

/// A refusal or failure of NotificationService.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// There is no such notification, or it is somebody else's.
    #[error("there is no such notification")]
    NotFound,
    /// There is nobody to notify.
    #[error("there is no such user")]
    UserNotFound,
    /// The Idempotency-Key was used for another notification of this user.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// A request that does not parse, or comes from the wrong kind of caller.
    #[error("refused")]
    Call(Problem),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Another service failed.
    #[error(transparent)]
    Service(#[from] CallError),
}

impl From<Problem> for NotificationError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<NotificationError> for Problem {
    fn from(error: NotificationError) -> Self {
        match error {
            NotificationError::NotFound => Self::not_found("notification"),
            NotificationError::UserNotFound => {
                Self::new(StatusCode::NOT_FOUND, "user-not-found", "There is no such user.")
                    .field("user_uuid", "is nobody")
            }
            NotificationError::KeyReused => Self::conflict(
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request. Use a new one.",
            ),
            NotificationError::Call(problem) => problem,
            NotificationError::Table(error) => error.into(),
            NotificationError::Service(error) => error.into(),
        }
    }
}

impl From<NotificationError> for EventError {
    fn from(error: NotificationError) -> Self {
        match error {
            NotificationError::Table(error) => error.into(),
            NotificationError::Service(error) => error.into(),
            other => Self::never(other),
        }
    }
}
