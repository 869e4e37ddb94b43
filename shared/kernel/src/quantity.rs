//! How many pieces.

use serde::{Deserialize, Deserializer, Serialize, de};

/// A number of pieces of one product: 1 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(u16);

/// A number that is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to 999")]
pub struct NotAQuantity;

impl Quantity {
    /// The largest quantity of one product in one order.
    pub const MAX: u16 = 999;

    /// A quantity of `count`.
    ///
    /// # Errors
    /// [`NotAQuantity`] for zero and for more than [`Quantity::MAX`].
    pub fn new(count: u64) -> Result<Self, NotAQuantity> {
        match u16::try_from(count) {
            Ok(count @ 1..=Self::MAX) => Ok(Self(count)),
            _ => Err(NotAQuantity),
        }
    }

    /// The count.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl de::Visitor<'_> for Whole {
            type Value = Quantity;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number from 1 to 999")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Quantity, E> {
                Quantity::new(count).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Quantity, E> {
                u64::try_from(count)
                    .map_err(|_| NotAQuantity)
                    .and_then(Quantity::new)
                    .map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_in_range_are_quantities() {
        assert_eq!(serde_json::from_str::<Quantity>("999").unwrap().get(), 999);
        for json in [
            "0",
            "-1",
            "1000",
            "1.5",
            "1.0",
            "\"1\"",
            "null",
            "true",
            "18446744073709551616",
        ] {
            assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
        }
    }
}
