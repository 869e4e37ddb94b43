//! What can happen, step by step. A step is one conditional write, or one thing that happens at the provider, in a
//! buyer's head or on the clock; between two steps everything else can happen, and a function that dies between two of
//! its writes is one whose next step is not taken.
//!
//! Some steps happen by themselves, sooner or later: time passes, sweeps run, queues deliver, the provider decides. The
//! others, callbacks among them, may happen or not. Where only the latter are left the world is at rest, and must be in
//! order.

use std::sync::Arc;
use std::time::Duration;

use contracts::orders::CancelledBy;
use contracts::payments::{PaymentMethod, RefundReason};
use kernel::{BuyerId, Money, OrderId, PaymentId, ProductId, Quantity, RefundId, SellerId, Timestamp, UserId};
use orders::delivery::SealedParticulars;
use orders::order::{Line, Order, Payment as Succeeded, RefundOutcome, RefundWish, State as OrderState, TIME_TO_PAY};
use orders::status::Status as OrderStatus;
use payments::head::Head;
use payments::ledger::{Ledger, LedgerError};
use payments::payment::{Decision, Ending, Payment, State as PaymentState};
use payments::provider::{
    CURRENCY, Channel, Observation, Offer, ProviderName, Receipt, Refunding, Silence, Trade as Seen,
};
use payments::refund::{Refund, RefundDecision, RefundStatus};
use products::product::{Handover, Listing, Product, Seller};
use products::review::Ratings;
use products::stock::{Claim, OrderStanding, Release, Reserving, Restoring};
use stateright::{Model, Property};

use crate::properties;
use crate::rules::Rules;
use crate::world::{Attempt, Delivery, Letter, Placing, Purchase, Repayment, Rest, There, Trade, World};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Longer than any function runs: what was under way before is over, one way or another.
const SHORT: Duration = Duration::from_secs(10);
/// A buyer who was typing his password when the time was up is done by then; later the provider takes no money.
const TYPING: Duration = Duration::from_secs(5 * 60);
/// What the buyer pays, in fen: enough to be divided.
const PRICE: i64 = 3;

/// How much can happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Buyers of the one product.
    pub(crate) buyers: usize,
    /// Pieces put up.
    pub(crate) pieces: u32,
    /// How often each buyer sends his order, under one `Idempotency-Key`.
    pub(crate) tries: u8,
    /// Whether create-order can die on the way, or take back what it reserved.
    pub(crate) dying: bool,
    /// Attempts to pay each order.
    pub(crate) attempts: usize,
    /// Whether every attempt is a page whose link is good from the start; otherwise the first one needs an offer of the
    /// provider's.
    pub(crate) pages: bool,
    /// Whether each message may come twice.
    pub(crate) duplicates: bool,
    /// Whether what only people read is delivered like the rest.
    pub(crate) notices: bool,
    /// Whether money can come that is not what was asked for, and trades can be refused or fail.
    pub(crate) wrongs: bool,
    /// Whether the provider may take time over a refund, or refuse it, or leave us without an answer until we give up.
    pub(crate) hard_refunds: bool,
    /// Whether the buyer may ask a part, or all, of his money back.
    pub(crate) asking_back: bool,
    /// The moments at which things happen, in seconds after the start.
    pub(crate) moments: &'static [u64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    TimePasses,
    Of(usize, Turn),
}

/// A step of one purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The buyer orders, or orders again under the same key.
    Place,
    /// reserve-stock.
    Reserve,
    /// create-order takes back what it reserved, or may have reserved.
    TakeBack,
    /// create-order stores the order.
    Store,
    /// create-order dies.
    Die,
    /// release-reservations.
    EndLease,
    /// cancel-order, by the buyer or, of a paid order, by the seller.
    Cancel(CancelledBy),
    /// complete-order.
    Complete,
    /// refund-order: these fen, or all that is left.
    AskBack(Option<i64>),
    /// expire-orders.
    Expire,
    /// create-payment finds the order payable.
    Wish,
    /// create-payment opens an attempt.
    Begin,
    /// The provider learns of the trade.
    Make(usize),
    /// create-payment stores the provider's offer.
    NoteOffer(usize),
    /// The provider refuses the trade and create-payment stores that.
    Refuse(usize),
    /// The buyer opens the page or scans the code.
    Open(usize),
    Pay(usize),
    PayWrongly(usize),
    Fail(usize),
    /// The provider closes the trade because somebody asked for it; what he does with the answer is another step.
    CloseThere(usize),
    /// The answer to closing, if it still comes: closed.
    NoteClosed(usize),
    /// The answer to closing, if it still comes: not known.
    NoteUnknown(usize),
    /// A callback, or the answer to a question: how the trade stands.
    Hear(usize),
    /// reconcile-payments.
    Reconcile(usize),
    /// The provider is told to refund, and does this.
    Repay(RefundId, There),
    /// The provider's answer about a refund is stored.
    HearOfRefund(RefundId),
    /// No clear answer for days.
    GiveUp(RefundId),
    /// A queue delivers; `true`: it will again.
    Deliver(Letter, bool),
}

#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) rules: Rules,
    pub(crate) bounds: Bounds,
    shelf: Product,
    ids: Vec<Ids>,
}

#[derive(Debug)]
struct Ids {
    buyer: BuyerId,
    order: OrderId,
    attempts: Vec<PaymentId>,
    asked_back: RefundId,
}

fn price() -> Money {
    Money::from_fen(PRICE).unwrap_or_default()
}

impl Market {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self::with(Rules::default(), bounds)
    }

    pub(crate) fn with(rules: Rules, bounds: Bounds) -> Self {
        let shelf = Product {
            id: ProductId::derived(&["model"]),
            seller: Seller {
                id: SellerId::derived(&["model"]),
                username: String::new(),
            },
            title: String::new(),
            name: None,
            description: String::new(),
            price: price(),
            stock: bounds.pieces,
            listing: Listing::OnSale,
            handover: Handover::PickUp,
            pictures: Vec::new(),
            categories: Vec::new(),
            visit_count: 0,
            ratings: Ratings::default(),
            created_at: START,
            updated_at: START,
            version: 1,
        };
        let ids = |buyer: usize| {
            let named = |what: &str| format!("{what} {buyer}");
            Ids {
                buyer: BuyerId::derived(&[&named("buyer")]),
                order: OrderId::derived(&[&named("order")]),
                attempts: (0..bounds.attempts)
                    .map(|attempt| PaymentId::derived(&[&named("attempt"), &attempt.to_string()]))
                    .collect(),
                asked_back: RefundId::derived(&[&named("asked back")]),
            }
        };
        Self {
            rules,
            bounds,
            shelf,
            ids: (0..bounds.buyers).map(ids).collect(),
        }
    }

    /// Pieces put up.
    pub(crate) fn pieces(&self) -> usize {
        usize::try_from(self.bounds.pieces).unwrap_or(usize::MAX)
    }

    fn is_over(&self, world: &World) -> bool {
        world.moment + 1 == self.bounds.moments.len()
    }

    fn now(&self, world: &World) -> Timestamp {
        let seconds = self.bounds.moments.get(world.moment).copied().unwrap_or_default();
        START.plus(Duration::from_secs(seconds))
    }

    /// When a sweep finds what is due at `due`. After the last moment time goes on without end.
    fn sweep_at(&self, world: &World, due: Timestamp) -> Option<Timestamp> {
        let now = self.now(world);
        match self.is_over(world) {
            true => Some(now.max(due)),
            false => (due <= now).then_some(now),
        }
    }

    /// Whether nothing is left that happens by itself.
    pub(crate) fn is_at_rest(&self, world: &World) -> bool {
        if !self.is_over(world) {
            return false;
        }
        *world.rest.0.get_or_init(|| {
            let mut steps = Vec::new();
            self.inevitable(world, &mut steps);
            steps.into_iter().all(|step| self.next_state(world, step).is_none())
        })
    }

    /// What happens by itself.
    fn inevitable(&self, world: &World, steps: &mut Vec<Step>) {
        if !self.is_over(world) {
            steps.push(Step::TimePasses);
        }
        for (buyer, purchase) in world.purchases.iter().enumerate() {
            let mut turn = |turn| steps.push(Step::Of(buyer, turn));
            if purchase.holds_pieces() {
                turn(Turn::EndLease);
            }
            if purchase.order.as_ref().is_some_and(|order| order.due_at().is_some()) {
                turn(Turn::Expire);
            }
            for (position, attempt) in purchase.attempts.iter().enumerate() {
                if attempt.payment.due_at().is_some() {
                    turn(Turn::Reconcile(position));
                }
            }
            for (id, Repayment { refund, there }) in &purchase.refunds {
                if !refund.status.is_open() {
                    continue;
                }
                match there {
                    There::Unknown => {
                        turn(Turn::Repay(*id, There::Made));
                        if self.bounds.hard_refunds {
                            turn(Turn::Repay(*id, There::Processing));
                            turn(Turn::Repay(*id, There::Rejected));
                        }
                    }
                    There::Processing => {
                        turn(Turn::Repay(*id, There::Made));
                        turn(Turn::Repay(*id, There::Rejected));
                        turn(Turn::HearOfRefund(*id));
                    }
                    There::Made | There::Rejected => turn(Turn::HearOfRefund(*id)),
                }
            }
            for (letter, delivery) in &purchase.letters {
                if *delivery == Delivery::Done {
                    continue;
                }
                turn(Turn::Deliver(*letter, false));
                if *delivery == Delivery::Waiting && self.bounds.duplicates {
                    turn(Turn::Deliver(*letter, true));
                }
            }
        }
    }

    /// What may happen or not.
    fn possible(&self, world: &World, steps: &mut Vec<Step>) {
        let now = self.now(world);
        for (buyer, purchase) in world.purchases.iter().enumerate() {
            let mut turn = |turn| steps.push(Step::Of(buyer, turn));
            match purchase.placing {
                Placing::NotYet | Placing::Over => {
                    // Who ordered in vain may repeat himself, but nobody starts when others have half an hour behind them.
                    let early = now <= START.plus(TIME_TO_PAY / 2);
                    if purchase.order.is_none() && purchase.tries < self.bounds.tries && early {
                        turn(Turn::Place);
                    }
                }
                Placing::Reserving | Placing::Straying => turn(Turn::Reserve),
                Placing::Holding => turn(Turn::Store),
            }
            if self.bounds.dying {
                if matches!(purchase.placing, Placing::Reserving | Placing::Holding) {
                    turn(Turn::TakeBack);
                }
                if purchase.placing.is_under_way() {
                    turn(Turn::Die);
                }
            }
            let Some(order) = &purchase.order else { continue };
            if matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Paid) {
                turn(Turn::Cancel(CancelledBy::Buyer));
            }
            if order.status() == OrderStatus::Paid {
                turn(Turn::Cancel(CancelledBy::Seller));
                turn(Turn::Complete);
                if self.bounds.asking_back && !purchase.asked_back {
                    turn(Turn::AskBack(Some(1)));
                    turn(Turn::AskBack(None));
                }
            }
            if purchase.wishing {
                turn(Turn::Begin);
            } else if purchase.attempts.len() < self.bounds.attempts && order.is_payable(now) {
                turn(Turn::Wish);
            }
            for (position, Attempt { payment, trade }) in purchase.attempts.iter().enumerate() {
                let created = payment.status() == payments::status::Status::Created;
                let can_pay = now < payment.expires_at.plus(TYPING);
                match trade {
                    Trade::Absent if created => {
                        turn(Turn::Make(position));
                        if self.bounds.wrongs {
                            turn(Turn::Refuse(position));
                        }
                    }
                    Trade::Offered if can_pay => turn(Turn::Open(position)),
                    Trade::Waiting if can_pay => {
                        turn(Turn::Pay(position));
                        if self.bounds.wrongs {
                            turn(Turn::PayWrongly(position));
                            turn(Turn::Fail(position));
                        }
                    }
                    _ => {}
                }
                if created && *trade != Trade::Absent {
                    turn(Turn::NoteOffer(position));
                }
                match (payment.status().is_open(), trade) {
                    (true, Trade::Absent | Trade::Offered) => turn(Turn::NoteUnknown(position)),
                    (true, Trade::Waiting) => turn(Turn::CloseThere(position)),
                    (true, Trade::Closed) => turn(Turn::NoteClosed(position)),
                    _ => {}
                }
                if matches!(trade, Trade::Paid | Trade::PaidWrongly | Trade::Closed | Trade::Failed) {
                    turn(Turn::Hear(position));
                }
            }
            if self.bounds.hard_refunds {
                let open = purchase
                    .refunds
                    .iter()
                    .filter(|(_, known)| known.refund.status.is_open());
                open.for_each(|(id, _)| turn(Turn::GiveUp(*id)));
            }
        }
    }

    /// The world after a turn of one purchase; `None` where it changes nothing, or fails and will be tried again.
    fn after(&self, world: &World, buyer: usize, turn: Turn) -> Option<World> {
        let mut purchase = world.purchases.get(buyer).map(|purchase| Purchase::clone(purchase))?;
        let mut stock = world.shelf.stock;
        let breach = self.take(world, &mut purchase, &mut stock, turn)?;
        let mut next = world.clone();
        if stock != next.shelf.stock {
            next.shelf = Arc::new(Product {
                stock,
                ..Product::clone(&next.shelf)
            });
        }
        *next.purchases.get_mut(buyer)? = purchase.sealed();
        next.breach = breach;
        Some(next)
    }

    fn claim(&self, buyer: usize) -> Option<Claim> {
        Some(Claim {
            order: self.ids.get(buyer)?.order,
            product: self.shelf.id,
            quantity: Quantity::new(1).ok()?,
        })
    }

    /// `Some(breach)` where something changed.
    fn take(
        &self,
        world: &World,
        purchase: &mut Purchase,
        stock: &mut u32,
        turn: Turn,
    ) -> Option<Option<&'static str>> {
        let now = self.now(world);
        let rules = &self.rules;
        let notices = self.bounds.notices;
        match turn {
            Turn::Place => {
                purchase.placing = Placing::Reserving;
                purchase.tries += 1;
            }
            Turn::Reserve => {
                let claim = self.claim(purchase.number)?;
                let held = match (rules.reserve)(&world.shelf, purchase.reservation, claim, now) {
                    Ok(Reserving::Take(new)) => {
                        purchase.reservation = Some(new);
                        *stock = stock.checked_sub(u32::from(claim.quantity.get()))?;
                        true
                    }
                    Ok(Reserving::Renew(next)) => {
                        purchase.reservation = Some(next);
                        true
                    }
                    Ok(Reserving::Taken(_)) => true,
                    Err(_) => false,
                };
                purchase.placing = match (purchase.placing, held) {
                    (Placing::Reserving, true) => Placing::Holding,
                    _ => Placing::Over,
                };
            }
            Turn::TakeBack => {
                self.restore(purchase, stock, now)?;
                purchase.placing = match purchase.placing {
                    // Only a buyer without a key takes back what he is not sure of, and his next order is another one.
                    Placing::Reserving => Placing::Straying,
                    _ => Placing::Over,
                };
                purchase.tries = self.bounds.tries;
            }
            Turn::Die => purchase.placing = Placing::Over,
            Turn::Store => {
                purchase.placing = Placing::Over;
                let order = self.placed(purchase.number, now)?;
                return Some(purchase.order_becomes(order, notices));
            }
            Turn::EndLease => {
                let standing = match &purchase.order {
                    None => OrderStanding::Unknown,
                    Some(order) if order.status() == OrderStatus::Cancelled => OrderStanding::Cancelled,
                    Some(_) => OrderStanding::Alive,
                };
                let reservation = purchase.reservation?;
                let products::stock::State::Reserved { due_at: Some(due) } = reservation.state else {
                    return None;
                };
                match (rules.lease_ended)(&reservation, standing, self.sweep_at(world, due)?) {
                    Release::GiveBack(next) => {
                        *stock += u32::from(next.claim.quantity.get());
                        purchase.reservation = Some(next);
                    }
                    Release::Keep(next) => purchase.reservation = Some(next),
                    Release::Nothing => return None,
                }
            }
            Turn::Cancel(by) => {
                let next = (rules.cancel)(purchase.order.as_ref()?, by, String::new(), now).ok()??;
                return Some(purchase.order_becomes(next, notices));
            }
            Turn::Complete => {
                let next = (rules.complete)(purchase.order.as_ref()?, now).ok()??;
                return Some(purchase.order_becomes(next, notices));
            }
            Turn::AskBack(fen) => {
                let wish = RefundWish {
                    refund: self.ids.get(purchase.number)?.asked_back,
                    by: CancelledBy::Buyer,
                    amount: fen.and_then(|fen| Money::from_fen(fen).ok()),
                    words: String::new(),
                    fingerprint: None,
                };
                let next = (rules.ask_back)(purchase.order.as_ref()?, &wish, now).ok()??;
                purchase.asked_back = true;
                return Some(purchase.order_becomes(next, notices));
            }
            Turn::Expire => {
                let order = purchase.order.as_ref()?;
                // The reminder a day before is left out: it changes nothing but the next look.
                let due = match &order.state {
                    OrderState::Paid { completes_at, .. } if self.is_over(world) => *completes_at,
                    OrderState::PendingPayment { expires_at } => *expires_at,
                    _ => return None,
                };
                let next = (rules.let_time_pass)(order, self.sweep_at(world, due)?).ok()??;
                return Some(purchase.order_becomes(next, notices));
            }
            Turn::Wish => purchase.wishing = true,
            Turn::Begin => {
                let head = purchase.head.as_ref();
                if head.is_some_and(|head| head.live.is_some() || !head.paid.is_empty()) {
                    return None;
                }
                let attempt = self.opened(purchase, now)?;
                let payment = &attempt.payment;
                purchase.head = Some(Head::with_attempt(head, payment.order, payment.user, payment.id));
                purchase.attempts.push(attempt);
                purchase.wishing = false;
            }
            Turn::Make(position) => purchase.attempts.get_mut(position)?.trade = Trade::Offered,
            Turn::NoteOffer(position) => {
                let decision = purchase.attempts.get(position)?.payment.offered(offer(), now);
                return decide(purchase, position, decision, notices);
            }
            Turn::Refuse(position) => {
                let attempt = purchase.attempts.get_mut(position)?;
                attempt.trade = Trade::Failed;
                let decision = (rules.refused)(&attempt.payment, now);
                return decide(purchase, position, decision, notices);
            }
            Turn::Open(position) => purchase.attempts.get_mut(position)?.trade = Trade::Waiting,
            Turn::Pay(position) => purchase.attempts.get_mut(position)?.trade = Trade::Paid,
            Turn::PayWrongly(position) => purchase.attempts.get_mut(position)?.trade = Trade::PaidWrongly,
            Turn::Fail(position) => purchase.attempts.get_mut(position)?.trade = Trade::Failed,
            Turn::CloseThere(position) => purchase.attempts.get_mut(position)?.trade = Trade::Closed,
            Turn::NoteClosed(position) => {
                let decision = (rules.ended)(&purchase.attempts.get(position)?.payment, Ending::ClosedThere, now);
                return decide(purchase, position, decision, notices);
            }
            Turn::NoteUnknown(position) => {
                let decision = (rules.ended)(&purchase.attempts.get(position)?.payment, Ending::NotKnownThere, now);
                return decide(purchase, position, decision, notices);
            }
            Turn::Hear(position) => {
                let Attempt { payment, trade } = purchase.attempts.get(position)?;
                let decision = (rules.observed)(payment, &observation(payment, seen(*trade)?), now);
                return decide(purchase, position, decision, notices);
            }
            Turn::Reconcile(position) => {
                let payment = &purchase.attempts.get(position)?.payment;
                let now = self.sweep_at(world, payment.due_at()?)?;
                return self.reconcile(purchase, position, now);
            }
            Turn::Repay(id, there) => purchase.refunds.get_mut(&id)?.there = there,
            Turn::HearOfRefund(id) => {
                let answer = match purchase.refunds.get(&id)?.there {
                    There::Unknown => return None,
                    There::Processing => Refunding::Processing,
                    There::Made => Refunding::Succeeded,
                    There::Rejected => Refunding::Rejected(String::new()),
                };
                return self.hear_of_refund(purchase, id, &answer, now);
            }
            Turn::GiveUp(id) => {
                purchase.refunds.get_mut(&id)?.refund.attempts = u32::MAX;
                return self.hear_of_refund(purchase, id, &Refunding::Unknown(Silence(String::new())), now);
            }
            Turn::Deliver(letter, again) => {
                let (breach, taken) = self.deliver(purchase, stock, letter, now)?;
                if taken {
                    let delivery = purchase.letters.get_mut(&letter)?;
                    *delivery = match (*delivery, again) {
                        (Delivery::Waiting, true) => Delivery::Again,
                        _ => Delivery::Done,
                    };
                }
                return Some(breach);
            }
        }
        Some(None)
    }

    fn restore(&self, purchase: &mut Purchase, stock: &mut u32, now: Timestamp) -> Option<()> {
        match (self.rules.restore)(purchase.reservation, self.claim(purchase.number)?, now) {
            Restoring::GiveBack(next) => {
                *stock += u32::from(next.claim.quantity.get());
                purchase.reservation = Some(next);
            }
            Restoring::Forestall(new) => purchase.reservation = Some(new),
            Restoring::Done(_) => {}
        }
        Some(())
    }

    /// What a consumer does with a letter: what it broke, and whether the letter is done with. `None`: it fails, and the
    /// queue keeps the letter.
    fn deliver(
        &self,
        purchase: &mut Purchase,
        stock: &mut u32,
        letter: Letter,
        now: Timestamp,
    ) -> Option<(Option<&'static str>, bool)> {
        let rules = &self.rules;
        let notices = self.bounds.notices;
        let mut breach = None;
        match letter {
            Letter::Pays(payment, amount) => {
                let succeeded = Succeeded {
                    id: payment,
                    amount,
                    method: PaymentMethod::Alipay,
                    at: START,
                };
                if let Some(next) = (rules.pay)(purchase.order.as_ref()?, succeeded, now).ok()? {
                    breach = purchase.order_becomes(next, notices);
                }
            }
            Letter::Settled(refund, succeeded) => {
                let outcome = match succeeded {
                    true => RefundOutcome::Succeeded,
                    false => RefundOutcome::NeedsAttention,
                };
                if let Some(next) = (rules.settle_refund)(purchase.order.as_ref()?, refund, outcome, now) {
                    breach = purchase.order_becomes(next, notices);
                }
            }
            Letter::ReturnsStock => self.restore(purchase, stock, now)?,
            Letter::ClosesLive => {
                let live = purchase.head.as_ref().and_then(|head| head.live);
                if let Some(position) = live.and_then(|live| purchase.attempt(live)) {
                    breach = self.close(purchase, position, now).flatten();
                }
            }
            Letter::Releases(payment, amount) => {
                let position = purchase.attempt(payment)?;
                let decision = (rules.released)(&purchase.attempts.get(position)?.payment, amount, now).ok()?;
                breach = decide(purchase, position, decision, notices).flatten();
            }
            Letter::GivesBack(refund, payment, amount) => {
                if purchase.refunds.contains_key(&refund) {
                    return Some((None, true));
                }
                let position = purchase.attempt(payment)?;
                let payment = &purchase.attempts.get(position)?.payment;
                if payment.ledger.captured().ok()?.is_zero() {
                    return None;
                }
                let reserved = match (rules.reserve_refund)(payment, amount, now) {
                    Ok(reserved) => reserved,
                    Err(LedgerError::NotEnough { .. }) => return Some((None, true)),
                    Err(_) => return None,
                };
                let new = new_refund(refund, payment, amount, now);
                let of_payment = purchase.payment_becomes(position, reserved, notices);
                // Not taken yet: the provider is asked by the same call, which may die before it does.
                return Some((of_payment.or(purchase.refund_becomes(new, notices)), false));
            }
            Letter::Notice(..) => {}
        }
        Some((breach, true))
    }

    /// Ends an open attempt, first at the provider; if it is paid there, that is applied instead.
    fn close(&self, purchase: &mut Purchase, position: usize, now: Timestamp) -> Option<Option<&'static str>> {
        let attempt = purchase.attempts.get_mut(position)?;
        if !attempt.payment.status().is_open() {
            return None;
        }
        if attempt.trade == Trade::Waiting {
            attempt.trade = Trade::Closed;
        }
        let Attempt { payment, trade } = &*attempt;
        let decision = match trade {
            Trade::Closed => (self.rules.ended)(payment, Ending::ClosedThere, now),
            Trade::Absent | Trade::Offered => (self.rules.ended)(payment, Ending::NotKnownThere, now),
            trade => (self.rules.observed)(payment, &observation(payment, seen(*trade)?), now),
        };
        decide(purchase, position, decision, self.bounds.notices)
    }

    /// What reconcile-payments does with an attempt that is due: it asks, ends what is overdue, looks a last time.
    fn reconcile(&self, purchase: &mut Purchase, position: usize, now: Timestamp) -> Option<Option<&'static str>> {
        let Attempt { payment, trade } = purchase.attempts.get(position)?;
        if let Some(seen) = seen(*trade)
            && let decision @ Decision::Becomes(_) = (self.rules.observed)(payment, &observation(payment, seen), now)
        {
            return decide(purchase, position, decision, self.bounds.notices);
        }
        match payment.status().is_open() {
            true if payment.is_overdue(now) => self.close(purchase, position, now),
            // Asked in vain: it is asked again later.
            true => None,
            false => {
                let decision = (self.rules.looked)(payment, now);
                decide(purchase, position, decision, self.bounds.notices)
            }
        }
    }

    fn hear_of_refund(
        &self,
        purchase: &mut Purchase,
        id: RefundId,
        answer: &Refunding,
        now: Timestamp,
    ) -> Option<Option<&'static str>> {
        let known = &purchase.refunds.get(&id)?.refund;
        let RefundDecision::Becomes(next) = (self.rules.answered)(known, answer, now) else {
            return None;
        };
        if next.status == known.status {
            return None;
        }
        let mut breach = None;
        if next.status == RefundStatus::Succeeded {
            let position = purchase.attempt(next.payment)?;
            let payment = &purchase.attempts.get(position)?.payment;
            if let Some(payment) = (self.rules.refunded)(payment, id, next.amount, now).ok()? {
                breach = purchase.payment_becomes(position, payment, self.bounds.notices);
            }
        }
        Some(breach.or(purchase.refund_becomes(*next, self.bounds.notices)))
    }

    fn placed(&self, buyer: usize, now: Timestamp) -> Option<Order> {
        let ids = self.ids.get(buyer)?;
        let lines = vec![Line {
            product_uuid: self.shelf.id,
            title: String::new(),
            image: String::new(),
            price: price(),
            quantity: self.claim(buyer)?.quantity,
        }];
        Some(Order {
            id: ids.order,
            legacy_id: None,
            buyer: ids.buyer,
            seller: self.shelf.seller.id,
            total: Order::total_of(&lines).ok()?,
            lines,
            particulars: SealedParticulars::from_stored(String::new()),
            intended_method: None,
            placed_at: now,
            updated_at: now,
            state: OrderState::PendingPayment {
                expires_at: now.plus(TIME_TO_PAY),
            },
            refunds: Vec::new(),
            fingerprint: None,
            hidden: false,
            version: 1,
        })
    }

    /// The next attempt of an order.
    fn opened(&self, purchase: &Purchase, now: Timestamp) -> Option<Attempt> {
        let order = purchase.order.as_ref()?;
        let position = purchase.attempts.len();
        let payment = Payment {
            id: *self.ids.get(purchase.number)?.attempts.get(position)?,
            order: order.id,
            user: UserId::from(order.buyer),
            amount: order.total,
            method: PaymentMethod::Alipay,
            channel: Channel::QrCode,
            provider: ProviderName::Sandbox,
            subject: String::new(),
            created_at: now,
            updated_at: now,
            expires_at: Purchase::payable_until(order),
            state: PaymentState::Created,
            ledger: Ledger::default(),
            checks: 0,
            fingerprint: None,
            version: 1,
        };
        Some(match self.bounds.pages || position > 0 {
            true => Attempt {
                payment: payment.with_offer(offer(), now),
                trade: Trade::Offered,
            },
            false => Attempt {
                payment,
                trade: Trade::Absent,
            },
        })
    }
}

/// Stores what was decided about a payment.
fn decide(
    purchase: &mut Purchase,
    position: usize,
    decision: Decision,
    posts_notices: bool,
) -> Option<Option<&'static str>> {
    match decision {
        Decision::Becomes(next) => Some(purchase.payment_becomes(position, *next, posts_notices)),
        Decision::NothingToDo | Decision::Contradicts => None,
    }
}

fn offer() -> Offer {
    Offer::QrCode(String::new())
}

fn new_refund(id: RefundId, payment: &Payment, amount: Money, now: Timestamp) -> Refund {
    Refund {
        id,
        payment: payment.id,
        order: payment.order,
        user: payment.user,
        amount,
        paid: payment.amount,
        // Decides nothing once the refund is asked for.
        reason: RefundReason::Requested,
        provider: payment.provider,
        created_at: now,
        updated_at: now,
        status: RefundStatus::Requested,
        remark: None,
        attempts: 0,
        next_attempt: Refund::first_deadline(now),
        version: 1,
    }
}

pub(crate) fn observation(payment: &Payment, trade: Seen) -> Observation {
    Observation {
        payment: payment.id,
        trade,
    }
}

pub(crate) fn receipt(fen: i64) -> Receipt {
    Receipt {
        trade_no: String::new(),
        amount: Money::from_fen(fen).unwrap_or_default(),
        currency: CURRENCY.to_owned(),
        paid_at: START,
    }
}

/// The right money.
pub(crate) fn as_asked() -> Seen {
    Seen::Paid(receipt(PRICE))
}

/// Other money.
pub(crate) fn otherwise() -> Seen {
    Seen::Paid(receipt(PRICE - 1))
}

/// What the provider says of a trade that is decided.
fn seen(trade: Trade) -> Option<Seen> {
    match trade {
        Trade::Absent | Trade::Offered | Trade::Waiting => None,
        Trade::Closed => Some(Seen::Closed),
        Trade::Failed => Some(Seen::Failed),
        Trade::Paid => Some(as_asked()),
        Trade::PaidWrongly => Some(otherwise()),
    }
}

impl Model for Market {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            moment: 0,
            shelf: Arc::new(self.shelf.clone()),
            purchases: (0..self.bounds.buyers)
                .map(|buyer| Purchase::new(buyer).sealed())
                .collect(),
            breach: None,
            rest: Rest::default(),
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.inevitable(world, steps);
        self.possible(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = match step {
            Step::TimePasses => {
                let mut next = world.clone();
                next.breach = None;
                next.moment += 1;
                if self.now(&next).since(self.now(world)) > SHORT {
                    for purchase in &mut next.purchases {
                        if purchase.placing.is_under_way() {
                            let mut over = Purchase::clone(purchase);
                            over.placing = Placing::Over;
                            *purchase = over.sealed();
                        }
                    }
                }
                next
            }
            Step::Of(buyer, turn) => self.after(world, buyer, turn)?,
        };
        if next.progress() <= world.progress() {
            next.breach = Some("a step led nowhere");
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::all();
        properties.extend(properties::within(&self.bounds));
        properties
    }
}
