//! Table streams to functions: the event source mapping of DynamoDB Streams.
//!
//! A mapping goes through the records of its table in order, one batch at a time, and keeps its position durably,
//! behind what was finished. A batch that fails is tried again, halved or shortened as the template says, and in the
//! end given up to the failure queue.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};
use uuid::Uuid;

use super::batch_response;
use super::deliveries::Context;
use super::dynamodb::{self, StoreError};
use super::pattern::Pattern;
use super::queues::{MessageAttributes, Outgoing};
use super::storage::Storage;
use super::time;
use crate::faults::{self, Fault};
use crate::functions::{Outcome, Trigger};

/// How often a stream is looked at although nobody announced a write.
const TICK: Duration = Duration::from_secs(1);
/// Pause before a failed batch is tried again; doubled every time up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Finished records after which the stream is trimmed.
const TRIM_AFTER: usize = 500;

/// A stream that feeds a function.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Logical id of the function.
    pub function: String,
    /// Name of the table.
    pub table: String,
    /// ARN of its stream.
    pub stream: String,
    /// Records per invocation at most.
    pub batch_size: usize,
    /// What happens to batches that fail.
    pub retries: Retries,
    /// The function says which record failed.
    pub report_batch_item_failures: bool,
    /// ARN of the queue that learns of batches that were given up.
    pub on_failure: Option<String>,
    /// Patterns, one of which lets a record through; none: all pass.
    pub filters: Vec<Pattern>,
}

/// What happens to batches that fail.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// Retries before a batch is given up.
    pub most: u32,
    /// Halve a failing batch.
    pub bisect: bool,
}

impl Mapping {
    /// Key of the mapping's position.
    pub fn key(&self) -> String {
        format!("{} {}", self.function, self.table)
    }

    /// Feeds the function until the deliveries are stopped.
    pub(super) async fn run(self, context: Context) {
        let stop = context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow(&context) => {}
        }
    }

    async fn follow(&self, context: &Context) {
        let Some(mut writes) = context.store.writes(&self.table) else {
            return;
        };
        let mut finished = 0;
        loop {
            writes.mark_unchanged();
            match self.advance(context).await {
                Ok(0) => {
                    // Resolves with an error only when the store is gone, and then the tick is as good.
                    let _ = tokio::time::timeout(TICK, writes.changed()).await;
                }
                Ok(records) => {
                    finished += records;
                    if finished >= TRIM_AFTER {
                        finished = 0;
                        if let Err(error) = context.trim(&self.table).await {
                            tracing::error!(table = self.table, %error, "the stream could not be trimmed");
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(table = self.table, %error, "the stream could not be read");
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }

    /// Takes the mapping over the next records; answers how many they were.
    async fn advance(&self, context: &Context) -> Result<usize, StoreError> {
        let position = context.positions.get(&self.key())?;
        let records = context
            .store
            .records(&self.table, &self.stream, position.as_deref(), dynamodb::MOST_RECORDS)
            .await?;
        let Some(last) = records.last().map(number) else {
            return Ok(0);
        };
        let read = records.len();

        let wanted: Vec<Value> = records.into_iter().filter(|record| self.wants(record)).collect();
        for batch in wanted.chunks(self.batch_size.max(1)) {
            self.deliver(context, batch).await?;
        }
        if wanted.last().map(number).as_ref() != Some(&last) {
            // What no filter wanted is behind us as well.
            context.positions.set(&self.key(), &last)?;
        }
        Ok(read)
    }

    fn wants(&self, record: &Value) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(record))
    }

    async fn deliver(&self, context: &Context, records: &[Value]) -> Result<(), StoreError> {
        let mut batch = Batch::new(records.to_vec());
        let mut invocations = 0;
        let mut pause = SHORTEST_PAUSE;
        while let Some(chunk) = batch.next() {
            let payload = Bytes::from(json!({ "Records": chunk }).to_string());
            let trigger = Trigger::Stream(self.table.clone());
            let fault = context.fault(&self.function, &trigger);
            if fault == Some(Fault::Late) {
                let late = i64::try_from(faults::LATE.as_millis()).unwrap_or(i64::MAX);
                context
                    .clock
                    .sleep_until(context.clock.now_ms().saturating_add(late))
                    .await;
            }
            let outcome = context.invoke(&self.function, payload, trigger, fault).await;
            invocations += 1;
            let verdict = self.verdict(&outcome, chunk);
            let detail = json!({
                "stream": self.table,
                "records": chunk.iter().map(number).collect::<Vec<_>>(),
                "failed_from": match verdict {
                    Verdict::Finished => None,
                    Verdict::Failed => Some(0),
                    Verdict::FailedFrom(index) => Some(index),
                },
                "outcome": super::deliveries::outcome_name(&outcome),
            });
            context.record("delivery", Some(&self.function), detail);

            let step = batch.settle(verdict, self.retries);
            match step {
                Step {
                    given_up: Some(records),
                    ..
                } => {
                    self.give_up(context, &records, &outcome, invocations)?;
                    (invocations, pause) = (0, SHORTEST_PAUSE);
                }
                Step {
                    finished_through: Some(position),
                    ..
                } => {
                    context.positions.set(&self.key(), &position)?;
                    (invocations, pause) = (0, SHORTEST_PAUSE);
                }
                Step { .. } => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(())
    }

    fn verdict(&self, outcome: &Outcome, records: &[Value]) -> Verdict {
        let Outcome::Answered(answer) = outcome else {
            return Verdict::Failed;
        };
        if !self.report_batch_item_failures {
            return Verdict::Finished;
        }
        let Some(failed) = batch_response::failures(answer) else {
            return Verdict::Failed;
        };
        let places: Option<Vec<usize>> = failed
            .iter()
            .map(|id| records.iter().position(|record| number(record) == *id))
            .collect();
        match places.map(|places| places.into_iter().min()) {
            // A number that is not in the batch means that the function mixed something up.
            None => Verdict::Failed,
            Some(None) => Verdict::Finished,
            Some(Some(lowest)) => Verdict::FailedFrom(lowest),
        }
    }

    /// Moves on behind records that could not be delivered; the failure queue learns where they are.
    fn give_up(
        &self,
        context: &Context,
        records: &[Value],
        outcome: &Outcome,
        invocations: u32,
    ) -> Result<(), rusqlite::Error> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let now_ms = context.clock.now_ms();
        let arrival = |record: &Value| {
            let seconds = record
                .pointer("/dynamodb/ApproximateCreationDateTime")
                .and_then(Value::as_i64);
            time::rfc3339_seconds(seconds.unwrap_or_default().saturating_mul(1000))
        };
        let notice = json!({
            "requestContext": {
                "requestId": Uuid::new_v4(),
                "functionArn": format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.function),
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": invocations,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": match outcome { Outcome::Answered(_) => None, _ => Some("Unhandled") },
            },
            "version": "1.0",
            "timestamp": time::rfc3339(now_ms),
            "DDBStreamBatchInfo": {
                "shardId": dynamodb::shard(&self.table),
                "startSequenceNumber": number(first),
                "endSequenceNumber": number(last),
                "approximateArrivalOfFirstRecord": arrival(first),
                "approximateArrivalOfLastRecord": arrival(last),
                "batchSize": records.len(),
                "streamArn": self.stream,
            },
        });
        let message = self.on_failure.as_ref().map(|queue| Outgoing {
            queue: queue.clone(),
            body: notice.to_string(),
            attributes: MessageAttributes::new(),
        });
        context.queues.send_with(message.as_slice(), now_ms, |transaction| {
            Positions::set_in(transaction, &self.key(), &number(last))
        })?;
        let detail = json!({
            "stream": self.table,
            "records": records.iter().map(number).collect::<Vec<_>>(),
            "queue": self.on_failure,
        });
        context.record("dead-letter", Some(&self.function), detail);
        Ok(())
    }
}

/// What an invocation did with its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All of them are finished.
    Finished,
    /// None of them is.
    Failed,
    /// Those before this place are.
    FailedFrom(usize),
}

/// Records on their way to the function, in the chunks in which they are tried.
#[derive(Debug)]
struct Batch {
    chunks: VecDeque<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    records: Vec<Value>,
    failures: u32,
}

/// What settling an invocation means for the position.
#[derive(Debug, Default, PartialEq)]
struct Step {
    /// Everything up to this number is finished.
    finished_through: Option<String>,
    /// These have failed for the last time.
    given_up: Option<Vec<Value>>,
}

impl Batch {
    fn new(records: Vec<Value>) -> Self {
        Self {
            chunks: VecDeque::from([Chunk { records, failures: 0 }]),
        }
    }

    /// The records to try next.
    fn next(&self) -> Option<&[Value]> {
        self.chunks.front().map(|chunk| chunk.records.as_slice())
    }

    /// Takes in what became of [`Self::next`].
    fn settle(&mut self, verdict: Verdict, retries: Retries) -> Step {
        let Some(mut chunk) = self.chunks.pop_front() else {
            return Step::default();
        };
        match verdict {
            Verdict::Finished => Step {
                finished_through: chunk.records.last().map(number),
                given_up: None,
            },
            Verdict::FailedFrom(place) if place > 0 => {
                // The checkpoint moved. What is left has failed once, in its first record.
                let rest = chunk.records.split_off(place.min(chunk.records.len()));
                self.chunks.push_front(Chunk {
                    records: rest,
                    failures: 1,
                });
                Step {
                    finished_through: chunk.records.last().map(number),
                    given_up: None,
                }
            }
            Verdict::Failed | Verdict::FailedFrom(_) if retries.bisect && chunk.records.len() > 1 => {
                // Halving is not a retry.
                let second = chunk.records.split_off(chunk.records.len() / 2);
                self.chunks.push_front(Chunk {
                    records: second,
                    failures: chunk.failures,
                });
                self.chunks.push_front(chunk);
                Step::default()
            }
            Verdict::Failed | Verdict::FailedFrom(_) => {
                chunk.failures += 1;
                if chunk.failures > retries.most {
                    return Step {
                        finished_through: None,
                        given_up: Some(chunk.records),
                    };
                }
                self.chunks.push_front(chunk);
                Step::default()
            }
        }
    }
}

/// Sequence number of a record.
fn number(record: &Value) -> String {
    record
        .pointer("/dynamodb/SequenceNumber")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// How far each mapping has come. Clones share the file.
#[derive(Debug, Clone)]
pub struct Positions {
    storage: Storage,
}

impl Positions {
    /// The positions in this file.
    pub fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// Number of the last record that the mapping has finished.
    pub fn get(&self, mapping: &str) -> Result<Option<String>, rusqlite::Error> {
        self.storage.read(|connection| {
            connection
                .prepare_cached("SELECT sequence_number FROM positions WHERE mapping = ?1")?
                .query_row([mapping], |row| row.get(0))
                .optional()
        })
    }

    /// Moves the mapping behind this record; it is durable when this answers.
    pub fn set(&self, mapping: &str, sequence_number: &str) -> Result<(), rusqlite::Error> {
        self.storage
            .transaction(|transaction| Self::set_in(transaction, mapping, sequence_number))
    }

    fn set_in(transaction: &Transaction<'_>, mapping: &str, sequence_number: &str) -> Result<(), rusqlite::Error> {
        transaction
            .prepare_cached(
                "INSERT INTO positions (mapping, sequence_number) VALUES (?1, ?2)
                 ON CONFLICT (mapping) DO UPDATE SET sequence_number = excluded.sequence_number",
            )?
            .execute(params![mapping, sequence_number])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_RETRIES: Retries = Retries { most: 2, bisect: false };
    const HALVING: Retries = Retries { most: 1, bisect: true };

    fn records(numbers: &[&str]) -> Vec<Value> {
        numbers
            .iter()
            .map(|number| json!({"dynamodb": {"SequenceNumber": number}}))
            .collect()
    }

    fn numbers(records: &[Value]) -> Vec<String> {
        records.iter().map(number).collect()
    }

    fn next(batch: &Batch) -> Vec<String> {
        batch.next().map(numbers).unwrap_or_default()
    }

    fn finished(through: &str) -> Step {
        Step {
            finished_through: Some(through.to_owned()),
            given_up: None,
        }
    }

    #[test]
    fn a_failed_batch_is_tried_again_as_often_as_the_template_says_and_then_given_up() {
        let mut batch = Batch::new(records(&["1", "2"]));
        for _ in 0..2 {
            assert_eq!(batch.settle(Verdict::Failed, TWO_RETRIES), Step::default());
            assert_eq!(next(&batch), ["1", "2"]);
        }
        let last = batch.settle(Verdict::Failed, TWO_RETRIES);
        assert_eq!(numbers(&last.given_up.unwrap()), ["1", "2"]);
        assert!(batch.next().is_none());
    }

    #[test]
    fn a_reported_failure_moves_the_checkpoint_before_it() {
        let mut batch = Batch::new(records(&["1", "2", "3"]));
        assert_eq!(batch.settle(Verdict::FailedFrom(1), TWO_RETRIES), finished("1"));
        assert_eq!(next(&batch), ["2", "3"]);
        assert_eq!(batch.settle(Verdict::FailedFrom(0), TWO_RETRIES), Step::default());
        let last = batch.settle(Verdict::FailedFrom(0), TWO_RETRIES);
        assert_eq!(numbers(&last.given_up.unwrap()), ["2", "3"]);
    }

    #[test]
    fn halving_isolates_the_record_that_fails() {
        let mut batch = Batch::new(records(&["1", "2", "3", "4"]));
        let (mut tries, mut done, mut given_up) = (0, Vec::new(), Vec::new());
        while let Some(chunk) = batch.next() {
            tries += 1;
            let verdict = match numbers(chunk).iter().position(|number| number == "3") {
                Some(0) => Verdict::FailedFrom(0),
                Some(_) => Verdict::Failed,
                None => Verdict::Finished,
            };
            let step = batch.settle(verdict, HALVING);
            done.extend(step.finished_through);
            given_up.extend(step.given_up.map(|records| numbers(&records)).unwrap_or_default());
        }
        assert_eq!(
            (done, given_up),
            (vec!["2".to_owned(), "4".to_owned()], vec!["3".to_owned()])
        );
        assert_eq!(tries, 6, "1-4, 1-2, 3-4, 3, 3 again, 4");
    }

    #[test]
    fn the_lowest_reported_number_counts_and_an_unknown_one_fails_the_batch() {
        let mapping = Mapping {
            function: "F".to_owned(),
            table: "orders".to_owned(),
            stream: String::new(),
            batch_size: 10,
            retries: TWO_RETRIES,
            report_batch_item_failures: true,
            on_failure: None,
            filters: Vec::new(),
        };
        let verdict = |answer: &str| {
            mapping.verdict(
                &Outcome::Answered(Bytes::from(answer.to_owned())),
                &records(&["1", "2", "3"]),
            )
        };
        let reported = r#"{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"2"}]}"#;
        assert_eq!(verdict(reported), Verdict::FailedFrom(1));
        assert_eq!(
            verdict(r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#),
            Verdict::Failed
        );
        assert_eq!(verdict("null"), Verdict::Finished);
        assert_eq!(verdict("[]"), Verdict::Failed);
        assert_eq!(mapping.verdict(&Outcome::Crashed, &records(&["1"])), Verdict::Failed);
    }
}
