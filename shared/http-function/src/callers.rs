//! Who calls: tokens verified in the function itself, against key sets that are fetched once and kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Cloud, StartError};
use http::{HeaderMap, Method, StatusCode, header};
use kernel::Timestamp;
use keys::{KeySet, ServiceName, TokenError, User};
use service_client::Connection;
use tokio::sync::Mutex;

use crate::Problem;

/// The caller of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular: no token, or one that proves nothing.
    Anonymous,
    /// A logged-in user.
    User(User),
    /// One of our services.
    Service(ServiceName),
    /// A token came, but the keys to verify it with can not be had. Says why.
    Unknown(String),
}

/// How long a fetched key set is used before it is fetched again. It names the users whose log-ins were ended, so this is
/// how long a ban takes to reach every function.
const KEEP: Duration = Duration::from_secs(2 * 60);
/// A key that is not in the set is looked for in a newer one, but not more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Time limit of a fetch.
const FETCH_LIMIT: Duration = Duration::from_millis(1_500);

impl Caller {
    /// The logged-in user.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a service.
    pub fn user(&self) -> Result<&User, Problem> {
        match self {
            Self::User(user) => Ok(user),
            Self::Service(_) => Err(Problem::forbidden("This is for people, not for services.")),
            Self::Anonymous => Err(Problem::unauthenticated()),
            Self::Unknown(error) => Err(Problem::unavailable(error.clone())),
        }
    }
}

/// Verifies tokens.
pub struct Callers {
    users: KeySource,
    services: KeySource,
    issuer: String,
}

enum KeySource {
    Published {
        connection: Box<Connection>,
        url: String,
        kept: Mutex<Option<Kept>>,
    },
    SharedSecret(Arc<KeySet>),
}

#[derive(Clone)]
struct Kept {
    keys: Arc<KeySet>,
    fetched_at: Timestamp,
}

impl Callers {
    /// Reads `API_BASE_URL`, and for an external user service `USER_TOKEN_ISSUER` with either `USER_TOKEN_JWKS_URL` or
    /// `USER_TOKEN_HS256_SECRET` (the ARN of a secret whose text is the shared key).
    ///
    /// # Errors
    /// [`StartError`] when one is missing or the secret can not be read.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let settings = cloud.settings();
        let base_url = settings.required("API_BASE_URL")?;
        let published = |url: String| KeySource::Published {
            connection: Box::new(Connection::new(cloud)),
            url,
            kept: Mutex::new(None),
        };
        let users = match settings.optional("USER_TOKEN_HS256_SECRET") {
            Some(_) => {
                let secret: String = cloud.secret("USER_TOKEN_HS256_SECRET").await?;
                KeySource::SharedSecret(Arc::new(KeySet::of_shared_secret(secret.as_bytes())))
            }
            None => published(
                settings
                    .optional("USER_TOKEN_JWKS_URL")
                    .unwrap_or_else(|| format!("{base_url}/.well-known/jwks.json")),
            ),
        };
        Ok(Self {
            users,
            services: published(format!("{base_url}/.well-known/service-jwks.json")),
            issuer: settings
                .optional("USER_TOKEN_ISSUER")
                .unwrap_or_else(|| keys::user_token::ISSUER.to_owned()),
        })
    }

    pub(crate) async fn identify(&self, headers: &HeaderMap, now: Timestamp) -> Caller {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .map(str::trim);
        self.identify_token(token, now).await
    }

    /// Whom a token speaks of, wherever it came from.
    pub async fn identify_token(&self, token: Option<&str>, now: Timestamp) -> Caller {
        // Browsers that lost their log-in send these words.
        let Some(token) = token.filter(|token| !matches!(*token, "" | "null" | "undefined")) else {
            return Caller::Anonymous;
        };
        self.prove(token, now).await
    }

    async fn prove(&self, token: &str, now: Timestamp) -> Caller {
        // Unverified, and used only to choose the keys to verify with.
        let for_services = keys::verifying::audience(token).as_deref() == Some(keys::service_token::AUDIENCE);
        let source = if for_services { &self.services } else { &self.users };
        let verify = |keys: &KeySet| {
            if for_services {
                ServiceName::verify(token, keys, now).map(Caller::Service)
            } else {
                User::verify(token, keys, &self.issuer, now).map(Caller::User)
            }
        };
        let keys = match source.keys(now, KEEP).await {
            Ok(keys) => keys,
            Err(reason) => return Caller::Unknown(reason),
        };
        match verify(&keys) {
            Err(TokenError::UnknownKey) => match source.keys(now, LOOK_AGAIN).await {
                Ok(newer) => verify(&newer).unwrap_or(Caller::Anonymous),
                Err(_) => Caller::Anonymous,
            },
            outcome => outcome.unwrap_or(Caller::Anonymous),
        }
    }
}

impl KeySource {
    /// The key set, at most `age` old; an older one is kept in use while no newer one can be had.
    async fn keys(&self, now: Timestamp, age: Duration) -> Result<Arc<KeySet>, String> {
        let (connection, url, kept) = match self {
            Self::SharedSecret(keys) => return Ok(keys.clone()),
            Self::Published { connection, url, kept } => (connection, url, kept),
        };
        let mut kept = kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now.since(kept.fetched_at) < age) {
            return Ok(kept.keys.clone());
        }
        let fetched = match connection.send(Method::GET, url, &[], Bytes::new(), FETCH_LIMIT).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                KeySet::parse(&answer.body).map_err(|_| "the published keys are no JWK set".into())
            }
            Ok(answer) => Err(format!(
                "the published keys can not be read: status {}",
                answer.status.as_u16()
            )),
            Err(error) => Err(format!("the published keys can not be read: {error}")),
        };
        match (fetched, kept.as_mut()) {
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                *kept = Some(Kept {
                    keys: keys.clone(),
                    fetched_at: now,
                });
                Ok(keys)
            }
            (Err(reason), Some(older)) => {
                tracing::warn!(reason, "older keys stay in use");
                older.fetched_at = now;
                Ok(older.keys.clone())
            }
            (Err(reason), None) => Err(reason),
        }
    }
}
