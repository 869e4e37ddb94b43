//! All that is stored and all that is under way, at one moment.
//!
//! Orders, payments, refunds and reservations are the very types that production stores. Two worlds are the same when they
//! agree in all that decides what happens next; when something last changed, and how often, does not.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use contracts::payments::RefundMessage;
use contracts::{Event, OrderEvent, PaymentEvent};
use kernel::{Money, PaymentId, RefundId, Timestamp};
use orders::announcements::{order_events, refund_requests};
use orders::order::{Order, RefundOutcome, TIME_TO_PAY};
use orders::status::Status as OrderStatus;
use payments::announcements::{News, payment_news, refund_news};
use payments::head::Head;
use payments::payment::{Payment, State as PaymentState};
use payments::refund::{Refund, RefundStatus};
use payments::status::Status as PaymentStatus;
use products::product::Product;
use products::stock::{Reservation, State as Holding};

/// One product, its buyers, and the time.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Which of the model's moments it is.
    pub(crate) moment: usize,
    pub(crate) shelf: Arc<Product>,
    pub(crate) purchases: Vec<Arc<Purchase>>,
    /// What the last step broke: what can be seen only by looking at two worlds.
    pub(crate) breach: Option<&'static str>,
    /// Whether nothing is left that happens by itself; found when it is first asked.
    pub(crate) rest: Rest,
}

/// A remembered answer; a copy of the world does not inherit it.
#[derive(Debug, Default)]
pub(crate) struct Rest(pub(crate) OnceLock<bool>);

impl Clone for Rest {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// How far create-order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Placing {
    NotYet,
    /// reserve-stock is asked.
    Reserving,
    /// So it is, but the one who asked has given up and taken back.
    Straying,
    /// The pieces are reserved, the order is not stored.
    Holding,
    /// Stored, refused, or dead.
    Over,
}

impl Placing {
    pub(crate) fn is_under_way(self) -> bool {
        matches!(self, Self::Reserving | Self::Straying | Self::Holding)
    }
}

/// One buyer's way with the product, in all services.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) number: usize,
    pub(crate) placing: Placing,
    /// How often the buyer sent his order.
    pub(crate) tries: u8,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) order: Option<Order>,
    pub(crate) head: Option<Head>,
    /// create-payment has found the order payable and has not opened an attempt yet.
    pub(crate) wishing: bool,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether the buyer has asked money back without calling the order off.
    pub(crate) asked_back: bool,
    pub(crate) refunds: BTreeMap<RefundId, Repayment>,
    pub(crate) letters: BTreeMap<Letter, Delivery>,
    /// What was made of all that when it was sealed.
    seal: Seal,
}

/// What is asked of a purchase for every world it is part of.
#[derive(Debug, Clone, Copy, Default)]
struct Seal {
    digest: u64,
    progress: u64,
}

/// An attempt to pay, and its trade at the provider.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) payment: Payment,
    pub(crate) trade: Trade,
}

/// The truth about a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trade {
    /// Not made.
    Absent,
    /// With the buyer; questions about it are answered by "not found" until he opens it.
    Offered,
    Waiting,
    Closed,
    Failed,
    Paid,
    PaidWrongly,
}

/// A refund, and what the provider made of it.
#[derive(Debug, Clone)]
pub(crate) struct Repayment {
    pub(crate) refund: Refund,
    pub(crate) there: There,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum There {
    Unknown,
    Processing,
    Made,
    Rejected,
}

/// What is told, and to which consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Letter {
    /// `PaymentSucceeded`, to apply-payment-event.
    Pays(PaymentId, Money),
    /// `RefundRequested`, to process-refund.
    GivesBack(RefundId, PaymentId, Money),
    /// `RefundSettled`, to apply-refund-outcome.
    Settled(RefundId, bool),
    /// `OrderCancelled`, to return-stock.
    ReturnsStock,
    /// `OrderCancelled`, to apply-order-event.
    ClosesLive,
    /// `OrderCompleted`, to apply-order-event.
    Releases(PaymentId, Money),
    /// To people: what, and of which order, payment or refund.
    Notice(&'static str, u128),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Delivery {
    Waiting,
    /// Delivered, and will be again.
    Again,
    Done,
}

impl Purchase {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            placing: Placing::NotYet,
            tries: 0,
            reservation: None,
            order: None,
            head: None,
            wishing: false,
            attempts: Vec::new(),
            asked_back: false,
            refunds: BTreeMap::new(),
            letters: BTreeMap::new(),
            seal: Seal::default(),
        }
    }

    /// The purchase as a part of worlds.
    pub(crate) fn sealed(mut self) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        self.project(&mut hasher);
        self.seal = Seal {
            digest: hasher.finish(),
            progress: self.progress(),
        };
        Arc::new(self)
    }

    pub(crate) fn holds_pieces(&self) -> bool {
        self.reservation
            .is_some_and(|reservation| matches!(reservation.state, Holding::Reserved { .. }))
    }

    pub(crate) fn attempt(&self, id: PaymentId) -> Option<usize> {
        self.attempts.iter().position(|attempt| attempt.payment.id == id)
    }

    pub(crate) fn payable_until(order: &Order) -> Timestamp {
        order.placed_at.plus(TIME_TO_PAY)
    }

    /// Stores an order; its stream tells of it. Says what was broken.
    pub(crate) fn order_becomes(&mut self, next: Order, posts_notices: bool) -> Option<&'static str> {
        let before = self.order.take();
        for event in order_events(before.as_ref(), &next) {
            match &event {
                OrderEvent::OrderCancelled { .. } => {
                    self.send(Letter::ReturnsStock);
                    self.send(Letter::ClosesLive);
                }
                OrderEvent::OrderCompleted {
                    payment_uuid,
                    to_seller,
                    ..
                } => self.send(Letter::Releases(*payment_uuid, *to_seller)),
                _ => {}
            }
            let subject = match &event {
                OrderEvent::OrderRefundSettled { refund_uuid, .. } => refund_uuid.uuid(),
                _ => next.id.uuid(),
            };
            self.notify(event.name(), subject.as_u128(), posts_notices);
        }
        for request in refund_requests(before.as_ref(), &next) {
            self.tell_of_refund(&request, posts_notices);
        }
        let moved = before.filter(|before| before.status() != next.status());
        self.order = Some(next);
        match moved.map(|before| before.status()) {
            Some(OrderStatus::Completed | OrderStatus::Cancelled) => Some("an order that had ended moved"),
            _ => None,
        }
    }

    /// Stores a payment; its stream tells of it. Says what was broken.
    pub(crate) fn payment_becomes(
        &mut self,
        position: usize,
        next: Payment,
        posts_notices: bool,
    ) -> Option<&'static str> {
        let before = self.attempts[position].payment.status();
        let after = next.status();
        match payment_news(Some(before), &next) {
            Some(News::Payment(event)) => match &event {
                PaymentEvent::PaymentSucceeded {
                    payment_uuid, amount, ..
                } => self.send(Letter::Pays(*payment_uuid, *amount)),
                PaymentEvent::PaymentFailed { .. } | PaymentEvent::PaymentMismatched { .. } => {
                    self.notify(event.name(), next.id.uuid().as_u128(), posts_notices);
                }
            },
            Some(News::Refund(request)) => self.tell_of_refund(&request, posts_notices),
            None => {}
        }
        if before.occupies_the_order() && !after.occupies_the_order() {
            let without = self
                .head
                .as_ref()
                .map(|head| head.without(next.id, after == PaymentStatus::Paid));
            self.head = without;
        }
        self.attempts[position].payment = next;
        let had_its_end = matches!(
            before,
            PaymentStatus::Paid | PaymentStatus::LatePaid | PaymentStatus::Mismatch
        );
        (had_its_end && before != after).then_some("a payment to which money had come moved")
    }

    /// Stores a refund; its stream tells of it. Says what was broken.
    pub(crate) fn refund_becomes(&mut self, next: Refund, posts_notices: bool) -> Option<&'static str> {
        let known = self.refunds.get(&next.id);
        let before = known.map(|known| known.refund.status);
        let there = known.map_or(There::Unknown, |known| known.there);
        if let Some(outcome) = refund_news(before, &next) {
            self.tell_of_refund(&outcome, posts_notices);
        }
        let broken = before.is_some_and(|before| !before.is_open() && before != next.status);
        self.refunds.insert(next.id, Repayment { refund: next, there });
        broken.then_some("a refund that was decided moved")
    }

    fn tell_of_refund(&mut self, message: &RefundMessage, posts_notices: bool) {
        match message {
            RefundMessage::RefundRequested {
                refund_uuid,
                payment_uuid,
                amount,
                ..
            } => self.send(Letter::GivesBack(*refund_uuid, *payment_uuid, *amount)),
            RefundMessage::RefundSettled {
                refund_uuid, succeeded, ..
            } => {
                self.send(Letter::Settled(*refund_uuid, *succeeded));
                self.notify(message.name(), refund_uuid.uuid().as_u128(), posts_notices);
            }
        }
    }

    fn send(&mut self, letter: Letter) {
        self.letters.entry(letter).or_insert(Delivery::Waiting);
    }

    /// What only people read changes nothing, so unless that is what is looked at, it is delivered at once.
    fn notify(&mut self, name: &'static str, subject: u128, posts_notices: bool) {
        let delivery = if posts_notices {
            Delivery::Waiting
        } else {
            Delivery::Done
        };
        self.letters.entry(Letter::Notice(name, subject)).or_insert(delivery);
    }

    /// How far it has come. Every step must get further: then no world comes twice and everything comes to an end.
    fn progress(&self) -> u64 {
        let counted = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let order = self.order.as_ref().map_or(0, |order| {
            let stage = match order.status() {
                OrderStatus::PendingPayment => 1,
                OrderStatus::Paid => 2,
                OrderStatus::Completed | OrderStatus::Cancelled => 3,
            };
            let settled = order
                .refunds
                .iter()
                .filter(|refund| refund.outcome != RefundOutcome::Pending);
            stage + counted(order.refunds.len() + settled.count())
        });
        let reservation = self.reservation.map_or(0, |reservation| match reservation.state {
            Holding::Reserved { due_at: Some(due_at) } => 1 + due_at.millis().unsigned_abs(),
            Holding::Reserved { due_at: None } => u64::MAX / 4,
            Holding::Restored { .. } | Holding::Forestalled { .. } => u64::MAX / 4 + 1,
        });
        let attempts: u64 = self.attempts.iter().map(Attempt::progress).sum();
        let refunds: u64 = self.refunds.values().map(Repayment::progress).sum();
        let letters: u64 = self.letters.values().map(|delivery| 1 + *delivery as u64).sum();
        let placing = u64::from(self.tries) * 5 + self.placing as u64;
        let begun = counted(self.attempts.len()) * 2 + u64::from(self.wishing) + u64::from(self.asked_back);
        order + reservation + attempts + refunds + letters + placing + begun
    }

    fn project(&self, hasher: &mut impl Hasher) {
        (self.placing, self.tries, self.wishing, self.asked_back).hash(hasher);
        self.reservation
            .map(|reservation| (reservation.claim.quantity.get(), Due(reservation.state)))
            .hash(hasher);
        if let Some(order) = &self.order {
            (
                order.placed_at,
                order.status(),
                order.paid().map(|paid| paid.payment_uuid),
            )
                .hash(hasher);
            order.refunds.len().hash(hasher);
            for refund in &order.refunds {
                (
                    refund.refund_uuid,
                    refund.payment_uuid,
                    refund.amount,
                    refund.outcome as u8,
                )
                    .hash(hasher);
            }
        }
        self.head
            .as_ref()
            .map(|head| (head.live, head.latest, &head.paid))
            .hash(hasher);
        self.attempts.len().hash(hasher);
        for Attempt { payment, trade } in &self.attempts {
            (payment.status(), payment.expires_at, trade).hash(hasher);
            if let PaymentState::Closed { last_look } | PaymentState::Expired { last_look } = &payment.state {
                last_look.hash(hasher);
            }
            payment.ledger.uncommitted().ok().hash(hasher);
            for entry in payment.ledger.entries() {
                (entry.kind, entry.amount, entry.refund_uuid).hash(hasher);
            }
        }
        for (id, Repayment { refund, there }) in &self.refunds {
            (id, refund.status, refund.amount, there).hash(hasher);
        }
        self.letters.hash(hasher);
    }
}

/// What is true of a reservation, without since when.
struct Due(Holding);

impl Hash for Due {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self.0 {
            Holding::Reserved { due_at } => (0, due_at).hash(hasher),
            Holding::Restored { .. } => 1.hash(hasher),
            Holding::Forestalled { .. } => 2.hash(hasher),
        }
    }
}

impl Attempt {
    fn progress(&self) -> u64 {
        let status = match &self.payment.state {
            PaymentState::Created => 1,
            PaymentState::Pending { .. } => 2,
            PaymentState::Closed { last_look: Some(_) } | PaymentState::Expired { last_look: Some(_) } => 3,
            PaymentState::Closed { last_look: None } | PaymentState::Expired { last_look: None } => 4,
            PaymentState::Failed => 4,
            PaymentState::Paid { .. } | PaymentState::LatePaid { .. } | PaymentState::Mismatch { .. } => 5,
        };
        let ledger = &self.payment.ledger;
        let entries = u64::try_from(ledger.entries().len()).unwrap_or(u64::MAX);
        let captured = ledger.captured().unwrap_or_default();
        let committed = captured
            .checked_sub(ledger.uncommitted().unwrap_or_default())
            .unwrap_or_default();
        // Opening an attempt ends the wish for it, so an attempt counts for more than that even when it is new.
        status + entries + committed.fen().unsigned_abs() + self.trade as u64
    }
}

impl Repayment {
    fn progress(&self) -> u64 {
        let status = match self.refund.status {
            RefundStatus::Requested => 1,
            RefundStatus::Processing => 2,
            RefundStatus::Succeeded | RefundStatus::NeedsHuman => 3,
        };
        status + self.there as u64
    }
}

impl World {
    /// See [`Purchase::progress`].
    pub(crate) fn progress(&self) -> u64 {
        let moment = u64::try_from(self.moment).unwrap_or(u64::MAX);
        let purchases: u64 = self.purchases.iter().map(|purchase| purchase.seal.progress).sum();
        moment + purchases
    }

    fn facts(&self) -> (usize, u32, Option<&'static str>, impl Iterator<Item = u64> + Clone) {
        let purchases = self.purchases.iter().map(|purchase| purchase.seal.digest);
        (self.moment, self.shelf.stock, self.breach, purchases)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let (moment, stock, breach, purchases) = self.facts();
        (moment, stock, breach).hash(hasher);
        purchases.for_each(|digest| digest.hash(hasher));
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.facts(), other.facts());
        (mine.0, mine.1, mine.2) == (theirs.0, theirs.1, theirs.2) && mine.3.eq(theirs.3)
    }
}
