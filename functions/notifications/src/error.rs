//! What can go wrong with a notification, and how each audience is told.

use event_function::EventError;
use http_function::{Problem, StatusCode};
use mail::MailError;
use service_client::CallError;
use tables::TableError;

use crate::preferences::TransactionsStay;

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
    /// What becomes of money can not be hidden from the list.
    #[error(transparent)]
    TransactionsStay(#[from] TransactionsStay),
    /// Words could not be put on paper.
    #[error("a text could not be written: {0}")]
    Words(#[from] askama::Error),
    /// A mail was not sent.
    #[error(transparent)]
    Mail(#[from] MailError),
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
            NotificationError::TransactionsStay(error) => Self::new(
                StatusCode::BAD_REQUEST,
                "transaction-notifications-stay",
                "Notifications about your orders, payments and refunds stay in the list; turn off push or e-mail instead.",
            )
            .field("transaction.in_app", error.to_string()),
            NotificationError::Words(error) => Self::internal(error),
            NotificationError::Mail(error) => Self::unavailable(error),
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
            NotificationError::Mail(error) => Self::again(error),
            other => Self::never(other),
        }
    }
}
