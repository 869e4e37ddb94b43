//! Moments in the forms in which AWS writes them.

use chrono::{DateTime, SecondsFormat};

/// `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `2026-01-31T12:00:00Z`.
pub fn rfc3339_seconds(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}
