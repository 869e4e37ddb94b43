//! Where an order goes: personal data, sealed at rest.
//!
//! AES-256-GCM with the order's UUID as associated data, so that sealed text can not be moved to another order. The
//! stored text names its key, so that a new key can come into use while older orders stay readable.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use cloud::settings::SettingError;
use cloud::{Cloud, StartError};
use kernel::{OrderId, Text};
use keys::Seed;
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

/// Sealed particulars: `<key id>.<base64 of nonce and ciphertext>`.
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
pub struct Seal {
    keys: Vec<(String, LessSafeKey)>,
}

impl Seal {
    /// Reads the secret named by `SEALING_SECRET`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let seed: Seed = cloud.secret("SEALING_SECRET").await?;
        Self::derive(&seed).map_err(|reason| {
            SettingError::Wrong {
                name: "SEALING_SECRET",
                reason,
            }
            .into()
        })
    }

    fn derive(seed: &Seed) -> Result<Self, String> {
        let keys = seed
            .keys("order-particulars")
            .map_err(|error| error.to_string())?
            .iter()
            .map(|bytes| {
                let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|error| error.to_string())?;
                let hash = digest::digest(&digest::SHA256, bytes);
                let id = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                Ok((id, LessSafeKey::new(key)))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { keys })
    }

    /// Seals the particulars of an order with the newest key.
    ///
    /// # Errors
    /// [`SealError::Broken`] when the cipher refuses, which it does for no input of ours.
    pub fn seal(&self, order: OrderId, particulars: &Particulars) -> Result<SealedParticulars, SealError> {
        let (id, key) = self.keys.first().ok_or(SealError::UnknownKey(order))?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::Broken(order))?;
        let mut text = serde_json::to_vec(particulars).map_err(|_| SealError::Broken(order))?;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(order.uuid().as_bytes()),
            &mut text,
        )
        .map_err(|_| SealError::Broken(order))?;
        Ok(SealedParticulars(format!(
            "{id}.{}",
            BASE64.encode([&nonce[..], &text].concat())
        )))
    }

    /// Opens the particulars of an order.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, order: OrderId, sealed: &SealedParticulars) -> Result<Particulars, SealError> {
        let (id, text) = sealed.0.split_once('.').ok_or(SealError::Broken(order))?;
        let (_, key) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or(SealError::UnknownKey(order))?;
        let bytes = BASE64.decode(text).map_err(|_| SealError::Broken(order))?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Broken(order))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken(order))?;
        let mut ciphertext = ciphertext.to_vec();
        let text = key
            .open_in_place(nonce, Aad::from(order.uuid().as_bytes()), &mut ciphertext)
            .map_err(|_| SealError::Broken(order))?;
        serde_json::from_slice(text).map_err(|_| SealError::Broken(order))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
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
