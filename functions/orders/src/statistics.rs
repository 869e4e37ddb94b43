//! A user's order statistics: counters that the table's stream keeps, exactly once however often it is read.
//!
//! Each counter item remembers, for the orders that changed lately, which version of them is counted and what it
//! contributed. A change is counted by the difference to that; a version that is counted already changes nothing. So
//! records of the stream may come twice, late and out of order.

use std::collections::BTreeMap;
use std::time::Duration;

use event_function::Change;
use kernel::{Money, OrderId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::TableError;
use utoipa::ToSchema;

use crate::error::OrderError;
use crate::order::{Order, Party, State};
use crate::status::Status;
use crate::table::OrderRecord;

/// A stream keeps its records for 24 hours, so after twice that an order that has ended is forgotten here.
const REMEMBERED: Duration = Duration::from_secs(48 * 60 * 60);
/// Days before today that count as recent.
const RECENT_DAYS: i64 = 30;
/// Days before today of which there are figures, so that a late change finds its day.
const KEPT_DAYS: i64 = RECENT_DAYS + 1;

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// Whose figures, in which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The user.
    pub user: UserId,
    /// As buyer or as seller.
    pub role: Party,
}

/// What an order adds to the figures. An order never goes back to what it added before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Status, bool, i64)", into = "(Status, bool, i64)")]
struct Contribution {
    status: Status,
    hidden: bool,
    /// Fen that were paid and not asked back.
    kept: i64,
}

impl From<(Status, bool, i64)> for Contribution {
    fn from((status, hidden, kept): (Status, bool, i64)) -> Self {
        Self { status, hidden, kept }
    }
}

impl From<Contribution> for (Status, bool, i64) {
    fn from(contribution: Contribution) -> Self {
        (contribution.status, contribution.hidden, contribution.kept)
    }
}

/// How an order stood at one of its versions, as far as figures are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    version: u64,
    changed_at: Timestamp,
    ended_at: Option<Timestamp>,
    contribution: Contribution,
}

impl Standing {
    fn of(order: &Order) -> Self {
        let ended_at = match order.state {
            State::PendingPayment { .. } | State::Paid { .. } => None,
            State::Completed { at, .. } | State::Cancelled { at, .. } => Some(at),
        };
        Self {
            version: order.version,
            changed_at: order.updated_at,
            ended_at,
            contribution: Contribution {
                status: order.status(),
                hidden: order.hidden,
                kept: order.kept().fen(),
            },
        }
    }
}

/// A change of one order, as far as figures are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Movement {
    order: OrderId,
    buyer: UserId,
    seller: UserId,
    placed_at: Timestamp,
    before: Option<Standing>,
    after: Option<Standing>,
    at: Timestamp,
}

impl Movement {
    /// What a record of the stream says. `None`: it speaks of no order.
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when an image is no order.
    pub fn of(change: Change<OrderRecord>) -> Result<Option<Self>, TableError> {
        let before = change.before.map(Order::try_from).transpose()?;
        let after = change.after.map(Order::try_from).transpose()?;
        let Some(order) = after.as_ref().or(before.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            order: order.id,
            buyer: order.buyer.into(),
            seller: order.seller.into(),
            placed_at: order.placed_at,
            before: before.as_ref().map(Standing::of),
            after: after.as_ref().map(Standing::of),
            at: change.at,
        }))
    }

    /// Whose figures it changes.
    #[must_use]
    pub fn accounts(&self) -> [Account; 2] {
        let account = |user, role| Account { user, role };
        [account(self.buyer, Party::Buyer), account(self.seller, Party::Seller)]
    }

    /// An order that a person deleted counts no more, as if that were one version more.
    fn version(&self) -> u64 {
        match (self.after, self.before) {
            (Some(after), _) => after.version,
            (None, before) => before.map_or(0, |before| before.version + 1),
        }
    }
}

/// Orders by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    pending_payment: i64,
    paid: i64,
    completed: i64,
    cancelled: i64,
}

impl Counts {
    fn of(&mut self, status: Status) -> &mut i64 {
        match status {
            Status::PendingPayment => &mut self.pending_payment,
            Status::Paid => &mut self.paid,
            Status::Completed => &mut self.completed,
            Status::Cancelled => &mut self.cancelled,
        }
    }

    fn total(&self) -> i64 {
        self.pending_payment + self.paid + self.completed + self.cancelled
    }
}

/// Orders placed on one day, and the fen kept of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day(i64, i64);

/// Which version of an order is counted, since which hour, and what it added; nothing once it was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counted(u64, i64, Option<Contribution>);

/// The counters of one user in one part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    orders: Counts,
    hidden: Counts,
    kept: i64,
    /// By the number of the day since 1970 (UTC) on which the orders were placed.
    days: BTreeMap<String, Day>,
    /// Orders under way, and those that ended or changed lately.
    recent: BTreeMap<String, Counted>,
}

impl Figures {
    /// Takes in a change. `false`: it is counted already, or makes no difference.
    ///
    /// # Errors
    /// [`OrderError::CountedTooLate`], [`OrderError::CountedOutOfTurn`]: what is counted of the order can not be known any
    /// more. Nothing is counted.
    pub fn take_in(&mut self, movement: &Movement, now: Timestamp) -> Result<bool, OrderError> {
        let key = movement.order.to_string();
        let version = movement.version();
        let next = movement.after.map(|after| after.contribution);
        let counted = match self.recent.get(&key) {
            Some(Counted(known, _, _)) if *known >= version => return Ok(false),
            // Remembered anew once an hour, so that it is not forgotten while it still changes.
            Some(Counted(_, since, contribution)) if *contribution == next && *since == hour(now) => return Ok(false),
            Some(Counted(_, _, contribution)) => *contribution,
            None => counted_of_unknown(movement, now)?,
        };
        if let Some(contribution) = counted {
            self.add(contribution, movement.placed_at, -1, now);
        }
        if let Some(contribution) = next {
            self.add(contribution, movement.placed_at, 1, now);
        }
        self.recent.insert(key, Counted(version, hour(now), next));
        self.forget(now);
        Ok(true)
    }

    /// Counts an order that a migration writes. Its later changes find what was counted: remembered here, where it is under
    /// way or changed lately; in the image before the change, where it ended long ago.
    pub fn import(&mut self, order: &Order, now: Timestamp) {
        let standing = Standing::of(order);
        self.add(standing.contribution, order.placed_at, 1, now);
        let is_lately = |at: Timestamp| now.since(at) <= REMEMBERED;
        if standing.ended_at.is_none_or(is_lately) || is_lately(standing.changed_at) {
            let counted = Counted(standing.version, hour(now), Some(standing.contribution));
            self.recent.insert(order.id.to_string(), counted);
        }
    }

    fn add(&mut self, contribution: Contribution, placed_at: Timestamp, sign: i64, now: Timestamp) {
        let kept = sign * contribution.kept;
        *self.orders.of(contribution.status) += sign;
        if contribution.hidden {
            *self.hidden.of(contribution.status) += sign;
        }
        self.kept += kept;
        let placed = day(placed_at);
        if placed >= day(now) - KEPT_DAYS {
            let figures = self.days.entry(placed.to_string()).or_default();
            *figures = Day(figures.0 + sign, figures.1 + kept);
        }
    }

    /// Drops what no record that is still to come can ask for.
    fn forget(&mut self, now: Timestamp) {
        let oldest_day = day(now) - KEPT_DAYS;
        self.days.retain(|number, figures| {
            *figures != Day::default() && number.parse::<i64>().is_ok_and(|number| number >= oldest_day)
        });
        // Two hours longer, because hours are not exact.
        let oldest_hour = hour(now.minus(REMEMBERED)) - 2;
        self.recent.retain(|_, Counted(_, hour, contribution)| {
            let is_under_way = contribution
                .is_some_and(|contribution| matches!(contribution.status, Status::PendingPayment | Status::Paid));
            is_under_way || *hour >= oldest_hour
        });
    }

    /// How many orders a list shows, of one status or of all; hidden ones are not shown.
    #[must_use]
    pub fn shown(&self, status: Option<Status>) -> usize {
        let (mut orders, mut hidden) = (self.orders, self.hidden);
        let shown = match status {
            Some(status) => *orders.of(status) - *hidden.of(status),
            None => orders.total() - hidden.total(),
        };
        usize::try_from(shown).unwrap_or(0)
    }

    /// The figures as they are told at the time `now`. Recent are orders placed today or on the 30 days before.
    #[must_use]
    pub fn statistics(&self, now: Timestamp) -> Statistics {
        let from = day(now) - RECENT_DAYS;
        let recent = self
            .days
            .iter()
            .filter(|(number, _)| number.parse::<i64>().is_ok_and(|number| number >= from))
            .fold(Day::default(), |sum, (_, day)| Day(sum.0 + day.0, sum.1 + day.1));
        let orders = self.orders;
        Statistics {
            total_orders: orders.total(),
            pending_payment: orders.pending_payment,
            paid_orders: orders.paid,
            completed_orders: orders.completed,
            cancelled_orders: orders.cancelled,
            total_amount: amount(self.kept),
            recent_orders: recent.0,
            recent_amount: amount(recent.1),
        }
    }
}

/// What is counted of an order that the counters do not know (any more).
fn counted_of_unknown(movement: &Movement, now: Timestamp) -> Result<Option<Contribution>, OrderError> {
    // What is counted is remembered for longer than a record is young: of a young one, not known is not counted.
    if now.since(movement.at) > REMEMBERED {
        return Err(OrderError::CountedTooLate(movement.order));
    }
    let Some(before) = movement.before else { return Ok(None) };
    match before.ended_at {
        // Until it ends, an order is not forgotten.
        None => Ok(None),
        Some(ended) if now.since(ended) <= REMEMBERED => Ok(None),
        Some(_) if now.since(before.changed_at) > REMEMBERED => Ok(Some(before.contribution)),
        Some(_) => Err(OrderError::CountedOutOfTurn(movement.order)),
    }
}

fn hour(at: Timestamp) -> i64 {
    at.millis().div_euclid(HOUR)
}

fn day(at: Timestamp) -> i64 {
    at.millis().div_euclid(DAY)
}

/// Beyond what one amount can be, the figure stays at the largest one.
fn amount(fen: i64) -> Money {
    Money::from_fen(fen.max(0)).unwrap_or(Money::MAX)
}

/// A user's figures, as they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OrderFigures)]
pub struct Statistics {
    /// All orders.
    #[schema(minimum = 0)]
    pub total_orders: i64,
    /// Those that wait for payment.
    #[schema(minimum = 0)]
    pub pending_payment: i64,
    /// Those that are paid.
    #[schema(minimum = 0)]
    pub paid_orders: i64,
    /// Those that are completed.
    #[schema(minimum = 0)]
    pub completed_orders: i64,
    /// Those that were called off.
    #[schema(minimum = 0)]
    pub cancelled_orders: i64,
    /// What was paid and not given back.
    pub total_amount: Money,
    /// Orders placed today or on the 30 days before.
    #[schema(minimum = 0)]
    pub recent_orders: i64,
    /// What was paid for them and not given back.
    pub recent_amount: Money,
}

#[cfg(test)]
mod tests {
    use contracts::orders::CancelledBy;
    use contracts::payments::PaymentMethod;
    use kernel::{BuyerId, PaymentId, ProductId, Quantity, RefundId, SellerId};
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::delivery::SealedParticulars;
    use crate::order::{Line, Payment, RefundOutcome, RefundWish, TIME_TO_PAY};

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn hours(count: u64) -> Duration {
        Duration::from_secs(count * 60 * 60)
    }

    fn order(fen: i64, placed_at: Timestamp) -> Order {
        let line = Line {
            product_uuid: ProductId::random(),
            title: "书".into(),
            image: String::new(),
            price: Money::from_fen(fen).unwrap(),
            quantity: Quantity::new(1).unwrap(),
        };
        Order {
            id: OrderId::random(),
            legacy_id: None,
            buyer: BuyerId::random(),
            seller: SellerId::random(),
            total: line.price,
            lines: vec![line],
            particulars: SealedParticulars::from_stored("sealed".into()),
            intended_method: None,
            placed_at,
            updated_at: placed_at,
            state: State::PendingPayment {
                expires_at: placed_at.plus(TIME_TO_PAY),
            },
            refunds: vec![],
            fingerprint: None,
            hidden: false,
            version: 1,
        }
    }

    fn movement(before: Option<&Order>, after: Option<&Order>, at: Timestamp) -> Movement {
        let order = after.or(before).unwrap();
        Movement {
            order: order.id,
            buyer: order.buyer.into(),
            seller: order.seller.into(),
            placed_at: order.placed_at,
            before: before.map(Standing::of),
            after: after.map(Standing::of),
            at,
        }
    }

    /// What happens to an order, number by number; what is refused does not happen.
    fn happens(order: &Order, event: u8, now: Timestamp) -> Option<Order> {
        let payment = || Payment {
            id: PaymentId::random(),
            amount: order.total,
            method: PaymentMethod::Alipay,
            at: now,
        };
        match event {
            0 => order.pay(payment(), now).ok()?,
            1 => order.cancel(CancelledBy::Buyer, String::new(), now).ok()?,
            2 => order.complete(now).ok()?,
            3 => order.let_time_pass(now).ok()?,
            4 => order.hide(now).ok()?,
            5 => {
                let part = RefundWish {
                    refund: RefundId::random(),
                    by: CancelledBy::Buyer,
                    amount: Money::from_fen(100).ok(),
                    words: String::new(),
                    fingerprint: None,
                };
                order.refund(&part, now).ok()?
            }
            _ => {
                let refund = order.refunds.first()?.refund_uuid;
                order.settle_refund(refund, RefundOutcome::Succeeded, now)
            }
        }
    }

    /// The figures of orders as they stand, counted one by one.
    fn recount(orders: &[Order], now: Timestamp) -> (Counts, Counts, Statistics) {
        let mut figures = Figures::default();
        for order in orders {
            figures.add(Standing::of(order).contribution, order.placed_at, 1, now);
        }
        (figures.orders, figures.hidden, figures.statistics(now))
    }

    /// Orders, their histories, and every change of them in the order in which it was made.
    fn histories(events: &[Vec<u8>]) -> (Vec<Order>, Vec<Movement>) {
        let (mut orders, mut movements) = (Vec::new(), Vec::new());
        for (number, events) in events.iter().enumerate() {
            let mut now = START.plus(hours(number as u64 % 5));
            let mut current = order(1000 + i64::try_from(number).unwrap(), now);
            movements.push(movement(None, Some(&current), now));
            for event in events {
                now = now.plus(Duration::from_secs(700));
                if let Some(next) = happens(&current, *event, now) {
                    movements.push(movement(Some(&current), Some(&next), now));
                    current = next;
                }
            }
            orders.push(current);
        }
        (orders, movements)
    }

    proptest! {
        /// Records come any number of times, in any order; what is counted is what is there.
        #[test]
        fn whatever_the_stream_repeats_or_mixes_up_equals_a_recount(
            events in proptest::collection::vec(proptest::collection::vec(0..7_u8, 0..8), 1..8),
            shuffle in proptest::collection::vec(any::<Index>(), 0..60),
            again in proptest::collection::vec(any::<Index>(), 0..40),
        ) {
            let (orders, movements) = histories(&events);
            let now = START.plus(hours(12));
            // Each at least once, in any order, and some again.
            let mut arrivals: Vec<usize> = (0..movements.len()).collect();
            for (position, index) in shuffle.iter().enumerate() {
                arrivals.swap(position % movements.len(), index.index(movements.len()));
            }
            arrivals.extend(again.iter().map(|index| index.index(movements.len())));
            let mut figures = Figures::default();
            for arrival in arrivals {
                figures.take_in(&movements[arrival], now).unwrap();
            }
            let (counts, hidden, statistics) = recount(&orders, now);
            prop_assert_eq!((figures.orders, figures.hidden), (counts, hidden));
            prop_assert_eq!(figures.statistics(now), statistics);
            let shown = orders.iter().filter(|order| !order.hidden).count();
            prop_assert_eq!(figures.shown(None), shown);
        }

        /// Read as it comes over many days, with each batch read again: old orders are forgotten and still count.
        #[test]
        fn what_is_forgotten_stays_counted(
            events in proptest::collection::vec((0..4_usize, 0..7_u8, 0..200_u64), 0..60),
        ) {
            let mut now = START;
            let mut figures = Figures::default();
            let mut orders: Vec<Order> = (0..4).map(|number| order(500 * (number + 1), START)).collect();
            for order in &orders {
                figures.take_in(&movement(None, Some(order), now), now).unwrap();
            }
            for (which, event, waited) in events {
                now = now.plus(hours(waited));
                let Some(next) = happens(&orders[which], event, now) else { continue };
                let change = movement(Some(&orders[which]), Some(&next), now);
                orders[which] = next;
                figures.take_in(&change, now).unwrap();
                let later = now.plus(hours(24));
                let once = figures.clone();
                figures.take_in(&change, later).unwrap();
                prop_assert_eq!(once.orders, figures.orders);
                let (counts, hidden, statistics) = recount(&orders, now);
                prop_assert_eq!((figures.orders, figures.hidden), (counts, hidden));
                prop_assert_eq!(figures.statistics(now), statistics);
                let lately = orders.iter().filter(|order| order.due_at().is_some() || now.since(order.updated_at) <= hours(76));
                prop_assert!(figures.recent.len() <= lately.count(), "it grows with what goes on, not with what was");
                prop_assert!(figures.days.len() <= 32);
            }
        }
    }

    #[test]
    fn what_can_not_be_known_any_more_is_refused_and_changes_nothing() {
        let placed = order(1000, START);
        let cancelled = happens(&placed, 1, START).unwrap();
        let late = START.plus(hours(49));
        let mut figures = Figures::default();
        let error = figures.take_in(&movement(Some(&placed), Some(&cancelled), START), late);
        assert_eq!(error, Err(OrderError::CountedTooLate(placed.id)));
        // Hidden and deleted days after its end; the second change overtakes the first.
        let mut figures = Figures::default();
        figures.take_in(&movement(None, Some(&placed), START), START).unwrap();
        figures
            .take_in(&movement(Some(&placed), Some(&cancelled), START), START)
            .unwrap();
        let later = late.plus(hours(3));
        figures.forget(later);
        let hidden = happens(&cancelled, 4, later).unwrap();
        let (hides, deletes) = (
            movement(Some(&cancelled), Some(&hidden), later),
            movement(Some(&hidden), None, later),
        );
        let before = figures.clone();
        assert_eq!(
            figures.take_in(&deletes, later),
            Err(OrderError::CountedOutOfTurn(placed.id))
        );
        assert_eq!(figures, before);
        assert_eq!(figures.take_in(&hides, later), Ok(true));
        assert_eq!((figures.shown(None), figures.orders.cancelled), (0, 1));
        assert_eq!(figures.take_in(&deletes, later), Ok(true));
        assert_eq!(figures.orders.total(), 0);
        assert_eq!(figures.take_in(&hides, later), Ok(false), "it does not come back");
    }

    /// The stream passes over what is imported. Whether it ended long ago or lives on, its next change is counted once.
    #[test]
    fn what_was_imported_is_counted_by_whoever_imported_it() {
        let ended = happens(&order(1000, START), 1, START).unwrap();
        let now = START.plus(hours(24 * 365));
        let under_way = order(1000, now);
        let mut figures = Figures::default();
        figures.import(&ended, now);
        figures.import(&under_way, now);
        assert_eq!((figures.orders.cancelled, figures.orders.pending_payment), (1, 1));
        assert_eq!(figures.recent.len(), 1, "what ended long ago is not remembered");

        let hidden = happens(&ended, 4, now).unwrap();
        let called_off = happens(&under_way, 1, now).unwrap();
        for change in [
            movement(Some(&ended), Some(&hidden), now),
            movement(Some(&under_way), Some(&called_off), now),
        ] {
            assert_eq!(figures.take_in(&change, now), Ok(true));
            assert_eq!(figures.take_in(&change, now), Ok(false));
        }
        assert_eq!((figures.orders.total(), figures.hidden.cancelled), (2, 1));
        assert_eq!((figures.orders.cancelled, figures.orders.pending_payment), (2, 0));
    }

    #[test]
    fn only_money_that_was_kept_counts() {
        let (orders, movements) = histories(&[vec![0], vec![0, 2], vec![0, 1], vec![1], vec![]]);
        let mut figures = Figures::default();
        for movement in &movements {
            figures.take_in(movement, START).unwrap();
        }
        let told = figures.statistics(START);
        let kept = orders[0].total.fen() + orders[1].total.fen();
        assert_eq!((told.total_amount.fen(), told.recent_amount.fen()), (kept, kept));
        assert_eq!((told.total_orders, told.recent_orders, told.pending_payment), (5, 5, 1));
        let later = figures.statistics(START.plus(hours(24 * 40)));
        assert_eq!((later.total_orders, later.recent_orders), (5, 0));
        assert_eq!(later.recent_amount, Money::ZERO);
    }
}
