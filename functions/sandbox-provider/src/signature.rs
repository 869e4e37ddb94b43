//! Signatures: whom the sandbox believes, and how it is believed.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use cloud::{Cloud, StartError};
use kernel::Timestamp;
use keys::{Seed, SeedError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Header with the time at which a message was sent.
pub const TIMESTAMP: &str = "sandbox-timestamp";
/// Header with a message's signature.
pub const SIGNATURE: &str = "sandbox-signature";

/// A message older or newer than this proves nothing.
const WINDOW: Duration = Duration::from_secs(300);
/// What the key is derived for.
const PURPOSE: &str = "sandbox-provider";

/// Makes and verifies signatures. The current key first, then the previous one where there is one.
pub struct Signatures(Vec<hmac::Key>);

/// An answer to a merchant and what proves that it is the sandbox's.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignedAnswer {
    /// Its `result` says which answer it is.
    #[schema(value_type = Object)]
    answer: Value,
    /// Over the signature of the call and the raw text of `answer`.
    sign: String,
}

/// A message whose signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature proves nothing: {0}")]
pub struct NotGenuine(&'static str);

impl Signatures {
    /// Derives the keys from the secret named by `SANDBOX_PROVIDER_SECRET`.
    ///
    /// # Errors
    /// [`StartError`] names what is missing.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        cloud.derived("SANDBOX_PROVIDER_SECRET", Self::derive).await
    }

    fn derive(seed: &Seed) -> Result<Self, SeedError> {
        let keys = seed.keys(PURPOSE)?;
        Ok(Self(
            keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect(),
        ))
    }

    /// The parameters of a payment page, if its merchant signed them.
    ///
    /// # Errors
    /// [`NotGenuine`].
    pub fn verify_page(&self, query: &str) -> Result<Vec<(String, String)>, NotGenuine> {
        let mut parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let at = parameters
            .iter()
            .position(|(name, _)| name == "sign")
            .ok_or(NotGenuine("there is none"))?;
        let (_, sign) = parameters.remove(at);
        parameters.sort();
        let signed = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&parameters)
            .finish();
        self.verify(&["sandbox-page", &signed], &sign)?;
        Ok(parameters)
    }

    /// Verifies a merchant's call.
    ///
    /// # Errors
    /// [`NotGenuine`].
    pub fn verify_call(&self, path: &str, sent: Sent<'_>, body: &[u8], now: Timestamp) -> Result<(), NotGenuine> {
        let timestamp = sent.timestamp.ok_or(NotGenuine("it has no timestamp"))?;
        let signature = sent.signature.ok_or(NotGenuine("there is none"))?;
        let body = std::str::from_utf8(body).map_err(|_| NotGenuine("the body is not text"))?;
        self.verify(&["sandbox-call", path, timestamp, body], signature)?;
        let sent_at = timestamp
            .parse()
            .map_err(|_| NotGenuine("its timestamp is no number"))?;
        let sent_at = Timestamp::from_millis(sent_at);
        match now.since(sent_at).max(sent_at.since(now)) < WINDOW {
            true => Ok(()),
            false => Err(NotGenuine("it is too old or too new")),
        }
    }

    /// A signed answer to the call that carried `call_signature`.
    #[must_use]
    pub fn sign_answer(&self, call_signature: &str, answer: Value) -> SignedAnswer {
        // Written into the envelope, the answer is this very text again: one writer, one order of members.
        let sign = self.sign(&["sandbox-answer", call_signature, &answer.to_string()]);
        SignedAnswer { answer, sign }
    }

    /// The signature of a notification.
    #[must_use]
    pub fn sign_notification(&self, timestamp: &str, body: &str) -> String {
        self.sign(&["sandbox-notification", timestamp, body])
    }

    fn sign(&self, parts: &[&str]) -> String {
        match self.0.first() {
            Some(key) => {
                let tag = hmac::sign(key, parts.join("\n").as_bytes());
                tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
            // A seed always yields a key; without one nobody would believe us.
            None => String::new(),
        }
    }

    /// In constant time.
    fn verify(&self, parts: &[&str], signature: &str) -> Result<(), NotGenuine> {
        let tag = bytes_of(signature).ok_or(NotGenuine("it is not hexadecimal"))?;
        let text = parts.join("\n");
        match self
            .0
            .iter()
            .any(|key| hmac::verify(key, text.as_bytes(), &tag).is_ok())
        {
            true => Ok(()),
            false => Err(NotGenuine("it is wrong")),
        }
    }
}

/// What a call's headers say of its signature.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// [`TIMESTAMP`].
    pub timestamp: Option<&'a str>,
    /// [`SIGNATURE`].
    pub signature: Option<&'a str>,
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signatures({} keys)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn signatures(seed: &str, previous: Option<&str>) -> Signatures {
        let secret = json!({"seed": seed.repeat(32), "previous_seed": previous.map(|text| text.repeat(32))});
        Signatures::derive(&secret.to_string().parse().unwrap()).unwrap()
    }

    #[test]
    fn a_page_is_believed_in_any_order_and_encoding_but_not_changed() {
        let merchant = signatures("a", None);
        let query = "amount=1990&subject=a%3Db%2Bc%26d+%22%7D%F0%9F%92%A1";
        let sign = merchant.sign(&["sandbox-page", query]);
        let ours = signatures("b", Some("a"));
        let read = ours.verify_page(&format!("{query}&sign={sign}")).unwrap();
        assert_eq!(read[1], ("subject".to_owned(), "a=b+c&d \"}💡".to_owned()));
        let shuffled = format!("sign={sign}&subject=a%3db%2bc%26d%20%22%7d%f0%9f%92%a1&amount=1990");
        assert!(ours.verify_page(&shuffled).is_ok());
        for forged in [
            query.to_owned(),
            format!("{}&sign={sign}", query.replace("1990", "1")),
            format!("{query}&sign="),
            format!("{query}&sign=zz"),
            format!("{query}&merchant=me&sign={sign}"),
        ] {
            assert!(ours.verify_page(&forged).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_call_is_believed_for_its_path_its_body_and_a_while() {
        let ours = signatures("a", None);
        let timestamp = NOW.millis().to_string();
        let signature = ours.sign(&["sandbox-call", "/sandbox/trades/x/refund", &timestamp, "{}"]);
        let sent = Sent {
            timestamp: Some(&timestamp),
            signature: Some(&signature),
        };
        let verify = |path: &str, sent, body: &str, now| ours.verify_call(path, sent, body.as_bytes(), now);
        assert_eq!(verify("/sandbox/trades/x/refund", sent, "{}", NOW), Ok(()));
        assert!(verify("/sandbox/trades/x/close", sent, "{}", NOW).is_err());
        assert!(verify("/sandbox/trades/x/refund", sent, "{ }", NOW).is_err());
        assert!(verify("/sandbox/trades/x/refund", sent, "{}", NOW.plus(WINDOW)).is_err());
        assert!(verify("/sandbox/trades/x/refund", sent, "{}", NOW.minus(WINDOW)).is_err());
        let unsigned = Sent {
            timestamp: Some(&timestamp),
            signature: None,
        };
        assert!(verify("/sandbox/trades/x/refund", unsigned, "{}", NOW).is_err());
    }

    #[test]
    fn the_signed_answer_is_the_text_that_is_sent() {
        let ours = signatures("a", None);
        let sent = ours.sign_answer(
            "call",
            json!({"result": "FOUND", "amount": 5, "trade": {"b": 1, "a": "💡"}}),
        );
        let text = serde_json::to_string(&sent).unwrap();
        let start = text.find("\"answer\":").unwrap() + 9;
        let raw = &text[start..text.find(",\"sign\"").unwrap()];
        assert!(ours.verify(&["sandbox-answer", "call", raw], &sent.sign).is_ok());
    }
}
