//! SNS: Publish and PublishBatch, and the fan-out to the subscribed queues.
//!
//! The copies of all the messages of a call are durable in one transaction before the call is answered.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::pattern::Pattern;
use super::queues::{MessageAttribute, MessageAttributes, Outgoing, Queues};
use crate::template::model::{Subscription, Topic};

/// Most bytes of a message, or of a batch: bodies and attributes together.
const MOST_BYTES: usize = 262_144;
/// Most entries of a batch.
const MOST_ENTRIES: usize = 10;
/// With raw delivery a message with more attributes than SQS takes is discarded.
const MOST_RAW_ATTRIBUTES: usize = 10;

/// The topics with their subscriptions.
#[derive(Debug)]
pub struct Topics {
    topics: BTreeMap<String, Vec<Subscribed>>,
}

#[derive(Debug)]
struct Subscribed {
    subscription: Subscription,
    filter: Option<Pattern>,
}

/// A message to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// Id of the batch's entry; empty for a single message.
    pub entry: String,
    /// The message.
    pub message: String,
    /// Subject, if any.
    pub subject: Option<String>,
    /// Attributes.
    pub attributes: MessageAttributes,
}

/// A Publish or PublishBatch call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishCall {
    /// Whether it is a batch.
    pub batch: bool,
    /// ARN of the topic.
    pub topic: String,
    /// The messages.
    pub publications: Vec<Publication>,
}

/// Why a call, or one entry of a batch, was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Error code.
    pub code: &'static str,
    /// Explanation.
    pub message: String,
}

impl Refusal {
    /// A fault of the sender's.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

/// What became of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Id of the batch's entry.
    pub entry: String,
    /// Id of the message, or why it was refused.
    pub outcome: Result<String, Refusal>,
    /// ARNs of the queues that got a copy.
    pub queues: Vec<String>,
    /// ARNs of the queues that should have got a copy, which could not be delivered to them.
    pub discarded: Vec<String>,
}

impl PublishCall {
    /// Reads the form body of a call.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let batch = match form.get("Action").map(String::as_str) {
            Some("Publish") => false,
            Some("PublishBatch") => true,
            other => {
                let action = other.unwrap_or_default();
                return Err(Refusal::new(
                    400,
                    "InvalidAction",
                    format!("The action {action} is not supported"),
                ));
            }
        };
        let topic = form
            .get("TopicArn")
            .or_else(|| form.get("TargetArn"))
            .ok_or_else(|| Refusal::new(400, "InvalidParameter", "Invalid parameter: TopicArn"))?;
        let publications = if batch {
            (1..)
                .map(|n| format!("PublishBatchRequestEntries.member.{n}."))
                .take_while(|prefix| form.keys().any(|key| key.starts_with(prefix)))
                .map(|prefix| publication(&form, &prefix))
                .collect::<Result<_, _>>()?
        } else {
            vec![publication(&form, "")?]
        };
        Ok(Self {
            batch,
            topic: topic.clone(),
            publications,
        })
    }
}

fn publication(form: &BTreeMap<String, String>, prefix: &str) -> Result<Publication, Refusal> {
    if form.contains_key(&format!("{prefix}MessageStructure")) {
        return Err(Refusal::new(
            400,
            "InvalidParameter",
            "Invalid parameter: MessageStructure is not supported",
        ));
    }
    let mut attributes = MessageAttributes::new();
    for n in 1.. {
        let entry = format!("{prefix}MessageAttributes.entry.{n}.");
        let Some(name) = form.get(&format!("{entry}Name")) else {
            break;
        };
        let attribute = MessageAttribute {
            data_type: form.get(&format!("{entry}Value.DataType")).cloned().unwrap_or_default(),
            string_value: form.get(&format!("{entry}Value.StringValue")).cloned(),
            binary_value: form.get(&format!("{entry}Value.BinaryValue")).cloned(),
        };
        attributes.insert(name.clone(), attribute);
    }
    Ok(Publication {
        entry: form.get(&format!("{prefix}Id")).cloned().unwrap_or_default(),
        message: form.get(&format!("{prefix}Message")).cloned().unwrap_or_default(),
        subject: form.get(&format!("{prefix}Subject")).cloned(),
        attributes,
    })
}

impl Topics {
    /// The topics of the template; an error names a filter policy that is not understood.
    pub fn new(topics: &BTreeMap<String, Topic>, subscriptions: &[Subscription]) -> Result<Self, String> {
        let mut known: BTreeMap<String, Vec<Subscribed>> =
            topics.values().map(|topic| (topic.arn.clone(), Vec::new())).collect();
        for subscription in subscriptions {
            let filter = subscription.filter_policy.as_ref().map(Pattern::parse).transpose();
            let filter = filter.map_err(|reason| format!("{}: {reason}", subscription.logical_id))?;
            known
                .get_mut(&subscription.topic_arn)
                .ok_or_else(|| {
                    format!(
                        "{}: there is no topic {}",
                        subscription.logical_id, subscription.topic_arn
                    )
                })?
                .push(Subscribed {
                    subscription: subscription.clone(),
                    filter,
                });
        }
        Ok(Self { topics: known })
    }

    /// Publishes to the queues; the outer error refuses the call as a whole.
    pub fn publish(&self, queues: &Queues, call: &PublishCall, now_ms: i64) -> Result<Vec<Published>, Refusal> {
        let subscribed = self
            .topics
            .get(&call.topic)
            .ok_or_else(|| Refusal::new(404, "NotFound", "Topic does not exist"))?;
        if call.batch {
            check_batch(&call.publications)?;
        }

        let mut outgoing = Vec::new();
        let mut published = Vec::new();
        for publication in &call.publications {
            let mut result = Published {
                entry: publication.entry.clone(),
                outcome: check(publication).map(|()| Uuid::new_v4().to_string()),
                queues: Vec::new(),
                discarded: Vec::new(),
            };
            match &result.outcome {
                Ok(id) => {
                    for subscribed in subscribed.iter().filter(|subscribed| subscribed.wants(publication)) {
                        let subscription = &subscribed.subscription;
                        let copy = subscription.copy(publication, id, now_ms);
                        if copy.attributes.len() <= MOST_RAW_ATTRIBUTES {
                            result.queues.push(subscription.queue_arn.clone());
                            outgoing.push(copy);
                        } else {
                            result.discarded.push(subscription.queue_arn.clone());
                            outgoing.extend(subscription.dead_letter_arn.clone().map(|queue| Outgoing {
                                queue,
                                attributes: MessageAttributes::new(),
                                ..copy
                            }));
                        }
                    }
                }
                Err(refusal) if !call.batch => return Err(refusal.clone()),
                Err(_) => {}
            }
            published.push(result);
        }
        queues
            .send(&outgoing, now_ms)
            .map_err(|error| Refusal::new(500, "InternalError", format!("the messages could not be kept: {error}")))?;
        Ok(published)
    }
}

impl Subscribed {
    fn wants(&self, publication: &Publication) -> bool {
        let Some(filter) = &self.filter else { return true };
        if self.subscription.filter_on_body {
            serde_json::from_str(&publication.message).is_ok_and(|body: Value| filter.matches(&body))
        } else {
            filter.matches(&filterable(&publication.attributes))
        }
    }
}

impl Subscription {
    /// The message as the queue gets it.
    fn copy(&self, publication: &Publication, message_id: &str, now_ms: i64) -> Outgoing {
        let queue = self.queue_arn.clone();
        if self.raw {
            return Outgoing {
                queue,
                body: publication.message.clone(),
                attributes: publication.attributes.clone(),
            };
        }
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": self.topic_arn,
            "Message": publication.message,
            "Timestamp": super::time::rfc3339(now_ms),
            "SignatureVersion": "1",
            "Signature": "local",
            "SigningCertURL": "http://127.0.0.1/local.pem",
            "UnsubscribeURL": "http://127.0.0.1/unsubscribe",
        });
        if let Some(subject) = &publication.subject {
            envelope["Subject"] = json!(subject);
        }
        if !publication.attributes.is_empty() {
            let attributes: Map<String, Value> = publication
                .attributes
                .iter()
                .map(|(name, attribute)| {
                    let value = attribute.string_value.as_ref().or(attribute.binary_value.as_ref());
                    (name.clone(), json!({"Type": attribute.data_type, "Value": value}))
                })
                .collect();
            envelope["MessageAttributes"] = Value::Object(attributes);
        }
        Outgoing {
            queue,
            body: envelope.to_string(),
            attributes: MessageAttributes::new(),
        }
    }
}

/// Message attributes as the object that filter policies are written against. Binary ones can not be filtered on.
fn filterable(attributes: &MessageAttributes) -> Value {
    let object: Map<String, Value> = attributes
        .iter()
        .filter_map(|(name, attribute)| {
            let text = attribute.string_value.as_ref()?;
            let value = match attribute.data_type.split('.').next() {
                Some("Number") => serde_json::from_str(text).ok()?,
                _ if attribute.data_type == "String.Array" => serde_json::from_str(text).ok()?,
                _ => Value::String(text.clone()),
            };
            Some((name.clone(), value))
        })
        .collect();
    Value::Object(object)
}

fn check_batch(publications: &[Publication]) -> Result<(), Refusal> {
    if publications.is_empty() {
        return Err(Refusal::new(
            400,
            "EmptyBatchRequest",
            "The batch request doesn't contain any entries.",
        ));
    }
    if publications.len() > MOST_ENTRIES {
        let message = "The batch request contains more entries than permissible.";
        return Err(Refusal::new(400, "TooManyEntriesInBatchRequest", message));
    }
    let fits = |id: &str| {
        (1..=80).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if let Some(publication) = publications.iter().find(|publication| !fits(&publication.entry)) {
        let message = format!("The batch entry id {:?} is invalid.", publication.entry);
        return Err(Refusal::new(400, "InvalidBatchEntryId", message));
    }
    let ids: BTreeSet<&str> = publications
        .iter()
        .map(|publication| publication.entry.as_str())
        .collect();
    if ids.len() < publications.len() {
        let message = "Two or more batch entries in the request have the same Id.";
        return Err(Refusal::new(400, "BatchEntryIdsNotDistinct", message));
    }
    if publications.iter().map(size).sum::<usize>() > MOST_BYTES {
        let message = "The length of all the messages put together is more than the limit.";
        return Err(Refusal::new(400, "BatchRequestTooLong", message));
    }
    Ok(())
}

fn check(publication: &Publication) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(400, "InvalidParameter", message));
    if publication.message.is_empty() {
        return invalid("Invalid parameter: Empty message".to_owned());
    }
    if size(publication) > MOST_BYTES {
        return invalid("Invalid parameter: Message too long".to_owned());
    }
    for (name, attribute) in &publication.attributes {
        let kind = attribute.data_type.split('.').next().unwrap_or_default();
        let value = match kind {
            "String" | "Number" => attribute.string_value.as_ref(),
            "Binary" => attribute
                .binary_value
                .as_ref()
                .filter(|value| BASE64.decode(value).is_ok()),
            other => {
                return invalid(format!(
                    "Invalid parameter: The message attribute '{name}' has an invalid message attribute type '{other}'"
                ));
            }
        };
        if value.is_none_or(|value| value.is_empty()) {
            return invalid(format!(
                "Invalid parameter: The message attribute '{name}' must contain a non-empty value of type '{kind}'"
            ));
        }
    }
    Ok(())
}

fn size(publication: &Publication) -> usize {
    let attributes = publication.attributes.iter().map(|(name, attribute)| {
        let text = attribute.string_value.as_ref().map_or(0, String::len);
        let binary = attribute.binary_value.as_ref().map_or(0, |value| value.len() / 4 * 3);
        name.len() + attribute.data_type.len() + text + binary
    });
    publication.message.len() + attributes.sum::<usize>()
}

/// The XML answer of a call that was carried out.
pub fn answer(call: &PublishCall, published: &[Published], request_id: &str) -> String {
    let metadata = format!("<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>");
    if !call.batch {
        let id = published
            .iter()
            .find_map(|published| published.outcome.as_ref().ok())
            .map_or("", String::as_str);
        return format!(
            "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
             <MessageId>{id}</MessageId></PublishResult>{metadata}</PublishResponse>"
        );
    }
    let (mut successful, mut failed) = (String::new(), String::new());
    for published in published {
        let entry = escape(&published.entry);
        match &published.outcome {
            Ok(id) => successful.push_str(&format!("<member><Id>{entry}</Id><MessageId>{id}</MessageId></member>")),
            Err(refusal) => failed.push_str(&format!(
                "<member><Id>{entry}</Id><Code>{}</Code><Message>{}</Message><SenderFault>true</SenderFault></member>",
                refusal.code,
                escape(&refusal.message)
            )),
        }
    }
    format!(
        "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishBatchResult>\
         <Successful>{successful}</Successful><Failed>{failed}</Failed></PublishBatchResult>{metadata}\
         </PublishBatchResponse>"
    )
}

/// The XML answer of a call that was refused.
pub fn error(refusal: &Refusal, request_id: &str) -> String {
    let kind = if refusal.status < 500 { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>{kind}</Type>\
         <Code>{}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        refusal.code,
        escape(&refusal.message)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::storage::{Durability, Storage};
    use crate::template::model::Queue;

    const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:order-events";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
    const DEAD: &str = "arn:aws:sqs:us-east-1:000000000000:dead";

    struct World {
        topics: Topics,
        queues: Queues,
        _folder: tempfile::TempDir,
    }

    fn world(change: impl FnOnce(&mut Subscription)) -> World {
        let topic = Topic {
            logical_id: "T".to_owned(),
            name: "order-events".to_owned(),
            arn: TOPIC.to_owned(),
        };
        let mut subscription = Subscription {
            logical_id: "S".to_owned(),
            topic_arn: TOPIC.to_owned(),
            queue_arn: QUEUE.to_owned(),
            raw: true,
            filter_policy: None,
            filter_on_body: false,
            dead_letter_arn: Some(DEAD.to_owned()),
        };
        change(&mut subscription);
        let queue = |arn: &str| Queue {
            logical_id: arn.to_owned(),
            name: arn.to_owned(),
            arn: arn.to_owned(),
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(3600),
            redrive: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("queues.sqlite"), Durability::Forgotten).unwrap();
        World {
            topics: Topics::new(&BTreeMap::from([("T".to_owned(), topic)]), &[subscription]).unwrap(),
            queues: Queues::open(storage, [queue(QUEUE), queue(DEAD)], [DEAD.to_owned()], 0).unwrap(),
            _folder: folder,
        }
    }

    impl World {
        fn publish(&self, publications: Vec<Publication>) -> Vec<Published> {
            let call = PublishCall {
                batch: true,
                topic: TOPIC.to_owned(),
                publications,
            };
            self.topics.publish(&self.queues, &call, 0).unwrap()
        }

        fn bodies(&self, queue: &str) -> Vec<String> {
            self.queues
                .peek(queue, 100)
                .unwrap()
                .into_iter()
                .map(|message| message.body)
                .collect()
        }
    }

    fn publication(entry: &str, message: &str, attributes: &[(&str, &str, &str)]) -> Publication {
        let attribute = |(name, data_type, value): &(&str, &str, &str)| {
            let value = MessageAttribute {
                data_type: (*data_type).to_owned(),
                string_value: Some((*value).to_owned()),
                binary_value: None,
            };
            ((*name).to_owned(), value)
        };
        Publication {
            entry: entry.to_owned(),
            message: message.to_owned(),
            subject: None,
            attributes: attributes.iter().map(attribute).collect(),
        }
    }

    #[test]
    fn the_wire_form_of_the_sdk_is_read() {
        let body = "Action=PublishBatch&Version=2010-03-31&TopicArn=arn%3At\
            &PublishBatchRequestEntries.member.1.Id=a&PublishBatchRequestEntries.member.1.Message=x%26y\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=type\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.DataType=String\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.StringValue=OrderPaid\
            &PublishBatchRequestEntries.member.2.Id=b&PublishBatchRequestEntries.member.2.Message=z";
        let call = PublishCall::parse(body.as_bytes()).unwrap();
        assert!(call.batch);
        assert_eq!(call.topic, "arn:t");
        let expected = [
            publication("a", "x&y", &[("type", "String", "OrderPaid")]),
            publication("b", "z", &[]),
        ];
        assert_eq!(call.publications, expected);

        let single = PublishCall::parse(b"Action=Publish&TopicArn=arn%3At&Message=m&Subject=s").unwrap();
        assert_eq!(
            (single.batch, single.publications[0].subject.as_deref()),
            (false, Some("s"))
        );
        assert_eq!(
            PublishCall::parse(b"Action=CreateTopic").unwrap_err().code,
            "InvalidAction"
        );
    }

    #[test]
    fn a_filter_policy_chooses_by_attributes() {
        let world = world(|subscription| {
            subscription.filter_policy =
                Some(json!({"type": ["OrderPaid", {"prefix": "Refund"}], "amount": [{"numeric": [">", 5]}]}));
        });
        world.publish(vec![
            publication(
                "1",
                "paid",
                &[("type", "String", "OrderPaid"), ("amount", "Number", "6")],
            ),
            publication(
                "2",
                "cheap",
                &[("type", "String", "OrderPaid"), ("amount", "Number", "5")],
            ),
            publication(
                "3",
                "refund",
                &[
                    ("type", "String.Array", "[\"a\",\"RefundX\"]"),
                    ("amount", "Number", "9"),
                ],
            ),
            publication(
                "4",
                "other",
                &[("type", "String", "OrderCreated"), ("amount", "Number", "6")],
            ),
            publication("5", "none", &[]),
        ]);
        assert_eq!(world.bodies(QUEUE), ["paid", "refund"]);
    }

    #[test]
    fn a_filter_policy_chooses_by_body() {
        let world = world(|subscription| {
            subscription.filter_on_body = true;
            subscription.filter_policy = Some(json!({"order": {"state": ["paid"]}}));
        });
        world.publish(vec![
            publication("1", r#"{"order":{"state":"paid"}}"#, &[]),
            publication("2", r#"{"order":{"state":"new"}}"#, &[]),
            publication("3", "not JSON", &[]),
        ]);
        assert_eq!(world.bodies(QUEUE), [r#"{"order":{"state":"paid"}}"#]);
    }

    #[test]
    fn a_raw_message_with_more_than_ten_attributes_is_discarded() {
        let names: Vec<String> = (0..11).map(|n| format!("a{n}")).collect();
        let attributes: Vec<_> = names.iter().map(|name| (name.as_str(), "String", "v")).collect();
        let raw = world(|_| ());
        let published = raw.publish(vec![
            publication("1", "m", &attributes),
            publication("2", "n", &attributes[..10]),
        ]);
        assert_eq!(published[0].discarded, [QUEUE]);
        assert_eq!(
            (raw.bodies(QUEUE), raw.bodies(DEAD)),
            (vec!["n".to_owned()], vec!["m".to_owned()])
        );

        let wrapped = world(|subscription| subscription.raw = false);
        wrapped.publish(vec![publication("1", "m", &attributes)]);
        let envelope: Value = serde_json::from_str(&wrapped.bodies(QUEUE)[0]).unwrap();
        assert_eq!(
            (&envelope["Message"], &envelope["Type"]),
            (&json!("m"), &json!("Notification"))
        );
        assert_eq!(
            envelope["MessageAttributes"]["a0"],
            json!({"Type": "String", "Value": "v"})
        );
    }

    #[test]
    fn every_entry_of_a_batch_has_its_own_result() {
        let world = world(|_| ());
        let call = PublishCall {
            batch: true,
            topic: TOPIC.to_owned(),
            publications: vec![publication("good", "m", &[]), publication("bad", "", &[])],
        };
        let published = world.topics.publish(&world.queues, &call, 0).unwrap();
        assert!(published[0].outcome.is_ok());
        assert_eq!(published[1].outcome.as_ref().unwrap_err().code, "InvalidParameter");
        let xml = answer(&call, &published, "r");
        assert!(xml.contains("<Successful><member><Id>good</Id>"), "{xml}");
        assert!(
            xml.contains("<Failed><member><Id>bad</Id><Code>InvalidParameter</Code>"),
            "{xml}"
        );
        assert_eq!(world.bodies(QUEUE), ["m"]);
    }

    #[test]
    fn calls_beyond_the_limits_are_refused_as_a_whole() {
        let world = world(|_| ());
        let refuse = |batch, publications| {
            let call = PublishCall {
                batch,
                topic: TOPIC.to_owned(),
                publications,
            };
            world.topics.publish(&world.queues, &call, 0).unwrap_err().code
        };
        let long = "x".repeat(MOST_BYTES / 2 + 1);
        assert_eq!(
            refuse(false, vec![publication("", &long.repeat(2), &[])]),
            "InvalidParameter"
        );
        assert_eq!(refuse(true, vec![]), "EmptyBatchRequest");
        assert_eq!(
            refuse(true, vec![publication("a", &long, &[]), publication("b", &long, &[])]),
            "BatchRequestTooLong"
        );
        assert_eq!(
            refuse(true, vec![publication("a", "m", &[]), publication("a", "m", &[])]),
            "BatchEntryIdsNotDistinct"
        );
        let eleven = (0..11).map(|n| publication(&n.to_string(), "m", &[])).collect();
        assert_eq!(refuse(true, eleven), "TooManyEntriesInBatchRequest");
        assert_eq!(world.bodies(QUEUE).len(), 0);
        let unknown = PublishCall {
            batch: false,
            topic: "arn:none".to_owned(),
            publications: vec![],
        };
        assert_eq!(
            world.topics.publish(&world.queues, &unknown, 0).unwrap_err().code,
            "NotFound"
        );
    }
}
