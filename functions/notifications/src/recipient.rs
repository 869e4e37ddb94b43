//! UserService, as far as it tells whom a notification reaches and in which language.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use http_function::StatusCode;
use kernel::{Timestamp, UserId};
use keys::ServiceName;
use serde::Deserialize;
use service_client::{CallError, Services};
use tokio::sync::Mutex;

use crate::notice::Language;

/// How long a language is used before it is asked for again: who changes his gets used to it within this time.
const KEEP: Duration = Duration::from_secs(5 * 60);
/// As many languages are kept at once.
const KEPT: usize = 1_000;

/// The people whom notifications can reach.
#[derive(Debug)]
pub struct Recipients {
    services: Services,
    languages: Mutex<HashMap<UserId, (Language, Timestamp)>>,
}

/// How somebody is reached. `Debug` hides the address: it ends up in logs.
#[derive(Clone, Deserialize)]
pub struct Contact {
    /// His e-mail address.
    pub email: String,
    /// In which language he is written to.
    pub language: Language,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contact(..., {:?})", self.language)
    }
}

impl Recipients {
    /// Those whom UserService knows.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self {
            services,
            languages: Mutex::default(),
        }
    }

    /// How a user is reached. `None`: there is no such user.
    ///
    /// # Errors
    /// [`CallError`] when UserService does not answer, or outside of its contract.
    pub async fn contact(&self, user: UserId) -> Result<Option<Contact>, CallError> {
        let path = format!("/api/internal/users/{user}/contact");
        let answer = self.services.get(ServiceName::UserService, &path).await?;
        match answer.status {
            StatusCode::OK => answer.json().map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.not_understood("expected a contact, or that there is none")),
        }
    }

    /// Whether the user exists. While UserService does not answer everybody does: a notification that nobody reads does less
    /// harm than one that is lost.
    ///
    /// # Errors
    /// [`CallError::NotUnderstood`].
    pub async fn exists(&self, user: UserId) -> Result<bool, CallError> {
        match self.contact(user).await {
            Ok(contact) => Ok(contact.is_some()),
            Err(error @ CallError::Unavailable { .. }) => {
                tracing::warn!(%user, cause = %error, "a user is notified unchecked");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// The language of a user; the default one while UserService does not answer, for the reason above. `None`: there is no
    /// such user.
    ///
    /// # Errors
    /// [`CallError::NotUnderstood`].
    pub async fn language(&self, user: UserId, now: Timestamp) -> Result<Option<Language>, CallError> {
        if let Some((language, since)) = self.languages.lock().await.get(&user)
            && now.since(*since) < KEEP
        {
            return Ok(Some(*language));
        }
        match self.contact(user).await {
            Ok(Some(Contact { language, .. })) => {
                let mut languages = self.languages.lock().await;
                if languages.len() >= KEPT {
                    languages.clear();
                }
                languages.insert(user, (language, now));
                Ok(Some(language))
            }
            Ok(None) => Ok(None),
            Err(error @ CallError::Unavailable { .. }) => {
                tracing::warn!(%user, cause = %error, "a user is told in the default language");
                Ok(Some(Language::default()))
            }
            Err(error) => Err(error),
        }
    }
}
