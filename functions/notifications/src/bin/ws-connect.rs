//! `$connect`: a user's browser connects to hear of notifications.
//!
//! The connection is registered before it is complete, and its client asks for what it missed afterwards: whatever is
//! stored meanwhile is either pushed or asked for.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use futures::future::join_all;
use kernel::Timestamp;
use notifications::connection::{Connection, Connections, MOST};
use notifications::error::NotificationError;
use websocket_function::{Arrival, PushApi};

fn main() -> ExitCode {
    websocket_function::open_connect(Reception::from_env, ws_connect)
}

struct Reception {
    connections: Connections,
    push_api: PushApi,
}

impl Reception {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            connections: Connections::from_env(&cloud)?,
            push_api: PushApi::from_env(&cloud)?,
        })
    }

    /// How many of these are really open; the others are forgotten.
    async fn count_open(&self, connections: Vec<Connection>, now: Timestamp) -> Result<usize, NotificationError> {
        let looks = connections.iter().map(async |connection| {
            if connection.may_be_opening(now) || self.push_api.is_open(connection.id()).await? {
                return Ok(true);
            }
            self.connections.remove(connection).await?;
            Ok(false)
        });
        let open: Result<Vec<bool>, NotificationError> = join_all(looks).await.into_iter().collect();
        Ok(open?.into_iter().filter(|is_open| *is_open).count())
    }
}

async fn ws_connect(reception: Arc<Reception>, arrival: Arrival) -> Result<(), NotificationError> {
    let user = arrival.user()?.id;

    // 1. A user may have some pages open, but not any number. Those whose end nobody told of do not count.
    let known = reception.connections.of(user, arrival.now).await?;
    if known.len() >= MOST && reception.count_open(known, arrival.now).await? >= MOST {
        return Err(NotificationError::TooManyConnections);
    }

    // 2. Register.
    let connection = Connection::new(user, arrival.connection, arrival.now);
    Ok(reception.connections.add(&connection).await?)
}
