//! What a notification says, sealed under the merchant's APIv3 key.
//!
//! Platform certificates sign for many merchants: a notification that was sent to another one carries a signature that is
//! right. That it opens under our key is what makes it ours.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The one algorithm there is.
pub(super) const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// A sealed text, with what is needed to open it.
#[derive(Deserialize)]
pub(super) struct Sealed {
    /// [`ALGORITHM`].
    pub(super) algorithm: String,
    /// Base64; the 16 bytes at the end are the tag.
    pub(super) ciphertext: String,
    /// 12 characters, used as they are.
    pub(super) nonce: String,
    /// May be empty or absent.
    #[serde(default)]
    pub(super) associated_data: Option<String>,
    /// What kind of text it is: `transaction` or `refund`.
    pub(super) original_type: String,
}

/// The merchant's APIv3 keys, the current one first.
pub(super) struct ApiKeys(Vec<LessSafeKey>);

impl ApiKeys {
    /// Length of a key in bytes: it is 32 characters that a person typed, used as they are.
    pub(super) const LENGTH: usize = 32;

    /// `None` if one of them is no key.
    pub(super) fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let key = |key| UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new);
        keys.into_iter().map(key).collect::<Option<_>>().map(Self)
    }

    /// The text under the seal. The reason if it can not be had.
    pub(super) fn open(&self, sealed: &Sealed) -> Result<Vec<u8>, &'static str> {
        if sealed.algorithm != ALGORITHM {
            return Err("it is sealed in another way than AEAD_AES_256_GCM");
        }
        let ciphertext = STANDARD
            .decode(&sealed.ciphertext)
            .map_err(|_| "its ciphertext is no base64")?;
        let associated = sealed.associated_data.as_deref().unwrap_or_default();
        for key in &self.0 {
            let nonce = Nonce::try_assume_unique_for_key(sealed.nonce.as_bytes())
                .map_err(|_| "its nonce does not have 12 bytes")?;
            let mut text = ciphertext.clone();
            if let Ok(opened) = key.open_in_place(nonce, Aad::from(associated), &mut text) {
                let length = opened.len();
                text.truncate(length);
                return Ok(text);
            }
        }
        Err("it is sealed under none of our APIv3 keys")
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}
