//! `$disconnect`: a browser has gone, and its connection is forgotten.
//!
//! The gateway does its best to tell; whoever goes without a word is forgotten at the next push.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use notifications::connection::Owners;
use notifications::error::NotificationError;
use websocket_function::Departure;

fn main() -> ExitCode {
    websocket_function::open_disconnect(owners, ws_disconnect)
}

async fn owners(cloud: Cloud) -> Result<Owners, StartError> {
    Owners::from_env(&cloud)
}

async fn ws_disconnect(owners: Arc<Owners>, departure: Departure) -> Result<(), NotificationError> {
    if let Some(user) = owners.of(&departure.connection).await? {
        owners.remove(user, &departure.connection).await?;
    }
    Ok(())
}
