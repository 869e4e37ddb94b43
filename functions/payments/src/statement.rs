//! What a provider states of one day: every payment and every refund that it counts to that day.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_function::{Method, StatusCode};
use kernel::{Money, Timestamp, schema};
use serde::{Serialize, Serializer};
use service_client::{Connection, Header};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat};

use crate::provider::Silence;

/// Beijing is eight hours ahead of UTC all year, and both providers keep its days.
const AHEAD_OF_UTC: Duration = Duration::from_secs(8 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after the end of a day its statement is there, by the providers' word: at ten o'clock. A later one says so.
const PREPARATION: Duration = Duration::from_secs(10 * 60 * 60);
/// Time limit of a download.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest download, in bytes.
const LARGEST: usize = 5 * 1024 * 1024;

/// A day in Beijing: the providers' day, whatever zone answers are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Timestamp);

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2026-01-31")]
pub struct NotADay;

impl Day {
    /// The day in which `at` lies.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
        let into = at.plus(AHEAD_OF_UTC).millis().rem_euclid(day);
        Self(at.minus(Duration::from_millis(into.unsigned_abs())))
    }

    /// Its first millisecond.
    #[must_use]
    pub fn start(self) -> Timestamp {
        self.0
    }

    /// The first millisecond after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.0.plus(DAY)
    }

    /// The day before it.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.minus(DAY))
    }

    /// The day after it.
    #[must_use]
    pub fn after(self) -> Self {
        Self(self.end())
    }

    /// What it means that a provider has no statement of it: early on the next day nothing yet, later that nothing moved.
    pub(crate) fn without_movements(self, now: Timestamp) -> Stated {
        match now < self.is_stated_from() {
            true => Stated::NotReady,
            false => Stated::Lines(Vec::new()),
        }
    }

    /// From when on its statement should be there.
    #[must_use]
    pub fn is_stated_from(self) -> Timestamp {
        self.end().plus(PREPARATION)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.0.plus(AHEAD_OF_UTC).to_string();
        f.write_str(local.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let is_one = |c: (usize, u8)| match c.0 {
            4 | 7 => c.1 == b'-',
            _ => c.1.is_ascii_digit(),
        };
        if text.len() != "2026-01-31".len() || !text.bytes().enumerate().all(is_one) {
            return Err(NotADay);
        }
        moment(&format!("{text} 00:00:00")).map(Self).ok_or(NotADay)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

kernel::schemas! {
    Day: "Day", "A day in +08:00, such as 2026-01-31", schema::text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
}

/// The moment that `2026-01-31 20:00:00` names in Beijing, as both providers write it in their statements.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    format!("{date}T{time}+08:00").parse().ok()
}

/// A line of a statement: money that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// The merchant's number of the trade, which may be none of ours: other systems, and people, use the same account.
    pub out_trade_no: String,
    /// The provider's number of the trade.
    pub trade_no: String,
    /// What moved.
    pub movement: Movement,
    /// How much: of a refund, what went back.
    pub amount: Money,
    /// When, by the provider's clock.
    pub at: Timestamp,
}

/// What moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Movement {
    /// A buyer paid.
    Payment,
    /// Money went back.
    Refund {
        /// The merchant's number of the refund; people's own refunds have numbers of the provider's making.
        number: String,
        /// Whether the buyer has it; otherwise it is on its way.
        is_done: bool,
    },
}

/// Answer to a question for a day's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stated {
    /// All that moved on the day, which may be nothing.
    Lines(Vec<StatementLine>),
    /// The provider has not written it yet.
    NotReady,
    /// There is none and will be none, for this reason.
    Absent(String),
    /// No answer that can be trusted.
    Unknown(Silence),
}

impl From<Result<Vec<StatementLine>, Silence>> for Stated {
    fn from(read: Result<Vec<StatementLine>, Silence>) -> Self {
        read.map_or_else(Self::Unknown, Self::Lines)
    }
}

/// Fetches statements from where a provider says that they are: not the host that is called for everything else.
#[derive(Debug, Clone)]
pub(crate) struct Downloads {
    connection: Connection,
    /// Only the local stage may do without TLS.
    may_be_plain: bool,
}

impl Downloads {
    pub(crate) fn new(connection: Connection, stage: &str) -> Self {
        Self {
            connection,
            may_be_plain: stage == "local",
        }
    }

    /// What is at `url`: at most 5 MB, within 5 s.
    pub(crate) async fn fetch(&self, url: &str, headers: &[Header]) -> Result<Bytes, Silence> {
        if !is_safe(url, self.may_be_plain) {
            return Err(Silence(
                "the statement's address does not begin with https://".to_owned(),
            ));
        }
        let received = self
            .connection
            .send(Method::GET, url, headers, Bytes::new(), LIMIT)
            .await
            .map_err(|error| Silence(format!("the statement's download: {error}")))?;
        if received.status != StatusCode::OK {
            return Err(Silence(format!(
                "the statement's download: status {}",
                received.status.as_u16()
            )));
        }
        if received.body.len() > LARGEST {
            return Err(Silence("the statement is larger than 5 MB".to_owned()));
        }
        Ok(received.body)
    }
}

fn is_safe(url: &str, may_be_plain: bool) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let names_a_host = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    let scheme = uri.scheme_str();
    names_a_host && (scheme == Some("https") || (may_be_plain && scheme == Some("http")))
}

/// Where the columns of a statement are. Titles are typed by sellers, and a separator in one shifts what follows it: what
/// stands before the title is counted from the left, what stands behind it from the right.
#[derive(Debug)]
pub(crate) struct Columns {
    names: Vec<String>,
    title: usize,
}

impl Columns {
    /// Of a header line.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>, title: &str) -> Result<Self, Silence> {
        let names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
        let title = position(&names, title)?;
        Ok(Self { names, title })
    }

    /// Where the column `name` is.
    pub(crate) fn find(&self, name: &str) -> Result<Column, Silence> {
        let at = position(&self.names, name)?;
        Ok(match at > self.title {
            true => Column::FromTheRight(self.names.len() - at),
            false => Column::FromTheLeft(at),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }
}

fn position(names: &[String], name: &str) -> Result<usize, Silence> {
    let found = names.iter().position(|known| known == name);
    found.ok_or_else(|| misread(&format!("it has no column {name}")))
}

/// The place of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    FromTheLeft(usize),
    /// The last one is 1.
    FromTheRight(usize),
}

impl Column {
    /// Its field in a line, without the white space around it.
    pub(crate) fn of<'a>(self, fields: &[&'a str]) -> Result<&'a str, Silence> {
        let at = match self {
            Self::FromTheLeft(at) => Some(at),
            Self::FromTheRight(back) => fields.len().checked_sub(back),
        };
        let field = at.and_then(|at| fields.get(at));
        field
            .map(|field| field.trim())
            .ok_or_else(|| misread("a line is too short"))
    }
}

/// A statement that can not be read. What it holds is not repeated: it names buyers.
pub(crate) fn misread(reason: &str) -> Silence {
    Silence(format!("the statement is not understood: {reason}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_beijing() {
        let day: Day = "2026-01-31".parse().unwrap();
        assert_eq!(day.start().to_string(), "2026-01-30T16:00:00.000Z");
        assert_eq!(day.end(), day.after().start());
        assert_eq!(day.before().to_string(), "2026-01-30");
        assert_eq!(day.after().to_string(), "2026-02-01");
        assert_eq!(Day::of(day.start()), day);
        assert_eq!(Day::of(day.end().minus(Duration::from_millis(1))), day);
        assert_eq!(Day::of(day.end()), day.after());
        assert_eq!(day.is_stated_from(), moment("2026-02-01 10:00:00").unwrap());
        assert_eq!(serde_json::to_string(&day).unwrap(), "\"2026-01-31\"");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "x",
            "2026-1-31",
            "2026-02-30",
            "2026-01-31 ",
            "20260131",
            "2026-01-3１",
            "-026-01-31",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
        }
    }

    #[test]
    fn only_a_laptop_downloads_without_tls() {
        assert!(is_safe("https://a/x?y=1", false) && is_safe("http://127.0.0.1:1/x", true));
        for url in [
            "http://a/x",
            "ftp://a/x",
            "/x",
            "",
            "https://user@a/x",
            "file:///etc/passwd",
        ] {
            assert!(!is_safe(url, false), "{url}");
        }
    }

    proptest! {
        #[test]
        fn a_day_is_read_as_it_is_written(at in 0..4_000_000_000_000_i64) {
            let day = Day::of(Timestamp::from_millis(at));
            prop_assert_eq!(day.to_string().parse(), Ok(day));
            prop_assert!(day.start().millis() <= at && at < day.end().millis());
        }
    }
}
