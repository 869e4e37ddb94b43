//! SES: mails are kept instead of sent.

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::storage::Storage;

/// A mail that would have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Id that the sender got.
    pub message_id: String,
    /// When it was sent.
    pub sent_ms: i64,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// Subject.
    pub subject: String,
    /// Text body.
    pub text: Option<String>,
    /// HTML body.
    pub html: Option<String>,
}

/// The six digits in the newest mail to `email`.
pub(crate) fn captcha(mails: &[Mail], email: &str) -> Option<String> {
    let mail = mails.iter().rev().find(|mail| mail.to.iter().any(|to| to == email))?;
    let text = mail.text.as_deref().or(mail.html.as_deref())?;
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.into_iter().find(|digits| digits.len() == 6).map(str::to_owned)
}

impl Mail {
    /// Reads the body of a SendEmail call. Only simple content is known; the error says what is missing.
    pub fn parse(request: &Value, message_id: String, sent_ms: i64) -> Result<Self, String> {
        let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let addresses = |kind: &str| {
            let list = request
                .pointer(&format!("/Destination/{kind}"))
                .and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let to: Vec<String> = ["ToAddresses", "CcAddresses", "BccAddresses"]
            .into_iter()
            .flat_map(addresses)
            .collect();
        if to.is_empty() {
            return Err("Destination has no address".to_owned());
        }
        if request.pointer("/Content/Simple").is_none() {
            return Err("only Content.Simple is supported".to_owned());
        }
        let mail = Self {
            message_id,
            sent_ms,
            from: text("/FromEmailAddress").ok_or("FromEmailAddress is missing")?,
            to,
            subject: text("/Content/Simple/Subject/Data").ok_or("Content.Simple.Subject is missing")?,
            text: text("/Content/Simple/Body/Text/Data"),
            html: text("/Content/Simple/Body/Html/Data"),
        };
        if mail.text.is_none() && mail.html.is_none() {
            return Err("Content.Simple.Body is empty".to_owned());
        }
        Ok(mail)
    }

    /// ARNs of the identities, one of which the sender needs permission for: the address and its domain.
    pub fn identities(from: &str) -> Vec<String> {
        let address = from
            .rsplit_once('<')
            .map_or(from, |(_, address)| address.trim_end_matches('>'))
            .trim();
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        let arn = |identity: &str| format!("arn:aws:ses:us-east-1:000000000000:identity/{identity}");
        [Some(address), domain].into_iter().flatten().map(arn).collect()
    }
}

/// The mails. Clones share them.
#[derive(Debug, Clone)]
pub struct Mails {
    storage: Storage,
}

impl Mails {
    /// The mails in this file.
    pub fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// Keeps a mail; it is durable when this answers.
    pub fn keep(&self, mail: &Mail) -> Result<(), rusqlite::Error> {
        let text = serde_json::to_string(mail).unwrap_or_default();
        self.storage
            .transaction(|transaction| transaction.execute("INSERT INTO mails (mail) VALUES (?1)", params![text]))?;
        Ok(())
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Result<Vec<Mail>, rusqlite::Error> {
        let texts: Vec<String> = self.storage.read(|connection| {
            connection
                .prepare_cached("SELECT mail FROM mails ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        Ok(texts
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::storage::Durability;

    fn request() -> Value {
        json!({
            "FromEmailAddress": "CFMP <no-reply@cfmp.test>",
            "Destination": {"ToAddresses": ["buyer@cfmp.test"]},
            "Content": {"Simple": {"Subject": {"Data": "Code"}, "Body": {"Text": {"Data": "123456"}}}}
        })
    }

    #[test]
    fn a_mail_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("queues.sqlite");
        let mail = Mail::parse(&request(), "1".to_owned(), 5).unwrap();
        Mails::new(Storage::open(&file, Durability::Kept).unwrap())
            .keep(&mail)
            .unwrap();
        let mails = Mails::new(Storage::open(&file, Durability::Kept).unwrap())
            .list()
            .unwrap();
        assert_eq!(mails, [mail]);
    }

    #[test]
    fn what_can_not_be_sent_is_refused() {
        for missing in ["FromEmailAddress", "Destination", "Content"] {
            let mut request = request();
            request.as_object_mut().unwrap().remove(missing);
            assert!(Mail::parse(&request, String::new(), 0).unwrap_err().contains(missing));
        }
    }

    #[test]
    fn the_address_or_its_domain_is_the_identity() {
        let arns = Mail::identities("CFMP <no-reply@cfmp.test>");
        assert!(arns[0].ends_with(":identity/no-reply@cfmp.test") && arns[1].ends_with(":identity/cfmp.test"));
    }
}
