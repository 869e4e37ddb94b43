//! `POST /api/v1/auth/login-with-password`: a user token for an e-mail address and its password.
//!
//! An address without an account is answered like a wrong password, after the same work and the same number of reads.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use keys::Seed;
use keys::user_token::UserTokens;
use serde::Deserialize;
use users::UserError;
use users::email::Email;
use users::password::{self, Password};
use users::table::LogIns;
use users::user::{Status, User};
use users::view::LoginView;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(LogInDesk::from_env, login, describe)
}

struct LogInDesk {
    log_ins: LogIns,
    seed: Seed,
}

impl LogInDesk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            log_ins: LogIns::from_env(&cloud)?,
            seed: cloud.secret("USER_TOKEN_SECRET").await?,
        })
    }
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
struct LogIn {
    #[schema(value_type = Email, required)]
    email: Option<String>,
    #[schema(value_type = Password, required)]
    password: Option<Password>,
}

async fn login(desk: Arc<LogInDesk>, call: Call) -> Result<Reply, Problem> {
    let (email, password) = wanted(call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?)?;

    desk.log_ins.count_attempt(&email, call.now()).await?;
    let user = match desk.log_ins.find_by_email(&email).await? {
        Some(user) if user.password.is_of(&password) => user,
        Some(_) => return Err(UserError::WrongCredentials.into()),
        None => {
            password::check_against_nobody(&password);
            return Err(UserError::WrongCredentials.into());
        }
    };
    desk.log_ins.forgive_attempt(&email).await?;
    if user.status == Status::Banned {
        return Err(UserError::Banned.into());
    }
    renew_hash(&desk.log_ins, &user, &password).await;

    let tokens = UserTokens::derive(&desk.seed).map_err(Problem::internal)?;
    let token = tokens
        .issue(user.id, user.username.as_str(), user.privilege, call.now())
        .map_err(Problem::internal)?;
    Reply::bare(StatusCode::OK, LoginView::of(&user, token))
}

fn wanted(given: LogIn) -> Result<(Email, Password), UserError> {
    let (email, password) = (given.email.unwrap_or_default(), given.password.unwrap_or_default());
    let empty = [("email", email.is_empty()), ("password", password.is_empty())];
    let missing: Vec<_> = empty
        .into_iter()
        .filter(|(_, empty)| *empty)
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        Ok((email.parse()?, password))
    } else {
        Err(UserError::Missing(missing))
    }
}

/// The password is at hand now only, so a hash by older rules is made anew. Nobody waits for it in vain: if it can not
/// be kept, the next log-in tries again.
async fn renew_hash(log_ins: &LogIns, user: &User, password: &Password) {
    if !user.password.is_outdated() {
        return;
    }
    let renewed = match password.hash() {
        Ok(newer) => log_ins.rehash(user, newer).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = renewed {
        tracing::warn!(user = %user.id, reason = %error, "an old password hash stays");
    }
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/v1/auth/login-with-password", "Log in")
            .details("Ten failed log-ins of an address in 15 minutes close it until they are over.")
            .body::<LogIn>()
            .bare::<LoginView>(StatusCode::OK, "A token for 24 hours")
            .refuses(
                StatusCode::BAD_REQUEST,
                "`fail_code` MISSING_PARAM, INVALID_PARAM, EMAIL_FORMAT_ERROR, PASSWORD_ERROR, TOO_MANY_ATTEMPTS.",
            )
            .refuses(
                StatusCode::UNAUTHORIZED,
                "`fail_code` BANNED: an administrator closed the account.",
            ),
    );
}
