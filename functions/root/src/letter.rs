//! A dead letter: a message or a change that its consumer could not handle, until a person has seen to it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kernel::{LetterId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::consumer::Consumer;

/// Longer than a redrive can take: after that it was interrupted, and may be begun again.
pub const REDRIVE_TAKES: Duration = Duration::from_secs(30);
/// The longest cause that is kept, in characters.
const LONGEST_CAUSE: usize = 500;

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Derived from the queue and the message: kept twice, it is the same.
    pub id: LetterId,
    /// Who could not handle it.
    pub consumer: Consumer,
    /// What it says.
    pub content: Content,
    /// By which the consumer's log lines are found: the message's id, or the change's sequence number.
    pub trace: String,
    /// When the message was sent, or the change given up.
    pub sent_at: Timestamp,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// How often the consumer tried, if that is known.
    pub tries: Option<u32>,
    /// How far it came.
    pub status: Status,
    /// When the redrive that is under way began.
    pub redrive_since: Option<Timestamp>,
    /// What people did with it, oldest first; only added to.
    pub history: Vec<Entry>,
    /// Counts changes.
    pub version: u64,
}

/// What a letter says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A message's body.
    Message(String),
    /// A change of an item, as a stream function is shown it. It may hold personal data and is never shown.
    Change(Value),
    /// Changes that the stream had forgotten before they could be kept: only where they were.
    Lost(Value),
}

/// How far a letter came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A person has to see to it.
    Waiting,
    /// Its consumer has handled it.
    Redriven,
    /// Somebody decided that it is not needed.
    Discarded,
}

/// A text that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be waiting, redriven or discarded")]
pub struct NotAStatus;

impl Status {
    /// The word that is stored and shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Status {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        let all = [Self::Waiting, Self::Redriven, Self::Discarded];
        all.into_iter().find(|status| status.word() == text).ok_or(NotAStatus)
    }
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who, an administrator.
    pub by: UserId,
    /// What.
    pub deed: Deed,
    /// Why it failed, or why it is discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// What can be done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A redrive began. Nothing after it: it was interrupted, and whether the consumer handled it is not known.
    RedriveBegan,
    /// The consumer could not handle it again.
    RedriveFailed,
    /// The consumer has handled it.
    Redriven,
    /// It is not needed.
    Discarded,
}

/// What a letter does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Somebody redrives it at this moment.
    #[error("the letter {0} is being redriven")]
    UnderWay(LetterId),
    /// It is closed in another way.
    #[error("the letter {id} is {status}")]
    Closed {
        /// The letter.
        id: LetterId,
        /// How it was closed.
        status: Status,
    },
    /// Its content is lost.
    #[error("what the letter {0} is about was forgotten by its stream")]
    Lost(LetterId),
}

impl Letter {
    /// The letter with a redrive begun; `None`: its consumer has handled it already.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn begin_redrive(&self, by: UserId, now: Timestamp) -> Result<Option<Self>, LetterError> {
        match self.status {
            Status::Redriven => return Ok(None),
            Status::Discarded => return Err(self.closed()),
            Status::Waiting => {}
        }
        if matches!(self.content, Content::Lost(_)) {
            return Err(LetterError::Lost(self.id));
        }
        self.not_under_way(now)?;
        Ok(Some(Self {
            redrive_since: Some(now),
            ..self.with(by, now, Deed::RedriveBegan, None)
        }))
    }

    /// The letter after a redrive: handled, or failed for this cause. `None`: it was closed meanwhile.
    #[must_use]
    pub fn after_redrive(&self, by: UserId, now: Timestamp, failed: Option<&str>) -> Option<Self> {
        if self.status != Status::Waiting {
            return None;
        }
        let cause = failed.map(|cause| cause.chars().take(LONGEST_CAUSE).collect());
        Some(match cause {
            None => Self {
                status: Status::Redriven,
                redrive_since: None,
                ..self.with(by, now, Deed::Redriven, None)
            },
            cause => Self {
                redrive_since: None,
                ..self.with(by, now, Deed::RedriveFailed, cause)
            },
        })
    }

    /// The letter put aside for this reason; `None`: it is already.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn discard(&self, by: UserId, now: Timestamp, reason: String) -> Result<Option<Self>, LetterError> {
        match self.status {
            Status::Discarded => return Ok(None),
            Status::Redriven => return Err(self.closed()),
            Status::Waiting => {}
        }
        self.not_under_way(now)?;
        Ok(Some(Self {
            status: Status::Discarded,
            redrive_since: None,
            ..self.with(by, now, Deed::Discarded, Some(reason))
        }))
    }

    /// Why the consumer failed when it was last asked by a person.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        let failed = self
            .history
            .iter()
            .rev()
            .find(|entry| entry.deed == Deed::RedriveFailed);
        failed.and_then(|entry| entry.remark.as_deref())
    }

    /// The event with which its consumer is invoked; `None` where the content is lost.
    #[must_use]
    pub fn event(&self) -> Option<Value> {
        let record = match &self.content {
            Content::Message(body) => json!({
                "messageId": self.id,
                "receiptHandle": "",
                "body": body,
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }),
            Content::Change(record) => record.clone(),
            Content::Lost(_) => return None,
        };
        Some(json!({"Records": [record]}))
    }

    /// What it is about: the event's type and the ids and states that it names; no text that a person wrote.
    #[must_use]
    pub fn about(&self) -> BTreeMap<String, String> {
        let mut about = BTreeMap::new();
        match &self.content {
            Content::Message(body) => {
                let body: Value = serde_json::from_str(body).unwrap_or_default();
                for name in ["type", "event_id"] {
                    if let Some(text) = body.get(name).and_then(Value::as_str) {
                        about.insert(name.to_owned(), text.to_owned());
                    }
                }
                add_ids(&body, &mut about);
            }
            Content::Change(record) => {
                let text = |path: &str| record.pointer(path).and_then(Value::as_str).map(str::to_owned);
                about.extend(text("/eventName").map(|change| ("change".to_owned(), change)));
                for (name, path) in [
                    ("status_before", "/dynamodb/OldImage/status/S"),
                    ("status_after", "/dynamodb/NewImage/status/S"),
                ] {
                    about.extend(text(path).map(|status| (name.to_owned(), status)));
                }
                let keys = record.pointer("/dynamodb/Keys").and_then(Value::as_object);
                for (name, value) in keys.into_iter().flatten() {
                    let key = value.get("S").and_then(Value::as_str);
                    about.extend(key.map(|key| (name.clone(), key.to_owned())));
                }
            }
            Content::Lost(place) => {
                for name in ["startSequenceNumber", "endSequenceNumber", "batchSize", "streamArn"] {
                    let value = place
                        .get(name)
                        .map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
                    about.extend(value.map(|value| (name.to_owned(), value)));
                }
            }
        }
        about
    }

    fn with(&self, by: UserId, at: Timestamp, deed: Deed, remark: Option<String>) -> Self {
        let mut next = self.clone();
        next.history.push(Entry { at, by, deed, remark });
        next.version += 1;
        next
    }

    fn not_under_way(&self, now: Timestamp) -> Result<(), LetterError> {
        match self.redrive_since {
            Some(since) if now < since.plus(REDRIVE_TAKES) => Err(LetterError::UnderWay(self.id)),
            _ => Ok(()),
        }
    }

    fn closed(&self) -> LetterError {
        LetterError::Closed {
            id: self.id,
            status: self.status,
        }
    }
}

/// Every member that is an id, however deep; of several of one name the first.
fn add_ids(value: &Value, ids: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name.ends_with("_uuid") => {
                        ids.entry(name.clone()).or_insert_with(|| text.clone());
                    }
                    value => add_ids(value, ids),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| add_ids(value, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn letter(status: Status) -> Letter {
        let body = json!({
            "event_id": "e", "type": "OrderPaid",
            "data": {"order_uuid": "7", "products": [{"product_uuid": "8", "title": "台灯"}], "reason": "买错了"},
        });
        Letter {
            id: LetterId::derived(&["queue", "message"]),
            consumer: Consumer::NotifyPeople,
            content: Content::Message(body.to_string()),
            trace: "message".into(),
            sent_at: NOW,
            kept_at: NOW,
            tries: Some(5),
            status,
            redrive_since: None,
            history: vec![],
            version: 1,
        }
    }

    fn by() -> UserId {
        UserId::derived(&["administrator"])
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn every_status_meets_every_deed_as_decided() {
        let lost = |status| Letter {
            content: Content::Lost(json!({})),
            ..letter(status)
        };
        for status in [Status::Waiting, Status::Redriven, Status::Discarded] {
            let letter = letter(status);
            let redriven = letter.begin_redrive(by(), NOW).map(|next| next.is_some());
            let discarded = letter.discard(by(), NOW, "x".into()).map(|next| next.is_some());
            let closed = LetterError::Closed { id: letter.id, status };
            let expected = match status {
                Status::Waiting => (Ok(true), Ok(true), true),
                Status::Redriven => (Ok(false), Err(closed), false),
                Status::Discarded => (Err(closed), Ok(false), false),
            };
            let ended = letter.after_redrive(by(), NOW, None).is_some();
            assert_eq!((redriven, discarded, ended), expected, "{status}");
        }
        assert_eq!(
            lost(Status::Waiting).begin_redrive(by(), NOW),
            Err(LetterError::Lost(letter(Status::Waiting).id))
        );
        assert!(lost(Status::Waiting).discard(by(), NOW, "x".into()).unwrap().is_some());
    }

    #[test]
    fn a_redrive_excludes_others_until_it_ends_or_was_interrupted() {
        let begun = letter(Status::Waiting).begin_redrive(by(), NOW).unwrap().unwrap();
        assert_eq!(begun.status, Status::Waiting);
        assert_eq!(
            begun.begin_redrive(by(), later(29)),
            Err(LetterError::UnderWay(begun.id))
        );
        assert_eq!(
            begun.discard(by(), later(29), "x".into()),
            Err(LetterError::UnderWay(begun.id))
        );
        let again = begun.begin_redrive(by(), later(30)).unwrap().unwrap();
        assert_eq!(again.history.len(), 2);
        // The first one comes to its end after all: what it says is true.
        assert_eq!(
            again.after_redrive(by(), later(31), None).unwrap().status,
            Status::Redriven
        );

        let failed = begun.after_redrive(by(), later(1), Some(&"x".repeat(600))).unwrap();
        assert_eq!(
            (failed.status, failed.last_error().unwrap().len()),
            (Status::Waiting, 500)
        );
        assert!(failed.begin_redrive(by(), later(2)).unwrap().is_some());
    }

    #[test]
    fn what_a_letter_is_about_holds_ids_and_no_texts() {
        let about = letter(Status::Waiting).about();
        let expected = [
            ("event_id", "e"),
            ("order_uuid", "7"),
            ("product_uuid", "8"),
            ("type", "OrderPaid"),
        ];
        assert_eq!(
            about,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
        let change = Letter {
            content: Content::Change(json!({"eventName": "MODIFY", "dynamodb": {
                "Keys": {"order_uuid": {"S": "7"}},
                "OldImage": {"status": {"S": "paid"}, "shipping_name": {"S": "张三"}},
                "NewImage": {"status": {"S": "cancelled"}, "reason": {"S": "买错了"}},
            }})),
            ..letter(Status::Waiting)
        };
        let shown = serde_json::to_string(&change.about()).unwrap();
        assert_eq!(
            shown,
            r#"{"change":"MODIFY","order_uuid":"7","status_after":"cancelled","status_before":"paid"}"#
        );
    }
}
