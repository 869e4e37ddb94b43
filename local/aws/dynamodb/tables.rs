//! Brings the store's tables to what the template says.
//!
//! What can be changed under existing data is changed (indexes, the stream); anything else is an error that says so,
//! as the deployment would replace the table and lose its data.

use std::collections::BTreeMap;

use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::template::model::Table;

/// Why a table is not what the template says.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The store refused.
    #[error("table {table}: {reason}")]
    Refused {
        /// Logical id.
        table: String,
        /// The store's words.
        reason: String,
    },
    /// The definition was changed in a way that the existing data does not allow.
    #[error(
        "table {table} holds data under another {part} than template.yaml states now; delete the data folder, or \
         give the table another name"
    )]
    Changed {
        /// Logical id.
        table: String,
        /// What is different.
        part: &'static str,
    },
}

/// Creates the table, or updates the existing one.
pub fn apply(database: &Database, table: &Table) -> Result<(), TableError> {
    let refused = |reason: String| TableError::Refused {
        table: table.logical_id.clone(),
        reason,
    };
    let described = database.describe_table(request(json!({"TableName": table.name})).map_err(refused)?);
    match described {
        Err(DynoxideError::ResourceNotFoundException(_)) => {
            let definition = request(table.definition.clone()).map_err(refused)?;
            database
                .create_table(definition)
                .map_err(|error| refused(error.to_string()))?;
        }
        Err(error) => return Err(refused(error.to_string())),
        Ok(description) => {
            let description = serde_json::to_value(description).map_err(|error| refused(error.to_string()))?;
            for update in updates(table, description.get("Table").unwrap_or(&Value::Null))? {
                let update = request(update).map_err(refused)?;
                database
                    .update_table(update)
                    .map_err(|error| refused(error.to_string()))?;
            }
        }
    }
    apply_ttl(database, table).map_err(refused)
}

fn apply_ttl(database: &Database, table: &Table) -> Result<(), String> {
    let described = database
        .describe_time_to_live(request(json!({"TableName": table.name}))?)
        .map_err(|error| error.to_string())?;
    let described = serde_json::to_value(described).map_err(|error| error.to_string())?;
    let description = described.get("TimeToLiveDescription").unwrap_or(&Value::Null);
    let enabled = description.get("TimeToLiveStatus").and_then(Value::as_str) == Some("ENABLED");
    let current = description
        .get("AttributeName")
        .and_then(Value::as_str)
        .filter(|_| enabled);
    if current == table.ttl_attribute.as_deref() {
        return Ok(());
    }
    let set = |attribute: &str, enabled: bool| {
        let update = json!({
            "TableName": table.name,
            "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": enabled}
        });
        database
            .update_time_to_live(request(update)?)
            .map_err(|error| error.to_string())
    };
    if let Some(current) = current {
        set(current, false)?;
    }
    if let Some(stated) = &table.ttl_attribute {
        set(stated, true)?;
    }
    Ok(())
}

/// The UpdateTable requests that lead from the description to the definition.
fn updates(table: &Table, description: &Value) -> Result<Vec<Value>, TableError> {
    let definition = &table.definition;
    let changed = |part| TableError::Changed {
        table: table.logical_id.clone(),
        part,
    };
    if definition.get("KeySchema") != description.get("KeySchema") {
        return Err(changed("key"));
    }
    let (stated_types, current_types) = (attribute_types(definition), attribute_types(description));
    if current_types
        .iter()
        .any(|(name, kind)| stated_types.get(name).is_some_and(|stated| stated != kind))
    {
        return Err(changed("attribute type"));
    }
    if indexes(definition, "LocalSecondaryIndexes") != indexes(description, "LocalSecondaryIndexes") {
        return Err(changed("local index"));
    }

    let mut updates = Vec::new();
    let stated = indexes(definition, "GlobalSecondaryIndexes");
    let current = indexes(description, "GlobalSecondaryIndexes");
    for name in current.keys().filter(|name| current.get(*name) != stated.get(*name)) {
        updates.push(json!({
            "TableName": table.name,
            "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": name}}]
        }));
    }
    for (name, index) in stated.iter().filter(|(name, index)| current.get(*name) != Some(*index)) {
        let mut create = index.clone();
        create["IndexName"] = json!(name);
        updates.push(json!({
            "TableName": table.name,
            "AttributeDefinitions": definition.get("AttributeDefinitions"),
            "GlobalSecondaryIndexUpdates": [{"Create": create}]
        }));
    }

    let view = |value: &Value| value.pointer("/StreamSpecification/StreamViewType").cloned();
    let (stated_view, current_view) = (view(definition), view(description));
    if stated_view != current_view {
        if current_view.is_some() {
            updates.push(json!({"TableName": table.name, "StreamSpecification": {"StreamEnabled": false}}));
        }
        if stated_view.is_some() {
            let stream = json!({"StreamEnabled": true, "StreamViewType": stated_view});
            updates.push(json!({"TableName": table.name, "StreamSpecification": stream}));
        }
    }
    Ok(updates)
}

fn attribute_types(table: &Value) -> BTreeMap<&str, &str> {
    let definitions = table.get("AttributeDefinitions").and_then(Value::as_array);
    definitions
        .into_iter()
        .flatten()
        .filter_map(|one| Some((one.get("AttributeName")?.as_str()?, one.get("AttributeType")?.as_str()?)))
        .collect()
}

/// Indexes by name, reduced to what makes them different.
fn indexes(table: &Value, kind: &str) -> BTreeMap<String, Value> {
    let indexes = table.get(kind).and_then(Value::as_array);
    indexes
        .into_iter()
        .flatten()
        .filter_map(|index| {
            let mut projection = json!({"ProjectionType": index.pointer("/Projection/ProjectionType")});
            if let Some(names) = index.pointer("/Projection/NonKeyAttributes").and_then(Value::as_array) {
                let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                names.sort_unstable();
                projection["NonKeyAttributes"] = json!(names);
            }
            let name = index.get("IndexName")?.as_str()?.to_owned();
            Some((
                name,
                json!({"KeySchema": index.get("KeySchema"), "Projection": projection}),
            ))
        })
        .collect()
}

/// Builds a typed request of the store from its JSON form.
pub fn request<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    // The store marks what it refuses by itself, for its server to tell apart.
    serde_json::from_value(value).map_err(|error| error.to_string().replace("VALIDATION:", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(definition: Value) -> Table {
        let mut definition = definition;
        definition["TableName"] = json!("orders");
        definition["BillingMode"] = json!("PAY_PER_REQUEST");
        Table {
            logical_id: "OrdersTable".to_owned(),
            name: "orders".to_owned(),
            arn: String::new(),
            stream_arn: None,
            definition,
            ttl_attribute: Some("expires_at".to_owned()),
        }
    }

    fn plain() -> Value {
        json!({
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]
        })
    }

    fn indexed(projection: &str) -> Value {
        json!({
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [
                {"AttributeName": "id", "AttributeType": "S"},
                {"AttributeName": "buyer", "AttributeType": "S"}
            ],
            "GlobalSecondaryIndexes": [{
                "IndexName": "by-buyer",
                "KeySchema": [{"AttributeName": "buyer", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": projection}
            }],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        })
    }

    fn index_names(database: &Database) -> Vec<String> {
        let described = database
            .describe_table(request(json!({"TableName": "orders"})).unwrap())
            .unwrap();
        let described = serde_json::to_value(described).unwrap();
        indexes(&described["Table"], "GlobalSecondaryIndexes")
            .into_iter()
            .map(|(name, index)| format!("{name} {}", index["Projection"]["ProjectionType"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn applying_a_definition_twice_changes_nothing() {
        let database = Database::memory().unwrap();
        apply(&database, &table(indexed("ALL"))).unwrap();
        let described = database
            .describe_table(request(json!({"TableName": "orders"})).unwrap())
            .unwrap();
        let described = serde_json::to_value(described).unwrap();
        assert!(updates(&table(indexed("ALL")), &described["Table"]).unwrap().is_empty());
        apply(&database, &table(indexed("ALL"))).unwrap();
    }

    #[test]
    fn indexes_and_streams_can_be_added_and_changed_under_existing_data() {
        let database = Database::memory().unwrap();
        apply(&database, &table(plain())).unwrap();
        apply(&database, &table(indexed("ALL"))).unwrap();
        assert_eq!(index_names(&database), ["by-buyer ALL"]);
        apply(&database, &table(indexed("KEYS_ONLY"))).unwrap();
        assert_eq!(index_names(&database), ["by-buyer KEYS_ONLY"]);
        apply(&database, &table(plain())).unwrap();
        assert!(index_names(&database).is_empty());
    }

    #[test]
    fn another_key_is_refused_in_one_line_that_says_what_to_do() {
        let database = Database::memory().unwrap();
        apply(&database, &table(plain())).unwrap();
        let mut changed = plain();
        changed["KeySchema"][0]["AttributeName"] = json!("other");
        changed["AttributeDefinitions"][0]["AttributeName"] = json!("other");
        let error = apply(&database, &table(changed)).unwrap_err().to_string();
        assert!(
            error.contains("OrdersTable") && error.contains("delete the data folder"),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
}
