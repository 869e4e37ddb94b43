//! Fernet, as far as it has to be read: the tokens in which the monolith kept names, phones and addresses.
//!
//! The format is that of <https://github.com/fernet/spec>: version 0x80, 8 bytes of time, 16 of IV, AES-128-CBC with PKCS #7,
//! HMAC-SHA256 over all of it. The monolith made its key of the first 32 bytes of Django's `SECRET_KEY`.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Tokens were written with padding; whether it is still there does not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const KEY: usize = 32;
const HEAD: usize = 1 + 8 + 16;
const TAG: usize = 32;
const VERSION: u8 = 0x80;
/// How every token begins: the version, and the first bytes of a time before 2106.
const BEGINS: &str = "gAAAAA";

/// The key of the older system.
pub struct SecretKey([u8; KEY]);

/// What was in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Text that was never encrypted, or was decrypted.
    Plain(String),
    /// Looks like a token, and this key does not open it.
    Sealed,
}

/// A key that can not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file with the SECRET_KEY is empty")]
pub struct NoKey;

impl SecretKey {
    /// The key that the monolith made of Django's `SECRET_KEY`: its first 32 bytes, filled up with `=`.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn of(secret_key: &str) -> Result<Self, NoKey> {
        let secret_key = secret_key.trim_end_matches(['\n', '\r']);
        if secret_key.is_empty() {
            return Err(NoKey);
        }
        let mut key = [b'='; KEY];
        for (to, from) in key.iter_mut().zip(secret_key.bytes()) {
            *to = from;
        }
        Ok(Self(key))
    }

    /// What a field says: mixed data, because the monolith kept plain text where encrypting failed.
    #[must_use]
    pub fn read(&self, text: &str) -> Field {
        match Self::is_token(text).then(|| self.open(text)) {
            None => Field::Plain(text.to_owned()),
            Some(Some(plain)) => Field::Plain(plain),
            Some(None) => Field::Sealed,
        }
    }

    /// Whether a text looks like a token.
    #[must_use]
    pub fn is_token(text: &str) -> bool {
        text.starts_with(BEGINS)
    }

    /// A short name of the key that does not tell it: marks whose data a state is about.
    #[must_use]
    pub fn fingerprint(&self, text: &[u8]) -> [u8; 16] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), text);
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        short
    }

    fn open(&self, token: &str) -> Option<String> {
        let (signing, encryption) = self.0.split_at_checked(KEY / 2)?;
        let token = BASE64.decode(token.trim()).ok()?;
        let (signed, tag) = token.split_at_checked(token.len().checked_sub(TAG)?)?;
        let (head, sealed) = signed.split_at_checked(HEAD)?;
        if head.first() != Some(&VERSION) {
            return None;
        }
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, signing), signed, tag).ok()?;
        let iv: [u8; 16] = head.get(9..)?.try_into().ok()?;
        let key = UnboundCipherKey::new(&AES_128, encryption).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = key.decrypt(&mut sealed, DecryptionContext::Iv128(iv.into())).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

/// Hides the key: `Debug` ends up in logs.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &str = "TEST-ONLY-secret-key-for-vectors-0123456789";
    const ZHANG_SAN: &str =
        "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD9ysz64fu0pMNVaiBipK4J_34_MTvO4pOHn82d6ZFjNKTdxrRp291UlkJ4Dlb_bWjQ==";
    const PHONE: &str =
        "gAAAAABlU_EAAAECAwQFBgcICQoLDA0ODwz8WWEhQnP1zksBt7HPKpNenZg5Le9ensrdchhrbeOn6tUlIAKXDzGAGf-LAuOLNQ==";

    /// Made by Python's `cryptography` with fixed times and IVs.
    #[test]
    fn tokens_of_the_older_system_open_with_its_key() {
        for (secret_key, key, token, plain) in [
            (LONG, "VEVTVC1PTkxZLXNlY3JldC1rZXktZm9yLXZlY3RvcnM=", ZHANG_SAN, "张三"),
            (
                "short-key",
                "c2hvcnQta2V5PT09PT09PT09PT09PT09PT09PT09PT0=",
                PHONE,
                "13800138000",
            ),
        ] {
            let made = SecretKey::of(secret_key).unwrap();
            assert_eq!(BASE64.encode(made.0), key);
            assert_eq!(made.read(token), Field::Plain(plain.into()));
            assert_eq!(made.read(token.trim_end_matches('=')), Field::Plain(plain.into()));
            assert_eq!(format!("{made:?}"), "SecretKey(..)");
        }
        assert_eq!(
            SecretKey::of(&format!("{LONG}\n")).unwrap().read(ZHANG_SAN),
            Field::Plain("张三".into())
        );
        assert_eq!(SecretKey::of("\n").err(), Some(NoKey));
    }

    #[test]
    fn another_key_opens_nothing_and_plain_text_stays() {
        let key = SecretKey::of("another").unwrap();
        assert_eq!(key.read(ZHANG_SAN), Field::Sealed);
        for plain in ["", "张三", "13800138000", "gAAAA"] {
            assert_eq!(key.read(plain), Field::Plain(plain.into()));
        }
        assert_eq!(key.read("gAAAAA"), Field::Sealed);
    }

    proptest! {
        /// A token with any byte changed is not believed.
        #[test]
        fn a_damaged_token_stays_sealed(at in 6..90_usize, with in "[A-Za-z0-9]") {
            let mut token = ZHANG_SAN.to_owned();
            prop_assume!(token[at..=at] != with);
            token.replace_range(at..=at, &with);
            prop_assert_eq!(SecretKey::of(LONG).unwrap().read(&token), Field::Sealed);
        }
    }
}
