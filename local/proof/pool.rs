//! Many runs in some markets at the same time: in company, so that time passes for several of them together.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::ProofError;
use super::market::{Market, MarketError};

/// Times that all time passes in one market before a new one is opened: books are read whole.
const ROUNDS_PER_MARKET: usize = 12;

/// Something to try.
pub(super) trait Job: Clone {
    /// What those have in common that share a market.
    type Kinship: Copy + PartialEq;
    /// What it shows.
    type Shown;

    /// Whether something was wrong afterwards.
    fn has_failed(shown: &Self::Shown) -> bool;
}

/// Jobs that share the passing of time.
#[derive(Debug, Clone)]
pub(super) struct Company<J: Job> {
    pub(super) kinship: J::Kinship,
    pub(super) jobs: Vec<J>,
}

/// Everything that is to be tried.
pub(super) struct Pool<J: Job> {
    left: Mutex<VecDeque<Company<J>>>,
    shown: Mutex<Vec<J::Shown>>,
    markets: usize,
    limit: Option<Duration>,
}

impl<J: Job> Pool<J> {
    /// In so many markets at the same time. No company begins after the limit.
    pub(super) fn of(companies: Vec<Company<J>>, markets: usize, limit: Option<Duration>) -> Pool<J> {
        Pool {
            left: Mutex::new(companies.into()),
            shown: Mutex::default(),
            markets: markets.max(1),
            limit,
        }
    }

    /// Tries everything.
    pub(super) async fn work(
        self,
        open: impl AsyncFn(J::Kinship) -> Result<Market, MarketError>,
        attempt: impl AsyncFn(&mut Market, &[J]) -> Result<Vec<J::Shown>, ProofError>,
        tell: impl Fn(&J::Shown, usize),
    ) -> Result<Vec<J::Shown>, ProofError> {
        let began = Instant::now();
        let is_over = || self.limit.is_some_and(|limit| began.elapsed() >= limit);
        let worker = || async {
            let mut kept: Option<(Market, J::Kinship, usize)> = None;
            while let Some(company) = self.next().filter(|_| !is_over()) {
                let (mut market, rounds) = match kept.take() {
                    Some((market, kinship, rounds)) if kinship == company.kinship => (market, rounds),
                    other => {
                        if let Some((market, ..)) = other {
                            market.house.closes().await;
                        }
                        (open(company.kinship).await?, 0)
                    }
                };
                let seen = attempt(&mut market, &company.jobs).await?;
                // What went wrong once stays in the books, and a later run is not to be blamed for it.
                let failed = seen.iter().any(J::has_failed);
                if !failed && rounds + 1 < ROUNDS_PER_MARKET {
                    kept = Some((market, company.kinship, rounds + 1));
                } else {
                    market.house.closes().await;
                }
                if failed && company.jobs.len() > 1 {
                    // Each alone, to see which one it was, and that it can be repeated.
                    let alone = company.jobs.into_iter().map(|job| Company {
                        kinship: company.kinship,
                        jobs: vec![job],
                    });
                    self.left().extend(alone);
                    continue;
                }
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                for seen in seen {
                    tell(&seen, shown.len() + 1);
                    shown.push(seen);
                }
            }
            if let Some((market, ..)) = kept {
                market.house.closes().await;
            }
            Ok::<_, ProofError>(())
        };
        for worked in join_all((0..self.markets).map(|_| worker())).await {
            worked?;
        }
        Ok(self.shown.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self) -> Option<Company<J>> {
        self.left().pop_front()
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<Company<J>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
