//! Moments as Alipay writes them: `yyyy-MM-dd HH:mm:ss`, by the clocks of Beijing.

use std::time::Duration;

use kernel::Timestamp;

/// China has one time and does not change its clocks.
const AHEAD_OF_UTC: Duration = Duration::from_secs(8 * 60 * 60);

/// `at`, in whole seconds.
pub(super) fn written(at: Timestamp) -> String {
    let rfc3339 = at.plus(AHEAD_OF_UTC).to_string();
    rfc3339
        .replacen('T', " ", 1)
        .chars()
        .take("2027-01-15 16:00:00".len())
        .collect()
}

/// The moment that `text` names; some fields have fractions of a second.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    format!("{date}T{time}+08:00").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read_by_the_clocks_of_beijing() {
        let at = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(written(at), "2027-01-15 16:00:00");
        assert_eq!(written(at.plus(Duration::from_millis(999))), "2027-01-15 16:00:00");
        assert_eq!(read("2027-01-15 16:00:00"), Some(at));
        assert_eq!(
            read("2027-01-15 16:00:00.123"),
            Some(Timestamp::from_millis(1_800_000_000_123))
        );
        // Still the day before in UTC.
        assert_eq!(
            written(Timestamp::from_millis(1_767_196_800_000)),
            "2026-01-01 00:00:00"
        );
        for wrong in [
            "",
            " ",
            "2027-01-15",
            "2027-01-15T16:00:00",
            "2027-13-15 16:00:00",
            "2027-01-15 16:00:00Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
