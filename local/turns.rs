//! Two flows that take turns: every call that both could quarrel about waits until its flow is to go on.
//!
//! At any moment one flow runs at most, the other one is parked at its next call. So a schedule such as `AABA` is one
//! interleaving of their steps and no other. Nothing is named or waited for while nobody takes turns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

/// By which a client says which flow its request belongs to. No function gets to see it.
pub(crate) const HEADER: &str = "x-cfmp-lane";
/// Longest wait for a flow to come to its next step: longer than a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// How often is looked whether a flow will come to no further step.
const LOOK: Duration = Duration::from_millis(10);

/// One of the two flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// The first.
    A,
    /// The second.
    B,
}

impl Lane {
    /// Both.
    pub const BOTH: [Lane; 2] = [Lane::A, Lane::B];

    /// The one that is meant by its letter.
    #[must_use]
    pub fn named(letter: &str) -> Option<Lane> {
        Lane::BOTH.into_iter().find(|lane| lane.letter() == letter)
    }

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Lane::A => "A",
            Lane::B => "B",
        }
    }
}

/// An order in which two flows go on: whose step is next, and next, and next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Interleaving(pub Vec<Lane>);

impl Interleaving {
    /// How often one flow stops and the other goes on.
    #[must_use]
    pub fn switches(&self) -> usize {
        self.0.windows(2).filter(|pair| pair.first() != pair.last()).count()
    }
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| f.write_str(lane.letter()))
    }
}

/// Text that is no interleaving.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no interleaving; one reads like AABBA")]
pub struct NotAnInterleaving(String);

impl FromStr for Interleaving {
    type Err = NotAnInterleaving;

    fn from_str(text: &str) -> Result<Self, NotAnInterleaving> {
        let lanes = text.chars().map(|letter| Lane::named(letter.encode_utf8(&mut [0; 4])));
        let lanes: Option<Vec<Lane>> = lanes.collect();
        lanes
            .map(Interleaving)
            .ok_or_else(|| NotAnInterleaving(text.to_owned()))
    }
}

/// A call of a function to the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Logical id of the function.
    pub(crate) function: String,
    /// The invocation that calls.
    pub(crate) request_id: String,
    /// `dynamodb:PutItem`
    pub(crate) target: String,
    /// Tables it touches, and whether it changes them.
    pub(crate) tables: BTreeMap<String, bool>,
}

impl Passage {
    /// Whether it makes a difference which of both comes first.
    pub(crate) fn quarrels_with(&self, other: &Passage) -> bool {
        self.tables.iter().any(|(table, writes)| {
            let there = other.tables.get(table);
            there.is_some_and(|also_writes| *writes || *also_writes)
        })
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        write!(f, "{} {} {}", self.function, self.target, tables.join("+"))
    }
}

/// A call that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) passage: Passage,
    /// What its invocation goes back to.
    pub(crate) origin: Origin,
}

/// What an invocation goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client's request of this flow.
    Client(Lane),
    /// A function that no request started, itself or one that it called.
    Function(String),
}

/// Who takes turns about what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Functions that no request starts, and whose flow they belong to.
    pub(crate) functions: BTreeMap<String, Lane>,
    /// Tables that both flows touch and one of them changes. Calls to others wait for nobody.
    pub(crate) contested: BTreeSet<String>,
}

/// How a schedule was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Steps that were made when it was their turn.
    pub made: usize,
    /// Turns that nobody took: the flow went another way because of what the other had done.
    pub let_go: usize,
}

/// The turns of one platform. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    awake: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    /// Whether calls wait; otherwise they are only written down.
    held: bool,
    made: Vec<Made>,
    /// Invocations of requests that are not answered yet.
    open: HashMap<String, Origin>,
    /// Flows whose people are not done.
    people: Vec<Lane>,
    parked: Vec<Parked>,
    /// The flow that makes a step.
    stepping: Option<Lane>,
    /// The flow that was let go last.
    running: Option<Lane>,
}

#[derive(Debug)]
struct Parked {
    lane: Lane,
    request_id: String,
    go: oneshot::Sender<()>,
}

/// A step that is being made.
#[derive(Debug)]
pub(crate) struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().stepping = None;
        self.0.changed.notify_one();
    }
}

/// Somebody does what begins a flow.
#[derive(Debug)]
pub(crate) struct Deed(Turns, Lane);

impl Drop for Deed {
    fn drop(&mut self) {
        self.0.state().people.retain(|lane| *lane != self.1);
        self.0.changed.notify_one();
    }
}

/// An invocation that somebody waits for.
#[derive(Debug)]
pub(crate) struct UnderWay(Option<(Turns, String)>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some((turns, request_id)) = self.0.take() {
            turns.state().open.remove(&request_id);
            turns.changed.notify_one();
        }
    }
}

impl Turns {
    /// Whether anybody takes turns, or wants to know who would.
    pub(crate) fn are_awake(&self) -> bool {
        self.awake.load(Ordering::Acquire)
    }

    /// Begins to write down what calls are made.
    pub(crate) fn watch(&self) {
        *self.state() = State::default();
        self.awake.store(true, Ordering::Release);
    }

    /// Begins to hold calls, by these rules.
    pub(crate) fn hold(&self, rules: Rules) {
        self.watch();
        let mut state = self.state();
        state.rules = rules;
        state.held = true;
    }

    /// Lets everybody go, and tells what was written down.
    pub(crate) fn end(&self) -> Vec<Made> {
        self.awake.store(false, Ordering::Release);
        // Who is parked goes on when its sender is gone.
        std::mem::take(&mut *self.state()).made
    }

    /// Somebody begins a flow.
    pub(crate) fn deed(&self, lane: Lane) -> Deed {
        self.state().people.push(lane);
        Deed(self.clone(), lane)
    }

    /// A request's invocation begins.
    pub(crate) fn begin(&self, request_id: &str, origin: Option<Origin>) -> UnderWay {
        let Some(origin) = origin.filter(|_| self.are_awake()) else {
            return UnderWay(None);
        };
        self.state().open.insert(request_id.to_owned(), origin);
        UnderWay(Some((self.clone(), request_id.to_owned())))
    }

    /// What a call between functions goes back to: that of the only invocation which can have made it, or of who runs.
    pub(crate) fn origin_of(&self, function: &str, busy: &[String]) -> Origin {
        let state = self.state();
        let origins: Vec<Origin> = busy.iter().map(|id| state.origin(function, id)).collect();
        let of_who_runs = origins
            .iter()
            .find(|origin| state.running.is_some() && state.lane(origin) == state.running);
        let origin = of_who_runs.or(origins.first()).cloned();
        origin.unwrap_or_else(|| Origin::Function(function.to_owned()))
    }

    /// From now on this flow runs.
    pub(crate) fn starts(&self, lane: Lane) {
        self.state().running = Some(lane);
    }

    /// A call is about to be made; it waits until it is its flow's turn.
    pub(crate) async fn enter(&self, passage: Passage) -> Option<Turn> {
        let (go, gone) = oneshot::channel();
        {
            let mut state = self.state();
            let origin = state.origin(&passage.function, &passage.request_id);
            let lane = state.lane(&origin);
            let is_contested = passage.tables.keys().any(|table| state.rules.contested.contains(table));
            let request_id = passage.request_id.clone();
            state.made.push(Made { passage, origin });
            let lane = lane.filter(|_| state.held && is_contested)?;
            state.parked.push(Parked { lane, request_id, go });
        }
        self.changed.notify_one();
        gone.await.ok().map(|()| Turn(self.clone()))
    }

    /// Has the flows go on in this order, and lets both go afterwards. `rests` tells whether nothing is under way but so many
    /// invocations.
    pub(crate) async fn conduct(&self, order: &Interleaving, rests: &impl AsyncFn(usize) -> bool) -> Kept {
        let mut kept = Kept::default();
        for lane in &order.0 {
            let last = self.state().running;
            if let Some(last) = last.filter(|last| last != lane) {
                self.comes_to(last, rests).await;
            }
            if self.comes_to(*lane, rests).await && self.lets(*lane) {
                kept.made += 1;
            } else {
                kept.let_go += 1;
            }
        }
        let parked = {
            let mut state = self.state();
            state.held = false;
            std::mem::take(&mut state.parked)
        };
        for parked in parked {
            // Who no longer waits needs no word.
            let _ = parked.go.send(());
        }
        kept
    }

    /// Waits until a flow is parked at its next step; false where it comes to none.
    pub(crate) async fn comes_to(&self, lane: Lane, rests: &impl AsyncFn(usize) -> bool) -> bool {
        let comes = async {
            loop {
                let (is_parked, is_busy, accounted, asynchronous) = {
                    let state = self.state();
                    let is_parked = state.parked.iter().any(|parked| parked.lane == lane);
                    let is_busy = state.stepping == Some(lane)
                        || state.people.contains(&lane)
                        || state.open.values().any(|origin| state.lane(origin) == Some(lane));
                    let mut accounted: BTreeSet<&String> =
                        state.parked.iter().map(|parked| &parked.request_id).collect();
                    accounted.extend(state.open.keys());
                    let asynchronous = state.rules.functions.values().any(|of| *of == lane);
                    (
                        is_parked && state.stepping != Some(lane),
                        is_busy,
                        accounted.len(),
                        asynchronous,
                    )
                };
                if is_parked {
                    return true;
                }
                if !is_busy && (!asynchronous || rests(accounted).await) {
                    // It may have come while that was looked at.
                    return self.state().parked.iter().any(|parked| parked.lane == lane);
                }
                let _ = tokio::time::timeout(LOOK, self.changed.notified()).await;
            }
        };
        tokio::time::timeout(PATIENCE, comes).await.unwrap_or(false)
    }

    /// Lets a parked flow make its step.
    fn lets(&self, lane: Lane) -> bool {
        let mut state = self.state();
        let place = state.parked.iter().position(|parked| parked.lane == lane);
        let Some(place) = place else { return false };
        let parked = state.parked.remove(place);
        state.stepping = Some(lane);
        state.running = Some(lane);
        let went = parked.go.send(()).is_ok();
        if !went {
            state.stepping = None;
        }
        went
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn origin(&self, function: &str, request_id: &str) -> Origin {
        let of_request = self.open.get(request_id).cloned();
        of_request.unwrap_or_else(|| Origin::Function(function.to_owned()))
    }

    /// The flow that this belongs to, if it is one alone.
    fn lane(&self, origin: &Origin) -> Option<Lane> {
        match origin {
            Origin::Client(lane) => Some(*lane),
            Origin::Function(function) => self.rules.functions.get(function).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(request_id: &str, table: &str) -> Passage {
        Passage {
            function: "F".to_owned(),
            request_id: request_id.to_owned(),
            target: "dynamodb:PutItem".to_owned(),
            tables: BTreeMap::from([(table.to_owned(), true)]),
        }
    }

    #[test]
    fn an_interleaving_reads_as_it_is_written() {
        let order: Interleaving = "AABBA".parse().unwrap();
        assert_eq!((order.to_string().as_str(), order.switches()), ("AABBA", 2));
        assert!("AC".parse::<Interleaving>().is_err());
    }

    #[test]
    fn only_who_touches_the_same_and_changes_it_quarrels() {
        let mut reads = passage("a", "orders");
        reads.tables.insert("orders".to_owned(), false);
        assert!(passage("a", "orders").quarrels_with(&reads));
        assert!(!reads.quarrels_with(&reads));
        assert!(!passage("a", "orders").quarrels_with(&passage("b", "users")));
    }

    #[tokio::test]
    async fn calls_are_made_in_the_order_that_was_wished() {
        for wished in ["AABB", "ABAB", "BAAB", "BBAA", "BABA", "ABBA"] {
            let turns = Turns::default();
            turns.hold(Rules {
                functions: BTreeMap::new(),
                contested: BTreeSet::from(["orders".to_owned()]),
            });
            let made = Arc::new(Mutex::new(String::new()));
            let flow = |lane: Lane| {
                let (turns, made) = (turns.clone(), Arc::clone(&made));
                async move {
                    let _deed = turns.deed(lane);
                    let _under_way = turns.begin(lane.letter(), Some(Origin::Client(lane)));
                    for _ in 0..2 {
                        let _turn = turns.enter(passage(lane.letter(), "orders")).await;
                        made.lock().unwrap().push_str(lane.letter());
                        // Nobody waits for this one.
                        assert!(turns.enter(passage(lane.letter(), "users")).await.is_none());
                    }
                }
            };
            let order = wished.parse().unwrap();
            let (_, _, kept) = tokio::join!(flow(Lane::A), flow(Lane::B), turns.conduct(&order, &async |_| true));
            assert_eq!(*made.lock().unwrap(), wished);
            assert_eq!(kept, Kept { made: 4, let_go: 0 });
            assert_eq!(turns.end().len(), 8);
        }
    }

    #[tokio::test]
    async fn a_step_that_nobody_comes_to_is_let_go() {
        let turns = Turns::default();
        turns.hold(Rules {
            functions: BTreeMap::new(),
            contested: BTreeSet::from(["orders".to_owned()]),
        });
        let flow = async {
            let _deed = turns.deed(Lane::A);
            let _under_way = turns.begin("a", Some(Origin::Client(Lane::A)));
            turns.enter(passage("a", "orders")).await;
        };
        let order = "BAAB".parse().unwrap();
        let (_, kept) = tokio::join!(flow, turns.conduct(&order, &async |_| true));
        assert_eq!(kept, Kept { made: 1, let_go: 3 });
    }
}
