//! The table of dead letters.

use std::time::Duration;

use cloud::{Cloud, StartError};
use kernel::{LetterId, Place, Timestamp};
use serde::{Deserialize, Serialize};
use tables::{Key, Order, Query, Table, TableError};

use crate::consumer::Consumer;
use crate::error::RootError;
use crate::letter::{Content, Entry, Letter, LetterError, Status};

/// After that the table forgets a letter that somebody has seen to.
const CLOSED_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How often a change is decided anew when others change the same letter.
const ATTEMPTS: usize = 4;
/// Waiting letters are counted up to this.
pub const COUNTED: i32 = 1000;

/// All letters.
#[derive(Debug)]
pub struct Letters(Table);

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    letter_uuid: LetterId,
    consumer: Consumer,
    /// JSON.
    content: String,
    trace: String,
    sent_at: Timestamp,
    kept_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    status: Status,
    /// Consumer and status.
    shelf: String,
    place: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redrive_since: Option<Timestamp>,
    history: Vec<Entry>,
    version: u64,
    /// Seconds since 1970, from when on the table may delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct IndexRow {
    letter_uuid: LetterId,
    place: Place,
}

fn place(letter: &Letter) -> Place {
    Place::of(letter.kept_at, letter.id.uuid())
}

/// A part of the list.
#[derive(Debug)]
pub struct Listed {
    /// Oldest first: who waits longest is seen to first.
    pub letters: Vec<Letter>,
    /// Where the list goes on.
    pub next: Option<Place>,
}

fn key(id: LetterId) -> Key {
    Key::of("letter_uuid", id)
}

fn shelf(consumer: Consumer, status: Status) -> String {
    format!("{consumer} {status}")
}

impl Row {
    fn of(letter: &Letter) -> Result<Self, TableError> {
        let closed_at = letter.history.last().filter(|_| letter.status != Status::Waiting);
        Ok(Self {
            letter_uuid: letter.id,
            consumer: letter.consumer,
            content: serde_json::to_string(&letter.content).map_err(|error| corrupt(letter.id, &error))?,
            trace: letter.trace.clone(),
            sent_at: letter.sent_at,
            kept_at: letter.kept_at,
            tries: letter.tries,
            status: letter.status,
            shelf: shelf(letter.consumer, letter.status),
            place: place(letter),
            redrive_since: letter.redrive_since,
            history: letter.history.clone(),
            version: letter.version,
            expires_at: closed_at.map(|entry| entry.at.plus(CLOSED_KEPT).seconds()),
        })
    }

    fn letter(self) -> Result<Letter, TableError> {
        let content: Content =
            serde_json::from_str(&self.content).map_err(|error| corrupt(self.letter_uuid, &error))?;
        Ok(Letter {
            id: self.letter_uuid,
            consumer: self.consumer,
            content,
            trace: self.trace,
            sent_at: self.sent_at,
            kept_at: self.kept_at,
            tries: self.tries,
            status: self.status,
            redrive_since: self.redrive_since,
            history: self.history,
            version: self.version,
        })
    }
}

fn corrupt(id: LetterId, error: &serde_json::Error) -> TableError {
    TableError::Corrupt {
        table: "dead letters".to_owned(),
        // Not the text of the error: it may quote the content.
        reason: format!("{id}: {:?} at column {}", error.classify(), error.column()),
    }
}

impl Letters {
    /// Reads `DEAD_LETTERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self(Table::from_env(cloud, "DEAD_LETTERS_TABLE")?))
    }

    /// Keeps a letter. `false`: it is kept already.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn keep(&self, letter: &Letter) -> Result<bool, TableError> {
        match self.0.insert(&key(letter.id), Row::of(letter)?).await {
            Ok(()) => Ok(true),
            Err(TableError::ConditionFailed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The letter.
    ///
    /// # Errors
    /// [`RootError::NotFound`], [`RootError::Table`].
    pub async fn find(&self, id: LetterId) -> Result<Letter, RootError> {
        let row: Option<Row> = self.0.find(&key(id)).await?;
        Ok(row.ok_or(RootError::NotFound)?.letter()?)
    }

    /// Changes a letter as `change` decides, anew when somebody else was faster; `None` leaves it as it is. Answers the
    /// letter, and whether it was changed.
    ///
    /// # Errors
    /// Those of `change`, [`RootError::NotFound`], [`RootError::ChangedMeanwhile`].
    pub async fn change(
        &self,
        id: LetterId,
        change: impl Fn(&Letter) -> Result<Option<Letter>, LetterError>,
    ) -> Result<(Letter, bool), RootError> {
        for _ in 0..ATTEMPTS {
            let letter = self.find(id).await?;
            let Some(next) = change(&letter)? else {
                return Ok((letter, false));
            };
            match self.0.replace(Row::of(&next)?, letter.version).await {
                Ok(()) => return Ok((next, true)),
                Err(TableError::ConditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RootError::ChangedMeanwhile(id))
    }

    /// Up to `size` letters of this status, and of this consumer, that come after `after`.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(
        &self,
        status: Status,
        consumer: Option<Consumer>,
        after: Option<&Place>,
        size: usize,
    ) -> Result<Listed, TableError> {
        let query = match consumer {
            None => Query::partition(Some("by-status"), "status", status),
            Some(consumer) => Query::partition(Some("by-consumer"), "shelf", shelf(consumer, status)),
        };
        let query = query
            .in_order(Order::Ascending)
            .limit(i32::try_from(size + 1).unwrap_or(i32::MAX));
        let query = match after {
            Some(place) => query.after("place", place),
            None => query,
        };
        let mut rows: Vec<IndexRow> = self.0.query(query).await?;
        let goes_on = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| goes_on).map(|row| row.place.clone());
        let keys = rows.iter().map(|row| key(row.letter_uuid)).collect();
        let rows: Vec<Row> = self.0.find_all(keys).await?;
        let mut letters = rows.into_iter().map(Row::letter).collect::<Result<Vec<_>, _>>()?;
        letters.sort_by_key(place);
        Ok(Listed { letters, next })
    }

    /// How many letters wait, up to [`COUNTED`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn waiting(&self) -> Result<usize, TableError> {
        let query = Query::partition(Some("by-status"), "status", Status::Waiting).limit(COUNTED);
        Ok(self.0.query::<IndexRow>(query).await?.len())
    }
}

#[cfg(test)]
mod tests {
    use kernel::UserId;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_comes_back_and_only_what_is_closed_expires() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let waiting = Letter {
            id: LetterId::random(),
            consumer: Consumer::CountOrders,
            content: Content::Change(json!({"eventName": "INSERT"})),
            trace: "7".into(),
            sent_at: now,
            kept_at: now,
            tries: Some(11),
            status: Status::Waiting,
            redrive_since: None,
            history: vec![],
            version: 1,
        };
        let by = UserId::random();
        let begun = waiting.begin_redrive(by, now).unwrap().unwrap();
        let redriven = begun.after_redrive(by, now, None).unwrap();
        for letter in [waiting, begun, redriven] {
            let row = serde_json::to_value(Row::of(&letter).unwrap()).unwrap();
            assert_eq!(row.get("expires_at").is_some(), letter.status == Status::Redriven);
            let row: Row = serde_json::from_value(row).unwrap();
            assert_eq!(row.letter().unwrap(), letter);
        }
    }
}
