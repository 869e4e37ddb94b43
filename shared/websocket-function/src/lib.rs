//! The front door of the functions of a WebSocket API, and the way from a function to its open connections.
//!
//! API Gateway keeps the connections; functions only hear of them. [`open_connect`] serves the route `$connect`, which
//! decides whether somebody may connect, [`open_disconnect`] the route `$disconnect`, [`open_messages`] what clients say.
//! [`PushApi`] reaches a client from anywhere.
//!
//! A browser can not set headers on a WebSocket. So the token comes in the query string, which nothing here logs, or as
//! the second of two subprotocols (`new WebSocket(url, ["cfmp", token])`), which keeps it out of URLs altogether.

mod door;
mod event;
mod push_api;

pub use door::{open_connect, open_disconnect, open_messages};
pub use event::{Arrival, ConnectionId, Departure, Incoming};
pub use push_api::{PushApi, PushError, Sent};

use std::pin::Pin;

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Borrowed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The subprotocol that clients name when their token comes as the next one.
pub const SUBPROTOCOL: &str = "cfmp";
