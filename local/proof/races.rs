//! Two flows on one order, in every order of their steps.
//!
//! Each flow is gone through alone first, which tells its steps: the calls to tables that the other flow touches as well,
//! where one of both changes something. Then both run on one order, and each step waits for its turn. Two orders of steps
//! that differ only by steps which do not quarrel come to the same; one of them is run. What functions of both flows do
//! afterwards (telling people, say) takes no turns and comes as it comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::flows::{CANCELLED, COMPLETED, End, FEN, PAID, PLACED, REFUNDED, Scene, UNTIL_UNPAID, end, told};
use super::house::Site;
use super::market::{Market, MarketError, Wish};
use super::pool::{Company, Job, Pool};
use super::{ProofError, SETTLING, look_at, shuffled, time_passes};
use crate::turns::{Interleaving, Kept, Lane, Made, Origin, Passage, Rules};
use crate::{Platform, Providers, Source, root};

/// Races after which time passes for all of them together.
const COMPANY: usize = 8;
/// Pairs with more orders of steps than this are run with so few switches from one flow to the other as [`MOST_SWITCHES`].
const MOST_COMPLETE: u64 = 400;
/// Orders with at most so many switches are run, all of them.
const MOST_SWITCHES: usize = 3;
/// Orders of each pair in a short run.
const SHORT_SAMPLE: usize = 3;
/// Looks without a change after which a flow comes to no further step.
const STILL: usize = 4;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// How long schedules take to notice that the clock was moved.
const WAKING: Duration = Duration::from_secs(5);
/// What a buyer asks back in part; twice that is more than he paid.
const PART: (&str, i64) = ("12.00", 1200);

/// Two flows on one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Pair {
    /// The buyer pays and calls off.
    #[value(name = "pay/cancel")]
    PayCancel,
    /// The buyer pays when the time to pay is over.
    #[value(name = "pay/expire")]
    PayExpire,
    /// The seller calls off, the buyer confirms receipt.
    #[value(name = "cancel/complete")]
    CancelComplete,
    /// The buyer asks back two parts that are more than all together.
    #[value(name = "refund/refund")]
    RefundRefund,
    /// Buyer and seller call off.
    #[value(name = "cancel/cancel")]
    CancelCancel,
    /// Two payments are paid.
    #[value(name = "pay/pay")]
    PayPay,
    /// Two payments are opened.
    #[value(name = "open/open")]
    OpenOpen,
}

/// What somebody does.
enum Deed {
    /// Asks for something.
    Asks(Wish),
    /// Waits for so long.
    Waits(Duration),
}

impl Pair {
    /// All of them.
    pub const ALL: [Pair; 7] = [
        Pair::PayCancel,
        Pair::PayExpire,
        Pair::CancelComplete,
        Pair::RefundRefund,
        Pair::CancelCancel,
        Pair::PayPay,
        Pair::OpenOpen,
    ];

    /// As it is written on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Pair::PayCancel => "pay/cancel",
            Pair::PayExpire => "pay/expire",
            Pair::CancelComplete => "cancel/complete",
            Pair::RefundRefund => "refund/refund",
            Pair::CancelCancel => "cancel/cancel",
            Pair::PayPay => "pay/pay",
            Pair::OpenOpen => "open/open",
        }
    }

    /// Everything before, and what both do.
    async fn prepare(self, market: &mut Market) -> Result<(Scene, [Deed; 2]), MarketError> {
        let mut scene = Scene::default();
        scene.products.push(market.puts_up("19.90", 3).await?);
        scene.places(market).await?;
        if self != Pair::OpenOpen {
            scene.opens_payment(market).await?;
        }
        match self {
            Pair::CancelComplete | Pair::RefundRefund | Pair::CancelCancel => scene.pays(market, 0).await?,
            Pair::PayPay => {
                scene.closes_payment(market).await?;
                scene.opens_payment(market).await?;
                market.insist(&Wish::get(scene.page(0)?)).await?;
                market.insist(&Wish::get(scene.page(1)?)).await?;
            }
            Pair::PayCancel | Pair::PayExpire => drop(market.insist(&Wish::get(scene.page(0)?)).await?),
            Pair::OpenOpen => {}
        }
        market.rests().await?;

        let order = |verb: &str| Wish::post(scene.path(verb), &json!({}));
        let (buyer, seller) = (market.token(&market.buyer)?, market.token(&market.seller)?);
        let press = |payment| Ok::<_, MarketError>(Wish::form(scene.page(payment)?, "outcome=pay"));
        let part = || {
            let wish = Wish::post(
                format!("/api/payment/{}/refund", scene.about),
                &json!({ "refund_amount": PART.0 }),
            );
            wish.keyed().by(buyer.clone())
        };
        let [a, b] = match self {
            Pair::PayCancel => [press(0)?, order("cancel").by(buyer)],
            Pair::PayExpire => {
                return Ok((
                    scene.clone(),
                    [Deed::Asks(press(0)?.in_lane(Lane::A)), Deed::Waits(UNTIL_UNPAID)],
                ));
            }
            Pair::CancelComplete => [order("cancel").by(seller), order("complete").by(buyer)],
            Pair::RefundRefund => [part(), part()],
            Pair::CancelCancel => [order("cancel").by(buyer), order("cancel").by(seller)],
            Pair::PayPay => [press(0)?, press(1)?],
            Pair::OpenOpen => [scene.payment(market)?.keyed(), scene.payment(market)?.keyed()],
        };
        Ok((scene, [Deed::Asks(a.in_lane(Lane::A)), Deed::Asks(b.in_lane(Lane::B))]))
    }

    /// Where it may end.
    fn ends(self) -> Vec<End> {
        let called_off = || end("cancelled", (0, 0), [0, 0], told(&[PLACED, CANCELLED], false));
        let given_back = || {
            let steps = [PLACED, PAID, CANCELLED, REFUNDED];
            end("cancelled", (FEN, FEN), [1, 1], told(&steps, false))
        };
        let too_late = |status, (captured, refunded), steps: &[[&'static str; 2]], reminded| {
            let (mut buyer, seller) = told(steps, reminded);
            buyer.push(REFUNDED[0]);
            buyer.sort_unstable();
            end(status, (captured, refunded), [1, 1], (buyer, seller))
        };
        // It came in time for an order that had been called off meanwhile: the order knows of it, and tells both.
        let crossed = || {
            let steps = [PLACED, CANCELLED, REFUNDED];
            end("cancelled", (FEN, FEN), [1, 1], told(&steps, false))
        };
        let late = || too_late("cancelled", (FEN, FEN), &[PLACED, CANCELLED], false);
        match self {
            Pair::PayCancel => vec![called_off(), late(), given_back(), crossed()],
            Pair::PayExpire => {
                let paid = end("completed", (FEN, 0), [0, 1], told(&[PLACED, PAID, COMPLETED], true));
                vec![called_off(), late(), paid, crossed()]
            }
            Pair::CancelComplete => {
                let done = end("completed", (FEN, 0), [0, 1], told(&[PLACED, PAID, COMPLETED], false));
                vec![given_back(), done]
            }
            Pair::RefundRefund => {
                let steps = [PLACED, PAID, REFUNDED, COMPLETED];
                vec![end("completed", (FEN, PART.1), [1, 1], told(&steps, true))]
            }
            Pair::CancelCancel => vec![given_back()],
            Pair::PayPay => vec![too_late("completed", (2 * FEN, FEN), &[PLACED, PAID, COMPLETED], true)],
            Pair::OpenOpen => vec![called_off()],
        }
    }

    /// Whether both may be told yes, and both no.
    fn allows(self, [a, b]: [bool; 2]) -> bool {
        match self {
            Pair::CancelComplete | Pair::RefundRefund => a != b,
            // A page that can not be paid any more says so with a page.
            Pair::PayCancel | Pair::PayExpire | Pair::CancelCancel | Pair::PayPay | Pair::OpenOpen => a || b,
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is to be raced.
#[derive(Debug, Clone, Default)]
pub struct RacePlan {
    /// One pair only.
    pub pair: Option<Pair>,
    /// One order of steps only.
    pub interleaving: Option<Interleaving>,
    /// Decides the order of the runs, and which ones a short run has.
    pub seed: u64,
    /// A sample instead of everything.
    pub short: bool,
    /// Markets at the same time.
    pub markets: usize,
    /// Finds the steps and runs nothing.
    pub steps_only: bool,
    /// No new run begins after so long.
    pub limit: Option<Duration>,
    /// Another template than the workspace's.
    pub template: Option<PathBuf>,
    /// Where the functions come from.
    pub functions: Source,
}

/// What two flows do, found out by each of them alone.
#[derive(Debug, Clone)]
pub struct Heat {
    /// The steps of both that take turns.
    pub steps: [Vec<String>; 2],
    /// How many orders of them there are that do not come to the same.
    pub orders: u64,
    /// How many of them are run.
    pub planned: usize,
    rules: Rules,
    interleavings: Vec<Interleaving>,
}

/// One race.
#[derive(Debug, Clone)]
pub struct Race {
    /// Who.
    pub pair: Pair,
    /// In which order.
    pub interleaving: Interleaving,
    rules: Rules,
}

impl fmt::Display for Race {
    /// How to do it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Race { pair, interleaving, .. } = self;
        write!(f, "cargo run -- races --pair {pair} --interleaving {interleaving}")
    }
}

/// How a race ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The race.
    pub race: Race,
    /// How its order was kept.
    pub kept: Kept,
    /// Which of the ends it had.
    pub end: Option<usize>,
    /// What was wrong afterwards.
    pub found: Vec<String>,
}

impl Job for Race {
    type Kinship = Pair;
    type Shown = Ran;

    fn has_failed(shown: &Ran) -> bool {
        !shown.found.is_empty()
    }
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Races {
    /// What was found out about each pair.
    pub heats: BTreeMap<Pair, Heat>,
    /// Every race that there was time for.
    pub ran: Vec<Ran>,
    /// How long they took.
    pub took: Duration,
}

impl Races {
    /// Races after which something was wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Ran> {
        self.ran.iter().filter(|ran| !ran.found.is_empty())
    }
}

impl fmt::Display for Races {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| Pair | Steps | Orders | Run | To the wish | Steps let go | Ends seen | Failures |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for (pair, heat) in &self.heats {
            let of_pair = || self.ran.iter().filter(|ran| ran.race.pair == *pair);
            let ends: BTreeSet<usize> = of_pair().filter_map(|ran| ran.end).collect();
            let [a, b] = [0, 1].map(|lane| heat.steps.get(lane).map_or(0, Vec::len));
            writeln!(
                f,
                "| {pair} | {a} + {b} | {} | {} | {} | {} | {} of {} | {} |",
                heat.orders,
                of_pair().count(),
                of_pair().filter(|ran| ran.kept.let_go == 0).count(),
                of_pair().map(|ran| ran.kept.let_go).sum::<usize>(),
                ends.len(),
                pair.ends().len(),
                of_pair().filter(|ran| !ran.found.is_empty()).count(),
            )?;
        }
        let (planned, ran) = (
            self.heats.values().map(|heat| heat.planned).sum::<usize>(),
            self.ran.len(),
        );
        let minutes = self.took.as_secs().div_ceil(60).max(1);
        writeln!(
            f,
            "\n{ran} of {planned} runs in {minutes} minutes, {} a minute.",
            ran as u64 / minutes
        )?;
        for ran in self.failures() {
            writeln!(f, "\nfailed: {}", ran.race)?;
            for found in &ran.found {
                writeln!(f, "  {found}")?;
            }
        }
        Ok(())
    }
}

/// Something to tell while it goes on.
#[derive(Debug)]
pub enum RaceProgress<'a> {
    /// Both flows of a pair were gone through alone.
    Found(Pair, &'a Heat),
    /// A race ended; so many of so many are done.
    Ran(&'a Ran, usize, usize),
}

/// Carries out the plan.
///
/// # Errors
/// [`ProofError`]. What a race shows is no error: see [`Races::failures`].
pub async fn race(plan: &RacePlan, tell: impl Fn(RaceProgress<'_>)) -> Result<Races, ProofError> {
    let functions = crate::binaries(plan.functions.clone()).await?;
    let site = Site {
        functions,
        template: plan.template.clone().unwrap_or_else(|| root().join("template.yaml")),
        providers: Providers::Sandbox,
        program: None,
    };
    let mut races = Races::default();
    let mut market = Market::open(site.clone()).await?;
    for pair in Pair::ALL {
        if plan.pair.is_none_or(|only| only == pair) {
            let heat = find_out(&mut market, pair, plan).await?;
            tell(RaceProgress::Found(pair, &heat));
            races.heats.insert(pair, heat);
        }
    }
    market.house.closes().await;
    if plan.steps_only {
        return Ok(races);
    }

    let mut companies = Vec::new();
    for (pair, heat) in &races.heats {
        let race = |interleaving: &Interleaving| Race {
            pair: *pair,
            interleaving: interleaving.clone(),
            rules: heat.rules.clone(),
        };
        let all: Vec<Race> = heat.interleavings.iter().map(race).collect();
        companies.extend(all.chunks(COMPANY).map(|jobs| Company {
            kinship: *pair,
            jobs: jobs.to_vec(),
        }));
    }
    let began = Instant::now();
    let of = companies.iter().map(|company| company.jobs.len()).sum();
    let pool = Pool::of(companies, plan.markets, plan.limit);
    let open = async |_: Pair| Market::open(site.clone()).await;
    let attempt = async |market: &mut Market, company: &[Race]| run(market, company).await;
    races.ran = pool
        .work(open, attempt, |ran, done| tell(RaceProgress::Ran(ran, done, of)))
        .await?;
    races.took = began.elapsed();
    Ok(races)
}

/// Goes through both flows of a pair alone, and finds out which of their steps quarrel.
async fn find_out(market: &mut Market, pair: Pair, plan: &RacePlan) -> Result<Heat, ProofError> {
    let mut made: [Vec<Made>; 2] = [Vec::new(), Vec::new()];
    for (lane, made) in Lane::BOTH.into_iter().zip(&mut made) {
        let (_, deeds) = pair.prepare(market).await?;
        let turns = market.house.here()?.faults().turns().clone();
        turns.watch();
        let deed = deeds.into_iter().zip(Lane::BOTH).find(|(_, of)| *of == lane);
        if let Some((deed, _)) = deed {
            does(market, &deed).await?;
        }
        market.rests().await?;
        *made = turns.end();
        for span in SETTLING {
            market.lives_through(span).await?;
        }
    }
    let asynchronous = |made: &[Made]| -> BTreeSet<String> {
        let functions = made.iter().filter_map(|made| match &made.origin {
            Origin::Function(function) => Some(function.clone()),
            Origin::Client(_) => None,
        });
        functions.collect()
    };
    let [a, b] = [asynchronous(&made[0]), asynchronous(&made[1])];
    let mut rules = Rules::default();
    for (lane, own, others) in [(Lane::A, &a, &b), (Lane::B, &b, &a)] {
        rules
            .functions
            .extend(own.difference(others).map(|function| (function.clone(), lane)));
    }
    // What changes nothing decides nothing either, whatever it has read.
    let changes = |function: &String| {
        let own = made
            .iter()
            .flatten()
            .filter(|made| made.origin == Origin::Function(function.clone()));
        own.into_iter()
            .any(|made| made.passage.tables.values().any(|writes| *writes))
    };
    rules.functions.retain(|function, _| changes(function));
    let of_lane = |lane: Lane, made: &[Made]| -> Vec<Passage> {
        let own = made.iter().filter(|made| match &made.origin {
            Origin::Client(_) => true,
            Origin::Function(function) => rules.functions.get(function) == Some(&lane),
        });
        own.map(|made| made.passage.clone()).collect()
    };
    let (a, b) = (of_lane(Lane::A, &made[0]), of_lane(Lane::B, &made[1]));
    let mut contested = BTreeSet::new();
    for (table, writes) in a.iter().flat_map(|step| &step.tables) {
        let there = b.iter().filter_map(|step| step.tables.get(table));
        if there.into_iter().any(|also| *writes || *also) {
            contested.insert(table.clone());
        }
    }
    let quarrelsome = |steps: Vec<Passage>| -> Vec<Passage> {
        let touches = |step: &Passage| step.tables.keys().any(|table| contested.contains(table));
        steps.into_iter().filter(touches).collect()
    };
    let (a, b) = (quarrelsome(a), quarrelsome(b));
    let orders = Orders { a: &a, b: &b };
    let number = orders.number();
    let switches = if number > MOST_COMPLETE {
        MOST_SWITCHES
    } else {
        usize::MAX
    };
    let mut interleavings = match &plan.interleaving {
        Some(only) => vec![only.clone()],
        None => orders.all(switches),
    };
    let named = |pair: Pair, order: &Interleaving| shuffled(plan.seed, &format!("{pair} {order}"));
    interleavings.sort_by_key(|order| named(pair, order));
    if plan.short {
        interleavings.truncate(SHORT_SAMPLE);
    }
    rules.contested = contested;
    let told = |steps: &[Passage]| steps.iter().map(ToString::to_string).collect();
    Ok(Heat {
        steps: [told(&a), told(&b)],
        orders: number,
        planned: interleavings.len(),
        rules,
        interleavings,
    })
}

/// The orders in which the steps of two flows can come.
struct Orders<'a> {
    a: &'a [Passage],
    b: &'a [Passage],
}

/// How many steps of each were made, and whose was the last one.
type Progress = (usize, usize, Option<Lane>);

impl Orders<'_> {
    /// Whose step may be next. After a step of B comes no step of A that does not quarrel with it: the other way round it comes
    /// to the same, and that way is gone anyway.
    fn next(&self, (a, b, last): Progress) -> impl Iterator<Item = Lane> {
        let of_a = self.a.get(a).filter(|step| {
            let before = b.checked_sub(1).and_then(|before| self.b.get(before));
            last != Some(Lane::B) || before.is_none_or(|before| step.quarrels_with(before))
        });
        let a = of_a.map(|_| Lane::A);
        let b = self.b.get(b).map(|_| Lane::B);
        a.into_iter().chain(b)
    }

    fn after((a, b, _): Progress, lane: Lane) -> Progress {
        match lane {
            Lane::A => (a + 1, b, Some(lane)),
            Lane::B => (a, b + 1, Some(lane)),
        }
    }

    /// How many there are.
    fn number(&self) -> u64 {
        fn count(orders: &Orders<'_>, at: Progress, known: &mut HashMap<Progress, u64>) -> u64 {
            if (at.0, at.1) == (orders.a.len(), orders.b.len()) {
                return 1;
            }
            if let Some(known) = known.get(&at) {
                return *known;
            }
            let ways = orders.next(at).collect::<Vec<_>>().into_iter();
            let sum = ways.fold(0_u64, |sum, lane| {
                sum.saturating_add(count(orders, Orders::after(at, lane), known))
            });
            known.insert(at, sum);
            sum
        }
        count(self, (0, 0, None), &mut HashMap::new())
    }

    /// All with so many switches at most.
    fn all(&self, switches: usize) -> Vec<Interleaving> {
        fn walk(orders: &Orders<'_>, at: Progress, so_far: &Interleaving, most: usize, all: &mut Vec<Interleaving>) {
            if so_far.switches() > most {
                return;
            }
            if (at.0, at.1) == (orders.a.len(), orders.b.len()) {
                all.push(so_far.clone());
                return;
            }
            for lane in orders.next(at).collect::<Vec<_>>() {
                let mut longer = so_far.clone();
                longer.0.push(lane);
                walk(orders, Orders::after(at, lane), &longer, most, all);
            }
        }
        let mut all = Vec::new();
        walk(self, (0, 0, None), &Interleaving::default(), switches, &mut all);
        all
    }
}

/// Does what somebody does; answers whether he was told yes.
async fn does(market: &Market, deed: &Deed) -> Result<bool, MarketError> {
    match deed {
        Deed::Asks(wish) => Ok(market.tries(wish).await?.is_yes()),
        Deed::Waits(span) => {
            market.passes(*span).await?;
            // Schedules wake after this, each by itself.
            let wake = async {
                while market.house.pending().await?.0.schedules == 0 {
                    tokio::time::sleep(LOOK).await;
                }
                Ok::<(), MarketError>(())
            };
            tokio::time::timeout(WAKING, wake).await.unwrap_or(Ok(()))?;
            Ok(true)
        }
    }
}

/// Runs races one after the other, lets time pass for all of them, and looks at their ends.
async fn run(market: &mut Market, company: &[Race]) -> Result<Vec<Ran>, ProofError> {
    let mut runs = Vec::new();
    for race in company {
        if race.pair == Pair::PayExpire && !runs.is_empty() {
            for span in SETTLING {
                market.lives_through(span).await?;
            }
        }
        let (scene, deeds) = race.pair.prepare(market).await?;
        let raced = run_one(market, race, &deeds).await;
        let (kept, found) = match raced {
            Ok((kept, yes)) if race.pair.allows(yes) => (kept, Vec::new()),
            Ok((kept, yes)) => (kept, vec![format!("both were told {yes:?}")]),
            Err(error) => (Kept::default(), vec![error.to_string()]),
        };
        runs.push((scene, kept, found));
    }
    let most = |pair: Pair| {
        let mails = pair.ends().into_iter().map(|end| end.most_mails);
        mails.fold([0, 0], |most, mails| [most[0].max(mails[0]), most[1].max(mails[1])])
    };
    let (report, wrong) = time_passes(market, company.iter().map(|race| most(race.pair))).await?;
    let mut shown = Vec::new();
    for (race, (scene, kept, mut found)) in company.iter().zip(runs) {
        found.extend(wrong.iter().cloned());
        let (mut reached, mut none) = (None, Vec::new());
        for (number, end) in race.pair.ends().iter().enumerate() {
            let differs = look_at(market, end, &scene.about, &report).await;
            if differs.is_empty() {
                reached = Some(number);
                break;
            }
            none.push(format!("it is no end of the kind {number}: {}", differs.join("; ")));
        }
        if reached.is_none() {
            found.extend(none);
        }
        shown.push(Ran {
            race: race.clone(),
            kept,
            end: reached,
            found,
        });
    }
    Ok(shown)
}

/// Has two people act on one order, step by step.
async fn run_one(market: &Market, race: &Race, deeds: &[Deed; 2]) -> Result<(Kept, [bool; 2]), MarketError> {
    let platform = market.house.here()?;
    let turns = platform.faults().turns().clone();
    turns.hold(race.rules.clone());
    let rests = async |accounted: usize| rests(platform, accounted).await;
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let [first, second] = deeds;
    let (a, b) = (turns.deed(Lane::A), turns.deed(Lane::B));
    let first = async {
        let done = does(market, first).await;
        drop(a);
        done
    };
    let second = async {
        // It begins in any case: who says when does not go away without a word.
        let _ = begun.await;
        let done = does(market, second).await;
        drop(b);
        done
    };
    let conducted = async {
        turns.starts(Lane::A);
        turns.comes_to(Lane::A, &rests).await;
        turns.starts(Lane::B);
        let _ = begin.send(());
        turns.comes_to(Lane::B, &rests).await;
        turns.conduct(&race.interleaving, &rests).await
    };
    let (first, second, kept) = tokio::join!(first, second, conducted);
    let rested = market.rests().await;
    turns.end();
    rested?;
    Ok((kept, [first?, second?]))
}

/// Whether nothing goes on but so many invocations, which wait for their turns.
async fn rests(platform: &Platform, accounted: usize) -> bool {
    let mut last = None;
    for _ in 0..STILL {
        let Ok(pending) = platform.work.pending() else {
            return false;
        };
        let waiting = pending.queues.iter().any(|queue| !queue.rests && queue.visible > 0);
        let seen = (format!("{:?}", pending.streams), format!("{:?}", pending.queues));
        if pending.invocations > accounted || waiting || last.as_ref().is_some_and(|last| *last != seen) {
            return false;
        }
        last = Some(seen);
        tokio::time::sleep(LOOK).await;
    }
    true
}
