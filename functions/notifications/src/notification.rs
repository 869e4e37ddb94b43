//! A notification: something that one person is told, and reads once. Pure.

use std::fmt;
use std::str::FromStr;

use contracts::NotificationKind;
use kernel::{NotificationId, Text, Timestamp, UserId, derived_uuid, schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::OneOfBuilder;
use uuid::Uuid;

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

/// Bits of a UUID below its first hexadecimal digit, which is the kind.
const BELOW_KIND: u32 = 124;
/// Milliseconds since 1970 take 44 bits, until the year 2527.
const MILLIS: u64 = (1 << 44) - 1;

/// The id of what somebody is told at `at` for the reason that `cause` names: always the same for the same cause, and in
/// the order of time among those of one kind, so that a table sorted by it is a list.
///
/// It is a UUID of version 8: the first hexadecimal digit is the kind, the next eleven are milliseconds, the rest comes from
/// the cause.
#[must_use]
pub fn id_of(kind: Kind, at: Timestamp, cause: &[&str]) -> NotificationId {
    let millis = u64::try_from(at.millis()).unwrap_or(0) & MILLIS;
    let front = (u128::from(kind.number()) << BELOW_KIND) | (u128::from(millis) << 80);
    let rest = derived_uuid("notification", cause).as_u128() & ((1 << 80) - 1);
    uuid::Builder::from_custom_bytes((front | rest).to_be_bytes())
        .into_uuid()
        .into()
}

/// Where a notification stands among those of its user: later ones, whatever their kind, have a higher place.
#[must_use]
pub fn place(id: NotificationId) -> u128 {
    id.uuid().as_u128() & ((1 << BELOW_KIND) - 1)
}

impl Kind {
    /// The kind of the notification with this id. `None`: no notification has such an id.
    #[must_use]
    pub fn of(id: NotificationId) -> Option<Self> {
        let digit = id.uuid().as_bytes().first().map(|byte| byte >> 4);
        Self::ALL.into_iter().find(|kind| Some(kind.number()) == digit)
    }

    /// The lowest and the highest id that a notification of this kind can have.
    #[must_use]
    pub fn ids(self) -> (NotificationId, NotificationId) {
        let low = u128::from(self.number()) << BELOW_KIND;
        let high = low | ((1 << BELOW_KIND) - 1);
        (Uuid::from_u128(low).into(), Uuid::from_u128(high).into())
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

kernel::schemas! {
    Kind: "NotificationKind", "0 or transaction, 1 or system, 2 or promotion", OneOfBuilder::new()
        .item(schema::one_of(Kind::ALL.map(Kind::number)))
        .item(schema::text().enum_values(Some(Kind::ALL.map(Kind::word))));
}

/// Facts for programs that come with a notification: a JSON object of at most [`RelatedData::MAX_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(value_type = Object)]
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
    /// When he read it by itself, if he did; [`Inbox::shown`](crate::inbox::Inbox::shown) adds when he read everything.
    pub read_at: Option<Timestamp>,
    /// How often he had read everything of this kind before.
    pub era: u32,
    /// Whether his open browsers are told at once.
    pub push: bool,
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
            era: 0,
            push: true,
        }
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
    fn ids_tell_kind_and_time_and_come_from_their_cause() {
        let at = Timestamp::from_millis;
        for kind in Kind::ALL {
            let id = id_of(kind, at(1_767_225_600_123), &["event", "user"]);
            assert_eq!(id, id_of(kind, at(1_767_225_600_123), &["event", "user"]));
            assert_eq!(Kind::of(id), Some(kind));
            let (low, high) = kind.ids();
            assert!(low <= id && id <= high, "{low} {id} {high}");
            let text = id.to_string();
            assert_eq!(
                i64::from_str_radix(&text.replace('-', "")[1..12], 16),
                Ok(1_767_225_600_123)
            );
            assert_eq!((&text[14..15], id.uuid().get_variant()), ("8", uuid::Variant::RFC4122));
            assert!(low.to_string() <= text && text <= high.to_string(), "as text as well");
            let later = id_of(kind, at(1_767_225_600_124), &["a"]);
            assert!(id < later && place(id) < place(id_of(Kind::Transaction, at(1_767_225_600_124), &["b"])));
            assert_ne!(id, id_of(kind, at(1_767_225_600_123), &["event", "another"]));
        }
        assert_eq!(Kind::of("f0000000-0000-0000-0000-000000000000".parse().unwrap()), None);
        assert_eq!(Kind::of(id_of(Kind::System, at(i64::MIN), &["x"])), Some(Kind::System));
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
