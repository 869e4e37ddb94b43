//! UserService, as far as it tells how old an account is.

use std::time::Duration;

use http_function::StatusCode;
use kernel::{Timestamp, UserId};
use keys::ServiceName;
use serde::Deserialize;
use service_client::Services;

/// How long an answer is waited for: it is asked for once per user, while a buyer waits for his order.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct User {
    created_at: String,
}

/// When the user registered; `None` when UserService does not know him, or does not answer in time. He then counts as
/// being as old as the first that was heard of him here.
pub async fn registered_at(services: &Services, user: UserId) -> Option<Timestamp> {
    let path = format!("/api/users/{user}");
    let asked = services.get(ServiceName::UserService, &path);
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(%user, cause = %error, "how old an account is can not be asked");
            return None;
        }
        Err(_) => {
            tracing::warn!(%user, "how old an account is was not answered in time");
            return None;
        }
    };
    match answer.status {
        StatusCode::OK => answer.json::<User>().ok()?.created_at.parse().ok(),
        _ => None,
    }
}
