//! Our private RSA key at a provider: PKCS#1 v1.5 with SHA-256, as Alipay's RSA2 and WeChat Pay's APIv3 both have it.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs1::RsaPrivateKeyRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::{Decode, Encode};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// A private key that signs.
///
/// Its form is read at once. Whether its numbers fit together is computed when it is first needed: that takes as long as
/// most of a function's other start, and a function that hears callbacks seldom signs anything.
pub(crate) struct SigningKey {
    /// PKCS #1.
    private: Vec<u8>,
    /// PKCS #1.
    public: Vec<u8>,
    pair: OnceLock<Option<RsaKeyPair>>,
}

/// 2048 bits.
const LEAST_BYTES: usize = 256;

/// It is no key that could sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::REASON)]
pub(crate) struct NoSigningKey;

impl NoSigningKey {
    /// What is wrong with it.
    pub(crate) const REASON: &str =
        "is not an RSA private key of at least 2048 bits, in PEM or base64, as PKCS #8 or PKCS #1";
}

impl SigningKey {
    /// Reads PEM, or the bare base64 that some tools hand out, of PKCS #8 or PKCS #1.
    pub(crate) fn read(text: &str) -> Result<Self, NoSigningKey> {
        let der = if text.contains("-----BEGIN") {
            match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
                Ok(PrivateKeyDer::Pkcs8(der)) => der.secret_pkcs8_der().to_vec(),
                Ok(PrivateKeyDer::Pkcs1(der)) => der.secret_pkcs1_der().to_vec(),
                _ => return Err(NoSigningKey),
            }
        } else {
            let packed: String = text.split_whitespace().collect();
            STANDARD.decode(packed).map_err(|_| NoSigningKey)?
        };
        let private = match PrivateKeyInfoRef::from_der(&der) {
            Ok(info) => info.private_key.as_bytes().to_vec(),
            Err(_) => der,
        };
        let numbers = RsaPrivateKeyRef::from_der(&private).map_err(|_| NoSigningKey)?;
        if numbers.modulus.as_bytes().len() < LEAST_BYTES {
            return Err(NoSigningKey);
        }
        let public = numbers.public_key().to_der().map_err(|_| NoSigningKey)?;
        Ok(Self {
            private,
            public,
            pair: OnceLock::new(),
        })
    }

    /// Its public half, PKCS #1.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Whether it signs.
    pub(crate) fn check(&self) -> Result<(), NoSigningKey> {
        self.pair().map(|_| ())
    }

    /// The signature of `text`, in base64.
    pub(crate) fn sign(&self, text: &[u8]) -> Result<String, NoSigningKey> {
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
            .map_err(|_| NoSigningKey)?;
        Ok(STANDARD.encode(signature))
    }

    fn pair(&self) -> Result<&RsaKeyPair, NoSigningKey> {
        let read = || RsaKeyPair::from_der(&self.private).ok();
        self.pair.get_or_init(read).as_ref().ok_or(NoSigningKey)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}
