//! Certificates, of which Alipay wants to be told the serial number: its own reckoning, not X.509's.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate as X509;
use x509_cert::der::{Decode, Encode};

/// Every signature algorithm of PKCS #1, RSA.
const PKCS_1: &str = "1.2.840.113549.1.1.";

/// What is needed of a certificate.
pub(super) struct Certificate {
    /// The number by which Alipay knows it.
    pub(super) serial_number: String,
    /// Its public key, as SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// The same, without the frame that names the algorithm.
    pub(super) bare_public_key: Vec<u8>,
    is_signed_with_rsa: bool,
}

impl Certificate {
    /// Reads every certificate in `pem`. The error says what is wrong.
    pub(super) fn chain(pem: &str) -> Result<Vec<Self>, &'static str> {
        let mut chain = Vec::new();
        for section in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            chain.push(Self::read(&section.map_err(|_| "is not PEM")?)?);
        }
        match chain.is_empty() {
            true => Err("holds no certificate in PEM"),
            false => Ok(chain),
        }
    }

    /// Reads the only certificate in `pem`.
    pub(super) fn single(pem: &str) -> Result<Self, &'static str> {
        let mut chain = Self::chain(pem)?;
        match (chain.pop(), chain.is_empty()) {
            (Some(certificate), true) => Ok(certificate),
            _ => Err("must hold one certificate"),
        }
    }

    fn read(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = X509::from_der(der).map_err(|_| "is not an X.509 certificate")?;
        let content = certificate.tbs_certificate();
        let key = content.subject_public_key_info();
        let number = decimal(content.serial_number().as_bytes()).ok_or("has a serial number below zero")?;
        // RFC 4514, the last part of the encoded name first: `CN=..,OU=..,O=..,C=..`.
        let issuer = content.issuer();
        Ok(Self {
            serial_number: format!("{:x}", md5::compute(format!("{issuer}{number}"))),
            public_key: key.to_der().map_err(|_| "has a public key that can not be read")?,
            bare_public_key: key.subject_public_key.raw_bytes().to_vec(),
            is_signed_with_rsa: certificate.signature_algorithm().oid.to_string().starts_with(PKCS_1),
        })
    }
}

/// The number by which Alipay knows a chain of root certificates. Those that are not signed with RSA do not count.
pub(super) fn root_serial_number(chain: &[Certificate]) -> Option<String> {
    let counted = chain.iter().filter(|certificate| certificate.is_signed_with_rsa);
    let numbers: Vec<&str> = counted.map(|certificate| certificate.serial_number.as_str()).collect();
    (!numbers.is_empty()).then(|| numbers.join("_"))
}

/// A number that is not negative, in two's complement with the highest byte first, as decimal digits.
fn decimal(bytes: &[u8]) -> Option<String> {
    if bytes.first().is_none_or(|highest| *highest >= 0x80) {
        return None;
    }
    // The lowest digit first.
    let mut digits = vec![0_u16];
    for byte in bytes {
        let mut carry = u16::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            (*digit, carry) = (value % 10, value / 10);
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    Some(digits.iter().rev().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::super::vectors::VECTORS;
    use super::*;

    #[test]
    fn serial_numbers_are_those_that_another_implementation_reckons() {
        for name in ["app_certificate", "alipay_certificate", "alipay_next_certificate"] {
            let certificate = Certificate::single(VECTORS.key(name)).unwrap();
            assert_eq!(certificate.serial_number, VECTORS.serial_number(name), "{name}");
        }
        let roots = Certificate::chain(VECTORS.key("alipay_root_certificate")).unwrap();
        assert_eq!(roots.len(), 3);
        assert_eq!(
            root_serial_number(&roots).as_deref(),
            Some(VECTORS.serial_number("alipay_root_certificate"))
        );
        let without_rsa: Vec<_> = roots.into_iter().filter(|root| !root.is_signed_with_rsa).collect();
        assert_eq!(root_serial_number(&without_rsa), None);
    }

    #[test]
    fn a_serial_number_of_any_length_is_written_in_full() {
        assert_eq!(decimal(&[0]).as_deref(), Some("0"));
        assert_eq!(decimal(&[0x7f]).as_deref(), Some("127"));
        assert_eq!(decimal(&[0, 0xff]).as_deref(), Some("255"));
        let mut longest = vec![0x7f];
        longest.extend([0xff; 19]);
        assert_eq!(
            decimal(&longest).as_deref(),
            Some("730750818665451459101842416358141509827966271487"),
            "2^159 - 1"
        );
        assert_eq!(decimal(&[0x80]), None);
        assert_eq!(decimal(&[]), None);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let key = VECTORS.key("app_public_key");
        let chain = VECTORS.key("alipay_root_certificate");
        let broken = VECTORS.key("app_certificate").replace("MII", "AAA");
        for text in ["", "certificate", key, &broken] {
            assert!(Certificate::single(text).is_err(), "{text}");
        }
        assert!(Certificate::single(chain).is_err());
    }
}
