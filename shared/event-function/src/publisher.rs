//! Putting events on topics.

use std::collections::HashMap;

use aws_sdk_sns::Client;
use aws_sdk_sns::error::DisplayErrorContext;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use cloud::rehearsal::{self, Effect, Facts};
use cloud::settings::Settings;
use cloud::{Cloud, StartError};
use contracts::{Envelope, Event};

use crate::EventError;

/// An event and the topic it goes to.
#[derive(Debug, Clone)]
pub struct Announcement {
    topic: &'static str,
    event_type: &'static str,
    event_id: String,
    body: String,
}

impl Announcement {
    /// `event` goes to the topic whose ARN the setting `topic` holds, e.g. `ORDER_EVENTS_TOPIC`.
    ///
    /// # Errors
    /// When the event can not be written as JSON.
    pub fn on<E: Event>(topic: &'static str, event: &Envelope<E>) -> Result<Self, EventError> {
        Ok(Self {
            topic,
            event_type: event.event.name(),
            event_id: event.event_id.to_string(),
            body: serde_json::to_string(event).map_err(EventError::never)?,
        })
    }
}

/// Publishes announcements.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    settings: Settings,
}

/// SNS takes this many messages in one call.
const BATCH: usize = 10;

impl Publisher {
    /// A publisher. Topics are looked up in the settings when they are first named.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            client: Client::new(cloud.sdk()),
            settings: *cloud.settings(),
        })
    }

    /// Publishes everything, in order per topic. When it fails some may have been published: readers know an event that
    /// comes again by its id.
    ///
    /// # Errors
    /// [`EventError`] when a topic did not take a message.
    pub async fn publish(&self, announcements: Vec<Announcement>) -> Result<(), EventError> {
        let mut by_topic: Vec<(&'static str, Vec<Announcement>)> = Vec::new();
        for announcement in announcements {
            match by_topic.iter_mut().find(|(topic, _)| *topic == announcement.topic) {
                Some((_, same)) => same.push(announcement),
                None => by_topic.push((announcement.topic, vec![announcement])),
            }
        }
        for (topic, announcements) in by_topic {
            let arn = self.settings.required(topic).map_err(EventError::never)?;
            for batch in announcements.chunks(BATCH) {
                self.publish_batch(&arn, batch).await?;
            }
        }
        Ok(())
    }

    async fn publish_batch(&self, arn: &str, batch: &[Announcement]) -> Result<(), EventError> {
        rehearsal::stop_before(|| Effect {
            action: "sns:Publish".to_owned(),
            target: arn.rsplit(':').next().unwrap_or_default().to_owned(),
            before: Facts::new(),
            after: batch
                .iter()
                .map(|announcement| (announcement.event_type.to_owned(), announcement.event_id.clone()))
                .collect(),
        })
        .map_err(EventError::again)?;
        let entries = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .client
            .publish_batch()
            .topic_arn(arn)
            .set_publish_batch_request_entries(Some(entries))
            .send()
            .await
            .map_err(|error| EventError::again(DisplayErrorContext(error).to_string()))?;
        match answer.failed().first() {
            Some(failed) => Err(EventError::again(format!(
                "the topic refused a message: {}",
                failed.code()
            ))),
            None => Ok(()),
        }
    }
}

fn entry((position, announcement): (usize, &Announcement)) -> Result<PublishBatchRequestEntry, EventError> {
    let text = |value: &str| {
        MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
            .map_err(EventError::never)
    };
    let attributes = HashMap::from([
        ("event_type".to_owned(), text(announcement.event_type)?),
        ("event_id".to_owned(), text(&announcement.event_id)?),
    ]);
    PublishBatchRequestEntry::builder()
        .id(position.to_string())
        .message(&announcement.body)
        .set_message_attributes(Some(attributes))
        .build()
        .map_err(EventError::never)
}
