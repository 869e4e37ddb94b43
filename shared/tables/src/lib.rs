//! DynamoDB for services: find, insert, replace, transactions and index pages, with conditions that can not be left out.
//!
//! A service's `table.rs` builds on [`Table`] and is the only file that knows attribute names. Every method returns a
//! boxed future on purpose: the SDK's large futures are compiled once, here, and not again in every function.

mod access;
mod error;
mod facts;
mod history;
mod pages;
mod transaction;

pub use access::{Key, Table, Update};
pub use error::{TableError, WhenConditionFails};
pub use history::{IMPORTED_AT, IMPORTED_AT_ONCE, Import, Imported, Place, Scanned, import};
pub use pages::{Order, Query};
pub use transaction::Transaction;

use std::pin::Pin;

/// A future on the heap; see the crate's documentation for why.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An item as the SDK carries it.
pub(crate) type Item = std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;

/// On how many partitions a sparse "due" index spreads what is unfinished, so that no single one takes all writes.
pub const DUE_SHARDS: u8 = 4;

/// The shard of the due index in which the entity `id` is found: `"0"` to `"3"`.
#[must_use]
pub fn due_shard(id: uuid::Uuid) -> String {
    (id.as_bytes()[15] % DUE_SHARDS).to_string()
}

/// Every shard of a due index.
pub fn due_shards() -> impl Iterator<Item = String> {
    (0..DUE_SHARDS).map(|shard| shard.to_string())
}
