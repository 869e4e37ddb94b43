//! Calls from one service to another: service token, time limit, one retry where it is safe, circuit breaker.
//!
//! A caller waits 2 s for an answer at most (less, where it says so), twice for an idempotent call: well under the 10 s after which the client of
//! the whole request gives up. After five failures in a row a target is left alone for ten seconds and callers are told
//! at once.

mod breaker;
mod connection;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::rehearsal::{self, Effect, Facts};
use cloud::{Cloud, StartError};
use http::{HeaderName, Method, StatusCode};
use kernel::Clock;
use keys::{ServiceName, ServiceTokens};
use serde::Serialize;
use serde::de::DeserializeOwned;

use breaker::Breaker;
pub use connection::{Connection, ConnectionError, Received};

/// Time limit of one attempt.
pub const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The other services, as one service sees them. Cheap to clone.
#[derive(Clone)]
pub struct Services(Arc<Inner>);

struct Inner {
    connection: Connection,
    base_url: String,
    caller: ServiceName,
    tokens: ServiceTokens,
    clock: Clock,
    breakers: [Breaker; ServiceName::ALL.len()],
}

/// A call that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service does not answer, or only with server errors. Whether it acted on the call is unknown.
    #[error("{service} is not available: {reason}")]
    Unavailable {
        /// The service called.
        service: ServiceName,
        /// What happened.
        reason: String,
    },
    /// The service answered something that its contract does not know.
    #[error("{service} answered in a way that is not understood: {reason}")]
    NotUnderstood {
        /// The service called.
        service: ServiceName,
        /// What was wrong; never the answer's content.
        reason: String,
    },
}

/// What a service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    service: ServiceName,
    /// HTTP status.
    pub status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// The JSON body.
    ///
    /// # Errors
    /// [`CallError::NotUnderstood`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| self.not_understood(error))
    }

    /// An error that says what was unexpected in this answer.
    pub fn not_understood(&self, reason: impl fmt::Display) -> CallError {
        CallError::NotUnderstood {
            service: self.service,
            reason: format!("status {}: {reason}", self.status.as_u16()),
        }
    }
}

impl Services {
    /// Reads `API_BASE_URL`, `SERVICE_NAME` and the secret named by `SERVICE_TOKEN_SECRET`.
    ///
    /// # Errors
    /// [`StartError`] names what is missing.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let tokens = cloud.derived("SERVICE_TOKEN_SECRET", ServiceTokens::derive).await?;
        Ok(Self(Arc::new(Inner {
            connection: Connection::new(cloud),
            base_url: cloud.settings().required("API_BASE_URL")?,
            caller: cloud.settings().parsed("SERVICE_NAME")?,
            tokens,
            clock: cloud.clock().clone(),
            breakers: Default::default(),
        })))
    }

    /// Reads from a service. Tried twice.
    ///
    /// # Errors
    /// [`CallError::Unavailable`].
    pub async fn get(&self, service: ServiceName, path: &str) -> Result<Answer, CallError> {
        self.call(service, Method::GET, path, Bytes::new(), 2, TIME_LIMIT).await
    }

    /// Posts something that the service does once however often it is asked. Tried twice.
    ///
    /// # Errors
    /// [`CallError::Unavailable`].
    pub async fn post_idempotent(
        &self,
        service: ServiceName,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, CallError> {
        let body = written(service, body)?;
        self.call(service, Method::POST, path, body, 2, TIME_LIMIT).await
    }

    /// Posts something of which the caller can do without the answer: tried once, for `limit` at most.
    ///
    /// # Errors
    /// [`CallError::Unavailable`].
    pub async fn post_once(
        &self,
        service: ServiceName,
        path: &str,
        body: &(impl Serialize + Sync),
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let body = written(service, body)?;
        self.call(service, Method::POST, path, body, 1, limit).await
    }

    async fn call(
        &self,
        service: ServiceName,
        method: Method,
        path: &str,
        body: Bytes,
        attempts: u32,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let unavailable = |reason: String| CallError::Unavailable { service, reason };
        if method != Method::GET {
            rehearsal::stop_before(|| Effect {
                action: method.to_string(),
                target: format!("{service} {path}"),
                before: Facts::new(),
                after: said(&body),
            })
            .map_err(|refused| unavailable(refused.to_string()))?;
        }
        let token = self
            .0
            .tokens
            .issue(self.0.caller, self.0.clock.now())
            .map_err(|e| unavailable(e.to_string()))?;
        let url = format!("{}{path}", self.0.base_url);
        let headers = [
            (http::header::AUTHORIZATION, format!("Bearer {token}")),
            (http::header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        let breaker = &self.0.breakers[service as usize];
        let mut last = String::new();
        for _ in 0..attempts {
            if !breaker.lets_through(self.0.clock.now()) {
                return Err(unavailable(
                    "it failed repeatedly and is left alone for a moment".into(),
                ));
            }
            match self
                .0
                .connection
                .send(method.clone(), &url, &headers, body.clone(), limit)
                .await
            {
                Ok(Received { status, body, .. })
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS =>
                {
                    breaker.succeeded();
                    return Ok(Answer { service, status, body });
                }
                Ok(failed) => last = format!("status {}", failed.status.as_u16()),
                Err(error) => last = error.to_string(),
            }
            breaker.failed(self.0.clock.now());
            tracing::warn!(service = %service, method = %method, reason = last, "a service call failed");
        }
        Err(unavailable(last))
    }
}

/// What of a body may be shown: ids and quantities.
fn said(body: &[u8]) -> Facts {
    let members = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).unwrap_or_default();
    let shown = |(name, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) if name.ends_with("_uuid") => Some((name, text)),
        serde_json::Value::Number(number) if name == "quantity" => Some((name, number.to_string())),
        _ => None,
    };
    members.into_iter().filter_map(shown).collect()
}

fn written(service: ServiceName, body: &impl Serialize) -> Result<Bytes, CallError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| CallError::NotUnderstood {
            service,
            reason: error.to_string(),
        })
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Services(as {})", self.0.caller)
    }
}

/// A header of a plain call.
pub type Header = (HeaderName, String);
