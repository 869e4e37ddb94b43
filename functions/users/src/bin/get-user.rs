//! `GET /api/users/{user_id}` and `GET /api/v1/user/{user_id}`: what everybody may see of a user.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::UserId;
use users::UserError;
use users::table::ReadUsers;
use users::view::PublicView;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { ReadUsers::from_env(&cloud) }, get_user, describe)
}

async fn get_user(users: Arc<ReadUsers>, call: Call) -> Result<Reply, Problem> {
    let user = users
        .find(call.path_parameter("user_id")?)
        .await?
        .ok_or(UserError::NotFound)?;
    Reply::bare(StatusCode::OK, PublicView::of(&user, call.zone()))
}

fn describe(api: &mut Api) {
    for path in ["/api/users/{user_id}", "/api/v1/user/{user_id}"] {
        api.add(
            operation([Method::GET], path, "What everybody may see of a user")
                .path::<UserId>("user_id", "The user")
                .bare::<PublicView>(StatusCode::OK, "The user")
                .refuses(StatusCode::NOT_FOUND, "`not-found`: no such user."),
        );
    }
}
