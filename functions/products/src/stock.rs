//! Stock, and what orders hold of it: one reservation per order and product. Pure.
//!
//! Whatever comes twice, late or in the wrong order: pieces on the shelf and pieces held by orders add up to what the
//! seller put there.

use std::time::Duration;

use kernel::{OrderId, ProductId, Quantity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::ProductError;
use crate::product::{Listing, Product};

/// How long a reservation stands before OrderService is asked whether the order came to be: many times what placing an
/// order takes at most, and short enough that goods do not vanish for half a day.
pub const LEASE: Duration = Duration::from_secs(15 * 60);
/// A lease that ends sooner is renewed when its order reserves again: the one who asks is still placing that order, and its
/// pieces must not go back on the shelf between this answer and the order. Many times what placing it takes at most.
pub const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);

/// An order's wish for pieces of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The order.
    pub order: OrderId,
    /// The product.
    pub product: ProductId,
    /// Pieces.
    pub quantity: Quantity,
}

/// What is true of a reservation in each state, and only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// The order holds the pieces.
    Reserved {
        /// When its lease ends; none once the order is known to exist, because the order's end then gives them back.
        due_at: Option<Timestamp>,
    },
    /// The pieces are on the shelf again.
    Restored {
        /// Since when.
        at: Timestamp,
    },
    /// Given back before it was made: nothing was held, and a reserve that comes late finds the door closed.
    Forestalled {
        /// Since when.
        at: Timestamp,
    },
}

/// What an order holds, or held, of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Whose, of what, how many.
    pub claim: Claim,
    /// Where it stands.
    pub state: State,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// What a reserve amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserving {
    /// Take the pieces off the shelf, with this new reservation.
    Take(Reservation),
    /// They were taken by an earlier call.
    Taken(Reservation),
    /// So they were, but the lease is about to end: keep this reservation instead.
    Renew(Reservation),
}

/// What a restore amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restoring {
    /// Put the reserved pieces back, with the reservation changed to this.
    GiveBack(Reservation),
    /// Nothing was reserved: keep this as a new reservation that can never be made.
    Forestall(Reservation),
    /// It was done by an earlier call.
    Done(Reservation),
}

/// What `claim` amounts to, given the product and the order's reservation as they are.
///
/// # Errors
/// [`ProductError::ReservationClosed`], [`ProductError::ReservationDiffers`], [`ProductError::NotOnSale`],
/// [`ProductError::OutOfStock`].
pub fn reserve(
    product: &Product,
    known: Option<Reservation>,
    claim: Claim,
    now: Timestamp,
) -> Result<Reserving, ProductError> {
    if let Some(known) = known {
        return match known.state {
            State::Reserved { due_at } if known.claim.quantity == claim.quantity => Ok(match due_at {
                Some(due_at) if due_at < now.plus(RENEWED_BEFORE) => {
                    let due_at = Some(now.plus(LEASE));
                    Reserving::Renew(known.changed(State::Reserved { due_at }))
                }
                _ => Reserving::Taken(known),
            }),
            State::Reserved { .. } => Err(ProductError::ReservationDiffers {
                reserved: known.claim.quantity,
            }),
            State::Restored { .. } | State::Forestalled { .. } => Err(ProductError::ReservationClosed),
        };
    }
    match product.listing {
        Listing::OnSale if product.stock >= u32::from(claim.quantity.get()) => {
            let state = State::Reserved {
                due_at: Some(now.plus(LEASE)),
            };
            Ok(Reserving::Take(Reservation {
                claim,
                state,
                created_at: now,
                version: 1,
            }))
        }
        Listing::OnSale => Err(ProductError::OutOfStock { left: product.stock }),
        Listing::Withdrawn | Listing::Banned | Listing::Unreviewed => Err(ProductError::NotOnSale),
        Listing::Removed => Err(ProductError::NotFound),
    }
}

/// What giving `claim` back amounts to. What was reserved goes back, whatever quantity the claim names.
#[must_use]
pub fn restore(known: Option<Reservation>, claim: Claim, now: Timestamp) -> Restoring {
    match known {
        None => {
            let state = State::Forestalled { at: now };
            Restoring::Forestall(Reservation {
                claim,
                state,
                created_at: now,
                version: 1,
            })
        }
        Some(known) => match known.state {
            State::Reserved { .. } => Restoring::GiveBack(known.given_back(now)),
            State::Restored { .. } | State::Forestalled { .. } => Restoring::Done(known),
        },
    }
}

/// A change of stock that a service asks for beside all orders, e.g. after a count: more pieces, or fewer; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Difference(i32);

/// A number that is no [`Difference`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from -{MAX_DIFFERENCE} to {MAX_DIFFERENCE}, and not 0")]
pub struct NotADifference;

/// Pieces that one call can add or take away.
pub const MAX_DIFFERENCE: i64 = 999;

impl Difference {
    /// Pieces; negative ones are taken away.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }

    /// What it makes of `stock`.
    ///
    /// # Errors
    /// [`ProductError::StockTooLow`] below zero, [`ProductError::StockTooHigh`] where it can not be counted any more.
    pub fn applied_to(self, stock: u32) -> Result<u32, ProductError> {
        match stock.checked_add_signed(self.0) {
            Some(after) => Ok(after),
            None if self.0 < 0 => Err(ProductError::StockTooLow { left: stock }),
            None => Err(ProductError::StockTooHigh),
        }
    }
}

impl TryFrom<i64> for Difference {
    type Error = NotADifference;

    fn try_from(pieces: i64) -> Result<Self, NotADifference> {
        i32::try_from(pieces)
            .ok()
            .filter(|_| pieces != 0 && pieces.abs() <= MAX_DIFFERENCE)
            .map(Self)
            .ok_or(NotADifference)
    }
}

/// A change of stock that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockChange {
    /// Of what.
    pub product: ProductId,
    /// By how much.
    pub difference: Difference,
    /// Pieces before.
    pub before: u32,
    /// Pieces after.
    pub after: u32,
}

/// Where an order stands, as far as its reservations care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStanding {
    /// It never came to be.
    Unknown,
    /// It was called off.
    Cancelled,
    /// It exists, and its end will give back what it holds if need be.
    Alive,
}

/// What the end of a lease amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Put the reserved pieces back, with the reservation changed to this.
    GiveBack(Reservation),
    /// The order keeps them; the reservation, changed to this, is due no more.
    Keep(Reservation),
    /// It is closed already, or not due.
    Nothing,
}

impl Reservation {
    /// What the end of its lease amounts to, given where the order stands.
    #[must_use]
    pub fn lease_ended(&self, order: OrderStanding, now: Timestamp) -> Release {
        match (self.state, order) {
            (State::Reserved { due_at: Some(due_at) }, OrderStanding::Unknown | OrderStanding::Cancelled)
                if due_at <= now =>
            {
                Release::GiveBack(self.given_back(now))
            }
            (State::Reserved { due_at: Some(due_at) }, OrderStanding::Alive) if due_at <= now => {
                Release::Keep(self.changed(State::Reserved { due_at: None }))
            }
            (State::Reserved { .. } | State::Restored { .. } | State::Forestalled { .. }, _) => Release::Nothing,
        }
    }

    fn given_back(&self, now: Timestamp) -> Self {
        self.changed(State::Restored { at: now })
    }

    fn changed(&self, state: State) -> Self {
        Self {
            state,
            version: self.version + 1,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::product::tests::lamp;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn claim(product: &Product, quantity: u64) -> Claim {
        Claim {
            order: OrderId::random(),
            product: product.id,
            quantity: Quantity::new(quantity).unwrap(),
        }
    }

    fn reservation(claim: Claim, state: State) -> Reservation {
        Reservation {
            claim,
            state,
            created_at: NOW,
            version: 4,
        }
    }

    /// Every state, "none yet" included, against everything that can happen to it.
    #[test]
    fn every_call_in_every_state_has_one_outcome() {
        let product = lamp(5);
        let (two, three) = (claim(&product, 2), claim(&product, 3));
        let other = Claim {
            quantity: three.quantity,
            ..two
        };
        let held = State::Reserved {
            due_at: Some(NOW.plus(LEASE)),
        };
        let states = [
            None,
            Some(held),
            Some(State::Restored { at: NOW }),
            Some(State::Forestalled { at: NOW }),
        ];
        let expected = [
            ("take", "take", "forestall"),
            ("taken", "reservation-differs", "give back"),
            ("reservation-closed", "reservation-closed", "done"),
            ("reservation-closed", "reservation-closed", "done"),
        ];
        let name = |outcome: Result<Reserving, ProductError>| match outcome {
            Ok(Reserving::Take(_)) => "take",
            Ok(Reserving::Taken(_)) => "taken",
            Ok(Reserving::Renew(_)) => "renewed",
            Err(error) => http_function::Problem::from(error).kind(),
        };
        for (state, (same, differing, back)) in states.into_iter().zip(expected) {
            let known = state.map(|state| reservation(two, state));
            assert_eq!(name(reserve(&product, known, two, NOW)), same, "{state:?}");
            assert_eq!(name(reserve(&product, known, other, NOW)), differing, "{state:?}");
            let restored = match restore(known, other, NOW) {
                Restoring::GiveBack(next) => {
                    assert_eq!((next.claim, next.version), (two, 5), "what was reserved goes back");
                    "give back"
                }
                Restoring::Forestall(_) => "forestall",
                Restoring::Done(_) => "done",
            };
            assert_eq!(restored, back, "{state:?}");
        }
    }

    #[test]
    fn a_lease_that_is_about_to_end_is_renewed_by_a_repeated_reserve() {
        let product = lamp(0);
        let wish = claim(&product, 2);
        let due_in = |span| {
            reservation(
                wish,
                State::Reserved {
                    due_at: Some(NOW.plus(span)),
                },
            )
        };
        let early = due_in(RENEWED_BEFORE);
        assert_eq!(
            reserve(&product, Some(early), wish, NOW).unwrap(),
            Reserving::Taken(early)
        );
        // Also one that is overdue: the sweep that would end it has not come to it.
        for span in [Duration::ZERO, RENEWED_BEFORE - Duration::from_millis(1)] {
            let Reserving::Renew(renewed) = reserve(&product, Some(due_in(span)), wish, NOW).unwrap() else {
                panic!("{span:?}");
            };
            assert_eq!((renewed.claim, renewed.version), (wish, 5), "nothing is taken again");
            let later = NOW.plus(LEASE).minus(Duration::from_millis(1));
            assert_eq!(renewed.lease_ended(OrderStanding::Unknown, later), Release::Nothing);
        }
        let kept = reservation(wish, State::Reserved { due_at: None });
        assert_eq!(
            reserve(&product, Some(kept), wish, NOW).unwrap(),
            Reserving::Taken(kept)
        );
    }

    #[test]
    fn only_what_is_offered_and_there_can_be_reserved() {
        for (listing, stock, quantity, refusal) in [
            (Listing::OnSale, 2, 2, None),
            (Listing::OnSale, 1, 2, Some("out-of-stock")),
            (Listing::OnSale, 0, 1, Some("out-of-stock")),
            (Listing::Withdrawn, 2, 2, Some("not-on-sale")),
            (Listing::Banned, 2, 2, Some("not-on-sale")),
            (Listing::Unreviewed, 2, 2, Some("not-on-sale")),
            (Listing::Removed, 2, 2, Some("not-found")),
        ] {
            let product = Product { listing, ..lamp(stock) };
            let refused = reserve(&product, None, claim(&product, quantity), NOW).err();
            let refused = refused.map(|error| http_function::Problem::from(error).kind());
            assert_eq!(refused, refusal, "{listing:?} {stock} {quantity}");
        }
    }

    #[test]
    fn a_difference_moves_stock_and_never_below_nothing() {
        let difference = |json: &str| serde_json::from_str::<Difference>(json);
        for (json, stock, after) in [
            ("-2", 2, Some(0)),
            ("-3", 2, None),
            ("5", 0, Some(5)),
            ("1", u32::MAX, None),
        ] {
            let difference = difference(json).unwrap();
            assert_eq!(difference.applied_to(stock).ok(), after, "{json} {stock}");
        }
        for json in [
            "0",
            "1000",
            "-1000",
            "1.5",
            "\"1\"",
            "null",
            "9223372036854775808",
            "[]",
        ] {
            assert!(difference(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_repeated_reserve_answers_the_same_when_nothing_is_left_any_more() {
        let product = Product {
            listing: Listing::Banned,
            ..lamp(0)
        };
        let claim = claim(&product, 1);
        let known = reservation(claim, State::Reserved { due_at: None });
        assert_eq!(
            reserve(&product, Some(known), claim, NOW).unwrap(),
            Reserving::Taken(known)
        );
    }

    #[test]
    fn the_end_of_a_lease_frees_what_no_order_holds() {
        use OrderStanding::{Alive, Cancelled, Unknown};
        let claim = claim(&lamp(1), 1);
        let states = [
            (
                State::Reserved { due_at: Some(NOW) },
                ["give back", "give back", "keep"],
            ),
            (
                State::Reserved {
                    due_at: Some(NOW.plus(LEASE)),
                },
                ["nothing", "nothing", "nothing"],
            ),
            (State::Reserved { due_at: None }, ["nothing", "nothing", "nothing"]),
            (State::Restored { at: NOW }, ["nothing", "nothing", "nothing"]),
            (State::Forestalled { at: NOW }, ["nothing", "nothing", "nothing"]),
        ];
        for (state, expected) in states {
            for (standing, expected) in [Unknown, Cancelled, Alive].into_iter().zip(expected) {
                let outcome = match reservation(claim, state).lease_ended(standing, NOW) {
                    Release::GiveBack(next) => {
                        assert_eq!(next.state, State::Restored { at: NOW });
                        "give back"
                    }
                    Release::Keep(next) => {
                        assert_eq!(next.state, State::Reserved { due_at: None });
                        "keep"
                    }
                    Release::Nothing => "nothing",
                };
                assert_eq!(outcome, expected, "{state:?} {standing:?}");
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Reserve { order: usize, quantity: u64 },
        Restore { order: usize, quantity: u64 },
        LeaseEnds { order: usize, standing: OrderStanding },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let standing = prop_oneof![
            Just(OrderStanding::Unknown),
            Just(OrderStanding::Cancelled),
            Just(OrderStanding::Alive)
        ];
        let step = prop_oneof![
            (0..4_usize, 1..4_u64).prop_map(|(order, quantity)| Step::Reserve { order, quantity }),
            (0..4_usize, 1..4_u64).prop_map(|(order, quantity)| Step::Restore { order, quantity }),
            (0..4_usize, standing).prop_map(|(order, standing)| Step::LeaseEnds { order, standing }),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Duplicates and wrong orders included: nothing is lost, nothing is invented, and what was closed stays closed.
        #[test]
        fn shelf_and_reservations_always_add_up(stock in 0..8_u32, steps in steps()) {
            let mut product = lamp(stock);
            let orders: Vec<OrderId> = (0..4).map(|_| OrderId::random()).collect();
            let mut ledger: HashMap<OrderId, Reservation> = HashMap::new();
            let mut now = NOW;
            for step in steps {
                now = now.plus(LEASE / 4);
                let (Step::Reserve { order, .. } | Step::Restore { order, .. } | Step::LeaseEnds { order, .. }) = step;
                let order = orders[order];
                let before = ledger.get(&order).copied();
                let wish = |quantity| Claim {
                    order, product: product.id, quantity: Quantity::new(quantity).unwrap()
                };
                match step {
                    Step::Reserve { quantity, .. } => {
                        if let Ok(Reserving::Take(new)) = reserve(&product, before, wish(quantity), now) {
                            product.stock = product.stock.checked_sub(u32::from(new.claim.quantity.get())).unwrap();
                            prop_assert!(ledger.insert(order, new).is_none());
                        }
                    }
                    Step::Restore { quantity, .. } => match restore(before, wish(quantity), now) {
                        Restoring::GiveBack(next) => {
                            product.stock += u32::from(next.claim.quantity.get());
                            ledger.insert(order, next);
                        }
                        Restoring::Forestall(new) => prop_assert!(ledger.insert(order, new).is_none()),
                        Restoring::Done(same) => prop_assert_eq!(Some(same), before),
                    },
                    Step::LeaseEnds { standing, .. } => match before.map(|known| known.lease_ended(standing, now)) {
                        Some(Release::GiveBack(next)) => {
                            product.stock += u32::from(next.claim.quantity.get());
                            ledger.insert(order, next);
                        }
                        Some(Release::Keep(next)) => {
                            ledger.insert(order, next);
                        }
                        Some(Release::Nothing) | None => {}
                    },
                }
                let held: u32 = ledger
                    .values()
                    .filter(|known| matches!(known.state, State::Reserved { .. }))
                    .map(|known| u32::from(known.claim.quantity.get()))
                    .sum();
                prop_assert_eq!(product.stock + held, stock);
                if let Some(before) = before.filter(|known| !matches!(known.state, State::Reserved { .. })) {
                    prop_assert_eq!(ledger.get(&order), Some(&before));
                }
            }
        }
    }
}
