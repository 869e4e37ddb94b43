//! Sealing personal data before it is stored.
//!
//! AES-256-GCM with the owner's id as associated data, so that sealed text can not be moved to another item. The sealed
//! text names its key, so that a new key can come into use while older texts stay readable.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::{Seed, SeedError};

/// A text that can not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed with a key that this deployment does not have (any more).
    #[error("it is sealed with an unknown key")]
    UnknownKey,
    /// Not what was sealed for this owner; or the cipher refuses, which it does for no input of ours.
    #[error("it can not be sealed or opened")]
    Broken,
}

/// Seals and opens texts of one purpose.
pub struct Seal {
    keys: Vec<(String, LessSafeKey)>,
}

impl Seal {
    /// The keys that `seed` holds for `purpose`: the current one seals, all of them open.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn derive(seed: &Seed, purpose: &str) -> Result<Self, SeedError> {
        let keys = seed
            .keys(purpose)?
            .iter()
            .map(|bytes| {
                let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SeedError::Derivation)?;
                let hash = digest::digest(&digest::SHA256, bytes);
                let id = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                Ok((id, LessSafeKey::new(key)))
            })
            .collect::<Result<_, SeedError>>()?;
        Ok(Self { keys })
    }

    /// Seals `text` for `owner` with the newest key: `<key id>.<base64 of nonce and ciphertext>`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, owner: &[u8], text: Vec<u8>) -> Result<String, SealError> {
        let (id, key) = self.keys.first().ok_or(SealError::UnknownKey)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Broken)?;
        let mut text = text;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut text)
            .map_err(|_| SealError::Broken)?;
        Ok(format!("{id}.{}", BASE64.encode([&nonce[..], &text].concat())))
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, owner: &[u8], sealed: &str) -> Result<Vec<u8>, SealError> {
        let (id, text) = sealed.split_once('.').ok_or(SealError::Broken)?;
        let (_, key) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or(SealError::UnknownKey)?;
        let bytes = BASE64.decode(text).map_err(|_| SealError::Broken)?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
        let mut ciphertext = ciphertext.to_vec();
        let opened = key
            .open_in_place(nonce, Aad::from(owner), &mut ciphertext)
            .map_err(|_| SealError::Broken)?;
        Ok(opened.to_vec())
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

    fn seal(seed: &str, purpose: &str) -> Seal {
        Seal::derive(&seed.parse().unwrap(), purpose).unwrap()
    }

    #[test]
    fn a_text_opens_only_for_its_owner_and_its_purpose() {
        let seed = format!(r#"{{"seed": "{}"}}"#, "a".repeat(40));
        let (here, there) = (seal(&seed, "here"), seal(&seed, "there"));
        let sealed = here.seal(b"mine", b"3-101".to_vec()).unwrap();
        assert!(!sealed.contains("3-101"));
        assert_eq!(here.open(b"mine", &sealed), Ok(b"3-101".to_vec()));
        assert_eq!(here.open(b"yours", &sealed), Err(SealError::Broken));
        assert_eq!(there.open(b"mine", &sealed), Err(SealError::UnknownKey));
        assert_ne!(
            here.seal(b"mine", b"3-101".to_vec()),
            Ok(sealed),
            "a nonce is used once"
        );
    }

    #[test]
    fn what_an_older_key_sealed_stays_readable_after_a_rotation() {
        let (old, new) = ("a".repeat(40), "b".repeat(40));
        let sealed = seal(&format!(r#"{{"seed": "{old}"}}"#), "x")
            .seal(b"me", b"text".to_vec())
            .unwrap();
        let rotated = seal(&format!(r#"{{"seed": "{new}", "previous_seed": "{old}"}}"#), "x");
        assert_eq!(rotated.open(b"me", &sealed), Ok(b"text".to_vec()));
        let forgotten = seal(&format!(r#"{{"seed": "{new}"}}"#), "x");
        assert_eq!(forgotten.open(b"me", &sealed), Err(SealError::UnknownKey));
        for broken in ["", "x", ".", "deadbeef.", "deadbeef.!"] {
            assert!(rotated.open(b"me", broken).is_err(), "{broken}");
        }
    }
}
