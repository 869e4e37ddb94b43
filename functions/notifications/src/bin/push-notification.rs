//! Notifications were stored: every browser that their users have open is told at once.
//!
//! A connection that is gone is forgotten. One that is still in the making can not be reached; it is waited for briefly, and
//! then left to its client, who asks for what it missed as soon as it is connected. Being told twice is harmless: clients
//! know a notification by its id.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cloud::{Cloud, StartError};
use event_function::Change;
use futures::future::join_all;
use kernel::{Timestamp, UserId, Zone};
use notifications::connection::{Connection, Connections};
use notifications::conversation::Message;
use notifications::error::NotificationError;
use notifications::table::StoredNotification;
use notifications::view::NotificationView;
use websocket_function::{PushApi, Sent};

/// How long a connection in the making is waited for: an invocation and a handshake.
const TRY_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

fn main() -> ExitCode {
    event_function::open_stream_batches(Messenger::from_env, push_notification)
}

struct Messenger {
    connections: Connections,
    push_api: PushApi,
    zone: Zone,
}

impl Messenger {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            connections: Connections::from_env(&cloud)?,
            push_api: PushApi::from_env(&cloud)?,
            zone: cloud.settings().parsed("DISPLAY_UTC_OFFSET")?,
        })
    }

    /// Tells a user in all of his open pages. They are looked up after everything in `texts` was stored, so who registered
    /// before that is told.
    async fn tell(&self, user: UserId, texts: &[String], now: Timestamp) -> Result<(), NotificationError> {
        let connections = self.connections.of(user, now).await?;
        let told = connections.iter().map(|connection| self.send(connection, texts, now));
        join_all(told).await.into_iter().collect()
    }

    async fn send(&self, connection: &Connection, texts: &[String], now: Timestamp) -> Result<(), NotificationError> {
        let is_opening = connection.may_be_opening(now);
        let mut pauses = TRY_AGAIN_AFTER.iter().filter(|_| is_opening);
        for text in texts {
            while self.push_api.send(connection.id(), text).await? == Sent::Gone {
                match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None if is_opening => return Ok(()),
                    None => return Ok(self.connections.remove(connection).await?),
                }
            }
        }
        Ok(())
    }
}

async fn push_notification(
    messenger: Arc<Messenger>,
    changes: Vec<Change<StoredNotification>>,
    now: Timestamp,
) -> Result<(), NotificationError> {
    let mut texts = BTreeMap::<UserId, Vec<String>>::new();
    for stored in changes.into_iter().filter_map(|change| change.after) {
        let notification = stored.notification()?;
        if notification.push {
            let user = notification.user;
            let data = NotificationView::of(notification, messenger.zone);
            let text = Message::Notification { data }.text()?;
            texts.entry(user).or_default().push(text);
        }
    }
    let told = texts.iter().map(|(user, texts)| messenger.tell(*user, texts, now));
    join_all(told).await.into_iter().collect()
}
