//! The secret of the merchant's account: who we are to WeChat Pay, and by what it proves itself to us.

use std::str::FromStr;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use kernel::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::time::Time;

use super::sealed::ApiKeys;
use super::signature::{MerchantKey, PUBLIC_KEY_ID, PlatformKey, PlatformKeys, serial};
use crate::signing_key::{NoSigningKey, SigningKey};

/// The keys of both sides, read from JSON:
///
/// ```json
/// {
///   "merchant_private_key": "PEM, PKCS#8 or PKCS#1",
///   "merchant_serial_no": "hex",
///   "api_v3_keys": ["32 bytes, the current one first, then those from before a rotation"],
///   "public_keys": [{"id": "PUB_KEY_ID_...", "key": "PEM"}],
///   "platform_certificates": ["PEM"]
/// }
/// ```
///
/// One of the last two may be absent or empty. While a merchant moves from certificates to a public key both are needed.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) merchant_key: MerchantKey,
    pub(super) platform_keys: PlatformKeys,
    pub(super) api_keys: ApiKeys,
}

/// Credentials that can not be used. Names the member, never its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CredentialsError {
    /// Not JSON, or no object.
    #[error("it must be a JSON object with the members that the payment service's documentation lists")]
    NotAnObject,
    /// A member is not there, or empty.
    #[error("its member {0} is missing or empty")]
    Missing(String),
    /// A member holds something else than is needed.
    #[error("its member {member} is wrong: {reason}")]
    Wrong {
        /// Which.
        member: String,
        /// What it has to be.
        reason: &'static str,
    },
    /// Nothing by which WeChat Pay's messages could be verified.
    #[error("at least one of its members public_keys and platform_certificates must hold a key")]
    NoPlatformKey,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Members {
    merchant_private_key: String,
    merchant_serial_no: String,
    api_v3_keys: Vec<String>,
    public_keys: Vec<PublicKey>,
    platform_certificates: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PublicKey {
    id: String,
    key: String,
}

impl Credentials {
    /// Whether the merchant's key signs.
    pub(super) fn check(&self) -> Result<(), CredentialsError> {
        self.merchant_key.check().map_err(|NoSigningKey| no_signing_key())
    }
}

impl FromStr for Credentials {
    type Err = CredentialsError;

    fn from_str(json: &str) -> Result<Self, CredentialsError> {
        let members = Members::read(json)?;
        let present = |name: &str, text: &str| match text.trim().is_empty() {
            true => Err(CredentialsError::Missing(name.to_owned())),
            false => Ok(()),
        };
        present("merchant_private_key", &members.merchant_private_key)?;
        present("merchant_serial_no", &members.merchant_serial_no)?;
        if members.api_v3_keys.is_empty() {
            return Err(CredentialsError::Missing("api_v3_keys".to_owned()));
        }
        let serial_no = members.merchant_serial_no.trim();
        if !serial_no.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("merchant_serial_no", "it must be a serial number in hex"));
        }
        Ok(Self {
            merchant_key: MerchantKey::new(private_key(&members.merchant_private_key)?, serial_no.to_owned()),
            api_keys: api_keys(&members.api_v3_keys)?,
            platform_keys: platform_keys(&members)?,
        })
    }
}

impl Members {
    /// The words of the JSON reader are not passed on: they quote what they read.
    fn read(json: &str) -> Result<Self, CredentialsError> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let members = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let member = error.path().to_string();
            match member.as_str() {
                "." | "?" => CredentialsError::NotAnObject,
                _ => wrong(member, "it is of another JSON type"),
            }
        })?;
        reader.end().map_err(|_| CredentialsError::NotAnObject)?;
        Ok(members)
    }
}

fn wrong(member: impl Into<String>, reason: &'static str) -> CredentialsError {
    CredentialsError::Wrong {
        member: member.into(),
        reason,
    }
}

fn private_key(text: &str) -> Result<SigningKey, CredentialsError> {
    SigningKey::read(text).map_err(|NoSigningKey| no_signing_key())
}

fn no_signing_key() -> CredentialsError {
    wrong("merchant_private_key", NoSigningKey::REASON)
}

fn api_keys(keys: &[String]) -> Result<ApiKeys, CredentialsError> {
    for (place, key) in keys.iter().enumerate() {
        if key.len() != ApiKeys::LENGTH {
            return Err(wrong(format!("api_v3_keys[{place}]"), "it must have 32 bytes"));
        }
    }
    ApiKeys::new(keys.iter().map(String::as_bytes)).ok_or(wrong("api_v3_keys", "they must be AES-256 keys"))
}

fn platform_keys(members: &Members) -> Result<PlatformKeys, CredentialsError> {
    let public_keys = members.public_keys.iter().enumerate().map(|(place, key)| {
        let member = |name: &str| format!("public_keys[{place}].{name}");
        if key.id.len() <= PUBLIC_KEY_ID.len() || !key.id.starts_with(PUBLIC_KEY_ID) || !is_header_text(&key.id) {
            return Err(wrong(member("id"), "it must be the key's id, PUB_KEY_ID_..."));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(key.key.as_bytes())
            .map_err(|_| wrong(member("key"), "it must be a public key in PEM"))?;
        Ok(PlatformKey {
            id: key.id.clone(),
            key: verifying(&der).ok_or_else(|| wrong(member("key"), RSA))?,
            valid: None,
        })
    });
    let certificates = members.platform_certificates.iter().enumerate().map(|(place, pem)| {
        certificate(pem).map_err(|reason| wrong(format!("platform_certificates[{place}]"), reason))
    });
    let keys = public_keys.chain(certificates).collect::<Result<Vec<_>, _>>()?;
    match keys.is_empty() {
        true => Err(CredentialsError::NoPlatformKey),
        false => Ok(PlatformKeys::new(keys)),
    }
}

const RSA: &str = "it must be of an RSA key of at least 2048 bits";

/// The certificate's key. Who issued it is not looked at: it is trusted because it is configured.
fn certificate(pem: &str) -> Result<PlatformKey, &'static str> {
    const NOT_ONE: &str = "it must be a certificate in PEM";
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| NOT_ONE)?;
    let certificate = Certificate::from_der(&der).map_err(|_| NOT_ONE)?;
    let certificate = certificate.tbs_certificate();
    let key = certificate.subject_public_key_info().to_der().map_err(|_| NOT_ONE)?;
    let number = certificate.serial_number().as_bytes().iter();
    let hex: String = number.map(|byte| format!("{byte:02X}")).collect();
    let validity = certificate.validity();
    Ok(PlatformKey {
        id: serial(&hex),
        key: verifying(&key).ok_or(RSA)?,
        valid: Some((moment(validity.not_before), moment(validity.not_after))),
    })
}

fn verifying(der: &[u8]) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()
}

fn moment(time: Time) -> Timestamp {
    Timestamp::from_millis(0).plus(time.to_unix_duration())
}

fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture::Fixture;
    use super::*;

    fn secret() -> Value {
        Fixture::new().vectors["secret"].clone()
    }

    fn refusal(secret: &Value) -> String {
        secret.to_string().parse::<Credentials>().unwrap_err().to_string()
    }

    fn with(member: &str, value: Value) -> Value {
        let mut secret = secret();
        secret[member] = value;
        secret
    }

    #[test]
    fn the_private_key_may_be_of_either_form() {
        let it = Fixture::new();
        let pkcs1 = with("merchant_private_key", it.vectors["merchant_private_key_pkcs1"].clone());
        let pkcs1: Credentials = pkcs1.to_string().parse().unwrap();
        let sign = |key: &MerchantKey| key.pay_sign("app", "package", &it.stamp()).unwrap();
        assert_eq!(sign(&pkcs1.merchant_key), sign(&it.credentials.merchant_key));
    }

    #[test]
    fn one_kind_of_platform_key_is_enough() {
        for (member, empty) in [("public_keys", json!([])), ("platform_certificates", json!([]))] {
            let one: Credentials = with(member, empty).to_string().parse().unwrap();
            assert_eq!(one.platform_keys.preferred().is_none(), member == "public_keys");
            let mut secret = secret();
            secret.as_object_mut().unwrap().remove(member);
            assert!(secret.to_string().parse::<Credentials>().is_ok());
        }
        let mut neither = with("public_keys", json!([]));
        neither["platform_certificates"] = json!([]);
        assert!(refusal(&neither).contains("public_keys and platform_certificates"));
    }

    #[test]
    fn a_member_that_is_missing_empty_or_wrong_is_named_and_not_shown() {
        let private = secret()["merchant_private_key"].clone();
        let public = secret()["public_keys"][0]["key"].clone();
        let certificate = secret()["platform_certificates"][0].clone();
        let ec = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
        let id = "PUB_KEY_ID_1";
        let wrong = [
            (
                "merchant_private_key",
                "merchant_private_key",
                vec![json!(""), json!(" \n"), json!("hunter2"), json!(7), public.clone()],
            ),
            (
                "merchant_serial_no",
                "merchant_serial_no",
                vec![json!(""), json!("hunter2"), json!("1D\"E"), json!(["hunter2"])],
            ),
            (
                "api_v3_keys",
                "api_v3_keys",
                vec![json!([]), json!("hunter2"), json!({"hunter2": 1}), json!(null)],
            ),
            (
                "api_v3_keys",
                "api_v3_keys[1]",
                vec![
                    json!(["0123456789abcdef0123456789abcdef", "hunter2"]),
                    json!(["0123456789abcdef0123456789abcdef", ""]),
                    json!(["0123456789abcdef0123456789abcdef", 5]),
                ],
            ),
            (
                "public_keys",
                "public_keys[0].id",
                vec![
                    json!([{"id": "hunter2", "key": public}]),
                    json!([{"key": public}]),
                    json!([{"id": "PUB_KEY_ID_", "key": public}]),
                    json!([{"id": "PUB_KEY_ID_1\r\n", "key": public}]),
                ],
            ),
            (
                "public_keys",
                "public_keys[0].key",
                vec![
                    json!([{"id": id}]),
                    json!([{"id": id, "key": "hunter2"}]),
                    json!([{"id": id, "key": ec}]),
                    json!([{"id": id, "key": private}]),
                    json!([{"id": id, "key": certificate}]),
                    json!([{"id": id, "key": 5}]),
                ],
            ),
            (
                "platform_certificates",
                "platform_certificates[1]",
                vec![
                    json!([certificate, "hunter2"]),
                    json!([certificate, ""]),
                    json!([certificate, public]),
                    json!([certificate, {"hunter2": 1}]),
                    json!([
                        certificate,
                        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
                    ]),
                ],
            ),
        ];
        for (member, named, values) in wrong {
            for value in values {
                let refusal = refusal(&with(member, value.clone()));
                assert!(refusal.contains(named), "{named} {value}: {refusal}");
                assert!(!refusal.contains("hunter2") && !refusal.contains("BEGIN"), "{refusal}");
            }
        }
        for member in ["merchant_private_key", "merchant_serial_no", "api_v3_keys"] {
            let mut secret = secret();
            secret.as_object_mut().unwrap().remove(member);
            assert_eq!(refusal(&secret), format!("its member {member} is missing or empty"));
        }
        for text in ["", "hunter2", "[]", "5", "{} hunter2", "{\"api_v3_keys\": [\"hunter2"] {
            let refusal = text.parse::<Credentials>().unwrap_err().to_string();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn credentials_do_not_show_themselves() {
        let shown = format!("{:?}", Fixture::new().credentials);
        assert!(!shown.contains("key-0123456789") && !shown.contains("BEGIN"), "{shown}");
    }
}
