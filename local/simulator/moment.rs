//! Moments as the companies write them: in Beijing's time, whatever the machine's is.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone as _};

/// One day in milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;
/// One hour in milliseconds.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// Beijing is eight hours ahead of UTC, all year.
const BEIJING_SECONDS: i32 = 8 * 3_600;

fn at(ms: i64) -> DateTime<FixedOffset> {
    let offset = FixedOffset::east_opt(BEIJING_SECONDS);
    let moment = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    offset.map_or_else(|| moment.fixed_offset(), |offset| moment.with_timezone(&offset))
}

/// `2026-01-31 20:00:00`: Alipay's, and both statements'.
pub(super) fn plain(ms: i64) -> String {
    at(ms).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2026-01-31T20:00:00+08:00`: WeChat Pay's.
pub(super) fn rfc3339(ms: i64) -> String {
    at(ms).to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// `2026年01月31日 20:00:00`: in Alipay's statements.
pub(super) fn chinese(ms: i64) -> String {
    at(ms).format("%Y年%m月%d日 %H:%M:%S").to_string()
}

/// `20260131`.
pub(super) fn compact_day(ms: i64) -> String {
    at(ms).format("%Y%m%d").to_string()
}

/// Reads Alipay's form.
pub(super) fn from_plain(text: &str) -> Option<i64> {
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    // The parser takes one digit where the form has two.
    (text.len() == 19).then_some(())?;
    let offset = FixedOffset::east_opt(BEIJING_SECONDS)?;
    Some(offset.from_local_datetime(&local).single()?.timestamp_millis())
}

/// Reads WeChat Pay's form.
pub(super) fn from_rfc3339(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

/// A day in Beijing: its first millisecond, and the first one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    date: NaiveDate,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

impl Day {
    /// Reads `2026-01-31`.
    pub(super) fn parse(text: &str) -> Option<Day> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        (text.len() == 10).then_some(())?;
        let midnight = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
        let start_ms = midnight - i64::from(BEIJING_SECONDS) * 1_000;
        Some(Day {
            date,
            start_ms,
            end_ms: start_ms + DAY_MS,
        })
    }

    pub(super) fn contains(&self, ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&ms)
    }

    /// `20260131`.
    pub(super) fn compact(&self) -> String {
        self.date.format("%Y%m%d").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31T12:00:00Z.
    const NOON: i64 = 1_769_860_800_000;

    #[test]
    fn moments_are_written_in_beijings_time_and_read_back() {
        assert_eq!(plain(NOON), "2026-01-31 20:00:00");
        assert_eq!(rfc3339(NOON), "2026-01-31T20:00:00+08:00");
        assert_eq!(from_plain("2026-01-31 20:00:00"), Some(NOON));
        assert_eq!(from_rfc3339("2026-01-31T12:00:00Z"), Some(NOON));
        for text in ["2026-01-31T20:00:00", "2026-1-31 20:00:00", "2026-13-31 20:00:00", ""] {
            assert_eq!(from_plain(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_in_beijing() {
        let day = Day::parse("2026-01-31").unwrap();
        assert_eq!(plain(day.start_ms), "2026-01-31 00:00:00");
        assert_eq!(plain(day.end_ms), "2026-02-01 00:00:00");
        assert!(day.contains(NOON) && !day.contains(day.end_ms));
        assert_eq!(chinese(day.end_ms), "2026年02月01日 00:00:00");
        assert_eq!(Day::parse("2026-1-31"), None);
    }
}
