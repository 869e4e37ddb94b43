//! Everyone's keys: the companies' own, the merchant's, which his functions get as secrets, and a stranger's to forge with.
//!
//! Made with other libraries than the functions verify with.

use std::io;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use der::{EncodePem as _, pem::LineEnding};
use getrandom::SysRng;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use rsa::{PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use super::SimulatorError;
use crate::aws::secrets::write_privately;

/// Both companies' keys have this many bits.
const BITS: usize = 2_048;
/// How many keys there are.
const KEYS: usize = 7;
/// How long certificates are valid before and after they are made: longer than anyone moves the clock.
const VALID: Duration = Duration::from_secs(10 * 366 * 86_400);
/// Alipay's file of roots holds several, some of them not of RSA: those do not count for `alipay_root_cert_sn`. Nobody has
/// this one's key.
const ELLIPTIC_ROOT: &str = include_str!("elliptic-root.pem");
const DAY: Duration = Duration::from_secs(86_400);
/// RFC 5280's longest serial number, and that of WeChat Pay's certificates.
const SERIAL_BYTES: usize = 20;

/// What is kept of them: text. Everything else follows from it.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    alipay_root: String,
    alipay_app: String,
    alipay: String,
    wechat_merchant: String,
    wechat_public: String,
    wechat_platform: String,
    stranger: String,
    alipay_root_certificate: String,
    alipay_app_certificate: String,
    alipay_certificate: String,
    wechat_platform_certificate: String,
    wechat_merchant_serial: String,
    wechat_public_key_id: String,
    api_v3_key: String,
    app_certificate_serial: String,
    root_certificate_serial: String,
    alipay_certificate_serial: String,
    wechat_platform_serial: String,
}

/// A company's key to sign with.
pub(super) struct Signing(PrivateKey);

/// A merchant's key to verify with.
pub(super) struct Verifying(PublicKey);

/// All keys of one simulator.
pub(super) struct Keys {
    pub(super) alipay: Signing,
    pub(super) alipay_app: Verifying,
    pub(super) wechat_public: Signing,
    pub(super) wechat_platform: Signing,
    pub(super) wechat_merchant: Verifying,
    pub(super) stranger: Signing,
    kept: Kept,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Signing {
    /// RSA PKCS#1 v1.5 with SHA-256, in base64: both companies' only algorithm.
    pub(super) fn sign(&self, text: &[u8]) -> Result<String, SimulatorError> {
        let signature = self.0.pkcs1v15_sign::<Sha256>(text).map_err(SimulatorError::key)?;
        Ok(BASE64.encode(signature))
    }
}

impl Verifying {
    /// Whether this is its owner's signature of the text.
    pub(super) fn verifies(&self, text: &[u8], signature: &str) -> bool {
        let signature = BASE64.decode(signature).ok();
        signature.is_some_and(|signature| self.0.pkcs1v15_verify::<Sha256>(text, &signature).is_ok())
    }
}

/// The keys of platforms that keep nothing: making new ones for each would take seconds in every test.
static OF_THIS_PROCESS: Mutex<Option<Kept>> = Mutex::new(None);

impl Keys {
    /// The keys in `file`, which is written if it is missing. Without a file they are this process's.
    pub(super) fn open(file: Option<&Path>, now_ms: i64) -> Result<Keys, SimulatorError> {
        let kept = match file {
            None => {
                let mut shared = OF_THIS_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
                match shared.as_ref() {
                    Some(kept) => kept.clone(),
                    None => shared.insert(Kept::make(now_ms)?).clone(),
                }
            }
            Some(file) => {
                let unusable = |source| SimulatorError::File {
                    file: file.to_owned(),
                    source,
                };
                match std::fs::read(file) {
                    Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(error.into()))?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let kept = Kept::make(now_ms)?;
                        let text = serde_json::to_vec_pretty(&kept)?;
                        write_privately(file, &text).map_err(unusable)?;
                        kept
                    }
                    Err(error) => return Err(unusable(error)),
                }
            }
        };
        let signing = |pem: &str| {
            PrivateKey::from_pkcs8_pem(pem)
                .map(Signing)
                .map_err(SimulatorError::key)
        };
        let verifying = |pem: &str| {
            let key = PrivateKey::from_pkcs8_pem(pem).map_err(SimulatorError::key)?;
            Ok::<_, SimulatorError>(Verifying(key.to_public_key()))
        };
        Ok(Keys {
            alipay: signing(&kept.alipay)?,
            alipay_app: verifying(&kept.alipay_app)?,
            wechat_public: signing(&kept.wechat_public)?,
            wechat_platform: signing(&kept.wechat_platform)?,
            wechat_merchant: verifying(&kept.wechat_merchant)?,
            stranger: signing(&kept.stranger)?,
            kept,
        })
    }

    /// What Alipay's merchant keeps secret, as the functions read it; with certificates or with bare keys.
    pub(super) fn alipay_secret(&self, certificates: bool) -> Result<String, SimulatorError> {
        let kept = &self.kept;
        let secret = if certificates {
            json!({
                "app_private_key": kept.alipay_app,
                "app_certificate": kept.alipay_app_certificate,
                "alipay_root_certificate": kept.alipay_root_certificate,
                "alipay_certificates": [kept.alipay_certificate],
            })
        } else {
            json!({
                "app_private_key": kept.alipay_app,
                "alipay_public_keys": [public_pem(&kept.alipay)?],
            })
        };
        Ok(secret.to_string())
    }

    /// What WeChat Pay's merchant keeps secret, as the functions read it.
    pub(super) fn wechat_pay_secret(&self) -> Result<String, SimulatorError> {
        let kept = &self.kept;
        let secret = json!({
            "merchant_private_key": kept.wechat_merchant,
            "merchant_serial_no": kept.wechat_merchant_serial,
            "api_v3_keys": [kept.api_v3_key],
            "public_keys": [{"id": kept.wechat_public_key_id, "key": public_pem(&kept.wechat_public)?}],
            "platform_certificates": [kept.wechat_platform_certificate],
        });
        Ok(secret.to_string())
    }

    /// `alipay_root_cert_sn` that a merchant with certificates sends.
    pub(super) fn root_certificate_serial(&self) -> &str {
        &self.kept.root_certificate_serial
    }

    /// `app_cert_sn` that a merchant with certificates sends.
    pub(super) fn app_certificate_serial(&self) -> &str {
        &self.kept.app_certificate_serial
    }

    /// `alipay_cert_sn` in answers to a merchant with certificates.
    pub(super) fn alipay_certificate_serial(&self) -> &str {
        &self.kept.alipay_certificate_serial
    }

    /// The serial number that WeChat Pay's merchant signs under, in upper-case hexadecimal.
    pub(super) fn wechat_merchant_serial(&self) -> &str {
        &self.kept.wechat_merchant_serial
    }

    /// `PUB_KEY_ID_...`.
    pub(super) fn wechat_public_key_id(&self) -> &str {
        &self.kept.wechat_public_key_id
    }

    /// Serial number of WeChat Pay's platform certificate, in upper-case hexadecimal.
    pub(super) fn wechat_platform_serial(&self) -> &str {
        &self.kept.wechat_platform_serial
    }

    /// The key that notifications are encrypted with: 32 characters.
    pub(super) fn api_v3_key(&self) -> &[u8] {
        self.kept.api_v3_key.as_bytes()
    }
}

impl Kept {
    fn make(now_ms: i64) -> Result<Kept, SimulatorError> {
        let keys = private_keys()?;
        let [root, app, alipay, merchant, public, platform, stranger] = &keys;
        let pem = |key: &PrivateKey| {
            let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(SimulatorError::key)?;
            Ok::<_, SimulatorError>(pem.to_string())
        };
        let alipay_root = Issuer::new(
            "CN=Simulated Root R1,OU=Certification Authority,O=Simulated Financial,C=CN",
            root,
        )?;
        let tenpay_root = Issuer::new(
            "CN=Simulated Tenpay Root CA,OU=Simulated CA Center,O=Simulated Tenpay,C=CN",
            root,
        )?;
        let root_certificate = alipay_root.certify(None, root, now_ms)?;
        let other_root = Issuer::new(
            "CN=Simulated Root R2,OU=Certification Authority,O=Simulated Financial,C=CN",
            root,
        )?;
        let other_root_certificate = other_root.certify(None, root, now_ms)?;
        let app_certificate = alipay_root.certify(Some("CN=CFMP local app,OU=Alipay,O=CFMP,C=CN"), app, now_ms)?;
        let alipay_certificate = alipay_root.certify(
            Some("CN=Simulated Alipay,OU=Alipay,O=Simulated Alipay,C=CN"),
            alipay,
            now_ms,
        )?;
        let platform_certificate = tenpay_root.certify(
            Some("CN=Simulated Tenpay signature,O=Simulated Tenpay,C=CN"),
            platform,
            now_ms,
        )?;
        let written = |certificate: &Certificate| certificate.to_pem(LineEnding::LF).map_err(SimulatorError::key);
        Ok(Kept {
            alipay_root: pem(root)?,
            alipay_app: pem(app)?,
            alipay: pem(alipay)?,
            wechat_merchant: pem(merchant)?,
            wechat_public: pem(public)?,
            wechat_platform: pem(platform)?,
            stranger: pem(stranger)?,
            app_certificate_serial: alipay_serial(&app_certificate),
            root_certificate_serial: format!(
                "{}_{}",
                alipay_serial(&root_certificate),
                alipay_serial(&other_root_certificate)
            ),
            alipay_certificate_serial: alipay_serial(&alipay_certificate),
            wechat_platform_serial: hexadecimal(serial_of(&platform_certificate)),
            alipay_root_certificate: [
                written(&root_certificate)?,
                ELLIPTIC_ROOT.to_owned(),
                written(&other_root_certificate)?,
            ]
            .concat(),
            alipay_app_certificate: written(&app_certificate)?,
            alipay_certificate: written(&alipay_certificate)?,
            wechat_platform_certificate: written(&platform_certificate)?,
            wechat_merchant_serial: hexadecimal(&random_serial()),
            wechat_public_key_id: format!("PUB_KEY_ID_0{}", digits(31)),
            api_v3_key: Uuid::new_v4().simple().to_string(),
        })
    }
}

/// As many random decimal digits as asked for, the first of them not 0.
pub(super) fn digits(count: usize) -> String {
    let mut digits = String::with_capacity(count + 39);
    while digits.len() < count {
        // The first digits of a number are not equally likely, the last ones are.
        digits.push_str(&format!(
            "{:020}",
            Uuid::new_v4().as_u128() % 100_000_000_000_000_000_000
        ));
    }
    digits.truncate(count);
    if digits.starts_with('0') {
        digits.replace_range(..1, "7");
    }
    digits
}

/// Finding primes takes its time: every processor looks for some.
fn private_keys() -> Result<[PrivateKey; KEYS], SimulatorError> {
    let keys: Vec<Result<PrivateKey, SimulatorError>> = thread::scope(|scope| {
        let searches: Vec<_> = (0..KEYS)
            .map(|_| scope.spawn(|| PrivateKey::new(&mut SysRng, BITS).map_err(SimulatorError::key)))
            .collect();
        let interrupted = |_| Err(SimulatorError::Key("the search for primes was interrupted".to_owned()));
        searches
            .into_iter()
            .map(|search| search.join().unwrap_or_else(interrupted))
            .collect()
    });
    let keys: Vec<PrivateKey> = keys.into_iter().collect::<Result<_, _>>()?;
    keys.try_into()
        .map_err(|_| SimulatorError::Key("some were not made".to_owned()))
}

fn public_pem(private: &str) -> Result<String, SimulatorError> {
    let key = PrivateKey::from_pkcs8_pem(private).map_err(SimulatorError::key)?;
    key.to_public_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(SimulatorError::key)
}

struct Issuer<'a> {
    name: Name,
    key: &'a PrivateKey,
}

impl<'a> Issuer<'a> {
    fn new(name: &str, key: &'a PrivateKey) -> Result<Self, SimulatorError> {
        Ok(Self {
            name: distinguished(name)?,
            key,
        })
    }

    /// A certificate of `key` for `subject`, or for the issuer itself.
    fn certify(&self, subject: Option<&str>, key: &PrivateKey, now_ms: i64) -> Result<Certificate, SimulatorError> {
        let profile = Purpose {
            issuer: self.name.clone(),
            subject: subject.map(distinguished).transpose()?,
        };
        let serial = SerialNumber::new(&random_serial()).map_err(SimulatorError::key)?;
        let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        let time = |since| {
            let moment = der::DateTime::from_unix_duration(since).map_err(SimulatorError::key)?;
            // RFC 5280: until 2049 in the short form.
            let short = der::asn1::UtcTime::from_date_time(moment);
            Ok::<_, SimulatorError>(short.map_or_else(|_| Time::from(moment), Time::from))
        };
        let validity = Validity::new(time(now.saturating_sub(DAY))?, time(now.saturating_add(VALID))?);
        let key = SubjectPublicKeyInfoOwned::from_key(&key.to_public_key()).map_err(SimulatorError::key)?;
        let certificate = CertificateBuilder::new(profile, serial, validity, key).map_err(SimulatorError::key)?;
        let signer = SigningKey::<Sha256>::new(self.key.clone());
        certificate.build(&signer).map_err(SimulatorError::key)
    }
}

/// A name as RFC 4514 writes it, the last part first.
fn distinguished(name: &str) -> Result<Name, SimulatorError> {
    Name::from_str(name).map_err(SimulatorError::key)
}

struct Purpose {
    issuer: Name,
    /// `None` is the authority itself.
    subject: Option<Name>,
}

impl BuilderProfile for Purpose {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone().unwrap_or_else(|| self.issuer.clone())
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let ca = self.subject.is_none();
        let usage = if ca {
            KeyUsages::KeyCertSign | KeyUsages::CRLSign
        } else {
            KeyUsages::DigitalSignature | KeyUsages::NonRepudiation
        };
        let constraints = BasicConstraints {
            ca,
            path_len_constraint: None,
        };
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(SubjectKeyIdentifier::try_from(issuer)?.0),
            ..AuthorityKeyIdentifier::default()
        };
        let subject = certificate.subject();
        let mut extensions = vec![constraints.to_extension(subject, &[])?];
        extensions.push(KeyUsage(usage).to_extension(subject, &extensions)?);
        extensions.push(SubjectKeyIdentifier::try_from(key)?.to_extension(subject, &extensions)?);
        extensions.push(authority.to_extension(subject, &extensions)?);
        Ok(extensions)
    }
}

fn random_serial() -> [u8; SERIAL_BYTES] {
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut serial = [0; SERIAL_BYTES];
    for (place, byte) in serial.iter_mut().zip(one.as_bytes().iter().chain(other.as_bytes())) {
        *place = *byte;
    }
    // Positive and of full length.
    serial[0] = (serial[0] & 0x3f) | 0x40;
    serial
}

fn serial_of(certificate: &Certificate) -> &[u8] {
    certificate.tbs_certificate().serial_number().as_bytes()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Alipay's serial number of a certificate: MD5 of the issuer's name as RFC 2253 writes it and the decimal serial number.
fn alipay_serial(certificate: &Certificate) -> String {
    let tbs = certificate.tbs_certificate();
    let text = format!("{}{}", tbs.issuer(), decimal(serial_of(certificate)));
    format!("{:x}", md5::compute(text))
}

/// A big-endian number in decimal digits, by long division.
fn decimal(number: &[u8]) -> String {
    let (mut rest, mut digits) = (number.to_vec(), Vec::new());
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u16;
        for byte in &mut rest {
            let value = remainder * 256 + u16::from(*byte);
            *byte = u8::try_from(value / 10).unwrap_or(u8::MAX);
            remainder = value % 10;
        }
        digits.push(char::from(b'0' + u8::try_from(remainder).unwrap_or(0)));
    }
    if digits.is_empty() {
        digits.push('0');
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use der::DecodePem as _;
    use serde_json::Value;
    use x509_cert::der::Encode as _;

    use super::*;

    /// 2026-01-31T12:00:00Z.
    const NOW: i64 = 1_769_860_800_000;

    #[test]
    fn keys_are_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let first = Keys::open(Some(&file), NOW).unwrap();
        let second = Keys::open(Some(&file), NOW + 1).unwrap();
        assert_eq!(first.wechat_pay_secret().unwrap(), second.wechat_pay_secret().unwrap());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "{}").unwrap();
        let refused = Keys::open(Some(&file), NOW).unwrap_err().to_string();
        assert!(refused.contains("keys.json"), "{refused}");
    }

    #[test]
    fn what_the_merchant_signs_is_verified_and_what_another_signs_is_not() {
        let keys = Keys::open(None, NOW).unwrap();
        let merchant = Signing(PrivateKey::from_pkcs8_pem(&keys.kept.alipay_app).unwrap());
        let signature = merchant.sign("买 a=b&c".as_bytes()).unwrap();
        assert!(keys.alipay_app.verifies("买 a=b&c".as_bytes(), &signature));
        assert!(!keys.alipay_app.verifies(b"something else", &signature));
        assert!(!keys.alipay_app.verifies(
            "买 a=b&c".as_bytes(),
            &keys.stranger.sign("买 a=b&c".as_bytes()).unwrap()
        ));
        assert!(!keys.alipay_app.verifies("买 a=b&c".as_bytes(), "not base64"));
    }

    #[test]
    fn certificates_are_signed_by_the_root_and_bear_the_serial_numbers_that_are_sent() {
        let keys = Keys::open(None, NOW).unwrap();
        let secret: Value = serde_json::from_str(&keys.alipay_secret(true).unwrap()).unwrap();
        let roots =
            Certificate::load_pem_chain(secret["alipay_root_certificate"].as_str().unwrap().as_bytes()).unwrap();
        let [root, elliptic, other] = roots.as_slice() else {
            unreachable!("three roots")
        };
        assert_ne!(elliptic.signature_algorithm(), root.signature_algorithm());
        let root_key = PrivateKey::from_pkcs8_pem(&keys.kept.alipay_root)
            .unwrap()
            .to_public_key();
        let certificates = [&secret["app_certificate"], &secret["alipay_certificates"][0]]
            .map(|pem| Certificate::from_pem(pem.as_str().unwrap()).unwrap());
        for certificate in certificates.iter().chain([root]) {
            let signed = certificate.tbs_certificate().to_der().unwrap();
            let signature = certificate.signature().raw_bytes();
            root_key.pkcs1v15_verify::<Sha256>(&signed, signature).unwrap();
            assert_eq!(certificate.tbs_certificate().issuer(), root.tbs_certificate().subject());
        }
        assert_eq!(
            root.tbs_certificate().issuer().to_string(),
            "CN=Simulated Root R1,OU=Certification Authority,O=Simulated Financial,C=CN"
        );
        assert_eq!(
            keys.root_certificate_serial(),
            format!("{}_{}", alipay_serial(root), alipay_serial(other))
        );
        assert_eq!(keys.app_certificate_serial(), alipay_serial(&certificates[0]));
        assert_eq!(keys.wechat_platform_serial().len(), 40);
    }

    #[test]
    fn serial_numbers_are_written_in_decimal() {
        for (bytes, text) in [
            (&[0_u8][..], "0"),
            (&[1, 0], "256"),
            (&[0xff; 9], "4722366482869645213695"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
        let digits = digits(31);
        assert!(digits.len() == 31 && !digits.starts_with('0'), "{digits}");
    }
}
