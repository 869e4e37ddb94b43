//! `GET /api/users/{user_id}` and `GET /api/v1/user/{user_id}`: what everybody may see of a user.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Problem, Reply, StatusCode};
use users::UserError;
use users::table::ReadUsers;
use users::view::PublicView;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { ReadUsers::from_env(&cloud) }, get_user)
}

async fn get_user(users: Arc<ReadUsers>, call: Call) -> Result<Reply, Problem> {
    let user = users
        .find(call.path_parameter("user_id")?)
        .await?
        .ok_or(UserError::NotFound)?;
    Reply::bare(StatusCode::OK, PublicView::of(&user, call.zone()))
}
