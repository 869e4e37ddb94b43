//! Mails through SES: plain text, one recipient, one sender for the whole deployment.

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::Builder;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::error::{BuildError, DisplayErrorContext, SdkError};
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};
use cloud::{Cloud, StartError};
use hyper_util::client::legacy;

/// Sends mails.
#[derive(Debug)]
pub struct Mailer {
    client: Client,
    from: String,
}

/// A mail. `Debug` hides the address: it ends up in logs.
#[derive(Clone, Copy)]
pub struct Mail<'a> {
    /// Address of the recipient.
    pub to: &'a str,
    /// One line.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
}

impl fmt::Debug for Mail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail(...)")
    }
}

/// A mail of which SES did not say that it took it. The text never holds an address.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// It was not sent and may be tried again.
    #[error("the mail was not sent: {0}")]
    NotSent(String),
    /// Nobody knows whether it was sent: there was no answer, or one that nobody understood.
    #[error("whether the mail was sent is unknown: {0}")]
    Unknown(String),
}

impl Mailer {
    /// Reads the sender's address, `MAIL_FROM`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        // SES knows no key by which a repeated call is the same mail, so the SDK must not repeat one on its own.
        let config = Builder::from(cloud.sdk()).retry_config(RetryConfig::disabled()).build();
        Ok(Self {
            client: Client::from_conf(config),
            from: cloud.settings().required("MAIL_FROM")?,
        })
    }

    /// Sends a mail; asks SES once.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn send<'a>(&'a self, mail: Mail<'a>) -> Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>> {
        Box::pin(async move {
            let content = content(mail).map_err(|error| MailError::NotSent(error.to_string()))?;
            self.client
                .send_email()
                .from_email_address(&self.from)
                .destination(Destination::builder().to_addresses(mail.to).build())
                .content(content)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| {
                    let reason = DisplayErrorContext(&error).to_string().replace(mail.to, "(address)");
                    match error {
                        SdkError::ServiceError(_) | SdkError::ConstructionFailure(_) => MailError::NotSent(reason),
                        SdkError::DispatchFailure(failure)
                            if never_left(failure.as_connector_error().map(|error| error as _)) =>
                        {
                            MailError::NotSent(reason)
                        }
                        _ => MailError::Unknown(reason),
                    }
                })
        })
    }
}

/// Whether SES can not have heard of the mail. A connection that breaks later may have carried it there.
fn never_left(mut cause: Option<&(dyn Error + 'static)>) -> bool {
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn content(mail: Mail<'_>) -> Result<EmailContent, BuildError> {
    let content = |text: &str| Content::builder().data(text).charset("UTF-8").build();
    let message = Message::builder()
        .subject(content(mail.subject)?)
        .body(Body::builder().text(content(mail.text)?).build())
        .build();
    Ok(EmailContent::builder().simple(message).build())
}
