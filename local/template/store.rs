//! What keeps or carries data: tables, topics, subscriptions, queues, secrets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::TemplateError;
use super::intrinsic::stream_arn;
use super::model::{GenerateSecret, Queue, Secret, Subscription, Table, Topic};
use super::properties::Properties;

/// A resource's names.
pub(super) struct Named {
    pub(super) logical_id: String,
    pub(super) name: String,
    pub(super) arn: String,
}

pub(super) fn table(named: Named, mut given: Properties) -> Result<Table, TemplateError> {
    given.skip(&[
        "ContributorInsightsSpecification",
        "DeletionProtectionEnabled",
        "OnDemandThroughput",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "TableClass",
        "TableName",
        "Tags",
    ]);
    let mut definition = Map::new();
    definition.insert("TableName".to_owned(), Value::from(named.name.clone()));
    for required in ["AttributeDefinitions", "KeySchema"] {
        let value = given
            .take(required)
            .ok_or_else(|| given.refuse(&format!("{required} is missing")))?;
        definition.insert(required.to_owned(), value);
    }
    for optional in [
        "BillingMode",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "ProvisionedThroughput",
    ] {
        if let Some(value) = given.take(optional) {
            definition.insert(optional.to_owned(), value);
        }
    }
    let mut streams = None;
    if let Some(mut stream) = given.object("StreamSpecification")? {
        let view = stream.required_text("StreamViewType")?;
        stream.finish()?;
        definition.insert(
            "StreamSpecification".to_owned(),
            json!({ "StreamEnabled": true, "StreamViewType": view }),
        );
        streams = Some(stream_arn(&named.arn));
    }
    let mut ttl_attribute = None;
    if let Some(mut ttl) = given.object("TimeToLiveSpecification")? {
        let attribute = ttl.required_text("AttributeName")?;
        if ttl.flag("Enabled")?.unwrap_or(false) {
            ttl_attribute = Some(attribute);
        }
        ttl.finish()?;
    }
    given.finish()?;
    Ok(Table {
        logical_id: named.logical_id,
        name: named.name,
        arn: named.arn,
        stream_arn: streams,
        definition: Value::Object(definition),
        ttl_attribute,
    })
}

pub(super) fn topic(named: Named, mut given: Properties) -> Result<Topic, TemplateError> {
    given.skip(&["DisplayName", "KmsMasterKeyId", "Tags", "TopicName", "TracingConfig"]);
    for subscription in given.list("Subscription")? {
        let mut subscription = Properties::new(given.place(), subscription)?;
        if subscription.required_text("Protocol")? != "email" {
            return Err(given.refuse("subscriptions other than of people should be resources of their own"));
        }
    }
    given.finish()?;
    Ok(Topic {
        logical_id: named.logical_id,
        name: named.name,
        arn: named.arn,
    })
}

/// `None` is a subscription of a person, who gets no mail from a laptop.
pub(super) fn subscription(logical_id: &str, mut given: Properties) -> Result<Option<Subscription>, TemplateError> {
    match given.required_text("Protocol")?.as_str() {
        "sqs" => {}
        "email" => return Ok(None),
        other => return Err(given.refuse(&format!("the protocol {other} is not understood"))),
    }
    let mut dead_letter_arn = None;
    if let Some(mut redrive) = given.object("RedrivePolicy")? {
        dead_letter_arn = Some(redrive.required_text("deadLetterTargetArn")?);
        redrive.finish()?;
    }
    let filter_on_body = match given.text("FilterPolicyScope")?.as_deref() {
        None | Some("MessageAttributes") => false,
        Some("MessageBody") => true,
        Some(other) => return Err(given.refuse(&format!("the FilterPolicyScope {other} is not understood"))),
    };
    let subscription = Subscription {
        logical_id: logical_id.to_owned(),
        topic_arn: given.required_text("TopicArn")?,
        queue_arn: given.required_text("Endpoint")?,
        raw: given.flag("RawMessageDelivery")?.unwrap_or(false),
        filter_policy: given.take("FilterPolicy"),
        filter_on_body,
        dead_letter_arn,
    };
    given.finish()?;
    Ok(Some(subscription))
}

pub(super) fn queue(named: Named, mut given: Properties) -> Result<Queue, TemplateError> {
    given.skip(&[
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "QueueName",
        "ReceiveMessageWaitTimeSeconds",
        "RedriveAllowPolicy",
        "SqsManagedSseEnabled",
        "Tags",
    ]);
    let mut redrive = None;
    if let Some(mut policy) = given.object("RedrivePolicy")? {
        let target = policy.required_text("deadLetterTargetArn")?;
        let receives = policy
            .number("maxReceiveCount")?
            .and_then(|count| u32::try_from(count).ok());
        let receives = receives.ok_or_else(|| policy.refuse("maxReceiveCount is missing"))?;
        policy.finish()?;
        redrive = Some((target, receives));
    }
    let queue = Queue {
        logical_id: named.logical_id,
        name: named.name,
        arn: named.arn,
        visibility_timeout: Duration::from_secs(given.number("VisibilityTimeout")?.unwrap_or(30)),
        delay: Duration::from_secs(given.number("DelaySeconds")?.unwrap_or(0)),
        retention: Duration::from_secs(given.number("MessageRetentionPeriod")?.unwrap_or(345_600)),
        redrive,
    };
    given.finish()?;
    Ok(queue)
}

pub(super) fn secret(named: Named, mut given: Properties) -> Result<Secret, TemplateError> {
    given.skip(&["Description", "KmsKeyId", "Name", "Tags"]);
    let mut generate = None;
    if let Some(mut wish) = given.object("GenerateSecretString")? {
        // Which characters it is made of changes nothing on a laptop.
        wish.skip(&[
            "ExcludeCharacters",
            "ExcludeLowercase",
            "ExcludeNumbers",
            "ExcludePunctuation",
            "ExcludeUppercase",
            "IncludeSpace",
            "RequireEachIncludedType",
        ]);
        let length = wish.number("PasswordLength")?.unwrap_or(32);
        generate = Some(GenerateSecret {
            template: wish.text("SecretStringTemplate")?,
            key: wish.text("GenerateStringKey")?,
            length: usize::try_from(length).unwrap_or(32),
        });
        wish.finish()?;
    }
    let value = given.text("SecretString")?;
    given.finish()?;
    Ok(Secret {
        logical_id: named.logical_id,
        name: named.name,
        arn: named.arn,
        generate,
        value,
    })
}
