//! What the functions wrote to stdout and stderr.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Lines kept of all functions together, in memory; the oldest go first.
const CAPACITY: usize = 20_000;

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// When it arrived, by the platform's clock.
    pub at_ms: i64,
    /// Logical id of the function.
    pub function: String,
    /// The text, without its line break.
    pub text: String,
}

/// The logs of one platform. Clones share them.
#[derive(Debug, Clone)]
pub struct Logs {
    lines: Arc<Mutex<VecDeque<Line>>>,
    echo: bool,
}

impl Logs {
    /// Empty logs; with `echo` every line is shown on stderr as well, behind the function's name.
    #[must_use]
    pub fn new(echo: bool) -> Logs {
        Logs {
            lines: Arc::default(),
            echo,
        }
    }

    /// Keeps a line.
    pub fn write(&self, line: Line) {
        if self.echo {
            eprintln!("[{}] {}", line.function, line.text);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == CAPACITY {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines that are still kept, of one function or of all, oldest first.
    #[must_use]
    pub fn of(&self, function: Option<&str>) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .filter(|line| function.is_none_or(|name| line.function == name))
            .cloned()
            .collect()
    }
}
