//! What a browser missed while it was not connected. Pure.
//!
//! A client names the last notification that it saw. What was stored after it is sent again, from a little earlier on:
//! notifications that are stored at nearly the same time become visible in any order, so the last one seen does not prove
//! that those just before it were. Clients know by its id what they have already.

use std::time::Duration;

use kernel::{NotificationId, Timestamp};

/// Most notifications that one request brings.
pub const PAGE: usize = 50;
/// How much earlier than the last one seen the backlog begins: longer than storing a notification may take, plus what the
/// clocks of functions may differ.
const MARGIN: Duration = Duration::from_secs(30);

/// When a notification was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The notification.
    pub id: NotificationId,
    /// When.
    pub at: Timestamp,
}

/// Where a backlog begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what was stored at this moment.
    From(Timestamp),
    /// Nobody knows what the client has seen: with the oldest of the newest ones.
    Newest,
}

impl Start {
    /// The backlog of a client that saw a notification stored `at`.
    #[must_use]
    pub fn after_seeing(at: Timestamp) -> Self {
        Self::From(at.minus(MARGIN))
    }
}

/// A part of a backlog, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What to send, in this order.
    pub ids: Vec<NotificationId>,
    /// Where the rest begins, if there is more.
    pub rest: Option<Timestamp>,
    /// Whether older ones were left out, so that the client has to load its list.
    pub is_cut: bool,
}

impl Part {
    /// Makes a part of what was found from `start` on, oldest first. For there to be more, more than [`PAGE`] have to be
    /// given.
    #[must_use]
    pub fn of(start: Start, mut found: Vec<Arrived>) -> Self {
        let too_many = found.len().saturating_sub(PAGE);
        let mut rest = None;
        match start {
            Start::Newest => {
                found.drain(..too_many);
            }
            Start::From(_) if too_many > 0 => {
                // Two of one millisecond stay together: the rest begins with a millisecond.
                if let Some(next) = found.get(PAGE).map(|next| next.at) {
                    let before = found.partition_point(|arrived| arrived.at < next);
                    let (kept, from) = if before > 0 {
                        (before, next)
                    } else {
                        // All of them are of one millisecond, which nobody can be told so much in.
                        (found.len(), next.plus(Duration::from_millis(1)))
                    };
                    found.truncate(kept);
                    rest = Some(from);
                }
            }
            Start::From(_) => {}
        }
        Self {
            ids: found.into_iter().map(|arrived| arrived.id).collect(),
            rest,
            is_cut: start == Start::Newest && too_many > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(moments: &[i64]) -> Vec<Arrived> {
        let arrived = |moment: &i64| Arrived {
            id: NotificationId::random(),
            at: Timestamp::from_millis(*moment),
        };
        moments.iter().map(arrived).collect()
    }

    /// What the index answers.
    fn found(stored: &[Arrived], start: Start) -> Vec<Arrived> {
        match start {
            Start::From(from) => stored
                .iter()
                .filter(|one| one.at >= from)
                .take(PAGE + 1)
                .copied()
                .collect(),
            Start::Newest => stored[stored.len().saturating_sub(PAGE + 1)..].to_vec(),
        }
    }

    proptest! {
        #[test]
        fn the_parts_of_a_backlog_are_the_backlog(mut moments in prop::collection::vec(0_i64..400, 0..300), from in 0_i64..400) {
            moments.sort_unstable();
            let stored = stored(&moments);
            let mut start = Start::From(Timestamp::from_millis(from));
            let mut sent = Vec::new();
            loop {
                let part = Part::of(start, found(&stored, start));
                prop_assert!(part.ids.len() <= PAGE && !part.is_cut);
                sent.extend(part.ids);
                match part.rest {
                    Some(rest) => start = Start::From(rest),
                    None => break,
                }
            }
            let expected: Vec<_> = stored.iter().filter(|one| one.at.millis() >= from).map(|one| one.id).collect();
            prop_assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_millisecond_is_not_torn_apart() {
        let mut moments: Vec<i64> = (0..40).collect();
        moments.extend([40; 30]);
        let stored = stored(&moments);
        let start = Start::From(Timestamp::from_millis(0));
        let part = Part::of(start, found(&stored, start));
        assert_eq!((part.ids.len(), part.rest), (40, Some(Timestamp::from_millis(40))));
        let start = Start::From(Timestamp::from_millis(40));
        assert_eq!(Part::of(start, found(&stored, start)).ids.len(), 30);
    }

    #[test]
    fn who_has_seen_nothing_gets_the_newest_and_learns_of_older_ones() {
        for (count, expected, is_cut) in [(0, 0, false), (PAGE, PAGE, false), (PAGE + 5, PAGE, true)] {
            let moments: Vec<i64> = (0..).take(count).collect();
            let stored = stored(&moments);
            let part = Part::of(Start::Newest, found(&stored, Start::Newest));
            let newest: Vec<_> = stored[count - expected..].iter().map(|one| one.id).collect();
            assert_eq!((part.ids, part.rest, part.is_cut), (newest, None, is_cut));
        }
    }

    #[test]
    fn a_backlog_begins_a_little_before_the_last_one_seen() {
        let seen = Timestamp::from_millis(60_000);
        assert_eq!(Start::after_seeing(seen), Start::From(Timestamp::from_millis(30_000)));
    }
}
