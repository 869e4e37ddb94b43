//! Where a market's platform runs: in this process, or in one of its own that can be killed whole.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::market::{MarketError, inside};
use crate::aws::deliveries::Pending;
use crate::cargo_build::Binaries;
use crate::clock::PlatformClock;
use crate::faults::{Fault, Point, Switch};
use crate::{Data, Options, Platform, Providers, Source, StartError};

/// Longest wait for a platform of its own to serve.
const START: Duration = Duration::from_secs(60);
/// How long a platform takes to die.
const DYING: Duration = Duration::from_millis(500);
/// How often a dead platform is asked before it is given up.
const TRIES: usize = 3;
/// How often a pair of free ports is looked for.
const PORTS: usize = 20;

/// What a market is built on.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) functions: Binaries,
    pub(super) template: PathBuf,
    pub(super) providers: Providers,
    /// The platform as a program, where it is to be killed whole: only then is its data kept.
    pub(super) program: Option<PathBuf>,
}

/// A market's platform.
#[derive(Debug)]
pub(super) struct House {
    site: Site,
    port: u16,
    base_url: String,
    simulator: Option<String>,
    data: Option<tempfile::TempDir>,
    place: Place,
    deaths: AtomicUsize,
}

#[derive(Debug)]
enum Place {
    Here(Box<Platform>),
    Apart(Box<Apart>),
    /// On its way from one to the other.
    Nowhere,
}

/// A platform in a process of its own.
#[derive(Debug)]
struct Apart {
    process: tokio::sync::Mutex<Child>,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Deserialize)]
struct PendingThere {
    idle: bool,
    pending: Pending,
}

#[derive(Deserialize)]
struct FaultsThere {
    points: Vec<Point>,
    faults: Vec<Switch>,
}

impl House {
    pub(super) async fn open(site: Site) -> Result<House, MarketError> {
        let data = match site.program {
            Some(_) => Some(tempfile::tempdir().map_err(inside)?),
            None => None,
        };
        let mut house = House {
            port: if data.is_some() { free_ports()? } else { 0 },
            base_url: String::new(),
            simulator: None,
            data,
            place: Place::Nowhere,
            deaths: AtomicUsize::new(0),
            site,
        };
        house.starts_here().await?;
        Ok(house)
    }

    async fn starts_here(&mut self) -> Result<(), MarketError> {
        let platform = Platform::start(Options {
            port: self.port,
            data: self
                .folder()
                .map_or(Data::Memory, |folder| Data::Folder(folder.to_owned())),
            template: self.site.template.clone(),
            functions: Source::Built(self.site.functions.clone()),
            edge: true,
            providers: self.site.providers,
            alipay_certificates: false,
            migration: false,
            demo: false,
            show_logs: std::env::var_os("CFMP_SHOW_LOGS").is_some(),
        })
        .await?;
        platform.base_url().clone_into(&mut self.base_url);
        self.simulator = platform.simulator().map(|simulator| simulator.base_url().to_owned());
        self.place = Place::Here(Box::new(platform));
        Ok(())
    }

    fn folder(&self) -> Option<&Path> {
        self.data.as_ref().map(tempfile::TempDir::path)
    }

    /// Goes on in a process of its own, on the same data.
    pub(super) async fn goes_apart(&mut self) -> Result<(), MarketError> {
        if let Place::Here(platform) = std::mem::replace(&mut self.place, Place::Nowhere) {
            platform.stop().await;
        }
        let process = self.starts_apart().await?;
        self.place = Place::Apart(Box::new(Apart {
            process: tokio::sync::Mutex::new(process),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }));
        Ok(())
    }

    /// Comes back into this process, on the same data; the other one is killed.
    pub(super) async fn comes_home(&mut self) -> Result<(), MarketError> {
        if let Place::Apart(apart) = std::mem::replace(&mut self.place, Place::Nowhere) {
            apart.process.lock().await.kill().await.map_err(inside)?;
        }
        self.starts_here().await
    }

    async fn starts_apart(&self) -> Result<Child, MarketError> {
        let (Some(program), Some(data)) = (&self.site.program, self.folder()) else {
            return Err(inside("this market's platform can not be killed"));
        };
        let built = self.site.functions.values().next().and_then(|binary| binary.parent());
        let built = built.ok_or_else(|| inside("there are no functions"))?;
        let mut command = Command::new(program);
        command.args(["--no-demo", "--port", &self.port.to_string()]);
        command.arg("--data").arg(data).arg("--built").arg(built);
        command.arg("--template").arg(&self.site.template);
        if self.site.providers == Providers::Simulated {
            command.args(["--providers", "simulated"]);
        }
        let logs = if std::env::var_os("CFMP_SHOW_LOGS").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(logs)
            .kill_on_drop(true)
            .spawn()
            .map_err(inside)?;
        let out = process
            .stdout
            .take()
            .ok_or_else(|| inside("a platform without output"))?;
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.map_err(inside)? {
                if line.starts_with("ready: ") {
                    return Ok(());
                }
            }
            Err(inside("the platform ended before it was ready"))
        };
        let late = |_| Err(inside("the platform does not start"));
        tokio::time::timeout(START, ready).await.unwrap_or_else(late)?;
        Ok(process)
    }

    /// Starts a platform that was killed again, on its data.
    pub(super) async fn revive(&self) -> Result<(), MarketError> {
        let Place::Apart(apart) = &self.place else {
            return Ok(());
        };
        let mut process = apart.process.lock().await;
        // Its connections break a moment before its end can be seen.
        if let Ok(ended) = tokio::time::timeout(DYING, process.wait()).await {
            ended.map_err(inside)?;
            self.deaths.fetch_add(1, Ordering::SeqCst);
            *process = self.starts_apart().await?;
        }
        Ok(())
    }

    /// How often it was killed.
    pub(super) fn deaths(&self) -> usize {
        self.deaths.load(Ordering::SeqCst)
    }

    /// The platform in this process.
    pub(super) fn here(&self) -> Result<&Platform, MarketError> {
        match &self.place {
            Place::Here(platform) => Ok(platform),
            Place::Apart(_) | Place::Nowhere => Err(inside("the platform runs in another process")),
        }
    }

    /// Ends it in order.
    pub(super) async fn closes(self) {
        if let Place::Here(platform) = self.place {
            platform.stop().await;
        }
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Address of the simulated providers, where there are any.
    pub(super) fn simulator(&self) -> Option<&str> {
        self.simulator.as_deref()
    }

    pub(super) fn now_ms(&self) -> i64 {
        match (&self.place, self.folder()) {
            (Place::Here(platform), _) => platform.clock().now_ms(),
            (_, Some(folder)) => PlatformClock::shown_by(&folder.join("clock-offset")),
            (_, None) => 0,
        }
    }

    pub(super) async fn advance(&self, ms: u64) -> Result<(), MarketError> {
        match &self.place {
            Place::Here(platform) => platform.clock().advance(ms).map_err(inside),
            _ => {
                let done = self
                    .tells::<Value>(Method::POST, "clock", &json!({ "advance_ms": ms }))
                    .await;
                done.map(drop)
            }
        }
    }

    /// What is left to do, and whether that is nothing.
    pub(super) async fn pending(&self) -> Result<(Pending, bool), MarketError> {
        match &self.place {
            Place::Here(platform) => {
                let pending = platform.work.pending().map_err(inside)?;
                let is_idle = pending.is_idle() && platform.work.is_idle();
                Ok((pending, is_idle))
            }
            _ => {
                let there: PendingThere = self.tells(Method::GET, "pending", &Value::Null).await?;
                Ok((there.pending, there.idle))
            }
        }
    }

    /// Begins to record points, with this fault set.
    pub(super) async fn watches(&self, fault: Option<(&Point, Fault)>) -> Result<(), MarketError> {
        match &self.place {
            Place::Here(platform) => {
                platform.faults().watch();
                if let Some((point, fault)) = fault {
                    platform.faults().set(point.clone(), fault);
                }
            }
            _ => {
                self.tells::<Value>(Method::POST, "faults/watch", &Value::Null).await?;
                if let Some((point, fault)) = fault {
                    let fault = json!({ "point": point, "fault": fault });
                    self.tells::<Value>(Method::POST, "faults", &fault).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends that, and tells what was recorded: the points, and whether the fault struck.
    pub(super) async fn saw(&self) -> Result<(Vec<Point>, bool), MarketError> {
        let (points, faults) = match &self.place {
            Place::Here(platform) => {
                let faults = platform.faults();
                let seen = (faults.points(), faults.switches());
                faults.clear();
                seen
            }
            _ => {
                let there: FaultsThere = self.tells(Method::GET, "faults", &Value::Null).await?;
                self.tells::<Value>(Method::DELETE, "faults", &Value::Null).await?;
                (there.points, there.faults)
            }
        };
        Ok((points, faults.iter().any(|fault| fault.struck > 0)))
    }

    /// Asks the other process; one that was killed is started again, and asked again.
    async fn tells<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Value) -> Result<T, MarketError> {
        let Place::Apart(apart) = &self.place else {
            return Err(inside("there is no platform"));
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut last = String::new();
        for _ in 0..TRIES {
            let request = Request::builder()
                .method(method.clone())
                .uri(format!("{}/_local/{path}", self.base_url))
                .body(Full::new(Bytes::from(body.clone())))
                .map_err(inside)?;
            let answered = async {
                let answer = apart
                    .client
                    .request(request)
                    .await
                    .map_err(|error| format!("{error:?}"))?;
                let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
                serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
            };
            match answered.await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
            self.revive().await?;
        }
        Err(inside(format!("/_local/{path}: {last}")))
    }
}

/// A free port whose next one is free as well: there are the simulated providers. Links to both outlive a restart.
fn free_ports() -> Result<u16, MarketError> {
    let taken = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..PORTS {
        let first = taken(0).map_err(inside)?;
        let port = first.local_addr().map_err(inside)?.port();
        if port.checked_add(1).is_some_and(|next| taken(next).is_ok()) {
            return Ok(port);
        }
    }
    Err(StartError::Functions(std::io::Error::from(std::io::ErrorKind::AddrInUse)).into())
}
