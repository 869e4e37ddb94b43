//! CFMP's local platform: the whole serverless system on one machine, driven by `template.yaml`.
//!
//! The functions are the same binaries as on AWS, fed through the real Lambda Runtime API. [`Platform::start`] with
//! [`Options::test`] starts a system of its own on a free port; several run side by side.

pub mod aws;
pub mod books;
pub mod buyer;
pub mod cargo_build;
pub mod clock;
pub mod dead_letters;
mod demo;
pub mod faults;
pub mod functions;
mod http_api;
mod invoke_api;
mod local_api;
pub mod logs;
pub mod mutants;
pub mod openapi;
pub mod operator;
pub mod proof;
pub mod purchases;
pub mod recording;
mod runtime_api;
mod server;
pub mod simulator;
pub mod soak;
pub mod template;
pub mod turns;
mod websocket_api;

use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::aws::deliveries::{Deliveries, Pending};
use crate::aws::storage::Durability;
use crate::aws::{AwsEndpoint, AwsError};
use crate::cargo_build::{Binaries, BuildError, Profile};
use crate::clock::PlatformClock;
use crate::dead_letters::{DeadLetter, Unreadable};
use crate::demo::DemoError;
use crate::faults::Faults;
use crate::functions::{Deployment, Functions};
use crate::http_api::HttpApi;
use crate::invoke_api::InvokeApi;
use crate::local_api::{LocalApi, Work};
use crate::logs::Logs;
use crate::recording::Recording;
use crate::runtime_api::RuntimeApi;
use crate::server::Services;
use crate::simulator::{Place, Setup, Simulator, SimulatorError};
use crate::template::TemplateError;
use crate::template::model::Template;
use crate::websocket_api::WebSocketApi;

/// What a platform is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port on 127.0.0.1; 0 is any free one.
    pub port: u16,
    /// Where the data is kept.
    pub data: Data,
    /// The template.
    pub template: PathBuf,
    /// Where the functions come from.
    pub functions: Source,
    /// Whether the deployed front's folding of trailing slashes is done.
    pub edge: bool,
    /// Who plays the payment providers.
    pub providers: Providers,
    /// Whether the merchant works with certificates at the simulated Alipay, instead of bare keys.
    pub alipay_certificates: bool,
    /// Whether there is the role with which `migrate` writes.
    pub migration: bool,
    /// Whether an empty store gets accounts and products to play with.
    pub demo: bool,
    /// Whether the functions' logs are shown on stderr.
    pub show_logs: bool,
}

/// Where data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In this folder, which is created if it is missing.
    Folder(PathBuf),
    /// Nowhere: it goes with the platform.
    Memory,
}

/// Who plays the payment providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Providers {
    /// The built-in sandbox, for every way to pay.
    #[default]
    Sandbox,
    /// A simulator of Alipay and WeChat Pay, with their protocols.
    Simulated,
}

/// Where functions come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// Cargo builds the workspace, with the profile of the platform itself.
    #[default]
    Cargo,
    /// They were built already.
    Built(Binaries),
}

impl Options {
    /// A platform for one test: any free port, nothing kept, no demo, the workspace's own template. With `CFMP_SHOW_LOGS`
    /// in the environment the functions' logs are shown, which helps with a test that fails.
    #[must_use]
    pub fn test() -> Options {
        Options {
            port: 0,
            data: Data::Memory,
            template: root().join("template.yaml"),
            functions: Source::Cargo,
            edge: true,
            providers: Providers::Sandbox,
            alipay_certificates: false,
            migration: false,
            demo: false,
            show_logs: std::env::var_os("CFMP_SHOW_LOGS").is_some(),
        }
    }

    /// The same with simulated providers.
    #[must_use]
    pub fn simulated() -> Options {
        Options {
            providers: Providers::Simulated,
            ..Options::test()
        }
    }
}

/// The workspace that the platform was compiled in.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Why a platform did not start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port belongs to someone else.
    #[error("port {port} can not be used: {source}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The data can not be kept where it should.
    #[error("{}: the data can not be kept there: {source}", folder.display())]
    Data {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another platform works with the same data.
    #[error("{}: another platform is running on this data", .0.display())]
    DataInUse(PathBuf),
    /// The template was refused.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The functions were not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The template names binaries that do not exist.
    #[error("template: {function} names the binary {binary}, which is not in the workspace")]
    NoSuchBinary {
        /// Logical id.
        function: String,
        /// The name.
        binary: String,
    },
    /// The tables, queues or secrets can not be provided.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The functions can not be run.
    #[error("the functions can not be run: {0}")]
    Functions(io::Error),
    /// The payment providers can not be simulated.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    /// The demo could not be set up.
    #[error("the demo could not be set up: {0}; --no-demo starts without it")]
    Demo(#[from] DemoError),
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    base_url: String,
    template: Arc<Template>,
    clock: PlatformClock,
    recording: Recording,
    logs: Logs,
    faults: Faults,
    functions: Functions,
    aws: AwsEndpoint,
    work: Work,
    websocket_api: WebSocketApi,
    stop: CancellationToken,
    server: JoinHandle<()>,
    // Held for as long as the platform runs.
    _simulating: Option<DropGuard>,
    _lock: File,
    _folder: Option<tempfile::TempDir>,
}

impl Platform {
    /// Starts a platform; it serves when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Platform, StartError> {
        // What may fail at once comes before the build, which may take minutes.
        let (listener, address) = listen(options.port).await?;
        let base_url = format!("http://{address}");
        let place = match options.providers {
            Providers::Sandbox => None,
            // The next port, so that links to the providers' pages outlive a restart.
            Providers::Simulated => {
                Some(Place::take(options.port.checked_add(1).filter(|port| *port > 1).unwrap_or(0)).await?)
            }
        };
        let mut parameters = place.as_ref().map(Place::parameters).unwrap_or_default();
        if options.migration {
            parameters.push(("Migration", "on".to_owned()));
        }
        let mut template = Template::read_with(&options.template, &base_url, &parameters)?;
        let (data, temporary) = folder(&options.data)?;
        let lock = lock(&data)?;
        let unusable = |source| StartError::Data {
            folder: data.clone(),
            source,
        };
        let clock = PlatformClock::open(data.join("clock-offset")).map_err(unusable)?;

        let binaries = binaries(options.functions).await?;
        for function in template.functions.values() {
            if !binaries.contains_key(&function.binary) {
                let (function, binary) = (function.logical_id.clone(), function.binary.clone());
                return Err(StartError::NoSuchBinary { function, binary });
            }
        }

        let durability = if temporary.is_some() {
            Durability::Forgotten
        } else {
            Durability::Kept
        };
        let simulator = match place {
            None => None,
            Some(place) => {
                let setup = Setup {
                    data: data.clone(),
                    durability,
                    clock: clock.clone(),
                    alipay_certificates: options.alipay_certificates,
                };
                let simulator = Simulator::open(place, setup).await?;
                for (id, value) in simulator.secrets()? {
                    if let Some(secret) = template.secrets.get_mut(id) {
                        secret.value = Some(value);
                    }
                }
                Some(simulator)
            }
        };
        // Ends it also where the rest of the start fails.
        let simulating = simulator.as_ref().map(Simulator::guard);
        let template = Arc::new(template);

        let (recording, faults, logs) = (Recording::default(), Faults::default(), Logs::new(options.show_logs));
        let aws = AwsEndpoint::open(
            &data,
            durability,
            &template,
            clock.clone(),
            recording.clone(),
            faults.clone(),
        )?;
        let functions = Functions::deploy(Deployment {
            template: Arc::clone(&template),
            base_url: base_url.clone(),
            binaries,
            clock: clock.clone(),
            recording: recording.clone(),
            logs: logs.clone(),
        })
        .map_err(StartError::Functions)?;
        if let Some(simulator) = &simulator {
            simulator.watch_callers(functions.clone(), faults.clone());
        }
        let work = Work {
            deliveries: aws.deliver(functions.clone()),
            simulator,
        };
        let (stop, ready) = (CancellationToken::new(), CancellationToken::new());
        let websocket_api = WebSocketApi::new(
            template.sockets.clone(),
            aws.connections().clone(),
            functions.clone(),
            (clock.clone(), recording.clone()),
        );
        let services = Services {
            aws: aws.clone(),
            http_api: HttpApi::new(
                &template,
                options.edge,
                functions.clone(),
                (clock.clone(), recording.clone(), faults.clone()),
            ),
            invoke_api: InvokeApi {
                functions: functions.clone(),
                clock: clock.clone(),
                recording: recording.clone(),
            },
            local_api: LocalApi {
                template: Arc::clone(&template),
                clock: clock.clone(),
                recording: recording.clone(),
                logs: logs.clone(),
                faults: faults.clone(),
                functions: functions.clone(),
                aws: aws.clone(),
                work: work.clone(),
                ready: ready.clone(),
            },
            runtime_api: RuntimeApi {
                functions: functions.clone(),
                clock: clock.clone(),
            },
            websocket_api: websocket_api.clone(),
        };
        let server = tokio::spawn(server::serve(listener, services, stop.clone()));
        let platform = Platform {
            base_url,
            template,
            clock,
            recording,
            logs,
            faults,
            functions,
            aws,
            work,
            websocket_api,
            stop,
            server,
            _simulating: simulating,
            _lock: lock,
            _folder: temporary,
        };
        if let Some(simulator) = &platform.work.simulator {
            simulator.notify();
        }
        if options.demo
            && let Err(error) = demo::set_up(&platform, &data).await
        {
            platform.stop().await;
            return Err(error.into());
        }
        ready.cancel();
        Ok(platform)
    }

    /// Ends everything in order: deliveries, functions, the listener. What was under way is delivered again after the
    /// next start on the same data.
    pub async fn stop(mut self) {
        // Deliveries go first: to one of them the end of a process would look like a failure, and count as one.
        self.websocket_api.stop().await;
        if let Some(simulator) = &self.work.simulator {
            simulator.stop().await;
        }
        self.work.deliveries.stop().await;
        self.functions.stop().await;
        self.stop.cancel();
        // It ends by itself; if it had panicked there would be nothing left to wait for.
        let _ = (&mut self.server).await;
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// `ws://127.0.0.1:PORT/STAGE`, where the template has a WebSocket API.
    #[must_use]
    pub fn websocket_url(&self) -> Option<String> {
        let api = self.template.sockets.as_ref()?;
        Some(format!("{}/{}", self.base_url.replacen("http", "ws", 1), api.stage))
    }

    /// The deployment.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &PlatformClock {
        &self.clock
    }

    /// What happened.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// What the functions wrote.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// What goes wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The functions.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Tables, topics, queues, secrets, mails.
    #[must_use]
    pub fn aws(&self) -> &AwsEndpoint {
        &self.aws
    }

    /// The deliveries.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.work.deliveries
    }

    /// The simulated payment providers, where they are.
    #[must_use]
    pub fn simulator(&self) -> Option<&Simulator> {
        self.work.simulator.as_ref()
    }

    /// Looks into the tables, or changes them, with nobody's permissions: `operation` is DynamoDB's, e.g. `Scan`.
    pub async fn dynamodb(&self, operation: &str, body: &Value) -> (StatusCode, Value) {
        self.aws.as_operator(operation, body).await
    }

    /// What nobody could handle and nobody has seen to.
    ///
    /// # Errors
    /// Tables or queues can not be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Unreadable> {
        dead_letters::waiting(&self.aws, &self.template).await
    }

    /// Waits until no message is queued or in flight (dead letters that nobody reads do not count), every stream is read, no function
    /// runs, and simulated providers have nothing under way or due.
    ///
    /// # Errors
    /// What was still pending when the time had passed; `None` if even that could not be read.
    pub async fn settle(&self, wait: Duration) -> Result<(), Option<Pending>> {
        if self.work.wait_until_idle(wait).await {
            Ok(())
        } else {
            Err(self.work.pending().ok())
        }
    }
}

impl Drop for Platform {
    /// A platform that is dropped without [`Platform::stop`] takes its processes along, in less good order.
    fn drop(&mut self) {
        self.websocket_api.cancel();
        self.work.deliveries.cancel();
        self.stop.cancel();
        self.functions.kill();
    }
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Port { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn folder(data: &Data) -> Result<(PathBuf, Option<tempfile::TempDir>), StartError> {
    match data {
        Data::Folder(folder) => {
            let unusable = |source| StartError::Data {
                folder: folder.clone(),
                source,
            };
            std::fs::create_dir_all(folder).map_err(unusable)?;
            // Functions run in another folder.
            let folder = folder.canonicalize().map_err(unusable)?;
            Ok((folder, None))
        }
        Data::Memory => {
            let folder = tempfile::tempdir().map_err(|source| StartError::Data {
                folder: std::env::temp_dir(),
                source,
            })?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

fn lock(data: &Path) -> Result<File, StartError> {
    let unusable = |source| StartError::Data {
        folder: data.to_owned(),
        source,
    };
    let lock = File::create(data.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::DataInUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

async fn binaries(source: Source) -> Result<Binaries, StartError> {
    match source {
        Source::Built(binaries) => Ok(binaries),
        Source::Cargo => {
            let built = tokio::task::spawn_blocking(|| cargo_build::build(root(), Profile::OWN)).await;
            Ok(built.unwrap_or(Err(BuildError::Failed))?)
        }
    }
}
