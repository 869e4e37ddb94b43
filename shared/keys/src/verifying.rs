//! Verifying tokens against a published key set, or against a shared secret for an external user service.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::{Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the expected kind: malformed, wrong algorithm, signature, issuer or audience.
    #[error("the token is not valid")]
    Invalid,
    /// Signed with a key that is not in the set. A newer set may have it.
    #[error("the token's key is not known")]
    UnknownKey,
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
    /// Its user was banned, or lost a privilege, after it was issued.
    #[error("the token was revoked")]
    Revoked,
}

/// What ends a user's log-ins before their time: tokens issued until then prove nothing any more.
///
/// Revocations are published with the keys of user tokens, in a member `revoked` of the JWK set (RFC 7517 lets others pass
/// it over): functions fetch the set anyway, so a ban reaches all of them without a call more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose tokens.
    pub user_uuid: UserId,
    /// Issued until this moment, in seconds since 1970.
    pub until: i64,
}

/// The keys that tokens of one kind are verified with.
pub struct KeySet {
    keys: HashMap<String, DecodingKey>,
    shared_secret: Option<DecodingKey>,
    revoked: HashMap<UserId, i64>,
}

#[derive(Default, Deserialize)]
struct Revoked {
    #[serde(default)]
    revoked: Vec<Revocation>,
}

/// What every token says, around what its kind says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims<C> {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(flatten)]
    pub(crate) kind: C,
}

/// Clocks of two hosts may differ by this much.
const LEEWAY_SECONDS: i64 = 5;

impl KeySet {
    /// Reads a JWK set (RFC 7517). Keys other than Ed25519 with a `kid` are passed over: nothing of ours signs with them.
    /// Its member `revoked`, where there is one, is a list of [`Revocation`]s.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when it is no JWK set at all, or its revocations can not be read.
    pub fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|_| TokenError::Invalid)?;
        let keys = set
            .keys
            .iter()
            .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)))
            .collect();
        let Revoked { revoked } = serde_json::from_slice(json).map_err(|_| TokenError::Invalid)?;
        Ok(Self {
            keys,
            shared_secret: None,
            revoked: revoked.iter().map(|one| (one.user_uuid, one.until)).collect(),
        })
    }

    /// No published keys; only tokens signed with HS256 and `secret` are accepted.
    #[must_use]
    pub fn of_shared_secret(secret: &[u8]) -> Self {
        Self {
            keys: HashMap::new(),
            shared_secret: Some(DecodingKey::from_secret(secret)),
            revoked: HashMap::new(),
        }
    }

    /// Whether a token of `user` that was issued at `issued_at` (seconds since 1970) was revoked since.
    pub(crate) fn has_revoked(&self, user: UserId, issued_at: i64) -> bool {
        self.revoked.get(&user).is_some_and(|until| issued_at <= *until)
    }

    pub(crate) fn claims<C: DeserializeOwned>(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Claims<C>, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        // The key decides the algorithm, never the token: a token's own `alg` is only compared with it.
        let (key, algorithm) = match (&self.shared_secret, header.kid) {
            (Some(secret), _) => (secret, Algorithm::HS256),
            (None, Some(kid)) => (self.keys.get(&kid).ok_or(TokenError::UnknownKey)?, Algorithm::EdDSA),
            (None, None) => return Err(TokenError::Invalid),
        };
        let mut rules = Validation::new(algorithm);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The library would compare with the system's clock; the function's clock is asked below.
        rules.validate_exp = false;
        let claims: Claims<C> = jsonwebtoken::decode(token, key, &rules)
            .map(|data| data.claims)
            .map_err(|_| TokenError::Invalid)?;
        if now.seconds() >= claims.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::Expired);
        }
        if claims
            .nbf
            .is_some_and(|from| now.seconds().saturating_add(LEEWAY_SECONDS) < from)
        {
            return Err(TokenError::Invalid);
        }
        Ok(claims)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

/// The audience that an unverified token names: good for choosing keys, proof of nothing.
#[must_use]
pub fn audience(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Audience {
        aud: String,
    }
    jsonwebtoken::dangerous::insecure_decode::<Audience>(token)
        .ok()
        .map(|data| data.claims.aud)
}
