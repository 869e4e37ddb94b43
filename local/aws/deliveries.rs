//! Everything that starts functions by itself: queues, streams and schedules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Sources;
use super::dynamodb::{Store, StoreError};
use super::queues::{QueueCounts, Queues};
use super::streams::{Mapping, Positions};
use crate::clock::PlatformClock;
use crate::faults::{self, Fault, Faults, Kind, Site};
use crate::functions::{Functions, Outcome, Trigger};
use crate::recording::{Event, Recording};

/// How often what is too old is deleted.
const SWEEP_MS: i64 = 60_000;

/// What a delivery needs.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) queues: Queues,
    pub(super) store: Store,
    pub(super) positions: Positions,
    pub(super) functions: Functions,
    pub(super) clock: PlatformClock,
    pub(super) recording: Recording,
    pub(super) faults: Faults,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Keys of the stream mappings by table.
    pub(super) mappings: Arc<BTreeMap<String, Vec<String>>>,
    /// Queues that learn where given-up records of a table are.
    pub(super) given_up_to: Arc<BTreeMap<String, Vec<String>>>,
}

impl Context {
    /// Runs a task that ends by itself, or is given up when the deliveries are stopped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// What goes wrong with a delivery.
    pub(super) fn fault(&self, function: &str, trigger: &Trigger) -> Option<Fault> {
        if !self.faults.are_awake() {
            return None;
        }
        let site = Site {
            function: function.to_owned(),
            kind: Kind::Delivery,
            target: trigger.to_string(),
        };
        self.faults.pass(site, None)
    }

    /// Starts the function, as often as the fault wants, and tells what the last one came to.
    pub(super) async fn invoke(
        &self,
        function: &str,
        payload: Bytes,
        trigger: Trigger,
        fault: Option<Fault>,
    ) -> Outcome {
        let start = |payload: Bytes| self.functions.invoke(function, payload, trigger.clone());
        match fault {
            Some(Fault::Fail) => Outcome::Crashed,
            Some(Fault::LoseAnswer) => {
                start(payload).await;
                Outcome::Crashed
            }
            Some(Fault::Platform) => {
                start(payload).await;
                faults::end_of_the_platform().await;
                Outcome::Crashed
            }
            Some(Fault::Twice) => {
                start(payload.clone()).await;
                start(payload).await
            }
            Some(Fault::TwiceAtOnce) => tokio::join!(start(payload.clone()), start(payload)).1,
            _ => start(payload).await,
        }
    }

    pub(super) fn record(&self, kind: &'static str, function: Option<&str>, detail: Value) {
        let function = function.map(str::to_owned);
        self.recording.event(Event {
            at_ms: self.clock.now_ms(),
            kind,
            function,
            detail,
        });
    }

    /// Deletes the records of a table's stream that every mapping has finished. AWS keeps them for 24 hours; here they stay
    /// while a message says where given-up records are, so that whoever reads it finds them.
    pub(super) async fn trim(&self, table: &str) -> Result<usize, StoreError> {
        let mappings = self.mappings.get(table).map_or(&[][..], Vec::as_slice);
        let mut lowest: Option<String> = None;
        for mapping in mappings {
            let Some(position) = self.positions.get(mapping)? else {
                return Ok(0);
            };
            // Numbers have a fixed width, so that text compares as they do.
            lowest = Some(lowest.map_or(position.clone(), |lowest| lowest.min(position)));
        }
        // After the positions, so that what was given up before one of them is seen.
        for queue in self.given_up_to.get(table).map_or(&[][..], Vec::as_slice) {
            if self.queues.next_visible_ms(queue)?.is_some() {
                return Ok(0);
            }
        }
        match lowest {
            Some(through) => self.store.trim(table, &through).await,
            None => Ok(0),
        }
    }
}

/// What is still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What the queues hold.
    pub queues: Vec<QueueCounts>,
    /// Records that functions have not been shown yet, or have not finished, by function and table.
    pub streams: BTreeMap<String, u64>,
    /// Scheduled invocations that are under way.
    pub schedules: usize,
    /// Invocations of any kind that are under way.
    pub invocations: usize,
    /// What simulated payment providers have under way or due: requests, notifications, refunds.
    pub providers: usize,
}

impl Pending {
    /// Whether nothing is left; dead letters that no function reads do not count.
    pub fn is_idle(&self) -> bool {
        self.queues.iter().all(|queue| queue.rests || queue.total() == 0)
            && self.streams.values().all(|records| *records == 0)
            && self.schedules == 0
            && self.invocations == 0
            && self.providers == 0
    }

    /// Whether something is under way, or about to be.
    pub fn is_moving(&self) -> bool {
        let delivered = self.queues.iter().any(|queue| !queue.dead_letters && queue.visible > 0);
        self.invocations > 0 || delivered || self.providers > 0
    }

    /// Whether only the clock can bring about more: what is left was tried, and waits for its next time.
    pub fn only_waits(&self) -> bool {
        self.queues.iter().all(|queue| queue.rests || queue.visible == 0)
            && self.streams.values().all(|records| *records == 0)
            && self.schedules + self.invocations + self.providers == 0
    }
}

/// The running deliveries. Clones share them.
#[derive(Debug, Clone)]
pub struct Deliveries {
    context: Context,
    mappings: Arc<Vec<Mapping>>,
    schedules: Arc<AtomicUsize>,
}

impl Deliveries {
    pub(super) fn start(context: Context, sources: &Sources) -> Self {
        let schedules = Arc::new(AtomicUsize::new(0));
        for consumer in &sources.consumers {
            context.tasks.spawn(consumer.clone().run(context.clone()));
        }
        for mapping in &sources.mappings {
            context.tasks.spawn(mapping.clone().run(context.clone()));
        }
        for timetable in &sources.timetables {
            context
                .tasks
                .spawn(timetable.clone().run(context.clone(), Arc::clone(&schedules)));
        }
        context.spawn(sweep(context.clone()));
        context.tasks.close();
        Self {
            context,
            mappings: Arc::new(sources.mappings.clone()),
            schedules,
        }
    }

    /// Ends all deliveries without waiting for their end. What was under way is delivered again after the next start.
    pub fn cancel(&self) {
        self.context.stop.cancel();
    }

    /// Ends all deliveries, and waits until they have ended. No function is waited for.
    pub async fn stop(&self) {
        self.cancel();
        self.context.tasks.wait().await;
    }

    /// What is still to be delivered.
    ///
    /// # Errors
    /// A file can not be read.
    pub fn pending(&self) -> Result<Pending, StoreError> {
        let mut streams = BTreeMap::new();
        let invocations = self.context.functions.running();
        for mapping in self.mappings.iter() {
            let position = self.context.positions.get(&mapping.key())?;
            let records = self.context.store.count_records(&mapping.table, position.as_deref())?;
            streams.insert(mapping.key(), records);
        }
        Ok(Pending {
            invocations: invocations.max(self.context.functions.running()),
            schedules: self.schedules.load(Ordering::SeqCst),
            queues: self.context.queues.counts(self.context.clock.now_ms())?,
            streams,
            // Nothing of AWS's; who knows them adds them.
            providers: 0,
        })
    }

    /// Whether nothing is queued, unread or running. Dead letters that no function reads do not count.
    pub fn is_idle(&self) -> bool {
        // Work moves in circles: a queue's function writes to a table whose stream fills a queue. Looking at one after
        // the other proves something only if nothing was written or sent in the meantime.
        let activity = || (self.context.store.activity(), self.context.queues.activity());
        let before = activity();
        self.pending().is_ok_and(|pending| pending.is_idle()) && activity() == before
    }
}

/// Deletes what is too old: expired items, and messages that nobody received for too long.
async fn sweep(context: Context) {
    loop {
        context
            .clock
            .sleep_until(context.clock.now_ms().saturating_add(SWEEP_MS))
            .await;
        match context.store.expire().await {
            Ok(0) => {}
            Ok(items) => context.record("expiry", None, serde_json::json!({ "items": items })),
            Err(error) => tracing::error!(%error, "expired items could not be deleted"),
        }
        if let Err(error) = context.queues.expire(context.clock.now_ms()) {
            tracing::error!(%error, "old messages could not be deleted");
        }
        for table in context.mappings.keys() {
            if let Err(error) = context.trim(table).await {
                tracing::error!(table, %error, "the stream could not be trimmed");
            }
        }
    }
}

/// How an invocation ended, for the record.
pub(super) fn outcome_name(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Answered(_) => "answered".into(),
        Outcome::Failed { error_type, message } => serde_json::json!({"error": error_type, "message": message}),
        Outcome::TimedOut => "timed out".into(),
        Outcome::Crashed => "crashed".into(),
    }
}
