//! Functions that run on a schedule and sweep up what is due.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use futures::StreamExt;
use kernel::Timestamp;
use serde_json::json;

use crate::EventError;
use crate::door::{Answer, Handler, serve};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Entries that were due.
    pub due: usize,
    /// Entries that could not be handled; they stay due.
    pub failed: usize,
}

/// Runs a scheduled function until the Lambda service ends it. `operation` gets the current time; what it could not
/// handle stays due for the next run, and the run is reported as failed so that its alarm sees it.
pub fn open_schedule<S, Started, Handled, F>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Timestamp) -> Handled + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Handled: Future<Output = Result<Sweep, F>> + Send + 'static,
    F: Into<EventError>,
{
    let operation = Arc::new(operation);
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let clock = cloud.clock().clone();
            let state = Arc::new(build(cloud).await?);
            let handler: Handler = Box::new(move |_| {
                let (state, operation, now) = (state.clone(), operation.clone(), clock.now());
                Box::pin(async move {
                    let sweep = operation(state, now).await.map_err(Into::into)?;
                    if sweep.due > 0 {
                        tracing::info!(due = sweep.due, failed = sweep.failed, "swept");
                    }
                    if sweep.failed > 0 {
                        return Err(EventError::again(format!("{} of {} failed", sweep.failed, sweep.due)));
                    }
                    let body = json!({"due": sweep.due});
                    Ok(Answer { body, cause: None })
                })
            });
            Ok(handler)
        })
    }))
}

/// Handles every due entry, a few at a time. An entry that fails is logged and does not keep the others from their turn.
pub async fn sweep<T, Handled, F>(entries: Vec<T>, handle: impl Fn(T) -> Handled) -> Sweep
where
    Handled: Future<Output = Result<(), F>>,
    F: Into<EventError>,
{
    /// As many as one function instance has connections to spare.
    const AT_ONCE: usize = 8;
    let due = entries.len();
    let failed = futures::stream::iter(entries)
        .map(handle)
        .buffer_unordered(AT_ONCE)
        .filter_map(|outcome| async move { outcome.err().map(Into::into) })
        .map(|error: EventError| tracing::error!(cause = error.chain(), "a due entry could not be handled"))
        .count()
        .await;
    Sweep { due, failed }
}
