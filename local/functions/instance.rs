//! One process of a function: its life, and the one invocation it may be busy with.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::guard::Guard;
use crate::clock::PlatformClock;
use crate::logs::{Line, Logs};

/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(2);

/// An invocation on its way to a process.
#[derive(Debug)]
pub(crate) struct Job {
    /// Lambda's request id.
    pub(crate) request_id: String,
    /// The event.
    pub(crate) payload: Bytes,
    /// ARN of the function.
    pub(crate) function_arn: String,
    /// Time limit, counted from the moment when the process takes the job.
    pub(crate) timeout: Duration,
    /// `X-Amzn-Trace-Id`.
    pub(crate) trace_id: String,
    /// `X-Amz-Client-Context`, decoded.
    pub(crate) client_context: Option<String>,
    /// Told when the process takes the job.
    pub(super) taken: oneshot::Sender<()>,
    /// Told what the process answers.
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a process says about the invocation it was given.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The answer.
    Answer(Bytes),
    /// The error report.
    Error(Report),
}

/// An error as a function reports it.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// `errorType`
    pub(crate) error_type: String,
    /// `errorMessage`
    pub(crate) message: String,
}

/// How far a process is asked to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Live,
    Terminate,
    Kill,
}

/// A process of a function.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its name in the paths of the Runtime API.
    pub(crate) id: String,
    pub(super) jobs: mpsc::Sender<Job>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    busy: Mutex<Option<(String, oneshot::Sender<Reply>)>>,
    init_error: Mutex<Option<Report>>,
    wish: watch::Sender<Wish>,
    pub(super) exited: watch::Receiver<bool>,
    built_at: Option<SystemTime>,
}

/// What a process is started with.
pub(super) struct Start<'a> {
    pub(super) function: &'a str,
    pub(super) binary: &'a Path,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) guard: Arc<Guard>,
    pub(super) logs: Logs,
    pub(super) clock: PlatformClock,
}

/// The process's side of an instance.
pub(super) struct Life {
    exit: watch::Sender<bool>,
    wishes: watch::Receiver<Wish>,
}

impl Instance {
    /// An instance without a process. It must be known to the Runtime API before its process asks there for work.
    pub(super) fn announce(id: String, binary: &Path) -> (Instance, Life) {
        let (jobs, inbox) = mpsc::channel(1);
        let (exit, exited) = watch::channel(false);
        let (wish, wishes) = watch::channel(Wish::Live);
        let instance = Instance {
            id,
            jobs,
            inbox: tokio::sync::Mutex::new(inbox),
            busy: Mutex::new(None),
            init_error: Mutex::new(None),
            wish,
            exited,
            built_at: modified(binary),
        };
        (instance, Life { exit, wishes })
    }

    /// The next invocation, for the process that asks for it. Waits as long as there is none.
    pub(crate) async fn next(&self) -> Option<Job> {
        let mut inbox = self.inbox.lock().await;
        let mut job = inbox.recv().await?;
        let (reply, taken) = (
            std::mem::replace(&mut job.reply, oneshot::channel().0),
            std::mem::replace(&mut job.taken, oneshot::channel().0),
        );
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = Some((job.request_id.clone(), reply));
        // Nobody waits any more: the platform is stopping.
        let _ = taken.send(());
        Some(job)
    }

    /// The process answered the invocation `request_id`; false when that is not the one it has.
    pub(crate) fn reply(&self, request_id: &str, reply: Reply) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match busy.take() {
            Some((id, waiting)) if id == request_id => {
                drop(busy);
                let _ = waiting.send(reply);
                true
            }
            other => {
                *busy = other;
                false
            }
        }
    }

    /// The invocation that the process is busy with.
    pub(crate) fn current(&self) -> Option<String> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.as_ref().map(|(id, _)| id.clone())
    }

    /// The process reported that it could not start.
    pub(crate) fn fail_init(&self, report: Report) {
        *self.init_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    pub(super) fn init_error(&self) -> Option<Report> {
        self.init_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the process lives and runs what `binary` is now.
    pub(super) fn is_current(&self, binary: &Path) -> bool {
        !*self.exited.borrow() && *self.wish.borrow() == Wish::Live && self.built_at == modified(binary)
    }

    /// Ends the process at once.
    pub(super) fn kill(&self) {
        self.wish.send_replace(Wish::Kill);
    }

    /// Kills the process with SIGKILL and waits until it is no more.
    pub(crate) async fn killed(&self) {
        self.kill();
        self.ended().await;
    }

    /// Waits until the process is no more.
    pub(crate) async fn ended(&self) {
        // A failed wait means that it is gone already.
        let _ = self.exited.clone().wait_for(|gone| *gone).await;
    }

    /// Asks the process to end, and ends it when it does not.
    pub(super) async fn stop(&self) {
        self.wish.send_if_modified(|wish| {
            let live = *wish == Wish::Live;
            if live {
                *wish = Wish::Terminate;
            }
            live
        });
        let mut exited = self.exited.clone();
        if tokio::time::timeout(GRACE, exited.wait_for(|gone| *gone))
            .await
            .is_err()
        {
            self.kill();
            // The supervisor reaps it; a failed wait means that it is gone already.
            let _ = exited.wait_for(|gone| *gone).await;
        }
    }
}

fn modified(binary: &Path) -> Option<SystemTime> {
    std::fs::metadata(binary).and_then(|data| data.modified()).ok()
}

impl Life {
    /// Starts the process.
    pub(super) fn begin(self, start: &Start<'_>) -> io::Result<()> {
        let mut command = Command::new(start.binary);
        command
            .env_clear()
            .envs(&start.environment)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal reaches the platform alone, which ends its functions in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        if let Some(pid) = child.id() {
            start.guard.started(pid);
        }
        follow(child.stdout.take(), start);
        follow(child.stderr.take(), start);
        tokio::spawn(supervise(child, self.wishes, self.exit, Arc::clone(&start.guard)));
        Ok(())
    }
}

async fn supervise(mut child: Child, mut wishes: watch::Receiver<Wish>, exit: watch::Sender<bool>, guard: Arc<Guard>) {
    let pid = child.id();
    loop {
        tokio::select! {
            _ = child.wait() => break,
            changed = wishes.changed() => {
                let wish = *wishes.borrow_and_update();
                if wish == Wish::Terminate && changed.is_ok() {
                    terminate(pid);
                } else {
                    // It may have ended in the meantime; `wait` tells.
                    let _ = child.start_kill();
                    let _ = child.wait().await;
                    break;
                }
            }
        }
    }
    if let Some(pid) = pid {
        guard.ended(pid);
    }
    exit.send_replace(true);
}

fn terminate(pid: Option<u32>) {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // The process was not reaped yet, so the id is still its own; it may have ended, which is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn follow(stream: Option<impl AsyncRead + Unpin + Send + 'static>, start: &Start<'_>) {
    let Some(stream) = stream else { return };
    let (function, logs, clock) = (start.function.to_owned(), start.logs.clone(), start.clock.clone());
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            logs.write(Line {
                at_ms: clock.now_ms(),
                function: function.clone(),
                text,
            });
            line.clear();
        }
    });
}
