//! Where an order goes: personal data, sealed at rest.
//!
//! Sealed text belongs to its order's UUID, so that it can not be moved to another order; see `keys::sealing`.

use std::fmt;

use cloud::{Cloud, StartError};
use kernel::{OrderId, Text};
use keys::{Seed, SeedError};
use serde::{Deserialize, Serialize};

/// What the buyer tells about himself. Never logged, never in events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Particulars {
    /// Who receives it.
    pub shipping_name: Text<1, 100>,
    /// His phone.
    pub shipping_phone: Text<3, 30>,
    /// Where.
    pub shipping_address: Text<1, 300>,
    /// Postal code.
    #[serde(default)]
    pub shipping_postal_code: Option<Text<0, 20>>,
    /// A word to the seller.
    #[serde(default)]
    pub remark: Option<Text<0, 500>>,
}

/// Sealed particulars.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedParticulars(String);

impl SealedParticulars {
    /// As read from the table.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As written to the table.
    #[must_use]
    pub fn as_stored(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedParticulars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedParticulars")
    }
}

/// Particulars that can not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed with a key that this deployment does not have (any more).
    #[error("the particulars of the order {0} are sealed with an unknown key")]
    UnknownKey(OrderId),
    /// Not what was sealed for this order.
    #[error("the particulars of the order {0} can not be opened")]
    Broken(OrderId),
}

/// Seals and opens particulars.
#[derive(Debug)]
pub struct Seal(keys::Seal);

impl Seal {
    /// Reads the secret named by `SEALING_SECRET`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        cloud.derived("SEALING_SECRET", Self::derive).await
    }

    /// The keys that `seed` determines.
    ///
    /// # Errors
    /// Why the seed is none.
    pub fn derive(seed: &Seed) -> Result<Self, SeedError> {
        keys::Seal::derive(seed, "order-particulars").map(Self)
    }

    /// Seals the particulars of an order with the newest key.
    ///
    /// # Errors
    /// [`SealError::Broken`] when the cipher refuses, which it does for no input of ours.
    pub fn seal(&self, order: OrderId, particulars: &Particulars) -> Result<SealedParticulars, SealError> {
        let text = serde_json::to_vec(particulars).map_err(|_| SealError::Broken(order))?;
        self.0
            .seal(order.uuid().as_bytes(), text)
            .map(SealedParticulars)
            .map_err(|error| SealError::of(order, error))
    }

    /// Opens the particulars of an order.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, order: OrderId, sealed: &SealedParticulars) -> Result<Particulars, SealError> {
        let text = self
            .0
            .open(order.uuid().as_bytes(), &sealed.0)
            .map_err(|error| SealError::of(order, error))?;
        serde_json::from_slice(&text).map_err(|_| SealError::Broken(order))
    }
}

impl SealError {
    fn of(order: OrderId, error: keys::SealError) -> Self {
        match error {
            keys::SealError::UnknownKey => Self::UnknownKey(order),
            keys::SealError::Broken => Self::Broken(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(seed: &str) -> Seal {
        Seal::derive(&seed.parse().unwrap()).unwrap()
    }

    fn particulars() -> Particulars {
        Particulars {
            shipping_name: "张三".parse().unwrap(),
            shipping_phone: "13800138000".parse().unwrap(),
            shipping_address: "海淀区 1 号楼".parse().unwrap(),
            shipping_postal_code: None,
            remark: None,
        }
    }

    #[test]
    fn particulars_open_only_for_their_own_order() {
        let seal = seal(&format!(r#"{{"seed": "{}"}}"#, "a".repeat(40)));
        let (mine, other) = (OrderId::random(), OrderId::random());
        let sealed = seal.seal(mine, &particulars()).unwrap();
        assert!(!sealed.as_stored().contains("138"));
        assert_eq!(seal.open(mine, &sealed), Ok(particulars()));
        assert_eq!(seal.open(other, &sealed), Err(SealError::Broken(other)));
        assert_ne!(seal.seal(mine, &particulars()), Ok(sealed), "a nonce is used once");
    }

    #[test]
    fn what_an_older_key_sealed_stays_readable_after_a_rotation() {
        let (old, new) = ("a".repeat(40), "b".repeat(40));
        let id = OrderId::random();
        let sealed = seal(&format!(r#"{{"seed": "{old}"}}"#))
            .seal(id, &particulars())
            .unwrap();
        let rotated = seal(&format!(r#"{{"seed": "{new}", "previous_seed": "{old}"}}"#));
        assert_eq!(rotated.open(id, &sealed), Ok(particulars()));
        let forgotten = seal(&format!(r#"{{"seed": "{new}"}}"#));
        assert_eq!(forgotten.open(id, &sealed), Err(SealError::UnknownKey(id)));
    }
}
