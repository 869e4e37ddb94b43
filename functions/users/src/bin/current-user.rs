//! `GET` and `PATCH /api/v1/user/me`: the logged-in user, as he sees and changes himself.
//!
//! Clients log out when this fails, so it reads the user's own row and nothing else.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Method, Problem, Reply, StatusCode};
use kernel::UserId;
use serde::Deserialize;
use users::UserError;
use users::table::ChangeUsers;
use users::user::{Address, User, Username};
use users::view::OwnView;

/// How often a change is decided anew after another call changed the user at the same time.
const ROUNDS: u8 = 3;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { ChangeUsers::from_env(&cloud) }, current_user)
}

/// Privilege, status and whatever else is sent are not read.
#[derive(Deserialize)]
struct Change {
    username: Option<String>,
    address: Option<Address>,
}

async fn current_user(users: Arc<ChangeUsers>, call: Call) -> Result<Reply, Problem> {
    let id = call.user()?.id;
    let user = if call.method() == Method::PATCH {
        let change: Change = call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?;
        let username = change
            .username
            .map(|name| name.parse())
            .transpose()
            .map_err(UserError::Username)?;
        changed(&users, id, username, change.address).await?
    } else {
        existing(&users, id).await?
    };
    Reply::bare(StatusCode::OK, OwnView::of(&user, &call))
}

/// The token outlives an account that was removed; such a caller is nobody.
async fn existing(users: &ChangeUsers, id: UserId) -> Result<User, Problem> {
    users.find(id).await?.ok_or_else(Problem::unauthenticated)
}

async fn changed(
    users: &ChangeUsers,
    id: UserId,
    username: Option<Username>,
    address: Option<Address>,
) -> Result<User, Problem> {
    for _ in 0..ROUNDS {
        let seen = existing(users, id).await?;
        let changed = seen.changed(username.clone(), address.clone());
        if changed == seen {
            return Ok(seen);
        }
        match users.replace(&seen, &changed).await {
            Ok(()) => return Ok(changed),
            Err(UserError::ChangedMeanwhile) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(UserError::ChangedMeanwhile.into())
}
