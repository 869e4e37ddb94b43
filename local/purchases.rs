//! Purchases by the thousand: a seeded run with everything going wrong at the providers that can, held against the same
//! run with nothing going wrong. The same people with the same wishes must end with the same books.
//!
//! A run starts its platforms itself, keeps nothing, and lets time pass by moving their clocks.

mod customer;
mod outcome;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};

pub(crate) use self::customer::{Asked, Desk, Person, Purchase, USER_TOKEN_SECRET};
pub use self::outcome::{Difference, Outcome};
pub use self::plan::{Act, Certainty, Flow, Trouble, Way, Which, Wish};
use crate::books::{Books, BooksError, Report};
use crate::dead_letters::DeadLetter;
use crate::local_api::WorkError;
use crate::{Data, Options, Platform, Providers, StartError};

/// Purchases that people go on with at the same time, on each of two platforms: each function that is called twice at once
/// is a process more.
const AT_ONCE: usize = 2;
/// How long the platform may take to come to rest, in real time.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Looks in a row that have to find nothing going on before a message that waits is not waited for.
const LOOKS: u32 = 3;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Once everybody has done what he wanted, time passes in steps: how many, and how long each.
pub(crate) const AFTERWARDS: [(u32, u64); 4] = [
    // Orders expire, providers are asked.
    (40, MINUTE_MS),
    (12, 5 * MINUTE_MS),
    // Providers repeat their notifications for a day.
    (30, HOUR_MS),
    // Orders complete by themselves after a week; refunds that are refused for days are left to a person. They are tried every
    // six hours: steps as long as that would miss the next try by a moment.
    (36, 7 * HOUR_MS),
];

/// What is run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Decides everything that people want and everything that goes wrong.
    pub seed: u64,
    /// How many purchases.
    pub orders: u32,
    /// Who plays the payment providers. Only simulated ones can go wrong.
    pub providers: Providers,
    /// What the platforms are started with; providers and data are the run's own.
    pub options: Options,
}

/// Why a run came to no end. That the books are wrong is no error but an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A platform did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The books can not be read.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Nobody can be given a token.
    #[error("no tokens: {0}")]
    Tokens(String),
    /// The platform does not answer at all.
    #[error("{path}: {reason}")]
    Unanswered {
        /// What was asked.
        path: String,
        /// Why there is no answer.
        reason: String,
    },
    /// Something that always works was refused.
    #[error("refused: {0}")]
    Refused(String),
    /// The clock can not be moved.
    #[error("the clock can not be moved: {0}")]
    Clock(std::io::Error),
    /// What is under way can not be told.
    #[error("what is under way can not be told: {0}")]
    Work(String),
    /// Something never came to rest.
    #[error("still under way after minutes: {0}")]
    Restless(String),
}

impl RunError {
    fn tokens(error: impl std::fmt::Display) -> Self {
        Self::Tokens(error.to_string())
    }

    fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<WorkError> for RunError {
    fn from(error: WorkError) -> Self {
        Self::Work(error.to_string())
    }
}

/// A run of one platform, when all is over.
struct Played {
    purchases: Vec<Purchase>,
    report: Report,
    /// What a queue gave up and an operator put back, by queue.
    put_back: BTreeMap<String, u64>,
    /// What it gave up again, or could not be put back.
    dead_letters: BTreeMap<String, u64>,
}

impl Run {
    /// Runs it twice, with and without faults, and compares. `progress` is told what is going on.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn play(&self, progress: impl Fn(&str)) -> Result<Outcome, RunError> {
        let (with, without) = (self.once(true, &progress), self.once(false, &progress));
        let (with, without) = futures::try_join!(with, without)?;
        Ok(Outcome::of(self, &with, &without))
    }

    async fn once(&self, faults: bool, progress: &impl Fn(&str)) -> Result<Played, RunError> {
        let platform = Platform::start(Options {
            port: 0,
            data: Data::Memory,
            providers: self.providers,
            demo: false,
            ..self.options.clone()
        })
        .await?;
        let name = if faults { "with faults" } else { "without" };
        let played = self
            .on(&platform, faults, &|what| progress(&format!("{name}: {what}")))
            .await;
        platform.stop().await;
        played
    }

    async fn on(&self, platform: &Platform, faults: bool, progress: &impl Fn(&str)) -> Result<Played, RunError> {
        let desk = Desk::open(platform)?;
        let draw = |number| {
            let wish = Wish::draw(self.seed, number);
            let trouble = match faults {
                true => Trouble::draw(self.seed, number, wish.total_fen(), self.providers),
                false => Trouble::default(),
            };
            Purchase::new(self.seed, wish, trouble)
        };
        let mut purchases: Vec<Purchase> = (0..self.orders).map(draw).collect();
        let mut minute = 0;
        while purchases.iter().any(|purchase| !purchase.is_done()) {
            stream::iter(purchases.iter_mut().filter(|purchase| purchase.is_due(minute)))
                .map(Ok)
                .try_for_each_concurrent(AT_ONCE, |purchase| purchase.go_on(&desk, minute))
                .await?;
            rest(platform).await?;
            let done = purchases.iter().filter(|purchase| purchase.is_done()).count();
            if minute % 10 == 0 {
                progress(&format!(
                    "minute {minute}, {done} of {} have done what they wanted",
                    self.orders
                ));
            }
            platform.clock().advance(MINUTE_MS).map_err(RunError::Clock)?;
            minute += 1;
        }
        for (steps, ms) in AFTERWARDS {
            progress(&format!("time passes: {steps} times {} minutes", ms / MINUTE_MS));
            for _ in 0..steps {
                platform.clock().advance(ms).map_err(RunError::Clock)?;
                rest(platform).await?;
            }
        }
        finish(platform).await?;
        let put_back = dead_letters(platform).await?;
        if !put_back.is_empty() {
            put_dead_letters_back(platform).await?;
            finish(platform).await?;
        }
        let put_up: BTreeMap<String, i64> = purchases
            .iter()
            .filter_map(|purchase| Some((purchase.product.clone()?, purchase.wish.stock)))
            .collect();
        Ok(Played {
            report: Books::read(platform).await?.check(&put_up),
            dead_letters: dead_letters(platform).await?,
            put_back,
            purchases,
        })
    }
}

/// What failed and waits for its next try gets it.
async fn finish(platform: &Platform) -> Result<(), RunError> {
    while platform.settle(Duration::from_secs(1)).await.is_err() {
        platform.clock().advance(MINUTE_MS).map_err(RunError::Clock)?;
        rest(platform).await?;
    }
    Ok(())
}

/// How many messages each function gave up. On a busy machine a function that takes too long is enough for that.
async fn dead_letters(platform: &Platform) -> Result<BTreeMap<String, u64>, RunError> {
    let mut dead = BTreeMap::new();
    for letter in waiting(platform).await? {
        *dead.entry(letter.of).or_default() += 1;
    }
    Ok(dead)
}

async fn waiting(platform: &Platform) -> Result<Vec<DeadLetter>, RunError> {
    let letters = platform.dead_letters().await;
    letters.map_err(|error| RunError::Work(error.to_string()))
}

/// An administrator's answer to dead letters: once more.
async fn put_dead_letters_back(platform: &Platform) -> Result<(), RunError> {
    let desk = Desk::open(platform)?;
    for letter in waiting(platform).await?.into_iter().filter_map(|letter| letter.id) {
        desk.redrive(&letter).await?;
    }
    Ok(())
}

/// Waits until nothing goes on. A message whose handling failed waits for the clock: it is not waited for.
async fn rest(platform: &Platform) -> Result<(), RunError> {
    let resting = async {
        let mut looks = 0;
        while looks < LOOKS {
            if platform.work.is_idle() {
                return Ok(());
            }
            let waits_only = platform.work.pending()?.only_waits();
            looks = if waits_only { looks + 1 } else { 0 };
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, resting).await {
        Ok(rested) => rested,
        Err(_) => Err(RunError::Restless(format!("{:?}", platform.work.pending()?))),
    }
}
