//! Passwords: what is accepted, and how they are kept.

use std::fmt;
use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Longer than any password that the rules allow; keeps megabytes away from the hash.
const MAX_CHARACTERS: usize = 128;

/// A password as somebody typed it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

/// Why a password is not good enough for a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// It contains white space.
    Space,
    /// It has not 6 to 18 characters, or not two of digit, letter and special character.
    Simplicity,
}

/// A password as it is kept: a PHC string of argon2id; or, until its user logs in again, what the older system kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// Hashing failed; a fault of the machine, not of the password.
#[derive(Debug, thiserror::Error)]
#[error("the password can not be hashed: {0}")]
pub struct HashError(argon2::password_hash::Error);

impl Password {
    /// Whether nothing was typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with it as the password of a new account, if anything.
    #[must_use]
    pub fn weakness(&self) -> Option<Weakness> {
        if self.0.chars().any(char::is_whitespace) {
            return Some(Weakness::Space);
        }
        let kinds = [
            self.0.chars().any(|c| c.is_numeric()),
            self.0.chars().any(char::is_alphabetic),
            self.0.chars().any(|c| !c.is_alphanumeric()),
        ];
        let enough = kinds.into_iter().filter(|kind| *kind).count() >= 2;
        let fits = (6..=18).contains(&self.0.chars().count());
        (!enough || !fits).then_some(Weakness::Simplicity)
    }

    /// Hashes it with a fresh salt. Takes some 20 ms of a whole processor and 19 MiB, on purpose.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn hash(&self) -> Result<PasswordHash, HashError> {
        hasher()
            .hash_password(self.0.as_bytes())
            .map(|hash| PasswordHash(hash.to_string()))
            .map_err(HashError)
    }
}

impl PasswordHash {
    /// What the older system kept, `pbkdf2_sha256$<iterations>$<salt>$<hash>`: the first log-in makes a newer hash of it.
    /// `None`: no password fits this text.
    #[must_use]
    pub fn imported(text: &str) -> Option<Self> {
        Django::read(text).map(|_| Self(text.to_owned()))
    }

    /// For an account whose hash could not be imported: no password fits.
    #[must_use]
    pub fn of_nobody() -> Self {
        nobody()
    }

    /// The text that is stored.
    #[must_use]
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    /// Whether it is the hash of `password`.
    #[must_use]
    pub fn is_of(&self, password: &Password) -> bool {
        if let Some(django) = Django::read(&self.0) {
            return django.is_of(password);
        }
        Phc::new(&self.0).is_ok_and(|hash| hasher().verify_password(password.0.as_bytes(), &hash).is_ok())
    }

    /// Whether it was made by other rules than today's, so that it should be made anew when the password is at hand.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let Ok(hash) = Phc::new(&self.0) else { return true };
        let made_with = Params::try_from(&hash).ok();
        hash.algorithm != Algorithm::Argon2id.ident() || made_with.as_ref().map(costs) != Some(costs(&PARAMS))
    }
}

/// A hash by Django's `PBKDF2PasswordHasher`, as its documentation describes the text.
struct Django<'a> {
    iterations: NonZeroU32,
    salt: &'a str,
    hash: Vec<u8>,
}

/// Django's own default has grown to 1 200 000 over the years; a stored number must not keep a function busy for longer.
const MOST_ITERATIONS: u32 = 2_000_000;

impl<'a> Django<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("pbkdf2_sha256$")?.splitn(3, '$');
        let iterations: NonZeroU32 = parts.next()?.parse().ok()?;
        let salt = parts.next().filter(|salt| !salt.is_empty())?;
        let hash = BASE64.decode(parts.next()?).ok()?;
        (iterations.get() <= MOST_ITERATIONS && hash.len() == 32).then_some(Self { iterations, salt, hash })
    }

    fn is_of(&self, password: &Password) -> bool {
        let (salt, password) = (self.salt.as_bytes(), password.0.as_bytes());
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, self.iterations, salt, password, &self.hash).is_ok()
    }
}

/// OWASP's argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = Params::DEFAULT;

fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

/// Costs as much time as checking `password` against a real hash. For accounts that do not exist: how long the answer
/// takes must not tell who has one.
pub fn check_against_nobody(password: &Password) {
    std::hint::black_box(nobody().is_of(password));
}

/// A hash by today's rules that no password is known to fit.
fn nobody() -> PasswordHash {
    PasswordHash(format!(
        "$argon2id$v=19$m={},t={},p={}$bm9ib2R5bm9ib2R5bm9ibw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        PARAMS.m_cost(),
        PARAMS.t_cost(),
        PARAMS.p_cost(),
    ))
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > MAX_CHARACTERS {
            return Err(de::Error::custom(format_args!(
                "must have at most {MAX_CHARACTERS} characters"
            )));
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(...)")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password(text.to_owned())
    }

    #[test]
    fn passwords_have_6_to_18_characters_of_two_kinds_and_no_space() {
        for (text, expected) in [
            ("abc123", None),
            ("cfmp-demo-1", None),
            ("密码密码12", None),
            ("!!!!!1", None),
            ("a1345678901234567", None),
            ("a13456789012345678", None),
            ("a1345678901234567x!", Some(Weakness::Simplicity)),
            ("abc12", Some(Weakness::Simplicity)),
            ("abcdef", Some(Weakness::Simplicity)),
            ("123456", Some(Weakness::Simplicity)),
            ("!!!!!!", Some(Weakness::Simplicity)),
            ("abc 123", Some(Weakness::Space)),
            ("abc\u{3000}123", Some(Weakness::Space)),
            (" ", Some(Weakness::Space)),
        ] {
            assert_eq!(password(text).weakness(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_hash_belongs_to_its_password_only_and_is_salted() {
        let (one, other) = (password("abc123").hash().unwrap(), password("abc123").hash().unwrap());
        assert!(one.is_of(&password("abc123")));
        assert!(!one.is_of(&password("abc124")));
        assert!(!one.is_of(&password("")));
        assert_ne!(one, other);
        assert!(one.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.0);
    }

    #[test]
    fn hashes_by_older_rules_are_found_and_still_fit() {
        assert!(!password("abc123").hash().unwrap().is_outdated());
        let weaker = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8192, 1, 1, None).unwrap(),
        );
        let older = PasswordHash(weaker.hash_password(b"abc123").unwrap().to_string());
        assert!(older.is_outdated());
        assert!(older.is_of(&password("abc123")));
        assert!(PasswordHash("no hash at all".into()).is_outdated());
        assert!(!PasswordHash("no hash at all".into()).is_of(&password("abc123")));
    }

    /// Made with Python: `hashlib.pbkdf2_hmac("sha256", b"abc123", b"seasalt", 1000)`.
    #[test]
    fn a_hash_of_the_older_system_fits_its_password_and_is_outdated() {
        let text = "pbkdf2_sha256$1000$seasalt$8XaDGBL3lVz4jJwUa2tEnOrb5n/tmm4jwD4Wd22hMX4=";
        let older = PasswordHash::imported(text).unwrap();
        assert!(older.is_of(&password("abc123")));
        assert!(!older.is_of(&password("abc124")) && !older.is_of(&password("")));
        assert!(older.is_outdated());
        for text in [
            "",
            "!unusable",
            "md5$seasalt$f5531bef9f3687d0ccf0f617f0e25573",
            "pbkdf2_sha256$0$seasalt$8XaDGBL3lVz4jJwUa2tEnOrb5n/tmm4jwD4Wd22hMX4=",
            "pbkdf2_sha256$9000000$seasalt$8XaDGBL3lVz4jJwUa2tEnOrb5n/tmm4jwD4Wd22hMX4=",
            "pbkdf2_sha256$1000$$8XaDGBL3lVz4jJwUa2tEnOrb5n/tmm4jwD4Wd22hMX4=",
            "pbkdf2_sha256$1000$seasalt$c2hvcnQ=",
        ] {
            assert!(PasswordHash::imported(text).is_none(), "{text}");
        }
    }

    #[test]
    fn checking_against_nobody_is_the_same_work_as_checking_against_somebody() {
        let (nobody, somebody) = (nobody(), password("abc123").hash().unwrap());
        assert!(!nobody.is_outdated());
        assert_eq!(nobody.0.len(), somebody.0.len());
        assert!(!nobody.is_of(&password("abc123")) && !nobody.is_of(&password("")));
    }

    #[test]
    fn neither_passwords_nor_hashes_can_be_logged() {
        let shown = format!("{:?} {:?}", password("abc123"), password("abc123").hash().unwrap());
        assert_eq!(shown, "Password(...) PasswordHash(...)");
    }

    #[test]
    fn megabytes_are_not_hashed() {
        assert!(serde_json::from_str::<Password>(&format!("\"{}\"", "密".repeat(128))).is_ok());
        let error = serde_json::from_str::<Password>(&format!("\"{}\"", "a".repeat(129))).unwrap_err();
        assert!(error.to_string().starts_with("must have at most 128 characters"));
    }
}
