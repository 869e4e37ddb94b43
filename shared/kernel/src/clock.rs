//! Time: one way to read it, one way to write it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `milliseconds` after the epoch.
    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, as tokens and time-to-live attributes count.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

/// RFC 3339 in UTC with milliseconds; sorts as text.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// A text that is no moment in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a moment such as 2026-01-01T08:00:00+08:00")]
pub struct NotATimestamp;

/// Reads RFC 3339 with any offset; what is finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self(at.timestamp_millis()))
            .map_err(|_| NotATimestamp)
    }
}

/// The zone in which answers show time: a fixed offset from UTC, `+08:00` unless configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(FixedOffset);

/// A text that is no offset such as `+08:00`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an offset from UTC such as +08:00")]
pub struct NotAZone(String);

impl Zone {
    /// ISO-8601 with the zone's offset and microseconds, as the original service wrote it.
    #[must_use]
    pub fn show(self, at: Timestamp) -> String {
        at.utc()
            .with_timezone(&self.0)
            .to_rfc3339_opts(SecondsFormat::Micros, false)
    }

    /// The moment at which the day of `at` began in this zone.
    #[must_use]
    pub fn midnight(self, at: Timestamp) -> Timestamp {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        let offset = i64::from(self.0.local_minus_utc()) * 1000;
        let local = at.0.saturating_add(offset);
        Timestamp(local.saturating_sub(local.rem_euclid(DAY)).saturating_sub(offset))
    }
}

impl FromStr for Zone {
    type Err = NotAZone;

    fn from_str(text: &str) -> Result<Self, NotAZone> {
        text.parse().map(Self).map_err(|_| NotAZone(text.to_owned()))
    }
}

/// The only source of the current time.
///
/// It is the system's clock, moved by the signed number of milliseconds in the file that the variable
/// `CLOCK_OFFSET_FILE` names. The local platform sets that variable so that tests can move time; on AWS it is not set.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_file: Option<PathBuf>,
}

impl Clock {
    /// The clock of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            offset_file: std::env::var_os("CLOCK_OFFSET_FILE").map(PathBuf::from),
        }
    }

    /// The current time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system's clock"
    )]
    pub fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let offset = self
            .offset_file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
            .and_then(|text| text.trim().parse::<i64>().ok())
            .unwrap_or(0);
        Timestamp(
            i64::try_from(since_epoch.as_millis())
                .unwrap_or(i64::MAX)
                .saturating_add(offset),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_show_the_configured_zone() {
        let zone: Zone = "+08:00".parse().unwrap();
        let shown = zone.show(Timestamp::from_millis(1_767_225_600_123));
        assert_eq!(shown, "2026-01-01T08:00:00.123000+08:00");
        assert_eq!((&shown[..10], &shown[11..19]), ("2026-01-01", "08:00:00"));
        assert_eq!(shown.parse(), Ok(Timestamp::from_millis(1_767_225_600_123)));
        assert!("Mars".parse::<Zone>().is_err());
        assert!("2026-01-01".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_day_begins_at_the_zones_midnight() {
        let zone: Zone = "+08:00".parse().unwrap();
        // 03:00 and 08:00 there are the same day, although one of them is the day before in UTC.
        for at in [1_767_207_600_000, 1_767_225_600_123] {
            let midnight = zone.midnight(Timestamp::from_millis(at));
            assert_eq!(zone.show(midnight), "2026-01-01T00:00:00.000000+08:00");
        }
    }
}
