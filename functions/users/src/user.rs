//! A user, and what he may change about himself.

use std::fmt;
use std::str::FromStr;

use kernel::{Text, Timestamp, UserId};
use keys::Privilege;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::email::Email;
use crate::password::PasswordHash;

/// The name that others see: 1 to 30 characters, no white space, no control characters. Unique.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Username(String);

/// Why a text is no username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// It contains white space.
    #[error("must not contain spaces")]
    Space,
    /// Nothing, too much, or what no keyboard types.
    #[error("must have 1 to 30 visible characters")]
    Length,
}

/// Where somebody lives, to fill in when he orders: at most 200 characters.
pub type Address = Text<0, 200>;

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Yes.
    Normal,
    /// An administrator closed it.
    Banned,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Shown name.
    pub username: Username,
    /// Where mail reaches him, and what he logs in with.
    pub email: Email,
    /// His password.
    pub password: PasswordHash,
    /// Whether the account can be used.
    pub status: Status,
    /// What he may do.
    pub privilege: Privilege,
    /// URL of his picture.
    pub avatar: Option<String>,
    /// Where he lives.
    pub address: Option<Address>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Counts the changes.
    pub version: u64,
}

impl User {
    /// A new account: a member, nothing known but what registration asks for.
    #[must_use]
    pub fn new(username: Username, email: Email, password: PasswordHash, now: Timestamp) -> Self {
        Self {
            id: UserId::random(),
            username,
            email,
            password,
            status: Status::Normal,
            privilege: Privilege::Member,
            avatar: None,
            address: None,
            created_at: now,
            version: 1,
        }
    }

    /// The user with another name, address, or both. An empty address is none.
    #[must_use]
    pub fn changed(&self, username: Option<Username>, address: Option<Address>) -> Self {
        let mut changed = self.clone();
        if let Some(username) = username {
            changed.username = username;
        }
        if let Some(address) = address {
            changed.address = Some(address).filter(|address| !address.is_empty());
        }
        if changed != *self {
            changed.version += 1;
        }
        changed
    }
}

impl Status {
    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Banned => 1,
        }
    }
}

impl Username {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        if text.chars().any(char::is_whitespace) {
            return Err(UsernameError::Space);
        }
        if !(1..=30).contains(&text.chars().count()) || text.chars().any(char::is_control) {
            return Err(UsernameError::Length);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Username {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Hides the name: `Debug` ends up in logs.
impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::Password;

    fn zhang_san() -> User {
        let password: Password = serde_json::from_str("\"abc123\"").unwrap();
        User::new(
            "zhangsan".parse().unwrap(),
            "a@example.edu".parse().unwrap(),
            password.hash().unwrap(),
            Timestamp::from_millis(1),
        )
    }

    #[test]
    fn usernames_have_1_to_30_characters_and_no_space() {
        assert!("张三".parse::<Username>().is_ok());
        assert!("三".repeat(30).parse::<Username>().is_ok());
        for (text, expected) in [
            ("", UsernameError::Length),
            ("a\u{0}", UsernameError::Length),
            (" ", UsernameError::Space),
            ("a b", UsernameError::Space),
            ("a ", UsernameError::Space),
            ("a\u{3000}b", UsernameError::Space),
        ] {
            assert_eq!(text.parse::<Username>(), Err(expected), "{text:?}");
        }
        assert_eq!("a".repeat(31).parse::<Username>(), Err(UsernameError::Length));
    }

    #[test]
    fn a_new_account_is_a_normal_member_without_secrets_in_its_debug_text() {
        let user = zhang_san();
        assert_eq!(
            (user.status, user.privilege, user.version),
            (Status::Normal, Privilege::Member, 1)
        );
        let shown = format!("{user:?}");
        assert!(
            !shown.contains("example.edu") && !shown.contains("argon2") && !shown.contains("zhangsan"),
            "{shown}"
        );
    }

    #[test]
    fn a_change_changes_what_is_named_and_counts_once() {
        let user = zhang_san();
        assert_eq!(user.changed(None, None), user);
        assert_eq!(
            user.changed(Some(user.username.clone()), Some("".parse().unwrap())),
            user
        );

        let moved = user.changed(None, Some("3号楼 101".parse().unwrap()));
        assert_eq!((moved.version, moved.address.as_deref()), (2, Some("3号楼 101")));
        let renamed = moved.changed(Some("lisi".parse().unwrap()), Some("".parse().unwrap()));
        assert_eq!(
            (renamed.version, renamed.username.as_str(), renamed.address.clone()),
            (3, "lisi", None)
        );
        assert_eq!(
            (renamed.privilege, renamed.status, renamed.email),
            (user.privilege, user.status, user.email)
        );
    }
}
