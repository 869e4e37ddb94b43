//! What the local platform knows about a deployment after `template.yaml` was read, with every intrinsic resolved.
//!
//! Names are physical ones where AWS would use physical ones (table, topic and queue names) and logical ids where the
//! template's reader would look for them (functions). ARNs are those of region `us-east-1`, account `000000000000`.

use std::collections::BTreeMap;
use std::time::Duration;

/// The whole deployment.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// Every Lambda function by logical id.
    pub functions: BTreeMap<String, Function>,
    /// Routes of the HTTP API, in the order of the template.
    pub routes: Vec<Route>,
    /// CORS settings of the HTTP API, if any.
    pub cors: Option<Cors>,
    /// The WebSocket API, if there is one.
    pub sockets: Option<SocketApi>,
    /// DynamoDB tables by logical id.
    pub tables: BTreeMap<String, Table>,
    /// SNS topics by logical id.
    pub topics: BTreeMap<String, Topic>,
    /// SNS -> SQS subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// SQS queues by logical id.
    pub queues: BTreeMap<String, Queue>,
    /// Secrets Manager secrets by logical id.
    pub secrets: BTreeMap<String, Secret>,
    /// What roles of their own may do, by logical id: those that state it, for who is no function.
    pub roles: BTreeMap<String, Vec<Statement>>,
}

/// One Lambda function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Logical id, e.g. `CreateOrderFunction`.
    pub logical_id: String,
    /// Name that the Invoke API answers to besides the logical id and the binary's name.
    pub name: String,
    /// Cargo binary, e.g. `create-order`.
    pub binary: String,
    /// `CodeUri`: folder of the service's crate.
    pub code_uri: String,
    /// Time limit of one invocation.
    pub timeout: Duration,
    /// Memory in MB.
    pub memory_mb: u32,
    /// Environment of the function as the template states it.
    pub environment: BTreeMap<String, String>,
    /// What the function may do.
    pub statements: Vec<Statement>,
    /// Streams and queues that feed the function.
    pub sources: Vec<EventSource>,
    /// Schedules that start it.
    pub schedules: Vec<Schedule>,
    /// `ReservedConcurrentExecutions`, if stated.
    pub reserved_concurrency: Option<u32>,
}

/// One IAM statement; wildcards are kept as written.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `Allow` when true, `Deny` otherwise.
    pub allow: bool,
    /// Actions, e.g. `dynamodb:GetItem`.
    pub actions: Vec<String>,
    /// Resource ARNs.
    pub resources: Vec<String>,
}

/// An event source mapping.
#[derive(Debug, Clone)]
pub enum EventSource {
    /// A DynamoDB stream.
    Stream {
        /// ARN of the table's stream.
        stream_arn: String,
        /// Records per invocation at most.
        batch_size: usize,
        /// Retries of a failing batch before it is given up.
        maximum_retry_attempts: u32,
        /// Halve a failing batch.
        bisect_batch_on_function_error: bool,
        /// `ReportBatchItemFailures` is set.
        report_batch_item_failures: bool,
        /// ARN of the queue that learns of abandoned batches.
        on_failure: Option<String>,
        /// `FilterCriteria` patterns (JSON texts), any of which lets a record through; empty: all pass.
        filters: Vec<String>,
    },
    /// An SQS queue.
    Queue {
        /// ARN of the queue.
        queue_arn: String,
        /// Messages per invocation at most.
        batch_size: usize,
        /// `ReportBatchItemFailures` is set.
        report_batch_item_failures: bool,
        /// `ScalingConfig.MaximumConcurrency`, if stated.
        maximum_concurrency: Option<u32>,
    },
}

/// A schedule of EventBridge Scheduler.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Name of the event in the template.
    pub name: String,
    /// `rate(...)` as a period. Other expressions are refused when the template is read.
    pub every: Duration,
    /// Payload; `None` is the scheduler's default event.
    pub input: Option<String>,
    /// `State: ENABLED`.
    pub enabled: bool,
}

/// One route key of the HTTP API.
#[derive(Debug, Clone)]
pub struct Route {
    /// `GET`, ... or `ANY`; `$default` has `ANY` and the path `$default`.
    pub method: String,
    /// Path with `{parameters}`, slash-less, or `$default`.
    pub path: String,
    /// Logical id of the function.
    pub function: String,
}

/// The WebSocket API.
#[derive(Debug, Clone)]
pub struct SocketApi {
    /// Logical id, which is its API id as well.
    pub logical_id: String,
    /// Name of its stage: the path at which clients connect, without the slash.
    pub stage: String,
    /// Member of a message's body that names the route.
    pub selected_by: String,
    /// Its routes by key: `$connect`, `$disconnect`, `$default` or what a message names.
    pub routes: BTreeMap<String, SocketRoute>,
}

/// A route of the WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketRoute {
    /// Logical id of the function.
    pub function: String,
    /// Whether what the function answers goes to the client.
    pub answers: bool,
}

/// CORS of the HTTP API.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// `AllowOrigins`.
    pub allow_origins: Vec<String>,
    /// `AllowMethods`.
    pub allow_methods: Vec<String>,
    /// `AllowHeaders`.
    pub allow_headers: Vec<String>,
    /// `ExposeHeaders`.
    pub expose_headers: Vec<String>,
    /// `AllowCredentials`.
    pub allow_credentials: bool,
    /// `MaxAge` in seconds.
    pub max_age: Option<u64>,
}

/// A DynamoDB table: `definition` is the body of the CreateTable call, as JSON.
#[derive(Debug, Clone)]
pub struct Table {
    /// Logical id.
    pub logical_id: String,
    /// Physical name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// ARN of its stream, when it has one.
    pub stream_arn: Option<String>,
    /// The CreateTable request.
    pub definition: serde_json::Value,
    /// Attribute of `TimeToLiveSpecification`, when enabled.
    pub ttl_attribute: Option<String>,
}

/// An SNS topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Logical id.
    pub logical_id: String,
    /// Physical name.
    pub name: String,
    /// ARN.
    pub arn: String,
}

/// A subscription of a queue to a topic.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Logical id.
    pub logical_id: String,
    /// ARN of the topic.
    pub topic_arn: String,
    /// ARN of the queue.
    pub queue_arn: String,
    /// `RawMessageDelivery`.
    pub raw: bool,
    /// `FilterPolicy` over message attributes, or over the body where `filter_on_body`.
    pub filter_policy: Option<serde_json::Value>,
    /// `FilterPolicyScope: MessageBody`.
    pub filter_on_body: bool,
    /// ARN of the queue for messages that could not be delivered.
    pub dead_letter_arn: Option<String>,
}

/// An SQS queue.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Logical id.
    pub logical_id: String,
    /// Physical name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Visibility timeout.
    pub visibility_timeout: Duration,
    /// Delay of every message.
    pub delay: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// ARN of the dead-letter queue and receives before a message goes there.
    pub redrive: Option<(String, u32)>,
}

/// A secret: what Secrets Manager would generate for it on first deployment.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Logical id.
    pub logical_id: String,
    /// Physical name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// `GenerateSecretString`: template JSON and the key that receives the random text, if both are stated.
    pub generate: Option<GenerateSecret>,
    /// `SecretString`, if it is stated instead.
    pub value: Option<String>,
}

/// `GenerateSecretString`.
#[derive(Debug, Clone)]
pub struct GenerateSecret {
    /// `SecretStringTemplate`.
    pub template: Option<String>,
    /// `GenerateStringKey`.
    pub key: Option<String>,
    /// `PasswordLength`.
    pub length: usize,
}
