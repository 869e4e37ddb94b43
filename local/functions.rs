//! The deployed functions: who calls one gets an instance of it, one invocation at a time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::clock::PlatformClock;
use crate::logs::Logs;
use crate::recording::{Event, Recording};
use crate::template::model::{Function, Template};
use guard::Guard;
pub(crate) use instance::{Instance, Job, Reply, Report};

mod guard;
mod instance;

/// Instances of one function at a time, where the template does not reserve another number.
const INSTANCES: usize = 8;
/// How long a process may take until it asks for its first invocation. Lambda allows 10 s; a debug build on a busy
/// laptop is slower.
const INIT_LIMIT: Duration = Duration::from_secs(30);
/// Lambda's limit on what a function answers.
pub(crate) const PAYLOAD_LIMIT: usize = 6_291_556;

/// What an invocation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Answered(Bytes),
    /// The function reported an error, or could not be started.
    Failed {
        /// `errorType` of the report.
        error_type: String,
        /// `errorMessage` of the report.
        message: String,
    },
    /// The function's time ran out; its instance was killed.
    TimedOut,
    /// The process ended before it answered.
    Crashed,
}

impl Outcome {
    fn kind(&self) -> &'static str {
        match self {
            Outcome::Answered(_) => "answered",
            Outcome::Failed { .. } => "failed",
            Outcome::TimedOut => "timed-out",
            Outcome::Crashed => "crashed",
        }
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Outcome {
        Outcome::Failed {
            error_type: report.error_type,
            message: report.message,
        }
    }
}

/// What started an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A request to the HTTP API, with its route key.
    Http(String),
    /// The Invoke API.
    Invoke,
    /// Messages of a queue, with its name.
    Queue(String),
    /// Records of a table's stream, with the table's name.
    Stream(String),
    /// A schedule, with its name in the template.
    Schedule(String),
    /// A connection of the WebSocket API, with the route key.
    Socket(String),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Http(route) => write!(f, "http {route}"),
            Trigger::Invoke => write!(f, "invoke"),
            Trigger::Queue(name) => write!(f, "queue {name}"),
            Trigger::Stream(table) => write!(f, "stream {table}"),
            Trigger::Schedule(name) => write!(f, "schedule {name}"),
            Trigger::Socket(route) => write!(f, "websocket {route}"),
        }
    }
}

/// An invocation in all its particulars.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) payload: Bytes,
    pub(crate) trigger: Trigger,
    /// Lambda's request id.
    pub(crate) request_id: String,
    /// `X-Amzn-Trace-Id`.
    pub(crate) trace_id: String,
    /// Client context of the Invoke API, as JSON text.
    pub(crate) client_context: Option<String>,
}

impl Invocation {
    pub(crate) fn new(payload: Bytes, trigger: Trigger, clock: &PlatformClock) -> Invocation {
        Invocation {
            payload,
            trigger,
            request_id: Uuid::new_v4().to_string(),
            trace_id: trace_id(clock),
            client_context: None,
        }
    }
}

/// A new trace in the form of X-Ray.
pub(crate) fn trace_id(clock: &PlatformClock) -> String {
    let random = Uuid::new_v4().simple().to_string();
    let parent = Uuid::new_v4().simple().to_string();
    let (root, parent) = (
        random.get(..24).unwrap_or_default(),
        parent.get(..16).unwrap_or_default(),
    );
    format!("Root=1-{:08x}-{root};Parent={parent};Sampled=1", clock.now_ms() / 1000)
}

/// The functions of one platform. Clones share them.
#[derive(Debug, Clone)]
pub struct Functions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    template: Arc<Template>,
    base_url: String,
    binaries: BTreeMap<String, PathBuf>,
    clock: PlatformClock,
    recording: Recording,
    logs: Logs,
    guard: Arc<Guard>,
    pools: BTreeMap<String, Pool>,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
    started: AtomicUsize,
    running: AtomicUsize,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Pool {
    places: Semaphore,
    idle: Mutex<Vec<Arc<Instance>>>,
}

/// What the functions of a platform are made of.
pub(crate) struct Deployment {
    pub(crate) template: Arc<Template>,
    pub(crate) base_url: String,
    /// Executables by the names of the binaries.
    pub(crate) binaries: BTreeMap<String, PathBuf>,
    pub(crate) clock: PlatformClock,
    pub(crate) recording: Recording,
    pub(crate) logs: Logs,
}

impl Functions {
    pub(crate) fn deploy(deployment: Deployment) -> io::Result<Functions> {
        let pools = deployment
            .template
            .functions
            .values()
            .map(|function| {
                let places = function
                    .reserved_concurrency
                    .and_then(|reserved| usize::try_from(reserved).ok())
                    .map_or(INSTANCES, |reserved| reserved.min(INSTANCES));
                (
                    function.logical_id.clone(),
                    Pool {
                        places: Semaphore::new(places),
                        idle: Mutex::default(),
                    },
                )
            })
            .collect();
        Ok(Functions {
            shared: Arc::new(Shared {
                template: deployment.template,
                base_url: deployment.base_url,
                binaries: deployment.binaries,
                clock: deployment.clock,
                recording: deployment.recording,
                logs: deployment.logs,
                guard: Arc::new(Guard::start()?),
                pools,
                instances: Mutex::default(),
                started: AtomicUsize::new(0),
                running: AtomicUsize::new(0),
                stopping: AtomicBool::new(false),
            }),
        })
    }

    /// Invokes a function and waits for what comes of it. Cancelling the wait does not cancel the invocation.
    pub async fn invoke(&self, logical_id: &str, payload: Bytes, trigger: Trigger) -> Outcome {
        self.run(logical_id, Invocation::new(payload, trigger, &self.shared.clock))
            .await
    }

    pub(crate) async fn run(&self, logical_id: &str, invocation: Invocation) -> Outcome {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.shared));
        let logical_id = logical_id.to_owned();
        let task = tokio::spawn(async move {
            let shared = &running.0;
            match (
                shared.template.functions.get(&logical_id),
                shared.pools.get(&logical_id),
            ) {
                (Some(function), Some(pool)) => shared.carry_out(function, pool, invocation).await,
                _ => Outcome::Failed {
                    error_type: "ResourceNotFoundException".to_owned(),
                    message: format!("there is no function {logical_id}"),
                },
            }
        });
        task.await.unwrap_or(Outcome::Crashed)
    }

    /// ARN of the function with this logical id.
    #[must_use]
    pub fn arn(&self, logical_id: &str) -> Option<String> {
        let function = self.shared.template.functions.get(logical_id)?;
        Some(format!(
            "arn:aws:lambda:us-east-1:000000000000:function:{}",
            function.name
        ))
    }

    /// Invocations that were asked for and have not come to an end.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::SeqCst)
    }

    /// The logical id of the function that answers to `name`: a logical id, a function name, a binary or an ARN.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&str> {
        let name = match name.split_once(":function:") {
            Some((_, rest)) => rest,
            None => name,
        };
        let name = name.split(':').next().unwrap_or(name);
        let functions = &self.shared.template.functions;
        functions
            .values()
            .find(|function| function.logical_id == name || function.name == name || function.binary == name)
            .map(|function| function.logical_id.as_str())
    }

    /// The instance of this name. Functions send it as the session token of their AWS credentials.
    pub(crate) fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        self.shared.instances().get(id).cloned()
    }

    /// The instances of a function that are busy with an invocation.
    pub(crate) fn busy(&self, logical_id: &str) -> Vec<Arc<Instance>> {
        let Some(function) = self.shared.template.functions.get(logical_id) else {
            return Vec::new();
        };
        let is_of = |instance: &&Arc<Instance>| {
            let binary = instance.id.rsplit_once('-').map(|(binary, _)| binary);
            binary == Some(function.binary.as_str()) && instance.current().is_some()
        };
        self.shared.instances().values().filter(is_of).cloned().collect()
    }

    /// Ends every process without waiting for it.
    pub(crate) fn kill(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for instance in self.shared.instances().values() {
            instance.kill();
        }
    }

    /// Ends every process.
    pub(crate) async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for pool in self.shared.pools.values() {
            pool.places.close();
        }
        let instances: Vec<_> = self.shared.instances().drain().map(|(_, instance)| instance).collect();
        futures::future::join_all(instances.iter().map(|instance| instance.stop())).await;
    }
}

/// Counts an invocation for as long as it exists.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How far an invocation got with one instance.
enum Course {
    /// It came to an end; the instance may be used again, or not.
    Ended(Outcome, bool),
    /// The process had ended before it took the job.
    NotTaken,
}

impl Shared {
    fn instances(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(&self, function: &Function, pool: &Pool, invocation: Invocation) -> Outcome {
        let Ok(_place) = pool.places.acquire().await else {
            return stopping().into();
        };
        let began = Instant::now();
        let started_at = self.clock.now_ms();
        let mut cold = false;
        let outcome = loop {
            let instance = match self.idle_instance(function, pool) {
                Some(instance) => instance,
                None => {
                    cold = true;
                    match self.start_instance(function) {
                        Ok(instance) => instance,
                        Err(report) => break report.into(),
                    }
                }
            };
            match drive(&instance, function, &invocation).await {
                Course::Ended(outcome, true) => {
                    pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
                    break outcome;
                }
                Course::Ended(outcome, false) => {
                    self.discard(&instance);
                    break outcome;
                }
                Course::NotTaken => {
                    self.discard(&instance);
                    if cold {
                        break instance.init_error().map_or(Outcome::Crashed, Outcome::from);
                    }
                }
            }
        };
        let message = match &outcome {
            Outcome::Failed { error_type, message } => Some(format!("{error_type}: {message}")),
            Outcome::Answered(_) | Outcome::TimedOut | Outcome::Crashed => None,
        };
        self.recording.event(Event {
            at_ms: self.clock.now_ms(),
            kind: "invocation",
            function: Some(function.logical_id.clone()),
            detail: json!({
                "request_id": invocation.request_id,
                "trigger": invocation.trigger.to_string(),
                "outcome": outcome.kind(),
                "error": message,
                "started_at_ms": started_at,
                "duration_us": u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                "cold": cold,
            }),
        });
        outcome
    }

    fn idle_instance(&self, function: &Function, pool: &Pool) -> Option<Arc<Instance>> {
        let binary = self.binaries.get(&function.binary)?;
        loop {
            let instance = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if instance.is_current(binary) {
                return Some(instance);
            }
            self.discard(&instance);
        }
    }

    /// Forgets an instance and ends its process, if it has not ended.
    fn discard(&self, instance: &Arc<Instance>) {
        self.instances().remove(&instance.id);
        instance.kill();
    }

    fn start_instance(&self, function: &Function) -> Result<Arc<Instance>, Report> {
        let binary = self.binaries.get(&function.binary).ok_or_else(|| Report {
            error_type: "Runtime.InvalidEntrypoint".to_owned(),
            message: format!(
                "{} names the binary {}, which cargo did not build",
                function.logical_id, function.binary
            ),
        })?;
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", function.binary);
        let start = instance::Start {
            environment: self.environment(function, &id),
            function: &function.logical_id,
            binary,
            guard: Arc::clone(&self.guard),
            logs: self.logs.clone(),
            clock: self.clock.clone(),
        };
        let (instance, life) = Instance::announce(id, binary);
        let instance = Arc::new(instance);
        self.instances().insert(instance.id.clone(), Arc::clone(&instance));
        // Either this sees that the platform is stopping, or who stops it sees the instance.
        let refused = if self.stopping.load(Ordering::SeqCst) {
            Some(stopping())
        } else {
            life.begin(&start).err().map(|error| Report {
                error_type: "Runtime.InvalidEntrypoint".to_owned(),
                message: format!("{}: {error}", binary.display()),
            })
        };
        match refused {
            None => Ok(instance),
            Some(report) => {
                self.instances().remove(&instance.id);
                Err(report)
            }
        }
    }

    /// A function sees what Lambda would show it and nothing of the developer's own environment.
    fn environment(&self, function: &Function, instance: &str) -> BTreeMap<String, String> {
        let mut environment = function.environment.clone();
        for passed in ["RUST_BACKTRACE", "LLVM_PROFILE_FILE"] {
            if let Ok(value) = std::env::var(passed) {
                environment.entry(passed.to_owned()).or_insert(value);
            }
        }
        let root = &self.base_url;
        let fixed = [
            ("AWS_LAMBDA_RUNTIME_API", format!("{root}/_runtime/{instance}")),
            ("AWS_ENDPOINT_URL", root.clone()),
            ("AWS_ACCESS_KEY_ID", function.logical_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_SESSION_TOKEN", instance.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", instance.to_owned()),
            ("CLOCK_OFFSET_FILE", self.clock.offset_file().display().to_string()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("TZ", ":UTC".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
        ];
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        environment
    }
}

fn stopping() -> Report {
    Report {
        error_type: "ServiceUnavailable".to_owned(),
        message: "the platform is stopping".to_owned(),
    }
}

async fn drive(instance: &Instance, function: &Function, invocation: &Invocation) -> Course {
    let (taken, mut was_taken) = oneshot::channel();
    let (reply, replied) = oneshot::channel();
    let job = Job {
        request_id: invocation.request_id.clone(),
        payload: invocation.payload.clone(),
        function_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{}", function.name),
        timeout: function.timeout,
        trace_id: invocation.trace_id.clone(),
        client_context: invocation.client_context.clone(),
        taken,
        reply,
    };
    if instance.jobs.send(job).await.is_err() {
        return Course::NotTaken;
    }
    let mut exited = instance.exited.clone();
    tokio::select! {
        biased;
        Ok(()) = &mut was_taken => {}
        _ = exited.wait_for(|gone| *gone) => {
            // It may have taken the job in its last moment.
            if was_taken.try_recv().is_err() {
                return Course::NotTaken;
            }
        }
        () = tokio::time::sleep(INIT_LIMIT) => {
            let report = Report {
                error_type: "Sandbox.Timedout".to_owned(),
                message: format!("no request for work within {} s", INIT_LIMIT.as_secs()),
            };
            return Course::Ended(report.into(), false);
        }
    }
    tokio::select! {
        biased;
        reply = replied => match reply {
            Ok(Reply::Answer(answer)) => Course::Ended(Outcome::Answered(answer), true),
            Ok(Reply::Error(report)) => Course::Ended(report.into(), true),
            // The process asked for more work without having answered.
            Err(_) => Course::Ended(Outcome::Crashed, false),
        },
        _ = exited.wait_for(|gone| *gone) => Course::Ended(Outcome::Crashed, false),
        () = tokio::time::sleep(function.timeout) => Course::Ended(Outcome::TimedOut, false),
    }
}
