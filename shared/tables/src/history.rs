//! What comes from an older system: written as it was there, without anything following from it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use kernel::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Boxed, Item, Key, Table, TableError};

/// Attribute of an item that was written by a migration: when, in milliseconds. Readers of streams pass over a change that
/// sets it anew. A service that writes the whole item drops it, because its types do not know it.
pub const IMPORTED_AT: &str = "imported_at";
/// Attribute beside it: the version that was written, where items of the table have versions. A service that changes a part
/// of the item counts its version up.
const IMPORTED_VERSION: &str = "imported_version";

/// What became of an item that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Imported {
    /// It is there as it should be.
    Written,
    /// Somebody has changed it here since it was imported, or it was never imported: it was left as it is.
    ChangedHere,
}

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
    /// Writes an item that comes from an older system, over an earlier import of itself, and over nothing else. Again and
    /// again is the same as once.
    ///
    /// # Errors
    /// [`TableError::Unavailable`], [`TableError::Refused`].
    pub fn import<'a>(
        &'a self,
        key: &Key,
        value: impl Serialize,
        at: Timestamp,
    ) -> Boxed<'a, Result<Imported, TableError>> {
        let item = self.to_item(value);
        let partition = key.partition_attribute();
        Box::pin(async move {
            let mut item = item?;
            if let Some(version) = item.get("version").cloned() {
                item.insert(IMPORTED_VERSION.to_owned(), version);
            }
            item.insert(IMPORTED_AT.to_owned(), AttributeValue::N(at.millis().to_string()));
            let names = [
                ("#key", partition),
                ("#imported_at", IMPORTED_AT),
                ("#imported_version", IMPORTED_VERSION),
                ("#version", "version"),
            ];
            let written = self
                .client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item))
                .condition_expression(
                    "attribute_not_exists(#key) OR (attribute_exists(#imported_at) \
                     AND (attribute_not_exists(#imported_version) OR #imported_version = #version))",
                )
                .set_expression_attribute_names(Some(HashMap::from(
                    names.map(|(short, name)| (short.to_owned(), name.to_owned())),
                )))
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map_err(|error| TableError::of(&self.name, &error));
            match written {
                Ok(_) => Ok(Imported::Written),
                Err(TableError::ConditionFailed) => Ok(Imported::ChangedHere),
                Err(error) => Err(error),
            }
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
