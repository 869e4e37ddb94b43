//! A steady load: orders begin at their times, whether those before have been answered or not, and what is answered late is
//! late. Each of its people's acts has its time as well; how long a request took is counted from then.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::measure::{Gauge, Trend};
use super::plan::{Plan, Story};
use super::report::Under;
use super::{Ground, MINUTE_MS, Outcome, Progress, SoakError, Stage, verdict};
use crate::Providers;
use crate::purchases::Purchase;

/// How often the clock is moved, in real time.
const TICK: Duration = Duration::from_millis(250);
/// One order in so many has the platform's faults set that a soak would set.
const ORDERS_PER_FAULTY: u32 = 5;

/// What is run.
#[derive(Debug, Clone)]
pub struct Load {
    /// Decides what people want, and what goes wrong.
    pub seed: u64,
    /// Orders that begin in a minute of the platform's time.
    pub rate: u32,
    /// Minutes of the platform's time.
    pub minutes: u32,
    /// How many minutes pass on the platform in one of real time. More than six is more than the platform is made for:
    /// messages would come again before the functions' own time is up.
    pub speed: u32,
    /// Whether anything goes wrong, at the providers and in the platform.
    pub faults: bool,
    /// Who plays the providers.
    pub providers: Providers,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            seed,
            rate,
            minutes,
            speed,
            ..
        } = self;
        let faults = if self.faults { "with faults" } else { "without faults" };
        write!(
            f,
            "Load, seed {seed}: {rate} orders a minute, {minutes} minutes at speed {speed}, {faults}"
        )
    }
}

impl Load {
    /// How to do it again.
    #[must_use]
    pub fn command(&self) -> String {
        let Load {
            seed,
            rate,
            minutes,
            speed,
            ..
        } = self;
        let providers = match self.providers {
            Providers::Sandbox => " --providers sandbox",
            Providers::Simulated => "",
        };
        let faults = if self.faults { " --faults" } else { "" };
        format!("cargo run -- load --seed {seed} --rate {rate} --minutes {minutes} --speed {speed}{faults}{providers}")
    }

    /// The orders: those of a soak, each at its own time, and without kills of the whole platform.
    fn plan(&self) -> Plan {
        let orders = self.rate.saturating_mul(self.minutes);
        let mut plan = Plan::draw(self.seed, orders, Some(self.providers));
        plan.kills.clear();
        if !self.faults {
            plan = plan.unbroken();
        }
        for story in &mut plan.stories {
            if !self.faults {
                story.trouble = crate::purchases::Trouble::default();
            }
            if !story.number.is_multiple_of(ORDERS_PER_FAULTY) {
                story.ambushes.clear();
            }
            self.shift(story);
        }
        plan
    }

    /// Moves a story to the minute in which its order begins here.
    fn shift(&self, story: &mut Story) {
        let from = story.wish.acts.first().map_or(0, |(minute, _)| *minute);
        let to = story.number / self.rate.max(1);
        let moved = |minute: u32| minute.saturating_sub(from).saturating_add(to);
        story
            .wish
            .acts
            .iter_mut()
            .for_each(|(minute, _)| *minute = moved(*minute));
        story
            .ambushes
            .iter_mut()
            .for_each(|(minute, _)| *minute = moved(*minute));
        story.notice = story.notice.map(moved);
    }

    /// When something in this minute of an order is due, in real time since the beginning: orders begin evenly over their
    /// minute, and everything else of them follows by whole minutes.
    fn due(&self, number: u32, minute: u32) -> Duration {
        let rate = u64::from(self.rate.max(1));
        let within = u64::from(number) % rate * MINUTE_MS / rate;
        let ms = u64::from(minute) * MINUTE_MS + within;
        Duration::from_millis(ms / u64::from(self.speed.max(1)))
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`SoakError`]. What is wrong in the end is no error: see [`Outcome::failures`].
    pub async fn run(&self, ground: &Ground, tell: &dyn Fn(Progress)) -> Result<Outcome, SoakError> {
        tell(Progress::Preparing);
        let plan = self.plan();
        let mut stage = Stage::open(ground, plan.providers, &plan.stories, self.seed).await?;
        let outcome = self.play(&plan, &mut stage, tell).await;
        stage.close().await;
        outcome
    }

    async fn play(&self, plan: &Plan, stage: &mut Stage, tell: &dyn Fn(Progress)) -> Result<Outcome, SoakError> {
        let purchases = plan.stories.iter().map(|story| stage.purchase(self.seed, story));
        let mut purchases: Vec<Purchase> = purchases.collect::<Result<_, _>>()?;
        let (began, began_ms) = (Instant::now(), stage.journal.now_ms());
        let end = self.due(0, self.minutes);
        {
            let stage = &*stage;
            let going = async {
                let mut going: FuturesUnordered<_> = purchases
                    .iter_mut()
                    .map(|purchase| self.follow(stage, purchase, began))
                    .collect();
                while let Some(followed) = going.next().await {
                    followed?;
                }
                Ok::<_, SoakError>(())
            };
            let lurking = async {
                for (number, (minute, ambush)) in plan
                    .stories
                    .iter()
                    .flat_map(|story| story.ambushes.iter().map(|ambush| (story.number, ambush)))
                {
                    let due = self.due(number, *minute);
                    if due < end {
                        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                        stage.lie_in_wait(ambush).await?;
                    }
                }
                Ok(())
            };
            let ticking = self.tick(stage, began, tell);
            futures::try_join!(going, lurking, ticking)?;
        }
        let ended_ms = stage.journal.now_ms();
        // The rest of what people wanted, minute by minute as fast as it goes.
        let mut minute = self.minutes;
        let of = u64::try_from(purchases.len()).unwrap_or(u64::MAX);
        stage.host.rest().await?;
        while stage.is_unfinished(&purchases) {
            stage.live_through(&mut purchases, minute, None).await?;
            let done = purchases.iter().filter(|purchase| purchase.is_done()).count();
            let said = format!("the load is over; minute {minute}");
            tell(Progress::Going(u64::try_from(done).unwrap_or(of), of, said));
            minute += 1;
        }
        let put_back = stage.live_on(tell).await?;
        tell(Progress::Looking);
        let verdict = verdict::look(stage, &purchases).await?;
        let mut outcome = Outcome::of_load(self, plan, stage, (&purchases, put_back), verdict);
        outcome.load = Some(under((began_ms, ended_ms), of, stage));
        // What came later was no load.
        let loaded: Vec<_> = stage.journal.answered();
        let loaded: Vec<_> = loaded
            .into_iter()
            .filter(|answered| answered.at_ms <= ended_ms)
            .collect();
        outcome.operations = super::measure::operations(&loaded);
        Ok(outcome)
    }

    /// Follows one order through the load, act by act, each at its time.
    async fn follow(&self, stage: &Stage, purchase: &mut Purchase, began: Instant) -> Result<(), SoakError> {
        let number = purchase.wish.number;
        while let Some(minute) = purchase.next_minute().filter(|minute| *minute < self.minutes) {
            let due = self.due(number, minute);
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            purchase.is_late_by(began.elapsed().saturating_sub(due));
            purchase.go_on(&stage.desk, minute).await?;
        }
        Ok(())
    }

    /// Moves the clock, as fast as it is to go.
    async fn tick(&self, stage: &Stage, began: Instant, tell: &dyn Fn(Progress)) -> Result<(), SoakError> {
        let whole = self.due(0, self.minutes);
        let (mut moved_ms, mut minute) = (0, 0);
        while began.elapsed() < whole {
            tokio::time::sleep(TICK).await;
            // The machine's own clock goes on by itself.
            let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let ahead_ms = elapsed.saturating_mul(u64::from(self.speed.max(1)) - 1);
            if ahead_ms > moved_ms {
                stage.host.advance(ahead_ms - moved_ms).await?;
                moved_ms = ahead_ms;
            }
            let now = elapsed.saturating_mul(u64::from(self.speed)) / MINUTE_MS;
            if now > minute {
                minute = now;
                stage.collect_strikes().await?;
                stage.tell(u32::try_from(minute).unwrap_or(u32::MAX)).await?;
                let said = format!("minutes of the load, {} faults struck", stage.strikes().len());
                tell(Progress::Going(minute, self.minutes.into(), said));
            }
        }
        Ok(())
    }
}

/// What the load showed between two moments.
fn under((from_ms, to_ms): (u64, u64), begun: u64, stage: &Stage) -> Under {
    let during = |at_ms: u64| (from_ms..=to_ms).contains(&at_ms);
    let mut counts: BTreeMap<bool, u64> = BTreeMap::new();
    for answered in stage.journal.answered() {
        if during(answered.at_ms) && answered.asked.status / 100 == 2 {
            *counts.entry(answered.asked.operation == "order").or_default() += 1;
        }
    }
    let of = |is_order: bool| counts.get(&is_order).copied().unwrap_or(0);
    let half_ms = from_ms.midpoint(to_ms);
    let late = stage.journal.gauges();
    let late: Vec<Gauge> = late
        .into_iter()
        .filter(|gauge| (half_ms..=to_ms).contains(&gauge.at_ms))
        .collect();
    let trend = |of: &dyn Fn(&Gauge) -> u64| {
        let points: Vec<(u64, u64)> = late.iter().map(|gauge| (gauge.at_ms, of(gauge))).collect();
        Trend::of(&points)
    };
    Under {
        begun: (begun, to_ms - from_ms),
        placed: (of(true), of(true) + of(false)),
        memory: [
            trend(&|gauge| gauge.platform_kib),
            trend(&|gauge| gauge.functions_kib / gauge.functions.max(1)),
        ],
    }
}
