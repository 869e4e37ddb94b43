//! Passwords: what is accepted, and how they are kept.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
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

/// A password as it is kept: a PHC string of argon2id.
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
    /// Whether it is the hash of `password`.
    #[must_use]
    pub fn is_of(&self, password: &Password) -> bool {
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
