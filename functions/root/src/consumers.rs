//! Where letters are tried again, or rehearsed: their consumers, invoked as Lambda invokes them.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::types::InvocationType;
use aws_smithy_types::Blob;
use cloud::{Cloud, StartError};
use event_function::{ATTENDED, Attendance, Attended};
use serde_json::{Value, json};

use crate::consumer::{Consumer, Directory};
use crate::error::RootError;
use crate::letter::{Letter, LetterError};

/// A client waits ten seconds, and a consumer may take eight.
const PATIENCE: Duration = Duration::from_millis(7_500);

/// The consumers of this deployment.
#[derive(Debug)]
pub struct Consumers {
    functions: Directory,
    lambda: Client,
}

impl Consumers {
    /// Reads `CONSUMERS`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(PATIENCE)
            .operation_timeout(PATIENCE)
            .build();
        let config = Builder::from(cloud.sdk())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        Ok(Self {
            functions: cloud.settings().parsed("CONSUMERS")?,
            lambda: Client::from_conf(config),
        })
    }

    /// Hands a letter to its consumer and tells what came of it.
    ///
    /// # Errors
    /// [`LetterError::Lost`], [`RootError::NotDeployed`], [`RootError::Consumer`]: whether it was handled is not known.
    pub async fn attend(&self, letter: &Letter, attendance: Attendance) -> Result<Attended, RootError> {
        let function = self
            .functions
            .name(letter.consumer)
            .ok_or(RootError::NotDeployed(letter.consumer))?;
        let mut event = letter.event().ok_or(LetterError::Lost(letter.id))?;
        event[ATTENDED] = json!(attendance);
        let answer = self
            .lambda
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::RequestResponse)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .map_err(|error| RootError::Consumer(DisplayErrorContext(error).to_string()))?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if answer.function_error.is_some() {
            return Ok(Attended {
                cause: Some(words_of(letter.consumer, &payload)),
                effect: None,
            });
        }
        serde_json::from_value(payload)
            .map_err(|error| RootError::Consumer(format!("{} answers otherwise: {error}", letter.consumer)))
    }
}

/// How Lambda says that a function failed as a whole: it ended, or took too long.
fn words_of(consumer: Consumer, payload: &Value) -> String {
    let message = payload.get("errorMessage").and_then(Value::as_str);
    message.map_or_else(|| format!("{consumer} ended without a word"), str::to_owned)
}
