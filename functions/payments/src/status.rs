//! The state machine of one attempt to pay, as data.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Noted here; the provider has not been asked, or its answer was lost.
    Created,
    /// The provider's offer is with the buyer.
    Pending,
    /// The money came in time and as asked for. It is held until the order ends.
    Paid,
    /// Called off by us or by the provider before any money came.
    Closed,
    /// Not paid in time.
    Expired,
    /// The provider says that it failed.
    Failed,
    /// Money came that is not what was asked for. A person decides.
    Mismatch,
    /// The money came after the attempt had ended. It goes back.
    LatePaid,
}

/// What clients know of a status: the nearest of these five, a number in some answers and a word in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PaymentStatus)]
pub enum Shown {
    /// Can be paid.
    Pending,
    /// Looked at by a person.
    Processing,
    /// Paid.
    Success,
    /// Failed.
    Failed,
    /// Ended without paying its order.
    Cancelled,
}

/// A text that is none of the numbers and words that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be pending, processing, success, failed, cancelled, or a number from 0 to 4")]
pub struct NotShown;

impl Shown {
    /// Every one, by its number.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Processing,
        Self::Success,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word that clients know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a query may call a [`Shown`]: its word, or its number.
#[derive(Debug, Clone, Copy)]
pub struct ShownFilter;

impl PartialSchema for ShownFilter {
    fn schema() -> RefOr<Schema> {
        let words = Shown::ALL.map(|shown| shown.word().to_owned());
        let numbers = Shown::ALL.map(|shown| shown.number().to_string());
        let text = ObjectBuilder::new().schema_type(Type::String);
        RefOr::T(text.enum_values(Some([words, numbers].concat())).build().into())
    }
}

impl ToSchema for ShownFilter {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("PaymentStatusFilter")
    }
}

impl FromStr for Shown {
    type Err = NotShown;

    fn from_str(text: &str) -> Result<Self, NotShown> {
        let is_meant = |shown: &Self| shown.word() == text || shown.number().to_string() == text;
        Self::ALL.into_iter().find(is_meant).ok_or(NotShown)
    }
}

/// What can happen to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The provider made its offer.
    Offer,
    /// The money came, as asked for.
    Pay,
    /// Money came: another amount, another currency, or for somebody else.
    PayWrongly,
    /// The provider gave up.
    Fail,
    /// It was closed at the provider.
    Close,
    /// Its time ran out, and it was closed at the provider.
    Expire,
}

/// What the state machine says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The attempt moves on.
    MovesTo(Status),
    /// Late or repeated: nothing changes, and that is no error.
    NothingToDo,
    /// It can not be true together with what is known. Nothing changes, and a person is told.
    Contradicts,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Pending,
        Self::Paid,
        Self::Closed,
        Self::Expired,
        Self::Failed,
        Self::Mismatch,
        Self::LatePaid,
    ];

    /// What `event` does to an attempt of this status.
    #[must_use]
    pub fn on(self, event: Event) -> Outcome {
        use Event::{Close, Expire, Fail, Offer, Pay, PayWrongly};
        use Outcome::{Contradicts, MovesTo, NothingToDo};
        use Status::{Closed, Created, Expired, Failed, LatePaid, Mismatch, Paid, Pending};
        match (self, event) {
            (Created, Offer) => MovesTo(Pending),
            (Created | Pending, Pay) => MovesTo(Paid),
            (Created | Pending, PayWrongly) => MovesTo(Mismatch),
            (Created | Pending, Fail) => MovesTo(Failed),
            (Created | Pending, Close) => MovesTo(Closed),
            (Created | Pending, Expire) => MovesTo(Expired),

            // Whatever ended an attempt, money that comes afterwards is never lost sight of.
            (Closed | Expired | Failed, Pay) => MovesTo(LatePaid),
            (Closed | Expired | Failed, PayWrongly) => MovesTo(Mismatch),

            // One trade is paid once: right and wrong money for the same one exclude each other.
            (Paid | LatePaid, PayWrongly) | (Mismatch, Pay) => Contradicts,

            (Paid | LatePaid, Pay) | (Mismatch, PayWrongly) => NothingToDo,
            // News that was overtaken by the money.
            (Paid | LatePaid | Mismatch, Fail | Close | Expire) => NothingToDo,
            (Closed | Expired | Failed, Fail | Close | Expire) => NothingToDo,
            (Pending | Paid | Closed | Expired | Failed | Mismatch | LatePaid, Offer) => NothingToDo,
        }
    }

    /// Whether money is expected.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Pending)
    }

    /// Whether no other attempt for the same order may be opened: money is expected, or a person looks at money that came.
    #[must_use]
    pub fn occupies_the_order(self) -> bool {
        self.is_open() || self == Self::Mismatch
    }

    /// What clients know of it.
    #[must_use]
    pub fn shown(self) -> Shown {
        match self {
            Self::Created | Self::Pending => Shown::Pending,
            Self::Mismatch => Shown::Processing,
            Self::Paid => Shown::Success,
            Self::Failed => Shown::Failed,
            Self::Closed | Self::Expired | Self::LatePaid => Shown::Cancelled,
        }
    }

    /// The exact word, for tables, logs and refusals.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Mismatch => "mismatch",
            Self::LatePaid => "late_paid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::Outcome::*;
    use super::Status::*;
    use super::*;

    const EVENTS: [Event; 6] = [Offer, Pay, PayWrongly, Fail, Close, Expire];

    /// The whole machine, written down a second time: a new state or event fails here until somebody decides.
    #[test]
    fn every_event_in_every_status_has_one_outcome() {
        let opens = MovesTo(Pending);
        let (paid, wrong, late) = (MovesTo(Paid), MovesTo(Mismatch), MovesTo(LatePaid));
        let (failed, closed, expired) = (MovesTo(Failed), MovesTo(Closed), MovesTo(Expired));
        let table = [
            (Created, [opens, paid, wrong, failed, closed, expired]),
            (Pending, [NothingToDo, paid, wrong, failed, closed, expired]),
            (
                Paid,
                [
                    NothingToDo,
                    NothingToDo,
                    Contradicts,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                ],
            ),
            (
                Closed,
                [NothingToDo, late, wrong, NothingToDo, NothingToDo, NothingToDo],
            ),
            (
                Expired,
                [NothingToDo, late, wrong, NothingToDo, NothingToDo, NothingToDo],
            ),
            (
                Failed,
                [NothingToDo, late, wrong, NothingToDo, NothingToDo, NothingToDo],
            ),
            (
                Mismatch,
                [
                    NothingToDo,
                    Contradicts,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                ],
            ),
            (
                LatePaid,
                [
                    NothingToDo,
                    NothingToDo,
                    Contradicts,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                ],
            ),
        ];
        assert_eq!(table.map(|(status, _)| status), Status::ALL);
        for (status, outcomes) in table {
            for (event, outcome) in EVENTS.into_iter().zip(outcomes) {
                assert_eq!(status.on(event), outcome, "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn clients_name_a_status_by_number_or_word() {
        for (number, shown) in Shown::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(shown.number()), number);
            assert_eq!(shown.number().to_string().parse(), Ok(shown));
            assert_eq!(shown.word().parse(), Ok(shown));
        }
        for text in ["5", "-1", "00", "paid", "PENDING", ""] {
            assert_eq!(text.parse::<Shown>(), Err(NotShown));
        }
    }

    #[test]
    fn money_that_came_never_moves_the_attempt_again() {
        for status in [Paid, Mismatch, LatePaid] {
            for event in EVENTS {
                assert!(!matches!(status.on(event), MovesTo(_)), "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn an_ended_attempt_never_comes_to_life() {
        for status in Status::ALL.into_iter().filter(|status| !status.is_open()) {
            for event in EVENTS {
                let revived = matches!(status.on(event), MovesTo(next) if next.is_open() || next == Paid);
                assert!(!revived, "{status:?} {event:?}");
            }
        }
    }
}
