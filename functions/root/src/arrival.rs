//! What arrives in the dead-letter queues, and which letters it makes.

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use cloud::{Cloud, StartError};
use event_function::SqsMessage;
use kernel::{LetterId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::consumer::{Consumer, Directory};
use crate::error::RootError;
use crate::letter::{Content, Letter, Status};

/// Reads what arrives.
#[derive(Debug)]
pub struct Arrivals {
    queues: Directory,
    functions: Directory,
    streams: Client,
}

/// What Lambda writes of a batch of a stream that it gave up.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenUp {
    request_context: RequestContext,
    #[serde(rename = "DDBStreamBatchInfo")]
    batch: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    function_arn: String,
    #[serde(default)]
    approximate_invoke_count: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    batch_size: i32,
    stream_arn: String,
}

/// Answers without an end of the batch after which its rest counts as forgotten: a shard is read through faster.
const ROUNDS: usize = 50;
/// The most that one call answers.
const MOST_RECORDS: i32 = 1000;

impl Arrivals {
    /// Reads `DEAD_LETTER_QUEUES` and `CONSUMERS`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            queues: cloud.settings().parsed("DEAD_LETTER_QUEUES")?,
            functions: cloud.settings().parsed("CONSUMERS")?,
            streams: Client::new(cloud.sdk()),
        })
    }

    /// The letters that a message makes: one, or one for each change of a batch that a stream function gave up. A stream
    /// forgets after 24 hours, so what its message stands for is read at once.
    ///
    /// # Errors
    /// [`RootError::UnknownConsumer`], [`RootError::Malformed`], [`RootError::Stream`].
    pub async fn letters(&self, message: &SqsMessage, now: Timestamp) -> Result<Vec<Letter>, RootError> {
        let queue = message.event_source_arn.as_deref().unwrap_or_default();
        let (Some(id), Some(body)) = (message.message_id.as_deref(), message.body.as_deref()) else {
            return Err(RootError::Malformed("it has no id or no body".into()));
        };
        let number = |name: &str| message.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
        let sent_at = number("SentTimestamp").map_or(now, Timestamp::from_millis);
        let letter = |consumer, content, part: &str, trace: &str, tries| Letter {
            id: LetterId::derived(&[queue, id, part]),
            consumer,
            content,
            trace: trace.to_owned(),
            sent_at,
            kept_at: now,
            tries,
            status: Status::Waiting,
            redrive_since: None,
            history: Vec::new(),
            version: 1,
        };
        if let Some(consumer) = self.queues.consumer(queue) {
            // A letter that no queue gave up is one that the topic could not deliver: nobody has tried it.
            let was_tried = message.attributes.contains_key("DeadLetterQueueSourceArn");
            let tries = number("ApproximateReceiveCount").filter(|_| was_tried);
            // This receive is one of them.
            let tries = tries.and_then(|count| u32::try_from(count - 1).ok());
            return Ok(vec![letter(consumer, Content::Message(body.to_owned()), "", id, tries)]);
        }
        let malformed = |error: serde_json::Error| RootError::Malformed(error.to_string());
        let given_up: GivenUp = serde_json::from_str(body).map_err(|_| RootError::UnknownConsumer(queue.to_owned()))?;
        let function = function_name(&given_up.request_context.function_arn);
        let consumer = self
            .functions
            .consumer(function)
            .ok_or_else(|| RootError::UnknownConsumer(function.to_owned()))?;
        let place: Place = serde_json::from_value(given_up.batch.clone()).map_err(malformed)?;
        let tries = given_up.request_context.approximate_invoke_count;
        let records = self.records(&place, consumer).await?;
        if records.is_empty() {
            tracing::error!(%consumer, shard = place.shard_id, "a stream forgot changes before they could be kept");
            let content = Content::Lost(given_up.batch);
            return Ok(vec![letter(consumer, content, "", &place.start_sequence_number, tries)]);
        }
        let letters = records
            .into_iter()
            .map(|(number, record)| letter(consumer, Content::Change(record), &number, &number, tries));
        Ok(letters.collect())
    }

    /// The changes of a place in a stream that the consumer was shown, with their numbers; none if they are forgotten.
    async fn records(&self, place: &Place, consumer: Consumer) -> Result<Vec<(String, Value)>, RootError> {
        let asked = self
            .streams
            .get_shard_iterator()
            .stream_arn(&place.stream_arn)
            .shard_id(&place.shard_id)
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
            .sequence_number(&place.start_sequence_number)
            .send()
            .await;
        let mut iterator = match asked {
            Ok(answer) => answer.shard_iterator,
            Err(error) if is_forgotten(error.code()) => return Ok(Vec::new()),
            Err(error) => return Err(RootError::Stream(DisplayErrorContext(error).to_string())),
        };
        let last = Place::order(&place.end_sequence_number);
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            let Some(from) = iterator.take() else { break };
            let limit = place.batch_size.clamp(1, MOST_RECORDS);
            let answer = match self
                .streams
                .get_records()
                .shard_iterator(from)
                .limit(limit)
                .send()
                .await
            {
                Ok(answer) => answer,
                Err(error) if is_forgotten(error.code()) => return Ok(Vec::new()),
                Err(error) => return Err(RootError::Stream(DisplayErrorContext(error).to_string())),
            };
            iterator = answer.next_shard_iterator;
            for record in answer.records.unwrap_or_default() {
                let number = record
                    .dynamodb
                    .as_ref()
                    .and_then(|change| change.sequence_number.clone())
                    .unwrap_or_default();
                if Place::order(&number) > last {
                    return Ok(found);
                }
                let is_last = Place::order(&number) == last;
                let change = record.event_name.as_ref().map_or("", |name| name.as_str()).to_owned();
                if consumer.reads(&change) {
                    found.push((number, shown(record, &place.stream_arn)?));
                }
                if is_last {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

impl Place {
    /// Sequence numbers compare as numbers, of which they have too many digits.
    fn order(number: &str) -> (usize, &str) {
        let digits = number.trim_start_matches('0');
        (digits.len(), digits)
    }
}

fn is_forgotten(code: Option<&str>) -> bool {
    matches!(code, Some("TrimmedDataAccessException" | "ResourceNotFoundException"))
}

/// `arn:aws:lambda:<region>:<account>:function:<name>[:<version>]` -> `<name>`
fn function_name(arn: &str) -> &str {
    let rest = arn.split_once(":function:").map_or(arn, |(_, rest)| rest);
    rest.split(':').next().unwrap_or_default()
}

/// A record of the stream's API as Lambda shows it to functions: with whole seconds, and the stream it comes from.
fn shown(record: Record, stream: &str) -> Result<Value, RootError> {
    let change = record
        .dynamodb
        .ok_or_else(|| RootError::Malformed("a record without a change".into()))?;
    let image = |image: Option<std::collections::HashMap<String, AttributeValue>>| {
        let item: serde_dynamo::Item = image.unwrap_or_default().into();
        serde_json::to_value(item).map_err(|error| RootError::Malformed(error.to_string()))
    };
    let at = change.approximate_creation_date_time.map(|at| at.secs());
    let mut shown = json!({
        "eventID": record.event_id,
        "eventName": record.event_name.as_ref().map(|name| name.as_str()),
        "eventVersion": record.event_version,
        "eventSource": record.event_source,
        "awsRegion": record.aws_region,
        "eventSourceARN": stream,
        "dynamodb": {
            "ApproximateCreationDateTime": at.unwrap_or_default(),
            "Keys": image(change.keys)?,
            "SequenceNumber": change.sequence_number,
            "SizeBytes": change.size_bytes.unwrap_or_default(),
            "StreamViewType": change.stream_view_type.as_ref().map(|view| view.as_str()),
        },
    });
    // An image that is not there is left out, as Lambda does.
    for (name, old_or_new) in [("OldImage", change.old_image), ("NewImage", change.new_image)] {
        if old_or_new.is_some()
            && let Some(members) = shown.get_mut("dynamodb").and_then(Value::as_object_mut)
        {
            members.insert(name.to_owned(), image(old_or_new)?);
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_as_aws_writes_them() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:cfmp-CountOrdersFunction-1A2B";
        assert_eq!(function_name(arn), "cfmp-CountOrdersFunction-1A2B");
        assert_eq!(
            function_name(&format!("{arn}:$LATEST")),
            "cfmp-CountOrdersFunction-1A2B"
        );
        assert!(Place::order("1000000000000000000000") > Place::order("999999999999999999999"));
        assert_eq!(Place::order("0012"), Place::order("12"));
    }
}
