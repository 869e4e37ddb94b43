//! Open connections of the WebSocket API, and the management API with which functions reach them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::sns::Refusal;
use super::time;
use crate::template::model::SocketApi;

/// Most bytes of a message, in either direction.
pub const MESSAGE_LIMIT: usize = 128 * 1024;
/// Messages that may wait for a client who reads slowly.
const WAITING: usize = 256;

/// What is to be done with a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send this to the client.
    Send(Bytes),
    /// Close it.
    Close,
}

/// The connections. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// API id and stage, where there is a WebSocket API.
    api: Option<(String, String)>,
    open: Arc<Mutex<HashMap<String, Connection>>>,
}

#[derive(Debug)]
struct Connection {
    orders: mpsc::Sender<Order>,
    about: About,
    last_active_ms: i64,
}

/// What the management API tells of a connection.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) connected_ms: i64,
    pub(crate) source_ip: String,
    pub(crate) user_agent: String,
}

/// A call of the management API.
#[derive(Debug)]
pub(crate) struct ManagementCall {
    method: Method,
    connection: String,
    body: Bytes,
    resource: String,
}

impl ManagementCall {
    /// ARN of what is called.
    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// What is done, for the record.
    pub(crate) fn target(&self) -> &'static str {
        match self.method {
            Method::POST => "execute-api:PostToConnection",
            Method::GET => "execute-api:GetConnection",
            _ => "execute-api:DeleteConnection",
        }
    }
}

impl Connections {
    /// No connections yet, of this API.
    pub(crate) fn new(api: Option<&SocketApi>) -> Self {
        Self {
            api: api.map(|api| (api.logical_id.clone(), api.stage.clone())),
            open: Arc::default(),
        }
    }

    /// Ids of the connections that are open, in no particular order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// A connection begins; what comes out of the receiver is for it.
    pub(crate) fn begin(&self, id: &str, about: About) -> mpsc::Receiver<Order> {
        let (orders, received) = mpsc::channel(WAITING);
        let connection = Connection {
            orders,
            last_active_ms: about.connected_ms,
            about,
        };
        self.lock().insert(id.to_owned(), connection);
        received
    }

    /// A connection has ended.
    pub(crate) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Something came over a connection, or went.
    pub(crate) fn touch(&self, id: &str, now_ms: i64) {
        if let Some(connection) = self.lock().get_mut(id) {
            connection.last_active_ms = now_ms;
        }
    }

    /// When something came or went last.
    pub(crate) fn last_active_ms(&self, id: &str) -> Option<i64> {
        self.lock().get(id).map(|connection| connection.last_active_ms)
    }

    /// Sends text to a client.
    ///
    /// # Errors
    /// What the management API would answer.
    pub(crate) fn send(&self, id: &str, text: Bytes, now_ms: i64) -> Result<(), Refusal> {
        if text.len() > MESSAGE_LIMIT {
            return Err(Refusal::new(
                413,
                "PayloadTooLargeException",
                "The payload is too large",
            ));
        }
        self.give(id, Order::Send(text))?;
        self.touch(id, now_ms);
        Ok(())
    }

    fn give(&self, id: &str, order: Order) -> Result<(), Refusal> {
        let orders = self.lock().get(id).map(|connection| connection.orders.clone());
        match orders.ok_or_else(gone)?.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(gone()),
            Err(TrySendError::Full(_)) => Err(Refusal::new(429, "LimitExceededException", "The client does not read")),
        }
    }

    /// Reads a request to `/{stage}/@connections/{id}`.
    pub(crate) fn understand(&self, method: &Method, path: &str, body: Bytes) -> Result<ManagementCall, Refusal> {
        let unknown = || Refusal::new(403, "ForbiddenException", format!("{method} {path} is not supported"));
        let (api, stage) = self.api.as_ref().ok_or_else(unknown)?;
        let id = path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(stage.as_str()))
            .and_then(|rest| rest.strip_prefix("/@connections/"))
            .ok_or_else(unknown)?;
        if ![Method::POST, Method::GET, Method::DELETE].contains(method) {
            return Err(unknown());
        }
        let connection = percent_decode_str(id).decode_utf8_lossy().into_owned();
        Ok(ManagementCall {
            resource: format!(
                "arn:aws:execute-api:us-east-1:000000000000:{api}/{stage}/{method}/@connections/{connection}"
            ),
            method: method.clone(),
            connection,
            body,
        })
    }

    /// Carries a call of the management API out: status and body.
    pub(crate) fn perform(&self, call: ManagementCall, now_ms: i64) -> Result<(StatusCode, Option<Value>), Refusal> {
        match call.method {
            Method::POST => {
                self.send(&call.connection, call.body, now_ms)?;
                Ok((StatusCode::OK, None))
            }
            Method::GET => {
                let open = self.lock();
                let Connection {
                    about, last_active_ms, ..
                } = open.get(&call.connection).ok_or_else(gone)?;
                let shown = json!({
                    "connectedAt": time::rfc3339(about.connected_ms),
                    "identity": {"sourceIp": about.source_ip, "userAgent": about.user_agent},
                    "lastActiveAt": time::rfc3339(*last_active_ms),
                });
                Ok((StatusCode::OK, Some(shown)))
            }
            _ => {
                self.give(&call.connection, Order::Close)?;
                Ok((StatusCode::NO_CONTENT, None))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> Refusal {
    Refusal::new(410, "GoneException", "The connection is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Connections {
        Connections {
            api: Some(("Push".to_owned(), "ws".to_owned())),
            open: Arc::default(),
        }
    }

    fn begin(connections: &Connections) -> mpsc::Receiver<Order> {
        let about = About {
            connected_ms: 1_000,
            source_ip: "127.0.0.1".to_owned(),
            user_agent: "test".to_owned(),
        };
        connections.begin("abc=", about)
    }

    fn call(connections: &Connections, method: Method, body: &[u8]) -> Result<(StatusCode, Option<Value>), u16> {
        let call = connections
            .understand(&method, "/ws/@connections/abc%3D", Bytes::copy_from_slice(body))
            .map_err(|refusal| refusal.status)?;
        assert!(
            call.resource()
                .ends_with(&format!(":Push/ws/{method}/@connections/abc="))
        );
        connections.perform(call, 2_000).map_err(|refusal| refusal.status)
    }

    #[test]
    fn an_open_connection_is_told_seen_and_closed() {
        let connections = connections();
        let mut orders = begin(&connections);
        assert_eq!(call(&connections, Method::POST, b"{}"), Ok((StatusCode::OK, None)));
        assert!(matches!(orders.try_recv(), Ok(Order::Send(text)) if text == "{}"));
        let (_, shown) = call(&connections, Method::GET, b"").unwrap();
        assert_eq!(shown.unwrap()["lastActiveAt"], "1970-01-01T00:00:02.000Z");
        assert_eq!(
            call(&connections, Method::DELETE, b""),
            Ok((StatusCode::NO_CONTENT, None))
        );
        assert!(matches!(orders.try_recv(), Ok(Order::Close)));
    }

    #[test]
    fn one_that_is_gone_is_410_and_one_that_does_not_read_429() {
        let connections = connections();
        for method in [Method::POST, Method::GET, Method::DELETE] {
            assert_eq!(call(&connections, method, b"x"), Err(410));
        }
        let orders = begin(&connections);
        assert_eq!(call(&connections, Method::POST, &[b'x'; MESSAGE_LIMIT + 1]), Err(413));
        for _ in 0..WAITING {
            assert!(call(&connections, Method::POST, b"x").is_ok());
        }
        assert_eq!(call(&connections, Method::POST, b"x"), Err(429));
        drop(orders);
        assert_eq!(call(&connections, Method::POST, b"x"), Err(410));
        connections.end("abc=");
        assert!(connections.ids().is_empty());
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let connections = connections();
        for (method, path) in [
            (Method::PUT, "/ws/@connections/abc"),
            (Method::POST, "/other/@connections/abc"),
            (Method::POST, "/ws/connections/abc"),
        ] {
            assert_eq!(
                connections.understand(&method, path, Bytes::new()).unwrap_err().status,
                403
            );
        }
    }
}
