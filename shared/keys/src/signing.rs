//! Signing tokens with Ed25519 (RFC 8037, `alg: EdDSA`).

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::{Seed, SeedError};

/// The keys of one kind of token: the first signs, all are published. A key's `kid` is its RFC 7638 thumbprint.
pub struct SigningKeys {
    current: EncodingKey,
    key_id: String,
    published: JwkSet,
}

impl SigningKeys {
    /// The keys that `seed` holds for `purpose`.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn derive(seed: &Seed, purpose: &str) -> Result<Self, SeedError> {
        let mut keys = seed.keys(purpose)?.into_iter().map(|bytes| key_pair(&bytes));
        let (current, first) = keys.next().ok_or(SeedError::Derivation)??;
        let key_id = first.common.key_id.clone().ok_or(SeedError::Derivation)?;
        let mut published = vec![first];
        for older in keys {
            published.push(older?.1);
        }
        Ok(Self {
            current,
            key_id,
            published: JwkSet { keys: published },
        })
    }

    /// The public keys as a JWK set (RFC 7517).
    #[must_use]
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    pub(crate) fn sign<C: Serialize>(&self, claims: &C) -> Result<String, SeedError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.current).map_err(|_| SeedError::Derivation)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.key_id)
    }
}

fn key_pair(seed: &[u8; 32]) -> Result<(EncodingKey, Jwk), SeedError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SeedError::Derivation)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| SeedError::Derivation)?;
    let private = EncodingKey::from_ed_der(pkcs8.as_ref());
    let mut public = Jwk::from_encoding_key(&private, Algorithm::EdDSA).map_err(|_| SeedError::Derivation)?;
    public.common.key_id = Some(
        public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| SeedError::Derivation)?,
    );
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok((private, public))
}
