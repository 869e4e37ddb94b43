//! A trade and what can be done with it. Pure.

use std::time::Duration;

use kernel::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::order::Order;

/// Where a trade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The buyer has the page open.
    Waiting,
    /// Paid. What was given back of it is in its refunds.
    Paid,
    /// The buyer could not pay.
    Failed,
    /// The merchant does not want the money any more.
    Closed,
}

/// What can happen to a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The buyer pays.
    Pay,
    /// The buyer's bank refuses.
    Fail,
    /// The merchant closes it.
    Close,
}

/// What the state machine says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The trade moves on.
    MovesTo(Status),
    /// It is so already.
    NothingToDo,
    /// It can not be.
    Refused,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Paid, Self::Failed, Self::Closed];

    /// What `event` does to a trade of this status.
    #[must_use]
    pub fn on(self, event: Event) -> Outcome {
        use Outcome::{MovesTo, NothingToDo, Refused};
        match (self, event) {
            (Self::Waiting, Event::Pay) => MovesTo(Self::Paid),
            (Self::Waiting, Event::Fail) => MovesTo(Self::Failed),
            (Self::Waiting, Event::Close) => MovesTo(Self::Closed),
            (Self::Paid, Event::Pay) | (Self::Failed, Event::Fail) => NothingToDo,
            // It can not be paid any more, which is all that closing is for.
            (Self::Failed | Self::Closed, Event::Close) => NothingToDo,
            (Self::Paid, Event::Fail | Event::Close) => Refused,
            (Self::Failed, Event::Pay) | (Self::Closed, Event::Pay | Event::Fail) => Refused,
        }
    }
}

/// Money that was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The merchant's number of it.
    pub refund_no: String,
    /// How much.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
    /// When.
    pub at: Timestamp,
}

/// A notification that the merchant has not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// How often it was sent in vain.
    pub attempts: u32,
    /// When it is sent next.
    pub due_at: Timestamp,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// What the merchant asked for.
    pub order: Order,
    /// Our number of it.
    pub trade_no: String,
    /// Where it stands.
    pub status: Status,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// What was given back.
    pub refunds: Vec<Refund>,
    /// The notification that is owed.
    pub owed: Option<Owed>,
    /// Counts the changes, from 1.
    pub version: u64,
}

/// Why a trade is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time is over.
    #[error("TRADE_EXPIRED")]
    Expired,
    /// The merchant closed it.
    #[error("TRADE_CLOSED")]
    Closed,
    /// It failed before.
    #[error("TRADE_FAILED")]
    Failed,
    /// It is paid.
    #[error("TRADE_PAID")]
    Paid,
    /// The same number was used for another order.
    #[error("ORDER_DIFFERS")]
    OrderDiffers,
    /// There is nothing to give back.
    #[error("TRADE_NOT_PAID")]
    NotPaid,
    /// More than was paid would be given back.
    #[error("REFUND_EXCEEDS_PAYMENT")]
    RefundExceeds,
    /// The refund's number was used for another amount.
    #[error("REFUND_DIFFERS")]
    RefundDiffers,
}

/// How long the first notification may take before it is sent again; each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// After so many notifications in vain the merchant has to ask.
const MOST_NOTIFICATIONS: u32 = 10;

impl Trade {
    /// The buyer opened the page.
    #[must_use]
    pub fn opened(order: Order, trade_no: String) -> Self {
        Self {
            order,
            trade_no,
            status: Status::Waiting,
            paid_at: None,
            refunds: Vec::new(),
            owed: None,
            version: 1,
        }
    }

    /// The buyer pays or fails. `None`: it is so already.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decided(&self, order: &Order, event: Event, now: Timestamp) -> Result<Option<Self>, Refusal> {
        if self.order.amount != order.amount || self.order.merchant != order.merchant {
            return Err(Refusal::OrderDiffers);
        }
        match self.status.on(event) {
            Outcome::MovesTo(_) if now >= self.order.expires_at => Err(Refusal::Expired),
            Outcome::MovesTo(status) => {
                let mut next = self.changed();
                next.status = status;
                // The merchant may have moved since the page was opened.
                next.order = order.clone();
                next.paid_at = (status == Status::Paid).then_some(now);
                next.owed = Some(Owed {
                    attempts: 0,
                    due_at: now.plus(FIRST_WAIT),
                });
                Ok(Some(next))
            }
            Outcome::NothingToDo => Ok(None),
            Outcome::Refused => Err(match self.status {
                Status::Paid => Refusal::Paid,
                Status::Failed => Refusal::Failed,
                Status::Waiting | Status::Closed => Refusal::Closed,
            }),
        }
    }

    /// The merchant closes it. `None`: it can not be paid any more already.
    ///
    /// # Errors
    /// [`Refusal::Paid`].
    pub fn closed(&self) -> Result<Option<Self>, Refusal> {
        match self.status.on(Event::Close) {
            Outcome::MovesTo(status) => Ok(Some(Self {
                status,
                ..self.changed()
            })),
            Outcome::NothingToDo => Ok(None),
            Outcome::Refused => Err(Refusal::Paid),
        }
    }

    /// The merchant gives money back. `None`: this refund was made already.
    ///
    /// # Errors
    /// [`Refusal::NotPaid`], [`Refusal::RefundDiffers`], [`Refusal::RefundExceeds`].
    pub fn refunded(&self, refund_no: &str, amount: Money, now: Timestamp) -> Result<Option<Self>, Refusal> {
        if self.status != Status::Paid {
            return Err(Refusal::NotPaid);
        }
        match self.refund(refund_no) {
            Some(made) if made.amount == amount => return Ok(None),
            Some(_) => return Err(Refusal::RefundDiffers),
            None => {}
        }
        let given = self
            .refunds
            .iter()
            .try_fold(amount, |sum, refund| sum.checked_add(refund.amount));
        if given.map_or(true, |given| given > self.order.amount) {
            return Err(Refusal::RefundExceeds);
        }
        let mut next = self.changed();
        next.refunds.push(Refund {
            refund_no: refund_no.to_owned(),
            amount,
            at: now,
        });
        Ok(Some(next))
    }

    /// The refund with the merchant's number.
    #[must_use]
    pub fn refund(&self, refund_no: &str) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.refund_no == refund_no)
    }

    /// The notification was sent. `None`: none is owed.
    #[must_use]
    pub fn notified(&self, confirmed: bool, now: Timestamp) -> Option<Self> {
        let owed = self.owed?;
        let attempts = owed.attempts + 1;
        let due_at = now.plus(FIRST_WAIT.saturating_mul(1 << attempts.min(10)));
        let again = !confirmed && attempts < MOST_NOTIFICATIONS;
        Some(Self {
            owed: again.then_some(Owed { attempts, due_at }),
            ..self.changed()
        })
    }

    fn changed(&self) -> Self {
        Self {
            version: self.version + 1,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::Outcome::*;
    use super::Status::*;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn fen(fen: i64) -> Money {
        Money::from_fen(fen).unwrap()
    }

    fn trade() -> Trade {
        let order = Order {
            out_trade_no: "trade_1".parse().unwrap(),
            merchant: "cfmp".into(),
            amount: fen(100),
            subject: "desk lamp".into(),
            method: "alipay".into(),
            expires_at: NOW.plus(Duration::from_secs(1)),
            notify_url: "http://shop/notify".into(),
            return_url: "http://shop/return".into(),
        };
        Trade::opened(order, "SB1".into())
    }

    fn paid() -> Trade {
        trade().decided(&trade().order, Pay, NOW).unwrap().unwrap()
    }

    #[test]
    fn every_event_in_every_status_has_one_outcome() {
        let table = [
            (Waiting, [MovesTo(Paid), MovesTo(Failed), MovesTo(Closed)]),
            (Paid, [NothingToDo, Refused, Refused]),
            (Failed, [Refused, NothingToDo, NothingToDo]),
            (Closed, [Refused, Refused, NothingToDo]),
        ];
        assert_eq!(table.map(|(status, _)| status), Status::ALL);
        for (status, outcomes) in table {
            for (event, outcome) in [Pay, Fail, Close].into_iter().zip(outcomes) {
                assert_eq!(status.on(event), outcome, "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn only_the_order_that_was_opened_is_paid_and_only_in_time() {
        let trade = trade();
        let other = Order {
            amount: fen(1),
            ..trade.order.clone()
        };
        assert_eq!(trade.decided(&other, Pay, NOW), Err(Refusal::OrderDiffers));
        assert_eq!(
            trade.decided(&trade.order, Pay, trade.order.expires_at),
            Err(Refusal::Expired)
        );
        assert_eq!(paid().paid_at, Some(NOW));
        assert_eq!(
            trade.closed().unwrap().unwrap().decided(&trade.order, Pay, NOW),
            Err(Refusal::Closed)
        );
        assert_eq!(paid().closed(), Err(Refusal::Paid));
    }

    #[test]
    fn a_refund_is_made_once_per_number_and_never_beyond_what_was_paid() {
        assert_eq!(trade().refunded("r1", fen(1), NOW), Err(Refusal::NotPaid));
        let refunded = paid().refunded("r1", fen(60), NOW).unwrap().unwrap();
        assert_eq!(refunded.refunded("r1", fen(60), NOW), Ok(None));
        assert_eq!(refunded.refunded("r1", fen(10), NOW), Err(Refusal::RefundDiffers));
        assert_eq!(refunded.refunded("r2", fen(41), NOW), Err(Refusal::RefundExceeds));
        assert!(refunded.refunded("r2", fen(40), NOW).unwrap().is_some());
    }

    #[test]
    fn a_notification_is_owed_until_it_is_confirmed_or_was_sent_often_enough() {
        let mut trade = paid();
        assert_eq!(trade.notified(true, NOW).unwrap().owed, None);
        let mut sent = 0;
        while let Some(owed) = trade.owed {
            trade = trade.notified(false, owed.due_at).unwrap();
            sent += 1;
        }
        assert_eq!(sent, MOST_NOTIFICATIONS);
        assert_eq!(trade.notified(true, NOW), None);
    }
}
