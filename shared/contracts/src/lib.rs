//! What services tell each other: events on topics, and the bodies of internal calls. Versioned, without personal data.
//!
//! An event is written `{"event_id", "version", "occurred_at", "type", "data": {...}}`. Its id is derived from what
//! caused it, so that announcing the same change twice gives the same event. Members may be added to `data`; a change
//! that old readers misread takes a new `version`.

pub mod orders;
pub mod payments;
pub mod security;

use kernel::{NotificationId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use orders::{OrderEvent, OrderSummary};
pub use payments::{PaymentEvent, RefundMessage};

/// The version of every event below.
pub const VERSION: u16 = 1;

/// An event with its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<E> {
    /// The same for every announcement of one change.
    pub event_id: Uuid,
    /// Version of the content's shape.
    pub version: u16,
    /// When the change happened.
    pub occurred_at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: E,
}

impl<E: Event> Envelope<E> {
    /// `event` happened to the entity `subject` at `occurred_at`; `cause` tells apart several events of one kind.
    pub fn new(subject: Uuid, cause: &str, occurred_at: Timestamp, event: E) -> Self {
        let event_id = kernel::derived_uuid("event", &[event.name(), &subject.to_string(), cause]);
        Self {
            event_id,
            version: VERSION,
            occurred_at,
            event,
        }
    }
}

/// Something that can be put on a topic.
pub trait Event: Serialize {
    /// The `type` member and the message attribute `event_type`, by which subscriptions filter.
    fn name(&self) -> &'static str;
}

/// What the notifications service tells a person, and what else it stores with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum NotificationMessage {
    /// Another service wants a person to be told.
    NotificationRequested {
        /// Derived from the cause, so that one cause notifies once.
        notification_uuid: NotificationId,
        /// Who is told.
        user_uuid: UserId,
        /// What kind of notification.
        kind: NotificationKind,
        /// Headline, 1 to 100 characters.
        title: String,
        /// Text.
        content: String,
        /// Id of what it is about.
        related_id: Option<String>,
    },
}

impl Event for NotificationMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::NotificationRequested { .. } => "NotificationRequested",
        }
    }
}

/// The three kinds of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// About an order, a payment or a refund.
    Transaction,
    /// About the market itself.
    System,
    /// An offer.
    Promotion,
}
