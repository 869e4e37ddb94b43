//! What comes from an older system: written as it was there, without anything following from it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity};
use kernel::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Boxed, Item, Key, Table, TableError, Transaction};

/// Attribute of an item that was written by a migration: when, in milliseconds. Readers of streams pass over a change that
/// sets it anew. A service that writes the whole item drops it, because its types do not know it.
pub const IMPORTED_AT: &str = "imported_at";
/// Attribute beside it: the version that was written, where items of the table have versions. A service that changes a part
/// of the item counts its version up.
const IMPORTED_VERSION: &str = "imported_version";

/// As many are written at once: DynamoDB's limit on the actions of a transaction.
pub const IMPORTED_AT_ONCE: usize = 100;

/// An item to be imported; see [`Table::import`].
#[derive(Debug, Clone)]
pub struct Import {
    table: Table,
    put: Put,
}

/// Writes up to [`IMPORTED_AT_ONCE`] items, of any tables, each one once; answers in their order. One transaction: it costs
/// twice the write units, and a fraction of the time.
///
/// # Errors
/// [`TableError::Unavailable`], [`TableError::Refused`].
pub fn import(imports: &[Import]) -> Boxed<'_, Result<Vec<Imported>, TableError>> {
    Box::pin(async move {
        let mut outcomes = vec![Imported::Written; imports.len()];
        loop {
            let open = || {
                imports
                    .iter()
                    .zip(&outcomes)
                    .enumerate()
                    .filter(|(_, (_, outcome))| **outcome == Imported::Written)
            };
            let positions: Vec<usize> = open().map(|(position, _)| position).collect();
            if positions.is_empty() {
                return Ok(outcomes);
            }
            let all = open().fold(Transaction::new(), |all, (_, (import, _))| {
                all.put(&import.table, import.put.clone())
            });
            match all.commit().await {
                Ok(()) => return Ok(outcomes),
                // What was changed here stays; the others are tried again without it.
                Err(TableError::TransactionRefused { actions }) if !actions.is_empty() => {
                    for refused in actions.iter().filter_map(|action| positions.get(*action)) {
                        if let Some(outcome) = outcomes.get_mut(*refused) {
                            *outcome = Imported::ChangedHere;
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
    })
}

/// What became of an item that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Imported {
    /// It is there as it should be.
    Written,
    /// Somebody has changed it here since it was imported, or it was never imported: it was left as it is.
    ChangedHere,
}

/// Items of a page: few enough to come within the time that one call has.
const SCANNED_AT_ONCE: i32 = 300;

/// A page of a whole table.
#[derive(Debug)]
pub struct Scanned<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<Place>,
}

/// Where a page of a whole table begins.
#[derive(Debug)]
pub struct Place(Item);

impl Table {
    /// An item that comes from an older system, to be written by [`import`]: over an earlier import of itself, and over
    /// nothing else. Again and again is the same as once.
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when it can not be written at all.
    pub fn import(&self, key: &Key, value: impl Serialize, at: Timestamp) -> Result<Import, TableError> {
        let mut item = self.to_item(value)?;
        if let Some(version) = item.get("version").cloned() {
            item.insert(IMPORTED_VERSION.to_owned(), version);
        }
        item.insert(IMPORTED_AT.to_owned(), AttributeValue::N(at.millis().to_string()));
        let names = [
            ("#key", key.partition_attribute()),
            ("#imported_at", IMPORTED_AT),
            ("#imported_version", IMPORTED_VERSION),
            ("#version", "version"),
        ];
        let names = names.map(|(short, name)| (short.to_owned(), name.to_owned()));
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(
                "attribute_not_exists(#key) OR (attribute_exists(#imported_at) \
                 AND (attribute_not_exists(#imported_version) OR #imported_version = #version))",
            )
            .set_expression_attribute_names(Some(HashMap::from(names)))
            .build()
            .map_err(|error| TableError::Refused {
                table: self.name.clone(),
                reason: error.to_string(),
            })?;
        Ok(Import {
            table: self.clone(),
            put,
        })
    }

    /// A page of the whole table, from its beginning or from the place that the page before named; strongly consistent. It
    /// costs as much as the table is large: for what compares everything, never for answering somebody.
    ///
    /// # Errors
    /// [`TableError::Unavailable`], [`TableError::Corrupt`].
    pub fn scan<'a, T: DeserializeOwned + 'a>(
        &'a self,
        from: Option<Place>,
    ) -> Boxed<'a, Result<Scanned<T>, TableError>> {
        Box::pin(async move {
            let answer = self
                .client
                .scan()
                .table_name(&self.name)
                .consistent_read(true)
                .limit(SCANNED_AT_ONCE)
                .set_exclusive_start_key(from.map(|Place(key)| key))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| TableError::of(&self.name, &error))?;
            let items = answer.items.unwrap_or_default();
            Ok(Scanned {
                items: items
                    .into_iter()
                    .map(|item| self.parse_item(item))
                    .collect::<Result<_, _>>()?,
                next: answer.last_evaluated_key.filter(|key| !key.is_empty()).map(Place),
            })
        })
    }
}
