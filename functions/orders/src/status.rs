//! The order's state machine, as data.

use serde::{Deserialize, Serialize};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Placed; stock is reserved; waits for the money.
    PendingPayment,
    /// The money is held until the goods are received.
    Paid,
    /// Goods received, money released to the seller.
    Completed,
    /// Called off; stock goes back, and so does money that was paid.
    Cancelled,
}

/// What can happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A payment of it succeeded.
    Pay,
    /// Its buyer calls it off.
    CancelByBuyer,
    /// Its seller calls it off.
    CancelBySeller,
    /// A service of ours calls it off.
    CancelByService,
    /// The time to pay it ran out.
    Expire,
    /// Its buyer received the goods.
    Complete,
    /// The time to object ran out.
    CompleteByTime,
    /// A part of what is left of its money is asked back.
    RefundPart,
    /// All that is left of its money is asked back.
    RefundRest,
}

/// What the state machine says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The order moves on.
    MovesTo(Status),
    /// Late or repeated: nothing changes, and that is no error.
    NothingToDo,
    /// The order stays, and the money that just came goes back.
    ReturnsTheMoney,
    /// The order stays, and a part of its money goes back.
    ReturnsAPart,
    /// Refused.
    Refused,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::PendingPayment, Self::Paid, Self::Completed, Self::Cancelled];

    /// What `event` does to an order of this status.
    #[must_use]
    pub fn on(self, event: Event) -> Outcome {
        use Event::{
            CancelByBuyer, CancelBySeller, CancelByService, Complete, CompleteByTime, Expire, Pay, RefundPart,
            RefundRest,
        };
        use Outcome::{MovesTo, NothingToDo, Refused, ReturnsAPart, ReturnsTheMoney};
        use Status::{Cancelled, Completed, Paid, PendingPayment};
        match (self, event) {
            (PendingPayment, Pay) => MovesTo(Paid),
            (PendingPayment, CancelByBuyer | CancelByService | Expire) => MovesTo(Cancelled),
            // A seller who does not want to sell waits for the time-out: until it is paid, the order binds nobody.
            (PendingPayment, CancelBySeller | Complete | CompleteByTime) => Refused,

            // A second payment of a paid order: the caller makes sure that it is not the first one announced again.
            (Paid | Completed | Cancelled, Pay) => ReturnsTheMoney,
            (Paid, CancelByBuyer | CancelBySeller | CancelByService) => MovesTo(Cancelled),
            (Paid, Complete | CompleteByTime) => MovesTo(Completed),
            (Paid | Completed | Cancelled, Expire) => NothingToDo,

            (Completed, Complete | CompleteByTime) => NothingToDo,
            (Completed, CancelByBuyer | CancelBySeller | CancelByService) => Refused,

            (Cancelled, CancelByBuyer | CancelBySeller | CancelByService | CompleteByTime) => NothingToDo,
            (Cancelled, Complete) => Refused,

            (Paid, RefundPart) => ReturnsAPart,
            // With all of its money gone there is nothing left to deliver for.
            (Paid, RefundRest) => MovesTo(Cancelled),
            (PendingPayment | Completed | Cancelled, RefundPart | RefundRest) => Refused,
        }
    }

    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::PendingPayment => 0,
            Self::Paid => 1,
            Self::Completed => 2,
            Self::Cancelled => 3,
        }
    }

    /// The word that clients know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::Paid => "paid",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::Outcome::*;
    use super::Status::*;
    use super::*;

    const EVENTS: [Event; 9] = [
        Pay,
        CancelByBuyer,
        CancelBySeller,
        CancelByService,
        Expire,
        Complete,
        CompleteByTime,
        RefundPart,
        RefundRest,
    ];

    /// The whole machine, written down a second time: a new state or event fails here until somebody decides.
    #[test]
    fn every_event_in_every_status_has_one_outcome() {
        let table = [
            (
                PendingPayment,
                [
                    MovesTo(Paid),
                    MovesTo(Cancelled),
                    Refused,
                    MovesTo(Cancelled),
                    MovesTo(Cancelled),
                    Refused,
                    Refused,
                    Refused,
                    Refused,
                ],
            ),
            (
                Paid,
                [
                    ReturnsTheMoney,
                    MovesTo(Cancelled),
                    MovesTo(Cancelled),
                    MovesTo(Cancelled),
                    NothingToDo,
                    MovesTo(Completed),
                    MovesTo(Completed),
                    ReturnsAPart,
                    MovesTo(Cancelled),
                ],
            ),
            (
                Completed,
                [
                    ReturnsTheMoney,
                    Refused,
                    Refused,
                    Refused,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                    Refused,
                    Refused,
                ],
            ),
            (
                Cancelled,
                [
                    ReturnsTheMoney,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                    NothingToDo,
                    Refused,
                    NothingToDo,
                    Refused,
                    Refused,
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
    fn ended_orders_never_move_again() {
        for status in [Completed, Cancelled] {
            for event in EVENTS {
                assert!(!matches!(status.on(event), MovesTo(_)), "{status:?} {event:?}");
            }
        }
    }
}
