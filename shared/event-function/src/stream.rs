//! Functions that read a table's stream: those that announce what changed, the outbox, and those that take it in.

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::dynamodb::{Event, EventRecord};
use cloud::{Cloud, StartError};
use kernel::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tables::IMPORTED_AT;

use crate::door::{Answer, Handler, serve};
use crate::publisher::{Announcement, Publisher};
use crate::{Boxed, EventError};

/// What happened to one item.
#[derive(Debug, Clone)]
pub struct Change<T> {
    /// ARN of the stream, which names the table.
    pub source: String,
    /// The item before, unless it is new.
    pub before: Option<T>,
    /// The item after, unless it was deleted.
    pub after: Option<T>,
    /// When, to the second.
    pub at: Timestamp,
}

type OneChange = Arc<dyn Fn(EventRecord) -> Result<Vec<Announcement>, EventError> + Send + Sync>;

/// Whether a change is history: a migration wrote the item as the older system had it. Nothing follows from that. What
/// changes afterwards is life: whoever writes the whole item drops the mark, whoever changes a part leaves it as it was.
fn is_history(record: &EventRecord) -> bool {
    let (old, new) = (
        record.change.old_image.get(IMPORTED_AT),
        record.change.new_image.get(IMPORTED_AT),
    );
    new.is_some() && new != old
}

/// Runs a stream function until the Lambda service ends it: `announce` says which events one change amounts to. It is
/// pure, so that reading the stream again announces the same.
///
/// What a migration wrote is passed over. Changes are handled in order. The first that fails is reported, and Lambda continues from there.
pub fn open_stream<T, F>(
    announce: impl Fn(&Change<T>) -> Result<Vec<Announcement>, F> + Send + Sync + 'static,
) -> ExitCode
where
    T: DeserializeOwned + 'static,
    F: Into<EventError>,
{
    let one: OneChange = Arc::new(move |record| announce(&change(record)?).map_err(Into::into));
    serve(Box::new(move |cloud: Cloud| {
        Box::pin(async move {
            let publisher = Arc::new(Publisher::new(&cloud)?);
            let handler: Handler =
                Box::new(move |payload| Box::pin(batch(one.clone(), publisher.clone(), payload)) as Boxed<_>);
            Ok::<_, StartError>(handler)
        })
    }))
}

fn change<T: DeserializeOwned>(record: EventRecord) -> Result<Change<T>, EventError> {
    let parse = |image: serde_dynamo::Item| {
        if image.is_empty() {
            Ok(None)
        } else {
            serde_dynamo::from_item(image).map(Some).map_err(EventError::never)
        }
    };
    Ok(Change {
        source: record.event_source_arn.unwrap_or_default(),
        before: parse(record.change.old_image)?,
        after: parse(record.change.new_image)?,
        at: Timestamp::from_millis(record.change.approximate_creation_date_time.timestamp_millis()),
    })
}

type WholeBatch<T> = Arc<dyn Fn(Vec<Change<T>>) -> Boxed<Result<(), EventError>> + Send + Sync>;

/// Runs a stream function until the Lambda service ends it: `operation` takes in a batch of changes, in their order, with
/// the time at which that happens. The same changes may come again, and after a failure the whole batch does. What a
/// migration wrote is passed over.
pub fn open_stream_batches<S, T, Started, Handled, F>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Vec<Change<T>>, Timestamp) -> Handled + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Handled: Future<Output = Result<(), F>> + Send + 'static,
    F: Into<EventError>,
{
    let operation = Arc::new(operation);
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let clock = cloud.clock().clone();
            let state = Arc::new(build(cloud).await?);
            let whole: WholeBatch<T> = Arc::new(move |changes| {
                let (state, operation, now) = (state.clone(), operation.clone(), clock.now());
                Box::pin(async move { operation(state, changes, now).await.map_err(Into::into) })
            });
            let handler: Handler = Box::new(move |payload| Box::pin(take_in(whole.clone(), payload)));
            Ok(handler)
        })
    }))
}

async fn take_in<T: DeserializeOwned>(whole: WholeBatch<T>, payload: Value) -> Result<Answer, EventError> {
    let event: Event = serde_json::from_value(payload).map_err(EventError::never)?;
    let first = event
        .records
        .first()
        .and_then(|record| record.change.sequence_number.clone());
    let lived = event.records.into_iter().filter(|record| !is_history(record));
    let changes = lived.map(change).collect::<Result<Vec<_>, _>>();
    let taken = match changes {
        Ok(changes) => whole(changes).await,
        Err(error) => Err(error),
    };
    if let Err(error) = taken {
        return Ok(failed(
            first.unwrap_or_default(),
            &error,
            "changes could not be taken in",
        ));
    }
    Ok(finished())
}

async fn batch(one: OneChange, publisher: Arc<Publisher>, payload: Value) -> Result<Answer, EventError> {
    let event: Event = serde_json::from_value(payload).map_err(EventError::never)?;
    for record in event.records {
        if is_history(&record) {
            continue;
        }
        let position = record.change.sequence_number.clone().unwrap_or_default();
        let announced = match one(record) {
            Ok(announcements) => publisher.publish(announcements).await,
            Err(error) => Err(error),
        };
        if let Err(error) = announced {
            return Ok(failed(position, &error, "a change could not be announced"));
        }
    }
    Ok(finished())
}

fn finished() -> Answer {
    Answer {
        body: json!({"batchItemFailures": []}),
        cause: None,
    }
}

/// Everything from this position on is tried again.
fn failed(position: String, error: &EventError, what: &'static str) -> Answer {
    let cause = error.chain();
    if cloud::rehearsal::is_on() {
        tracing::info!(position, cause, "a rehearsal ended here");
    } else {
        tracing::error!(position, cause, "{what}");
    }
    Answer {
        body: json!({"batchItemFailures": [{"itemIdentifier": position}]}),
        cause: Some(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(old: Option<Value>, new: Option<Value>) -> EventRecord {
        let image = |item: Option<Value>| item.unwrap_or_else(|| json!({}));
        serde_json::from_value(json!({
            "eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1, "Keys": {"id": {"S": "1"}}, "SequenceNumber": "1", "SizeBytes": 1,
                "StreamViewType": "NEW_AND_OLD_IMAGES", "OldImage": image(old), "NewImage": image(new),
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_what_a_migration_wrote_is_history() {
        let imported = |at: &str| Some(json!({"id": {"S": "1"}, "imported_at": {"N": at}}));
        let lived = || Some(json!({"id": {"S": "1"}}));
        for (old, new, expected) in [
            (None, imported("5"), true),
            (imported("5"), imported("6"), true),
            (imported("5"), imported("5"), false),
            (imported("5"), lived(), false),
            (None, lived(), false),
            (lived(), lived(), false),
            (imported("5"), None, false),
        ] {
            let shown = format!("{old:?} {new:?}");
            assert_eq!(is_history(&record(old, new)), expected, "{shown}");
        }
    }
}
