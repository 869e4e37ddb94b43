//! `POST /api/v1/auth/register`: a new account, for whoever reads the mails of its address.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use serde::Deserialize;
use users::UserError;
use users::captcha::{GivenCode, Scene};
use users::email::Email;
use users::password::Password;
use users::table::Registrations;
use users::user::{User, Username};
use users::view::RegistrationView;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(
        |cloud| async move { Registrations::from_env(&cloud) },
        register,
        describe,
    )
}

/// A new account.
#[derive(Deserialize, ToSchema)]
struct Registration {
    #[schema(value_type = Username, required)]
    username: Option<String>,
    #[schema(value_type = Password, required)]
    password: Option<Password>,
    #[schema(value_type = Password, required)]
    password_repeat: Option<Password>,
    #[schema(value_type = Email, required)]
    email: Option<String>,
    #[schema(value_type = GivenCode, required)]
    captcha: Option<GivenCode>,
}

async fn register(registrations: Arc<Registrations>, call: Call) -> Result<Reply, Problem> {
    let (username, password, email, code) = wanted(call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?)?;

    // The captcha comes before the address: only who reads its mails is told whether it has an account.
    let captcha = registrations
        .captcha_of(&email)
        .await?
        .ok_or(UserError::CaptchaNotFound)?;
    captcha.open_to_a_try(Scene::Register, call.now())?;
    registrations.take_try(&captcha).await?;
    if !captcha.code.is(&code) {
        return Err(UserError::CaptchaWrong.into());
    }

    let user = User::new(username, email, password.hash().map_err(UserError::from)?, call.now());
    registrations.register(&user, &captcha).await?;
    Reply::bare(StatusCode::OK, RegistrationView::of(user.id))
}

/// The registration, if it is acceptable so far; checked in the order in which clients expect the refusals.
fn wanted(given: Registration) -> Result<(Username, Password, Email, GivenCode), UserError> {
    let (username, email) = (given.username.unwrap_or_default(), given.email.unwrap_or_default());
    let (password, repeated) = (
        given.password.unwrap_or_default(),
        given.password_repeat.unwrap_or_default(),
    );
    let captcha = given.captcha.unwrap_or_default();
    let empty = [
        ("username", username.is_empty()),
        ("password", password.is_empty()),
        ("password_repeat", repeated.is_empty()),
        ("email", email.is_empty()),
        ("captcha", captcha.is_empty()),
    ];
    let missing: Vec<_> = empty
        .into_iter()
        .filter(|(_, empty)| *empty)
        .map(|(name, _)| name)
        .collect();
    if !missing.is_empty() {
        return Err(UserError::Missing(missing));
    }
    if password != repeated {
        return Err(UserError::PasswordsDiffer);
    }
    let username: Username = username.parse()?;
    if let Some(weakness) = password.weakness() {
        return Err(UserError::WeakPassword(weakness));
    }
    Ok((username, password, email.parse()?, captcha))
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/v1/auth/register", "Make an account")
            .body::<Registration>()
            .bare::<RegistrationView>(StatusCode::OK, "The account is made; log in")
            .refuses(
                StatusCode::BAD_REQUEST,
                "`fail_code` MISSING_PARAM, INVALID_PARAM, PASSWORD_NOT_MATCH, USERNAME_CONTAINS_SPACE, USERNAME_LENGTH, \
                 PASSWORD_CONTAINS_SPACE, PASSWORD_COMPLEXITY, EMAIL_FORMAT_ERROR, CAPTCHA_NOT_FOUND, CAPTCHA_ERROR, \
                 CAPTCHA_EXPIRED, USER_EXIST.",
            ),
    );
}
