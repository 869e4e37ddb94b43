//! `GET` and `PATCH /api/root/user/{user_id}`, for administrators: an account, and what they change of it.
//!
//! A ban, and the loss of a privilege, end the user's log-ins: `verify-token` refuses at once, everything else as soon as
//! it fetches the keys of user tokens again. Nobody bans or demotes himself.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::UserId;
use keys::Privilege;
use serde::Deserialize;
use users::UserError;
use users::roll::PrivilegeNumber;
use users::table::ChangeUsers;
use users::user::{Management, Status, User, Username};
use users::view::{self, ManagedView};
use utoipa::ToSchema;

/// How often a change is decided anew after another call changed the user at the same time.
const ROUNDS: u8 = 3;

fn main() -> ExitCode {
    http_function::open(
        |cloud| async move { ChangeUsers::from_env(&cloud) },
        manage_user,
        describe,
    )
}

/// What is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserChange)]
struct Change {
    #[schema(value_type = Option<Username>)]
    username: Option<String>,
    #[serde(default, deserialize_with = "view::status")]
    status: Option<Status>,
    #[serde(default, deserialize_with = "view::privilege")]
    #[schema(value_type = Option<PrivilegeNumber>)]
    privilege: Option<Privilege>,
}

async fn manage_user(users: Arc<ChangeUsers>, call: Call) -> Result<Reply, Problem> {
    let administrator = call.administrator()?;
    let id: UserId = call.path_parameter("user_id")?;
    if call.method() != Method::PATCH {
        let user = existing(&users, id).await?;
        return Reply::ok("获取用户信息成功", ManagedView::of(&user, call.zone()));
    }
    let change: Change = call.json()?;
    let username = change.username.map(|name| name.parse()).transpose();
    let wish = Management {
        username: username.map_err(UserError::Username)?,
        status: change.status,
        privilege: change.privilege,
    };

    // His own account may have been closed since he logged in.
    let own = users
        .find(administrator.id)
        .await?
        .ok_or_else(Problem::unauthenticated)?;
    own.admits(administrator.issued_at)?;

    for _ in 0..ROUNDS {
        let seen = existing(&users, id).await?;
        let managed = seen.managed(wish.clone(), administrator.id, call.now())?;
        let outcome = if managed == seen {
            Ok(())
        } else {
            users.replace(&seen, &managed).await
        };
        match outcome {
            Ok(()) => return Reply::ok("用户信息修改成功", ManagedView::of(&managed, call.zone())),
            Err(UserError::ChangedMeanwhile) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(UserError::ChangedMeanwhile.into())
}

async fn existing(users: &ChangeUsers, id: UserId) -> Result<User, UserError> {
    users.find(id).await?.ok_or(UserError::NotFound)
}

fn describe(api: &mut Api) {
    const PATH: &str = "/api/root/user/{user_id}";
    api.add(
        operation([Method::GET], PATH, "An account")
            .for_administrators()
            .path::<UserId>("user_id", "The user")
            .ok::<ManagedView>("The account")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such user."),
    );
    api.add(
        operation([Method::PATCH], PATH, "Change an account")
            .details("What is not named stays. A ban, and the loss of a privilege, end the user's log-ins within two minutes.")
            .for_administrators()
            .path::<UserId>("user_id", "The user")
            .body::<Change>()
            .ok::<ManagedView>("The account as it is now")
            .refuses(StatusCode::BAD_REQUEST, "`fail_code` USERNAME_CONTAINS_SPACE, USERNAME_LENGTH, USER_EXIST.")
            .refuses(StatusCode::FORBIDDEN, "`forbidden`: not an administrator, or his own status or privilege.")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such user.")
            .refuses(StatusCode::CONFLICT, "`changed-meanwhile`: repeat."),
    );
}
