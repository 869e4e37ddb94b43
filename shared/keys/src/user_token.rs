//! User tokens.

use std::time::Duration;

use kernel::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::verifying::Claims;
use crate::{KeySet, Seed, SeedError, SigningKeys, TokenError};

/// `iss` of the tokens that this system's own user service issues.
pub const ISSUER: &str = "cfmp";
/// `aud` of user tokens.
pub const AUDIENCE: &str = "cfmp-users";
/// How long a log-in lasts.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What a user may do beyond what is his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privilege {
    /// Buys and sells.
    #[default]
    Member,
    /// Runs the market.
    Administrator,
}

impl Privilege {
    /// The number that clients know: 1 for administrators, 0 for everybody else.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Member => 0,
            Self::Administrator => 1,
        }
    }

    /// The privilege that clients call `number`.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        if number == 1 { Self::Administrator } else { Self::Member }
    }
}

/// The person a user token speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Shown name at the time of the log-in.
    pub username: String,
    /// What he may do.
    pub privilege: Privilege,
    /// When the token was issued, to the second.
    pub issued_at: Timestamp,
    /// When the token ends.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Person {
    sub: UserId,
    #[serde(default)]
    username: String,
    #[serde(default)]
    privilege: u8,
}

/// Issues user tokens.
#[derive(Debug)]
pub struct UserTokens(SigningKeys);

impl UserTokens {
    /// Tokens signed with the user keys of `seed`.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn derive(seed: &Seed) -> Result<Self, SeedError> {
        SigningKeys::derive(seed, "user-tokens").map(Self)
    }

    /// The public keys.
    #[must_use]
    pub fn keys(&self) -> &SigningKeys {
        &self.0
    }

    /// A token for a user, valid from `now` for [`LIFETIME`].
    ///
    /// # Errors
    /// [`SeedError::Derivation`] when signing fails.
    pub fn issue(&self, id: UserId, username: &str, privilege: Privilege, now: Timestamp) -> Result<String, SeedError> {
        self.0.sign(&Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now.seconds(),
            exp: now.plus(LIFETIME).seconds(),
            nbf: None,
            kind: Person {
                sub: id,
                username: username.to_owned(),
                privilege: privilege.number(),
            },
        })
    }
}

impl User {
    /// The user whom `token` proves, at the time `now`. `issuer` is [`ISSUER`] unless an external user service is used.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(token: &str, keys: &KeySet, issuer: &str, now: Timestamp) -> Result<Self, TokenError> {
        let claims: Claims<Person> = keys.claims(token, issuer, AUDIENCE, now)?;
        if keys.has_revoked(claims.kind.sub, claims.iat) {
            return Err(TokenError::Revoked);
        }
        Ok(Self {
            id: claims.kind.sub,
            username: claims.kind.username,
            privilege: Privilege::from_number(claims.kind.privilege),
            issued_at: Timestamp::from_millis(claims.iat.saturating_mul(1000)),
            expires_at: Timestamp::from_millis(claims.exp.saturating_mul(1000)),
        })
    }
}
