//! `/_local/...`: what people and tests may see and do beside the system itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use kernel::Timestamp;
use keys::{Seed, ServiceName, ServiceTokens};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::aws::AwsEndpoint;
use crate::aws::deliveries::{Deliveries, Pending};
use crate::aws::dynamodb::StoreError;
use crate::clock::PlatformClock;
use crate::dead_letters;
use crate::faults::{Ambush, Fault, Faults, Point};
use crate::functions::Functions;
use crate::logs::Logs;
use crate::recording::Recording;
use crate::runtime_api::json_response;
use crate::simulator::{Simulator, SimulatorError};
use crate::template::model::Template;

/// Where the platform's own paths begin.
pub(crate) const PREFIX: &str = "/_local/";
/// Logical id of the secret that service tokens are signed with.
const SERVICE_TOKEN_SECRET: &str = "ServiceTokenSecret";
/// Pause between two looks while waiting for idleness.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longest wait for idleness, and the one when none is asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const USUAL_WAIT: Duration = Duration::from_secs(30);

/// The platform's own paths.
#[derive(Debug, Clone)]
pub(crate) struct LocalApi {
    pub(crate) template: Arc<Template>,
    pub(crate) clock: PlatformClock,
    pub(crate) recording: Recording,
    pub(crate) logs: Logs,
    pub(crate) faults: Faults,
    pub(crate) functions: Functions,
    pub(crate) aws: AwsEndpoint,
    pub(crate) work: Work,
    /// Cancelled once the platform is complete.
    pub(crate) ready: CancellationToken,
}

/// Query parameters.
type Query = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: u64,
}

/// A fault to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFault {
    point: Point,
    fault: Fault,
}

/// Why a request is refused.
struct Refusal(StatusCode, String);

impl LocalApi {
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let query = request.uri().query().unwrap_or_default();
        let query: Query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let path = request
            .uri()
            .path()
            .strip_prefix(PREFIX)
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        let body = match (request.method(), segments.as_slice()) {
            (&Method::GET, ["health"]) => self.health(),
            (&Method::GET, ["routes"]) => Ok(self.routes()),
            (&Method::GET, ["mails"]) => self.aws.mails().map(|mails| json!({ "mails": mails })).map_err(broken),
            (&Method::GET, ["calls"]) => self.calls(&query),
            (&Method::GET, ["events"]) => self.events(&query),
            (&Method::GET, ["logs"]) => self.logs(&query),
            (&Method::GET, ["clock"]) => Ok(json!({ "now_ms": self.clock.now_ms() })),
            (&Method::POST, ["clock"]) => self.advance(request.body()),
            (&Method::GET, ["queues"]) => self.queues(),
            (&Method::GET, ["dead-letters"]) => dead_letters::waiting(&self.aws, &self.template)
                .await
                .map(|letters| json!({ "dead_letters": letters }))
                .map_err(broken),
            (&Method::GET, ["pending"]) => self.pending(),
            (&Method::GET, ["idle"]) => self.idle(&query).await,
            (&Method::GET, ["faults"]) => Ok(self.faults()),
            (&Method::POST, ["faults"]) => self.set_fault(request.body()),
            (&Method::POST, ["faults", "watch"]) => {
                self.faults.watch();
                Ok(self.faults())
            }
            (&Method::POST, ["faults", "ambushes"]) => self.lie_in_wait(request.body()),
            (&Method::POST, ["faults", "strikes"]) => Ok(json!({ "strikes": self.faults.collect_strikes() })),
            (&Method::DELETE, ["faults"]) => {
                self.faults.clear();
                Ok(self.faults())
            }
            (&Method::GET, ["permissions"]) => {
                let permissions = self.aws.permissions();
                Ok(json!({ "used": permissions.used(), "unused": permissions.unused() }))
            }
            (&Method::GET, ["service-token"]) => self.service_token(&query),
            _ => Err(Refusal(
                StatusCode::NOT_FOUND,
                format!("there is no {} /_local/{path}", request.method()),
            )),
        };
        match body {
            Ok(body) => json_response(StatusCode::OK, &body),
            Err(Refusal(status, message)) => json_response(status, &json!({ "message": message })),
        }
    }

    /// Healthy is who has everything that was asked for, the demo included.
    fn health(&self) -> Result<Value, Refusal> {
        if self.ready.is_cancelled() {
            Ok(json!({ "status": "ok" }))
        } else {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned()))
        }
    }

    fn routes(&self) -> Value {
        let routes: Vec<Value> = self
            .template
            .routes
            .iter()
            .map(|route| json!({ "method": route.method, "path": route.path, "function": route.function }))
            .collect();
        json!({ "routes": routes })
    }

    fn calls(&self, query: &Query) -> Result<Value, Refusal> {
        let (function, since) = (self.function(query)?, since(query)?);
        let target = query.get("target");
        let calls = self.recording.calls(|call| {
            call.sequence > since
                && function.as_ref().is_none_or(|name| call.entry.function == *name)
                && target.is_none_or(|target| call.entry.target.starts_with(target.as_str()))
        });
        Ok(json!({ "calls": calls }))
    }

    fn events(&self, query: &Query) -> Result<Value, Refusal> {
        let (function, since) = (self.function(query)?, since(query)?);
        let kind = query.get("kind");
        let events = self.recording.events(|event| {
            event.sequence > since
                && function
                    .as_ref()
                    .is_none_or(|name| event.entry.function.as_ref() == Some(name))
                && kind.is_none_or(|kind| event.entry.kind == kind.as_str())
        });
        Ok(json!({ "events": events }))
    }

    fn logs(&self, query: &Query) -> Result<Value, Refusal> {
        let function = self.function(query)?;
        Ok(json!({ "lines": self.logs.of(function.as_deref()) }))
    }

    /// The function that is asked for, by any of its names.
    fn function(&self, query: &Query) -> Result<Option<String>, Refusal> {
        match query.get("function") {
            None => Ok(None),
            Some(name) => match self.functions.resolve(name) {
                Some(logical_id) => Ok(Some(logical_id.to_owned())),
                None => Err(Refusal(StatusCode::NOT_FOUND, format!("there is no function {name}"))),
            },
        }
    }

    fn advance(&self, body: &[u8]) -> Result<Value, Refusal> {
        let Advance { advance_ms } = serde_json::from_slice(body).map_err(|error| {
            Refusal(
                StatusCode::BAD_REQUEST,
                format!(r#"send {{"advance_ms": <number>}}: {error}"#),
            )
        })?;
        self.clock.advance(advance_ms).map_err(broken)?;
        Ok(json!({ "now_ms": self.clock.now_ms() }))
    }

    fn faults(&self) -> Value {
        json!({
            "points": self.faults.points(),
            "faults": self.faults.switches(),
            "ambushes": self.faults.ambushes(),
        })
    }

    fn lie_in_wait(&self, body: &[u8]) -> Result<Value, Refusal> {
        let ambush: Ambush = serde_json::from_slice(body).map_err(|error| {
            Refusal(
                StatusCode::BAD_REQUEST,
                format!(r#"send {{"passages": 3, "fault": "kill-after", "label": "mine"}}: {error}"#),
            )
        })?;
        self.faults.lie_in_wait(ambush);
        Ok(json!({ "ambushes": self.faults.ambushes().len() }))
    }

    fn set_fault(&self, body: &[u8]) -> Result<Value, Refusal> {
        let NewFault { point, fault } = serde_json::from_slice(body).map_err(|error| {
            Refusal(
                StatusCode::BAD_REQUEST,
                format!(r#"send {{"point": "FUNCTION KIND TARGET #1", "fault": "kill-after"}}: {error}"#),
            )
        })?;
        self.faults.set(point, fault);
        Ok(self.faults())
    }

    fn queues(&self) -> Result<Value, Refusal> {
        let counts = self.aws.queues().counts(self.clock.now_ms()).map_err(broken)?;
        Ok(json!({ "queues": counts }))
    }

    fn pending(&self) -> Result<Value, Refusal> {
        let pending = self.work.pending().map_err(broken)?;
        Ok(json!({ "idle": self.work.is_idle(), "pending": pending }))
    }

    /// Waits until nothing is left to do, but not for ever.
    async fn idle(&self, query: &Query) -> Result<Value, Refusal> {
        let wait = match query.get("timeout_ms") {
            None => USUAL_WAIT,
            Some(text) => Duration::from_millis(number(text)?).min(LONGEST_WAIT),
        };
        let idle = self.work.wait_until_idle(wait).await;
        Ok(json!({ "idle": idle, "pending": self.work.pending().map_err(broken)? }))
    }

    fn service_token(&self, query: &Query) -> Result<Value, Refusal> {
        let bad = |message: String| Refusal(StatusCode::BAD_REQUEST, message);
        let service = query
            .get("service")
            .ok_or_else(|| bad("say which: ?service=order-service".to_owned()))?;
        let service: ServiceName = service
            .parse()
            .map_err(|error: keys::service_token::NotAService| bad(error.to_string()))?;
        let secret = self.aws.secrets().value(SERVICE_TOKEN_SECRET);
        let secret = secret.ok_or_else(|| broken(format!("the template has no {SERVICE_TOKEN_SECRET}")))?;
        let seed: Seed = secret.parse().map_err(broken)?;
        let now = Timestamp::from_millis(self.clock.now_ms());
        let token = ServiceTokens::derive(&seed)
            .and_then(|tokens| tokens.issue(service, now))
            .map_err(broken)?;
        Ok(json!({ "token": token }))
    }
}

/// Everything that works by itself: the deliveries, and payment providers where they are simulated.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) deliveries: Deliveries,
    pub(crate) simulator: Option<Simulator>,
}

/// Why it can not be told what is left to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Deliveries(#[from] StoreError),
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
}

impl Work {
    /// What is left to do.
    pub(crate) fn pending(&self) -> Result<Pending, WorkError> {
        let providers = self.simulator.as_ref().map_or(Ok(0), Simulator::pending)?;
        Ok(Pending {
            providers,
            ..self.deliveries.pending()?
        })
    }

    /// Whether nothing is queued, unread or running, here or at simulated providers.
    pub(crate) fn is_idle(&self) -> bool {
        let Some(simulator) = &self.simulator else {
            return self.deliveries.is_idle();
        };
        // A provider's notification starts a function, and a function calls a provider: only if the providers did
        // nothing during the whole look does idleness of the deliveries prove anything.
        let before = simulator.activity();
        let rests = || simulator.pending().is_ok_and(|pending| pending == 0);
        rests() && self.deliveries.is_idle() && rests() && simulator.activity() == before
    }

    /// Waits until nothing is left to do; false when it did not come to that in time.
    pub(crate) async fn wait_until_idle(&self, wait: Duration) -> bool {
        let idle = async {
            while !self.is_idle() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(wait, idle).await.is_ok()
    }
}

fn since(query: &Query) -> Result<u64, Refusal> {
    query.get("since").map_or(Ok(0), |text| number(text))
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse()
        .map_err(|_| Refusal(StatusCode::BAD_REQUEST, format!("{text} is not a number")))
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
