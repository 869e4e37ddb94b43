//! Settings from environment variables, read while a function starts and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// The environment of a function.
#[derive(Clone, Copy)]
pub struct Settings(Option<&'static BTreeMap<String, String>>);

/// Shows nothing: settings may hold credentials.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings(..)")
    }
}

/// A setting that is missing or can not be read. The message names the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// Set to something else than is needed.
    #[error("the environment variable {name} is wrong: {reason}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Settings {
    pub(crate) fn from_env() -> Self {
        Self(None)
    }

    /// These settings, in place of the environment's: for a program that is no function and works in place of several.
    /// They stay for the life of the process.
    #[must_use]
    pub fn given(settings: BTreeMap<String, String>) -> Self {
        Self(Some(Box::leak(Box::new(settings))))
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// [`SettingError::Missing`].
    pub fn required(&self, name: &'static str) -> Result<String, SettingError> {
        self.optional(name).ok_or(SettingError::Missing(name))
    }

    /// The value of `name`; empty counts as absent.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<String> {
        let value = match self.0 {
            Some(given) => given.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The value of `name`, parsed.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, SettingError> {
        self.required(name)?
            .parse()
            .map_err(|error: T::Err| SettingError::Wrong {
                name,
                reason: error.to_string(),
            })
    }
}
