//! The proof that nothing is lost: every flow is gone through once undisturbed, which tells every point where something
//! can go wrong; then again for every point and every fault there, after which all time passes and the books are checked.
//!
//! Points are discovered, not listed: a call that a function makes tomorrow is broken tomorrow.

mod flows;
mod market;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::books::{Books, BooksError, Report};
use crate::cargo_build::{self, BuildError, Profile};
use crate::faults::{Fault, Kind, Point};
use crate::{Source, root};
pub use flows::Flow;
use flows::Scene;
use market::Market;
pub use market::MarketError;

/// Times that all time passes in one market before a new one is opened: books are read whole.
const ROUNDS_PER_MARKET: usize = 12;
/// Trials after which time passes for all of them together.
const COMPANY: usize = 6;
/// Points of each flow in a short proof, beside those that it has all of.
const SHORT_SAMPLE: usize = 4;
/// What passes after a flow: deliveries that failed come again, late ones come, leases and time to pay end, and a week
/// goes by, after which paid orders complete by themselves.
const AFTERWARDS: [Duration; 9] = [
    Duration::from_secs(65),
    Duration::from_secs(130),
    Duration::from_secs(16 * 60),
    Duration::from_secs(16 * 60),
    Duration::from_secs(65),
    Duration::from_secs(6 * 24 * 60 * 60 + 60),
    Duration::from_secs(65),
    Duration::from_secs(24 * 60 * 60 + 60),
    Duration::from_secs(65),
];

/// What is to be proved.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One flow only.
    pub flow: Option<Flow>,
    /// One point only.
    pub point: Option<Point>,
    /// One fault only.
    pub fault: Option<Fault>,
    /// Decides the order of the runs, and which ones a short proof has.
    pub seed: u64,
    /// A sample instead of everything.
    pub short: bool,
    /// Markets at the same time.
    pub markets: usize,
    /// Finds the points and tries nothing.
    pub points_only: bool,
    /// No new run begins after so long.
    pub limit: Option<Duration>,
    /// Another template than the workspace's.
    pub template: Option<PathBuf>,
}

/// Why nothing could be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The functions were not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no market.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The books can not be read.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// A flow does not even end well when nothing goes wrong.
    #[error("{flow} does not end well undisturbed: {}", .found.join("; "))]
    Undisturbed {
        /// The flow.
        flow: Flow,
        /// What is wrong.
        found: Vec<String>,
    },
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The flow.
    pub flow: Flow,
    /// Where it is disturbed.
    pub point: Point,
    /// How.
    pub fault: Fault,
}

impl fmt::Display for Trial {
    /// How to do it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { flow, point, fault } = self;
        write!(
            f,
            "cargo run -- proof --flow {flow} --point \"{point}\" --fault {fault}"
        )
    }
}

/// What a trial showed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The trial.
    pub trial: Trial,
    /// Whether the flow came by the point this time; timing decides about some.
    pub reached: bool,
    /// What was wrong afterwards.
    pub found: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Points of each flow.
    pub points: BTreeMap<Flow, Vec<Point>>,
    /// Every trial that there was time for.
    pub shown: Vec<Shown>,
    /// How many there were to be.
    pub planned: usize,
}

impl Outcome {
    /// Trials after which something was wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Shown> {
        self.shown.iter().filter(|shown| !shown.found.is_empty())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| Flow | Points | Faults | Runs | Not reached | Failures |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        let mut all = [0; 4];
        for (flow, points) in &self.points {
            let of_flow = || self.shown.iter().filter(|shown| shown.trial.flow == *flow);
            let mut faults: Vec<Fault> = of_flow().map(|shown| shown.trial.fault).collect();
            faults.sort_unstable();
            faults.dedup();
            let row = [
                points.len(),
                of_flow().count(),
                of_flow().filter(|shown| !shown.reached).count(),
                of_flow().filter(|shown| !shown.found.is_empty()).count(),
            ];
            let [points, runs, missed, failures] = row;
            writeln!(
                f,
                "| {flow} | {points} | {} | {runs} | {missed} | {failures} |",
                faults.len()
            )?;
            for (sum, number) in all.iter_mut().zip(row) {
                *sum += number;
            }
        }
        let [points, runs, missed, failures] = all;
        writeln!(f, "| all | {points} | | {runs} | {missed} | {failures} |")?;
        if runs < self.planned {
            writeln!(f, "\n{runs} of {} runs, for want of time.", self.planned)?;
        }
        for shown in self.failures() {
            writeln!(f, "\nfailed: {}", shown.trial)?;
            for found in &shown.found {
                writeln!(f, "  {found}")?;
            }
        }
        Ok(())
    }
}

/// Something to tell while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A flow was gone through undisturbed.
    Discovered(Flow, &'a [Point]),
    /// A trial ended; so many of so many are done.
    Tried(&'a Shown, usize, usize),
}

/// Carries out the plan.
///
/// # Errors
/// [`ProofError`]. What a trial shows is no error: see [`Outcome::failures`].
pub async fn run(plan: &Plan, tell: impl Fn(Progress<'_>)) -> Result<Outcome, ProofError> {
    let built = tokio::task::spawn_blocking(|| cargo_build::build(root(), Profile::OWN)).await;
    let functions = Source::Built(built.unwrap_or(Err(BuildError::Failed))?);
    let template = plan.template.clone().unwrap_or_else(|| root().join("template.yaml"));
    let open = || Market::open(functions.clone(), template.clone());
    let flows = Flow::ALL
        .into_iter()
        .filter(|flow| plan.flow.is_none_or(|only| only == *flow));

    let mut outcome = Outcome::default();
    match (&plan.point, plan.flow) {
        (Some(point), Some(flow)) => {
            outcome.points.insert(flow, vec![point.clone()]);
        }
        _ => {
            let mut market = open().await?;
            let discovered = discover(&mut market, flows.collect(), plan.short, &tell).await;
            market.platform.stop().await;
            outcome.points = discovered?;
        }
    }
    if plan.points_only {
        return Ok(outcome);
    }
    let mut trials = Vec::new();
    for (flow, points) in &outcome.points {
        trials.extend(choose(plan, *flow, points));
    }
    trials.sort_by_key(|trial| shuffled(plan.seed, trial));

    let of = trials.len();
    outcome.planned = of;
    let began = Instant::now();
    let is_over = || plan.limit.is_some_and(|limit| began.elapsed() >= limit);
    let left = Mutex::new(in_company(trials));
    let shown = Mutex::new(Vec::with_capacity(of));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || async {
        let mut kept: Option<(Market, usize)> = None;
        while let Some(company) = next().filter(|_| !is_over()) {
            let (mut market, rounds) = match kept.take() {
                Some(open) => open,
                None => (open().await?, 0),
            };
            let seen = attempt(&mut market, &company).await?;
            // What went wrong once stays in the books, and a later run is not to be blamed for it.
            let failed = seen.iter().any(|seen| !seen.found.is_empty());
            if !failed && rounds + 1 < ROUNDS_PER_MARKET {
                kept = Some((market, rounds + 1));
            } else {
                market.platform.stop().await;
            }
            if failed && company.len() > 1 {
                // Each alone, to see which one it was, and that it can be repeated.
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                left.extend(company.into_iter().map(|trial| vec![trial]));
                continue;
            }
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            for seen in seen {
                tell(Progress::Tried(&seen, shown.len() + 1, of));
                shown.push(seen);
            }
        }
        if let Some((market, _)) = kept {
            market.platform.stop().await;
        }
        Ok::<_, ProofError>(())
    };
    for worked in join_all((0..plan.markets.max(1)).map(|_| work())).await {
        worked?;
    }
    outcome.shown = shown.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(outcome)
}

/// Trials that share the passing of time. Alone is what moves the clock itself, waits for it, or depends on what functions
/// have forgotten by then.
fn in_company(trials: Vec<Trial>) -> VecDeque<Vec<Trial>> {
    let is_alone = |trial: &Trial| {
        let site = &trial.point.site;
        matches!(trial.fault, Fault::Late | Fault::Overtaken)
            || trial.flow == Flow::Expire
            || site.target.contains("jwks")
            || site.function.contains("Jwks")
    };
    let (alone, sociable): (Vec<Trial>, Vec<Trial>) = trials.into_iter().partition(is_alone);
    let companies = sociable.chunks(COMPANY).map(<[Trial]>::to_vec);
    companies.chain(alone.into_iter().map(|trial| vec![trial])).collect()
}

/// The points of the flows. In a full proof each is gone through twice, a week apart: what functions fetch once and keep for
/// ever is no point of every run, what they fetch anew is.
async fn discover(
    market: &mut Market,
    flows: Vec<Flow>,
    short: bool,
    tell: &impl Fn(Progress<'_>),
) -> Result<BTreeMap<Flow, Vec<Point>>, ProofError> {
    let mut points = BTreeMap::new();
    let mut undisturbed = async |market: &mut Market, flows: &[Flow]| {
        let mut runs = Vec::new();
        for flow in flows {
            runs.push(go_through(market, *flow, None).await?);
        }
        live_on(market, &mut runs).await?;
        for run in runs {
            let Run { flow, found, .. } = run;
            if !found.is_empty() {
                return Err(ProofError::Undisturbed { flow, found });
            }
            points.insert(flow, run.points);
        }
        Ok(())
    };
    if short {
        let (mut first, others): (Vec<Flow>, Vec<Flow>) = flows.iter().partition(|flow| **flow == Flow::Expire);
        first.extend(others);
        undisturbed(market, &first).await?;
    } else {
        for flow in &flows {
            undisturbed(market, &[*flow]).await?;
            undisturbed(market, &[*flow]).await?;
        }
    }
    for (flow, points) in &points {
        tell(Progress::Discovered(*flow, points));
    }
    Ok(points)
}

async fn attempt(market: &mut Market, company: &[Trial]) -> Result<Vec<Shown>, ProofError> {
    let mut runs = Vec::with_capacity(company.len());
    for trial in company {
        runs.push(go_through(market, trial.flow, Some(trial)).await?);
    }
    live_on(market, &mut runs).await?;
    let shown = company.iter().zip(runs).map(|(trial, run)| Shown {
        trial: trial.clone(),
        reached: run.reached,
        found: run.found,
    });
    Ok(shown.collect())
}

/// A flow that was gone through.
struct Run {
    flow: Flow,
    scene: Scene,
    points: Vec<Point>,
    reached: bool,
    found: Vec<String>,
}

/// Goes through a flow until only time can bring about more.
async fn go_through(market: &mut Market, flow: Flow, trial: Option<&Trial>) -> Result<Run, ProofError> {
    let faults = market.platform.faults().clone();
    let mut scene = flow.prepare(market).await?;
    faults.watch();
    if let Some(trial) = trial {
        faults.set(trial.point.clone(), trial.fault);
    }
    let acted = async {
        flow.act(market, &mut scene).await?;
        market.rests().await
    };
    let acted = acted.await;
    let (points, switches) = (faults.points(), faults.switches());
    faults.clear();
    Ok(Run {
        flow,
        scene,
        points,
        reached: switches.iter().any(|switch| switch.struck > 0),
        found: acted.err().map(|error| error.to_string()).into_iter().collect(),
    })
}

/// Lets all time pass, and looks for what is wrong with the books and with the end of each run.
async fn live_on(market: &mut Market, runs: &mut [Run]) -> Result<(), ProofError> {
    let mut wrong = Vec::new();
    for span in AFTERWARDS {
        if let Err(error) = market.lives_through(span).await {
            wrong.push(error.to_string());
            break;
        }
    }
    let report = Books::read(&market.platform).await?.check(&market.put_up);
    wrong.extend(look_around(market, &report).await?);
    let most = runs.iter().map(|run| run.flow.end().most_mails);
    let most = most.fold([0, 0], |sum, most| [sum[0] + most[0], sum[1] + most[1]]);
    wrong.extend(market.too_many_mails(most)?);
    for run in runs {
        run.found.extend(wrong.iter().cloned());
        let end = look_at(market, run.flow, &run.scene, &report).await;
        run.found.extend(end);
    }
    Ok(())
}

/// What is wrong with the books as a whole, and what is left over.
async fn look_around(market: &Market, report: &Report) -> Result<Vec<String>, ProofError> {
    let mut found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let people = report.for_people.iter();
    found.extend(people.map(|what| format!("left to a person: {what:?}")));
    let letters = market.dead_letters().await?.into_iter();
    found.extend(letters.map(|letter| format!("dead letter in {letter}")));
    let mut pending = market.platform.work.pending().map_err(market::inside)?;
    if !pending.is_idle() {
        pending.queues.retain(|queue| queue.total() > 0);
        found.push(format!("still pending: {pending:?}"));
    }
    let unfinished = report.orders.iter().filter(|(_, books)| books.unfinished);
    found.extend(unfinished.map(|(order, books)| format!("the order {order} is unfinished: {books:?}")));
    Ok(found)
}

/// What is wrong with the end of a flow.
async fn look_at(market: &Market, flow: Flow, scene: &Scene, report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let end = flow.end();
    match (end.status, report.orders.get(&scene.about)) {
        (None, _) => {}
        (Some(_), None) => found.push("there is no order".to_owned()),
        (Some(status), Some(books)) => {
            let is = (
                books.status.as_str(),
                books.captured_fen,
                books.refunded_fen,
                books.released_fen,
            );
            let wanted = (status, end.captured_fen, end.refunded_fen, end.released_fen);
            if is != wanted {
                found.push(format!(
                    "(status, captured, refunded, released) is {is:?} instead of {wanted:?}"
                ));
            }
        }
    }
    for (person, wanted) in [(&market.buyer, end.buyer_told), (&market.seller, end.seller_told)] {
        match market.told(person, &scene.about).await {
            Ok(told) if told == wanted => {}
            Ok(told) => found.push(format!("{} was told {told:?} instead of {wanted:?}", person.email)),
            Err(error) => found.push(error.to_string()),
        }
    }
    found
}

/// What a plan tries at the points of a flow.
fn choose(plan: &Plan, flow: Flow, points: &[Point]) -> Vec<Trial> {
    let trials = points.iter().flat_map(|point| {
        let faults: Vec<Fault> = match plan.fault {
            Some(fault) if plan.point.is_some() || Fault::of(&point.site).contains(&fault) => vec![fault],
            Some(_) => Vec::new(),
            None => Fault::of(&point.site).to_vec(),
        };
        faults.into_iter().map(move |fault| Trial {
            flow,
            point: point.clone(),
            fault,
        })
    });
    let mut trials: Vec<Trial> = trials.collect();
    if !plan.short {
        return trials;
    }
    trials.sort_by_key(|trial| shuffled(plan.seed, trial));
    let mut taken = 0;
    trials.retain(|trial| {
        let killed = matches!(trial.fault, Fault::KillBefore | Fault::KillAfter);
        if killed && matches!(flow, Flow::Create | Flow::Pay) && trial.point.site.kind == Kind::Call {
            // All that change something.
            return !trial.point.site.is_read();
        }
        // What hangs costs seconds.
        taken += usize::from(trial.fault != Fault::Hang);
        trial.fault != Fault::Hang && taken <= SHORT_SAMPLE
    });
    trials
}

/// A place in an order that the seed decides.
fn shuffled(seed: u64, trial: &Trial) -> [u8; 16] {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write!(text, "{seed} {trial}");
    md5::compute(text).0
}
