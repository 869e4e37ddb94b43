//! `POST /api/v1/captcha`: mails six digits to an address, once a minute.
//!
//! The answer does not depend on whether the address has an account.

use std::process::ExitCode;
use std::sync::Arc;

use ::mail::Mailer;
use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use serde::Deserialize;
use users::UserError;
use users::captcha::{Captcha, Scene};
use users::email::Email;
use users::mail;
use users::table::Captchas;
use users::view::CaptchaView;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(
        |cloud| async move { PostOffice::from_env(&cloud) },
        send_captcha,
        describe,
    )
}

struct PostOffice {
    captchas: Captchas,
    mailer: Mailer,
}

impl PostOffice {
    fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            captchas: Captchas::from_env(cloud)?,
            mailer: Mailer::from_env(cloud)?,
        })
    }
}

/// The wish for a captcha.
#[derive(Deserialize, ToSchema)]
struct CaptchaWish {
    #[schema(value_type = Scene, required)]
    scene: Option<String>,
    #[schema(value_type = Email, required)]
    email: Option<String>,
}

async fn send_captcha(office: Arc<PostOffice>, call: Call) -> Result<Reply, Problem> {
    let (scene, email) = wanted(call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?)?;
    if scene.needs_a_login() {
        call.user()?;
    }

    let captcha = Captcha::new(email, scene, call.now()).map_err(UserError::from)?;
    office.captchas.keep(&captcha).await?;
    if let Err(error) = mail::send(&office.mailer, &captcha).await {
        if let Err(kept) = office.captchas.withdraw(&captcha).await {
            tracing::warn!(reason = %kept, "a captcha that was not sent stays; its address waits a minute");
        }
        return Err(UserError::from(error).into());
    }
    Reply::bare(StatusCode::OK, CaptchaView::sent())
}

fn wanted(given: CaptchaWish) -> Result<(Scene, Email), Problem> {
    let (scene, email) = (given.scene.unwrap_or_default(), given.email.unwrap_or_default());
    let empty = [("scene", scene.is_empty()), ("email", email.is_empty())];
    let missing: Vec<_> = empty
        .into_iter()
        .filter(|(_, empty)| *empty)
        .map(|(name, _)| name)
        .collect();
    if !missing.is_empty() {
        return Err(UserError::Missing(missing).into());
    }
    let scene = scene
        .parse()
        .map_err(|error| Problem::invalid_field("scene", error).fail_code("INVALID_PARAM"))?;
    Ok((scene, email.parse().map_err(UserError::Email)?))
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/v1/captcha", "Mail a captcha")
            .details("Six digits, good for two minutes and five tries; one a minute for each address. The answer does not depend on whether the address has an account.")
            .body::<CaptchaWish>()
            .bare::<CaptchaView>(StatusCode::OK, "It is on its way")
            .refuses(
                StatusCode::BAD_REQUEST,
                "`fail_code` MISSING_PARAM, INVALID_PARAM, EMAIL_FORMAT_ERROR, or SEND_TOO_FREQUENTLY with `wait_time` in seconds.",
            )
            .refuses(StatusCode::UNAUTHORIZED, "`unauthenticated`: the scene needs a log-in.")
            .refuses(StatusCode::FORBIDDEN, "`forbidden`: the scene is for people."),
    );
}
