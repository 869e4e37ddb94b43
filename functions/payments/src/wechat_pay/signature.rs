//! Signatures: ours under requests and script parameters, WeChat Pay's under answers and notifications.
//!
//! All are RSA PKCS#1 v1.5 with SHA-256 over lines of text, each ended by a line feed, and written in base64. No signed
//! line but the last can hold a line feed of its own: they come from header values, paths and our own words.
//!
//! Source: <https://pay.weixin.qq.com/docs/merchant/development/interface-rules/signature-generation.html> and
//! <https://pay.weixin.qq.com/docs/merchant/development/interface-rules/signature-verification.html>.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_function::{HeaderMap, Method};
use kernel::Timestamp;
use uuid::Uuid;

use crate::signing_key::{NoSigningKey, SigningKey};

/// The one kind of signature that is made and believed.
pub(super) const KIND: &str = "WECHATPAY2-SHA256-RSA2048";
/// A message as old or as new as this proves nothing: somebody may have kept it.
pub(super) const WINDOW: Duration = Duration::from_secs(300);
/// Ids of public keys begin like this; everything else is a certificate's serial number.
pub(super) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";
/// WeChat Pay now and then sends wrong signatures on purpose, to see whether they are refused. They begin like this.
const PROBE: &str = "WECHATPAY/SIGNTEST/";

pub(super) const SERIAL: &str = "wechatpay-serial";
pub(super) const SIGNATURE: &str = "wechatpay-signature";
pub(super) const SIGNATURE_TYPE: &str = "wechatpay-signature-type";
pub(super) const TIMESTAMP: &str = "wechatpay-timestamp";
pub(super) const NONCE: &str = "wechatpay-nonce";

/// Our key, which signs what we send.
pub(super) struct MerchantKey {
    key: SigningKey,
    serial_no: String,
}

/// What makes each signature different: the second in which it is made, and a number used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Whole seconds since 1970, UTC.
    pub(super) timestamp: i64,
    /// 32 characters.
    pub(super) nonce: String,
}

impl Stamp {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            timestamp: now.seconds(),
            nonce: Uuid::new_v4().simple().to_string(),
        }
    }
}

impl MerchantKey {
    /// `serial_no` is that of the certificate which WeChat Pay has of this key.
    pub(super) fn new(key: SigningKey, serial_no: String) -> Self {
        Self { key, serial_no }
    }

    /// The `Authorization` of a request. `path` has the query with it, and is what is sent, whatever stands before it in
    /// the documentation.
    pub(super) fn authorization(
        &self,
        merchant_id: &str,
        method: &Method,
        path: &str,
        body: &[u8],
        stamp: &Stamp,
    ) -> Result<String, NoSigningKey> {
        let Stamp { timestamp, nonce } = stamp;
        let mut text = format!("{method}\n{path}\n{timestamp}\n{nonce}\n").into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        let signature = self.key.sign(&text)?;
        let serial_no = &self.serial_no;
        Ok(format!(
            "{KIND} mchid=\"{merchant_id}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",serial_no=\"{serial_no}\",\
             signature=\"{signature}\""
        ))
    }

    /// The `paySign` of the parameters with which a page in WeChat opens the payment.
    pub(super) fn pay_sign(&self, app_id: &str, package: &str, stamp: &Stamp) -> Result<String, NoSigningKey> {
        let Stamp { timestamp, nonce } = stamp;
        self.key
            .sign(format!("{app_id}\n{timestamp}\n{nonce}\n{package}\n").as_bytes())
    }

    /// Whether it signs.
    pub(super) fn check(&self) -> Result<(), NoSigningKey> {
        self.key.check()
    }
}

/// A key of WeChat Pay's.
pub(super) struct PlatformKey {
    /// `PUB_KEY_ID_...`, or a certificate's serial number as [`serial`] writes it.
    pub(super) id: String,
    pub(super) key: ParsedPublicKey,
    /// From when until when, for a certificate. A public key has no end.
    pub(super) valid: Option<(Timestamp, Timestamp)>,
}

/// All keys of WeChat Pay's that are known. While a merchant moves from certificates to a public key, messages come under
/// both.
pub(super) struct PlatformKeys(Vec<PlatformKey>);

impl PlatformKeys {
    pub(super) fn new(keys: Vec<PlatformKey>) -> Self {
        Self(keys)
    }

    /// The public key under which answers are asked for; without one they come under a certificate.
    pub(super) fn preferred(&self) -> Option<&str> {
        let mut ids = self.0.iter().map(|key| key.id.as_str());
        ids.find(|id| id.starts_with(PUBLIC_KEY_ID))
    }

    /// Whether `body` and its headers are WeChat Pay's, and not older than [`WINDOW`]. The reason if not.
    ///
    /// Says nothing of what they belong to: an answer is not bound to its question, nor a notification to its merchant.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), &'static str> {
        let signature = only(headers, SIGNATURE)?.ok_or("there is none")?;
        let timestamp = only(headers, TIMESTAMP)?.ok_or("it has no timestamp")?;
        let nonce = only(headers, NONCE)?.ok_or("it has no nonce")?;
        let id = only(headers, SERIAL)?.ok_or("it names no key")?;
        if only(headers, SIGNATURE_TYPE)?.is_some_and(|kind| kind != KIND) {
            return Err("it is of another kind");
        }
        if signature.starts_with(PROBE) {
            return Err("it is wrong on purpose: a probe of WeChat Pay's");
        }
        let sent_at = seconds(timestamp).ok_or("its timestamp is no number")?;
        if now.since(sent_at).max(sent_at.since(now)) >= WINDOW {
            return Err("it is too old or too new");
        }
        let key = self.named(id).ok_or("it names a key that is not configured")?;
        if key.valid.is_some_and(|(from, until)| now < from || now > until) {
            return Err("its certificate is not valid at this time");
        }
        let signature = STANDARD.decode(signature).map_err(|_| "it is no base64")?;
        let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        key.key.verify_sig(&text, &signature).map_err(|_| "it is wrong")
    }

    fn named(&self, id: &str) -> Option<&PlatformKey> {
        let mut keys = self.0.iter();
        match id.starts_with(PUBLIC_KEY_ID) {
            true => keys.find(|key| key.id == id),
            false => {
                let id = serial(id);
                keys.find(|key| key.valid.is_some() && key.id == id)
            }
        }
    }
}

/// One spelling for each serial number: upper case, without the zeros in front that some programs write.
pub(super) fn serial(hex: &str) -> String {
    hex.trim_start_matches('0').to_ascii_uppercase()
}

/// The header's value. Two of one name are refused: who verifies and who reads could mean different ones.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| "a header of it is no text"),
        (Some(_), Some(_)) => Err("a header of it is there twice"),
    }
}

/// Digits only, so that one moment has one spelling.
fn seconds(text: &str) -> Option<Timestamp> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = text.parse().ok()?;
    seconds.checked_mul(1000).map(Timestamp::from_millis)
}

impl fmt::Debug for MerchantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MerchantKey({})", self.serial_no)
    }
}

impl fmt::Debug for PlatformKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}
