//! The proof that nothing is lost: every flow is gone through once undisturbed, which tells every point where something
//! can go wrong; then again for every point and every fault there, after which all time passes and the books are checked.
//!
//! Points are discovered, not listed: a call that a function makes tomorrow is broken tomorrow.

mod flows;
mod house;
mod market;
mod page;
mod pool;
mod races;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::books::{Books, BooksError, Report};
use crate::cargo_build::BuildError;
use crate::faults::{Fault, Kind, Point};
use crate::{Providers, Source, StartError, root};
pub use flows::Flow;
use flows::{End, Scene};
use house::Site;
use market::Market;
pub use market::MarketError;
use pool::{Company, Job, Pool};
pub use races::{Heat, Pair, Race, RacePlan, RaceProgress, Races, Ran, race};

/// Trials after which time passes for all of them together.
const COMPANY: usize = 6;
/// Points of each flow in a short proof, beside those that it has all of.
const SHORT_SAMPLE: usize = 3;
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

/// What passes between two runs that move the clock themselves: deliveries that failed come again.
const SETTLING: [Duration; 3] = [
    Duration::from_secs(65),
    Duration::from_secs(130),
    Duration::from_secs(16 * 60),
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
    /// Where the functions come from.
    pub functions: Source,
    /// The platform as a program, which is killed whole. Without it that fault is not tried.
    pub program: Option<PathBuf>,
}

/// Why nothing could be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There are no functions.
    #[error(transparent)]
    Functions(#[from] StartError),
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
    /// How long they took.
    pub took: Duration,
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
        let minutes = self.took.as_secs().div_ceil(60).max(1);
        writeln!(
            f,
            "\n{runs} of {} runs in {minutes} minutes, {} a minute.",
            self.planned,
            runs as u64 / minutes
        )?;
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
    let functions = crate::binaries(plan.functions.clone()).await?;
    let template = plan.template.clone().unwrap_or_else(|| root().join("template.yaml"));
    let site = |providers: Providers, whole: bool| Site {
        functions: functions.clone(),
        template: template.clone(),
        providers,
        program: plan.program.clone().filter(|_| whole),
    };
    let flows: Vec<Flow> = Flow::ALL
        .into_iter()
        .filter(|flow| plan.flow.is_none_or(|only| only == *flow))
        .collect();

    let mut outcome = Outcome::default();
    match (&plan.point, plan.flow) {
        (Some(point), Some(flow)) => {
            outcome.points.insert(flow, vec![point.clone()]);
        }
        _ => {
            for providers in [Providers::Sandbox, Providers::Simulated] {
                let flows = flows.iter().copied().filter(|flow| flow.providers() == providers);
                let flows: Vec<Flow> = flows.collect();
                if flows.is_empty() {
                    continue;
                }
                let mut market = Market::open(site(providers, false)).await?;
                let discovered = discover(&mut market, flows, plan.short, &tell).await;
                market.house.closes().await;
                outcome.points.extend(discovered?);
            }
        }
    }
    if plan.points_only {
        return Ok(outcome);
    }
    let mut trials = Vec::new();
    for (flow, points) in &outcome.points {
        trials.extend(choose(plan, *flow, points));
    }
    trials.sort_by_key(|trial| shuffled(plan.seed, &trial.to_string()));

    let of = trials.len();
    outcome.planned = of;
    let began = Instant::now();
    let pool = Pool::of(in_company(trials), plan.markets, plan.limit);
    let open = async |kind: Kinship| Market::open(site(kind.providers, kind.whole)).await;
    let attempt = async |market: &mut Market, company: &[Trial]| attempt(market, company).await;
    outcome.shown = pool
        .work(open, attempt, |shown, done| tell(Progress::Tried(shown, done, of)))
        .await?;
    outcome.took = began.elapsed();
    Ok(outcome)
}

/// What trials have in common that share a market and the passing of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kinship {
    providers: Providers,
    /// Whether the platform is killed whole, in a process of its own.
    whole: bool,
    /// Whether the flow itself lets half an hour pass: what others have begun would be over.
    expires: bool,
}

impl Job for Trial {
    type Kinship = Kinship;
    type Shown = Shown;

    fn has_failed(shown: &Shown) -> bool {
        !shown.found.is_empty()
    }
}

impl Trial {
    fn kinship(&self) -> Kinship {
        Kinship {
            providers: self.flow.providers(),
            whole: self.fault == Fault::Platform,
            expires: self.flow == Flow::Expire,
        }
    }

    /// Depends on what functions have forgotten by now: a week has passed for the first of a company.
    fn comes_first(&self) -> bool {
        self.point.site.target.contains("jwks") || self.point.site.function.contains("Jwks")
    }

    /// Holds up a stream, and so everybody after it.
    fn comes_last(&self) -> bool {
        self.fault == Fault::Late && self.point.site.target.starts_with("stream ")
    }
}

/// Trials that share the passing of time: one at most that has to be first, and one that has to be last.
fn in_company(trials: Vec<Trial>) -> Vec<Company<Trial>> {
    let mut kin: BTreeMap<Kinship, [Vec<Trial>; 3]> = BTreeMap::new();
    for trial in trials {
        let [first, between, last] = kin.entry(trial.kinship()).or_default();
        if trial.comes_first() {
            first.push(trial);
        } else if trial.comes_last() {
            last.push(trial);
        } else {
            between.push(trial);
        }
    }
    let mut companies = Vec::new();
    for (kinship, [mut first, mut between, mut last]) in kin {
        while !(first.is_empty() && between.is_empty() && last.is_empty()) {
            let mut jobs: Vec<Trial> = first.pop().into_iter().collect();
            let end = last.pop();
            let room = COMPANY.saturating_sub(jobs.len() + usize::from(end.is_some()));
            jobs.extend(between.drain(..room.min(between.len())));
            jobs.extend(end);
            companies.push(Company { kinship, jobs });
        }
    }
    companies
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
    let whole = company.iter().any(|trial| trial.fault == Fault::Platform);
    if whole {
        market.house.goes_apart().await?;
    }
    for trial in company {
        if trial.flow == Flow::Expire && !runs.is_empty() {
            // What the one before has left behind is over before the clock is moved for the next one.
            for span in SETTLING {
                market.lives_through(span).await?;
            }
        }
        runs.push(go_through(market, trial.flow, Some(trial)).await?);
    }
    if whole {
        market.house.comes_home().await?;
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
    let mut scene = flow.prepare(market).await?;
    let deaths = market.house.deaths();
    market
        .house
        .watches(trial.map(|trial| (&trial.point, trial.fault)))
        .await?;
    let acted = async {
        flow.act(market, &mut scene).await?;
        market.rests().await
    };
    let acted = acted.await;
    let (points, struck) = market.house.saw().await?;
    let mut found: Vec<String> = acted.err().map(|error| error.to_string()).into_iter().collect();
    if flow == Flow::Push && trial.is_none() && !scene.pushed {
        found.push("an open page was not told".to_owned());
    }
    Ok(Run {
        flow,
        scene,
        points,
        reached: struck || market.house.deaths() > deaths,
        found,
    })
}

/// Lets all time pass, and looks for what is wrong with the books and with the end of each run.
async fn live_on(market: &mut Market, runs: &mut [Run]) -> Result<(), ProofError> {
    let most = runs.iter().map(|run| run.flow.end().most_mails);
    let (report, wrong) = time_passes(market, most).await?;
    for run in runs {
        run.found.extend(wrong.iter().cloned());
        let end = look_at(market, &run.flow.end(), &run.scene.about, &report).await;
        run.found.extend(end);
    }
    Ok(())
}

/// Lets all time pass; answers the books, and what is wrong with them as a whole. `most`: mails that each run may have sent.
async fn time_passes(
    market: &mut Market,
    most: impl Iterator<Item = [usize; 2]>,
) -> Result<(Report, Vec<String>), ProofError> {
    let mut wrong = Vec::new();
    for span in AFTERWARDS {
        if let Err(error) = market.lives_through(span).await {
            wrong.push(error.to_string());
            break;
        }
    }
    let report = Books::read(market.house.here()?).await?.check(&market.put_up);
    wrong.extend(look_around(market, &report).await?);
    let most = most.fold([0, 0], |sum, most| [sum[0] + most[0], sum[1] + most[1]]);
    wrong.extend(market.too_many_mails(most)?);
    Ok((report, wrong))
}

/// What is wrong with the books as a whole, and what is left over.
async fn look_around(market: &Market, report: &Report) -> Result<Vec<String>, ProofError> {
    let mut found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let people = report.for_people.iter();
    found.extend(people.map(|what| format!("left to a person: {what:?}")));
    let letters = market.dead_letters().await?.into_iter();
    found.extend(letters.map(|letter| format!("dead letter in {letter}")));
    let mut pending = market.house.here()?.work.pending().map_err(market::inside)?;
    if !pending.is_idle() {
        pending.queues.retain(|queue| queue.total() > 0);
        found.push(format!("still pending: {pending:?}"));
    }
    let unfinished = report.orders.iter().filter(|(_, books)| books.unfinished);
    found.extend(unfinished.map(|(order, books)| format!("the order {order} is unfinished: {books:?}")));
    Ok(found)
}

/// What is wrong with the end of a flow.
async fn look_at(market: &Market, end: &End, about: &str, report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    match (end.status, report.orders.get(about)) {
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
    for (person, wanted) in [(&market.buyer, &end.buyer_told), (&market.seller, &end.seller_told)] {
        match market.told(person, about).await {
            Ok(told) if told == *wanted => {}
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
        let tried = |fault: &Fault| *fault != Fault::Platform || plan.program.is_some();
        faults.into_iter().filter(tried).map(move |fault| Trial {
            flow,
            point: point.clone(),
            fault,
        })
    });
    let mut trials: Vec<Trial> = trials.collect();
    if !plan.short {
        return trials;
    }
    trials.sort_by_key(|trial| shuffled(plan.seed, &trial.to_string()));
    let (mut taken, mut whole) = (0, 0);
    trials.retain(|trial| {
        if trial.fault == Fault::Platform {
            // Each is a start of the whole platform.
            whole += 1;
            return whole == 1
                && matches!(
                    flow,
                    Flow::Create | Flow::Pay | Flow::CancelPaid | Flow::Refund | Flow::Push
                );
        }
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
fn shuffled(seed: u64, thing: &str) -> [u8; 16] {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write!(text, "{seed} {thing}");
    md5::compute(text).0
}
