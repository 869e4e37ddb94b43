//! Which providers this deployment has.

use cloud::settings::SettingError;
use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;

use crate::error::PaymentError;
use crate::provider::{Provider, ProviderName};
use crate::sandbox::Sandbox;

/// The providers that are configured.
#[derive(Debug)]
pub struct Providers {
    sandbox: Option<Sandbox>,
}

impl Providers {
    /// Reads `STAGE` and `SANDBOX` (`on` or `off`), and what the providers themselves need.
    ///
    /// # Errors
    /// [`StartError`]: a setting is missing, or the sandbox is enabled in production, where orders would be had for
    /// nothing.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let settings = cloud.settings();
        let (stage, sandbox) = (settings.required("STAGE")?, settings.required("SANDBOX")?);
        let sandbox = match sandbox_allowed(&stage, &sandbox).map_err(StartError::Setting)? {
            true => Some(Sandbox::from_env(cloud).await?),
            false => None,
        };
        Ok(Self { sandbox })
    }

    /// The provider that takes new payments by `method`, if there is one.
    #[must_use]
    pub fn taking(&self, method: PaymentMethod) -> Option<&dyn Provider> {
        match method {
            PaymentMethod::Alipay | PaymentMethod::WechatPay => {
                self.sandbox.as_ref().map(|sandbox| sandbox as &dyn Provider)
            }
        }
    }

    /// The provider that took a payment.
    ///
    /// # Errors
    /// [`PaymentError::ProviderGone`] when it is not configured any more.
    pub fn named(&self, name: ProviderName) -> Result<&dyn Provider, PaymentError> {
        match name {
            ProviderName::Sandbox => self
                .sandbox
                .as_ref()
                .map(|sandbox| sandbox as &dyn Provider)
                .ok_or(PaymentError::ProviderGone(name)),
        }
    }

    /// The sandbox, where it is enabled.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }
}

fn sandbox_allowed(stage: &str, sandbox: &str) -> Result<bool, SettingError> {
    let wrong = |reason: &str| SettingError::Wrong {
        name: "SANDBOX",
        reason: reason.to_owned(),
    };
    match (sandbox, stage) {
        ("on", "production") => Err(wrong("the sandbox provider can not be enabled in production")),
        ("on", _) => Ok(true),
        ("off", _) => Ok(false),
        _ => Err(wrong("must be on or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_is_refused_in_production() {
        assert!(sandbox_allowed("production", "on").is_err());
        assert_eq!(sandbox_allowed("production", "off"), Ok(false));
        assert_eq!(sandbox_allowed("staging", "on"), Ok(true));
        assert!(sandbox_allowed("local", "yes").is_err());
    }
}
