//! UserService, as far as it tells whether there is anybody to notify.

use http_function::StatusCode;
use kernel::UserId;
use keys::ServiceName;
use service_client::{CallError, Services};

/// Whether the user exists. While UserService does not answer everybody does: a notification that nobody reads does less
/// harm than one that is lost.
///
/// # Errors
/// [`CallError::NotUnderstood`] when UserService answers outside of its contract.
pub async fn exists(services: &Services, user: UserId) -> Result<bool, CallError> {
    match services
        .get(ServiceName::UserService, &format!("/api/users/{user}"))
        .await
    {
        Ok(answer) => match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.not_understood("expected a user, or that there is none")),
        },
        Err(error @ CallError::Unavailable { .. }) => {
            tracing::warn!(%user, cause = %error, "a user is notified unchecked");
            Ok(true)
        }
        Err(error @ CallError::NotUnderstood { .. }) => Err(error),
    }
}
