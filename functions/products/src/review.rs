//! What buyers say of a product they received. Pure.

use kernel::{OrderId, ProductId, Text, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::error::ProductError;
use crate::orders::Deal;
use crate::stock::{Reservation, State};

/// The words of a review: 1 to 500 characters.
pub type Words = Text<1, 500>;

/// One to five stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rating(u8);

/// A number that is no rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to 5")]
pub struct NotARating;

impl Rating {
    /// The stars.
    #[must_use]
    pub fn stars(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Rating {
    type Error = NotARating;

    fn try_from(stars: u64) -> Result<Self, NotARating> {
        match u8::try_from(stars) {
            Ok(stars @ 1..=5) => Ok(Self(stars)),
            _ => Err(NotARating),
        }
    }
}

impl From<Rating> for u64 {
    fn from(rating: Rating) -> Self {
        Self::from(rating.0)
    }
}

/// All ratings of a product together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ratings {
    /// How many.
    pub count: u64,
    /// Their stars.
    pub stars: u64,
}

impl Ratings {
    /// The average with one decimal, rounded to the nearest; "0.0" where nobody rated.
    #[must_use]
    pub fn average(self) -> String {
        let tenths = match self.count {
            0 => 0,
            count => (self.stars * 20 + count) / (2 * count),
        };
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// A review. There is one of an order and a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Of what.
    pub product: ProductId,
    /// Bought with this order.
    pub order: OrderId,
    /// Who wrote it.
    pub author: UserId,
    /// What he called himself then.
    pub author_name: String,
    /// Stars.
    pub rating: Rating,
    /// Words.
    pub words: Words,
    /// When.
    pub created_at: Timestamp,
}

/// Whether `author` may review what the order `deal` holds, or held, of a product as `held`.
///
/// # Errors
/// [`ProductError::NotBought`] where he did not buy it with this order; [`ProductError::NotReceived`] where the order is
/// not completed.
pub fn may_review(author: UserId, deal: Option<Deal>, held: Option<Reservation>) -> Result<(), ProductError> {
    let deal = deal
        .filter(|deal| deal.buyer == author.into())
        .ok_or(ProductError::NotBought)?;
    match held.map(|held| held.state) {
        Some(State::Reserved { .. }) if deal.is_completed => Ok(()),
        Some(State::Reserved { .. }) => Err(ProductError::NotReceived),
        Some(State::Restored { .. } | State::Forestalled { .. }) | None => Err(ProductError::NotBought),
    }
}

#[cfg(test)]
mod tests {
    use kernel::Quantity;

    use super::*;
    use crate::stock::Claim;

    #[test]
    fn ratings_are_one_to_five_stars_and_their_average_has_one_decimal() {
        for stars in 1..=5_u64 {
            assert_eq!(u64::from(Rating::try_from(stars).unwrap()), stars);
        }
        assert!(Rating::try_from(0).is_err() && Rating::try_from(6).is_err() && Rating::try_from(256).is_err());
        for (count, stars, average) in [
            (0, 0, "0.0"),
            (1, 5, "5.0"),
            (3, 13, "4.3"),
            (3, 14, "4.7"),
            (20, 89, "4.5"),
        ] {
            assert_eq!(Ratings { count, stars }.average(), average, "{stars}/{count}");
        }
    }

    #[test]
    fn who_bought_and_received_it_may_review_it() {
        let (author, at) = (UserId::random(), Timestamp::from_millis(1));
        let deal = |buyer: UserId, is_completed| Deal {
            buyer: buyer.into(),
            is_completed,
        };
        let claim = Claim {
            order: OrderId::random(),
            product: ProductId::random(),
            quantity: Quantity::new(1).unwrap(),
        };
        let held = |state| {
            Some(Reservation {
                claim,
                state,
                created_at: at,
                version: 1,
            })
        };
        let kept = held(State::Reserved { due_at: None });
        for (deal, held, refusal) in [
            (Some(deal(author, true)), kept, None),
            (Some(deal(author, false)), kept, Some("not-received")),
            (Some(deal(UserId::random(), true)), kept, Some("not-bought")),
            (None, kept, Some("not-bought")),
            (Some(deal(author, true)), None, Some("not-bought")),
            (
                Some(deal(author, true)),
                held(State::Restored { at }),
                Some("not-bought"),
            ),
            (
                Some(deal(author, true)),
                held(State::Forestalled { at }),
                Some("not-bought"),
            ),
        ] {
            let refused = may_review(author, deal, held)
                .err()
                .map(|error| http_function::Problem::from(error).kind());
            assert_eq!(refused, refusal, "{deal:?} {held:?}");
        }
    }
}
