//! What nobody could handle: dead letters that wait for a person, and those that are on their way to where they are kept.

use serde::Serialize;
use serde_json::{Value, json};

use crate::aws::AwsEndpoint;
use crate::template::model::Template;

/// Logical id of the table in which functions keep dead letters.
const TABLE: &str = "DeadLettersTable";
/// Dead letters shown of one queue.
const OF_A_QUEUE: u32 = 1_000;

/// A dead letter that nobody has seen to.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// Its id, once it is kept.
    pub id: Option<String>,
    /// The function that could not handle it; before it is kept, its queue.
    pub of: String,
    /// What it says: the item of the table, or the message.
    pub content: Value,
}

/// The tables or the queues can not be read.
#[derive(Debug, thiserror::Error)]
#[error("the dead letters can not be read: {0}")]
pub struct Unreadable(String);

/// All of them.
pub(crate) async fn waiting(aws: &AwsEndpoint, template: &Template) -> Result<Vec<DeadLetter>, Unreadable> {
    let unreadable = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
    let mut letters = Vec::new();
    let queues = aws.queues();
    let known = template.queues.values();
    for queue in known.filter(|queue| queues.is_dead_letter_queue(&queue.arn)) {
        for message in queues
            .peek(&queue.arn, OF_A_QUEUE)
            .map_err(|error| unreadable(&error))?
        {
            letters.push(DeadLetter {
                id: None,
                of: queue.name.clone(),
                content: json!(message),
            });
        }
    }
    let Some(table) = template.tables.get(TABLE) else {
        return Ok(letters);
    };
    let mut from = Value::Null;
    loop {
        let mut scan = json!({
            "TableName": table.name,
            "ConsistentRead": true,
            "FilterExpression": "#status = :waiting",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":waiting": {"S": "waiting"}},
        });
        if !from.is_null() {
            scan["ExclusiveStartKey"] = from;
        }
        let (status, mut answer) = aws.as_operator("Scan", &scan).await;
        if !status.is_success() {
            return Err(unreadable(&answer));
        }
        let items = answer["Items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        letters.extend(items.into_iter().map(|item| {
            let text = |name: &str| item[name]["S"].as_str().map(str::to_owned);
            DeadLetter {
                id: text("letter_uuid"),
                of: text("consumer").unwrap_or_default(),
                content: item,
            }
        }));
        from = answer["LastEvaluatedKey"].take();
        if from.is_null() {
            return Ok(letters);
        }
    }
}
