//! The platform under the soak: `cfmp` in a process of its own, so that it can be killed as a whole, and its memory told
//! from that of the people around it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::Providers;
use crate::aws::deliveries::Pending;
use crate::clock::PlatformClock;
use crate::operator::{Operator, OperatorError};

/// Longest wait for a platform to serve.
const START: Duration = Duration::from_secs(120);
/// How long everything may take to come to rest, in real time.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// Looks in a row that have to find the same, and nothing going on.
const LOOKS: u32 = 3;
/// The same while a stream is unread: a failed batch is tried again after a second at most. A late one waits for the clock.
const LOOKS_AT_STREAMS: u32 = 90;
/// Lines of its log that are shown when it has ended.
const LAST_LINES: usize = 10;
/// Tries to find two ports in a row.
const PORTS: u32 = 100;

/// Why there is no platform.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its folder, its process or its ports.
    #[error("the platform can not be started: {0}")]
    Start(#[from] io::Error),
    /// It ended by itself; what it said last.
    #[error("the platform ended by itself: {0}")]
    Ended(String),
    /// It does not do as it is told.
    #[error(transparent)]
    Deaf(#[from] OperatorError),
    /// It says something else than expected.
    #[error("the platform is not understood: {0}")]
    Unclear(#[from] serde_json::Error),
    /// It never came to rest.
    #[error("still under way after minutes: {0}")]
    Restless(String),
}

/// How to start it.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The executable `cfmp`.
    pub(super) program: PathBuf,
    /// The folder of the functions' executables.
    pub(super) functions: PathBuf,
    /// Another template than the workspace's.
    pub(super) template: Option<PathBuf>,
    /// Who plays the providers.
    pub(super) providers: Providers,
    /// Its data, and its log.
    pub(super) folder: PathBuf,
}

/// A platform that can be killed and started again.
#[derive(Debug)]
pub(super) struct Host {
    recipe: Recipe,
    port: u16,
    base_url: String,
    /// A second clock, which is moved along.
    clock: PlatformClock,
    operator: Operator,
    /// Locked while there is none, and while an operator is at work.
    process: Mutex<Option<Child>>,
    /// The process's id.
    id: AtomicU32,
}

impl Host {
    /// Starts it on an empty folder.
    pub(super) async fn start(recipe: Recipe) -> Result<Host, HostError> {
        let port = free_ports().await?;
        let base_url = format!("http://127.0.0.1:{port}");
        let simulator = Self::simulator_at(&recipe, port);
        std::fs::create_dir_all(&recipe.folder)?;
        let clock = PlatformClock::open(recipe.folder.join("soak-clock"))?;
        let operator = Operator::at(&base_url, simulator.as_deref());
        let host = Host {
            process: Mutex::new(None),
            id: AtomicU32::new(0),
            recipe,
            port,
            base_url,
            clock,
            operator,
        };
        *host.process.lock().await = Some(host.begin().await?);
        Ok(host)
    }

    fn simulator_at(recipe: &Recipe, port: u16) -> Option<String> {
        let next = port.saturating_add(1);
        (recipe.providers == Providers::Simulated).then(|| format!("http://127.0.0.1:{next}"))
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(super) fn simulator(&self) -> Option<String> {
        Self::simulator_at(&self.recipe, self.port)
    }

    pub(super) fn clock(&self) -> &PlatformClock {
        &self.clock
    }

    /// For what may fail because the platform is being killed.
    pub(super) fn operator(&self) -> &Operator {
        &self.operator
    }

    pub(super) fn data(&self) -> PathBuf {
        self.recipe.folder.join("data")
    }

    /// What the platform and its functions wrote.
    pub(super) fn log(&self) -> PathBuf {
        self.recipe.folder.join("log")
    }

    /// Its process's id, also that of one that was just killed.
    pub(super) fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    async fn begin(&self) -> Result<Child, HostError> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.recipe.program);
        command
            .args(["--no-demo", "--port", &self.port.to_string(), "--providers"])
            .arg(match self.recipe.providers {
                Providers::Sandbox => "sandbox",
                Providers::Simulated => "simulated",
            })
            .arg("--data")
            .arg(self.data())
            .arg("--built")
            .arg(&self.recipe.functions);
        if let Some(template) = &self.recipe.template {
            command.arg("--template").arg(template);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let ready = async {
            let mut lines = BufReader::new(process.stdout.take()?).lines();
            while let Some(line) = lines.next_line().await.ok()? {
                if line.starts_with("ready: ") {
                    return Some(());
                }
            }
            None
        };
        match tokio::time::timeout(START, ready).await {
            Ok(Some(())) => {
                self.id.store(process.id().unwrap_or_default(), Ordering::Relaxed);
                Ok(process)
            }
            _ => Err(HostError::Ended(lines_with(&self.log(), "", LAST_LINES).join("\n"))),
        }
    }

    /// `kill -9`, and a start on the same data. What the operator asks waits meanwhile; people notice.
    pub(super) async fn kill(&self) -> Result<(), HostError> {
        let mut process = self.process.lock().await;
        if let Some(mut killed) = process.take() {
            killed.kill().await?;
        }
        *process = Some(self.begin().await?);
        Ok(())
    }

    /// Ends it.
    pub(super) async fn stop(&self) {
        if let Some(mut process) = self.process.lock().await.take() {
            // It has ended already, which is what is wanted.
            let _ = process.kill().await;
        }
    }

    /// Does something that needs a running platform.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Operator) -> Result<T, OperatorError>,
    ) -> Result<T, HostError> {
        let mut process = self.process.lock().await;
        let ended = match process.as_mut() {
            Some(process) => process.try_wait()?.is_some(),
            None => true,
        };
        if ended {
            return Err(HostError::Ended(lines_with(&self.log(), "", LAST_LINES).join("\n")));
        }
        Ok(work(&self.operator).await?)
    }

    /// Lets time pass.
    pub(super) async fn advance(&self, ms: u64) -> Result<(), HostError> {
        let advance = json!({"advance_ms": ms});
        self.with(async |operator| operator.post("/_local/clock", &advance).await)
            .await?;
        Ok(self.clock.advance(ms)?)
    }

    /// What is left to do.
    pub(super) async fn pending(&self) -> Result<(Pending, bool), HostError> {
        let mut told = self
            .with(async |operator| operator.get("/_local/pending").await)
            .await?;
        let pending = serde_json::from_value(told["pending"].take())?;
        Ok((pending, told["idle"] == true))
    }

    /// Waits until only the clock can bring about more.
    pub(super) async fn rest(&self) -> Result<(), HostError> {
        let resting = async {
            let (mut last, mut looks) = (None, 0);
            loop {
                let (pending, idle) = self.pending().await?;
                if idle {
                    return Ok(());
                }
                let is_still = !pending.is_moving() && last.as_ref() == Some(&pending);
                looks = if is_still { looks + 1 } else { 0 };
                if looks >= if pending.only_waits() { LOOKS } else { LOOKS_AT_STREAMS } {
                    return Ok(());
                }
                last = Some(pending);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(PATIENCE, resting).await {
            Ok(rested) => rested,
            Err(_) => Err(HostError::Restless(format!("{:?}", self.pending().await?.0))),
        }
    }
}

/// A port that is free, and whose next one is, a moment ago. Payment pages name them, so they stay over restarts.
async fn free_ports() -> io::Result<u16> {
    for _ in 0..PORTS {
        let first = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = first.local_addr()?.port();
        let Some(next) = port.checked_add(1) else { continue };
        if TcpListener::bind(("127.0.0.1", next)).await.is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrNotAvailable))
}

/// The lines of a log that say `word`, the last ones if there are more than `most`.
pub(super) fn lines_with(log: &Path, word: &str, most: usize) -> Vec<String> {
    use std::io::BufRead as _;
    let Ok(file) = File::open(log) else { return Vec::new() };
    let lines = std::io::BufReader::new(file).lines().map_while(Result::ok);
    let mut found: Vec<String> = lines.filter(|line| line.contains(word)).collect();
    found.split_off(found.len().saturating_sub(most))
}
