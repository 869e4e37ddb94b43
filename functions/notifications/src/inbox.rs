//! What all notifications of one user amount to: how many there are, how many are unread, and what he wants to be told.
//! Pure; lists and counts read it instead of the notifications, so that they cost the same however much there is.
//!
//! A notification is counted here before it is stored: the inbox first *promises* it, then it is put into the table, and
//! later the promise is dropped, once the notification was seen there. Whoever is interrupted in between, and comes again,
//! finds the promise and does not count twice. So what is stored was counted, and what was counted is stored or promised.
//!
//! "Everything read" touches no notification: it begins a new *era* of the kind. A notification carries the era in which it
//! was counted; one of an earlier era is read.

use std::collections::BTreeMap;

use kernel::{NotificationId, Timestamp, UserId};

use crate::notification::{Kind, Notification};
use crate::preferences::Preferences;

/// As many promises are kept before the oldest are looked up and dropped.
const PROMISES: usize = 8;
/// As many times of having read everything are remembered of each kind.
const ERAS: usize = 8;

/// The inbox of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// Whose.
    pub user: UserId,
    /// Counts the changes; 0 until it is stored.
    pub version: u64,
    /// What he wants to be told.
    pub preferences: Preferences,
    /// The notifications of each kind, in the order of [`Kind::ALL`].
    pub tallies: [Tally; Kind::ALL.len()],
    /// What is counted but perhaps not stored, with the era in which it was counted.
    pub promises: BTreeMap<NotificationId, u32>,
}

/// The notifications of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// All of them.
    pub total: u64,
    /// Those that he has not read.
    pub unread: u64,
    /// How often he has read everything.
    pub era: u32,
    /// When he did so, the last times, latest last.
    pub read_all_at: Vec<Timestamp>,
    /// No unread one has a lower id.
    pub unread_from: Option<NotificationId>,
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

/// Which notifications of a kind are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// Those that were read.
    Read,
    /// Those that were not.
    Unread,
    /// None: what was asked for contradicts itself.
    Nothing,
}

impl Filter {
    /// Read ones, unread ones, both, or none.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        match (self.is_read, self.unread_only) {
            (None, false) => Wanted::All,
            (Some(true), false) => Wanted::Read,
            (Some(false), _) | (None, true) => Wanted::Unread,
            (Some(true), true) => Wanted::Nothing,
        }
    }

    /// The kinds wanted.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let wanted = self.kind;
        Kind::ALL
            .into_iter()
            .filter(move |kind| wanted.is_none_or(|wanted| *kind == wanted))
    }
}

impl Inbox {
    /// The inbox of somebody who was never told anything.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            version: 0,
            preferences: Preferences::default(),
            tallies: Default::default(),
            promises: BTreeMap::new(),
        }
    }

    /// The notifications of a kind.
    #[must_use]
    pub fn tally(&self, kind: Kind) -> &Tally {
        &self.tallies[kind as usize]
    }

    /// Unread notifications of all kinds.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.unread).sum()
    }

    /// How many notifications of a kind are wanted.
    #[must_use]
    pub fn count(&self, kind: Kind, wanted: Wanted) -> u64 {
        let Tally { total, unread, .. } = self.tally(kind);
        match wanted {
            Wanted::All => *total,
            Wanted::Unread => *unread,
            Wanted::Read => total.saturating_sub(*unread),
            Wanted::Nothing => 0,
        }
    }

    /// The inbox with this notification counted, and the era in which it is. Counting it again, as long as it is promised,
    /// changes nothing.
    #[must_use]
    pub fn promising(&self, id: NotificationId, kind: Kind) -> (Self, u32) {
        if let Some(era) = self.promises.get(&id) {
            return (self.clone(), *era);
        }
        let (mut next, era) = self.counting(id, kind);
        next.promises.insert(id, era);
        (next, era)
    }

    /// The inbox with this notification counted that is stored in the same moment, and the era in which it is.
    #[must_use]
    pub fn counting(&self, id: NotificationId, kind: Kind) -> (Self, u32) {
        let mut next = self.next();
        let tally = &mut next.tallies[kind as usize];
        tally.total += 1;
        tally.unread += 1;
        tally.unread_from = Some(tally.unread_from.map_or(id, |from| from.min(id)));
        let era = tally.era;
        (next, era)
    }

    /// Counts a notification that a migration writes, read or unread.
    pub fn import(&mut self, id: NotificationId, kind: Kind, is_unread: bool) {
        self.version = 1;
        let tally = &mut self.tallies[kind as usize];
        tally.total += 1;
        if is_unread {
            tally.unread += 1;
            tally.unread_from = Some(tally.unread_from.map_or(id, |from| from.min(id)));
        }
    }

    /// The promises, once there are so many that they have to be looked up.
    #[must_use]
    pub fn old_promises(&self) -> Vec<NotificationId> {
        if self.promises.len() < PROMISES {
            return Vec::new();
        }
        self.promises.keys().copied().collect()
    }

    /// The inbox without the promises of what is stored.
    #[must_use]
    pub fn kept(mut self, stored: &[NotificationId]) -> Self {
        self.promises.retain(|id, _| !stored.contains(id));
        self
    }

    /// The notification as its user sees it: with the time when he read everything, if that was first.
    #[must_use]
    pub fn shown(&self, notification: Notification) -> Notification {
        let tally = self.tally(notification.message.kind);
        let with_everything = (notification.era < tally.era).then(|| {
            // The time at which its era ended; the earliest that is remembered, if that was long ago.
            let ago = (tally.era - notification.era) as usize;
            let position = tally.read_all_at.len().saturating_sub(ago);
            tally
                .read_all_at
                .get(position)
                .copied()
                .unwrap_or(notification.created_at)
        });
        Notification {
            read_at: notification.read_at.or(with_everything),
            ..notification
        }
    }

    /// The inbox once an unread notification of this kind was read.
    #[must_use]
    pub fn reading(&self, kind: Kind) -> Self {
        let mut next = self.next();
        next.tallies[kind as usize].less_unread();
        next
    }

    /// The inbox without this notification.
    #[must_use]
    pub fn removing(&self, id: NotificationId, kind: Kind, was_unread: bool) -> Self {
        let mut next = self.next();
        next.promises.remove(&id);
        let tally = &mut next.tallies[kind as usize];
        tally.total = tally.total.saturating_sub(1);
        if was_unread {
            tally.less_unread();
        }
        next
    }

    /// The inbox with everything read, of one kind or of all. `None`: there is nothing unread.
    #[must_use]
    pub fn reading_all(&self, kind: Option<Kind>, now: Timestamp) -> Option<Self> {
        let mut next = self.next();
        let mut is_changed = false;
        for kind in Kind::ALL
            .into_iter()
            .filter(|each| kind.is_none_or(|kind| *each == kind))
        {
            let tally = &mut next.tallies[kind as usize];
            if tally.unread == 0 {
                continue;
            }
            is_changed = true;
            tally.unread = 0;
            tally.unread_from = None;
            tally.era += 1;
            tally.read_all_at.push(now);
            if tally.read_all_at.len() > ERAS {
                tally.read_all_at.remove(0);
            }
        }
        is_changed.then_some(next)
    }

    /// The inbox with other preferences.
    #[must_use]
    pub fn preferring(&self, preferences: Preferences) -> Self {
        Self {
            preferences,
            ..self.next()
        }
    }

    fn next(&self) -> Self {
        Self {
            version: self.version + 1,
            ..self.clone()
        }
    }
}

impl Tally {
    fn less_unread(&mut self) {
        self.unread = self.unread.saturating_sub(1);
        if self.unread == 0 {
            self.unread_from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::notification::{Message, id_of};

    #[test]
    fn filters_hold_together() {
        for (is_read, unread_only, wanted) in [
            (None, false, Wanted::All),
            (Some(true), false, Wanted::Read),
            (Some(false), false, Wanted::Unread),
            (None, true, Wanted::Unread),
            (Some(false), true, Wanted::Unread),
            (Some(true), true, Wanted::Nothing),
        ] {
            let filter = Filter {
                kind: None,
                is_read,
                unread_only,
            };
            assert_eq!(filter.wanted(), wanted, "{filter:?}");
            assert_eq!(filter.kinds().collect::<Vec<_>>(), Kind::ALL);
        }
        let filter = Filter {
            kind: Some(Kind::System),
            ..Filter::default()
        };
        assert_eq!(filter.kinds().collect::<Vec<_>>(), [Kind::System]);
    }

    /// What can happen to a user's notifications, each step interrupted or repeated.
    #[derive(Debug, Clone)]
    enum Step {
        /// An event is delivered; the function ends after so many of its two writes.
        Deliver {
            notification: usize,
            writes: u8,
        },
        Read(usize),
        ReadAll(Option<Kind>),
        Delete(usize),
    }

    /// The two tables, without a network.
    struct World {
        inbox: Inbox,
        stored: BTreeMap<NotificationId, Notification>,
        deleted: BTreeSet<NotificationId>,
        now: i64,
    }

    impl World {
        fn deliver(&mut self, id: NotificationId, kind: Kind, writes: u8) {
            if self.stored.contains_key(&id) || self.deleted.contains(&id) {
                return;
            }
            let (next, era) = self.inbox.promising(id, kind);
            let old = next.old_promises();
            let there: Vec<_> = old.into_iter().filter(|id| self.stored.contains_key(id)).collect();
            if writes == 0 {
                return;
            }
            self.inbox = next.kept(&there);
            if writes == 1 {
                return;
            }
            let message = Message {
                kind,
                title: "t".into(),
                content: "c".into(),
                related_id: None,
                related_data: None,
            };
            let mut new = Notification::new(id, self.inbox.user, message, Timestamp::from_millis(self.now));
            new.era = era;
            self.stored.insert(id, new);
        }

        fn step(&mut self, step: &Step, all: &[(NotificationId, Kind)]) {
            self.now += 1;
            let now = Timestamp::from_millis(self.now);
            match step {
                Step::Deliver { notification, writes } => {
                    let (id, kind) = all[*notification];
                    self.deliver(id, kind, *writes);
                }
                Step::Read(position) => {
                    let (id, kind) = all[*position];
                    let Some(found) = self.stored.get_mut(&id) else { return };
                    if self.inbox.shown(found.clone()).read_at.is_none() {
                        found.read_at = Some(now);
                        self.inbox = self.inbox.reading(kind);
                    }
                }
                Step::ReadAll(kind) => {
                    if let Some(next) = self.inbox.reading_all(*kind, now) {
                        self.inbox = next;
                    }
                }
                Step::Delete(position) => {
                    let (id, kind) = all[*position];
                    let Some(found) = self.stored.remove(&id) else { return };
                    let was_unread = self.inbox.shown(found).read_at.is_none();
                    self.inbox = self.inbox.removing(id, kind, was_unread);
                    self.deleted.insert(id);
                }
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let kind = prop_oneof![Just(None), proptest::sample::select(&Kind::ALL[..]).prop_map(Some)];
        let step = prop_oneof![
            6 => (0..24_usize, 0..3_u8).prop_map(|(notification, writes)| Step::Deliver { notification, writes }),
            3 => (0..24_usize).prop_map(Step::Read),
            1 => kind.prop_map(Step::ReadAll),
            2 => (0..24_usize).prop_map(Step::Delete),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        /// Whatever is delivered twice, interrupted, read and deleted in between: once everything was delivered, the
        /// counts are those of a recount.
        #[test]
        fn counts_are_those_of_a_recount(steps in steps()) {
            let all: Vec<(NotificationId, Kind)> = (0..24)
                .map(|n: usize| {
                    let kind = Kind::ALL[n % 3];
                    (id_of(kind, Timestamp::from_millis(n as i64), &[&n.to_string()]), kind)
                })
                .collect();
            let mut world = World {
                inbox: Inbox::new(UserId::random()),
                stored: BTreeMap::new(),
                deleted: BTreeSet::new(),
                now: 0,
            };
            for step in &steps {
                world.step(step, &all);
            }
            for (id, kind) in &all {
                world.deliver(*id, *kind, 2);
            }
            for kind in Kind::ALL {
                let those: Vec<_> = world.stored.values().filter(|one| one.message.kind == kind).collect();
                let unread: Vec<_> = those
                    .iter()
                    .filter(|one| world.inbox.shown((**one).clone()).read_at.is_none())
                    .collect();
                let tally = world.inbox.tally(kind);
                prop_assert_eq!((tally.total, tally.unread), (those.len() as u64, unread.len() as u64), "{:?}", kind);
                for one in unread {
                    prop_assert!(tally.unread_from.is_some_and(|from| from <= one.id));
                }
            }
            prop_assert!(world.inbox.promises.len() <= PROMISES + 1);
        }
    }

    #[test]
    fn what_was_read_with_everything_keeps_the_first_time() {
        let at = Timestamp::from_millis;
        let message = Message {
            kind: Kind::System,
            title: "t".into(),
            content: "c".into(),
            related_id: None,
            related_data: None,
        };
        let tell = |inbox: &Inbox, n: i64| {
            let id = id_of(Kind::System, at(n), &[&n.to_string()]);
            let (next, era) = inbox.promising(id, Kind::System);
            let mut new = Notification::new(id, next.user, message.clone(), at(n));
            new.era = era;
            (next, new)
        };
        let (mut inbox, first) = tell(&Inbox::new(UserId::random()), 1);
        assert_eq!(inbox.shown(first.clone()).read_at, None);
        assert_eq!(
            inbox.reading_all(Some(Kind::Promotion), at(5)),
            None,
            "nothing of that kind is unread"
        );
        inbox = inbox.reading_all(None, at(10)).unwrap();
        let (next, second) = tell(&inbox, 2);
        inbox = next.reading_all(Some(Kind::System), at(20)).unwrap();
        assert_eq!(inbox.shown(first.clone()).read_at, Some(at(10)));
        assert_eq!(inbox.shown(second).read_at, Some(at(20)));
        for n in 3..20 {
            inbox = tell(&inbox, n).0.reading_all(None, at(n * 100)).unwrap();
        }
        assert_eq!(inbox.tally(Kind::System).read_all_at.len(), ERAS);
        assert_eq!(
            inbox.shown(first).read_at,
            Some(at(1_200)),
            "the earliest that is remembered"
        );
        assert_eq!(inbox.unread(), 0);
    }
}
