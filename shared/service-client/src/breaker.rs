//! A circuit breaker for one target.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use kernel::Timestamp;

/// Failures in a row that open the circuit.
const THRESHOLD: u32 = 5;
/// How long it stays open before one call may try again.
const REST: Duration = Duration::from_secs(10);

/// Closed while calls succeed; open after [`THRESHOLD`] failures in a row; half open, for one call, after [`REST`].
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    open_until: AtomicI64,
}

impl Breaker {
    pub(crate) fn lets_through(&self, now: Timestamp) -> bool {
        let open_until = self.open_until.load(Ordering::Acquire);
        if open_until == 0 {
            return true;
        }
        let next = now.plus(REST).millis();
        now.millis() >= open_until
            && self
                .open_until
                .compare_exchange(open_until, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    pub(crate) fn succeeded(&self) {
        self.failures.store(0, Ordering::Release);
        self.open_until.store(0, Ordering::Release);
    }

    pub(crate) fn failed(&self, now: Timestamp) {
        if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= THRESHOLD {
            self.open_until.store(now.plus(REST).millis(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_repeated_failures_and_lets_one_call_try_again() {
        let (breaker, start) = (Breaker::default(), Timestamp::from_millis(1_000));
        for _ in 0..THRESHOLD {
            assert!(breaker.lets_through(start));
            breaker.failed(start);
        }
        assert!(!breaker.lets_through(start));
        let later = start.plus(REST);
        assert!(breaker.lets_through(later), "half open");
        assert!(!breaker.lets_through(later), "for one call only");
        breaker.succeeded();
        assert!(breaker.lets_through(later));
    }
}
