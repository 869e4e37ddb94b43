//! One attempt to pay an order. Pure: no time is read here, nothing is stored, no provider is asked.

use std::time::Duration;

use contracts::payments::PaymentMethod;
use kernel::{Money, OrderId, PaymentId, RefundId, Timestamp, UserId};

use crate::ledger::{Ledger, LedgerError};
use crate::provider::{CURRENCY, Channel, Observation, Offer, ProviderName, Receipt, Trade};
use crate::status::{Event, Outcome, Status};

/// What is true of an attempt in each status, and only there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Noted; the provider's offer is not here.
    Created,
    /// With the buyer.
    Pending {
        /// How he gets to pay.
        offer: Offer,
        /// When the provider is asked next, in case its callback is lost.
        next_check: Timestamp,
    },
    /// Paid.
    Paid {
        /// By the provider's word.
        receipt: Receipt,
    },
    /// Called off.
    Closed {
        /// When the provider is asked once more: it did not know the trade, so a code that was shown could still be paid.
        last_look: Option<Timestamp>,
    },
    /// Not paid in time.
    Expired {
        /// As above.
        last_look: Option<Timestamp>,
    },
    /// Failed.
    Failed,
    /// Money came that is not what was asked for.
    Mismatch {
        /// By the provider's word.
        receipt: Receipt,
    },
    /// Paid after it had ended.
    LatePaid {
        /// By the provider's word.
        receipt: Receipt,
    },
}

/// One attempt to pay an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its id; also the number of its trade at the provider.
    pub id: PaymentId,
    /// What it pays.
    pub order: OrderId,
    /// Who pays: the order's buyer.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// How.
    pub method: PaymentMethod,
    /// Where the buyer meets the provider.
    pub channel: Channel,
    /// Who takes the money.
    pub provider: ProviderName,
    /// What the buyer reads at the provider: the order's title.
    pub subject: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Where its money is.
    pub ledger: Ledger,
    /// How often the provider was asked while it waited.
    pub checks: u32,
    /// Fingerprint of the request that opened it under an `Idempotency-Key`.
    pub fingerprint: Option<String>,
    /// Counts the changes, from 1.
    pub version: u64,
}

/// What becomes of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This.
    Becomes(Box<Payment>),
    /// Nothing.
    NothingToDo,
    /// Nothing, and a person is told: what happened contradicts what is known.
    Contradicts,
}

/// The first question to the provider after the offer; each further one waits twice as long.
const FIRST_CHECK: Duration = Duration::from_secs(60);
/// Longest wait between two questions.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// How long after the end of its time a trade that the provider did not know is looked at once more. A buyer who was typing
/// his password at that moment is done by then.
const LAST_LOOK: Duration = Duration::from_secs(5 * 60);

/// How an attempt ended at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closed: it can not be paid any more.
    ClosedThere,
    /// The provider did not know it, and may still learn of it: from a page or a code that the buyer has.
    NotKnownThere,
}

impl Payment {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Created => Status::Created,
            State::Pending { .. } => Status::Pending,
            State::Paid { .. } => Status::Paid,
            State::Closed { .. } => Status::Closed,
            State::Expired { .. } => Status::Expired,
            State::Failed => Status::Failed,
            State::Mismatch { .. } => Status::Mismatch,
            State::LatePaid { .. } => Status::LatePaid,
        }
    }

    /// What the provider says about the money, if any came.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        match &self.state {
            State::Paid { receipt } | State::Mismatch { receipt } | State::LatePaid { receipt } => Some(receipt),
            State::Created | State::Pending { .. } | State::Failed => None,
            State::Closed { .. } | State::Expired { .. } => None,
        }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// When it has to be looked at next, because time alone changes it.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Created => Some(self.expires_at),
            State::Pending { next_check, .. } => Some(next_check),
            State::Closed { last_look } | State::Expired { last_look } => last_look,
            State::Paid { .. } | State::Failed | State::Mismatch { .. } | State::LatePaid { .. } => None,
        }
    }

    /// The same new payment, with an offer that was there from the start.
    #[must_use]
    pub fn with_offer(self, offer: Offer, now: Timestamp) -> Self {
        let next_check = self.check_after(now);
        Self {
            state: State::Pending { offer, next_check },
            ..self
        }
    }

    /// The provider made another offer for the same trade, since the one that is known is not good for long.
    #[must_use]
    pub fn offered_anew(&self, offer: Offer, now: Timestamp) -> Decision {
        let State::Pending { next_check, .. } = self.state else {
            return self.offered(offer, now);
        };
        Decision::Becomes(Box::new(Self {
            state: State::Pending { offer, next_check },
            ..self.changed(now)
        }))
    }

    /// The provider made its offer.
    #[must_use]
    pub fn offered(&self, offer: Offer, now: Timestamp) -> Decision {
        self.on(
            Event::Offer,
            |payment| State::Pending {
                offer,
                next_check: payment.check_after(now),
            },
            now,
        )
    }

    /// The provider does not take it: that ends an attempt to which nothing was offered.
    #[must_use]
    pub fn refused(&self, now: Timestamp) -> Decision {
        match self.state {
            State::Created => self.on(Event::Fail, |_| State::Failed, now),
            _ => Decision::NothingToDo,
        }
    }

    /// What was seen at the provider.
    #[must_use]
    pub fn observed(&self, seen: &Observation, now: Timestamp) -> Decision {
        match &seen.trade {
            Trade::Waiting => Decision::NothingToDo,
            Trade::Failed => self.on(Event::Fail, |_| State::Failed, now),
            Trade::Closed => self.on(Event::Close, |_| State::Closed { last_look: None }, now),
            Trade::Paid(receipt) if receipt.amount == self.amount && receipt.currency == CURRENCY => {
                let receipt = receipt.clone();
                let came = |payment: &Self| match payment.status().is_open() {
                    true => State::Paid { receipt },
                    false => State::LatePaid { receipt },
                };
                match self.on(Event::Pay, came, now) {
                    Decision::Becomes(mut paid) => {
                        paid.ledger = paid.ledger.hold(self.amount, now);
                        Decision::Becomes(paid)
                    }
                    other => other,
                }
            }
            Trade::Paid(receipt) | Trade::PaidToAnother(receipt) => self.paid_wrongly(receipt, now),
            // Our own refunds are of payments that are known as paid. Of any other one, only a person at the provider can
            // have given money back: it is not there to be held for the seller.
            Trade::Returned(receipt) if self.status().is_open() => self.paid_wrongly(receipt, now),
            Trade::Returned(_) => Decision::NothingToDo,
        }
    }

    /// It ends: because its time is over, or because somebody wanted it. Whether the provider knew the trade, and closed it,
    /// decides whether money can still come.
    #[must_use]
    pub fn ended(&self, ending: Ending, now: Timestamp) -> Decision {
        let last_look = match ending {
            Ending::ClosedThere => None,
            Ending::NotKnownThere => Some(self.expires_at.max(now).plus(LAST_LOOK)),
        };
        if self.is_overdue(now) {
            self.on(Event::Expire, |_| State::Expired { last_look }, now)
        } else {
            self.on(Event::Close, |_| State::Closed { last_look }, now)
        }
    }

    /// The last look at an attempt that had ended brought nothing.
    #[must_use]
    pub fn looked(&self, now: Timestamp) -> Decision {
        let state = match self.state {
            State::Closed { last_look: Some(_) } => State::Closed { last_look: None },
            State::Expired { last_look: Some(_) } => State::Expired { last_look: None },
            _ => return Decision::NothingToDo,
        };
        Decision::Becomes(Box::new(Self {
            state,
            ..self.changed(now)
        }))
    }

    /// The provider was asked and had no news.
    #[must_use]
    pub fn checked(&self, now: Timestamp) -> Decision {
        let State::Pending { offer, .. } = &self.state else {
            return Decision::NothingToDo;
        };
        let mut next = self.changed(now);
        next.checks = self.checks.saturating_add(1);
        next.state = State::Pending {
            offer: offer.clone(),
            next_check: next.check_after(now),
        };
        Decision::Becomes(Box::new(next))
    }

    /// Promises `amount` to a refund.
    ///
    /// # Errors
    /// [`LedgerError::NotEnough`].
    pub fn reserve_refund(&self, amount: Money, now: Timestamp) -> Result<Self, LedgerError> {
        let mut next = self.changed(now);
        next.ledger = self.ledger.reserve(amount)?;
        Ok(next)
    }

    /// A refund went out. `None`: that is known.
    ///
    /// # Errors
    /// [`LedgerError::NotReserved`].
    pub fn refunded(&self, refund: RefundId, amount: Money, now: Timestamp) -> Result<Option<Self>, LedgerError> {
        Ok(self.ledger.refund(refund, amount, now)?.map(|ledger| Self {
            ledger,
            ..self.changed(now)
        }))
    }

    /// The order completed: `amount` is the seller's. Of late money nothing is: it goes back to the buyer.
    ///
    /// # Errors
    /// [`LedgerError::NotEnough`].
    pub fn released(&self, amount: Money, now: Timestamp) -> Result<Decision, LedgerError> {
        if self.status() != Status::Paid {
            return Ok(Decision::NothingToDo);
        }
        Ok(match self.ledger.release(amount, now)? {
            Some(ledger) => Decision::Becomes(Box::new(Self {
                ledger,
                ..self.changed(now)
            })),
            None => Decision::NothingToDo,
        })
    }

    fn on(&self, event: Event, next: impl FnOnce(&Self) -> State, now: Timestamp) -> Decision {
        match self.status().on(event) {
            Outcome::NothingToDo => Decision::NothingToDo,
            Outcome::Contradicts => Decision::Contradicts,
            Outcome::MovesTo(status) => {
                let next = Self {
                    state: next(self),
                    ..self.changed(now)
                };
                debug_assert_eq!(next.status(), status, "{event:?}");
                Decision::Becomes(Box::new(next))
            }
        }
    }

    fn paid_wrongly(&self, receipt: &Receipt, now: Timestamp) -> Decision {
        let receipt = receipt.clone();
        self.on(Event::PayWrongly, |_| State::Mismatch { receipt }, now)
    }

    fn check_after(&self, now: Timestamp) -> Timestamp {
        let wait = FIRST_CHECK.saturating_mul(1 << self.checks.min(10)).min(LONGEST_WAIT);
        now.plus(wait).min(self.expires_at)
    }

    fn changed(&self, now: Timestamp) -> Self {
        Self {
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn payment() -> Payment {
        Payment {
            id: PaymentId::random(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(1990).unwrap(),
            method: PaymentMethod::Alipay,
            channel: Channel::Page,
            provider: ProviderName::Sandbox,
            subject: "desk lamp".into(),
            created_at: NOW,
            updated_at: NOW,
            expires_at: NOW.plus(Duration::from_secs(1_800)),
            state: State::Created,
            ledger: Ledger::default(),
            checks: 0,
            fingerprint: None,
            version: 1,
        }
    }

    fn seen(payment: &Payment, trade: Trade) -> Observation {
        Observation {
            payment: payment.id,
            trade,
        }
    }

    fn receipt(fen: i64, currency: &str) -> Receipt {
        Receipt {
            trade_no: "T1".into(),
            amount: Money::from_fen(fen).unwrap(),
            currency: currency.into(),
            paid_at: NOW,
        }
    }

    fn becomes(decision: Decision) -> Payment {
        match decision {
            Decision::Becomes(payment) => *payment,
            other => panic!("{other:?}"),
        }
    }

    /// A payment in each status, reached by what really leads there.
    fn in_status(status: Status) -> Payment {
        let fresh = payment();
        let pending = becomes(fresh.offered(Offer::Redirect("https://pay".into()), NOW));
        let paid = Trade::Paid(receipt(1990, CURRENCY));
        let late = fresh.expires_at;
        match status {
            Status::Created => fresh,
            Status::Pending => pending,
            Status::Paid => becomes(pending.observed(&seen(&pending, paid), NOW)),
            Status::Closed => becomes(pending.ended(Ending::ClosedThere, NOW)),
            Status::Expired => becomes(pending.ended(Ending::NotKnownThere, late)),
            Status::Failed => becomes(pending.observed(&seen(&pending, Trade::Failed), NOW)),
            Status::Mismatch => becomes(pending.observed(&seen(&pending, Trade::Paid(receipt(1, CURRENCY))), NOW)),
            Status::LatePaid => {
                let expired = becomes(pending.ended(Ending::NotKnownThere, late));
                becomes(expired.observed(&seen(&expired, paid), late))
            }
        }
    }

    /// The payment follows the machine in every status, for everything that can be seen or done.
    #[test]
    fn a_payment_goes_where_its_machine_says() {
        for status in Status::ALL {
            let payment = in_status(status);
            assert_eq!(payment.status(), status);
            let late = payment.expires_at;
            let happenings = [
                (Event::Offer, payment.offered(Offer::QrCode("x".into()), NOW)),
                (
                    Event::Pay,
                    payment.observed(&seen(&payment, Trade::Paid(receipt(1990, CURRENCY))), NOW),
                ),
                (
                    Event::PayWrongly,
                    payment.observed(&seen(&payment, Trade::Paid(receipt(1991, CURRENCY))), NOW),
                ),
                (Event::Fail, payment.observed(&seen(&payment, Trade::Failed), NOW)),
                (Event::Close, payment.observed(&seen(&payment, Trade::Closed), NOW)),
                (Event::Close, payment.ended(Ending::ClosedThere, NOW)),
                (Event::Expire, payment.ended(Ending::NotKnownThere, late)),
            ];
            for (event, decision) in happenings {
                match (status.on(event), decision) {
                    (Outcome::MovesTo(next), Decision::Becomes(payment)) => assert_eq!(payment.status(), next),
                    (Outcome::NothingToDo, Decision::NothingToDo) | (Outcome::Contradicts, Decision::Contradicts) => {}
                    (outcome, decision) => panic!("{status:?} {event:?}: {outcome:?} but {decision:?}"),
                }
            }
            assert_eq!(
                payment.observed(&seen(&payment, Trade::Waiting), NOW),
                Decision::NothingToDo
            );
        }
    }

    /// Every status, and everything that the refund path and the order's end do to a payment.
    #[test]
    fn money_leaves_only_a_payment_to_which_it_came() {
        for status in Status::ALL {
            let payment = in_status(status);
            let (all, more) = (payment.amount, Money::from_fen(1991).unwrap());
            let came = matches!(status, Status::Paid | Status::LatePaid);
            let refund = RefundId::random();
            assert_eq!(payment.reserve_refund(all, NOW).is_ok(), came, "{status:?}: reserve");
            assert!(
                payment.reserve_refund(more, NOW).is_err(),
                "{status:?}: reserve too much"
            );
            assert_eq!(
                payment.refunded(refund, all, NOW),
                Err(LedgerError::NotReserved),
                "{status:?}: settle"
            );
            match (status, payment.released(all, NOW).unwrap()) {
                (Status::Paid, Decision::Becomes(released)) => {
                    assert_eq!(released.status(), Status::Paid);
                    assert_eq!(released.released(all, NOW), Ok(Decision::NothingToDo), "released once");
                    assert!(released.reserve_refund(all, NOW).is_err(), "the money is the seller's");
                }
                (Status::Paid, decision) => panic!("{decision:?}"),
                (_, decision) => assert_eq!(decision, Decision::NothingToDo, "{status:?}: release"),
            }
            if came {
                let reserved = payment.reserve_refund(all, NOW).unwrap();
                assert_eq!(reserved.status(), status, "a refund moves money, not the attempt");
                assert!(reserved.reserve_refund(Money::from_fen(1).unwrap(), NOW).is_err());
                let settled = reserved.refunded(refund, all, NOW).unwrap().unwrap();
                assert_eq!(settled.refunded(refund, all, NOW), Ok(None), "{status:?}: settled once");
                assert_eq!(settled.ledger.balance(), Ok(Money::ZERO));
            }
        }
    }

    #[test]
    fn money_that_is_not_what_was_asked_for_is_held_for_a_person() {
        let pending = in_status(Status::Pending);
        for trade in [
            Trade::Paid(receipt(1989, CURRENCY)),
            Trade::Paid(receipt(1990, "USD")),
            Trade::PaidToAnother(receipt(1990, CURRENCY)),
        ] {
            let held = becomes(pending.observed(&seen(&pending, trade), NOW));
            assert_eq!(held.status(), Status::Mismatch);
            assert!(held.ledger.entries().is_empty());
        }
    }

    #[test]
    fn the_provider_is_asked_less_and_less_often_and_at_the_end() {
        let mut pending = in_status(Status::Pending);
        let mut waits = Vec::new();
        let mut now = NOW;
        while let Some(due) = pending.due_at().filter(|due| *due < pending.expires_at) {
            waits.push(due.since(now).as_secs() / 60);
            now = due;
            pending = becomes(pending.checked(now));
        }
        assert_eq!(waits, [1, 2, 4, 8]);
        assert_eq!(pending.due_at(), Some(pending.expires_at));
    }

    #[test]
    fn an_offer_that_is_made_anew_takes_the_place_of_the_first_and_of_nothing_else() {
        let offer = Offer::Redirect("https://pay/2".into());
        for status in Status::ALL {
            let payment = in_status(status);
            match (status, payment.offered_anew(offer.clone(), NOW)) {
                (Status::Created | Status::Pending, Decision::Becomes(next)) => {
                    assert!(matches!(&next.state, State::Pending { offer: shown, .. } if *shown == offer));
                    assert!(payment.status() == Status::Created || next.due_at() == payment.due_at());
                }
                (_, decision) => assert_eq!(decision, Decision::NothingToDo, "{status:?}"),
            }
        }
    }

    #[test]
    fn a_trade_that_the_provider_did_not_know_is_looked_at_once_more() {
        let pending = in_status(Status::Pending);
        let ended = becomes(pending.ended(Ending::NotKnownThere, NOW));
        let last_look = pending.expires_at.plus(LAST_LOOK);
        assert_eq!(ended.due_at(), Some(last_look));
        let late = ended.observed(&seen(&ended, Trade::Paid(receipt(1990, CURRENCY))), last_look);
        assert_eq!(becomes(late).status(), Status::LatePaid);
        let looked = becomes(ended.looked(last_look));
        assert_eq!((looked.status(), looked.due_at()), (Status::Closed, None));
        assert_eq!(looked.looked(last_look), Decision::NothingToDo);
        assert_eq!(becomes(pending.ended(Ending::ClosedThere, NOW)).due_at(), None);
    }

    /// Money that a person gave back at the provider is not held for the seller; our own refunds change nothing here.
    #[test]
    fn money_that_went_back_does_not_pay_an_order() {
        for status in Status::ALL {
            let payment = in_status(status);
            let returned = payment.observed(&seen(&payment, Trade::Returned(receipt(1990, CURRENCY))), NOW);
            match status.is_open() {
                true => assert_eq!(becomes(returned).status(), Status::Mismatch),
                false => assert_eq!(returned, Decision::NothingToDo, "{status:?}"),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Offer,
        Pay(i64),
        Fail,
        End { late: bool },
        Reserve(i64),
        Settle,
        Release(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Offer),
            prop_oneof![4 => Just(1990), 1 => 1..3000_i64].prop_map(Step::Pay),
            Just(Step::Fail),
            any::<bool>().prop_map(|late| Step::End { late }),
            (1..2200_i64).prop_map(Step::Reserve),
            Just(Step::Settle),
            (0..2200_i64).prop_map(Step::Release),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        /// Whatever happens, refunds stay within what came, nothing is spent twice, and once every promised refund went
        /// out and the rest was released, or given back where it came late, the entries sum to zero.
        #[test]
        fn the_ledger_of_a_finished_payment_sums_to_zero(steps in steps()) {
            let mut payment = payment();
            let mut promised: Vec<(RefundId, Money)> = Vec::new();
            let go_on = |payment: &mut Payment, decision: Decision| if let Decision::Becomes(next) = decision {
                assert_eq!(next.version, payment.version + 1);
                assert!(next.ledger.entries().starts_with(payment.ledger.entries()), "append-only");
                *payment = *next;
            };
            let settle = |payment: &mut Payment, promised: &mut Vec<(RefundId, Money)>| {
                if let Some((refund, amount)) = promised.pop() {
                    *payment = payment.refunded(refund, amount, NOW).unwrap().unwrap();
                    assert_eq!(payment.refunded(refund, amount, NOW), Ok(None));
                }
            };
            for step in steps {
                match step {
                    Step::Offer => { let d = payment.offered(Offer::QrCode("x".into()), NOW); go_on(&mut payment, d) }
                    Step::Pay(fen) => {
                        let d = payment.observed(&seen(&payment, Trade::Paid(receipt(fen, CURRENCY))), NOW);
                        go_on(&mut payment, d);
                    }
                    Step::Fail => { let d = payment.observed(&seen(&payment, Trade::Failed), NOW); go_on(&mut payment, d) }
                    Step::End { late } => {
                        let d = payment.ended(Ending::NotKnownThere, if late { payment.expires_at } else { NOW });
                        go_on(&mut payment, d);
                    }
                    Step::Reserve(fen) => {
                        let amount = Money::from_fen(fen).unwrap();
                        if let Ok(next) = payment.reserve_refund(amount, NOW) {
                            promised.push((RefundId::random(), amount));
                            payment = next;
                        }
                    }
                    Step::Settle => settle(&mut payment, &mut promised),
                    Step::Release(fen) => {
                        if let Ok(d) = payment.released(Money::from_fen(fen).unwrap(), NOW) { go_on(&mut payment, d) }
                    }
                }
                let captured = payment.ledger.captured().unwrap();
                prop_assert!(captured.is_zero() || captured == payment.amount);
                prop_assert!(payment.ledger.refunded().unwrap() <= captured);
                prop_assert!(payment.ledger.balance().is_ok());
            }
            let left = payment.ledger.uncommitted().unwrap();
            let d = payment.released(left, NOW).unwrap();
            go_on(&mut payment, d);
            // Late money, and what a release before left over, is the buyer's.
            let left = payment.ledger.uncommitted().unwrap();
            if !left.is_zero() {
                payment = payment.reserve_refund(left, NOW).unwrap();
                promised.push((RefundId::random(), left));
            }
            while !promised.is_empty() { settle(&mut payment, &mut promised) }
            prop_assert_eq!(payment.ledger.balance(), Ok(Money::ZERO));
        }
    }
}
