//! What a connected browser says: it wants what it missed, or shows that it is alive.
//!
//! The backlog is sent over the connection in the order in which it was stored, a bounded number at a time, and then the
//! answer says whether there is more.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cloud::{Cloud, StartError};
use kernel::{UserId, Zone};
use notifications::backlog::{Part, Start};
use notifications::connection::Owners;
use notifications::conversation::{Message, Request, Rest};
use notifications::error::NotificationError;
use notifications::table::ReadArrivals;
use notifications::view::NotificationView;
use websocket_function::{ConnectionId, Incoming, PushApi, Sent};

/// The index that knows whose connection it is may be a moment behind the registration.
const LOOK_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

fn main() -> ExitCode {
    websocket_function::open_messages(Desk::from_env, ws_message)
}

struct Desk {
    owners: Owners,
    arrivals: ReadArrivals,
    push_api: PushApi,
    zone: Zone,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            owners: Owners::from_env(&cloud)?,
            arrivals: ReadArrivals::from_env(&cloud)?,
            push_api: PushApi::from_env(&cloud)?,
            zone: cloud.settings().parsed("DISPLAY_UTC_OFFSET")?,
        })
    }

    async fn owner(&self, connection: &ConnectionId) -> Result<UserId, NotificationError> {
        let mut pauses = LOOK_AGAIN_AFTER.iter();
        loop {
            if let Some(user) = self.owners.of(connection).await? {
                return Ok(user);
            }
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(NotificationError::NotConnected),
            }
        }
    }
}

async fn ws_message(desk: Arc<Desk>, incoming: Incoming) -> Result<Message, NotificationError> {
    let (last_id, after) = match Request::parse(&incoming.body)? {
        Request::Ping => return Ok(Message::Pong),
        Request::Resume { last_id, after } => (last_id, after),
    };

    // 1. Who asks, and what he has.
    let user = desk.owner(&incoming.connection).await?;
    let seen_at = match (after, last_id) {
        (None, Some(id)) => desk.arrivals.arrival_of(user, id).await?,
        _ => None,
    };
    let start = after
        .map(Start::From)
        .or(seen_at.map(Start::after_seeing))
        .unwrap_or(Start::Newest);

    // 2. Send what came since.
    let part = Part::of(start, desk.arrivals.from(user, start).await?);
    let mut count = 0;
    for notification in desk.arrivals.find_all(user, &part.ids).await? {
        let data = NotificationView::of(notification, desk.zone);
        let text = Message::Notification { data }.text()?;
        match desk.push_api.send(&incoming.connection, &text).await? {
            Sent::Accepted => count += 1,
            // He has gone: the next time he comes he asks again.
            Sent::Gone => break,
        }
    }

    Ok(Message::Resumed {
        count,
        more: part.rest.is_some(),
        next: part.rest.map(Rest::from),
        cut: part.is_cut,
    })
}
