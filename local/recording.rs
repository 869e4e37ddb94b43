//! What happened on the platform, for people and tests to read: calls of functions to the outside, and events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// Entries kept of each kind; the oldest go first. What is kept is held in memory, a kilobyte or two each: some two hundred
/// purchases fill it, and from then on a platform that runs for days needs no more.
const CAPACITY: usize = 20_000;

/// A call that a function made to AWS or to another function.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// When it was answered, by the platform's clock.
    pub at_ms: i64,
    /// Logical id of the calling function.
    pub function: String,
    /// Invocation during which it was made, where it is known.
    pub request_id: Option<String>,
    /// `dynamodb:PutItem`, `sns:Publish`, `http:POST /api/...`.
    pub target: String,
    /// ARN, table or route that was called.
    pub resource: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// How long the answer took.
    pub duration_us: u64,
    /// `ConsumedCapacity` of the store, where it reported one.
    pub consumed: Option<Value>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// When, by the platform's clock.
    pub at_ms: i64,
    /// `invocation`, `delivery`, `dead-letter`, `publish`, `schedule`, `connection`, ...
    pub kind: &'static str,
    /// Logical id of the function concerned.
    pub function: Option<String>,
    /// The particulars.
    pub detail: Value,
}

/// An entry with its place in the order of things; places start at 1 and are never reused.
#[derive(Debug, Clone, Serialize)]
pub struct Numbered<T> {
    /// The place.
    pub sequence: u64,
    /// The entry.
    #[serde(flatten)]
    pub entry: T,
}

/// The record of one platform. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    calls: Arc<Mutex<Ring<Call>>>,
    events: Arc<Mutex<Ring<Event>>>,
}

impl Recording {
    /// Records a call.
    pub fn call(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Records an event.
    pub fn event(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// The calls that are still kept and satisfy `wanted`, oldest first.
    #[must_use]
    pub fn calls(&self, wanted: impl Fn(&Numbered<Call>) -> bool) -> Vec<Numbered<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).select(wanted)
    }

    /// The events that are still kept and satisfy `wanted`, oldest first.
    #[must_use]
    pub fn events(&self, wanted: impl Fn(&Numbered<Event>) -> bool) -> Vec<Numbered<Event>> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .select(wanted)
    }
}

#[derive(Debug)]
struct Ring<T> {
    entries: VecDeque<Numbered<T>>,
    last: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring {
            entries: VecDeque::new(),
            last: 0,
        }
    }
}

impl<T: Clone> Ring<T> {
    fn push(&mut self, entry: T) {
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(Numbered {
            sequence: self.last,
            entry,
        });
    }

    fn select(&self, wanted: impl Fn(&Numbered<T>) -> bool) -> Vec<Numbered<T>> {
        self.entries.iter().filter(|entry| wanted(entry)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_first_and_places_are_not_reused() {
        let mut ring = Ring::default();
        for number in 0..=CAPACITY {
            ring.push(number);
        }
        assert_eq!(ring.entries.len(), CAPACITY);
        assert_eq!(
            ring.entries.front().map(|first| (first.sequence, first.entry)),
            Some((2, 1))
        );
    }
}
