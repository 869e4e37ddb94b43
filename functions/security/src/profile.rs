//! What is kept of a user, and how it becomes facts.

use kernel::{Money, OrderId, SellerId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use contracts::OrderEvent;
use contracts::orders::{CancelledBy, OrderSummary};
use contracts::security::Fingerprint;

use crate::facts::{Account, Counterpart, PastOrder, Stage};

/// Orders that are kept of a user when there are too many. No policy counts further.
pub const KEPT: usize = 64;
/// How many may gather before the oldest are dropped.
pub const CROWDED: usize = 80;
/// For how long an order is kept.
pub const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A user, as far as his orders tell of him.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// When he was first heard of.
    pub first_seen: Option<Timestamp>,
    /// When he registered, by UserService.
    pub registered_at: Option<Timestamp>,
    /// When he first paid for an order.
    pub bought_at: Option<Timestamp>,
    /// The phone that he ordered to last.
    pub phone: Option<Fingerprint>,
    /// The address that he ordered to last.
    pub address: Option<Fingerprint>,
    /// His orders as buyer.
    pub orders: Vec<KnownOrder>,
}

/// An order of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownOrder {
    /// The order.
    pub id: OrderId,
    /// What is kept of it.
    pub entry: OrderEntry,
}

/// What is kept of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEntry {
    /// When it was attempted, or heard of.
    pub at: Timestamp,
    /// What it cost.
    #[serde(rename = "fen", with = "kernel::money::fen")]
    pub amount: Money,
    /// How far it came.
    pub stage: Stage,
    /// Whose goods.
    pub seller: SellerId,
    /// Whether `at` is not when it was attempted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard_late: bool,
}

impl Profile {
    /// What is known of the user at `now`, in view of an order with `seller`; `order` itself is left out.
    #[must_use]
    pub fn account(&self, order: Option<OrderId>, seller: Option<SellerId>, now: Timestamp) -> Account {
        let orders = self.orders.iter().filter(|known| Some(known.id) != order);
        let since = self.registered_at.into_iter().chain(self.first_seen).min();
        Account {
            age_s: since.map_or(0, |since| now.since(since).as_secs()),
            has_bought: self.bought_at.is_some(),
            orders: orders
                .map(|known| PastOrder {
                    age_s: now.since(known.entry.at).as_secs(),
                    amount: known.entry.amount,
                    stage: known.entry.stage,
                    heard_late: known.entry.heard_late,
                    same_seller: Some(known.entry.seller) == seller,
                })
                .collect(),
        }
    }

    /// What is known of the user as the seller of an order of `buyer`.
    #[must_use]
    pub fn counterpart(&self, buyer: UserId, now: Timestamp) -> Counterpart {
        let of_buyer = self
            .orders
            .iter()
            .filter(|known| UserId::from(known.entry.seller) == buyer);
        Counterpart {
            orders_from_buyer_s: of_buyer.map(|known| now.since(known.entry.at).as_secs()).collect(),
        }
    }

    /// The orders that need not be kept any longer: too old, or more than [`KEPT`] once it is crowded. Nothing while
    /// neither is so.
    #[must_use]
    pub fn dispensable(&self, now: Timestamp) -> Vec<OrderId> {
        let mut orders: Vec<_> = self.orders.iter().collect();
        orders.sort_by_key(|known| std::cmp::Reverse(known.entry.at));
        let keep = if orders.len() > CROWDED { KEPT } else { orders.len() };
        let is_old = |known: &KnownOrder| now.since(known.entry.at) > REMEMBERED;
        orders
            .into_iter()
            .enumerate()
            .filter(|(position, known)| *position >= keep || is_old(known))
            .map(|(_, known)| known.id)
            // One write can not name any number of attributes; what is left goes next time.
            .take(100)
            .collect()
    }
}

/// What an event tells of a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lesson {
    /// Whose order it is.
    pub buyer: UserId,
    /// The order.
    pub order: OrderId,
    /// What is kept of it, where nothing is yet.
    pub entry: OrderEntry,
    /// Whether he paid for it, whatever became of it then.
    pub was_paid: bool,
}

impl Lesson {
    /// The lesson of an event of `at`; `None` where there is nothing to learn.
    #[must_use]
    pub fn of(event: &OrderEvent, at: Timestamp) -> Option<Self> {
        let (order, stage, was_paid) = match event {
            OrderEvent::OrderCreated { order, .. } => (order, Stage::Placed, false),
            OrderEvent::OrderPaid { order, .. } => (order, Stage::Paid, true),
            OrderEvent::OrderCompleted { order, .. } => (order, Stage::Completed, true),
            OrderEvent::OrderCancelled {
                order,
                cancelled_by,
                was_paid,
                ..
            } => {
                let stage = match cancelled_by {
                    CancelledBy::Buyer | CancelledBy::Timeout => Stage::CalledOff,
                    CancelledBy::Seller | CancelledBy::Service => Stage::Ended,
                };
                (order, stage, *was_paid)
            }
            OrderEvent::OrderCompletionDue { .. } | OrderEvent::OrderRefundSettled { .. } => return None,
        };
        let OrderSummary {
            order_uuid,
            buyer_uuid,
            seller_uuid,
            total,
            ..
        } = order;
        Some(Self {
            buyer: UserId::from(*buyer_uuid),
            order: *order_uuid,
            entry: OrderEntry {
                at,
                amount: *total,
                stage,
                seller: *seller_uuid,
                heard_late: stage != Stage::Placed,
            },
            was_paid,
        })
    }
}

#[cfg(test)]
mod tests {
    use kernel::BuyerId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn known(age: Duration) -> KnownOrder {
        KnownOrder {
            id: OrderId::random(),
            entry: OrderEntry {
                at: NOW.minus(age),
                amount: Money::ZERO,
                stage: Stage::Placed,
                seller: SellerId::random(),
                heard_late: false,
            },
        }
    }

    #[test]
    fn a_crowded_profile_drops_its_oldest_orders() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut profile = Profile {
            orders: (0..CROWDED as u64).map(|age| known(minutes(age))).collect(),
            ..Profile::default()
        };
        assert_eq!(profile.dispensable(NOW), []);
        profile.orders.insert(3, known(minutes(1000)));
        let dropped = profile.dispensable(NOW);
        assert_eq!(dropped.len(), CROWDED + 1 - KEPT);
        assert!(dropped.contains(&profile.orders[3].id));
        assert!(!dropped.contains(&profile.orders[0].id));
    }

    #[test]
    fn an_old_order_is_dropped() {
        let old = known(REMEMBERED + Duration::from_secs(1));
        let profile = Profile {
            orders: vec![known(REMEMBERED), old],
            ..Profile::default()
        };
        assert_eq!(profile.dispensable(NOW), [old.id]);
    }

    #[test]
    fn the_order_in_question_is_not_its_own_history() {
        let (mine, other) = (known(Duration::ZERO), known(Duration::from_secs(60)));
        let profile = Profile {
            first_seen: Some(NOW.minus(Duration::from_secs(5))),
            registered_at: Some(NOW.minus(Duration::from_secs(50))),
            orders: vec![mine, other],
            ..Profile::default()
        };
        let account = profile.account(Some(mine.id), Some(other.entry.seller), NOW);
        assert_eq!((account.age_s, account.orders.len()), (50, 1));
        assert!(account.orders[0].same_seller && account.orders[0].age_s == 60);
        let of_buyer = profile.counterpart(other.entry.seller.into(), NOW);
        assert_eq!(of_buyer.orders_from_buyer_s, [60]);
    }

    #[test]
    fn every_event_of_an_order_teaches_its_stage() {
        let order = OrderSummary {
            order_uuid: OrderId::random(),
            buyer_uuid: BuyerId::random(),
            seller_uuid: SellerId::random(),
            title: "台灯".into(),
            product_count: 1,
            total: "19.90".parse().unwrap(),
        };
        let cancelled = |cancelled_by, was_paid| OrderEvent::OrderCancelled {
            order: order.clone(),
            cancelled_by,
            was_paid,
            to_buyer: Money::ZERO,
            products: vec![],
        };
        let payment_uuid = kernel::PaymentId::random();
        let created = OrderEvent::OrderCreated {
            order: order.clone(),
            expires_at: NOW,
        };
        let paid = OrderEvent::OrderPaid {
            order: order.clone(),
            payment_uuid,
        };
        let completed = OrderEvent::OrderCompleted {
            order: order.clone(),
            payment_uuid,
            to_seller: Money::ZERO,
        };
        for (event, stage, was_paid) in [
            (created, Stage::Placed, false),
            (paid, Stage::Paid, true),
            (completed, Stage::Completed, true),
            (cancelled(CancelledBy::Buyer, false), Stage::CalledOff, false),
            (cancelled(CancelledBy::Timeout, false), Stage::CalledOff, false),
            (cancelled(CancelledBy::Seller, true), Stage::Ended, true),
            (cancelled(CancelledBy::Service, true), Stage::Ended, true),
        ] {
            let lesson = Lesson::of(&event, NOW).unwrap();
            assert_eq!((lesson.entry.stage, lesson.was_paid), (stage, was_paid), "{event:?}");
            assert_eq!(lesson.entry.heard_late, stage != Stage::Placed);
        }
        let due = OrderEvent::OrderCompletionDue {
            order,
            completes_at: NOW,
        };
        assert_eq!(Lesson::of(&due, NOW), None);
    }
}
