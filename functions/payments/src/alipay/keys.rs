//! The keys: ours that signs, Alipay's that verify, and the serial numbers of both in certificate mode.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};

use super::certificate::{Certificate, root_serial_number};
use crate::signing_key::{NoSigningKey, SigningKey};

/// The member of the secret that is ours alone.
const PRIVATE_KEY: &str = "app_private_key";

/// What the secret holds. Its text is JSON, in one of two modes:
///
/// - keys: `{"app_private_key": "..", "alipay_public_keys": ["..", ..]}`
/// - certificates: `{"app_private_key": "..", "app_certificate": "..", "alipay_root_certificate": "..",
///   "alipay_certificates": ["..", ..]}`
///
/// Keys are PEM or the bare base64 that Alipay's tools hand out: a private key as PKCS #8 or PKCS #1, a public one as
/// SubjectPublicKeyInfo. Certificates are PEM. Several of Alipay's at once, so that its changing them loses no callback.
pub(super) struct Keys {
    ours: SigningKey,
    theirs: Vec<TheirKey>,
    serial_numbers: Option<SerialNumbers>,
}

struct TheirKey {
    /// In certificate mode.
    serial_number: Option<String>,
    key: ParsedPublicKey,
}

/// What a request says of the certificates it is made under.
pub(super) struct SerialNumbers {
    pub(super) app: String,
    pub(super) root: String,
}

/// A secret that can not be used. Never its text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeysError {
    #[error(
        "it must be a JSON object with app_private_key and alipay_public_keys, or with app_private_key, app_certificate, \
         alipay_root_certificate and alipay_certificates"
    )]
    NotAnObject,
    #[error("its member {0} is missing or empty")]
    Missing(String),
    #[error("its member {member} {reason}")]
    Wrong { member: String, reason: &'static str },
}

/// Why a signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub(super) enum NotSigned {
    NotBase64,
    UnknownCertificate,
    Wrong,
}

impl NotSigned {
    /// What is wrong.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotBase64 => "it is not base64",
            Self::UnknownCertificate => "it is by a certificate that is not configured",
            Self::Wrong => "it is wrong",
        }
    }
}

impl Keys {
    /// Signs `text`, in base64. `None` where the key is none that signs: [`Keys::check`] says so before.
    pub(super) fn sign(&self, text: &str) -> Option<String> {
        self.ours.sign(text.as_bytes()).ok()
    }

    /// Whether our key signs.
    pub(super) fn check(&self) -> Result<(), KeysError> {
        self.ours.check().map_err(|_| wrong(PRIVATE_KEY)(NoSigningKey::REASON))
    }

    /// Whether `signature` is Alipay's of `text`; by the certificate of that serial number, where one is named.
    pub(super) fn verify(&self, text: &str, signature: &str, serial_number: Option<&str>) -> Result<(), NotSigned> {
        let signature = STANDARD.decode(signature).map_err(|_| NotSigned::NotBase64)?;
        // Public keys have no number: in that mode a named one is not looked at.
        let named = serial_number.filter(|_| self.serial_numbers.is_some());
        let mut verdict = NotSigned::UnknownCertificate;
        for theirs in &self.theirs {
            if named.is_some() && theirs.serial_number.as_deref() != named {
                continue;
            }
            match theirs.key.verify_sig(text.as_bytes(), &signature) {
                Ok(()) => return Ok(()),
                Err(_) => verdict = NotSigned::Wrong,
            }
        }
        Err(verdict)
    }

    /// In certificate mode, what requests say of it.
    pub(super) fn serial_numbers(&self) -> Option<&SerialNumbers> {
        self.serial_numbers.as_ref()
    }
}

impl FromStr for Keys {
    type Err = KeysError;

    fn from_str(json: &str) -> Result<Self, KeysError> {
        let secret: Map<String, Value> = serde_json::from_str(json).map_err(|_| KeysError::NotAnObject)?;
        let ours =
            SigningKey::read(text(&secret, PRIVATE_KEY)?).map_err(|_| wrong(PRIVATE_KEY)(NoSigningKey::REASON))?;
        let with_certificates = ["app_certificate", "alipay_root_certificate", "alipay_certificates"]
            .iter()
            .any(|member| secret.contains_key(*member));
        if !with_certificates {
            let theirs = each(&secret, "alipay_public_keys", |text| {
                their_key(&public_key(text)?, None, &ours)
            })?;
            return Ok(Self {
                ours,
                theirs,
                serial_numbers: None,
            });
        }
        if secret.contains_key("alipay_public_keys") {
            let reason = "stands beside certificates: leave out the one or the other";
            return Err(wrong("alipay_public_keys")(reason));
        }
        let app = Certificate::single(text(&secret, "app_certificate")?).map_err(wrong("app_certificate"))?;
        if app.bare_public_key != ours.public_key() {
            return Err(wrong("app_certificate")("is of another key than app_private_key"));
        }
        let root = Certificate::chain(text(&secret, "alipay_root_certificate")?)
            .and_then(|chain| root_serial_number(&chain).ok_or("holds no certificate that is signed with RSA"))
            .map_err(wrong("alipay_root_certificate"))?;
        let theirs = each(&secret, "alipay_certificates", |pem| {
            let certificate = Certificate::single(pem)?;
            their_key(&certificate.public_key, Some(certificate.serial_number), &ours)
        })?;
        Ok(Self {
            ours,
            theirs,
            serial_numbers: Some(SerialNumbers {
                app: app.serial_number,
                root,
            }),
        })
    }
}

fn text<'a>(secret: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, KeysError> {
    match secret.get(member) {
        None | Some(Value::Null) => Err(KeysError::Missing(member.to_owned())),
        Some(Value::String(text)) if text.trim().is_empty() => Err(KeysError::Missing(member.to_owned())),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong(member)("must be text")),
    }
}

fn each(
    secret: &Map<String, Value>,
    member: &'static str,
    read: impl Fn(&str) -> Result<TheirKey, &'static str>,
) -> Result<Vec<TheirKey>, KeysError> {
    let list = match secret.get(member) {
        None | Some(Value::Null) => return Err(KeysError::Missing(member.to_owned())),
        Some(Value::Array(list)) if list.is_empty() => return Err(KeysError::Missing(member.to_owned())),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong(member)("must be a list")),
    };
    list.iter()
        .enumerate()
        .map(|(at, value)| {
            let member = format!("{member}[{at}]");
            match value.as_str().map(str::trim) {
                None => Err(wrong(&member)("must be text")),
                Some("") => Err(KeysError::Missing(member)),
                Some(text) => read(text).map_err(wrong(&member)),
            }
        })
        .collect()
}

fn wrong(member: &str) -> impl Fn(&'static str) -> KeysError {
    move |reason| KeysError::Wrong {
        member: member.to_owned(),
        reason,
    }
}

fn public_key(text: &str) -> Result<Vec<u8>, &'static str> {
    if is_pem(text) {
        return SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| "is not a public key in PEM");
    }
    bare(text).ok_or("is neither PEM nor base64")
}

fn their_key(der: &[u8], serial_number: Option<String>, ours: &SigningKey) -> Result<TheirKey, &'static str> {
    // Reads SubjectPublicKeyInfo and PKCS #1.
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .parse()
        .map_err(|_| "is not an RSA public key")?;
    // A key that is too short is refused only when it verifies, unless it is read for encryption.
    key.as_der()
        .and_then(|der| PublicEncryptingKey::from_der(der.as_ref()).map_err(Into::into))
        .map_err(|_| "is not an RSA public key of at least 2048 bits")?;
    // The two public keys stand side by side in Alipay's console. With ours in the place of theirs everything would start,
    // and no callback ever be believed.
    let own = ours.public_key();
    if der.windows(own.len()).any(|part| part == own) {
        return Err("is the app's own public key, not Alipay's");
    }
    Ok(TheirKey { serial_number, key })
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// Base64 in one line or many.
fn bare(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.split_whitespace().collect();
    STANDARD.decode(packed).ok()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::vectors::VECTORS;
    use super::*;

    fn one_line(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    fn in_key_mode() -> Value {
        json!({
            "app_private_key": VECTORS.key("app_private_key_pkcs8"),
            "alipay_public_keys": [VECTORS.key("alipay_next_public_key"), VECTORS.key("alipay_public_key")],
        })
    }

    fn in_certificate_mode() -> Value {
        json!({
            "app_private_key": VECTORS.key("app_private_key_pkcs8"),
            "app_certificate": VECTORS.key("app_certificate"),
            "alipay_root_certificate": VECTORS.key("alipay_root_certificate"),
            "alipay_certificates": [VECTORS.key("alipay_next_certificate"), VECTORS.key("alipay_certificate")],
        })
    }

    fn refused(secret: &Value) -> String {
        secret.to_string().parse::<Keys>().unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_read_in_every_form_in_which_it_is_handed_out() {
        let expected = in_key_mode().to_string().parse::<Keys>().unwrap().sign("text").unwrap();
        let signed_by_alipay = VECTORS.keys_of_alipay().sign("text").unwrap();
        let (pkcs8, pkcs1) = (
            VECTORS.key("app_private_key_pkcs8"),
            VECTORS.key("app_private_key_pkcs1"),
        );
        let public = VECTORS.key("alipay_public_key");
        // SubjectPublicKeyInfo of 2048 bits: the PKCS #1 form stands behind 24 bytes that name the algorithm.
        let public_pkcs1 = STANDARD.encode(&STANDARD.decode(one_line(public)).unwrap()[24..]);
        for private in [
            pkcs8.to_owned(),
            pkcs1.to_owned(),
            pkcs8.replace('\n', "\r\n"),
            one_line(pkcs8),
            one_line(pkcs1),
            format!("  {}\n", one_line(pkcs8)),
        ] {
            for public in [public.to_owned(), one_line(public), public_pkcs1.clone()] {
                let secret = json!({"app_private_key": private, "alipay_public_keys": [public]});
                let keys: Keys = secret.to_string().parse().unwrap();
                assert_eq!(keys.sign("text").unwrap(), expected);
                assert_eq!(keys.verify("text", &signed_by_alipay, None), Ok(()));
            }
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_and_never_shown() {
        for mode in [in_key_mode(), in_certificate_mode()] {
            assert!(mode.to_string().parse::<Keys>().is_ok());
            for member in mode.as_object().unwrap().keys() {
                let other_values = [
                    None,
                    Some(json!(null)),
                    Some(json!("")),
                    Some(json!(" \n")),
                    Some(json!([])),
                    Some(json!(7)),
                    Some(json!("c2VjcmV0")),
                    Some(json!("secret")),
                    Some(json!([""])),
                    Some(json!([7])),
                    Some(json!(["c2VjcmV0"])),
                    Some(json!(["-----BEGIN PUBLIC KEY-----\nsecret\n-----END PUBLIC KEY-----"])),
                ];
                for value in other_values {
                    let mut secret = mode.clone();
                    match value.clone() {
                        Some(value) => secret[member] = value,
                        None => drop(secret.as_object_mut().unwrap().remove(member)),
                    }
                    let reason = refused(&secret);
                    assert!(reason.contains(member), "{member} {value:?}: {reason}");
                    assert!(!reason.contains("c2Vj") && !reason.ends_with("secret"), "{reason}");
                }
            }
        }
        for text in ["", "secret", "[]", "\"secret\"", "{"] {
            assert_eq!(text.parse::<Keys>().unwrap_err(), KeysError::NotAnObject);
        }
        assert_eq!(
            refused(&json!({"app_private_key": VECTORS.key("app_private_key_pkcs8")})),
            "its member alipay_public_keys is missing or empty"
        );
        let keys: Keys = in_key_mode().to_string().parse().unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(secret)");
    }

    #[test]
    fn keys_that_could_not_work_are_refused_at_the_start() {
        for (member, key, reason) in [
            (
                "alipay_public_keys",
                json!([VECTORS.key("app_public_key")]),
                "own public key",
            ),
            ("alipay_public_keys", json!([VECTORS.key("short_public_key")]), "2048"),
            (
                "alipay_public_keys",
                json!([VECTORS.key("elliptic_public_key")]),
                "not an RSA",
            ),
            (
                "alipay_public_keys",
                json!([VECTORS.key("alipay_private_key")]),
                "not a public key",
            ),
            ("app_private_key", json!(VECTORS.key("short_private_key")), "2048"),
            (
                "app_private_key",
                json!(VECTORS.key("elliptic_private_key")),
                "not an RSA",
            ),
            ("app_private_key", json!(VECTORS.key("app_public_key")), "not an RSA"),
        ] {
            let mut secret = in_key_mode();
            secret[member] = key;
            let said = refused(&secret);
            assert!(said.contains(member) && said.contains(reason), "{said}");
        }
        let mut secret = in_certificate_mode();
        secret["app_private_key"] = json!(VECTORS.key("other_private_key"));
        assert!(refused(&secret).contains("another key than app_private_key"));
        let mut secret = in_certificate_mode();
        secret["alipay_certificates"] = json!([VECTORS.key("app_certificate")]);
        assert!(refused(&secret).contains("own public key"));
        let mut secret = in_certificate_mode();
        secret["alipay_public_keys"] = json!([VECTORS.key("alipay_public_key")]);
        assert!(refused(&secret).contains("alipay_public_keys"));
    }

    #[test]
    fn a_key_whose_numbers_do_not_fit_together_is_found_by_who_signs() {
        let keys: Keys = in_key_mode().to_string().parse().unwrap();
        assert_eq!(keys.check(), Ok(()));
        let mut der = STANDARD.decode(one_line(VECTORS.key("app_private_key_pkcs1"))).unwrap();
        // Amid the private exponent.
        der[400] ^= 1;
        let mut secret = in_key_mode();
        secret["app_private_key"] = json!(STANDARD.encode(der));
        let keys: Keys = secret.to_string().parse().unwrap();
        assert_eq!(keys.check(), Err(wrong("app_private_key")(NoSigningKey::REASON)));
        assert_eq!(keys.sign("text"), None);
    }

    #[test]
    fn a_signature_is_believed_by_every_configured_key_and_by_no_other() {
        let by_alipay = VECTORS.keys_of_alipay().sign("text").unwrap();
        let by_a_stranger = VECTORS.keys_of("stranger_private_key").sign("text").unwrap();
        for secret in [in_key_mode(), in_certificate_mode()] {
            let keys: Keys = secret.to_string().parse().unwrap();
            assert_eq!(keys.verify("text", &by_alipay, None), Ok(()));
            assert_eq!(keys.verify("text ", &by_alipay, None), Err(NotSigned::Wrong));
            assert_eq!(keys.verify("text", &by_a_stranger, None), Err(NotSigned::Wrong));
            assert_eq!(keys.verify("text", "", None), Err(NotSigned::Wrong));
            assert_eq!(
                keys.verify("text", &by_alipay[..by_alipay.len() - 1], None),
                Err(NotSigned::NotBase64)
            );
            assert_eq!(
                keys.verify("text", &by_alipay[..by_alipay.len() - 4], None),
                Err(NotSigned::Wrong)
            );
            assert_eq!(
                keys.verify("text", &by_alipay.replace('+', "-").replace('/', "_"), None),
                Err(NotSigned::NotBase64)
            );
        }
    }

    #[test]
    fn a_named_certificate_is_the_one_that_verifies() {
        let keys: Keys = in_certificate_mode().to_string().parse().unwrap();
        let signature = VECTORS.keys_of_alipay().sign("text").unwrap();
        let named = |member| keys.verify("text", &signature, Some(VECTORS.serial_number(member)));
        assert_eq!(named("alipay_certificate"), Ok(()));
        assert_eq!(named("alipay_next_certificate"), Err(NotSigned::Wrong));
        assert_eq!(named("app_certificate"), Err(NotSigned::UnknownCertificate));
        assert_eq!(
            keys.verify("text", &signature, Some("")),
            Err(NotSigned::UnknownCertificate)
        );
    }

    /// Printed with `--nocapture`: what the start of a function and one callback cost.
    #[test]
    fn what_reading_the_secret_and_verifying_take_is_printed() {
        const ROUNDS: u32 = 20;
        for (mode, secret) in [("keys", in_key_mode()), ("certificates", in_certificate_mode())] {
            let secret = secret.to_string();
            let keys: Keys = secret.parse().unwrap();
            let signature = VECTORS.keys_of_alipay().sign("text").unwrap();
            let average = |work: &dyn Fn()| {
                let start = std::time::Instant::now();
                (0..ROUNDS).for_each(|_| work());
                start.elapsed() / ROUNDS
            };
            let read = average(&|| drop(secret.parse::<Keys>().unwrap()));
            let verify = average(&|| keys.verify("text", &signature, None).unwrap());
            let sign = average(&|| drop(keys.sign("text").unwrap()));
            println!("{mode}: reading the secret {read:?}, verifying {verify:?}, signing {sign:?}");
        }
    }
}
