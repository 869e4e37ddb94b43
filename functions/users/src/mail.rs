//! Mailing captchas.

use std::pin::Pin;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::{BuildError, DisplayErrorContext};
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};
use cloud::{Cloud, StartError};

use crate::captcha::Captcha;

const SUBJECT: &str = "CFMP 验证码 / verification code";

/// Sends mails through SES.
#[derive(Debug)]
pub struct Mailer {
    client: Client,
    from: String,
}

/// A mail that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("the mail was not sent: {0}")]
pub struct MailError(String);

impl Mailer {
    /// Reads the sender's address, `MAIL_FROM`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            client: Client::new(cloud.sdk()),
            from: cloud.settings().required("MAIL_FROM")?,
        })
    }

    /// Mails a captcha to its address.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn send<'a>(
        &'a self,
        captcha: &'a Captcha,
    ) -> Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>> {
        Box::pin(async move {
            let content = message(captcha).map_err(|error| MailError(error.to_string()))?;
            self.client
                .send_email()
                .from_email_address(&self.from)
                .destination(Destination::builder().to_addresses(captcha.email.as_str()).build())
                .content(content)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| MailError(DisplayErrorContext(&error).to_string()))
        })
    }
}

fn message(captcha: &Captcha) -> Result<EmailContent, BuildError> {
    let content = |text: &str| Content::builder().data(text).charset("UTF-8").build();
    let message = Message::builder()
        .subject(content(SUBJECT)?)
        .body(Body::builder().text(content(&text(captcha.code.digits()))?).build())
        .build();
    Ok(EmailContent::builder().simple(message).build())
}

fn text(digits: &str) -> String {
    format!(
        "您的验证码是 {digits}，两分钟内有效。如非本人操作，请忽略此邮件。\n\n\
         Your verification code is {digits}. It is valid for two minutes. If you did not ask for it, ignore this mail.\n"
    )
}
