//! The gateway's management API: sending to a connection, asking after one.

use std::error::Error;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_types::Blob;
use cloud::{Cloud, StartError};
use http_function::Problem;

use crate::ConnectionId;

/// Most bytes of a message that the gateway passes on.
const MESSAGE_LIMIT: usize = 128 * 1024;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The gateway has it. That is all that can be known: nobody confirms that the client read it.
    Accepted,
    /// There is no such connection: it has ended, or its `$connect` has not returned yet.
    Gone,
}

/// The gateway did not take a call. It may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The gateway refused or did not answer.
    #[error("the push API does not answer: {0}")]
    Unavailable(String),
    /// The message is larger than the gateway takes.
    #[error("a message of {0} bytes is larger than the push API takes")]
    TooLarge(usize),
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Unavailable(_) => Self::unavailable(error),
            PushError::TooLarge(_) => Self::internal(error),
        }
    }
}

/// The way to the open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PushApi(Client);

impl PushApi {
    /// Reads `PUSH_API_URL`, the URL at which clients connect: `wss://<api>.execute-api.<region>.amazonaws.com/<stage>`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let url = cloud.settings().required("PUSH_API_URL")?;
        // The same host and path serve both, by another protocol.
        let endpoint = match url.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => url,
        };
        let config = Builder::from(cloud.sdk()).endpoint_url(endpoint).build();
        Ok(Self(Client::from_conf(config)))
    }

    /// Sends text to a client.
    ///
    /// # Errors
    /// [`PushError`]; the client may have got it all the same.
    pub fn send<'a>(
        &'a self,
        connection: &'a ConnectionId,
        text: &str,
    ) -> crate::Borrowed<'a, Result<Sent, PushError>> {
        let data = Blob::new(text);
        Box::pin(async move {
            if data.as_ref().len() > MESSAGE_LIMIT {
                return Err(PushError::TooLarge(data.as_ref().len()));
            }
            let call = self
                .0
                .post_to_connection()
                .connection_id(connection.as_str())
                .data(data);
            match call.send().await {
                Ok(_) => Ok(Sent::Accepted),
                Err(error) => gone_or_failed(&error).map(|()| Sent::Gone),
            }
        })
    }

    /// Whether the gateway holds this connection.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn is_open<'a>(&'a self, connection: &'a ConnectionId) -> crate::Borrowed<'a, Result<bool, PushError>> {
        Box::pin(async move {
            match self.0.get_connection().connection_id(connection.as_str()).send().await {
                Ok(_) => Ok(true),
                Err(error) => gone_or_failed(&error).map(|()| false),
            }
        })
    }
}

/// Tells a connection that is gone from a gateway that fails.
fn gone_or_failed<E, R>(error: &SdkError<E, R>) -> Result<(), PushError>
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    match error.code() {
        Some("GoneException") => Ok(()),
        _ => Err(PushError::Unavailable(DisplayErrorContext(error).to_string())),
    }
}
