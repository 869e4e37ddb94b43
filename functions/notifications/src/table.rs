//! Where notifications and inboxes are kept. The only file that knows attribute names.
//!
//! `NotificationsTable` holds notifications, `InboxesTable` what belongs to them: per user the inbox itself, and entries
//! that are looked up by name: notifications that were deleted, requests that may be repeated, mails that were sent.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use cloud::{Cloud, StartError};
use futures::future::try_join_all;
use kernel::{Clock, NotificationId, Page, PageRequest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{Import, Key, Order, Place, Query, Scanned, Table, TableError, Transaction, Update};

use crate::backlog::{self, Arrived, Start};
use crate::inbox::{Filter, Inbox, Tally, Wanted};
use crate::notification::{Kind, Message, Notification, RelatedData, place};
use crate::preferences::Preferences;

/// How often a change of an inbox is decided anew after another one was faster.
const ROUNDS: u8 = 8;
/// How long names are remembered: longer than any message stays in a queue and in its dead letters.
const REMEMBERED: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// A notification as it is stored, and as the table's stream shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredNotification {
    user_uuid: UserId,
    notification_uuid: NotificationId,
    kind: Kind,
    title: String,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    related_id: Option<String>,
    /// JSON text: the table nests less deep than JSON may, and nobody searches in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    related_data: Option<String>,
    created_at: Timestamp,
    /// When it was stored: the key of the index `by-arrival`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrived_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<Timestamp>,
    era: u32,
    push: bool,
}

#[derive(Serialize, Deserialize)]
struct InboxRow {
    user_uuid: UserId,
    entry: String,
    version: u64,
    preferences: Preferences,
    transaction: TallyRow,
    system: TallyRow,
    promotion: TallyRow,
    promises: BTreeMap<NotificationId, u32>,
}

#[derive(Serialize, Deserialize)]
struct TallyRow {
    total: u64,
    unread: u64,
    era: u32,
    read_all_at: Vec<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_from: Option<NotificationId>,
}

/// Something about a user that is looked up by its name and forgotten after a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NamedRow {
    user_uuid: UserId,
    entry: String,
    notification_uuid: NotificationId,
    /// Seconds, as the table's time to live counts.
    expires_at: i64,
}

impl StoredNotification {
    fn of(notification: &Notification, arrived_at: Timestamp) -> Result<Self, TableError> {
        let Notification {
            id,
            user,
            message,
            created_at,
            read_at,
            era,
            push,
        } = notification.clone();
        let related_data = message
            .related_data
            .map(|data| serde_json::to_string(&data))
            .transpose();
        Ok(Self {
            user_uuid: user,
            notification_uuid: id,
            kind: message.kind,
            title: message.title,
            content: message.content,
            related_id: message.related_id,
            related_data: related_data.map_err(|error| corrupt(id, &error))?,
            created_at,
            arrived_at: Some(arrived_at),
            read_at,
            era,
            push,
        })
    }

    /// The notification.
    ///
    /// # Errors
    /// [`TableError::Corrupt`].
    pub fn notification(self) -> Result<Notification, TableError> {
        let related_data = self
            .related_data
            .map(|json| serde_json::from_str::<RelatedData>(&json))
            .transpose();
        Ok(Notification {
            id: self.notification_uuid,
            user: self.user_uuid,
            message: Message {
                kind: self.kind,
                title: self.title,
                content: self.content,
                related_id: self.related_id,
                related_data: related_data.map_err(|error| corrupt(self.notification_uuid, &error))?,
            },
            created_at: self.created_at,
            read_at: self.read_at,
            era: self.era,
            push: self.push,
        })
    }
}

fn corrupt(id: NotificationId, error: &serde_json::Error) -> TableError {
    TableError::Corrupt {
        table: "notifications".to_owned(),
        reason: format!("related_data of {id}: {error}"),
    }
}

impl From<&Inbox> for InboxRow {
    fn from(inbox: &Inbox) -> Self {
        let [transaction, system, promotion] = inbox.tallies.clone().map(TallyRow::from);
        Self {
            user_uuid: inbox.user,
            entry: INBOX.to_owned(),
            version: inbox.version,
            preferences: inbox.preferences,
            transaction,
            system,
            promotion,
            promises: inbox.promises.clone(),
        }
    }
}

impl From<InboxRow> for Inbox {
    fn from(row: InboxRow) -> Self {
        Self {
            user: row.user_uuid,
            version: row.version,
            preferences: row.preferences,
            tallies: [row.transaction, row.system, row.promotion].map(Tally::from),
            promises: row.promises,
        }
    }
}

impl From<Tally> for TallyRow {
    fn from(tally: Tally) -> Self {
        let Tally {
            total,
            unread,
            era,
            read_all_at,
            unread_from,
        } = tally;
        Self {
            total,
            unread,
            era,
            read_all_at,
            unread_from,
        }
    }
}

impl From<TallyRow> for Tally {
    fn from(row: TallyRow) -> Self {
        let TallyRow {
            total,
            unread,
            era,
            read_all_at,
            unread_from,
        } = row;
        Self {
            total,
            unread,
            era,
            read_all_at,
            unread_from,
        }
    }
}

/// The entry that is the inbox itself.
const INBOX: &str = "inbox";

fn notification_key(user: UserId, id: NotificationId) -> Key {
    Key::of("user_uuid", user).and("notification_uuid", id)
}

fn entry_key(user: UserId, entry: &str) -> Key {
    Key::of("user_uuid", user).and("entry", entry)
}

fn deleted(id: NotificationId) -> String {
    format!("deleted#{id}")
}

fn mailed(id: NotificationId) -> String {
    format!("mailed#{id}")
}

/// A service's request of this name, made of what only it knows.
fn requested(request: &str) -> String {
    format!("requested#{request}")
}

/// The notifications of the market, one by one.
#[derive(Debug)]
struct Notifications(Table, Clock);

impl Notifications {
    fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let table = Table::from_env(cloud, "NOTIFICATIONS_TABLE")?;
        Ok(Self(table, cloud.clock().clone()))
    }

    /// The row of a new notification. The time of storing is taken here, as late as can be.
    fn row(&self, notification: &Notification) -> Result<StoredNotification, TableError> {
        StoredNotification::of(notification, self.1.now())
    }

    async fn find(&self, user: UserId, id: NotificationId) -> Result<Option<Notification>, TableError> {
        self.0
            .find::<StoredNotification>(&notification_key(user, id))
            .await?
            .map(StoredNotification::notification)
            .transpose()
    }
}

/// The inboxes of the market.
#[derive(Debug)]
pub struct Inboxes(Table);

impl Inboxes {
    /// Reads `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "INBOXES_TABLE").map(Self)
    }

    /// The user's inbox.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, user: UserId) -> Result<Inbox, TableError> {
        let row: Option<InboxRow> = self.0.find(&entry_key(user, INBOX)).await?;
        Ok(row.map_or_else(|| Inbox::new(user), Inbox::from))
    }

    async fn has(&self, user: UserId, entry: &str) -> Result<bool, TableError> {
        let row: Option<NamedRow> = self.0.find(&entry_key(user, entry)).await?;
        Ok(row.is_some())
    }

    async fn write(&self, seen: &Inbox, next: &Inbox) -> Result<(), TableError> {
        let row = InboxRow::from(next);
        match seen.version {
            0 => self.0.insert(&entry_key(next.user, INBOX), row).await,
            version => self.0.replace(row, version).await,
        }
    }

    fn writing(&self, transaction: Transaction, seen: &Inbox, next: &Inbox) -> Transaction {
        let row = InboxRow::from(next);
        match seen.version {
            0 => transaction.insert(&self.0, &entry_key(next.user, INBOX), row),
            version => transaction.replace(&self.0, row, version),
        }
    }
}

fn named(user: UserId, entry: String, id: NotificationId, now: Timestamp) -> NamedRow {
    NamedRow {
        user_uuid: user,
        entry,
        notification_uuid: id,
        expires_at: now.plus(REMEMBERED).seconds(),
    }
}

/// The inbox was changed by others each time that it was about to be written.
fn contended() -> TableError {
    TableError::Unavailable {
        table: "inboxes".to_owned(),
        reason: "the inbox is changed by others all the time".to_owned(),
    }
}

/// Whether a write lost against another one, so that it has to be decided anew.
fn lost(outcome: Result<(), TableError>) -> Result<bool, TableError> {
    match outcome {
        Ok(()) => Ok(false),
        Err(TableError::ConditionFailed | TableError::TransactionRefused { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What became of a notification that was to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It is new, as it says.
    Now(Notification),
    /// It was told before, and stays as it is, read, unread or deleted.
    Before,
    /// Its user does not want to be told such things.
    Unwanted,
}

/// Tells people what events amount to.
#[derive(Debug)]
pub struct DeliverNotifications {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl DeliverNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(cloud)?,
            inboxes: Inboxes::from_env(cloud)?,
        })
    }

    /// Adds a notification, once however often it is asked for. Two plain writes, which cost half of a transaction: whoever
    /// asks comes again if he was interrupted between them.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn add(&self, notification: &Notification) -> Result<Added, TableError> {
        let (user, id, kind) = (notification.user, notification.id, notification.message.kind);
        for _ in 0..ROUNDS {
            // In this order: what happens to the notification after the inbox was read changes the inbox.
            let inbox = self.inboxes.find(user).await?;
            if self.notifications.find(user, id).await?.is_some() || self.inboxes.has(user, &deleted(id)).await? {
                return Ok(Added::Before);
            }
            let channels = inbox.preferences.of(kind);
            if !channels.in_app {
                return Ok(Added::Unwanted);
            }
            let (next, era) = inbox.promising(id, kind);
            if next != inbox {
                let stored = self.stored(user, next.old_promises()).await?;
                if lost(self.inboxes.write(&inbox, &next.kept(&stored)).await)? {
                    continue;
                }
            }
            let new = Notification {
                era,
                push: channels.push,
                ..notification.clone()
            };
            let row = self.notifications.row(&new)?;
            return match self.notifications.0.insert(&notification_key(user, id), row).await {
                Ok(()) => Ok(Added::Now(new)),
                Err(TableError::ConditionFailed) => Ok(Added::Before),
                Err(error) => Err(error),
            };
        }
        Err(contended())
    }

    async fn stored(&self, user: UserId, ids: Vec<NotificationId>) -> Result<Vec<NotificationId>, TableError> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let keys = ids.into_iter().map(|id| notification_key(user, id)).collect();
        let rows: Vec<StoredNotification> = self.notifications.0.find_all(keys).await?;
        Ok(rows.into_iter().map(|row| row.notification_uuid).collect())
    }
}

/// Tells people what services ask for over HTTP.
#[derive(Debug)]
pub struct AddNotifications {
    notifications: Notifications,
    inboxes: Inboxes,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Requested {
    /// It was granted now.
    Now(Notification),
    /// A request of this name was granted before: the notification as it is now, if its user did not delete it.
    Before(Option<Notification>),
    /// Its user does not want to be told such things.
    Unwanted,
}

impl AddNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(cloud)?,
            inboxes: Inboxes::from_env(cloud)?,
        })
    }

    /// Adds a notification. If the request has a name, it is granted once. All in one transaction: whoever asks over HTTP
    /// may not come again.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn add(&self, notification: &Notification, request: Option<&str>) -> Result<Requested, TableError> {
        let (user, id, kind) = (notification.user, notification.id, notification.message.kind);
        let request = request.map(requested);
        for _ in 0..ROUNDS {
            if let Some(entry) = &request
                && let Some(earlier) = self.earlier(user, entry).await?
            {
                let found = self.notifications.find(user, earlier).await?;
                return match found {
                    Some(found) => Ok(Requested::Before(Some(self.inboxes.find(user).await?.shown(found)))),
                    None => Ok(Requested::Before(None)),
                };
            }
            let inbox = self.inboxes.find(user).await?;
            let channels = inbox.preferences.of(kind);
            if !channels.in_app {
                return Ok(Requested::Unwanted);
            }
            let (next, era) = inbox.counting(id, kind);
            let new = Notification {
                era,
                push: channels.push,
                ..notification.clone()
            };
            let (table, key) = (&self.notifications.0, notification_key(user, id));
            let transaction = Transaction::new().insert(table, &key, self.notifications.row(&new)?);
            let mut transaction = self.inboxes.writing(transaction, &inbox, &next);
            if let Some(entry) = request.clone() {
                let key = entry_key(user, &entry);
                transaction = transaction.insert(&self.inboxes.0, &key, named(user, entry, id, new.created_at));
            }
            if !lost(transaction.commit().await)? {
                return Ok(Requested::Now(new));
            }
        }
        Err(contended())
    }

    async fn earlier(&self, user: UserId, entry: &str) -> Result<Option<NotificationId>, TableError> {
        let row: Option<NamedRow> = self.inboxes.0.find(&entry_key(user, entry)).await?;
        Ok(row.map(|row| row.notification_uuid))
    }
}

/// What the index `by-arrival` holds of a notification.
#[derive(Deserialize)]
struct ArrivalRow {
    notification_uuid: NotificationId,
    arrived_at: Timestamp,
}

/// Reads what came when.
#[derive(Debug)]
pub struct ReadArrivals {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl ReadArrivals {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(cloud)?,
            inboxes: Inboxes::from_env(cloud)?,
        })
    }

    /// When the user's notification of this id was stored, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn arrival_of(&self, user: UserId, id: NotificationId) -> Result<Option<Timestamp>, TableError> {
        let row: Option<StoredNotification> = self.notifications.0.find(&notification_key(user, id)).await?;
        Ok(row.map(|row| row.arrived_at.unwrap_or(row.created_at)))
    }

    /// The user's notifications from `start` on, oldest first: one more than a part of a backlog takes, if there are as
    /// many.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn from(&self, user: UserId, start: Start) -> Result<Vec<Arrived>, TableError> {
        let limit = i32::try_from(backlog::PAGE + 1).unwrap_or(i32::MAX);
        let query = Query::partition(Some("by-arrival"), "user_uuid", user).limit(limit);
        let query = match start {
            Start::From(from) => query.from("arrived_at", from.millis()),
            Start::Newest => query.in_order(Order::Descending),
        };
        let mut rows: Vec<ArrivalRow> = self.notifications.0.query(query).await?;
        rows.sort_by_key(|row| row.arrived_at);
        let arrived = |row: ArrivalRow| Arrived {
            id: row.notification_uuid,
            at: row.arrived_at,
        };
        Ok(rows.into_iter().map(arrived).collect())
    }

    /// The user's notifications of `ids` (at most 100) as he sees them, in this order; absent ones are left out, and so are
    /// those that he does not want to be pushed.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn find_all(&self, user: UserId, ids: &[NotificationId]) -> Result<Vec<Notification>, TableError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids.iter().map(|id| notification_key(user, *id)).collect();
        let (inbox, mut rows) = futures::try_join!(
            self.inboxes.find(user),
            self.notifications.0.find_all::<StoredNotification>(keys)
        )?;
        rows.retain(|row| row.push);
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.notification_uuid));
        rows.into_iter()
            .map(|row| row.notification().map(|found| inbox.shown(found)))
            .collect()
    }
}

/// Reads one notification.
#[derive(Debug)]
pub struct ReadNotification {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl ReadNotification {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(&cloud)?,
            inboxes: Inboxes::from_env(&cloud)?,
        })
    }

    /// The user's notification of this id as he sees it, if there is one.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn find(&self, user: UserId, id: NotificationId) -> Result<Option<Notification>, TableError> {
        let (inbox, found) = futures::try_join!(self.inboxes.find(user), self.notifications.find(user, id))?;
        Ok(found.map(|found| inbox.shown(found)))
    }
}

/// Reads what a user was told, page by page.
#[derive(Debug)]
pub struct ReadNotifications {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl ReadNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(&cloud)?,
            inboxes: Inboxes::from_env(&cloud)?,
        })
    }

    /// The user's inbox.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn inbox(&self, user: UserId) -> Result<Inbox, TableError> {
        self.inboxes.find(user).await
    }

    /// A page of what the filter selects, newest first. One query per kind that has something, side by side; it reads the
    /// page and what lies between it and the nearer end of the list.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(
        &self,
        inbox: &Inbox,
        filter: &Filter,
        request: PageRequest,
    ) -> Result<Page<Notification>, TableError> {
        let wanted = filter.wanted();
        let counts: Vec<(Kind, usize)> = filter
            .kinds()
            .map(|kind| (kind, usize::try_from(inbox.count(kind, wanted)).unwrap_or(usize::MAX)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let count = counts.iter().map(|(_, count)| count).sum();
        let stretch = Stretch::of(request, count);
        let queries = counts.iter().map(|(kind, count)| {
            let limit = stretch.reads.min(*count);
            self.newest(inbox, *kind, wanted, stretch.order, limit)
        });
        let mut found: Vec<Notification> = if stretch.takes == 0 {
            Vec::new()
        } else {
            try_join_all(queries).await?.into_iter().flatten().collect()
        };
        match stretch.order {
            Order::Descending => found.sort_by_key(|one| Reverse(place(one.id))),
            Order::Ascending => found.sort_by_key(|one| place(one.id)),
        }
        let mut entries: Vec<Notification> = found.into_iter().skip(stretch.skips).take(stretch.takes).collect();
        if stretch.order == Order::Ascending {
            entries.reverse();
        }
        Ok(Page {
            request,
            count,
            entries,
        })
    }

    async fn newest(
        &self,
        inbox: &Inbox,
        kind: Kind,
        wanted: Wanted,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Notification>, TableError> {
        let tally = inbox.tally(kind);
        let (lowest, highest) = kind.ids();
        let from = match wanted {
            Wanted::Unread => tally.unread_from.unwrap_or(lowest),
            _ => lowest,
        };
        let query = Query::partition(None, "user_uuid", inbox.user)
            .between("notification_uuid", from, highest)
            .in_order(order)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let query = match wanted {
            Wanted::All | Wanted::Nothing => query,
            Wanted::Read => query
                .filter("attribute_exists(read_at) OR era < :era")
                .number(":era", i64::from(tally.era)),
            Wanted::Unread => query
                .filter("attribute_not_exists(read_at) AND era >= :era")
                .number(":era", i64::from(tally.era)),
        };
        let rows: Vec<StoredNotification> = self.notifications.0.query(query).await?;
        rows.into_iter()
            .map(|row| row.notification().map(|found| inbox.shown(found)))
            .collect()
    }
}

/// Which part of a list has to be read for a page of it: from its nearer end up to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    order: Order,
    reads: usize,
    skips: usize,
    takes: usize,
}

impl Stretch {
    fn of(request: PageRequest, count: usize) -> Self {
        let before = request.offset().min(count);
        let takes = (count - before).min(request.size() as usize);
        let after = count - before - takes;
        let (order, skips) = if before <= after {
            (Order::Descending, before)
        } else {
            (Order::Ascending, after)
        };
        Self {
            order,
            reads: skips + takes,
            skips,
            takes,
        }
    }
}

/// Notes what a user has read.
#[derive(Debug)]
pub struct MarkNotifications {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl MarkNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(&cloud)?,
            inboxes: Inboxes::from_env(&cloud)?,
        })
    }

    /// Notes that the user has read a notification, unless he had before, and answers it; `None`: there is none.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn mark_read(
        &self,
        user: UserId,
        id: NotificationId,
        now: Timestamp,
    ) -> Result<Option<Notification>, TableError> {
        for _ in 0..ROUNDS {
            let inbox = self.inboxes.find(user).await?;
            let Some(found) = self.notifications.find(user, id).await?.map(|found| inbox.shown(found)) else {
                return Ok(None);
            };
            if found.read_at.is_some() {
                return Ok(Some(found));
            }
            let read = Update::new(
                notification_key(user, id),
                "SET read_at = :now",
                "attribute_exists(user_uuid) AND attribute_not_exists(read_at)",
            )
            .number(":now", now.millis());
            let transaction = Transaction::new().update(&self.notifications.0, read);
            let next = inbox.reading(found.message.kind);
            if !lost(self.inboxes.writing(transaction, &inbox, &next).commit().await)? {
                return Ok(Some(Notification {
                    read_at: Some(now),
                    ..found
                }));
            }
        }
        Err(contended())
    }
}

/// Deletes notifications.
#[derive(Debug)]
pub struct DeleteNotifications {
    notifications: Notifications,
    inboxes: Inboxes,
}

impl DeleteNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Notifications::from_env(&cloud)?,
            inboxes: Inboxes::from_env(&cloud)?,
        })
    }

    /// Deletes a notification for good: its event, announced again, does not bring it back. Answers whether there was one.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn delete(&self, user: UserId, id: NotificationId, now: Timestamp) -> Result<bool, TableError> {
        for _ in 0..ROUNDS {
            let inbox = self.inboxes.find(user).await?;
            let Some(found) = self.notifications.find(user, id).await? else {
                return Ok(false);
            };
            let kind = found.message.kind;
            let was_unread = inbox.shown(found).read_at.is_none();
            let entry = deleted(id);
            let transaction = Transaction::new()
                .delete_if(&self.notifications.0, &notification_key(user, id), "user_uuid", user)
                .insert(
                    &self.inboxes.0,
                    &entry_key(user, &entry),
                    named(user, entry.clone(), id, now),
                );
            let next = inbox.removing(id, kind, was_unread);
            if !lost(self.inboxes.writing(transaction, &inbox, &next).commit().await)? {
                return Ok(true);
            }
        }
        Err(contended())
    }
}

/// Reads and changes inboxes without touching notifications.
#[derive(Debug)]
pub struct ChangeInboxes(Inboxes);

impl ChangeInboxes {
    /// Reads `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Inboxes::from_env(&cloud).map(Self)
    }

    /// The user's inbox.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, user: UserId) -> Result<Inbox, TableError> {
        self.0.find(user).await
    }

    /// Changes the inbox of a user as `change` says, decided anew if another change was faster; answers it, and what `change`
    /// says of it. No inbox from `change`: it stays.
    ///
    /// # Errors
    /// Those of the table, and those of `change`.
    pub async fn change<T, E: From<TableError>>(
        &self,
        user: UserId,
        change: impl Fn(&Inbox) -> Result<(Option<Inbox>, T), E> + Send,
    ) -> Result<(Inbox, T), E> {
        for _ in 0..ROUNDS {
            let seen = self.0.find(user).await?;
            let (next, said) = match change(&seen)? {
                (Some(next), said) => (next, said),
                (None, said) => return Ok((seen, said)),
            };
            if !lost(self.0.write(&seen, &next).await)? {
                return Ok((next, said));
            }
        }
        Err(contended().into())
    }
}

/// Remembers which notifications were mailed.
#[derive(Debug)]
pub struct Mailbag(Inboxes);

impl Mailbag {
    /// Reads `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Inboxes::from_env(cloud).map(Self)
    }

    /// What the user wants to be told.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn preferences(&self, user: UserId) -> Result<Preferences, TableError> {
        Ok(self.0.find(user).await?.preferences)
    }

    /// Takes it on to mail a notification. `false`: somebody did before.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn take_on(&self, user: UserId, id: NotificationId, now: Timestamp) -> Result<bool, TableError> {
        let entry = mailed(id);
        let outcome = self
            .0
            .0
            .insert(&entry_key(user, &entry), named(user, entry.clone(), id, now))
            .await;
        lost(outcome).map(|lost| !lost)
    }

    /// Gives it back: the mail was not sent.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn give_back(&self, user: UserId, id: NotificationId) -> Result<(), TableError> {
        let given_back = self
            .0
            .0
            .delete_if(&entry_key(user, &mailed(id)), "notification_uuid", id)
            .await;
        lost(given_back).map(|_| ())
    }
}

/// Writes notifications that come from an older system, and inboxes that count them.
#[derive(Debug)]
pub struct ImportNotifications {
    notifications: Table,
    inboxes: Table,
}

impl ImportNotifications {
    /// Reads `NOTIFICATIONS_TABLE` and `INBOXES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when one is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: Table::from_env(cloud, "NOTIFICATIONS_TABLE")?,
            inboxes: Table::from_env(cloud, "INBOXES_TABLE")?,
        })
    }

    /// Writes a notification. It arrived when it came about: a page that asks what it missed is not told of old times.
    ///
    /// # Errors
    /// Those of the table.
    pub fn notification(&self, notification: &Notification, at: Timestamp) -> Result<Import, TableError> {
        let row = StoredNotification::of(notification, notification.created_at)?;
        let key = notification_key(notification.user, notification.id);
        self.notifications.import(&key, row, at)
    }

    /// Writes the inbox of a user.
    ///
    /// # Errors
    /// Those of the table.
    pub fn inbox(&self, inbox: &Inbox, at: Timestamp) -> Result<Import, TableError> {
        let row = InboxRow::from(inbox);
        self.inboxes.import(&entry_key(inbox.user, INBOX), row, at)
    }

    /// A page of all notifications; see [`Table::scan`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, from: Option<Place>) -> Result<Scanned<Notification>, TableError> {
        let page: Scanned<StoredNotification> = self.notifications.scan(from).await?;
        let notifications = page.items.into_iter().map(StoredNotification::notification);
        Ok(Scanned {
            items: notifications.collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// The user's inbox.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn inbox_of(&self, user: UserId) -> Result<Inbox, TableError> {
        let row: Option<InboxRow> = self.inboxes.find(&entry_key(user, INBOX)).await?;
        Ok(row.map_or_else(|| Inbox::new(user), Inbox::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::id_of;

    #[test]
    fn what_is_stored_comes_back() {
        let data = serde_json::from_str(r#"{"order_uuid": "x"}"#).unwrap();
        let message = Message {
            kind: Kind::Transaction,
            title: "t".into(),
            content: "c".into(),
            related_id: Some("x".into()),
            related_data: Some(data),
        };
        let (user, at) = (UserId::random(), Timestamp::from_millis(7));
        let id = id_of(Kind::Transaction, at, &["x"]);
        let unread = Notification::new(id, user, message, at);
        let read = Notification {
            read_at: Some(at),
            era: 3,
            push: false,
            ..unread.clone()
        };
        for notification in [unread, read] {
            let row = serde_json::to_value(StoredNotification::of(&notification, Timestamp::from_millis(8)).unwrap())
                .unwrap();
            assert_eq!(row.get("read_at").is_some(), notification.read_at.is_some());
            let row: StoredNotification = serde_json::from_value(row).unwrap();
            assert_eq!(row.notification().unwrap(), notification);
        }

        let (inbox, _) = Inbox::new(user).promising(id, Kind::Transaction);
        let inbox = inbox.reading_all(None, at).unwrap();
        let row = serde_json::to_value(InboxRow::from(&inbox)).unwrap();
        assert_eq!(Inbox::from(serde_json::from_value::<InboxRow>(row).unwrap()), inbox);
    }

    #[test]
    fn every_page_is_cut_from_the_nearer_end() {
        let list: Vec<usize> = (0..23).collect();
        for size in ["1", "5", "10", "23", "100"] {
            for number in 1..30 {
                let request = PageRequest::parse(Some(&number.to_string()), Some(size), 10).unwrap();
                let stretch = Stretch::of(request, list.len());
                let expected = request.cut(list.clone()).entries;
                let mut read: Vec<usize> = match stretch.order {
                    Order::Descending => list.iter().copied().take(stretch.reads).collect(),
                    Order::Ascending => list.iter().rev().copied().take(stretch.reads).collect(),
                };
                read = read.into_iter().skip(stretch.skips).take(stretch.takes).collect();
                if stretch.order == Order::Ascending {
                    read.reverse();
                }
                assert_eq!(read, expected, "page {number} of {size}");
                assert!(stretch.reads <= list.len() / 2 + 100.min(request.size() as usize));
            }
        }
    }
}
