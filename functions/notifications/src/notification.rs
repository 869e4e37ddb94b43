//! A notification: something that one person is told, and reads once. Pure.

use std::fmt;
use std::str::FromStr;

use contracts::NotificationKind;
use kernel::{NotificationId, Text, Timestamp, UserId};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

/// Headline: 1 to 100 characters.
pub type Title = Text<1, 100>;
/// Text: 1 to 2000 characters.
pub type Content = Text<1, 2000>;
/// Id of what a notification is about: 1 to 100 characters.
pub type RelatedId = Text<1, 100>;

/// What kind of notification. Clients know each by a number and by a word, and send either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// About an order, a payment or a refund.
    Transaction,
    /// About the market itself.
    System,
    /// An offer.
    Promotion,
}

/// Something that is no kind of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 or transaction, 1 or system, 2 or promotion")]
pub struct NotAKind;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Transaction, Self::System, Self::Promotion];

    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Transaction => 0,
            Self::System => 1,
            Self::Promotion => 2,
        }
    }

    /// The word that clients know.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::System => "system",
            Self::Promotion => "promotion",
        }
    }
}

impl From<NotificationKind> for Kind {
    fn from(kind: NotificationKind) -> Self {
        match kind {
            NotificationKind::Transaction => Self::Transaction,
            NotificationKind::System => Self::System,
            NotificationKind::Promotion => Self::Promotion,
        }
    }
}

impl FromStr for Kind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, NotAKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.word() == text || kind.number().to_string() == text)
            .ok_or(NotAKind)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;
        impl de::Visitor<'_> for NumberOrWord {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or transaction, 1 or system, 2 or promotion")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Kind, E> {
                number.to_string().parse().map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Kind, E> {
                word.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberOrWord)
    }
}

/// Facts for programs that come with a notification: a JSON object of at most [`RelatedData::MAX_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct RelatedData(Map<String, Value>);

/// A JSON object that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a JSON object of at most {} bytes", RelatedData::MAX_BYTES)]
pub struct TooMuch;

impl RelatedData {
    /// Bytes of the object written as JSON.
    pub const MAX_BYTES: usize = 4096;
}

impl TryFrom<Map<String, Value>> for RelatedData {
    type Error = TooMuch;

    fn try_from(object: Map<String, Value>) -> Result<Self, TooMuch> {
        let object = Value::Object(object);
        match (object.to_string().len(), object) {
            (0..=Self::MAX_BYTES, Value::Object(object)) => Ok(Self(object)),
            _ => Err(TooMuch),
        }
    }
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind of notification.
    pub kind: Kind,
    /// Headline.
    pub title: String,
    /// Text.
    pub content: String,
    /// Id of what it is about.
    pub related_id: Option<String>,
    /// Facts for programs.
    pub related_data: Option<RelatedData>,
}

/// A notification of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// Who is told.
    pub user: UserId,
    /// What.
    pub message: Message,
    /// When it came about.
    pub created_at: Timestamp,
    /// When he read it, if he did.
    pub read_at: Option<Timestamp>,
}

impl Notification {
    /// One that nobody has read yet.
    #[must_use]
    pub fn new(id: NotificationId, user: UserId, message: Message, created_at: Timestamp) -> Self {
        Self {
            id,
            user,
            message,
            created_at,
            read_at: None,
        }
    }

    /// The notification once its user has read it. `None`: he had read it before, and that is the time that counts.
    #[must_use]
    pub fn read(&self, now: Timestamp) -> Option<Self> {
        self.read_at.is_none().then(|| Self {
            read_at: Some(now),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_number_and_by_word() {
        for (kind, number, word) in [
            (Kind::Transaction, 0, "transaction"),
            (Kind::System, 1, "system"),
            (Kind::Promotion, 2, "promotion"),
        ] {
            assert_eq!((kind.number(), kind.word()), (number, word));
            for json in [number.to_string(), format!("\"{number}\""), format!("\"{word}\"")] {
                assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind, "{json}");
            }
            assert_eq!(
                serde_json::to_string(&kind).unwrap(),
                format!("\"{word}\""),
                "tables hold the word"
            );
        }
        for json in ["3", "-1", "0.0", "\"Transaction\"", "\"\"", "null", "[]", "true"] {
            assert!(serde_json::from_str::<Kind>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn reading_twice_is_reading_once() {
        let message = Message {
            kind: Kind::System,
            title: "t".into(),
            content: "c".into(),
            related_id: None,
            related_data: None,
        };
        let at = Timestamp::from_millis;
        let unread = Notification::new(NotificationId::random(), UserId::random(), message, at(1));
        let read = unread.read(at(2)).unwrap();
        assert_eq!((unread.read_at, read.read_at), (None, Some(at(2))));
        assert_eq!(read.read(at(3)), None);
    }

    #[test]
    fn related_data_is_an_object_of_bounded_size() {
        let read = |json: &str| serde_json::from_str::<RelatedData>(json);
        assert!(read(r#"{"order_uuid": "x", "deep": {"list": [1.5, null]}}"#).is_ok());
        assert!(read(&format!(r#"{{"long": "{}"}}"#, "x".repeat(RelatedData::MAX_BYTES))).is_err());
        for json in ["[]", "\"text\"", "1", "null"] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
