//! Functions that read a queue.

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use cloud::{Cloud, StartError};
use contracts::Envelope;
use kernel::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::door::{Answer, Handler, serve};
use crate::{Boxed, EventError, Retry};

type OneMessage = Arc<dyn Fn(SqsMessage) -> Boxed<Result<(), EventError>> + Send + Sync>;

/// An event that was delivered, and the time at which it is handled.
#[derive(Debug, Clone)]
pub struct Delivery<E> {
    /// What happened, with its identity and its own time.
    pub event: Envelope<E>,
    /// The time of this delivery.
    pub now: Timestamp,
}

/// Runs a queue function until the Lambda service ends it: `operation` handles one event, which may come several times,
/// late and out of order.
pub fn open_queue<S, E, Started, Handled, F>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Delivery<E>) -> Handled + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    E: DeserializeOwned + Send + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Handled: Future<Output = Result<(), F>> + Send + 'static,
    F: Into<EventError>,
{
    let operation = Arc::new(operation);
    open_messages(build, move |state, message, now| {
        let operation = operation.clone();
        async move {
            let body = message
                .body
                .ok_or_else(|| EventError::never("the message has no body"))?;
            let event = serde_json::from_str(&body).map_err(EventError::never)?;
            operation(state, Delivery { event, now }).await.map_err(Into::into)
        }
    })
}

/// The same for messages that are no events: `operation` handles one message as the queue has it, at a time.
pub fn open_messages<S, Started, Handled, F>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, SqsMessage, Timestamp) -> Handled + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Handled: Future<Output = Result<(), F>> + Send + 'static,
    F: Into<EventError>,
{
    let operation = Arc::new(operation);
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let clock = cloud.clock().clone();
            let state = Arc::new(build(cloud).await?);
            let one: OneMessage = Arc::new(move |message| {
                let (state, operation, now) = (state.clone(), operation.clone(), clock.now());
                Box::pin(async move { operation(state, message, now).await.map_err(Into::into) })
            });
            let handler: Handler = Box::new(move |payload| Box::pin(batch(one.clone(), payload)));
            Ok(handler)
        })
    }))
}

async fn batch(one: OneMessage, payload: Value) -> Result<Answer, EventError> {
    let event: SqsEvent = serde_json::from_value(payload).map_err(EventError::never)?;
    let mut response = SqsBatchResponse::default();
    let mut cause = None;
    for message in event.records {
        let id = message.message_id.clone().unwrap_or_default();
        if let Err(error) = one(message).await {
            report(&id, &error);
            cause.get_or_insert(error.chain());
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
    }
    let body = serde_json::to_value(response).map_err(EventError::never)?;
    Ok(Answer { body, cause })
}

fn report(id: &str, error: &EventError) {
    let cause = error.chain();
    match error.retry() {
        _ if cloud::rehearsal::is_on() => tracing::info!(message_id = id, cause, "a rehearsal ended here"),
        Retry::Again => tracing::warn!(message_id = id, cause, "a message failed and stays in its queue"),
        Retry::Never => tracing::error!(message_id = id, cause, "a message can never be handled"),
    }
}
