//! `GET /api/internal/users/{user_id}/contact`: how a user is reached, for NotificationService and for nobody else.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::UserId;
use keys::ServiceName;
use users::UserError;
use users::table::ReadUsers;
use users::view::ContactView;

fn main() -> ExitCode {
    http_function::open(
        |cloud| async move { ReadUsers::from_env(&cloud) },
        internal_contact,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/internal/users/{user_id}/contact",
            "How a user is reached",
        )
        .details("For NotificationService; other services are refused as users are.")
        .for_services()
        .path::<UserId>("user_id", "The user")
        .bare::<ContactView>(StatusCode::OK, "His e-mail address and language")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: there is no such user."),
    );
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
