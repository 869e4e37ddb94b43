//! Which permissions a DynamoDB call needs, and which tables it changes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::aws::permissions::Need;

/// What a call touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Permissions that it needs, without repetition.
    pub needs: Vec<Need>,
    /// Names of the tables that it may change.
    pub changes: BTreeSet<String>,
}

const CHANGING: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"];

impl Access {
    /// What the operation touches with this request.
    pub fn of(operation: &str, request: &Value) -> Self {
        let mut access = Self {
            needs: Vec::new(),
            changes: BTreeSet::new(),
        };
        match operation {
            "BatchGetItem" | "BatchWriteItem" => {
                for table in request
                    .get("RequestItems")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(|o| o.keys())
                {
                    access.add(operation, table, None);
                }
            }
            "TransactGetItems" | "TransactWriteItems" => {
                let items = request.get("TransactItems").and_then(Value::as_array);
                for (member, part) in items.into_iter().flatten().filter_map(Value::as_object).flatten() {
                    // A transaction needs the permission of each of its parts; there is none for transactions.
                    let action = match member.as_str() {
                        "Get" => "GetItem",
                        "Put" => "PutItem",
                        "Update" => "UpdateItem",
                        "Delete" => "DeleteItem",
                        "ConditionCheck" => "ConditionCheckItem",
                        other => other,
                    };
                    access.add(action, table_of(part), None);
                }
            }
            _ => access.add(
                operation,
                table_of(request),
                request.get("IndexName").and_then(Value::as_str),
            ),
        }
        access
    }

    /// ARN of the first thing that is touched, for the record.
    pub fn resource(&self) -> &str {
        self.needs.first().map_or("*", |need| need.resource.as_str())
    }

    fn add(&mut self, action: &str, table: &str, index: Option<&str>) {
        let name = table.rsplit('/').next().unwrap_or_default();
        let mut resource = if name.is_empty() {
            "*".to_owned()
        } else {
            table_arn(name)
        };
        if let Some(index) = index {
            resource.push_str("/index/");
            resource.push_str(index);
        }
        let need = Need::new(format!("dynamodb:{action}"), resource);
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
        if CHANGING.contains(&action) {
            self.changes.insert(name.to_owned());
        }
    }
}

/// ARN of the table with this name.
pub fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}")
}

/// A table is named by its name or its ARN.
fn table_of(request: &Value) -> &str {
    request.get("TableName").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needs(operation: &str, request: Value) -> Vec<(String, String)> {
        let prefix = table_arn("");
        Access::of(operation, &request)
            .needs
            .into_iter()
            .map(|need| (need.action, need.resource.replace(&prefix, "")))
            .collect()
    }

    fn pair(action: &str, resource: &str) -> (String, String) {
        (action.to_owned(), resource.to_owned())
    }

    #[test]
    fn a_query_of_an_index_needs_the_index() {
        assert_eq!(
            needs("Query", json!({"TableName": "orders"})),
            [pair("dynamodb:Query", "orders")]
        );
        assert_eq!(
            needs(
                "Query",
                json!({"TableName": table_arn("orders"), "IndexName": "by-buyer"})
            ),
            [pair("dynamodb:Query", "orders/index/by-buyer")]
        );
    }

    #[test]
    fn a_transaction_needs_what_its_parts_need() {
        let request = json!({"TransactItems": [
            {"Put": {"TableName": "payments"}},
            {"Put": {"TableName": "payments"}},
            {"Update": {"TableName": "orders"}},
            {"ConditionCheck": {"TableName": "products"}},
        ]});
        let expected = [
            pair("dynamodb:PutItem", "payments"),
            pair("dynamodb:UpdateItem", "orders"),
            pair("dynamodb:ConditionCheckItem", "products"),
        ];
        assert_eq!(needs("TransactWriteItems", request.clone()), expected);
        let changes = Access::of("TransactWriteItems", &request).changes;
        assert_eq!(changes.into_iter().collect::<Vec<_>>(), ["orders", "payments"]);
    }

    #[test]
    fn a_batch_needs_its_action_on_every_table() {
        let request = json!({"RequestItems": {"orders": {}, "products": {}}});
        assert_eq!(
            needs("BatchGetItem", request),
            [
                pair("dynamodb:BatchGetItem", "orders"),
                pair("dynamodb:BatchGetItem", "products")
            ]
        );
    }
}
