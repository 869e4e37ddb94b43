//! The platform's time: the machine's clock plus an offset that can only grow.
//!
//! Functions read the same time: they add the offset in the file that `CLOCK_OFFSET_FILE` names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Longest single sleep; the clock of a suspended laptop is noticed at the latest after this long.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A clock that tests and developers move forward. Clones share it.
#[derive(Debug, Clone)]
pub struct PlatformClock {
    offset: Arc<watch::Sender<i64>>,
    file: Arc<PathBuf>,
}

impl PlatformClock {
    /// Opens the clock whose offset is kept in `file`; a missing file is an offset of zero.
    ///
    /// # Errors
    /// The file can not be written.
    pub fn open(file: PathBuf) -> io::Result<PlatformClock> {
        let offset = std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse::<i64>().ok())
            .unwrap_or(0);
        write_offset(&file, offset)?;
        Ok(PlatformClock {
            offset: Arc::new(watch::Sender::new(offset)),
            file: Arc::new(file),
        })
    }

    /// What the clock whose offset another process keeps in `file` shows.
    pub(crate) fn shown_by(file: &Path) -> i64 {
        let offset = std::fs::read_to_string(file).ok();
        let offset = offset.and_then(|text| text.trim().parse::<i64>().ok());
        machine_ms().saturating_add(offset.unwrap_or(0))
    }

    /// Milliseconds since 1970, moved by the offset.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        machine_ms().saturating_add(*self.offset.borrow())
    }

    /// Moves the clock forward and wakes everyone who sleeps by it.
    ///
    /// # Errors
    /// The offset file can not be written; the clock then stands where it stood.
    pub fn advance(&self, ms: u64) -> io::Result<()> {
        let step = i64::try_from(ms).unwrap_or(i64::MAX);
        let mut outcome = Ok(());
        self.offset.send_if_modified(|offset| {
            let moved = offset.saturating_add(step);
            outcome = write_offset(&self.file, moved);
            if outcome.is_ok() {
                *offset = moved;
            }
            outcome.is_ok()
        });
        outcome
    }

    /// Sleeps until the clock shows `at_ms`, however it gets there.
    pub async fn sleep_until(&self, at_ms: i64) {
        let mut moves = self.offset.subscribe();
        loop {
            let left = at_ms.saturating_sub(self.now_ms());
            let Ok(left) = u64::try_from(left) else { return };
            if left == 0 {
                return;
            }
            let nap = Duration::from_millis(left).min(LONGEST_SLEEP);
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = moves.changed() => {}
            }
        }
    }

    /// Resolves when the clock is moved the next time.
    pub async fn moved(&self) {
        // The sender lives as long as `self`.
        let _ = self.offset.subscribe().changed().await;
    }

    /// The file that functions read.
    #[must_use]
    pub fn offset_file(&self) -> &Path {
        &self.file
    }
}

/// A reader never sees half a number: the file is replaced, not rewritten.
fn write_offset(file: &Path, offset: i64) -> io::Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, offset.to_string())?;
    std::fs::rename(&next, file)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the platform reads the machine's clock"
)]
fn machine_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved_past_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let clock = PlatformClock::open(folder.path().join("offset")).unwrap();
        let hour = 3_600_000;
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            let at = clock.now_ms() + hour;
            async move { clock.sleep_until(at).await }
        });
        tokio::task::yield_now().await;
        clock.advance(3_600_000).unwrap();
        tokio::time::timeout(Duration::from_secs(5), sleeper)
            .await
            .unwrap()
            .unwrap();
    }

    #[test]
    fn the_offset_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offset");
        PlatformClock::open(file.clone()).unwrap().advance(5_000).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "5000");
        let again = PlatformClock::open(file).unwrap();
        assert!(again.now_ms() >= machine_ms() + 4_900);
    }
}
