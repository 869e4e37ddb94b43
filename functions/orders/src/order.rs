//! An order and what can be done with it. Pure: no time is read here, nothing is stored.

use std::str::FromStr;
use std::time::Duration;

use contracts::orders::{CancelledBy, OrderSummary, Reserved};
use contracts::payments::{PaymentMethod, RefundReason, full_refund_id};
use kernel::{
    BuyerId, Money, OrderId, PaymentId, ProductId, Quantity, RefundId, SellerId, Text, Timestamp, UserId, schema,
};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::OneOfBuilder;

use crate::delivery::SealedParticulars;
use crate::error::OrderError;
use crate::status::{Event, Outcome, Status};

/// How long an order waits for its payment.
pub const TIME_TO_PAY: Duration = Duration::from_secs(30 * 60);
/// How long after the payment an order completes by itself.
pub const TIME_TO_OBJECT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long before that the buyer is reminded.
pub const REMINDER_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// Different products in one order.
pub const MAX_LINES: usize = 20;

/// Why somebody calls an order off: up to 500 characters.
pub type CancelReason = Text<0, 500>;

/// One product of an order as it was when the order was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product_uuid: ProductId,
    /// Its title.
    pub title: String,
    /// URL or path of its main image; may be empty.
    pub image: String,
    /// Price of one piece.
    #[serde(with = "kernel::money::fen")]
    pub price: Money,
    /// Pieces.
    pub quantity: Quantity,
}

/// The payment that paid an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The payment.
    pub payment_uuid: PaymentId,
    /// How.
    pub method: PaymentMethod,
    /// When.
    pub at: Timestamp,
}

/// What is true of an order in each status, and only there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// Waits for payment.
    PendingPayment {
        /// Until when.
        expires_at: Timestamp,
    },
    /// Paid.
    Paid {
        /// By what.
        paid: Paid,
        /// When it completes by itself.
        completes_at: Timestamp,
        /// Whether the buyer was reminded of that.
        reminded: bool,
    },
    /// Completed.
    Completed {
        /// By what it was paid.
        paid: Paid,
        /// When.
        at: Timestamp,
    },
    /// Cancelled.
    Cancelled {
        /// By what it had been paid, if it was.
        paid: Option<Paid>,
        /// Who called it off.
        by: CancelledBy,
        /// Why, in his words.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundOutcome {
    /// Not decided yet.
    Pending,
    /// The buyer has his money.
    Succeeded,
    /// A person takes care of it.
    NeedsAttention,
}

/// Money that goes back on behalf of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The refund.
    pub refund_uuid: RefundId,
    /// From this payment.
    pub payment_uuid: PaymentId,
    /// How much.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
    /// Why.
    pub reason: RefundReason,
    /// What became of it.
    pub outcome: RefundOutcome,
    /// Why, in the words of whoever asked for it; empty when nobody did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// Fingerprint of the request that asked for it under an `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Who wants how much of an order's money back, and why.
#[derive(Debug, Clone)]
pub struct RefundWish {
    /// The refund, as whoever asks names it.
    pub refund: RefundId,
    /// Whose doing it is if nothing is left of the order.
    pub by: CancelledBy,
    /// How much; `None`: all that is left.
    pub amount: Option<Money>,
    /// Why, in his words.
    pub words: String,
    /// Fingerprint of the request, if it may be repeated.
    pub fingerprint: Option<String>,
}

/// How a caller names an order: by its id, or by the integer that an order of the older system had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderRef {
    /// Its id.
    Id(OrderId),
    /// Its integer.
    Legacy(u64),
}

/// A text that names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID, or the integer of an older order")]
pub struct NotAnOrderRef;

impl FromStr for OrderRef {
    type Err = NotAnOrderRef;

    fn from_str(text: &str) -> Result<Self, NotAnOrderRef> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Self::Legacy).map_err(|_| NotAnOrderRef)
        } else {
            text.parse().map(Self::Id).map_err(|_| NotAnOrderRef)
        }
    }
}

kernel::schemas! {
    OrderRef: "OrderRef", "The id of an order, or the integer of one that comes from the older system", OneOfBuilder::new()
        .item(schema::uuid())
        .item(schema::whole(0, i64::MAX));
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The integer that it had in the older system, if it comes from there.
    pub legacy_id: Option<u64>,
    /// Who buys.
    pub buyer: BuyerId,
    /// Who sells.
    pub seller: SellerId,
    /// What, 1 to [`MAX_LINES`].
    pub lines: Vec<Line>,
    /// What it costs: the sum of its lines.
    pub total: Money,
    /// Where it goes, sealed.
    pub particulars: SealedParticulars,
    /// How the buyer meant to pay when he placed it.
    pub intended_method: Option<PaymentMethod>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Money that goes back.
    pub refunds: Vec<Refund>,
    /// Fingerprint of the request that placed it under an `Idempotency-Key`.
    pub fingerprint: Option<String>,
    /// Whether its buyer took it off his lists.
    pub hidden: bool,
    /// Counts the changes, from 1.
    pub version: u64,
}

/// What a user is to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Its buyer.
    Buyer,
    /// Its seller.
    Seller,
}

impl Party {
    /// The word by which tables know it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
        }
    }
}

/// A payment that succeeded, as PaymentService announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// The payment.
    pub id: PaymentId,
    /// How much.
    pub amount: Money,
    /// How.
    pub method: PaymentMethod,
    /// When.
    pub at: Timestamp,
}

impl Order {
    /// The total of `lines`.
    ///
    /// # Errors
    /// [`OrderError::TooExpensive`] beyond what one payment can be.
    pub fn total_of(lines: &[Line]) -> Result<Money, OrderError> {
        lines
            .iter()
            .try_fold(Money::ZERO, |sum, line| {
                line.price.times(line.quantity).and_then(|price| sum.checked_add(price))
            })
            .and_then(Money::positive)
            .map_err(|_| OrderError::TooExpensive)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::PendingPayment { .. } => Status::PendingPayment,
            State::Paid { .. } => Status::Paid,
            State::Completed { .. } => Status::Completed,
            State::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// What `user` is to it. Somebody else's order does not exist for a stranger.
    ///
    /// # Errors
    /// [`OrderError::NotFound`].
    pub fn party(&self, user: UserId) -> Result<Party, OrderError> {
        if UserId::from(self.buyer) == user {
            Ok(Party::Buyer)
        } else if UserId::from(self.seller) == user {
            Ok(Party::Seller)
        } else {
            Err(OrderError::NotFound)
        }
    }

    /// The payment that paid it, if one did.
    #[must_use]
    pub fn paid(&self) -> Option<&Paid> {
        match &self.state {
            State::PendingPayment { .. } => None,
            State::Paid { paid, .. } | State::Completed { paid, .. } => Some(paid),
            State::Cancelled { paid, .. } => paid.as_ref(),
        }
    }

    /// Whether it still waits for its payment, and may.
    #[must_use]
    pub fn is_payable(&self, now: Timestamp) -> bool {
        matches!(self.state, State::PendingPayment { expires_at } if now < expires_at)
    }

    /// When the order has to be looked at next, because time alone changes it.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        match self.state {
            State::PendingPayment { expires_at } => Some(expires_at),
            State::Paid {
                completes_at,
                reminded: false,
                ..
            } => Some(completes_at.minus(REMINDER_AHEAD)),
            State::Paid {
                completes_at,
                reminded: true,
                ..
            } => Some(completes_at),
            State::Completed { .. } | State::Cancelled { .. } => None,
        }
    }

    /// What `payment` does to it: pays it, or goes back because the order is paid or ended already. `None`: this payment
    /// is known, nothing is left to do.
    ///
    /// # Errors
    /// [`OrderError::WrongAmount`] when it pays something else than the total: that is PaymentService's fault, and held
    /// for a person.
    pub fn pay(&self, payment: Payment, now: Timestamp) -> Result<Option<Self>, OrderError> {
        let known = self.paid().is_some_and(|paid| paid.payment_uuid == payment.id)
            || self.refunds.iter().any(|refund| refund.payment_uuid == payment.id);
        if known {
            return Ok(None);
        }
        match self.status().on(Event::Pay) {
            Outcome::MovesTo(_) if payment.amount != self.total => Err(OrderError::WrongAmount { id: self.id }),
            Outcome::MovesTo(_) => {
                let paid = Paid {
                    payment_uuid: payment.id,
                    method: payment.method,
                    at: payment.at,
                };
                let completes_at = now.plus(TIME_TO_OBJECT);
                Ok(Some(self.changed(
                    State::Paid {
                        paid,
                        completes_at,
                        reminded: false,
                    },
                    now,
                )))
            }
            Outcome::ReturnsTheMoney => {
                let reason = match self.status() {
                    Status::Cancelled => RefundReason::PaidAfterCancellation,
                    _ => RefundReason::PaidTwice,
                };
                let mut next = self.changed(self.state.clone(), now);
                next.refunds.push(full_refund(payment.id, payment.amount, reason));
                Ok(Some(next))
            }
            Outcome::NothingToDo | Outcome::ReturnsAPart | Outcome::Refused => Ok(None),
        }
    }

    /// Calls it off. Money that was paid goes back. `None`: it is called off already.
    ///
    /// # Errors
    /// [`OrderError::NotCancellable`].
    pub fn cancel(&self, by: CancelledBy, reason: String, now: Timestamp) -> Result<Option<Self>, OrderError> {
        let event = match by {
            CancelledBy::Buyer => Event::CancelByBuyer,
            CancelledBy::Seller => Event::CancelBySeller,
            CancelledBy::Service => Event::CancelByService,
            CancelledBy::Timeout => Event::Expire,
        };
        match self.status().on(event) {
            Outcome::MovesTo(_) => {
                let paid = self.paid().copied();
                let mut next = self.changed(
                    State::Cancelled {
                        paid,
                        by,
                        reason,
                        at: now,
                    },
                    now,
                );
                if let Some(paid) = paid {
                    next.refunds.push(full_refund(
                        paid.payment_uuid,
                        self.kept(),
                        RefundReason::OrderCancelled,
                    ));
                }
                Ok(Some(next))
            }
            Outcome::NothingToDo => Ok(None),
            Outcome::Refused | Outcome::ReturnsTheMoney | Outcome::ReturnsAPart => Err(OrderError::NotCancellable {
                id: self.id,
                status: self.status(),
            }),
        }
    }

    /// Asks money back: a part, and the order stays paid; all that is left, and it is called off, for nothing is left to
    /// deliver for. `None`: this refund is asked for already.
    ///
    /// # Errors
    /// [`OrderError::KeyReused`], [`OrderError::NotPaid`], [`OrderError::AlreadyReleased`],
    /// [`OrderError::AlreadyRefunded`], [`OrderError::RefundExceeds`].
    pub fn refund(&self, wish: &RefundWish, now: Timestamp) -> Result<Option<Self>, OrderError> {
        if let Some(known) = self.refund_named(wish.refund) {
            return match known.fingerprint == wish.fingerprint {
                true => Ok(None),
                false => Err(OrderError::KeyReused),
            };
        }
        let (id, left) = (self.id, self.kept());
        let amount = wish.amount.unwrap_or(left);
        let event = if amount < left {
            Event::RefundPart
        } else {
            Event::RefundRest
        };
        let state = match (self.status().on(event), &self.state) {
            (Outcome::MovesTo(_) | Outcome::ReturnsAPart, State::Paid { .. }) if amount > left => {
                return Err(OrderError::RefundExceeds { id, left });
            }
            (Outcome::ReturnsAPart, State::Paid { .. }) => self.state.clone(),
            (Outcome::MovesTo(_), State::Paid { paid, .. }) => State::Cancelled {
                paid: Some(*paid),
                by: wish.by,
                reason: wish.words.clone(),
                at: now,
            },
            (_, State::Completed { .. }) => return Err(OrderError::AlreadyReleased(id)),
            (_, State::Cancelled { paid: Some(_), .. }) if wish.amount.is_some() => {
                return Err(OrderError::RefundExceeds { id, left });
            }
            (_, State::Cancelled { paid: Some(_), .. }) => return Err(OrderError::AlreadyRefunded(id)),
            _ => return Err(OrderError::NotPaid(id)),
        };
        let Some(paid) = self.paid() else {
            return Err(OrderError::NotPaid(id));
        };
        let mut next = self.changed(state, now);
        next.refunds.push(Refund {
            refund_uuid: wish.refund,
            payment_uuid: paid.payment_uuid,
            amount,
            reason: RefundReason::Requested,
            outcome: RefundOutcome::Pending,
            words: wish.words.clone(),
            fingerprint: wish.fingerprint.clone(),
        });
        Ok(Some(next))
    }

    /// The refund of this name.
    #[must_use]
    pub fn refund_named(&self, refund: RefundId) -> Option<&Refund> {
        self.refunds.iter().find(|known| known.refund_uuid == refund)
    }

    /// What is left of the money that paid it: all of it but what was asked back. Nothing, if it was not paid.
    #[must_use]
    pub fn kept(&self) -> Money {
        let Some(paid) = self.paid() else { return Money::ZERO };
        let mut given = self
            .refunds
            .iter()
            .filter(|refund| refund.payment_uuid == paid.payment_uuid);
        // Refunds never exceed the total; if a person makes them, nothing is left.
        given
            .try_fold(self.total, |left, refund| left.checked_sub(refund.amount))
            .unwrap_or(Money::ZERO)
    }

    /// The goods were received. `None`: it is completed already.
    ///
    /// # Errors
    /// [`OrderError::NotCompletable`].
    pub fn complete(&self, now: Timestamp) -> Result<Option<Self>, OrderError> {
        self.finish(Event::Complete, now)
    }

    fn finish(&self, event: Event, now: Timestamp) -> Result<Option<Self>, OrderError> {
        match (self.status().on(event), &self.state) {
            (Outcome::MovesTo(_), State::Paid { paid, .. }) => {
                Ok(Some(self.changed(State::Completed { paid: *paid, at: now }, now)))
            }
            (Outcome::NothingToDo, _) => Ok(None),
            _ => Err(OrderError::NotCompletable {
                id: self.id,
                status: self.status(),
            }),
        }
    }

    /// Takes it off its buyer's lists; nothing is lost. `None`: it is off them already.
    ///
    /// # Errors
    /// [`OrderError::NotHideable`] while it is under way.
    pub fn hide(&self, now: Timestamp) -> Result<Option<Self>, OrderError> {
        match self.status() {
            Status::Completed | Status::Cancelled if self.hidden => Ok(None),
            Status::Completed | Status::Cancelled => Ok(Some(Self {
                hidden: true,
                ..self.changed(self.state.clone(), now)
            })),
            status @ (Status::PendingPayment | Status::Paid) => Err(OrderError::NotHideable { id: self.id, status }),
        }
    }

    /// What time alone does to it: expires it unpaid, reminds its buyer, completes it. `None`: nothing is due.
    ///
    /// # Errors
    /// None that the state machine allows; see [`Order::cancel`] and [`Order::complete`].
    pub fn let_time_pass(&self, now: Timestamp) -> Result<Option<Self>, OrderError> {
        match &self.state {
            State::PendingPayment { expires_at } if now >= *expires_at => {
                self.cancel(CancelledBy::Timeout, "未在规定时间内支付".to_owned(), now)
            }
            State::Paid { completes_at, .. } if now >= *completes_at => self.finish(Event::CompleteByTime, now),
            State::Paid {
                paid,
                completes_at,
                reminded: false,
            } if now >= completes_at.minus(REMINDER_AHEAD) => {
                let state = State::Paid {
                    paid: *paid,
                    completes_at: *completes_at,
                    reminded: true,
                };
                Ok(Some(self.changed(state, now)))
            }
            _ => Ok(None),
        }
    }

    /// Notes what became of one of its refunds. `None`: it is noted already, or the refund is not this order's doing.
    #[must_use]
    pub fn settle_refund(&self, refund: RefundId, outcome: RefundOutcome, now: Timestamp) -> Option<Self> {
        let position = self.refunds.iter().position(|known| known.refund_uuid == refund)?;
        // A person may turn a refund that needed attention into one that succeeded, never the other way round.
        let known = self.refunds.get(position)?.outcome;
        if known == outcome || known == RefundOutcome::Succeeded {
            return None;
        }
        let mut next = self.changed(self.state.clone(), now);
        next.refunds.get_mut(position)?.outcome = outcome;
        Some(next)
    }

    /// How all of its refunds together stand: nothing to refund, or the one that is worst off.
    #[must_use]
    pub fn refund_outcome(&self) -> Option<RefundOutcome> {
        let any = |outcome| self.refunds.iter().any(|refund| refund.outcome == outcome);
        [
            RefundOutcome::NeedsAttention,
            RefundOutcome::Pending,
            RefundOutcome::Succeeded,
        ]
        .into_iter()
        .find(|outcome| any(*outcome))
    }

    /// What events say of it.
    #[must_use]
    pub fn summary(&self) -> OrderSummary {
        OrderSummary {
            order_uuid: self.id,
            buyer_uuid: self.buyer,
            seller_uuid: self.seller,
            title: self.lines.first().map(|line| line.title.clone()).unwrap_or_default(),
            product_count: self.lines.len(),
            total: self.total,
        }
    }

    /// The stock it holds.
    #[must_use]
    pub fn reserved(&self) -> Vec<Reserved> {
        let reserved = |line: &Line| Reserved {
            product_uuid: line.product_uuid,
            quantity: line.quantity,
        };
        self.lines.iter().map(reserved).collect()
    }

    fn changed(&self, state: State, now: Timestamp) -> Self {
        Self {
            state,
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }
}

fn full_refund(payment: PaymentId, amount: Money, reason: RefundReason) -> Refund {
    let refund_uuid = full_refund_id(payment);
    Refund {
        refund_uuid,
        payment_uuid: payment,
        amount,
        reason,
        outcome: RefundOutcome::Pending,
        words: String::new(),
        fingerprint: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn yuan(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn placed() -> Order {
        let line = Line {
            product_uuid: ProductId::random(),
            title: "二手自行车".into(),
            image: String::new(),
            price: yuan("19.90"),
            quantity: Quantity::new(2).unwrap(),
        };
        Order {
            id: OrderId::random(),
            legacy_id: None,
            buyer: BuyerId::random(),
            seller: SellerId::random(),
            total: Order::total_of(std::slice::from_ref(&line)).unwrap(),
            lines: vec![line],
            particulars: SealedParticulars::from_stored("sealed".into()),
            intended_method: None,
            placed_at: START,
            updated_at: START,
            state: State::PendingPayment {
                expires_at: START.plus(TIME_TO_PAY),
            },
            refunds: vec![],
            fingerprint: None,
            hidden: false,
            version: 1,
        }
    }

    fn payment(amount: Money) -> Payment {
        Payment {
            id: PaymentId::random(),
            amount,
            method: PaymentMethod::Alipay,
            at: START,
        }
    }

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        assert_eq!(placed().total, yuan("39.80"));
    }

    #[test]
    fn the_same_payment_announced_again_changes_nothing() {
        let order = placed();
        let payment = payment(order.total);
        let paid = order.pay(payment, START).unwrap().unwrap();
        assert_eq!(paid.pay(payment, START), Ok(None));
        let completed = paid.complete(START).unwrap().unwrap();
        assert_eq!(
            completed.pay(payment, START),
            Ok(None),
            "a replay never moves a completed order back"
        );
        let cancelled = paid.cancel(CancelledBy::Buyer, String::new(), START).unwrap().unwrap();
        assert_eq!(cancelled.pay(payment, START), Ok(None), "it is refunded already");
    }

    #[test]
    fn money_for_an_order_that_does_not_want_it_goes_back_once() {
        let order = placed();
        let cancelled = order
            .cancel(CancelledBy::Buyer, "买错了".into(), START)
            .unwrap()
            .unwrap();
        assert_eq!(cancelled.refund_outcome(), None, "nothing was paid");
        let late = payment(order.total);
        let returned = cancelled.pay(late, START).unwrap().unwrap();
        assert_eq!(returned.status(), Status::Cancelled);
        assert_eq!(returned.refunds.len(), 1);
        assert_eq!(returned.refunds[0].reason, RefundReason::PaidAfterCancellation);
        assert_eq!(returned.pay(late, START), Ok(None));

        let paid = order.pay(payment(order.total), START).unwrap().unwrap();
        let twice = paid.pay(payment(order.total), START).unwrap().unwrap();
        assert_eq!(
            (twice.status(), twice.refunds[0].reason),
            (Status::Paid, RefundReason::PaidTwice)
        );
    }

    #[test]
    fn a_payment_of_another_amount_never_pays_an_order() {
        let order = placed();
        assert_eq!(
            order.pay(payment(yuan("0.01")), START),
            Err(OrderError::WrongAmount { id: order.id })
        );
    }

    #[test]
    fn time_expires_unpaid_orders_reminds_and_completes_paid_ones() {
        let order = placed();
        assert_eq!(order.let_time_pass(START), Ok(None));
        let expired = order.let_time_pass(order.due_at().unwrap()).unwrap().unwrap();
        assert!(matches!(
            expired.state,
            State::Cancelled {
                by: CancelledBy::Timeout,
                ..
            }
        ));
        assert_eq!(expired.due_at(), None);

        let paid = order.pay(payment(order.total), START).unwrap().unwrap();
        let reminded = paid.let_time_pass(paid.due_at().unwrap()).unwrap().unwrap();
        assert!(matches!(reminded.state, State::Paid { reminded: true, .. }));
        assert_eq!(
            reminded.let_time_pass(paid.due_at().unwrap()),
            Ok(None),
            "reminded once"
        );
        let completed = reminded.let_time_pass(reminded.due_at().unwrap()).unwrap().unwrap();
        assert_eq!(completed.status(), Status::Completed);
        assert_eq!(reminded.due_at(), Some(START.plus(TIME_TO_OBJECT)));
    }

    #[test]
    fn only_an_order_that_has_ended_is_hidden_and_once() {
        let order = placed();
        let paid = order.pay(payment(order.total), START).unwrap().unwrap();
        for under_way in [&order, &paid] {
            let (id, status) = (under_way.id, under_way.status());
            assert_eq!(under_way.hide(START), Err(OrderError::NotHideable { id, status }));
        }
        let completed = paid.complete(START).unwrap().unwrap();
        let cancelled = paid.cancel(CancelledBy::Seller, String::new(), START).unwrap().unwrap();
        for ended in [completed, cancelled] {
            let hidden = ended.hide(START).unwrap().unwrap();
            assert!(hidden.hidden);
            assert_eq!((hidden.status(), hidden.version), (ended.status(), ended.version + 1));
            assert_eq!(hidden.hide(START), Ok(None));
        }
    }

    #[test]
    fn an_order_is_named_by_its_id_or_by_an_older_integer() {
        let id = OrderId::random();
        assert_eq!(id.to_string().parse(), Ok(OrderRef::Id(id)));
        assert_eq!("1024".parse(), Ok(OrderRef::Legacy(1024)));
        for text in ["", "-1", "+1", "1.0", "1e3", "99999999999999999999", "lamp"] {
            assert_eq!(text.parse::<OrderRef>(), Err(NotAnOrderRef), "{text}");
        }
    }

    #[test]
    fn a_refund_that_succeeded_stays_so() {
        let order = placed();
        let paid = order.pay(payment(order.total), START).unwrap().unwrap();
        let cancelled = paid.cancel(CancelledBy::Seller, String::new(), START).unwrap().unwrap();
        let refund = cancelled.refunds[0].refund_uuid;
        assert_eq!(cancelled.refund_outcome(), Some(RefundOutcome::Pending));
        let settled = cancelled
            .settle_refund(refund, RefundOutcome::Succeeded, START)
            .unwrap();
        assert_eq!(settled.refund_outcome(), Some(RefundOutcome::Succeeded));
        assert_eq!(
            settled.settle_refund(refund, RefundOutcome::NeedsAttention, START),
            None
        );
        assert_eq!(
            settled.settle_refund(RefundId::random(), RefundOutcome::Succeeded, START),
            None
        );
    }

    fn paid_order() -> Order {
        let order = placed();
        order.pay(payment(order.total), START).unwrap().unwrap()
    }

    fn wish(amount: Option<&str>) -> RefundWish {
        RefundWish {
            refund: RefundId::random(),
            by: CancelledBy::Buyer,
            amount: amount.map(yuan),
            words: "有划痕".into(),
            fingerprint: None,
        }
    }

    /// Every status, reached by what really leads there, and every kind of wish.
    #[test]
    fn money_is_asked_back_only_while_it_is_held() {
        let paid = paid_order();
        let cancelled = |order: &Order| order.cancel(CancelledBy::Buyer, String::new(), START).unwrap().unwrap();
        let completed = paid.complete(START).unwrap().unwrap();
        let (part, rest, all) = (Some("10.00"), None, Some("39.80"));
        let exceeds = |order: &Order, left: &str| OrderError::RefundExceeds {
            id: order.id,
            left: yuan(left),
        };
        let more = Some("39.81");
        let table = [
            (placed(), part, Err("order-not-paid")),
            (placed(), rest, Err("order-not-paid")),
            (placed(), more, Err("order-not-paid")),
            (cancelled(&placed()), part, Err("order-not-paid")),
            (cancelled(&placed()), rest, Err("order-not-paid")),
            (paid.clone(), part, Ok(Status::Paid)),
            (paid.clone(), rest, Ok(Status::Cancelled)),
            (paid.clone(), all, Ok(Status::Cancelled)),
            (paid.clone(), more, Err("refund-exceeds")),
            (completed.clone(), part, Err("already-released")),
            (completed, rest, Err("already-released")),
            (cancelled(&paid), part, Err("refund-exceeds")),
            (cancelled(&paid), rest, Err("already-refunded")),
        ];
        for (order, amount, expected) in table {
            let answer = order.refund(&wish(amount), START);
            match (answer, expected) {
                (Ok(Some(next)), Ok(status)) => assert_eq!(next.status(), status, "{amount:?}"),
                (Err(error), Err(kind)) => assert_eq!(http_function::Problem::from(error).kind(), kind, "{amount:?}"),
                (answer, expected) => panic!("{:?} {amount:?}: {answer:?}, {expected:?}", order.status()),
            }
        }
        assert_eq!(paid.refund(&wish(more), START), Err(exceeds(&paid, "39.80")));
        assert_eq!(cancelled(&paid).refund(&wish(part), START), Err(exceeds(&paid, "0.00")));
    }

    #[test]
    fn after_a_part_only_the_rest_goes_back_or_is_the_sellers() {
        let order = paid_order();
        let once = order.refund(&wish(Some("10.00")), START).unwrap().unwrap();
        assert_eq!((once.kept(), once.status()), (yuan("29.80"), Status::Paid));
        assert_eq!(once.refunds[0].words, "有划痕");

        let cancelled = once.cancel(CancelledBy::Seller, String::new(), START).unwrap().unwrap();
        assert_eq!(cancelled.refunds[1].amount, yuan("29.80"));
        let completed = once.complete(START).unwrap().unwrap();
        assert_eq!(completed.kept(), yuan("29.80"));

        let rest = once.refund(&wish(None), START).unwrap().unwrap();
        assert_eq!((rest.kept(), rest.refunds[1].amount), (Money::ZERO, yuan("29.80")));
        assert!(matches!(&rest.state, State::Cancelled { by: CancelledBy::Buyer, reason, .. } if reason == "有划痕"));
        assert_eq!(rest.cancel(CancelledBy::Buyer, String::new(), START), Ok(None));
    }

    #[test]
    fn a_refund_of_one_name_is_asked_for_once() {
        let wish = RefundWish {
            fingerprint: Some("one".into()),
            ..wish(Some("10.00"))
        };
        let asked = paid_order().refund(&wish, START).unwrap().unwrap();
        assert_eq!(asked.refund(&wish, START), Ok(None));
        let other = RefundWish {
            fingerprint: Some("another".into()),
            ..wish
        };
        assert_eq!(asked.refund(&other, START), Err(OrderError::KeyReused));
    }

    /// Every outcome a refund can have, and every one that can be announced.
    #[test]
    fn a_refunds_outcome_only_gets_better() {
        use RefundOutcome::{NeedsAttention, Pending, Succeeded};
        let table = [
            (Pending, Succeeded, true),
            (Pending, NeedsAttention, true),
            (NeedsAttention, Succeeded, true),
            (NeedsAttention, NeedsAttention, false),
            (Succeeded, Succeeded, false),
            (Succeeded, NeedsAttention, false),
        ];
        for (known, announced, changes) in table {
            let mut order = paid_order().refund(&wish(Some("1.00")), START).unwrap().unwrap();
            order.refunds[0].outcome = known;
            let refund = order.refunds[0].refund_uuid;
            let settled = order.settle_refund(refund, announced, START);
            assert_eq!(
                settled.map(|order| order.refunds[0].outcome),
                changes.then_some(announced),
                "{known:?}"
            );
        }
    }

    proptest! {
        /// Whatever happens in whatever order: what is asked back and what is left are what was paid, a cancelled order
        /// keeps nothing, a completed one loses nothing any more.
        #[test]
        fn refunds_and_what_is_kept_are_what_was_paid(
            events in proptest::collection::vec((0..6_u8, 1..4500_i64), 0..30),
        ) {
            let mut order = paid_order();
            let payment = order.paid().unwrap().payment_uuid;
            for (event, fen) in events {
                let amount = Money::from_fen(fen).unwrap().to_string();
                let refunds = order.refunds.clone();
                let next = match event {
                    0..=2 => order.refund(&wish(Some(&amount)), START),
                    3 => order.refund(&wish(None), START),
                    4 => order.cancel(CancelledBy::Seller, String::new(), START),
                    _ => order.complete(START),
                };
                if let Ok(Some(next)) = next {
                    prop_assert!(next.refunds.starts_with(&refunds), "append-only");
                    if order.status() != Status::Paid {
                        prop_assert_eq!(&next.refunds, &refunds);
                    }
                    order = next;
                }
                let given = order.refunds.iter().filter(|refund| refund.payment_uuid == payment);
                let given = given.map(|refund| refund.amount.fen()).sum::<i64>();
                prop_assert_eq!(given + order.kept().fen(), order.total.fen());
                prop_assert_eq!(order.kept().is_zero(), order.status() == Status::Cancelled);
            }
        }

        /// Whatever happens in whatever order: each payment is kept once or goes back once, and a version counts each change.
        #[test]
        fn every_payment_is_kept_or_goes_back(events in proptest::collection::vec(0..7_u8, 0..20)) {
            let mut order = placed();
            let mut payments = vec![payment(order.total), payment(order.total)];
            payments.push(payments[0]);
            let mut arrived = std::collections::HashSet::new();
            let mut now = START;
            for event in events {
                let next = match event {
                    0..=2 => {
                        let payment = payments[usize::from(event)];
                        arrived.insert(payment.id);
                        order.pay(payment, now)
                    }
                    3 => order.cancel(CancelledBy::Buyer, String::new(), now),
                    4 => order.cancel(CancelledBy::Seller, String::new(), now),
                    5 => order.complete(now),
                    _ => {
                        now = now.plus(TIME_TO_PAY);
                        order.let_time_pass(now)
                    }
                };
                if let Ok(Some(next)) = next {
                    prop_assert_eq!(next.version, order.version + 1);
                    order = next;
                }
            }
            for payment in arrived {
                let returned = order.refunds.iter().filter(|refund| refund.payment_uuid == payment).count();
                let kept = order.status() != Status::Cancelled
                    && order.paid().is_some_and(|paid| paid.payment_uuid == payment);
                prop_assert_eq!(usize::from(kept) + returned, 1);
            }
        }
    }
}
