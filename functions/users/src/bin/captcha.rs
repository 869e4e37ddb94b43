//! `POST /api/v1/captcha`: mails six digits to an address, once a minute.
//!
//! The answer does not depend on whether the address has an account.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Problem, Reply, StatusCode};
use serde::Deserialize;
use users::UserError;
use users::captcha::{Captcha, Scene};
use users::email::Email;
use users::mail::Mailer;
use users::table::Captchas;
use users::view::CaptchaView;

fn main() -> ExitCode {
    http_function::open(|cloud| async move { PostOffice::from_env(&cloud) }, send_captcha)
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

#[derive(Deserialize)]
struct Request {
    scene: Option<String>,
    email: Option<String>,
}

async fn send_captcha(office: Arc<PostOffice>, call: Call) -> Result<Reply, Problem> {
    let (scene, email) = wanted(call.json().map_err(|p| p.fail_code("INVALID_PARAM"))?)?;
    if scene.needs_a_login() {
        call.user()?;
    }

    let captcha = Captcha::new(email, scene, call.now()).map_err(UserError::from)?;
    office.captchas.keep(&captcha).await?;
    if let Err(error) = office.mailer.send(&captcha).await {
        if let Err(kept) = office.captchas.withdraw(&captcha).await {
            tracing::warn!(reason = %kept, "a captcha that was not sent stays; its address waits a minute");
        }
        return Err(UserError::from(error).into());
    }
    Reply::bare(StatusCode::OK, CaptchaView::sent())
}

fn wanted(given: Request) -> Result<(Scene, Email), Problem> {
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
