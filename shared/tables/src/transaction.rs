//! Several conditional writes that happen together or not at all.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem, Update as UpdateAction,
};
use cloud::rehearsal;
use serde::Serialize;

use crate::{Boxed, Key, Table, TableError, Update, facts};

/// A transaction under construction. Actions are counted from 0 in the order in which they are added.
#[derive(Debug, Default)]
pub struct Transaction {
    client: Option<Client>,
    tables: Vec<String>,
    actions: Vec<TransactWriteItem>,
    broken: Option<TableError>,
}

/// A transaction that meets another one on the same item is cancelled; it is tried this often before giving up.
const ATTEMPTS: u32 = 6;

impl Transaction {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a new item; see [`Table::insert`].
    #[must_use]
    pub fn insert(self, table: &Table, key: &Key, value: impl Serialize) -> Self {
        let put = table.insertion(key, value);
        self.with(table, put.map(|put| TransactWriteItem::builder().put(put).build()))
    }

    pub(crate) fn put(self, table: &Table, put: Put) -> Self {
        self.with(table, Ok(TransactWriteItem::builder().put(put).build()))
    }

    /// Writes an item in place of the one seen; see [`Table::replace`].
    #[must_use]
    pub fn replace(self, table: &Table, value: impl Serialize, seen_version: u64) -> Self {
        let put = table.replacement(value, seen_version);
        self.with(table, put.map(|put| TransactWriteItem::builder().put(put).build()))
    }

    /// Changes attributes of an item; see [`Table::update`].
    #[must_use]
    pub fn update(self, table: &Table, update: Update) -> Self {
        let action = UpdateAction::builder()
            .table_name(&table.name)
            .set_key(Some(update.key.item()))
            .update_expression(update.expression)
            .condition_expression(update.condition)
            .set_expression_attribute_names((!update.names.is_empty()).then_some(update.names))
            .set_expression_attribute_values((!update.values.is_empty()).then_some(update.values))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build())
            .map_err(|error| TableError::Refused {
                table: table.name.clone(),
                reason: error.to_string(),
            });
        self.with(table, action)
    }

    /// Deletes an item if its attribute `attribute` is the text `value`; see [`Table::delete_if`].
    #[must_use]
    pub fn delete_if(self, table: &Table, key: &Key, attribute: &'static str, value: impl ToString) -> Self {
        let action = Delete::builder()
            .table_name(&table.name)
            .set_key(Some(key.item()))
            .condition_expression("#attribute = :value")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":value", AttributeValue::S(value.to_string()))
            .build()
            .map(|delete| TransactWriteItem::builder().delete(delete).build())
            .map_err(|error| TableError::Refused {
                table: table.name.clone(),
                reason: error.to_string(),
            });
        self.with(table, action)
    }

    fn with(mut self, table: &Table, action: Result<TransactWriteItem, TableError>) -> Self {
        self.client.get_or_insert_with(|| table.client.clone());
        self.tables.push(table.name.clone());
        match action {
            Ok(action) => self.actions.push(action),
            Err(error) => self.broken = Some(error),
        }
        self
    }

    /// Does it all, or nothing. Tries again when another transaction is at work on the same items.
    ///
    /// # Errors
    /// [`TableError::TransactionRefused`] names the actions whose conditions did not hold; [`TableError::Unavailable`].
    pub fn commit(self) -> Boxed<'static, Result<(), TableError>> {
        Box::pin(async move {
            if let Some(error) = self.broken {
                return Err(error);
            }
            let Some(client) = self.client else { return Ok(()) };
            let tables = self.tables.join(", ");
            rehearsal::stop_before(|| rehearsal::Effect {
                action: "dynamodb:TransactWriteItems".to_owned(),
                target: tables.clone(),
                before: facts::Facts::new(),
                after: facts::of_actions(&self.actions),
            })?;
            let mut attempt = 1;
            loop {
                let outcome = client
                    .transact_write_items()
                    .set_transact_items(Some(self.actions.clone()))
                    .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                    .send()
                    .await;
                let Err(error) = outcome else { return Ok(()) };
                let cancelled = match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled,
                    _ => return Err(TableError::of(&tables, &error)),
                };
                let codes = || {
                    cancelled
                        .cancellation_reasons()
                        .iter()
                        .map(|reason| reason.code().unwrap_or("None"))
                };
                let refused: Vec<usize> = codes()
                    .enumerate()
                    .filter_map(|(position, code)| (code == "ConditionalCheckFailed").then_some(position))
                    .collect();
                if !refused.is_empty() {
                    return Err(TableError::TransactionRefused { actions: refused });
                }
                let contended = codes().any(|code| matches!(code, "TransactionConflict" | "ThrottlingError"));
                if !contended || attempt == ATTEMPTS {
                    return Err(TableError::of(&tables, &error));
                }
                tokio::time::sleep(backoff(attempt)).await;
                attempt += 1;
            }
        })
    }
}

/// 10, 20, 40 ... ms, each up to doubled at random, so that two losers do not meet again.
fn backoff(attempt: u32) -> Duration {
    let base = 5_u64 << attempt.min(6);
    let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    Duration::from_millis(base + base * jitter / 255)
}
