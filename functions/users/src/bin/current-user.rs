//! `GET` and `PATCH /api/v1/user/me`: the logged-in user, as he sees and changes himself.
//!
//! Clients log out when this fails, so it reads the user's own row and nothing else. A banned user sees that he is banned,
//! until the ban has reached the key sets and ends his log-in; he changes nothing any more.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::UserId;
use serde::Deserialize;
use users::UserError;
use users::address::{Address, AddressSeal};
use users::table::ChangeUsers;
use users::user::{Language, OwnWish, User, Username};
use users::view::OwnView;
use utoipa::ToSchema;

/// How often a change is decided anew after another call changed the user at the same time.
const ROUNDS: u8 = 3;

fn main() -> ExitCode {
    http_function::open(Desk::from_env, current_user, describe)
}

struct Desk {
    users: ChangeUsers,
    seal: AddressSeal,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            users: ChangeUsers::from_env(&cloud)?,
            seal: AddressSeal::from_env(&cloud).await?,
        })
    }
}

/// What a user changes of himself; what is not named stays. Privilege, status and whatever else is sent are not read.
#[derive(Deserialize, ToSchema)]
#[schema(as = OwnChange)]
struct Change {
    #[schema(value_type = Option<Username>)]
    username: Option<String>,
    address: Option<Address>,
    language: Option<Language>,
}

async fn current_user(desk: Arc<Desk>, call: Call) -> Result<Reply, Problem> {
    let caller = call.user()?;
    let user = if call.method() == Method::PATCH {
        let change: Change = call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?;
        let username = change
            .username
            .map(|name| name.parse::<Username>())
            .transpose()
            .map_err(UserError::Username)?;
        // Sealed once: the same address sealed again would look like another one.
        let address = change
            .address
            .map(|address| desk.seal.seal(caller.id, &address))
            .transpose()
            .map_err(UserError::Seal)?;
        let wish = OwnWish {
            username,
            address,
            language: change.language,
        };
        changed(&desk, caller, &wish).await?
    } else {
        existing(&desk, caller.id).await?
    };
    // An address that can not be read is no reason to log its owner out; it is one to ring.
    let address = desk.seal.open(user.id, user.address.as_ref()).or_else(|error| {
        tracing::error!(user = %user.id, reason = %error, "the address of a user can not be opened");
        "".parse().map_err(Problem::internal)
    })?;
    Reply::bare(StatusCode::OK, OwnView::of(&user, address, call.zone()))
}

/// The token outlives an account that was removed; such a caller is nobody.
async fn existing(desk: &Desk, id: UserId) -> Result<User, Problem> {
    desk.users.find(id).await?.ok_or_else(Problem::unauthenticated)
}

async fn changed(desk: &Desk, caller: &keys::User, wish: &OwnWish) -> Result<User, Problem> {
    for _ in 0..ROUNDS {
        let seen = existing(desk, caller.id).await?;
        seen.admits(caller.issued_at)?;
        let changed = seen.changed(wish.clone());
        if changed == seen {
            return Ok(seen);
        }
        match desk.users.replace(&seen, &changed).await {
            Ok(()) => return Ok(changed),
            Err(UserError::ChangedMeanwhile) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(UserError::ChangedMeanwhile.into())
}

fn describe(api: &mut Api) {
    const PATH: &str = "/api/v1/user/me";
    api.add(
        operation([Method::GET], PATH, "The logged-in user")
            .for_users()
            .bare::<OwnView>(StatusCode::OK, "As he sees himself"),
    );
    api.add(
        operation([Method::PATCH], PATH, "Change the logged-in user")
            .details("What is not named stays. An empty address is none.")
            .for_users()
            .body::<Change>()
            .bare::<OwnView>(StatusCode::OK, "As he is now")
            .refuses(
                StatusCode::BAD_REQUEST,
                "`fail_code` INVALID_PARAM, USERNAME_CONTAINS_SPACE, USERNAME_LENGTH, USER_EXIST.",
            )
            .refuses(StatusCode::CONFLICT, "`changed-meanwhile`: repeat."),
    );
}
