//! The one way to AWS: settings from the environment, one HTTP client that all SDK clients share, secrets.
//!
//! Credentials, region and endpoint come from the variables that the Lambda service sets, so the local platform can
//! stand in for AWS by setting them. `aws-config` is left out: its provider chain looks for profiles, containers and
//! instance metadata that a Lambda function never has, and costs start-up time for it.

pub mod instance;
pub mod rehearsal;
pub mod roots;
pub mod secrets;
pub mod settings;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;
use kernel::Clock;

use crate::secrets::SecretError;
use crate::settings::{SettingError, Settings};

/// What prevents a function from starting. It names the variable or secret that has to be mended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A secret can not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP client can not be built.
    #[error("the HTTP client can not be built: {0}")]
    HttpClient(String),
}

/// Access to AWS for the lifetime of one function instance. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cloud {
    sdk: SdkConfig,
    settings: Settings,
    clock: Clock,
}

impl Cloud {
    /// Reads the environment and builds the shared HTTP client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StartError`] when credentials or region are missing.
    pub fn from_env() -> Result<Self, StartError> {
        Self::with(Settings::from_env())
    }

    /// The same with these settings.
    ///
    /// # Errors
    /// [`StartError`] when credentials or region are missing.
    pub fn with(settings: Settings) -> Result<Self, StartError> {
        let credentials = Credentials::new(
            settings.required("AWS_ACCESS_KEY_ID")?,
            settings.required("AWS_SECRET_ACCESS_KEY")?,
            settings.optional("AWS_SESSION_TOKEN"),
            None,
            "lambda-environment",
        );
        let mut trust = TrustStore::empty();
        for pem in roots::AMAZON {
            trust = trust.with_pem_certificate(pem);
        }
        let tls = TlsContext::builder()
            .with_trust_store(trust)
            .build()
            .map_err(|error| StartError::HttpClient(error.to_string()))?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls)
            .build_https();
        // The client of an HTTP call gives up at 10 s; an AWS call that has not answered in 2 s is better tried again.
        let timeouts = aws_types::sdk_config::TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(1_000))
            .operation_attempt_timeout(Duration::from_millis(2_000))
            .operation_timeout(Duration::from_millis(5_000))
            .build();
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.required("AWS_REGION")?))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(rehearsal::Guarded::around(http))
            .sleep_impl(TokioSleep::new())
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            .retry_config(aws_types::sdk_config::RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts);
        if let Some(url) = settings.optional("AWS_ENDPOINT_URL") {
            sdk = sdk.endpoint_url(url);
        }
        Ok(Self {
            sdk: sdk.build(),
            settings,
            clock: Clock::from_env(),
        })
    }

    /// Configuration for an SDK client.
    #[must_use]
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The function's settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The function's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
