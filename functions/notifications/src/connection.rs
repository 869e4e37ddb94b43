//! The browsers that users have open, and the table of them. The only file that knows its attribute names.

use std::time::Duration;

use cloud::{Cloud, StartError};
use kernel::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{Key, Query, Table, TableError};
use websocket_function::ConnectionId;

/// Most connections that one user may have open.
pub const MOST: usize = 10;
/// The gateway ends a connection after two hours; for so long, and a little longer, it is remembered.
const LIFE: Duration = Duration::from_secs(2 * 60 * 60 + 5 * 60);
/// A connection is registered before the gateway completes it, and is reported as gone until then.
const OPENING: Duration = Duration::from_secs(10);

/// A connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    #[serde(rename = "user_uuid")]
    user: UserId,
    #[serde(rename = "connection_id")]
    id: ConnectionId,
    connected_at: Timestamp,
    /// Seconds since 1970: the table's time to live.
    expires_at: i64,
}

impl Connection {
    /// The connection `id` of `user`, from now on.
    #[must_use]
    pub fn new(user: UserId, id: ConnectionId, now: Timestamp) -> Self {
        Self {
            user,
            id,
            connected_at: now,
            expires_at: now.plus(LIFE).seconds(),
        }
    }

    /// The gateway's id of it.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// Whether the gateway has certainly ended it: the table forgets such ones, but takes its time.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now.seconds()
    }

    /// Whether it may still be in the making, so that being gone is no proof of its end.
    #[must_use]
    pub fn may_be_opening(&self, now: Timestamp) -> bool {
        now.since(self.connected_at) < OPENING
    }
}

fn key(user: UserId, id: &ConnectionId) -> Key {
    Key::of("user_uuid", user).and("connection_id", id)
}

async fn remove(table: &Table, user: UserId, id: &ConnectionId) -> Result<(), TableError> {
    match table.delete_if(&key(user, id), "connection_id", id).await {
        Ok(()) | Err(TableError::ConditionFailed) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The connections of each user.
#[derive(Debug)]
pub struct Connections(Table);

impl Connections {
    /// Reads `CONNECTIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "CONNECTIONS_TABLE").map(Self)
    }

    /// The user's connections that may be open now. The read is strongly consistent: who registered before is seen.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn of(&self, user: UserId, now: Timestamp) -> Result<Vec<Connection>, TableError> {
        let mut connections: Vec<Connection> = self.0.query(Query::partition(None, "user_uuid", user)).await?;
        connections.retain(|connection| !connection.is_over(now));
        Ok(connections)
    }

    /// Registers a connection.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn add(&self, connection: &Connection) -> Result<(), TableError> {
        self.0.insert(&key(connection.user, &connection.id), connection).await
    }

    /// Forgets a connection, if it is known.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn remove(&self, connection: &Connection) -> Result<(), TableError> {
        remove(&self.0, connection.user, &connection.id).await
    }
}

#[derive(Deserialize)]
struct Owner {
    user_uuid: UserId,
}

/// The users of connections.
#[derive(Debug)]
pub struct Owners(Table);

impl Owners {
    /// Reads `CONNECTIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Table::from_env(cloud, "CONNECTIONS_TABLE").map(Self)
    }

    /// Whose connection this is. An index knows, so one that was registered a moment ago may not be found yet.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn of(&self, id: &ConnectionId) -> Result<Option<UserId>, TableError> {
        let query = Query::partition(Some("by-connection"), "connection_id", id).limit(1);
        let found: Vec<Owner> = self.0.query(query).await?;
        Ok(found.into_iter().next().map(|owner| owner.user_uuid))
    }

    /// Forgets a connection of this user, if it is known.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn remove(&self, user: UserId, id: &ConnectionId) -> Result<(), TableError> {
        remove(&self.0, user, id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_opens_for_seconds_and_is_over_after_two_hours() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let connection = Connection::new(UserId::random(), "c".to_owned().into(), at(0));
        for (seconds, opening, over) in [
            (0, true, false),
            (9, true, false),
            (10, false, false),
            (7_200, false, false),
            (7_500, false, true),
        ] {
            assert_eq!(
                (connection.may_be_opening(at(seconds)), connection.is_over(at(seconds))),
                (opening, over),
                "after {seconds} s"
            );
        }
    }
}
