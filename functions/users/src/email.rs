//! E-mail addresses.

use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The address of one person: ASCII, with a domain that has a dot, in lower case, at most 254 characters. Accounts are
/// found by it, so two spellings of one mailbox have to be the same value.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Email(String);

/// A text that is not an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address such as name@example.edu")]
pub struct NotAnEmail;

impl Email {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = NotAnEmail;

    fn from_str(text: &str) -> Result<Self, NotAnEmail> {
        // SES takes ASCII only, and nobody reads mail at an IP address or at a bare host.
        let rules = Options::default()
            .with_required_tld()
            .without_domain_literal()
            .without_display_text();
        let text = text.trim();
        if !text.is_ascii() || text.len() > 254 {
            return Err(NotAnEmail);
        }
        EmailAddress::parse_with_options(text, rules)
            .map(|address| Self(address.as_str().to_ascii_lowercase()))
            .map_err(|_| NotAnEmail)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Hides the address: `Debug` ends up in logs.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_mailbox_are_one_address() {
        let email: Email = " Zhang.San+cfmp@Example.EDU ".parse().unwrap();
        assert_eq!(email.as_str(), "zhang.san+cfmp@example.edu");
        assert_eq!(format!("{email:?}"), "Email(...)");
    }

    #[test]
    fn what_no_mail_can_reach_is_refused() {
        let long = format!("{}@example.edu", "a".repeat(65));
        let longer = format!("a@{}.edu", "a.".repeat(130));
        for text in [
            "",
            "a",
            "a@",
            "@example.edu",
            "a@localhost",
            "a@[127.0.0.1]",
            "A <a@example.edu>",
            "a b@example.edu",
            "a@example.edu\r\nBcc: b@example.edu",
            "张三@example.edu",
            long.as_str(),
            longer.as_str(),
        ] {
            assert_eq!(text.parse::<Email>(), Err(NotAnEmail), "{text:?}");
        }
    }
}
