//! Everything one user was told, as far as lists and counts need it. Pure.

use kernel::{NotificationId, Timestamp};

use crate::notification::Kind;

/// As much of a notification as lists need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The notification.
    pub id: NotificationId,
    /// What kind it is.
    pub kind: Kind,
    /// When it came about.
    pub created_at: Timestamp,
    /// Whether it was read.
    pub is_read: bool,
}

/// Which notifications somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Read ones, or unread ones.
    pub is_read: Option<bool>,
    /// Unread ones, whatever else is asked for.
    pub unread_only: bool,
}

impl Filter {
    /// The notifications wanted, newest first.
    #[must_use]
    pub fn among(&self, mut entries: Vec<Entry>) -> Vec<NotificationId> {
        // The id decides between notifications of one millisecond, so that no page shows one twice.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.created_at), entry.id));
        entries
            .into_iter()
            .filter(|entry| self.kind.is_none_or(|kind| entry.kind == kind))
            .filter(|entry| self.is_read.is_none_or(|is_read| entry.is_read == is_read))
            .filter(|entry| !self.unread_only || !entry.is_read)
            .map(|entry| entry.id)
            .collect()
    }
}

/// How many notifications are unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    counts: [usize; Kind::ALL.len()],
}

impl Unread {
    /// Counts unread notifications of these kinds.
    pub fn count(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut unread = Self::default();
        for kind in kinds {
            unread.counts[kind as usize] += 1;
        }
        unread
    }

    /// Unread ones of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// All unread ones.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_together_and_the_newest_comes_first() {
        let entry = |kind, created_at, is_read| Entry {
            id: NotificationId::random(),
            kind,
            created_at: Timestamp::from_millis(created_at),
            is_read,
        };
        let entries = [
            entry(Kind::Transaction, 1, true),
            entry(Kind::Transaction, 2, false),
            entry(Kind::System, 3, false),
            entry(Kind::Promotion, 4, true),
        ];
        let times = |filter: Filter| -> Vec<i64> {
            let ids = filter.among(entries.to_vec());
            let time = |id| entries.iter().find(|entry| entry.id == id).unwrap().created_at.millis();
            ids.into_iter().map(time).collect()
        };
        let all = Filter::default();
        assert_eq!(times(all), [4, 3, 2, 1]);
        assert_eq!(
            times(Filter {
                kind: Some(Kind::Transaction),
                ..all
            }),
            [2, 1]
        );
        assert_eq!(
            times(Filter {
                is_read: Some(true),
                ..all
            }),
            [4, 1]
        );
        assert_eq!(
            times(Filter {
                is_read: Some(false),
                ..all
            }),
            [3, 2]
        );
        assert_eq!(
            times(Filter {
                unread_only: true,
                kind: Some(Kind::System),
                ..all
            }),
            [3]
        );
        assert_eq!(
            times(Filter {
                unread_only: true,
                is_read: Some(true),
                ..all
            }),
            [0_i64; 0]
        );
    }

    #[test]
    fn unread_ones_are_counted_by_kind() {
        let unread = Unread::count([Kind::System, Kind::Transaction, Kind::System]);
        assert_eq!(Kind::ALL.map(|kind| unread.of(kind)), [1, 2, 0]);
        assert_eq!(unread.total(), 3);
    }
}
