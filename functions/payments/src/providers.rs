//! Which providers this deployment has.

use std::fmt;
use std::str::FromStr;

use cloud::settings::SettingError;
use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http_function::HeaderMap;

use crate::alipay::Alipay;
use crate::error::PaymentError;
use crate::legacy::Legacy;
use crate::provider::{Provider, ProviderName};
use crate::sandbox::{self, Sandbox};
use crate::wechat_pay::WechatPay;

/// The providers that are configured.
pub struct Providers {
    sandbox: Option<Sandbox>,
    alipay: Desk<Alipay>,
    wechat_pay: Desk<WechatPay>,
}

/// Who takes the payments by one method.
struct Desk<P> {
    takes: Takes,
    /// The provider itself, also where it only finishes what it began.
    real: Option<P>,
}

/// How a method of payment is configured: `ALIPAY` and `WECHAT_PAY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `real`: the provider itself.
    Real,
    /// `sandbox`: the built-in provider that takes no real money.
    Sandbox,
    /// `refunds-only`: nobody takes new payments; those that the provider took are finished and refunded.
    RefundsOnly,
    /// `off`: nobody, and there are none to finish.
    Nobody,
}

impl FromStr for Takes {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "real" => Ok(Self::Real),
            "sandbox" => Ok(Self::Sandbox),
            "refunds-only" => Ok(Self::RefundsOnly),
            "off" => Ok(Self::Nobody),
            _ => Err("must be real, sandbox, refunds-only or off"),
        }
    }
}

impl Providers {
    /// Reads `STAGE`, `SANDBOX` (`on` or `off`), `ALIPAY` and `WECHAT_PAY`, and what the providers themselves need.
    ///
    /// # Errors
    /// [`StartError`]: a setting is missing, or the sandbox is enabled in production, where orders would be had for
    /// nothing.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let providers = Self::heard(cloud).await?;
        if let Some(alipay) = &providers.alipay.real {
            alipay.check_signing_key()?;
        }
        if let Some(wechat_pay) = &providers.wechat_pay.real {
            wechat_pay.check_signing_key()?;
        }
        Ok(providers)
    }

    /// The same for who hears them and seldom asks: whether our own keys sign is left to the first request, because to
    /// find out takes longer than all other start.
    ///
    /// # Errors
    /// As [`Providers::from_env`].
    pub async fn heard(cloud: &Cloud) -> Result<Self, StartError> {
        let settings = cloud.settings();
        let (stage, sandbox) = (settings.required("STAGE")?, settings.required("SANDBOX")?);
        let has_sandbox = sandbox_allowed(&stage, &sandbox)?;
        let alipay = takes("ALIPAY", settings.parsed("ALIPAY")?, has_sandbox)?;
        let wechat_pay = takes("WECHAT_PAY", settings.parsed("WECHAT_PAY")?, has_sandbox)?;
        let (sandbox, real_alipay, real_wechat_pay) = tokio::try_join!(
            when(has_sandbox, Sandbox::from_env(cloud)),
            when(alipay.needs_the_provider(), Alipay::from_env(cloud)),
            when(wechat_pay.needs_the_provider(), WechatPay::from_env(cloud)),
        )?;
        Ok(Self {
            sandbox,
            alipay: Desk {
                takes: alipay,
                real: real_alipay,
            },
            wechat_pay: Desk {
                takes: wechat_pay,
                real: real_wechat_pay,
            },
        })
    }

    /// The provider that takes new payments by `method`, if there is one.
    #[must_use]
    pub fn taking(&self, method: PaymentMethod) -> Option<&dyn Provider> {
        let (takes, real) = match method {
            PaymentMethod::Alipay => (self.alipay.takes, self.alipay.real()),
            PaymentMethod::WechatPay => (self.wechat_pay.takes, self.wechat_pay.real()),
        };
        match takes {
            Takes::Real => real,
            Takes::Sandbox => self.sandbox.as_ref().map(|sandbox| sandbox as &dyn Provider),
            Takes::RefundsOnly | Takes::Nobody => None,
        }
    }

    /// The provider that took a payment.
    ///
    /// # Errors
    /// [`PaymentError::ProviderGone`] when it is not configured any more.
    pub fn named(&self, name: ProviderName) -> Result<&dyn Provider, PaymentError> {
        match name {
            ProviderName::Sandbox => self.sandbox.as_ref().map(|sandbox| sandbox as &dyn Provider),
            ProviderName::Alipay => self.alipay.real(),
            ProviderName::WechatPay => self.wechat_pay.real(),
            ProviderName::Legacy => Some(&Legacy as &dyn Provider),
        }
        .ok_or(PaymentError::ProviderGone(name))
    }

    /// Whose statements tell of the payments by `method`: the provider's itself, also where it only finishes what it began.
    #[must_use]
    pub fn stating(&self, method: PaymentMethod) -> Option<&dyn Provider> {
        let real = match method {
            PaymentMethod::Alipay => self.alipay.real(),
            PaymentMethod::WechatPay => self.wechat_pay.real(),
        };
        real.or_else(|| self.taking(method))
    }

    /// Whose word a callback to the route of `method` claims to be. Whether it is, its signature tells.
    #[must_use]
    pub fn calling_back(&self, method: PaymentMethod, headers: &HeaderMap) -> Option<&dyn Provider> {
        match (&self.sandbox, method) {
            (Some(sandbox), _) if sandbox::signs(headers) => Some(sandbox),
            (_, PaymentMethod::Alipay) => self.alipay.real(),
            (_, PaymentMethod::WechatPay) => self.wechat_pay.real(),
        }
    }

    /// The sandbox, where it is enabled.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }
}

impl<P: Provider> Desk<P> {
    fn real(&self) -> Option<&dyn Provider> {
        self.real.as_ref().map(|provider| provider as &dyn Provider)
    }
}

impl Takes {
    fn needs_the_provider(self) -> bool {
        matches!(self, Self::Real | Self::RefundsOnly)
    }
}

async fn when<T>(wanted: bool, made: impl Future<Output = Result<T, StartError>>) -> Result<Option<T>, StartError> {
    match wanted {
        true => made.await.map(Some),
        false => Ok(None),
    }
}

fn takes(name: &'static str, takes: Takes, has_sandbox: bool) -> Result<Takes, SettingError> {
    match takes {
        Takes::Sandbox if !has_sandbox => Err(SettingError::Wrong {
            name,
            reason: "is sandbox, but SANDBOX is off".to_owned(),
        }),
        takes => Ok(takes),
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

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alipay, wechat_pay) = (self.alipay.takes, self.wechat_pay.takes);
        write!(f, "Providers(alipay: {alipay:?}, wechat_pay: {wechat_pay:?})")
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

    #[test]
    fn a_method_is_left_to_the_sandbox_only_where_there_is_one() {
        assert_eq!(takes("ALIPAY", Takes::Sandbox, true), Ok(Takes::Sandbox));
        assert!(takes("ALIPAY", Takes::Sandbox, false).is_err());
        assert_eq!(takes("ALIPAY", Takes::Real, false), Ok(Takes::Real));
        assert!("on".parse::<Takes>().is_err());
    }
}
