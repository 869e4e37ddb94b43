//! What happens to a connection, as an operation sees it.

use std::fmt;

use http_function::{Caller, Problem};
use kernel::Timestamp;
use keys::User;
use serde::{Deserialize, Serialize};

/// The gateway's id of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// The id as the gateway writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ConnectionId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody wants to connect. Until the operation has returned nothing can be sent to the connection.
#[derive(Debug)]
pub struct Arrival {
    /// The connection that is to be.
    pub connection: ConnectionId,
    /// Who it is.
    pub caller: Caller,
    /// Now.
    pub now: Timestamp,
}

impl Arrival {
    /// The logged-in user.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a service.
    pub fn user(&self) -> Result<&User, Problem> {
        self.caller.user()
    }
}

/// A connection has ended.
#[derive(Debug)]
pub struct Departure {
    /// The connection that was.
    pub connection: ConnectionId,
}

/// A client has said something.
#[derive(Debug)]
pub struct Incoming {
    /// Over which connection.
    pub connection: ConnectionId,
    /// What; clients may send anything.
    pub body: String,
    /// Now.
    pub now: Timestamp,
}
