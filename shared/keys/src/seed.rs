//! Seeds: random text in Secrets Manager from which every key is derived.
//!
//! CloudFormation can generate random text (`GenerateSecretString`) but no key pair. HKDF-SHA256 (RFC 5869) over that
//! text yields 32 uniform bytes per purpose, and any 32 bytes are an Ed25519 or AES-256 key. So a deployment needs no
//! manual key ceremony, and the local platform none at all.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hkdf;
use serde::Deserialize;

/// The secret text: `{"seed": "...", "previous_seed": "..."}`. To rotate, move `seed` to `previous_seed` and put a new
/// random text in its place: what the old one signed or sealed stays readable.
#[derive(Clone, Deserialize)]
pub struct Seed {
    seed: String,
    #[serde(default)]
    previous_seed: Option<String>,
}

/// A secret that is not a seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Not the JSON described at [`Seed`].
    #[error("it must be JSON such as {{\"seed\": \"<random text>\"}}")]
    NotASeed,
    /// Too short to be unguessable.
    #[error("each seed must have at least 32 characters")]
    TooShort,
    /// A key can not be derived.
    #[error("no key can be derived from it")]
    Derivation,
}

impl Seed {
    /// 32 bytes for `purpose`, current seed first, then the previous one where there is one.
    ///
    /// # Errors
    /// [`SeedError::Derivation`].
    pub fn keys(&self, purpose: &str) -> Result<Vec<[u8; 32]>, SeedError> {
        [Some(&self.seed), self.previous_seed.as_ref()]
            .into_iter()
            .flatten()
            .map(|seed| derive(seed, purpose))
            .collect()
    }
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(json: &str) -> Result<Self, SeedError> {
        let seed: Self = serde_json::from_str(json).map_err(|_| SeedError::NotASeed)?;
        let lengths = [Some(&seed.seed), seed.previous_seed.as_ref()];
        if lengths.into_iter().flatten().any(|text| text.len() < 32) {
            return Err(SeedError::TooShort);
        }
        Ok(seed)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

fn derive(seed: &str, purpose: &str) -> Result<[u8; 32], SeedError> {
    let pseudo_random_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"cfmp").extract(seed.as_bytes());
    let mut key = [0; 32];
    pseudo_random_key
        .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut key))
        .map_err(|_| SeedError::Derivation)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_seed_has_a_key_of_its_own() {
        let text = format!(
            r#"{{"seed": "{}", "previous_seed": "{}"}}"#,
            "a".repeat(32),
            "b".repeat(32)
        );
        let seed: Seed = text.parse().unwrap();
        let (tokens, sealing) = (seed.keys("tokens").unwrap(), seed.keys("sealing").unwrap());
        assert_eq!(tokens.len(), 2);
        assert_ne!(tokens[0], tokens[1]);
        assert_ne!(tokens[0], sealing[0]);
        assert_eq!(tokens, seed.keys("tokens").unwrap());
    }

    #[test]
    fn a_guessable_seed_is_refused() {
        assert!(matches!(
            r#"{"seed": "short"}"#.parse::<Seed>(),
            Err(SeedError::TooShort)
        ));
        assert!(matches!("seed".parse::<Seed>(), Err(SeedError::NotASeed)));
    }
}
