//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// The progress of one stage: rows, rows a second, time left.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: String,
    lines: bool,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// Of `rows` rows.
    #[must_use]
    pub fn of(what: &str, rows: u64) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let target = match lines {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(Some(rows), target);
        let style = "{msg:24} {bar:30} {pos}/{len} rows, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            lines,
            began: now,
            told: now,
        }
    }

    /// So many rows more are done.
    pub fn add(&mut self, rows: usize) {
        self.bar.inc(u64::try_from(rows).unwrap_or(0));
        if self.lines && self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let millis = u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = done.saturating_mul(1000) / millis;
        let left = match rate {
            0 => "?".to_owned(),
            rate => format!("{} s", of.saturating_sub(done) / rate),
        };
        format!("{}: {done}/{of} rows, {rate} a second, {left} left", self.what)
    }

    /// All is done.
    pub fn end(self) {
        if self.lines {
            let took = self.began.elapsed().as_millis();
            eprintln!("{}: {} rows in {took} ms", self.what, self.bar.position());
        }
        self.bar.finish();
    }
}
