//! A user, and what he may change about himself.

use std::fmt;
use std::str::FromStr;

use kernel::{Timestamp, UserId};
use keys::Privilege;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use crate::UserError;
use crate::address::SealedAddress;
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

/// In which language somebody is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Chinese.
    #[default]
    Zh,
    /// English.
    En,
}

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
    pub address: Option<SealedAddress>,
    /// In which language he is written to.
    pub language: Language,
    /// When his log-ins were ended: tokens issued until then prove nothing any more.
    pub revoked_at: Option<Timestamp>,
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
            language: Language::default(),
            revoked_at: None,
            created_at: now,
            version: 1,
        }
    }

    /// The user as he wants to be.
    #[must_use]
    pub fn changed(&self, wish: OwnWish) -> Self {
        let mut changed = self.clone();
        changed.username = wish.username.unwrap_or(changed.username);
        changed.address = wish.address.unwrap_or(changed.address);
        changed.language = wish.language.unwrap_or(changed.language);
        changed.counted_after(self)
    }

    /// The user as the administrator `by` wants him. A ban and the loss of a privilege end his log-ins.
    ///
    /// # Errors
    /// [`UserError::OwnAccount`]: who could ban or demote himself could leave the market without administrators.
    pub fn managed(&self, wish: Management, by: UserId, now: Timestamp) -> Result<Self, UserError> {
        let mut managed = self.clone();
        managed.username = wish.username.unwrap_or(managed.username);
        managed.status = wish.status.unwrap_or(self.status);
        managed.privilege = wish.privilege.unwrap_or(self.privilege);
        if by == self.id && (managed.status, managed.privilege) != (self.status, self.privilege) {
            return Err(UserError::OwnAccount);
        }
        let is_banned = self.status == Status::Normal && managed.status == Status::Banned;
        let is_demoted = self.privilege == Privilege::Administrator && managed.privilege == Privilege::Member;
        if is_banned || is_demoted {
            managed.revoked_at = Some(now);
        }
        Ok(managed.counted_after(self))
    }

    /// Whether a token that was issued at `issued_at` (to the second) still logs him in.
    ///
    /// # Errors
    /// [`UserError::Banned`], [`UserError::LoggedOut`].
    pub fn admits(&self, issued_at: Timestamp) -> Result<(), UserError> {
        if self.status == Status::Banned {
            return Err(UserError::Banned);
        }
        if self.revoked_at.is_some_and(|at| issued_at.seconds() <= at.seconds()) {
            return Err(UserError::LoggedOut);
        }
        Ok(())
    }

    /// One change is one version.
    fn counted_after(mut self, before: &Self) -> Self {
        if self != *before {
            self.version = before.version + 1;
        }
        self
    }
}

/// What a user changes of his own account; what he does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnWish {
    /// The shown name.
    pub username: Option<Username>,
    /// Where he lives; `Some(None)`: nowhere that the market would know.
    pub address: Option<Option<SealedAddress>>,
    /// In which language he is written to.
    pub language: Option<Language>,
}

/// What an administrator changes of an account; what he does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Management {
    /// The shown name.
    pub username: Option<Username>,
    /// Whether the account can be used.
    pub status: Option<Status>,
    /// What its user may do.
    pub privilege: Option<Privilege>,
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

    fn sealed(text: &str) -> SealedAddress {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    #[test]
    fn a_change_changes_what_is_named_and_counts_once() {
        let user = zhang_san();
        let wish = |username: Option<&str>, address| OwnWish {
            username: username.map(|name| name.parse().unwrap()),
            address,
            language: None,
        };
        assert_eq!(user.changed(OwnWish::default()), user);
        assert_eq!(user.changed(wish(Some("zhangsan"), Some(None))), user);

        let moved = user.changed(wish(None, Some(Some(sealed("x")))));
        assert_eq!((moved.version, &moved.address), (2, &Some(sealed("x"))));
        let renamed = moved.changed(wish(Some("lisi"), Some(None)));
        assert_eq!(
            (renamed.version, renamed.username.as_str(), renamed.address.clone()),
            (3, "lisi", None)
        );
        assert_eq!(
            (renamed.privilege, renamed.status, renamed.email),
            (user.privilege, user.status, user.email.clone())
        );
        assert_eq!(user.language, Language::Zh);
        let english = user.changed(OwnWish {
            language: Some(Language::En),
            ..OwnWish::default()
        });
        assert_eq!((english.version, english.language), (2, Language::En));
    }

    /// Every status and privilege against every wish, by another administrator and by himself.
    #[test]
    fn an_administrator_changes_others_and_what_is_taken_away_ends_log_ins() {
        let now = Timestamp::from_millis(5_000);
        let statuses = [Status::Normal, Status::Banned];
        let privileges = [Privilege::Member, Privilege::Administrator];
        for (status, privilege) in statuses.iter().flat_map(|s| privileges.iter().map(move |p| (*s, *p))) {
            let user = User {
                status,
                privilege,
                ..zhang_san()
            };
            for wanted_status in [None, Some(Status::Normal), Some(Status::Banned)] {
                for wanted in [None, Some(Privilege::Member), Some(Privilege::Administrator)] {
                    let wish = Management {
                        username: None,
                        status: wanted_status,
                        privilege: wanted,
                    };
                    let after = user.managed(wish.clone(), UserId::random(), now).unwrap();
                    assert_eq!(after.status, wanted_status.unwrap_or(status));
                    assert_eq!(after.privilege, wanted.unwrap_or(privilege));
                    let changes = (after.status, after.privilege) != (status, privilege);
                    assert_eq!(after.version, user.version + u64::from(changes));
                    let is_less =
                        status.number() < after.status.number() || privilege.number() > after.privilege.number();
                    assert_eq!(after.revoked_at, is_less.then_some(now), "{user:?} {wish:?}");
                    let by_himself = user.managed(wish, user.id, now);
                    assert_eq!(matches!(by_himself, Err(UserError::OwnAccount)), changes);
                }
            }
        }
        let user = zhang_san();
        let renaming = Management {
            username: Some("lisi".parse().unwrap()),
            ..Management::default()
        };
        let renamed = user.managed(renaming, user.id, now).unwrap();
        assert_eq!(
            (renamed.username.as_str(), renamed.revoked_at, renamed.version),
            ("lisi", None, 2)
        );
    }

    #[test]
    fn a_token_admits_until_its_user_is_banned_or_logged_out() {
        let at = Timestamp::from_millis;
        let user = User {
            revoked_at: Some(at(5_900)),
            ..zhang_san()
        };
        for (issued, admitted) in [(4_000, false), (5_000, false), (6_000, true)] {
            assert_eq!(user.admits(at(issued)).is_ok(), admitted, "{issued}");
        }
        let banned = User {
            status: Status::Banned,
            ..user
        };
        assert!(matches!(banned.admits(at(9_000)), Err(UserError::Banned)));
        assert!(zhang_san().admits(at(0)).is_ok());
    }
}
