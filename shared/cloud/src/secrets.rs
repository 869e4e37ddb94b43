//! Secrets from AWS Secrets Manager.

use std::sync::OnceLock;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;

use crate::{Cloud, StartError};

/// One client for all secrets of a process: building another for each is start-up time for nothing.
static CLIENT: OnceLock<Client> = OnceLock::new();

/// A secret that can not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager refused or did not answer.
    #[error("the secret named by {variable} can not be read: {reason}")]
    Unavailable {
        /// Variable that holds the secret's ARN.
        variable: &'static str,
        /// The service's reason.
        reason: String,
    },
    /// The secret holds something else than is needed.
    #[error("the secret named by {variable} is not usable: {reason}")]
    Wrong {
        /// Variable that holds the secret's ARN.
        variable: &'static str,
        /// What is wrong with it; never its text.
        reason: String,
    },
}

impl SecretError {
    /// The secret whose ARN the setting `variable` holds is not usable.
    pub fn wrong(variable: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Wrong {
            variable,
            reason: reason.to_string(),
        }
    }
}

impl Cloud {
    /// Reads the secret whose ARN the setting `variable` holds, and parses it.
    ///
    /// # Errors
    /// [`StartError`] when the variable is not set, the secret can not be read or does not parse.
    pub async fn secret<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        variable: &'static str,
    ) -> Result<T, StartError> {
        let text = self.secret_text(variable).await?;
        text.parse::<T>()
            .map_err(|error| SecretError::wrong(variable, error).into())
    }

    /// Reads the secret whose ARN the setting `variable` holds, once, and makes of it what `derive` makes, such as keys.
    ///
    /// # Errors
    /// As [`Cloud::secret`], and when nothing can be derived from it.
    pub async fn derived<S, T, E>(
        &self,
        variable: &'static str,
        derive: impl FnOnce(&S) -> Result<T, E>,
    ) -> Result<T, StartError>
    where
        S: std::str::FromStr<Err: std::fmt::Display>,
        E: std::fmt::Display,
    {
        let secret: S = self.secret(variable).await?;
        derive(&secret).map_err(|error| SecretError::wrong(variable, error).into())
    }

    async fn secret_text(&self, variable: &'static str) -> Result<String, StartError> {
        let arn = self.settings().required(variable)?;
        let client = CLIENT.get_or_init(|| Client::new(self.sdk()));
        let answer = client.get_secret_value().secret_id(arn).send().await;
        let secret = answer.map_err(|error| SecretError::Unavailable {
            variable,
            reason: DisplayErrorContext(&error).to_string(),
        })?;
        let text = secret
            .secret_string
            .ok_or_else(|| SecretError::wrong(variable, "it has no text"))?;
        Ok(text)
    }
}
