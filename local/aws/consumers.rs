//! Queues to functions: the event source mapping of SQS.
//!
//! What a function does not finish becomes visible again when the visibility timeout has passed, by the platform's
//! clock; what was received too often goes to the dead-letter queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::batch_response;
use super::deliveries::Context;
use super::queues::{Message, MessageAttributes};
use crate::faults::{self, Fault};
use crate::functions::{Outcome, Trigger};

/// Batches of one queue under way at once where the template does not say: Lambda starts with five pollers.
const CONCURRENCY: u32 = 5;
/// Pause after the queue's file could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// A queue that feeds a function.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Logical id of the function.
    pub function: String,
    /// ARN of the queue.
    pub queue: String,
    /// Messages per invocation at most.
    pub batch_size: usize,
    /// The function says which messages failed.
    pub report_batch_item_failures: bool,
    /// Batches under way at once at most.
    pub maximum_concurrency: Option<u32>,
}

impl Consumer {
    /// Feeds the function until the deliveries are stopped.
    pub(super) async fn run(self, context: Context) {
        let permits = self.maximum_concurrency.unwrap_or(CONCURRENCY);
        let permits = Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(1)));
        let consumer = Arc::new(self);
        loop {
            let permit = tokio::select! {
                () = context.stop.cancelled() => return,
                permit = Arc::clone(&permits).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let pause = match context
                .queues
                .receive(&consumer.queue, consumer.batch_size, context.clock.now_ms())
            {
                Ok(received) => {
                    consumer.record_dead_letters(&context, &received.dead_lettered);
                    if !received.messages.is_empty() {
                        let consumer = Arc::clone(&consumer);
                        let messages = received.messages;
                        let delivery = consumer.deliver(context.clone(), messages, permit);
                        context.spawn(delivery);
                        continue;
                    }
                    None
                }
                Err(error) => Some(error),
            };
            drop(permit);
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = consumer.wait(&context, pause) => {}
            }
        }
    }

    /// Waits until there may be a message to receive.
    async fn wait(&self, context: &Context, failure: Option<rusqlite::Error>) {
        let next = match failure {
            Some(error) => Err(error),
            None => context.queues.next_visible_ms(&self.queue),
        };
        match next {
            Ok(Some(at_ms)) => tokio::select! {
                () = context.queues.arrival(&self.queue) => {}
                () = context.clock.sleep_until(at_ms) => {}
            },
            Ok(None) => context.queues.arrival(&self.queue).await,
            Err(error) => {
                tracing::error!(queue = self.queue, %error, "the queue could not be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn deliver(self: Arc<Self>, context: Context, messages: Vec<Message>, permit: OwnedSemaphorePermit) {
        let payload = self.payload(&messages);
        let trigger = Trigger::Queue(self.queue_name().to_owned());
        let fault = context.fault(&self.function, &trigger);
        if self.hold_back(&context, &messages, fault) {
            return;
        }
        let outcome = context.invoke(&self.function, payload, trigger, fault).await;

        let failed = self.failed(&outcome, &messages);
        let receipts = |unfinished: bool| -> Vec<&str> {
            let chosen = messages
                .iter()
                .filter(|message| failed.contains(message.message_id.as_str()) == unfinished);
            chosen.filter_map(|message| message.receipt.as_deref()).collect()
        };
        if let Err(error) = context.queues.settle(&self.queue, &receipts(false), &receipts(true)) {
            tracing::error!(queue = self.queue, %error, "messages could not be settled and wait for the next start");
        }
        let detail = json!({
            "queue": self.queue_name(),
            "messages": messages.iter().map(|message| &message.message_id).collect::<Vec<_>>(),
            "failed": failed,
            "outcome": super::deliveries::outcome_name(&outcome),
        });
        context.record("delivery", Some(&self.function), detail);
        let overtaken = context.faults.overtaken(&self.queue);
        if !overtaken.is_empty() {
            self.postpone(&context, &overtaken, context.clock.now_ms());
        }
        drop(permit);
    }

    /// Puts messages back for as long as the fault wants; false where it does not want that.
    fn hold_back(&self, context: &Context, messages: &[Message], fault: Option<Fault>) -> bool {
        let span = match fault {
            Some(Fault::Late) => faults::LATE,
            Some(Fault::Overtaken) => faults::OVERTAKEN,
            _ => return false,
        };
        let receipts: Vec<String> = messages.iter().filter_map(|message| message.receipt.clone()).collect();
        let until_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.postpone(context, &receipts, context.clock.now_ms().saturating_add(until_ms));
        if fault == Some(Fault::Overtaken) {
            context.faults.hold(&self.queue, receipts);
        }
        true
    }

    fn postpone(&self, context: &Context, receipts: &[String], until_ms: i64) {
        if let Err(error) = context.queues.postpone(&self.queue, receipts, until_ms) {
            tracing::error!(queue = self.queue, %error, "messages could not be put back and wait for the next start");
        }
    }

    /// Ids of the messages that the function did not finish.
    fn failed<'a>(&self, outcome: &Outcome, messages: &'a [Message]) -> BTreeSet<&'a str> {
        let all = || {
            messages
                .iter()
                .map(|message| message.message_id.as_str())
                .collect::<BTreeSet<_>>()
        };
        let Outcome::Answered(answer) = outcome else {
            return all();
        };
        if !self.report_batch_item_failures {
            return BTreeSet::new();
        }
        let Some(reported) = batch_response::failures(answer) else {
            return all();
        };
        let all = all();
        // An id that is not in the batch means that the function mixed something up: nothing is taken as finished.
        let failed: Option<BTreeSet<&str>> = reported.iter().map(|id| all.get(id.as_str()).copied()).collect();
        failed.unwrap_or(all)
    }

    fn payload(&self, messages: &[Message]) -> Bytes {
        let records: Vec<Value> = messages.iter().map(|message| record(message, &self.queue)).collect();
        json!({ "Records": records }).to_string().into()
    }

    fn record_dead_letters(&self, context: &Context, ids: &[String]) {
        for id in ids {
            let detail = json!({"queue": self.queue_name(), "message": id});
            context.record("dead-letter", Some(&self.function), detail);
        }
    }

    fn queue_name(&self) -> &str {
        self.queue.rsplit(':').next().unwrap_or_default()
    }
}

/// A message as Lambda shows it to the function.
fn record(message: &Message, queue: &str) -> Value {
    let mut attributes = json!({
        "ApproximateReceiveCount": message.receive_count.to_string(),
        "SentTimestamp": message.sent_ms.to_string(),
        "SenderId": "000000000000",
        "ApproximateFirstReceiveTimestamp": message.first_received_ms.unwrap_or(message.sent_ms).to_string(),
    });
    if let Some(source) = &message.source {
        attributes["DeadLetterQueueSourceArn"] = json!(source);
    }
    let message_attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|(name, attribute)| {
            let mut shown = json!({
                "dataType": attribute.data_type,
                "stringListValues": [],
                "binaryListValues": [],
            });
            if let Some(text) = &attribute.string_value {
                shown["stringValue"] = json!(text);
            }
            if let Some(bytes) = &attribute.binary_value {
                shown["binaryValue"] = json!(bytes);
            }
            (name.clone(), shown)
        })
        .collect();
    let mut record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": message_attributes,
        "md5OfBody": format!("{:x}", md5::compute(&message.body)),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
        "awsRegion": "us-east-1",
    });
    if !message.attributes.is_empty() {
        record["md5OfMessageAttributes"] = json!(digest(&message.attributes));
    }
    record
}

/// The digest of message attributes that SQS documents: name, type and value of each, with their lengths.
fn digest(attributes: &MessageAttributes) -> String {
    fn add(digested: &mut Vec<u8>, bytes: &[u8]) {
        digested.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digested.extend(bytes);
    }

    let mut digested = Vec::new();
    for (name, attribute) in attributes {
        add(&mut digested, name.as_bytes());
        add(&mut digested, attribute.data_type.as_bytes());
        if let Some(text) = &attribute.string_value {
            digested.push(1);
            add(&mut digested, text.as_bytes());
        } else {
            let bytes = attribute
                .binary_value
                .as_ref()
                .and_then(|text| BASE64.decode(text).ok());
            digested.push(2);
            add(&mut digested, &bytes.unwrap_or_default());
        }
    }
    format!("{:x}", md5::compute(digested))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::queues::MessageAttribute;

    fn consumer(report_batch_item_failures: bool) -> Consumer {
        Consumer {
            function: "NotifyPeopleFunction".to_owned(),
            queue: "arn:aws:sqs:us-east-1:000000000000:notifications".to_owned(),
            batch_size: 10,
            report_batch_item_failures,
            maximum_concurrency: None,
        }
    }

    fn messages() -> Vec<Message> {
        ["a", "b"].into_iter().map(|id| Message::example(id, "body")).collect()
    }

    fn failed(consumer: &Consumer, outcome: &Outcome) -> Vec<String> {
        consumer
            .failed(outcome, &messages())
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn only_what_the_function_reports_comes_again() {
        let answered = |answer: &'static str| Outcome::Answered(Bytes::from_static(answer.as_bytes()));
        let b_failed = answered(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#);
        assert_eq!(failed(&consumer(true), &b_failed), ["b"]);
        assert!(failed(&consumer(true), &answered("")).is_empty());
        assert!(failed(&consumer(false), &b_failed).is_empty());
    }

    #[test]
    fn the_whole_batch_comes_again_after_an_error_or_a_malformed_answer() {
        let unknown = Outcome::Answered(Bytes::from_static(br#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#));
        let malformed = Outcome::Answered(Bytes::from_static(b"\"ok\""));
        for outcome in [unknown, malformed, Outcome::TimedOut, Outcome::Crashed] {
            assert_eq!(failed(&consumer(true), &outcome), ["a", "b"], "{outcome:?}");
        }
    }

    #[test]
    fn a_record_has_the_shape_that_lambda_shows() {
        let mut message = Message::example("a", "This is a test message");
        let attribute = |data_type: &str, string: Option<&str>, binary: Option<&str>| MessageAttribute {
            data_type: data_type.to_owned(),
            string_value: string.map(str::to_owned),
            binary_value: binary.map(str::to_owned),
        };
        message
            .attributes
            .insert("type".to_owned(), attribute("String", Some("OrderPaid"), None));
        message
            .attributes
            .insert("blob".to_owned(), attribute("Binary", None, Some("AQI=")));
        let record = record(&message, "arn:aws:sqs:us-east-1:000000000000:notifications");
        // The digest that AWS documents for this body.
        assert_eq!(record["md5OfBody"], "fafb00f5732ab283681e124bf8747ed1");
        assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
        assert_eq!(record["messageAttributes"]["type"]["stringValue"], "OrderPaid");
        assert_eq!(record["messageAttributes"]["blob"]["binaryValue"], "AQI=");
        assert_eq!(record["eventSource"], "aws:sqs");
        assert_eq!(record["md5OfMessageAttributes"].as_str().unwrap().len(), 32);
    }
}
