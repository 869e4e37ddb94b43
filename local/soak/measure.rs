//! What is measured while it goes on: every request of the people, and from time to time the platform's memory and what
//! waits in its queues. Times are milliseconds of real time since the beginning, unless they are said to be the platform's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::task::JoinHandle;

use super::host::Host;
use crate::purchases::Asked;

/// Pause between two looks at memory and queues.
const LOOK_AGAIN: Duration = Duration::from_millis(1_000);

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) at_ms: u64,
    pub(super) asked: Asked,
}

/// One look at the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauge {
    /// When.
    pub at_ms: u64,
    /// Memory of the platform's own process, in KiB.
    pub platform_kib: u64,
    /// Memory of all functions' processes, in KiB. What they share counts for each.
    pub functions_kib: u64,
    /// How many processes functions have.
    pub functions: u64,
    /// Messages in queues, dead letters apart, and unread records of streams.
    pub queued: u64,
}

/// Everything that was measured. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    began: Instant,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    answered: Vec<Answered>,
    gauges: Vec<Gauge>,
}

impl Journal {
    pub(super) fn begin() -> Journal {
        Journal {
            began: Instant::now(),
            entries: Arc::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn note(&self, asked: Asked) {
        let at_ms = self.now_ms();
        self.entries().answered.push(Answered { at_ms, asked });
    }

    pub(super) fn answered(&self) -> Vec<Answered> {
        self.entries().answered.clone()
    }

    pub(super) fn gauges(&self) -> Vec<Gauge> {
        self.entries().gauges.clone()
    }

    /// Looks at the platform from time to time, until the handle is aborted.
    pub(super) fn watch(&self, host: &Arc<Host>) -> JoinHandle<()> {
        let (journal, host) = (self.clone(), Arc::clone(host));
        tokio::spawn(async move {
            // Where memory can not be told, the rest still can.
            let mut system = System::new().ok();
            loop {
                // While it is being killed there is nothing to see.
                if let Ok((pending, _)) = host.pending().await {
                    let id = host.id();
                    let mut gauge = system.as_mut().map(|system| memory(system, id)).unwrap_or_default();
                    let queues = pending.queues.iter().filter(|queue| !queue.rests);
                    let queued: u64 = queues.map(crate::aws::queues::QueueCounts::total).sum();
                    gauge.queued = queued + pending.streams.values().sum::<u64>();
                    gauge.at_ms = journal.now_ms();
                    journal.entries().gauges.push(gauge);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
    }
}

/// Memory of a process and of its children.
fn memory(system: &mut System, id: u32) -> Gauge {
    let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let id = Pid::from_u32(id);
    let mut gauge = Gauge::default();
    for (process, state) in system.processes() {
        let kib = state.memory() / 1024;
        if *process == id {
            gauge.platform_kib = kib;
        } else if state.parent() == Some(id) {
            gauge.functions_kib += kib;
            gauge.functions += 1;
        }
    }
    gauge
}

/// How long something took, over many times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often.
    pub count: u64,
    /// Half took no longer than so many microseconds.
    pub p50_us: u64,
    /// 99 in 100 took no longer.
    pub p99_us: u64,
    /// 999 in 1000 took no longer.
    pub p999_us: u64,
    /// The longest.
    pub most_us: u64,
}

impl Latency {
    /// Of these times.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let at = |thousandths: usize| {
            // The smallest that is not exceeded by more than the rest.
            let place = (times.len() * thousandths).div_ceil(1_000).saturating_sub(1);
            let time = times.get(place).copied().unwrap_or_default();
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        };
        Latency {
            count: u64::try_from(times.len()).unwrap_or(u64::MAX),
            p50_us: at(500),
            p99_us: at(990),
            p999_us: at(999),
            most_us: at(1_000),
        }
    }
}

/// What was asked, by operation: how long what was answered took, and what else came, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Of what was answered with success.
    pub latency: Latency,
    /// What else was answered, and how often.
    pub errors: BTreeMap<String, u64>,
}

pub(super) fn operations(answered: &[Answered]) -> BTreeMap<&'static str, Operation> {
    let mut times: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let mut operations: BTreeMap<&'static str, Operation> = BTreeMap::new();
    for Answered { asked, .. } in answered {
        let operation = operations.entry(asked.operation).or_default();
        match asked.status {
            200..300 => times.entry(asked.operation).or_default().push(asked.took),
            0 => *operation.errors.entry("no answer".to_owned()).or_default() += 1,
            status => *operation.errors.entry(format!("{status} {}", asked.error)).or_default() += 1,
        }
    }
    for (name, times) in times {
        operations.entry(name).or_default().latency = Latency::of(times);
    }
    operations
}

/// How something changes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trend {
    /// By how much it grew in an hour, or shrank.
    pub per_hour: i64,
    /// What it was on the whole.
    pub level: i64,
}

impl Trend {
    /// The straight line that fits best through (milliseconds, value); `None` where there are too few.
    #[must_use]
    pub fn of(points: &[(u64, u64)]) -> Option<Trend> {
        let count = i128::try_from(points.len()).ok().filter(|count| *count > 2)?;
        let sum = |of: &dyn Fn(i128, i128) -> i128| -> i128 {
            points.iter().map(|(x, y)| of(i128::from(*x), i128::from(*y))).sum()
        };
        let (sx, sy) = (sum(&|x, _| x), sum(&|_, y| y));
        let spread = count * sum(&|x, _| x * x) - sx * sx;
        let slope = count * sum(&|x, y| x * y) - sx * sy;
        let per_hour = (slope * 3_600_000).checked_div(spread)?;
        Some(Trend {
            per_hour: i64::try_from(per_hour).ok()?,
            level: i64::try_from(sy / count).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times = (1..=1_000).rev().map(Duration::from_micros).collect();
        let latency = Latency::of(times);
        assert_eq!(
            latency,
            Latency {
                count: 1_000,
                p50_us: 500,
                p99_us: 990,
                p999_us: 999,
                most_us: 1_000
            }
        );
        assert_eq!(Latency::of(vec![Duration::from_micros(7)]).p999_us, 7);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn a_trend_is_the_slope_of_the_line() {
        let growing: Vec<(u64, u64)> = (0..60).map(|minute| (minute * 60_000, 500 + minute * 2)).collect();
        let trend = Trend::of(&growing).unwrap();
        assert_eq!((trend.per_hour, trend.level), (120, 559));
        let flat = [(0, 7), (10, 7), (20, 7)];
        assert_eq!(Trend::of(&flat).unwrap(), Trend { per_hour: 0, level: 7 });
        assert_eq!(Trend::of(&flat[..2]), None);
    }

    #[test]
    fn errors_are_counted_by_kind_and_not_as_times() {
        let asked = |status, error: &str| Answered {
            at_ms: 0,
            asked: Asked {
                number: 1,
                operation: "order",
                status,
                error: error.to_owned(),
                took: Duration::from_micros(5),
            },
        };
        let all = [
            asked(201, ""),
            asked(503, "unavailable"),
            asked(0, "broken"),
            asked(503, "unavailable"),
        ];
        let order = operations(&all).remove("order").unwrap();
        assert_eq!(order.latency.count, 1);
        let errors: Vec<_> = order.errors.into_iter().collect();
        assert_eq!(errors, [("503 unavailable".to_owned(), 2), ("no answer".to_owned(), 1)]);
    }
}
