//! SQS queues: durable, with visibility timeout, receive count, delay, retention and dead-letter queues.
//!
//! Every method takes the time from its caller, so that all of it follows the platform's clock.
//!
//! A visibility timeout is several times as long as its function may run, so on AWS no message is delivered again while
//! its function is still at work. A clock that is moved forward would break that; so a received message stays invisible
//! until it is settled, and beyond that until its timeout has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::storage::Storage;
use crate::template::model::Queue;

/// Value of a message attribute. Binary values are base64 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAttribute {
    /// `String`, `Number`, `Binary`, `String.Array`, or one of them with a custom suffix.
    pub data_type: String,
    /// Value of the textual types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Value of the binary types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// Attributes of a message by name.
pub type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// A message on its way into a queue.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// ARN of the queue.
    pub queue: String,
    /// The body.
    pub body: String,
    /// Its attributes.
    pub attributes: MessageAttributes,
}

/// A message in a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    #[serde(skip)]
    id: i64,
    /// Id that stays the same over every delivery.
    pub message_id: String,
    /// The body.
    pub body: String,
    /// Its attributes.
    pub attributes: MessageAttributes,
    /// When it was sent.
    pub sent_ms: i64,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was received the first time.
    pub first_received_ms: Option<i64>,
    /// Handle of this delivery.
    pub receipt: Option<String>,
    /// ARN of the queue from which it came here as a dead letter.
    pub source: Option<String>,
}

#[cfg(test)]
impl Message {
    /// A message that was received once.
    pub fn example(message_id: &str, body: &str) -> Self {
        Self {
            id: 0,
            message_id: message_id.to_owned(),
            body: body.to_owned(),
            attributes: MessageAttributes::new(),
            sent_ms: 0,
            receive_count: 1,
            first_received_ms: Some(0),
            receipt: Some(format!("receipt of {message_id}")),
            source: None,
        }
    }
}

/// What receiving brought.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages, now invisible to others until they are settled.
    pub messages: Vec<Message>,
    /// Ids of messages that had been received too often and went to the dead-letter queue instead.
    pub dead_lettered: Vec<String>,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Physical name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Whether it takes the dead letters of others.
    pub dead_letters: bool,
    /// Messages that can be received now.
    pub visible: u64,
    /// Messages that were received, and neither deleted nor visible again.
    pub in_flight: u64,
    /// Messages that were never visible yet.
    pub delayed: u64,
}

impl QueueCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// The queues of the template. Clones share them.
#[derive(Debug, Clone)]
pub struct Queues {
    storage: Storage,
    queues: Arc<BTreeMap<String, Queue>>,
    dead_letter_queues: Arc<BTreeSet<String>>,
    arrivals: Arc<BTreeMap<String, Notify>>,
    activity: Arc<AtomicU64>,
}

const COLUMNS: &str = "id, message_id, body, attributes, sent_ms, receive_count, first_received_ms, receipt, source";

impl Queues {
    /// The queues, by ARN. `dead_letter_queues` names those that subscriptions and streams use for what they give up;
    /// the ones of redrive policies are known.
    ///
    /// Whatever was being delivered when the platform ended is visible again.
    pub fn open(
        storage: Storage,
        queues: impl IntoIterator<Item = Queue>,
        dead_letter_queues: impl IntoIterator<Item = String>,
        now_ms: i64,
    ) -> Result<Self, rusqlite::Error> {
        let queues: BTreeMap<String, Queue> = queues.into_iter().map(|queue| (queue.arn.clone(), queue)).collect();
        let dead_letter_queues = queues
            .values()
            .filter_map(|queue| Some(queue.redrive.as_ref()?.0.clone()))
            .chain(dead_letter_queues);
        let opened = Self {
            storage,
            dead_letter_queues: Arc::new(dead_letter_queues.collect()),
            arrivals: Arc::new(queues.keys().map(|arn| (arn.clone(), Notify::new())).collect()),
            activity: Arc::default(),
            queues: Arc::new(queues),
        };
        opened.storage.transaction(|transaction| {
            transaction.execute(
                "UPDATE messages SET visible_ms = ?1, receipt = NULL WHERE receipt IS NOT NULL",
                params![now_ms],
            )
        })?;
        Ok(opened)
    }

    /// The queue with this ARN.
    pub fn get(&self, arn: &str) -> Option<&Queue> {
        self.queues.get(arn)
    }

    /// ARN of the queue with this ARN, physical name or logical id.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.queues
            .values()
            .find(|queue| queue.arn == name || queue.name == name || queue.logical_id == name)
            .map(|queue| queue.arn.as_str())
    }

    /// Sends all the messages, or none; answers their ids. They are durable when it answers.
    pub fn send(&self, messages: &[Outgoing], now_ms: i64) -> Result<Vec<String>, rusqlite::Error> {
        self.send_with(messages, now_ms, |_| Ok(()))
    }

    /// Sends all the messages and carries out `also`, or neither.
    pub fn send_with(
        &self,
        messages: &[Outgoing],
        now_ms: i64,
        also: impl FnOnce(&Transaction<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<Vec<String>, rusqlite::Error> {
        let ids = self.storage.transaction(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO messages (queue, message_id, body, attributes, sent_ms, visible_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            let mut ids = Vec::with_capacity(messages.len());
            for message in messages {
                let id = Uuid::new_v4().to_string();
                let delay = self.queues.get(&message.queue).map_or(0, |queue| millis(queue.delay));
                insert.execute(params![
                    message.queue,
                    id,
                    message.body,
                    serde_json::to_string(&message.attributes).unwrap_or_default(),
                    now_ms,
                    now_ms.saturating_add(delay)
                ])?;
                ids.push(id);
            }
            also(transaction)?;
            Ok(ids)
        })?;
        for message in messages {
            self.announce(&message.queue);
        }
        Ok(ids)
    }

    /// Receives up to `most` messages; those that have been received too often go to the dead-letter queue.
    pub fn receive(&self, arn: &str, most: usize, now_ms: i64) -> Result<Received, rusqlite::Error> {
        let Some(queue) = self.queues.get(arn) else {
            return Ok(Received::default());
        };
        let received = self.storage.transaction(|transaction| {
            let mut received = Received::default();
            let mut next = transaction.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, id LIMIT 1"
            ))?;
            while received.messages.len() < most {
                let Some(mut message) = next.query_row(params![arn, now_ms], message).optional()? else {
                    break;
                };
                if let Some((dead_letter_queue, _)) = queue
                    .redrive
                    .as_ref()
                    .filter(|(_, most_receives)| message.receive_count >= *most_receives)
                {
                    transaction.execute(
                        "UPDATE messages SET queue = ?2, source = ?3, visible_ms = ?4, receipt = NULL WHERE id = ?1",
                        params![message.id, dead_letter_queue, arn, now_ms],
                    )?;
                    received.dead_lettered.push(message.message_id);
                    continue;
                }
                message.receive_count += 1;
                message.first_received_ms.get_or_insert(now_ms);
                let receipt = Uuid::new_v4().to_string();
                message.receipt = Some(receipt.clone());
                transaction.execute(
                    "UPDATE messages SET visible_ms = ?2, receive_count = ?3, first_received_ms = ?4, receipt = ?5,
                            retry_ms = ?6
                     WHERE id = ?1",
                    params![
                        message.id,
                        i64::MAX,
                        message.receive_count,
                        message.first_received_ms,
                        receipt,
                        now_ms.saturating_add(millis(queue.visibility_timeout)),
                    ],
                )?;
                received.messages.push(message);
            }
            Ok(received)
        })?;
        if let (false, Some((dead_letter_queue, _))) = (received.dead_lettered.is_empty(), &queue.redrive) {
            self.announce(dead_letter_queue);
        }
        Ok(received)
    }

    /// Takes in what became of received messages, by their receipts: finished ones are deleted, the others become
    /// visible again when the visibility timeout has passed since they were received.
    pub fn settle(&self, arn: &str, finished: &[&str], unfinished: &[&str]) -> Result<(), rusqlite::Error> {
        self.storage.transaction(|transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM messages WHERE receipt = ?1")?;
            for receipt in finished {
                delete.execute([receipt])?;
            }
            let mut release =
                transaction.prepare_cached("UPDATE messages SET visible_ms = retry_ms WHERE receipt = ?1")?;
            for receipt in unfinished {
                release.execute([receipt])?;
            }
            Ok(())
        })?;
        if !unfinished.is_empty() {
            self.announce(arn);
        }
        Ok(())
    }

    /// Has received messages come again at this time, by their receipts, which stay good until then.
    pub fn postpone(&self, arn: &str, receipts: &[String], until_ms: i64) -> Result<(), rusqlite::Error> {
        self.storage.transaction(|transaction| {
            let mut postpone = transaction.prepare_cached("UPDATE messages SET visible_ms = ?2 WHERE receipt = ?1")?;
            for receipt in receipts {
                postpone.execute(params![receipt, until_ms])?;
            }
            Ok(())
        })?;
        self.announce(arn);
        Ok(())
    }

    /// When the next message becomes visible; `None` for an empty queue.
    pub fn next_visible_ms(&self, arn: &str) -> Result<Option<i64>, rusqlite::Error> {
        self.storage.read(|connection| {
            connection
                .prepare_cached("SELECT MIN(visible_ms) FROM messages WHERE queue = ?1")?
                .query_row([arn], |row| row.get(0))
        })
    }

    /// Resolves when something was sent to the queue after the last time that this resolved.
    pub async fn arrival(&self, arn: &str) {
        match self.arrivals.get(arn) {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Grows with everything that is sent or moved.
    pub fn activity(&self) -> u64 {
        self.activity.load(Ordering::SeqCst)
    }

    /// What every queue holds.
    pub fn counts(&self, now_ms: i64) -> Result<Vec<QueueCounts>, rusqlite::Error> {
        self.storage.read(|connection| {
            let mut count = connection.prepare_cached(
                "SELECT COUNT(*) FILTER (WHERE visible_ms <= ?2),
                        COUNT(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NOT NULL),
                        COUNT(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NULL)
                 FROM messages WHERE queue = ?1",
            )?;
            self.queues
                .values()
                .map(|queue| {
                    count.query_row(params![queue.arn, now_ms], |row| {
                        Ok(QueueCounts {
                            name: queue.name.clone(),
                            arn: queue.arn.clone(),
                            dead_letters: self.is_dead_letter_queue(&queue.arn),
                            visible: row.get(0)?,
                            in_flight: row.get(1)?,
                            delayed: row.get(2)?,
                        })
                    })
                })
                .collect()
        })
    }

    /// Whether the queue takes the dead letters of others.
    pub fn is_dead_letter_queue(&self, arn: &str) -> bool {
        self.dead_letter_queues.contains(arn)
    }

    /// Messages of a queue, oldest first, without receiving them.
    pub fn peek(&self, arn: &str, most: u32) -> Result<Vec<Message>, rusqlite::Error> {
        self.storage.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM messages WHERE queue = ?1 ORDER BY id LIMIT ?2"
                ))?
                .query_map(params![arn, most], message)?
                .collect()
        })
    }

    /// Moves dead letters back to the queues they came from, as if they had never been received; answers how many.
    /// Those that no queue gave up (a subscription or a stream did) stay.
    pub fn redrive(&self, dead_letter_queue: &str, now_ms: i64) -> Result<usize, rusqlite::Error> {
        let moved = self.storage.transaction(|transaction| {
            transaction.execute(
                "UPDATE messages SET queue = source, source = NULL, receive_count = 0, first_received_ms = NULL,
                        receipt = NULL, visible_ms = ?2
                 WHERE queue = ?1 AND source IS NOT NULL",
                params![dead_letter_queue, now_ms],
            )
        })?;
        for arn in self.queues.keys() {
            self.announce(arn);
        }
        Ok(moved)
    }

    /// Deletes every message of a queue; answers how many there were.
    pub fn purge(&self, arn: &str) -> Result<usize, rusqlite::Error> {
        self.storage
            .transaction(|transaction| transaction.execute("DELETE FROM messages WHERE queue = ?1", [arn]))
    }

    /// Deletes messages that are older than their queue keeps them, unless one is being delivered.
    pub fn expire(&self, now_ms: i64) -> Result<usize, rusqlite::Error> {
        self.storage.transaction(|transaction| {
            let mut expired = 0;
            for queue in self.queues.values() {
                expired += transaction.execute(
                    "DELETE FROM messages WHERE queue = ?1 AND sent_ms < ?2 AND visible_ms <= ?3",
                    params![queue.arn, now_ms.saturating_sub(millis(queue.retention)), now_ms],
                )?;
            }
            Ok(expired)
        })
    }

    fn announce(&self, arn: &str) {
        self.activity.fetch_add(1, Ordering::SeqCst);
        if let Some(notify) = self.arrivals.get(arn) {
            notify.notify_one();
        }
    }
}

fn message(row: &Row<'_>) -> Result<Message, rusqlite::Error> {
    let attributes: String = row.get(3)?;
    Ok(Message {
        id: row.get(0)?,
        message_id: row.get(1)?,
        body: row.get(2)?,
        attributes: serde_json::from_str(&attributes).unwrap_or_default(),
        sent_ms: row.get(4)?,
        receive_count: row.get(5)?,
        first_received_ms: row.get(6)?,
        receipt: row.get(7)?,
        source: row.get(8)?,
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::storage::Durability;

    const EVENTS: &str = "arn:aws:sqs:us-east-1:000000000000:events";
    const DEAD: &str = "arn:aws:sqs:us-east-1:000000000000:events-dead";

    fn queue(arn: &str, redrive: Option<(String, u32)>) -> Queue {
        let name = arn.rsplit(':').next().unwrap().to_owned();
        Queue {
            logical_id: format!("{name}-id"),
            name,
            arn: arn.to_owned(),
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(3600),
            redrive,
        }
    }

    fn open(folder: &tempfile::TempDir, now_ms: i64) -> Queues {
        let storage = Storage::open(&folder.path().join("queues.sqlite"), Durability::Kept).unwrap();
        let queues = [queue(EVENTS, Some((DEAD.to_owned(), 2))), queue(DEAD, None)];
        Queues::open(storage, queues, [], now_ms).unwrap()
    }

    fn send(queues: &Queues, body: &str, now_ms: i64) {
        let message = Outgoing {
            queue: EVENTS.to_owned(),
            body: body.to_owned(),
            attributes: MessageAttributes::new(),
        };
        queues.send(&[message], now_ms).unwrap();
    }

    /// Receives, and finishes nothing.
    fn receive(queues: &Queues, now_ms: i64) -> Vec<(String, u32)> {
        let received = queues.receive(EVENTS, 10, now_ms).unwrap();
        let receipts: Vec<_> = received
            .messages
            .iter()
            .filter_map(|message| message.receipt.as_deref())
            .collect();
        queues.settle(EVENTS, &[], &receipts).unwrap();
        received
            .messages
            .into_iter()
            .map(|message| (message.body, message.receive_count))
            .collect()
    }

    #[test]
    fn a_message_that_is_not_finished_comes_again_after_the_visibility_timeout() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        assert_eq!(receive(&queues, 0), [("one".to_owned(), 1)]);
        assert_eq!(receive(&queues, 29_999), []);
        assert_eq!(queues.next_visible_ms(EVENTS).unwrap(), Some(30_000));
        assert_eq!(receive(&queues, 30_000), [("one".to_owned(), 2)]);
    }

    #[test]
    fn a_message_does_not_come_again_while_it_is_being_delivered_however_far_the_clock_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        let receipt = queues
            .receive(EVENTS, 1, 0)
            .unwrap()
            .messages
            .remove(0)
            .receipt
            .unwrap();
        assert_eq!(receive(&queues, 1_000_000), []);
        assert_eq!(queues.counts(1_000_000).unwrap()[0].in_flight, 1);
        queues.settle(EVENTS, &[], &[&receipt]).unwrap();
        assert_eq!(receive(&queues, 1_000_000), [("one".to_owned(), 2)]);
    }

    #[test]
    fn a_finished_message_does_not_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        let receipt = queues
            .receive(EVENTS, 1, 0)
            .unwrap()
            .messages
            .remove(0)
            .receipt
            .unwrap();
        queues.settle(EVENTS, &[&receipt], &[]).unwrap();
        assert_eq!(queues.counts(30_000).unwrap()[0].total(), 0);
    }

    #[test]
    fn a_message_received_too_often_becomes_a_dead_letter_and_can_be_sent_back() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        assert_eq!(receive(&queues, 0).len(), 1);
        assert_eq!(receive(&queues, 30_000).len(), 1);
        let received = queues.receive(EVENTS, 10, 60_000).unwrap();
        assert!(received.messages.is_empty());
        assert_eq!(received.dead_lettered.len(), 1);

        let dead = queues.peek(DEAD, 10).unwrap();
        assert_eq!((dead.len(), dead[0].source.as_deref()), (1, Some(EVENTS)));
        let counts = queues.counts(60_000).unwrap();
        assert_eq!(
            counts.iter().map(|c| (c.dead_letters, c.total())).collect::<Vec<_>>(),
            [(false, 0), (true, 1)]
        );

        assert_eq!(queues.redrive(DEAD, 60_000).unwrap(), 1);
        assert_eq!(receive(&queues, 60_000), [("one".to_owned(), 1)]);
    }

    #[test]
    fn queued_messages_survive_a_restart_and_what_was_in_flight_is_visible_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        send(&queues, "two", 0);
        queues.receive(EVENTS, 1, 0).unwrap();
        drop(queues);
        let queues = open(&folder, 1_000);
        let mut received = receive(&queues, 1_000);
        received.sort();
        assert_eq!(received, [("one".to_owned(), 2), ("two".to_owned(), 1)]);
    }

    #[test]
    fn messages_are_kept_only_as_long_as_their_queue_says() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        send(&queues, "one", 0);
        assert_eq!(queues.expire(3_600_000).unwrap(), 0);
        assert_eq!(queues.expire(3_600_001).unwrap(), 1);
        assert_eq!(queues.next_visible_ms(EVENTS).unwrap(), None);
    }

    #[tokio::test]
    async fn a_sleeping_receiver_learns_of_arrivals() {
        let folder = tempfile::tempdir().unwrap();
        let queues = open(&folder, 0);
        let waiting = tokio::spawn({
            let queues = queues.clone();
            async move { queues.arrival(EVENTS).await }
        });
        send(&queues, "one", 0);
        tokio::time::timeout(Duration::from_secs(5), waiting)
            .await
            .unwrap()
            .unwrap();
    }
}
