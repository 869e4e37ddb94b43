//! One refund of (a part of) a payment. Pure: no time is read here, nothing is stored, no provider is asked.

use std::time::Duration;

use contracts::payments::RefundReason;
use kernel::{Money, OrderId, PaymentId, RefundId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::provider::{ProviderName, Refunding};

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// The money is reserved. Whether the provider knows of it is not certain.
    Requested,
    /// The provider accepted it.
    Processing,
    /// The buyer has the money.
    Succeeded,
    /// The provider refuses, or never gives a clear answer. The money stays reserved until a person decided.
    NeedsHuman,
}

/// What can happen to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundEvent {
    /// The provider accepted it.
    Accept,
    /// The provider made it.
    Succeed,
    /// The provider refused it for good.
    Reject,
    /// It was tried too often.
    GiveUp,
}

/// What the state machine says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundOutcome {
    /// The refund moves on.
    MovesTo(RefundStatus),
    /// Late or repeated: nothing changes.
    NothingToDo,
    /// It can not be true together with what is known. Nothing changes, and a person is told.
    Contradicts,
}

impl RefundStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Requested, Self::Processing, Self::Succeeded, Self::NeedsHuman];

    /// What `event` does to a refund of this status.
    #[must_use]
    pub fn on(self, event: RefundEvent) -> RefundOutcome {
        use RefundEvent::{Accept, GiveUp, Reject, Succeed};
        use RefundOutcome::{Contradicts, MovesTo, NothingToDo};
        use RefundStatus::{NeedsHuman, Processing, Requested, Succeeded};
        match (self, event) {
            (Requested, Accept) => MovesTo(Processing),
            (Requested | Processing, Succeed) => MovesTo(Succeeded),
            (Requested | Processing, Reject | GiveUp) => MovesTo(NeedsHuman),
            (Processing | Succeeded, Accept) => NothingToDo,
            (Succeeded, Succeed | GiveUp) | (NeedsHuman, Accept | Reject | GiveUp) => NothingToDo,
            // The provider made it and refused it: the person who already has the refund, or has to get it, sorts it out.
            (Succeeded, Reject) | (NeedsHuman, Succeed) => Contradicts,
        }
    }

    /// The word in tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::NeedsHuman => "needs_human",
        }
    }

    /// Whether it is not decided yet.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Processing)
    }
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its id; also its number at the provider.
    pub id: RefundId,
    /// The payment it is taken from.
    pub payment: PaymentId,
    /// The order of that payment.
    pub order: OrderId,
    /// Who gets the money: who paid.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// Of how much: the whole payment, which providers want to know.
    pub paid: Money,
    /// Why.
    pub reason: RefundReason,
    /// Who took the money.
    pub provider: ProviderName,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub status: RefundStatus,
    /// Why a person has to see to it.
    pub remark: Option<String>,
    /// How often the provider was asked without a clear answer.
    pub attempts: u32,
    /// When the provider is asked next.
    pub next_attempt: Timestamp,
    /// Counts the changes, from 1.
    pub version: u64,
}

/// What the provider's answer makes of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundDecision {
    /// This.
    Becomes(Box<Refund>),
    /// Nothing.
    NothingToDo,
    /// Nothing, and a person is told.
    Contradicts,
}

/// The second question to the provider; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// Longest wait between two questions.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 60 * 60);
/// With these waits about four days: longer than any provider takes for a refund that it will make.
const MOST_ATTEMPTS: u32 = 24;

impl Refund {
    /// When it has to be looked at next.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.status.is_open().then_some(self.next_attempt)
    }

    /// When we heard that the buyer has the money, if he has: the provider made the refund then or before.
    #[must_use]
    pub fn settled_at(&self) -> Option<Timestamp> {
        // Nothing changes a refund that succeeded.
        (self.status == RefundStatus::Succeeded).then_some(self.updated_at)
    }

    /// When a new refund is looked at again if the function that made it comes to no end.
    #[must_use]
    pub fn first_deadline(now: Timestamp) -> Timestamp {
        now.plus(FIRST_WAIT)
    }

    /// What the provider answered, which is never "not found": the refund was just asked for, or is asked for again.
    #[must_use]
    pub fn answered(&self, answer: &Refunding, now: Timestamp) -> RefundDecision {
        let (event, remark) = match answer {
            Refunding::Succeeded => (RefundEvent::Succeed, None),
            Refunding::Rejected(reason) => (RefundEvent::Reject, Some(reason.clone())),
            Refunding::Processing | Refunding::Unknown(_) | Refunding::NotFound if self.attempts >= MOST_ATTEMPTS => (
                RefundEvent::GiveUp,
                Some("the provider gave no clear answer for days".to_owned()),
            ),
            Refunding::Processing if self.status == RefundStatus::Requested => (RefundEvent::Accept, None),
            Refunding::Processing | Refunding::Unknown(_) | Refunding::NotFound => {
                if !self.status.is_open() {
                    return RefundDecision::NothingToDo;
                }
                return RefundDecision::Becomes(Box::new(self.changed(self.status, None, now)));
            }
        };
        match self.status.on(event) {
            RefundOutcome::MovesTo(status) => RefundDecision::Becomes(Box::new(self.changed(status, remark, now))),
            RefundOutcome::NothingToDo => RefundDecision::NothingToDo,
            RefundOutcome::Contradicts => RefundDecision::Contradicts,
        }
    }

    fn changed(&self, status: RefundStatus, remark: Option<String>, now: Timestamp) -> Self {
        let wait = FIRST_WAIT.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        Self {
            status,
            remark,
            attempts: self.attempts.saturating_add(1),
            next_attempt: now.plus(wait),
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RefundEvent::*;
    use super::RefundOutcome::*;
    use super::RefundStatus::*;
    use super::*;
    use crate::provider::Silence;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn every_event_in_every_status_has_one_outcome() {
        let events = [Accept, Succeed, Reject, GiveUp];
        let table = [
            (
                Requested,
                [
                    MovesTo(Processing),
                    MovesTo(Succeeded),
                    MovesTo(NeedsHuman),
                    MovesTo(NeedsHuman),
                ],
            ),
            (
                Processing,
                [
                    NothingToDo,
                    MovesTo(Succeeded),
                    MovesTo(NeedsHuman),
                    MovesTo(NeedsHuman),
                ],
            ),
            (Succeeded, [NothingToDo, NothingToDo, Contradicts, NothingToDo]),
            (NeedsHuman, [NothingToDo, Contradicts, NothingToDo, NothingToDo]),
        ];
        assert_eq!(table.map(|(status, _)| status), RefundStatus::ALL);
        for (status, outcomes) in table {
            for (event, outcome) in events.into_iter().zip(outcomes) {
                assert_eq!(status.on(event), outcome, "{status:?} {event:?}");
            }
        }
    }

    fn refund(status: RefundStatus) -> Refund {
        Refund {
            id: RefundId::random(),
            payment: PaymentId::random(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(100).unwrap(),
            paid: Money::from_fen(100).unwrap(),
            reason: RefundReason::OrderCancelled,
            provider: ProviderName::Sandbox,
            created_at: NOW,
            updated_at: NOW,
            status,
            remark: None,
            attempts: 0,
            next_attempt: Refund::first_deadline(NOW),
            version: 1,
        }
    }

    #[test]
    fn an_unclear_answer_keeps_the_state_until_a_person_is_called() {
        for unclear in [Refunding::Unknown(Silence("timed out".into())), Refunding::NotFound] {
            let mut refund = refund(Requested);
            let mut now = NOW;
            let mut tries = 0;
            while let Some(due) = refund.due_at() {
                now = due;
                match refund.answered(&unclear, now) {
                    RefundDecision::Becomes(next) => refund = *next,
                    other => panic!("{other:?}"),
                }
                tries += 1;
            }
            assert_eq!(refund.status, NeedsHuman);
            assert_eq!(tries, MOST_ATTEMPTS + 1);
            assert!(now.since(NOW) > Duration::from_secs(3 * 24 * 3600));
        }
    }

    #[test]
    fn a_refund_that_is_decided_stays_decided() {
        for status in [Succeeded, NeedsHuman] {
            let refund = refund(status);
            assert_eq!(refund.due_at(), None);
            for answer in [
                Refunding::Processing,
                Refunding::NotFound,
                Refunding::Unknown(Silence(String::new())),
            ] {
                assert_eq!(refund.answered(&answer, NOW), RefundDecision::NothingToDo);
            }
        }
        assert_eq!(
            refund(Succeeded).answered(&Refunding::Rejected("no".into()), NOW),
            RefundDecision::Contradicts
        );
        assert_eq!(
            refund(NeedsHuman).answered(&Refunding::Succeeded, NOW),
            RefundDecision::Contradicts
        );
    }
}
