//! AWS as the functions see it: one endpoint for the calls of their SDKs, and the deliveries that start them.
//!
//! A call is told apart by the credential scope of its signature: the service from its name there, the caller from the
//! access key id, which is the logical id of a function. Signatures are not verified. Every call is checked against
//! the function's permissions, passes the seat of the faults, and is recorded.

pub mod batch_response;
pub mod connections;
pub mod consumers;
pub mod deliveries;
pub mod dynamodb;
pub mod mail;
pub mod pattern;
pub mod permissions;
pub mod queues;
pub mod schedules;
pub mod secrets;
pub mod signature;
pub mod sns;
pub mod storage;
pub mod streams;
pub mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::connections::{Connections, ManagementCall};
use self::consumers::Consumer;
use self::deliveries::{Context, Deliveries};
use self::dynamodb::access::Access;
use self::dynamodb::{Store, StoreError};
use self::mail::{Mail, Mails};
use self::pattern::Pattern;
use self::permissions::{Caller, Need, Permissions};
use self::queues::Queues;
use self::schedules::Timetable;
use self::secrets::Secrets;
use self::signature::Credential;
use self::sns::{PublishCall, Refusal, Topics};
use self::storage::{Durability, Storage};
use self::streams::{Mapping, Positions, Retries};
use crate::clock::PlatformClock;
use crate::faults::{Broken, Fault, Faults, Kind, Site};
use crate::functions::{Functions, Instance};
use crate::invoke_api::{self, InvokeApi};
use crate::operator;
use crate::recording::{Call, Event, Recording};
use crate::template::model::{EventSource, Function, Template};
use crate::turns::{Passage, Turn};

/// Why AWS can not be provided.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// The tables.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queues.
    #[error("{file}: {reason}")]
    Queues {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: rusqlite::Error,
    },
    /// The secrets.
    #[error("{file}: {reason}")]
    Secrets {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: io::Error,
    },
    /// The template says something that AWS would refuse, or that is not supported.
    #[error("template.yaml: {0}")]
    Template(String),
}

/// The endpoint. Clones share it.
#[derive(Debug, Clone)]
pub struct AwsEndpoint {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    store: Store,
    queues: Queues,
    positions: Positions,
    topics: Topics,
    mails: Mails,
    secrets: Secrets,
    connections: Connections,
    permissions: Permissions,
    sources: Sources,
    functions: OnceLock<Functions>,
    clock: PlatformClock,
    recording: Recording,
    faults: Faults,
}

/// What the template lets start functions.
#[derive(Debug)]
struct Sources {
    consumers: Vec<Consumer>,
    mappings: Vec<Mapping>,
    timetables: Vec<Timetable>,
}

impl AwsEndpoint {
    /// Opens everything that the template states, with its data in the folder `data`.
    ///
    /// # Errors
    /// A file can not be used, or the template says something that AWS would refuse.
    pub fn open(
        data: &Path,
        durability: Durability,
        template: &Template,
        clock: PlatformClock,
        recording: Recording,
        faults: Faults,
    ) -> Result<Self, AwsError> {
        let sources = Sources::of(template).map_err(AwsError::Template)?;
        let topics = Topics::new(&template.topics, &template.subscriptions).map_err(AwsError::Template)?;

        let file = data.join("queues.sqlite");
        let unusable = |reason| AwsError::Queues {
            file: file.clone(),
            reason,
        };
        let storage = Storage::open(&file, durability).map_err(unusable)?;
        let dead_letters = sources
            .mappings
            .iter()
            .filter_map(|mapping| mapping.on_failure.clone())
            .chain(
                template
                    .subscriptions
                    .iter()
                    .filter_map(|subscription| subscription.dead_letter_arn.clone()),
            );
        let known = template.queues.values().cloned();
        let read = sources.consumers.iter().map(|consumer| consumer.queue.clone());
        let queues = Queues::open(storage.clone(), known, dead_letters, clock.now_ms()).map_err(unusable)?;
        let queues = queues.read_by_functions(read);

        let file = data.join("secrets.json");
        let secrets = Secrets::open(&file, &template.secrets, clock.now_ms())
            .map_err(|reason| AwsError::Secrets { file, reason })?;
        let store = Store::open(&data.join("tables.sqlite"), durability, &template.tables, clock.clone())?;
        Ok(Self {
            parts: Arc::new(Parts {
                store,
                queues,
                positions: Positions::new(storage.clone()),
                topics,
                mails: Mails::new(storage),
                secrets,
                connections: Connections::new(template.sockets.as_ref()),
                permissions: Permissions::new(&template.functions, &template.roles),
                sources,
                functions: OnceLock::new(),
                clock,
                recording,
                faults,
            }),
        })
    }

    /// Starts the deliveries to `functions`.
    #[must_use]
    pub fn deliver(&self, functions: Functions) -> Deliveries {
        let parts = &self.parts;
        let functions = parts.functions.get_or_init(|| functions).clone();
        let (mut mappings, mut given_up_to) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
        for mapping in &parts.sources.mappings {
            mappings.entry(mapping.table.clone()).or_default().push(mapping.key());
            let queues: &mut Vec<String> = given_up_to.entry(mapping.table.clone()).or_default();
            queues.extend(mapping.on_failure.clone());
        }
        let context = Context {
            queues: parts.queues.clone(),
            store: parts.store.clone(),
            positions: parts.positions.clone(),
            functions,
            clock: parts.clock.clone(),
            recording: parts.recording.clone(),
            faults: parts.faults.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            mappings: Arc::new(mappings),
            given_up_to: Arc::new(given_up_to),
        };
        Deliveries::start(context, &parts.sources)
    }

    /// The queues, for people and tests.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.parts.queues
    }

    /// The tables.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The secrets with their values.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.parts.secrets
    }

    /// The open connections of the WebSocket API.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.parts.connections
    }

    /// What functions may do, and what they did.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.parts.permissions
    }

    /// Mails that would have been sent, oldest first.
    ///
    /// # Errors
    /// Their file can not be read.
    pub fn mails(&self) -> Result<Vec<Mail>, rusqlite::Error> {
        self.parts.mails.list()
    }

    /// Looks into the tables, or changes them, with nobody's permissions: `operation` is DynamoDB's, e.g. `Scan`.
    pub async fn as_operator(&self, operation: &str, body: &Value) -> (StatusCode, Value) {
        match operator::dynamodb(operation, body) {
            Ok(request) => {
                let response = self.answer(request).await;
                (
                    response.status(),
                    serde_json::from_slice(response.body()).unwrap_or_default(),
                )
            }
            Err(error) => (StatusCode::BAD_REQUEST, Value::from(error.to_string())),
        }
    }

    /// Whether a request is signed by a function.
    pub(crate) fn is_function(&self, headers: &HeaderMap) -> bool {
        let credential = Credential::of(headers);
        let caller = credential.and_then(|credential| self.parts.permissions.caller(&credential.access_key));
        matches!(caller, Some(Caller::Function(_)))
    }

    /// Answers a signed request. It is carried out even if the caller does not wait for the answer.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let endpoint = self.clone();
        let answer = tokio::spawn(async move { endpoint.carry_out(request).await });
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an AWS call was not carried out");
            json_answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                JSON_1_0,
                &json!({"__type": "InternalServerError"}),
            )
        })
    }

    async fn carry_out(&self, request: Request<Bytes>) -> Response<Bytes> {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let Some(credential) = Credential::of(&head.headers) else {
            let refusal = Refusal::new(403, "MissingAuthenticationTokenException", "The request is not signed");
            return Service::DynamoDb.refuse(&refusal);
        };
        let Some(service) = Service::named(&credential.service) else {
            let message = format!("there is no service {} here", credential.service);
            return Service::DynamoDb.refuse(&Refusal::new(400, "UnknownOperationException", message));
        };
        let Some(caller) = self.parts.permissions.caller(&credential.access_key) else {
            let message = format!("{} is neither a function nor the operator", credential.access_key);
            return service.refuse(&service.unknown_caller(message));
        };
        let call = match self.understand(service, &head, body) {
            Ok(call) => call,
            Err(refusal) => return service.refuse(&refusal),
        };

        let function = caller.name().to_owned();
        let instance = self.instance(&head.headers);
        let request_id = instance.as_ref().and_then(|instance| instance.current());
        let (target, resource) = (call.target.clone(), call.resource.clone());
        let turn = self.turn(&function, &call, request_id.as_deref()).await;
        let (response, consumed) = match self.parts.permissions.exercise(&caller, &call.needs) {
            Ok(()) => match (self.fault(&function, &call, request_id.as_deref()), instance) {
                (Some(fault), Some(instance)) => {
                    self.perform_badly(fault, &instance, (service, call.work), &head).await
                }
                _ => self.perform(service, call.work, &head.headers).await,
            },
            Err(need) => {
                self.record_denial(&caller, need);
                (service.refuse(&service.denied(&caller, need)), None)
            }
        };
        drop(turn);
        self.parts.recording.call(Call {
            at_ms: self.parts.clock.now_ms(),
            function,
            request_id,
            target,
            resource,
            status: response.status().as_u16(),
            duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            consumed,
        });
        response
    }

    /// What goes wrong with a call. What an instance asks before its first invocation, which is the same whenever one
    /// starts, does not count.
    fn fault(&self, function: &str, call: &Understood, request_id: Option<&str>) -> Option<Fault> {
        if !self.parts.faults.are_awake() {
            return None;
        }
        let request_id = request_id?;
        // Connections have other ids in every run.
        let is_connection = call.target.starts_with("execute-api:");
        let resource = call.resource.rsplit([':', '/']).next().filter(|_| !is_connection);
        let resource = resource.unwrap_or("connections");
        let site = Site {
            function: function.to_owned(),
            kind: Kind::Call,
            target: format!("{} {resource}", call.target),
        };
        self.parts.faults.pass(site, Some(request_id))
    }

    /// Waits for its turn, where two flows take turns.
    async fn turn(&self, function: &str, call: &Understood, request_id: Option<&str>) -> Option<Turn> {
        let turns = self.parts.faults.turns();
        if !turns.are_awake() {
            return None;
        }
        let Work::Store { changes, .. } = &call.work else {
            return None;
        };
        let tables = call.needs.iter().filter_map(|need| need.resource.split('/').nth(1));
        let tables = tables.map(|table| (table.to_owned(), changes.contains(table)));
        let passage = Passage {
            function: function.to_owned(),
            request_id: request_id?.to_owned(),
            target: call.target.clone(),
            tables: tables.collect(),
        };
        turns.enter(passage).await
    }

    async fn perform_badly(
        &self,
        fault: Fault,
        instance: &Instance,
        (service, work): (Service, Work),
        head: &Head,
    ) -> (Response<Bytes>, Option<Value>) {
        let refused = || (service.refuse(&service.throttled()), None);
        let work = self.perform(service, work, &head.headers);
        let answered = fault.spoil(work, refused(), instance.killed(), instance.ended()).await;
        answered.unwrap_or_else(|| (Broken::instead_of(refused().0), None))
    }

    fn understand(&self, service: Service, head: &Head, body: Bytes) -> Result<Understood, Refusal> {
        let target = head
            .headers
            .get("x-amz-target")
            .and_then(|target| target.to_str().ok())
            .unwrap_or_default();
        match service {
            Service::DynamoDb => {
                let operation = target.rsplit('.').next().unwrap_or_default();
                let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
                if target.starts_with(dynamodb::STREAMS_API) {
                    let stream = self.parts.store.stream_of(&request).unwrap_or_default();
                    return Ok(Understood {
                        target: format!("dynamodb:{operation}"),
                        needs: vec![Need::new(format!("dynamodb:{operation}"), &stream)],
                        resource: stream.clone(),
                        work: Work::Records { body, stream },
                    });
                }
                let access = Access::of(operation, &request);
                Ok(Understood {
                    target: format!("dynamodb:{operation}"),
                    resource: access.resource().to_owned(),
                    needs: access.needs,
                    work: Work::Store {
                        body,
                        changes: access.changes,
                    },
                })
            }
            Service::Sns => {
                let call = PublishCall::parse(&body)?;
                Ok(Understood {
                    target: if call.batch { "sns:PublishBatch" } else { "sns:Publish" }.to_owned(),
                    resource: call.topic.clone(),
                    // There is no permission for batches.
                    needs: vec![Need::new("sns:Publish", &call.topic)],
                    work: Work::Publish(call),
                })
            }
            Service::SecretsManager => {
                if target != "secretsmanager.GetSecretValue" {
                    let message = format!("{target} is not supported");
                    return Err(Refusal::new(400, "UnknownOperationException", message));
                }
                let request: Value = serde_json::from_slice(&body)
                    .map_err(|error| Refusal::new(400, "SerializationException", error.to_string()))?;
                let id = request.get("SecretId").and_then(Value::as_str).unwrap_or_default();
                let resource = self
                    .parts
                    .secrets
                    .find(id)
                    .map_or(id, |(secret, _)| &secret.arn)
                    .to_owned();
                Ok(Understood {
                    target: "secretsmanager:GetSecretValue".to_owned(),
                    needs: vec![Need::new("secretsmanager:GetSecretValue", &resource)],
                    resource,
                    work: Work::Secret(id.to_owned()),
                })
            }
            Service::Ses => {
                if (&head.method, head.uri.path()) != (&Method::POST, "/v2/email/outbound-emails") {
                    let message = format!("{} {} is not supported", head.method, head.uri.path());
                    return Err(Refusal::new(404, "NotFoundException", message));
                }
                let bad = |message: String| Refusal::new(400, "BadRequestException", message);
                let request = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
                let now_ms = self.parts.clock.now_ms();
                let mail = Mail::parse(&request, Uuid::new_v4().to_string(), now_ms).map_err(bad)?;
                let needs = self.mail_needs(head, &mail);
                Ok(Understood {
                    target: "ses:SendEmail".to_owned(),
                    resource: needs.first().map(|need| need.resource.clone()).unwrap_or_default(),
                    needs,
                    work: Work::Mail(mail),
                })
            }
            Service::Lambda => {
                let unknown = || Refusal::new(404, "ResourceNotFoundException", "Function not found");
                let functions = self.parts.functions.get().ok_or_else(unknown)?;
                let name = invoke_api::function(head.uri.path()).ok_or_else(unknown)?;
                let function = functions.resolve(&name).ok_or_else(unknown)?;
                let resource = functions.arn(function).ok_or_else(unknown)?;
                Ok(Understood {
                    target: "lambda:Invoke".to_owned(),
                    needs: vec![Need::new("lambda:InvokeFunction", &resource)],
                    resource,
                    work: Work::Invoke(Request::from_parts(head.clone(), body)),
                })
            }
            Service::ExecuteApi => {
                let call = self.parts.connections.understand(&head.method, head.uri.path(), body)?;
                Ok(Understood {
                    target: call.target().to_owned(),
                    resource: call.resource().to_owned(),
                    needs: vec![Need::new("execute-api:ManageConnections", call.resource())],
                    work: Work::Connection(call),
                })
            }
        }
    }

    /// Permission to send for the address or for its domain: either will do.
    fn mail_needs(&self, head: &Head, mail: &Mail) -> Vec<Need> {
        let permissions = &self.parts.permissions;
        let caller = Credential::of(&head.headers).and_then(|credential| permissions.caller(&credential.access_key));
        let mut needs: Vec<Need> = Mail::identities(&mail.from)
            .into_iter()
            .map(|arn| Need::new("ses:SendEmail", arn))
            .collect();
        let granted = needs
            .iter()
            .position(|need| caller.as_ref().is_some_and(|caller| permissions.allows(caller, need)));
        needs.swap(0, granted.unwrap_or(0));
        needs.truncate(1);
        needs
    }

    async fn perform(&self, service: Service, work: Work, headers: &HeaderMap) -> (Response<Bytes>, Option<Value>) {
        let parts = &self.parts;
        let failed = |error: String| (service.refuse(&Refusal::new(500, "InternalServerError", error)), None);
        match work {
            Work::Store { body, changes } => match parts.store.call(headers, body).await {
                Ok((status, body)) => {
                    if status.is_success() {
                        parts.store.announce(&changes);
                    }
                    let consumed = consumed_capacity(&body);
                    (respond(status, JSON_1_0, body), consumed)
                }
                Err(error) => failed(error.to_string()),
            },
            Work::Records { body, stream } => match parts.store.call(headers, body).await {
                Ok((status, body)) => (
                    respond(status, JSON_1_0, parts.store.records_shown(body, &stream)),
                    None,
                ),
                Err(error) => failed(error.to_string()),
            },
            Work::Invoke(request) => match parts.functions.get() {
                Some(functions) => {
                    let invoke_api = InvokeApi {
                        functions: functions.clone(),
                        clock: parts.clock.clone(),
                        recording: parts.recording.clone(),
                    };
                    (invoke_api.answer(request).await, None)
                }
                None => failed("there are no functions yet".to_owned()),
            },
            Work::Publish(call) => match parts.topics.publish(&parts.queues, &call, parts.clock.now_ms()) {
                Ok(published) => {
                    self.record_publications(&call, &published);
                    let body = sns::answer(&call, &published, &Uuid::new_v4().to_string());
                    (respond(StatusCode::OK, XML, body.into()), None)
                }
                Err(refusal) => (service.refuse(&refusal), None),
            },
            Work::Secret(id) => (self.secret(&id), None),
            Work::Mail(mail) => match parts.mails.keep(&mail) {
                Ok(()) => (
                    json_answer(StatusCode::OK, JSON, &json!({"MessageId": mail.message_id})),
                    None,
                ),
                Err(error) => failed(error.to_string()),
            },
            Work::Connection(call) => match parts.connections.perform(call, parts.clock.now_ms()) {
                Ok((status, None)) => (respond(status, JSON, Bytes::new()), None),
                Ok((status, Some(body))) => (json_answer(status, JSON, &body), None),
                Err(refusal) => (service.refuse(&refusal), None),
            },
        }
    }

    fn secret(&self, id: &str) -> Response<Bytes> {
        let Some((secret, version)) = self.parts.secrets.find(id) else {
            let message = "Secrets Manager can't find the specified secret.";
            return Service::SecretsManager.refuse(&Refusal::new(400, "ResourceNotFoundException", message));
        };
        let value = json!({
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": version.id,
            "SecretString": version.value,
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": version.created_ms.div_euclid(1000),
        });
        json_answer(StatusCode::OK, JSON_1_1, &value)
    }

    /// The instance that makes a call: its name travels as session token.
    fn instance(&self, headers: &HeaderMap) -> Option<Arc<Instance>> {
        let instance = headers.get("x-amz-security-token")?.to_str().ok()?;
        self.parts.functions.get()?.instance(instance)
    }

    fn record_denial(&self, caller: &Caller, need: &Need) {
        self.record(
            "denied",
            Some(caller),
            json!({"action": need.action, "resource": need.resource}),
        );
    }

    fn record_publications(&self, call: &PublishCall, published: &[sns::Published]) {
        for published in published {
            let detail = match &published.outcome {
                Ok(id) => json!({
                    "topic": call.topic,
                    "message": id,
                    "queues": published.queues,
                    "discarded": published.discarded,
                }),
                Err(refusal) => json!({"topic": call.topic, "refused": refusal.message}),
            };
            self.record("publish", None, detail);
        }
    }

    fn record(&self, kind: &'static str, caller: Option<&Caller>, detail: Value) {
        let function = caller.map(|caller| caller.name().to_owned());
        self.parts.recording.event(Event {
            at_ms: self.parts.clock.now_ms(),
            kind,
            function,
            detail,
        });
    }
}

const JSON: &str = "application/json";
const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// A call that was understood.
struct Understood {
    target: String,
    resource: String,
    needs: Vec<Need>,
    work: Work,
}

/// What a call asks for.
enum Work {
    Store {
        body: Bytes,
        changes: BTreeSet<String>,
    },
    Publish(PublishCall),
    Secret(String),
    Mail(Mail),
    Connection(ManagementCall),
    /// Records of the stream of this ARN.
    Records {
        body: Bytes,
        stream: String,
    },
    Invoke(Request<Bytes>),
}

/// The services, which differ in how they say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    DynamoDb,
    Sns,
    SecretsManager,
    Ses,
    /// The management API of the WebSocket API.
    ExecuteApi,
    /// The Invoke API, as functions call it.
    Lambda,
}

impl Service {
    fn named(name: &str) -> Option<Self> {
        match name {
            "dynamodb" => Some(Self::DynamoDb),
            "sns" => Some(Self::Sns),
            "secretsmanager" => Some(Self::SecretsManager),
            "ses" => Some(Self::Ses),
            "execute-api" => Some(Self::ExecuteApi),
            "lambda" => Some(Self::Lambda),
            _ => None,
        }
    }

    fn denied(self, caller: &Caller, need: &Need) -> Refusal {
        let message = format!(
            "User: arn:aws:sts::000000000000:assumed-role/{0}/{0} is not authorized to perform: {1} on resource: {2} \
             because no identity-based policy allows the {1} action",
            caller.name(),
            need.action,
            need.resource
        );
        match self {
            Self::DynamoDb | Self::SecretsManager => Refusal::new(400, "AccessDeniedException", message),
            Self::Sns => Refusal::new(403, "AuthorizationError", message),
            Self::Ses | Self::Lambda => Refusal::new(403, "AccessDeniedException", message),
            Self::ExecuteApi => Refusal::new(403, "ForbiddenException", message),
        }
    }

    /// What the service says to who asks too often.
    fn throttled(self) -> Refusal {
        let message = "Rate exceeded";
        match self {
            Self::DynamoDb | Self::SecretsManager => Refusal::new(400, "ThrottlingException", message),
            Self::Sns => Refusal::new(429, "Throttled", message),
            Self::Ses | Self::Lambda => Refusal::new(429, "TooManyRequestsException", message),
            Self::ExecuteApi => Refusal::new(429, "LimitExceededException", message),
        }
    }

    fn unknown_caller(self, message: String) -> Refusal {
        match self {
            Self::DynamoDb | Self::SecretsManager => Refusal::new(400, "UnrecognizedClientException", message),
            Self::Sns => Refusal::new(403, "InvalidClientTokenId", message),
            Self::Ses | Self::ExecuteApi | Self::Lambda => Refusal::new(403, "UnrecognizedClientException", message),
        }
    }

    fn refuse(self, refusal: &Refusal) -> Response<Bytes> {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        let kind = |prefix: &str| json!({"__type": format!("{prefix}{}", refusal.code), "message": refusal.message});
        let mut response = match self {
            Self::DynamoDb => json_answer(status, JSON_1_0, &kind("com.amazon.coral.service#")),
            Self::SecretsManager => json_answer(status, JSON_1_1, &kind("")),
            Self::Ses | Self::ExecuteApi | Self::Lambda => {
                json_answer(status, JSON, &json!({"message": refusal.message}))
            }
            Self::Sns => respond(status, XML, sns::error(refusal, &Uuid::new_v4().to_string()).into()),
        };
        if matches!(self, Self::Ses | Self::ExecuteApi | Self::Lambda) {
            let name = HeaderName::from_static("x-amzn-errortype");
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(refusal.code));
        }
        response
    }
}

impl Sources {
    fn of(template: &Template) -> Result<Self, String> {
        let mut sources = Self {
            consumers: Vec::new(),
            mappings: Vec::new(),
            timetables: Vec::new(),
        };
        for function in template.functions.values() {
            for source in &function.sources {
                sources
                    .add(template, function, source)
                    .map_err(|reason| format!("{}: {reason}", function.logical_id))?;
            }
            let enabled = function.schedules.iter().filter(|schedule| schedule.enabled);
            sources.timetables.extend(enabled.map(|schedule| Timetable {
                function: function.logical_id.clone(),
                name: schedule.name.clone(),
                every: schedule.every,
                input: schedule.input.clone(),
            }));
        }
        Ok(sources)
    }
    fn add(&mut self, template: &Template, function: &Function, source: &EventSource) -> Result<(), String> {
        let known_queue = |arn: &String| {
            let known = template.queues.values().any(|queue| queue.arn == *arn);
            if known {
                Ok(())
            } else {
                Err(format!("there is no queue {arn}"))
            }
        };
        match source {
            EventSource::Queue {
                queue_arn,
                batch_size,
                report_batch_item_failures,
                maximum_concurrency,
            } => {
                known_queue(queue_arn)?;
                self.consumers.push(Consumer {
                    function: function.logical_id.clone(),
                    queue: queue_arn.clone(),
                    batch_size: *batch_size,
                    report_batch_item_failures: *report_batch_item_failures,
                    maximum_concurrency: *maximum_concurrency,
                });
            }
            EventSource::Stream {
                stream_arn,
                batch_size,
                maximum_retry_attempts,
                bisect_batch_on_function_error,
                report_batch_item_failures,
                on_failure,
                filters,
            } => {
                on_failure.iter().try_for_each(known_queue)?;
                let table = template
                    .tables
                    .values()
                    .find(|table| table.stream_arn.as_ref() == Some(stream_arn))
                    .ok_or_else(|| format!("there is no stream {stream_arn}"))?;
                let filters = filters.iter().map(|filter| {
                    let filter = serde_json::from_str(filter).map_err(|error| error.to_string())?;
                    Pattern::parse(&filter)
                });
                self.mappings.push(Mapping {
                    function: function.logical_id.clone(),
                    table: table.name.clone(),
                    stream: stream_arn.clone(),
                    batch_size: *batch_size,
                    retries: Retries {
                        most: *maximum_retry_attempts,
                        bisect: *bisect_batch_on_function_error,
                    },
                    report_batch_item_failures: *report_batch_item_failures,
                    on_failure: on_failure.clone(),
                    filters: filters.collect::<Result<_, _>>()?,
                });
            }
        }
        Ok(())
    }
}

/// What the store says that a call consumed, if it was asked.
fn consumed_capacity(answer: &[u8]) -> Option<Value> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(rename = "ConsumedCapacity")]
        consumed: Option<Value>,
    }
    serde_json::from_slice::<Answer>(answer).ok()?.consumed
}

fn json_answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response<Bytes> {
    respond(status, content_type, body.to_string().into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let id = HeaderValue::try_from(Uuid::new_v4().to_string());
    response
        .headers_mut()
        .extend(id.ok().map(|id| (HeaderName::from_static("x-amzn-requestid"), id)));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::template::model::{GenerateSecret, Queue, Secret, Statement, Subscription, Table, Topic};

    const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:order-events";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
    const SECRET: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:key-abcdef";
    const STREAM: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1";

    struct World {
        endpoint: AwsEndpoint,
        recording: Recording,
        _data: tempfile::TempDir,
    }

    fn template() -> Template {
        let statement = |action: &str, resource: &str| Statement {
            allow: true,
            actions: vec![action.to_owned()],
            resources: vec![resource.to_owned()],
        };
        let function = Function {
            logical_id: "CreateOrderFunction".to_owned(),
            name: "create-order".to_owned(),
            binary: "create-order".to_owned(),
            code_uri: String::new(),
            timeout: Duration::from_secs(5),
            memory_mb: 128,
            environment: BTreeMap::new(),
            statements: vec![
                statement("dynamodb:PutItem", &dynamodb::access::table_arn("orders")),
                statement("sns:Publish", TOPIC),
                statement("secretsmanager:GetSecretValue", SECRET),
                statement("ses:SendEmail", "arn:aws:ses:us-east-1:000000000000:identity/cfmp.test"),
            ],
            sources: Vec::new(),
            schedules: Vec::new(),
            reserved_concurrency: None,
        };
        let table = Table {
            logical_id: "OrdersTable".to_owned(),
            name: "orders".to_owned(),
            arn: dynamodb::access::table_arn("orders"),
            stream_arn: Some(STREAM.to_owned()),
            definition: json!({
                "TableName": "orders",
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            }),
            ttl_attribute: None,
        };
        let topic = Topic {
            logical_id: "Topic".to_owned(),
            name: "order-events".to_owned(),
            arn: TOPIC.to_owned(),
        };
        let queue = Queue {
            logical_id: "Queue".to_owned(),
            name: "orders".to_owned(),
            arn: QUEUE.to_owned(),
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(3600),
            redrive: None,
        };
        let secret = Secret {
            logical_id: "Key".to_owned(),
            name: "key".to_owned(),
            arn: SECRET.to_owned(),
            generate: Some(GenerateSecret {
                template: None,
                key: None,
                length: 32,
            }),
            value: None,
        };
        let subscription = Subscription {
            logical_id: "Subscription".to_owned(),
            topic_arn: TOPIC.to_owned(),
            queue_arn: QUEUE.to_owned(),
            raw: true,
            filter_policy: None,
            filter_on_body: false,
            dead_letter_arn: None,
        };
        Template {
            functions: BTreeMap::from([(function.logical_id.clone(), function)]),
            tables: BTreeMap::from([(table.logical_id.clone(), table)]),
            topics: BTreeMap::from([(topic.logical_id.clone(), topic)]),
            queues: BTreeMap::from([(queue.logical_id.clone(), queue)]),
            secrets: BTreeMap::from([(secret.logical_id.clone(), secret)]),
            subscriptions: vec![subscription],
            ..Template::default()
        }
    }

    fn world() -> World {
        let data = tempfile::tempdir().unwrap();
        let clock = PlatformClock::open(data.path().join("clock")).unwrap();
        let recording = Recording::default();
        let endpoint = AwsEndpoint::open(
            data.path(),
            Durability::Forgotten,
            &template(),
            clock,
            recording.clone(),
            Faults::default(),
        )
        .unwrap();
        World {
            endpoint,
            recording,
            _data: data,
        }
    }

    impl World {
        async fn call(&self, caller: &str, service: &str, target: &str, body: impl Into<Bytes>) -> (u16, String) {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential={caller}/20260131/us-east-1/{service}/aws4_request, \
                 SignedHeaders=host, Signature=00"
            );
            let path = if service == "ses" {
                "/v2/email/outbound-emails"
            } else {
                "/"
            };
            let request = Request::post(path)
                .header("authorization", authorization)
                .header("content-type", JSON_1_0)
                .header("x-amz-date", "20260131T000000Z")
                .header("x-amz-target", target)
                .body(body.into())
                .unwrap();
            let response = self.endpoint.answer(request).await;
            (
                response.status().as_u16(),
                String::from_utf8_lossy(response.body()).into_owned(),
            )
        }

        async fn dynamodb(&self, caller: &str, operation: &str, body: Value) -> (u16, String) {
            self.call(
                caller,
                "dynamodb",
                &format!("DynamoDB_20120810.{operation}"),
                body.to_string(),
            )
            .await
        }
    }

    #[tokio::test]
    async fn an_allowed_call_reaches_the_store_and_is_recorded_with_what_it_consumed() {
        let world = world();
        let mut writes = world.endpoint.store().writes("orders").unwrap();
        let put = json!({"TableName": "orders", "Item": {"id": {"S": "1"}}, "ReturnConsumedCapacity": "TOTAL"});
        let (status, body) = world.dynamodb("CreateOrderFunction", "PutItem", put).await;
        assert_eq!(status, 200, "{body}");
        assert!(writes.has_changed().unwrap());
        writes.mark_unchanged();

        let calls = world.recording.calls(|_| true);
        let call = &calls[0].entry;
        assert_eq!((call.target.as_str(), call.status), ("dynamodb:PutItem", 200));
        assert_eq!(call.resource, dynamodb::access::table_arn("orders"));
        assert_eq!(call.consumed.as_ref().unwrap()["TableName"], "orders");
    }

    #[tokio::test]
    async fn a_call_without_permission_is_denied_and_recorded() {
        let world = world();
        let get = json!({"TableName": "orders", "Key": {"id": {"S": "1"}}});
        let (status, body) = world.dynamodb("CreateOrderFunction", "GetItem", get.clone()).await;
        assert_eq!(status, 400);
        assert!(
            body.contains("AccessDeniedException") && body.contains("dynamodb:GetItem"),
            "{body}"
        );
        assert_eq!(world.recording.events(|event| event.entry.kind == "denied").len(), 1);

        let (status, _) = world.dynamodb(permissions::OPERATOR, "GetItem", get.clone()).await;
        assert_eq!(status, 200);
        let (status, body) = world.dynamodb("NobodyFunction", "GetItem", get).await;
        assert!(status == 400 && body.contains("UnrecognizedClientException"), "{body}");
    }

    #[tokio::test]
    async fn a_published_message_is_in_the_queue_when_the_call_is_answered() {
        let world = world();
        let form = |topic: &str| {
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("Action", "Publish"), ("TopicArn", topic), ("Message", "paid")])
                .finish()
        };
        let (status, body) = world.call("CreateOrderFunction", "sns", "", form(TOPIC)).await;
        assert!(status == 200 && body.contains("<MessageId>"), "{body}");
        let queued = world.endpoint.queues().peek(QUEUE, 10).unwrap();
        assert_eq!(
            queued.into_iter().map(|message| message.body).collect::<Vec<_>>(),
            ["paid"]
        );

        let (status, body) = world
            .call("CreateOrderFunction", "sns", "", form("arn:aws:sns:::other"))
            .await;
        assert!(
            status == 403 && body.contains("<Code>AuthorizationError</Code>"),
            "{body}"
        );
        let (status, body) = world
            .call(permissions::OPERATOR, "sns", "", form("arn:aws:sns:::other"))
            .await;
        assert!(status == 404 && body.contains("<Code>NotFound</Code>"), "{body}");
    }

    #[tokio::test]
    async fn secrets_are_read_by_arn() {
        let world = world();
        let target = "secretsmanager.GetSecretValue";
        let ask = |id: &str| json!({"SecretId": id}).to_string();
        let (status, body) = world
            .call("CreateOrderFunction", "secretsmanager", target, ask(SECRET))
            .await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["SecretString"].as_str(), world.endpoint.secrets().value("Key"));
        let (status, body) = world
            .call(permissions::OPERATOR, "secretsmanager", target, ask("none"))
            .await;
        assert!(status == 400 && body.contains("ResourceNotFoundException"), "{body}");
    }

    #[tokio::test]
    async fn mails_are_kept_and_need_the_senders_identity() {
        let world = world();
        let mail = |from: &str| {
            json!({
                "FromEmailAddress": from,
                "Destination": {"ToAddresses": ["buyer@cfmp.test"]},
                "Content": {"Simple": {"Subject": {"Data": "Code"}, "Body": {"Text": {"Data": "123456"}}}}
            })
            .to_string()
        };
        let (status, body) = world
            .call("CreateOrderFunction", "ses", "", mail("no-reply@cfmp.test"))
            .await;
        assert!(status == 200 && body.contains("MessageId"), "{body}");
        let (status, _) = world
            .call("CreateOrderFunction", "ses", "", mail("no-reply@elsewhere.test"))
            .await;
        assert_eq!(status, 403);
        assert_eq!(world.endpoint.mails().unwrap().len(), 1);
    }

    #[test]
    fn a_source_that_does_not_exist_is_refused_with_its_function() {
        let mut template = template();
        let function = template.functions.get_mut("CreateOrderFunction").unwrap();
        function.sources.push(EventSource::Queue {
            queue_arn: "arn:none".to_owned(),
            batch_size: 10,
            report_batch_item_failures: true,
            maximum_concurrency: None,
        });
        let error = Sources::of(&template).unwrap_err();
        assert!(
            error.starts_with("CreateOrderFunction: ") && error.contains("arn:none"),
            "{error}"
        );
    }
}
