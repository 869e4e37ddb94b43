//! Settings from environment variables, read while a function starts and nowhere else.

use std::fmt::Display;
use std::str::FromStr;

/// The environment of a function.
#[derive(Debug, Clone, Copy)]
pub struct Settings(());

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
        Self(())
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
        std::env::var(name).ok().filter(|value| !value.is_empty())
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
