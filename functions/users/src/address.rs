//! Where somebody lives: personal data, sealed at rest.

use std::fmt;

use cloud::{Cloud, StartError};
use kernel::{Text, UserId};
use keys::{Seal, SealError, Seed, SeedError};
use serde::{Deserialize, Serialize};

/// Where somebody lives, to fill in when he orders: at most 200 characters.
pub type Address = Text<0, 200>;

/// An address as it is stored: only the user's own function opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedAddress(String);

impl fmt::Debug for SealedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedAddress")
    }
}

/// Seals and opens addresses. Sealed text belongs to its user's UUID, so that it can not be moved to another account.
#[derive(Debug)]
pub struct AddressSeal(Seal);

impl AddressSeal {
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
        Seal::derive(seed, "user-addresses").map(Self)
    }

    /// Seals the address of a user with the newest key. An empty address is none.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, user: UserId, address: &Address) -> Result<Option<SealedAddress>, SealError> {
        if address.is_empty() {
            return Ok(None);
        }
        let text = address.as_bytes().to_vec();
        self.0
            .seal(user.uuid().as_bytes(), text)
            .map(|sealed| Some(SealedAddress(sealed)))
    }

    /// Opens the address of a user; none is empty.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, user: UserId, sealed: Option<&SealedAddress>) -> Result<Address, SealError> {
        let text = match sealed {
            Some(SealedAddress(sealed)) => self.0.open(user.uuid().as_bytes(), sealed)?,
            None => Vec::new(),
        };
        let text = String::from_utf8(text).map_err(|_| SealError::Broken)?;
        text.parse().map_err(|_| SealError::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_opens_for_its_user_only_and_none_is_empty() {
        let seed = format!(r#"{{"seed": "{}"}}"#, "a".repeat(40)).parse().unwrap();
        let seal = AddressSeal::derive(&seed).unwrap();
        let (user, other) = (UserId::random(), UserId::random());
        let sealed = seal.seal(user, &"3号楼 101".parse().unwrap()).unwrap().unwrap();
        assert!(!serde_json::to_string(&sealed).unwrap().contains("101"));
        assert_eq!(seal.open(user, Some(&sealed)).unwrap().as_str(), "3号楼 101");
        assert_eq!(seal.open(other, Some(&sealed)), Err(SealError::Broken));
        assert_eq!(seal.seal(user, &"  ".parse().unwrap()), Ok(None));
        assert_eq!(seal.open(user, None).unwrap().as_str(), "");
        assert_eq!(format!("{sealed:?}"), "SealedAddress");
    }
}
