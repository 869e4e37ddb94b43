//! Rehearsals: a function goes through a message as always, and stops at the first thing that would change anything.
//!
//! Reads happen. A write, a publication, a mail or a call of another service is noted as what would happen, and refused.
//! The places through which such things leave (tables, topics, services) note it in words of their own; below all of them
//! [`Guarded`] lets nothing through that is not known to read, so that a place that was forgotten refuses as well.
//!
//! A function instance has one invocation at a time, so the rehearsal is the process's: a task that the function left
//! behind or started meanwhile is held back with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use serde::{Deserialize, Serialize};

static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

/// What was noted since the rehearsal began.
#[derive(Debug, Default)]
struct Stage {
    seen: Vec<Seen>,
    first: Option<Effect>,
}

#[derive(Debug)]
struct Seen {
    table: String,
    facts: Facts,
}

/// Names and values that may be shown: ids, states, numbers. Never texts of people.
pub type Facts = BTreeMap<String, String>;

/// Something that would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// What would be done, e.g. `dynamodb:PutItem`, `sns:Publish`, `POST`.
    pub action: String,
    /// To what: a table, a topic, a service's path.
    pub target: String,
    /// What was there before, as far as it was read.
    #[serde(default)]
    pub before: Facts,
    /// What would be there, or would be said, after.
    #[serde(default)]
    pub after: Facts,
}

/// Refused, because it is only a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is a rehearsal: nothing is changed")]
pub struct Refused;

/// A condition that never holds. A transaction with it finds out whether the conditions of its other actions hold, and
/// can not write.
pub const NEVER: &str = "attribute_exists(#never) AND attribute_not_exists(#never)";

fn stage() -> MutexGuard<'static, Option<Stage>> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rehearsal that goes on until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Rehearsal(());

impl Rehearsal {
    /// Begins: from now on this process changes nothing.
    pub fn begin() -> Self {
        *stage() = Some(Stage::default());
        Self(())
    }

    /// Ends it, and tells the first thing that would have happened.
    #[must_use]
    pub fn end(self) -> Option<Effect> {
        stage().take().and_then(|stage| stage.first)
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        *stage() = None;
    }
}

/// Whether this is a rehearsal.
#[must_use]
pub fn is_on() -> bool {
    stage().is_some()
}

/// To be asked before anything that changes something. In a rehearsal it notes what would happen.
///
/// # Errors
/// [`Refused`], in a rehearsal.
pub fn stop_before(effect: impl FnOnce() -> Effect) -> Result<(), Refused> {
    let mut stage = stage();
    let Some(stage) = stage.as_mut() else { return Ok(()) };
    if stage.first.is_none() {
        stage.first = Some(effect());
    }
    Err(Refused)
}

/// Notes an item that was read, so that an effect on it can say what was there before.
pub fn saw(table: &str, facts: impl FnOnce() -> Facts) {
    if let Some(stage) = stage().as_mut() {
        stage.seen.push(Seen {
            table: table.to_owned(),
            facts: facts(),
        });
    }
}

/// What was last read of the item of `table` that has all of these facts.
#[must_use]
pub fn seen(table: &str, known: &Facts) -> Facts {
    let stage = stage();
    let fits =
        |seen: &&Seen| seen.table == table && known.iter().all(|(name, value)| seen.facts.get(name) == Some(value));
    let found = stage.as_ref().and_then(|stage| stage.seen.iter().rev().find(fits));
    found.map(|seen| seen.facts.clone()).unwrap_or_default()
}

/// The HTTP client of all SDK clients, which in a rehearsal lets through only what is known to read.
#[derive(Debug)]
pub(crate) struct Guarded(SharedHttpClient);

impl Guarded {
    pub(crate) fn around(client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Self(client))
    }
}

impl HttpClient for Guarded {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(GuardedConnector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

struct GuardedConnector(SharedHttpConnector);

impl fmt::Debug for GuardedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedConnector")
    }
}

impl HttpConnector for GuardedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !is_on() {
            return self.0.call(request);
        }
        let operation = operation(request.headers().get("x-amz-target"));
        let body = request.body().bytes().unwrap_or_default();
        if only_reads(request.method(), operation, body) {
            return self.0.call(request);
        }
        let noted = stop_before(|| Effect {
            action: match operation {
                "" => request.method().to_owned(),
                operation => operation.to_owned(),
            },
            target: host_of(request.uri()).to_owned(),
            before: Facts::new(),
            after: Facts::new(),
        });
        match noted {
            Err(refused) => HttpConnectorFuture::ready(Err(ConnectorError::user(refused.into()))),
            // It ended in between.
            Ok(()) => self.0.call(request),
        }
    }
}

/// `DynamoDB_20120810.GetItem` -> `GetItem`
fn operation(target: Option<&str>) -> &str {
    target.and_then(|target| target.rsplit('.').next()).unwrap_or_default()
}

fn host_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether a request can change nothing. What is not known to read is taken as a change.
fn only_reads(method: &str, operation: &str, body: &[u8]) -> bool {
    const READS: [&str; 6] = [
        "BatchGetItem",
        "GetItem",
        "GetSecretValue",
        "Query",
        "Scan",
        "TransactGetItems",
    ];
    match operation {
        "" => method == "GET",
        // One whose conditions can not all hold asks which of them do.
        "TransactWriteItems" => {
            let condition = format!("\"ConditionExpression\":\"{NEVER}\"");
            body.windows(condition.len()).any(|part| part == condition.as_bytes())
        }
        operation => READS.contains(&operation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stage is the process's, so all of it is one test.
    #[test]
    fn a_rehearsal_notes_the_first_thing_that_would_happen_and_refuses_them_all() {
        let effect = |action: &str| Effect {
            action: action.to_owned(),
            target: "orders".to_owned(),
            before: Facts::new(),
            after: Facts::new(),
        };
        assert_eq!(stop_before(|| effect("real")), Ok(()));
        let rehearsal = Rehearsal::begin();
        assert!(is_on());
        let facts = |status: &str| Facts::from([("order_uuid".into(), "7".into()), ("status".into(), status.into())]);
        saw("orders", || facts("pending"));
        saw("orders", || facts("paid"));
        let known = Facts::from([("order_uuid".into(), "7".into())]);
        assert_eq!(seen("orders", &known), facts("paid"));
        assert_eq!(seen("payments", &known), Facts::new());
        assert_eq!(stop_before(|| effect("first")), Err(Refused));
        assert_eq!(stop_before(|| effect("second")), Err(Refused));
        assert_eq!(rehearsal.end(), Some(effect("first")));
        assert!(!is_on());
        assert_eq!(stop_before(|| effect("real")), Ok(()));
        drop(Rehearsal::begin());
        assert!(!is_on());
    }

    #[test]
    fn only_what_is_known_to_read_passes() {
        let reads = |method, operation, body: &str| only_reads(method, operation, body.as_bytes());
        assert!(reads("POST", "GetItem", "{}"));
        assert!(reads("POST", "Query", "{}"));
        assert!(reads("GET", "", ""));
        assert!(!reads("POST", "PutItem", "{}"));
        assert!(!reads("POST", "UpdateItem", "{}"));
        assert!(!reads("POST", "AnythingNew", "{}"));
        assert!(!reads("POST", "", "Action=PublishBatch"));
        assert!(!reads(
            "POST",
            "TransactWriteItems",
            r#"{"ConditionExpression":"attribute_exists(#a)"}"#
        ));
        let never = format!(r#"{{"Put":{{"ConditionExpression":"{NEVER}"}}}}"#);
        assert!(reads("POST", "TransactWriteItems", &never));
        assert!(!reads("POST", "PutItem", &never));
        assert_eq!(operation(Some("DynamoDB_20120810.GetItem")), "GetItem");
        assert_eq!(
            host_of("https://sns.us-east-1.amazonaws.com/x?y"),
            "sns.us-east-1.amazonaws.com"
        );
    }
}
