//! Where notifications are kept. The only file that knows attribute names.

use cloud::{Cloud, StartError};
use kernel::{NotificationId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{Key, Query, Table, TableError, Update};

use crate::inbox::{Entry, Unread};
use crate::notification::{Kind, Message, Notification, RelatedData};

/// The most that one batch read takes.
const BATCH: usize = 100;

#[derive(Serialize, Deserialize)]
struct Row {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<Timestamp>,
    /// The user, as long as he has not read it: the key of the index `unread`, which so holds unread ones only.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_by: Option<UserId>,
}

impl Row {
    fn of(notification: &Notification) -> Result<Self, TableError> {
        let Notification {
            id,
            user,
            message,
            created_at,
            read_at,
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
            read_at,
            unread_by: read_at.is_none().then_some(user),
        })
    }

    fn notification(self) -> Result<Notification, TableError> {
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
        })
    }
}

fn corrupt(id: NotificationId, error: &serde_json::Error) -> TableError {
    TableError::Corrupt {
        table: "notifications".to_owned(),
        reason: format!("related_data of {id}: {error}"),
    }
}

/// What the index `by-created` holds of a notification.
#[derive(Deserialize)]
struct EntryRow {
    notification_uuid: NotificationId,
    kind: Kind,
    created_at: Timestamp,
    read_at: Option<Timestamp>,
}

/// What the index `unread` holds of a notification.
#[derive(Deserialize)]
struct UnreadRow {
    kind: Kind,
}

fn key(user: UserId, id: NotificationId) -> Key {
    Key::of("user_uuid", user).and("notification_uuid", id)
}

async fn find(table: &Table, user: UserId, id: NotificationId) -> Result<Option<Notification>, TableError> {
    table
        .find::<Row>(&key(user, id))
        .await?
        .map(Row::notification)
        .transpose()
}

/// What became of a notification that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It is new.
    Now,
    /// One of this id was there. It stays as it is, read or unread.
    Before,
}

/// Adds notifications.
#[derive(Debug)]
pub struct AddNotifications(Table);

impl AddNotifications {
    /// Reads `NOTIFICATIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "NOTIFICATIONS_TABLE").map(Self)
    }

    /// Adds a notification unless there is one of its id.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn add(&self, notification: &Notification) -> Result<Added, TableError> {
        match self
            .0
            .insert(&key(notification.user, notification.id), Row::of(notification)?)
            .await
        {
            Ok(()) => Ok(Added::Now),
            Err(TableError::ConditionFailed) => Ok(Added::Before),
            Err(error) => Err(error),
        }
    }

    /// The user's notification of this id, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, user: UserId, id: NotificationId) -> Result<Option<Notification>, TableError> {
        find(&self.0, user, id).await
    }
}

/// Reads what a user was told.
#[derive(Debug)]
pub struct ReadNotifications(Table);

impl ReadNotifications {
    /// Reads `NOTIFICATIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "NOTIFICATIONS_TABLE").map(Self)
    }

    /// Everything the user was told, as far as lists need it.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn entries(&self, user: UserId) -> Result<Vec<Entry>, TableError> {
        let rows: Vec<EntryRow> = self
            .0
            .query(Query::partition(Some("by-created"), "user_uuid", user))
            .await?;
        let entry = |row: EntryRow| Entry {
            id: row.notification_uuid,
            kind: row.kind,
            created_at: row.created_at,
            is_read: row.read_at.is_some(),
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// The user's notifications of `ids` (at most 100), in this order; absent ones are left out.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find_all(&self, user: UserId, ids: &[NotificationId]) -> Result<Vec<Notification>, TableError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids.iter().take(BATCH).map(|id| key(user, *id)).collect();
        let mut rows: Vec<Row> = self.0.find_all(keys).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.notification_uuid));
        rows.into_iter().map(Row::notification).collect()
    }
}

/// Counts what a user has not read.
#[derive(Debug)]
pub struct CountUnread(Table);

impl CountUnread {
    /// Reads `NOTIFICATIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "NOTIFICATIONS_TABLE").map(Self)
    }

    /// How much the user has not read.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn count(&self, user: UserId) -> Result<Unread, TableError> {
        let rows: Vec<UnreadRow> = self
            .0
            .query(Query::partition(Some("unread"), "unread_by", user))
            .await?;
        Ok(Unread::count(rows.into_iter().map(|row| row.kind)))
    }
}

/// Notes what a user has read.
#[derive(Debug)]
pub struct MarkNotifications(Table);

impl MarkNotifications {
    /// Reads `NOTIFICATIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "NOTIFICATIONS_TABLE").map(Self)
    }

    /// The user's notification of this id, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, user: UserId, id: NotificationId) -> Result<Option<Notification>, TableError> {
        find(&self.0, user, id).await
    }

    /// Notes that a notification was read at this time, unless that was noted before.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`] when it was noted before; those of the table.
    pub async fn mark_read(&self, user: UserId, id: NotificationId, read_at: Timestamp) -> Result<(), TableError> {
        let update = Update::new(
            key(user, id),
            "SET #read_at = :now REMOVE #unread_by",
            "attribute_exists(#unread_by)",
        )
        .name("#read_at", "read_at")
        .name("#unread_by", "unread_by")
        .number(":now", read_at.millis());
        self.0.update(update).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unread_notification_is_in_the_index_of_unread_ones() {
        let data = serde_json::from_str(r#"{"order_uuid": "x"}"#).unwrap();
        let message = Message {
            kind: Kind::Transaction,
            title: "t".into(),
            content: "c".into(),
            related_id: Some("x".into()),
            related_data: Some(data),
        };
        let at = Timestamp::from_millis(7);
        let unread = Notification::new(NotificationId::random(), UserId::random(), message, at);
        let read = unread.read(at).unwrap();
        for (notification, is_unread) in [(unread, true), (read, false)] {
            let row = serde_json::to_value(Row::of(&notification).unwrap()).unwrap();
            assert_eq!(row.get("unread_by").is_some(), is_unread);
            assert_eq!(row.get("read_at").is_some(), !is_unread);
            assert_eq!(
                serde_json::from_value::<Row>(row).unwrap().notification().unwrap(),
                notification
            );
        }
    }
}
