//! Keyed hashes: what stands for a text wherever the text itself must not be.

use std::fmt;

use aws_lc_rs::hmac;

use crate::{Seed, SeedError};

/// HMAC-SHA-256 with a key of its own, cut to 16 bytes: equal for equal texts, and telling nothing of them to whom the key
/// is not known. With another seed, others come out.
pub struct KeyedHash(hmac::Key);

impl KeyedHash {
    /// The key that the current seed holds for `purpose`.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn derive(seed: &Seed, purpose: &str) -> Result<Self, SeedError> {
        let keys = seed.keys(purpose)?;
        let current = keys.first().ok_or(SeedError::Derivation)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, current)))
    }

    /// The hash of `text`.
    #[must_use]
    pub fn of(&self, text: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.0, text.as_bytes());
        let mut hash = [0; 16];
        hash.iter_mut()
            .zip(tag.as_ref())
            .for_each(|(byte, tagged)| *byte = *tagged);
        hash
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_text_seed_and_purpose() {
        let seed = |letter: &str| -> Seed { format!(r#"{{"seed": "{}"}}"#, letter.repeat(40)).parse().unwrap() };
        let hash = |letter, purpose, text| KeyedHash::derive(&seed(letter), purpose).unwrap().of(text);
        let one = hash("a", "phones", "13800138000");
        assert_eq!(one, hash("a", "phones", "13800138000"));
        for other in [
            hash("a", "phones", "13800138001"),
            hash("b", "phones", "13800138000"),
            hash("a", "addresses", "13800138000"),
        ] {
            assert_ne!(one, other);
        }
    }
}
