//! The roll of all accounts, as administrators look through it. Pure.

use std::cmp::Reverse;
use std::str::FromStr;

use kernel::{Timestamp, UserId};
use keys::Privilege;

use crate::user::{Status, Username};

/// As much of an account as looking for it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub id: UserId,
    /// His name.
    pub username: Username,
    /// Whether his account can be used.
    pub status: Status,
    /// What he may do.
    pub privilege: Privilege,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// Which accounts are looked for; nothing said, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name contains this, in large or small letters.
    pub username: Option<String>,
    /// It has this status.
    pub status: Option<Status>,
    /// Its user may do this.
    pub privilege: Option<Privilege>,
}

impl Filter {
    /// The accounts found among `entries`, newest first.
    #[must_use]
    pub fn among(&self, entries: Vec<Entry>) -> Vec<UserId> {
        let name = self.username.as_ref().map(|name| name.to_lowercase());
        let mut found: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| self.status.is_none_or(|status| entry.status == status))
            .filter(|entry| self.privilege.is_none_or(|privilege| entry.privilege == privilege))
            .filter(|entry| {
                name.as_ref()
                    .is_none_or(|part| entry.username.as_str().to_lowercase().contains(part))
            })
            .collect();
        // The id decides between accounts of one millisecond, so that no page shows one twice.
        found.sort_by_key(|entry| (Reverse(entry.created_at), entry.id));
        found.into_iter().map(|entry| entry.id).collect()
    }
}

/// A text that is not the number of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 (normal) or 1 (banned)")]
pub struct NotAStatus;

impl FromStr for Status {
    type Err = NotAStatus;

    fn from_str(number: &str) -> Result<Self, NotAStatus> {
        match number {
            "0" => Ok(Self::Normal),
            "1" => Ok(Self::Banned),
            _ => Err(NotAStatus),
        }
    }
}

/// A privilege by the number that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivilegeNumber(pub Privilege);

/// A text that is not the number of a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 (member) or 1 (administrator)")]
pub struct NotAPrivilege;

impl FromStr for PrivilegeNumber {
    type Err = NotAPrivilege;

    fn from_str(number: &str) -> Result<Self, NotAPrivilege> {
        match number {
            "0" => Ok(Self(Privilege::Member)),
            "1" => Ok(Self(Privilege::Administrator)),
            _ => Err(NotAPrivilege),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_together_and_the_newest_come_first() {
        let entry = |name: &str, status, privilege, at| Entry {
            id: UserId::random(),
            username: name.parse().unwrap(),
            status,
            privilege,
            created_at: Timestamp::from_millis(at),
        };
        let (normal, banned) = (Status::Normal, Status::Banned);
        let (member, administrator) = (Privilege::Member, Privilege::Administrator);
        let roll = vec![
            entry("Zhang", normal, administrator, 1),
            entry("zhangsan", banned, member, 3),
            entry("张三", normal, member, 2),
            entry("ZHANGSI", normal, member, 4),
        ];
        let names = |filter: &Filter| -> Vec<String> {
            let name = |id| {
                roll.iter()
                    .find(|entry| entry.id == id)
                    .unwrap()
                    .username
                    .as_str()
                    .to_owned()
            };
            filter.among(roll.clone()).into_iter().map(name).collect()
        };
        assert_eq!(names(&Filter::default()), ["ZHANGSI", "zhangsan", "张三", "Zhang"]);
        let zhang = Filter {
            username: Some("zhang".into()),
            ..Filter::default()
        };
        assert_eq!(names(&zhang), ["ZHANGSI", "zhangsan", "Zhang"]);
        assert_eq!(
            names(&Filter {
                status: Some(normal),
                ..zhang.clone()
            }),
            ["ZHANGSI", "Zhang"]
        );
        assert_eq!(
            names(&Filter {
                privilege: Some(administrator),
                ..zhang.clone()
            }),
            ["Zhang"]
        );
        assert_eq!(
            names(&Filter {
                status: Some(banned),
                privilege: Some(administrator),
                ..zhang
            }),
            [""; 0]
        );
    }

    #[test]
    fn numbers_are_those_that_clients_know() {
        for status in [Status::Normal, Status::Banned] {
            assert_eq!(status.number().to_string().parse(), Ok(status));
        }
        for privilege in [Privilege::Member, Privilege::Administrator] {
            assert_eq!(privilege.number().to_string().parse(), Ok(PrivilegeNumber(privilege)));
        }
        assert!("2".parse::<Status>().is_err() && "banned".parse::<Status>().is_err());
        assert!("2".parse::<PrivilegeNumber>().is_err() && "".parse::<PrivilegeNumber>().is_err());
    }
}
