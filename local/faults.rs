//! Faults on purpose. Every AWS call, every HTTP call between functions, every delivery and every answer to a client
//! passes here, and may be broken here: at one recorded point, once, so that a run can be repeated.
//!
//! A point is named by what happens there, not by ids that differ from run to run:
//! `CreateOrderFunction call dynamodb:PutItem orders #1` is the first item that the function puts into the table since the
//! recording of points began. Where no run is like another, a fault waits for the so-manyth passage from now on at which it
//! makes a difference, wherever that is. Nothing is counted, locked or compared while nobody watches and no fault is set.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Response;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::turns::Turns;

/// How much later a late delivery comes, by the platform's clock: after everything else that a flow does.
pub const LATE: Duration = Duration::from_secs(15 * 60);
/// How long a delivery waits at most for one that is to overtake it, by the platform's clock.
pub const OVERTAKEN: Duration = Duration::from_secs(60);
/// What "hangs" means at most, where nobody's patience ends earlier: longer than any function may run.
pub(crate) const HANGING: Duration = Duration::from_secs(35);
/// Points recorded at most; a watch that nobody ends must not fill the memory.
const MOST_POINTS: usize = 100_000;
/// Strikes kept until somebody collects them; the oldest go first.
const MOST_STRIKES: usize = 10_000;
/// Invocations remembered because what they met lasts as long as they do; more are never under way.
const MOST_LASTING: usize = 256;

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A call of a function to AWS, to another function or to a provider.
    Call,
    /// A batch of a queue or a stream, or a scheduled event, on its way to a function.
    Delivery,
    /// The answer to a client of the HTTP API.
    Answer,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Call, Kind::Delivery, Kind::Answer];

    fn word(self) -> &'static str {
        match self {
            Kind::Call => "call",
            Kind::Delivery => "delivery",
            Kind::Answer => "answer",
        }
    }
}

/// Where something passes, whichever time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Logical id of the function that calls, is started, or answers.
    pub function: String,
    /// What passes.
    pub kind: Kind,
    /// `dynamodb:PutItem orders`, `http POST /api/product/{product_id}/reserve-stock`, `queue stock-returns`.
    pub target: String,
}

impl Site {
    /// Whether it only looks: what is killed there has changed nothing that the call before had not changed.
    #[must_use]
    pub fn is_read(&self) -> bool {
        const READS: [&str; 9] = [
            "dynamodb:GetItem",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:BatchGetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:TransactGetItems",
            "secretsmanager:",
            "http GET ",
        ];
        // Alipay has one address for everything; what asks ends with the word.
        let asks =
            self.target.starts_with("provider ") && (self.target.contains(" GET ") || self.target.ends_with(".query"));
        self.kind == Kind::Call && (asks || READS.iter().any(|read| self.target.starts_with(read)))
    }
}

/// One passage: the site, and which time it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    /// Where.
    pub site: Site,
    /// Which time since the recording of points began, from 1.
    pub ordinal: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Site { function, kind, target } = self;
        write!(f, "{function} {} {target}", kind.word())
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.site, self.ordinal)
    }
}

/// Text that names no point.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no point; one reads like \"CreateOrderFunction call dynamodb:PutItem orders #1\"")]
pub struct NotAPoint(String);

impl FromStr for Point {
    type Err = NotAPoint;

    fn from_str(text: &str) -> Result<Point, NotAPoint> {
        let parsed = || {
            let (place, ordinal) = text.rsplit_once(" #")?;
            let (function, rest) = place.split_once(' ')?;
            let (kind, target) = rest.split_once(' ')?;
            Some(Point {
                site: Site {
                    function: function.to_owned(),
                    kind: Kind::ALL.into_iter().find(|known| known.word() == kind)?,
                    target: target.to_owned(),
                },
                ordinal: ordinal.parse().ok().filter(|ordinal| *ordinal > 0)?,
            })
        };
        parsed().ok_or_else(|| NotAPoint(text.to_owned()))
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The calling instance is killed with SIGKILL; the call is not carried out.
    KillBefore,
    /// The call is carried out; the calling instance is killed with SIGKILL before it hears of it.
    KillAfter,
    /// Nothing is carried out and nothing answered, until the caller gives up or its time is over; so is every repetition
    /// within the same invocation.
    Hang,
    /// A call is refused (throttled by AWS, 503 by a function), and so is every repetition within the same invocation; a
    /// delivery fails as if its function had; a client is told 503. Nothing is carried out.
    Fail,
    /// All is carried out; the connection breaks before the answer. A delivery comes again.
    LoseAnswer,
    /// A delivery comes twice, one after the other.
    Twice,
    /// A delivery comes twice, to two instances at the same time.
    TwiceAtOnce,
    /// A delivery comes a quarter of an hour later.
    Late,
    /// A delivery comes only after the next one of the same queue.
    Overtaken,
    /// All is carried out; before anybody hears of it the whole platform kills itself with SIGKILL, and its functions die
    /// with it. Whoever sets this starts it again on the same data.
    Platform,
}

impl Fault {
    /// The faults that make a difference at a site.
    #[must_use]
    pub fn of(site: &Site) -> &'static [Fault] {
        match site.kind {
            Kind::Call if site.is_read() => &[Fault::Fail],
            Kind::Call => &[
                Fault::KillBefore,
                Fault::KillAfter,
                Fault::Fail,
                Fault::LoseAnswer,
                Fault::Hang,
                Fault::Platform,
            ],
            Kind::Delivery if site.target.starts_with("queue ") => &[
                Fault::Twice,
                Fault::TwiceAtOnce,
                Fault::Late,
                Fault::Overtaken,
                Fault::LoseAnswer,
                Fault::Platform,
            ],
            // Within a shard nothing is overtaken.
            Kind::Delivery if site.target.starts_with("stream ") => &[
                Fault::Twice,
                Fault::TwiceAtOnce,
                Fault::Late,
                Fault::LoseAnswer,
                Fault::Platform,
            ],
            Kind::Delivery => &[Fault::TwiceAtOnce],
            Kind::Answer => &[Fault::LoseAnswer, Fault::Fail, Fault::Platform],
        }
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Fault::KillBefore => "kill-before",
            Fault::KillAfter => "kill-after",
            Fault::Hang => "hang",
            Fault::Fail => "fail",
            Fault::LoseAnswer => "lose-answer",
            Fault::Twice => "twice",
            Fault::TwiceAtOnce => "twice-at-once",
            Fault::Late => "late",
            Fault::Overtaken => "overtaken",
            Fault::Platform => "platform",
        }
    }

    /// Carries out a call, or the answer to one, as badly as this wants; `None` where its connection is to break.
    /// `killed` kills who calls, `gone` ends when nobody waits any more.
    pub(crate) async fn spoil<T>(
        self,
        work: impl Future<Output = T>,
        refused: T,
        killed: impl Future<Output = ()>,
        gone: impl Future<Output = ()>,
    ) -> Option<T> {
        match self {
            Fault::Fail => return Some(refused),
            Fault::KillBefore => killed.await,
            Fault::KillAfter => {
                work.await;
                killed.await;
            }
            Fault::Hang => tokio::select! {
                () = gone => {}
                () = tokio::time::sleep(HANGING) => {}
            },
            Fault::LoseAnswer => drop(work.await),
            Fault::Platform => {
                work.await;
                end_of_the_platform().await;
            }
            // Those of deliveries.
            Fault::Twice | Fault::TwiceAtOnce | Fault::Late | Fault::Overtaken => return Some(work.await),
        }
        None
    }

    /// Whether it lasts as long as the invocation that met it: otherwise the SDK's own retry would hide it.
    fn lasts(self) -> bool {
        matches!(self, Fault::Hang | Fault::Fail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `kill -9` of this process, which its functions do not outlive. Nothing is flushed or told.
pub(crate) async fn end_of_the_platform() {
    // It can not fail: a process may kill itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::future::pending().await
}

/// A fault that waits at its point, or struck there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Switch {
    /// Where.
    pub point: Point,
    /// What.
    pub fault: Fault,
    /// How often it struck.
    pub struck: u32,
    /// The invocation that met it.
    #[serde(skip)]
    invocation: Option<String>,
}

/// A fault that waits for a passage at which it makes a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ambush {
    /// How many such passages are let by before.
    pub passages: u32,
    /// What.
    pub fault: Fault,
    /// By which it is known again.
    pub label: String,
}

/// An ambush that was run into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// The ambush's label.
    pub label: String,
    /// What.
    pub fault: Fault,
    /// The function, what passed, and where to: a point without its number.
    pub site: String,
}

/// The faults of one platform. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    awake: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    turns: Turns,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Site, u32>,
    points: Vec<Point>,
    switches: Vec<Switch>,
    /// Whether points are counted and recorded.
    counts_points: bool,
    ambushes: Vec<Ambush>,
    strikes: VecDeque<Strike>,
    /// What ambushes brought about that lasts: where, during which invocation, and what.
    lasting: VecDeque<(Site, String, Fault)>,
    /// Receipts of messages that wait to be overtaken, by the ARN of their queue.
    held: BTreeMap<String, Vec<String>>,
}

impl Faults {
    /// Begins to record points, from 1, with no fault set.
    pub fn watch(&self) {
        let mut state = self.state();
        *state = State {
            counts_points: true,
            ..State::default()
        };
        self.awake.store(true, Ordering::Release);
    }

    /// Sets a fault. Points are recorded, and counted, since the last [`Faults::watch`], or from now on.
    pub fn set(&self, point: Point, fault: Fault) {
        let mut state = self.state();
        state.counts_points = true;
        state.switches.push(Switch {
            point,
            fault,
            struck: 0,
            invocation: None,
        });
        self.awake.store(true, Ordering::Release);
    }

    /// Sets a fault that strikes once, after so many passages from now on at which it would make a difference.
    pub fn lie_in_wait(&self, ambush: Ambush) {
        self.state().ambushes.push(ambush);
        self.awake.store(true, Ordering::Release);
    }

    /// The ambushes that nobody has run into yet.
    #[must_use]
    pub fn ambushes(&self) -> Vec<Ambush> {
        self.state().ambushes.clone()
    }

    /// Takes out what ambushes did since this was asked last.
    #[must_use]
    pub fn collect_strikes(&self) -> Vec<Strike> {
        self.state().strikes.drain(..).collect()
    }

    /// Takes all faults away and ends the recording of points.
    pub fn clear(&self) {
        self.awake.store(false, Ordering::Release);
        // Messages that wait to be overtaken come by their time.
        *self.state() = State::default();
    }

    /// The points that were passed since the recording began, in order.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        self.state().points.clone()
    }

    /// The faults that are set, with how often each struck.
    #[must_use]
    pub fn switches(&self) -> Vec<Switch> {
        self.state().switches.clone()
    }

    /// Who takes turns, when two flows are under way.
    #[must_use]
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Whether anybody watches or a fault is set. Asked first, so that naming a site costs nothing otherwise.
    pub(crate) fn are_awake(&self) -> bool {
        self.awake.load(Ordering::Acquire)
    }

    /// Something passes; answers what goes wrong there. `invocation` is the one that calls, where there is one.
    pub(crate) fn pass(&self, site: Site, invocation: Option<&str>) -> Option<Fault> {
        if !self.are_awake() {
            return None;
        }
        let mut state = self.state();
        let struck = state.ambush(&site, invocation);
        if !state.counts_points {
            return struck;
        }
        let counted = state.counts.entry(site.clone()).or_default();
        *counted = counted.saturating_add(1);
        let point = Point {
            ordinal: *counted,
            site,
        };
        let switched = state.switches.iter_mut().find_map(|switch| {
            let lasts = switch.fault.lasts()
                && switch.point.site == point.site
                && invocation.is_some()
                && switch.invocation.as_deref() == invocation;
            if switch.point != point && !lasts {
                return None;
            }
            switch.struck = switch.struck.saturating_add(1);
            switch.invocation = invocation.map(str::to_owned);
            Some(switch.fault)
        });
        if state.points.len() < MOST_POINTS {
            state.points.push(point);
        }
        switched.or(struck)
    }

    /// Keeps the receipts of messages until others of their queue have overtaken them.
    pub(crate) fn hold(&self, queue: &str, receipts: impl IntoIterator<Item = String>) {
        self.state().held.entry(queue.to_owned()).or_default().extend(receipts);
    }

    /// The messages of a queue that have been overtaken now.
    pub(crate) fn overtaken(&self, queue: &str) -> Vec<String> {
        if !self.are_awake() {
            return Vec::new();
        }
        self.state().held.remove(queue).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What ambushes do to something that passes: the first whose turn it is strikes, the others wait on.
    fn ambush(&mut self, site: &Site, invocation: Option<&str>) -> Option<Fault> {
        let lasts = |(at, during, _): &&(Site, String, Fault)| at == site && Some(during.as_str()) == invocation;
        if let Some((_, _, fault)) = self.lasting.iter().find(lasts) {
            return Some(*fault);
        }
        let fitting = Fault::of(site);
        let mut ripe = None;
        for (place, ambush) in self.ambushes.iter_mut().enumerate() {
            if !fitting.contains(&ambush.fault) {
                continue;
            }
            if ambush.passages > 0 {
                ambush.passages -= 1;
            } else if ripe.is_none() {
                ripe = Some(place);
            }
        }
        let Ambush { fault, label, .. } = self.ambushes.remove(ripe?);
        if let (true, Some(invocation)) = (fault.lasts(), invocation) {
            if self.lasting.len() == MOST_LASTING {
                self.lasting.pop_front();
            }
            self.lasting.push_back((site.clone(), invocation.to_owned(), fault));
        }
        if self.strikes.len() == MOST_STRIKES {
            self.strikes.pop_front();
        }
        self.strikes.push_back(Strike {
            label,
            fault,
            site: site.to_string(),
        });
        Some(fault)
    }
}

/// Marks a response in place of which the connection breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken;

impl Broken {
    /// Has the connection broken instead of this response.
    pub(crate) fn instead_of<B>(mut response: Response<B>) -> Response<B> {
        response.extensions_mut().insert(Broken);
        response
    }

    /// Whether the connection is to break.
    pub(crate) fn is<B>(response: &Response<B>) -> bool {
        response.extensions().get::<Broken>().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        "F call dynamodb:PutItem orders #1".parse::<Point>().unwrap().site
    }

    #[test]
    fn a_point_reads_as_it_is_written() {
        for text in [
            "CreateOrderFunction call dynamodb:PutItem orders #1",
            "ReturnStockFunction call http POST /api/product/{product_id}/restore-stock #12",
            "NotifyPeopleFunction delivery queue notices #2",
        ] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        for text in ["", "F call x", "F call x #0", "F thinks x #1", "F #1"] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_strikes_at_its_point_and_nowhere_else() {
        let faults = Faults::default();
        faults.watch();
        let point = Point {
            site: site(),
            ordinal: 2,
        };
        faults.set(point, Fault::KillAfter);
        let passed: Vec<_> = (0..3).map(|_| faults.pass(site(), Some("a"))).collect();
        assert_eq!(passed, [None, Some(Fault::KillAfter), None]);
        assert_eq!(faults.points().len(), 3);
        assert_eq!(faults.switches()[0].struck, 1);
    }

    #[test]
    fn a_refusal_lasts_as_long_as_the_invocation_that_met_it() {
        let faults = Faults::default();
        faults.set(
            Point {
                site: site(),
                ordinal: 1,
            },
            Fault::Fail,
        );
        let passed = ["a", "a", "b", "a"].map(|invocation| faults.pass(site(), Some(invocation)).is_some());
        assert_eq!(passed, [true, true, false, true]);
    }

    #[test]
    fn an_ambush_waits_for_its_passage_and_strikes_once() {
        let faults = Faults::default();
        let ambush = |passages, fault: Fault| Ambush {
            passages,
            fault,
            label: format!("{fault} after {passages}"),
        };
        faults.lie_in_wait(ambush(1, Fault::KillAfter));
        faults.lie_in_wait(ambush(0, Fault::Twice));
        // Nothing that passes here can come twice.
        let passed: Vec<_> = (0..4).map(|_| faults.pass(site(), Some("a"))).collect();
        assert_eq!(passed, [None, Some(Fault::KillAfter), None, None]);
        let strikes = faults.collect_strikes();
        assert_eq!(strikes.len(), 1);
        assert_eq!(
            (strikes[0].label.as_str(), strikes[0].site.as_str()),
            ("kill-after after 1", "F call dynamodb:PutItem orders")
        );
        assert!(faults.collect_strikes().is_empty());
        assert_eq!(faults.ambushes(), [ambush(0, Fault::Twice)]);
        // Points are not recorded for it: it may go on for hours.
        assert!(faults.points().is_empty());
    }

    #[test]
    fn a_refusal_out_of_an_ambush_lasts_as_long_as_its_invocation() {
        let faults = Faults::default();
        for label in ["one", "two"] {
            faults.lie_in_wait(Ambush {
                passages: 0,
                fault: Fault::Fail,
                label: label.to_owned(),
            });
        }
        let passed = ["a", "a", "b", "c", "b"].map(|invocation| faults.pass(site(), Some(invocation)).is_some());
        assert_eq!(passed, [true, true, true, false, true]);
        assert_eq!(faults.collect_strikes().len(), 2);
    }

    #[test]
    fn nothing_is_recorded_while_nobody_watches() {
        let faults = Faults::default();
        assert_eq!(faults.pass(site(), None), None);
        faults.watch();
        faults.clear();
        assert_eq!(faults.pass(site(), None), None);
        assert!(faults.points().is_empty());
    }
}
