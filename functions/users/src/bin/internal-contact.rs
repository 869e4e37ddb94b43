//! `GET /api/internal/users/{user_id}/contact`: how a user is reached, for NotificationService and for nobody else.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Problem, Reply, StatusCode};
use keys::ServiceName;
use users::UserError;
use users::table::ReadUsers;
use users::view::ContactView;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { ReadUsers::from_env(&cloud) }, internal_contact)
}

async fn internal_contact(users: Arc<ReadUsers>, call: Call) -> Result<Reply, Problem> {
    if call.service()? != ServiceName::NotificationService {
        return Err(Problem::forbidden("Only NotificationService writes to people."));
    }
    let user = users
        .find(call.path_parameter("user_id")?)
        .await?
        .ok_or(UserError::NotFound)?;
    Reply::bare(StatusCode::OK, ContactView::of(&user))
}
