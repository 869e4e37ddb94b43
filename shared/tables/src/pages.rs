//! Reading an index.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use serde::de::DeserializeOwned;

use crate::{Boxed, Item, Table, TableError};

/// In which order of the sort key an index is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A query of one partition of a table or of one of its indexes.
#[derive(Debug, Clone)]
pub struct Query {
    index: Option<&'static str>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    condition: String,
    filter: Option<&'static str>,
    order: Order,
    limit: Option<i32>,
    projection: Option<String>,
}

/// A query with a filter looks at this many items at a time, unless more are wanted.
const FILTERED_AT_A_TIME: i32 = 100;

impl Query {
    /// All items whose partition key `attribute` is `value`. `index` is `None` for the table itself, which is read
    /// strongly consistent; an index never is.
    #[must_use]
    pub fn partition(index: Option<&'static str>, attribute: &'static str, value: impl ToString) -> Self {
        Self {
            index,
            names: HashMap::from([("#partition".to_owned(), attribute.to_owned())]),
            values: HashMap::from([(":partition".to_owned(), AttributeValue::S(value.to_string()))]),
            condition: "#partition = :partition".to_owned(),
            filter: None,
            order: Order::Ascending,
            limit: None,
            projection: None,
        }
    }

    /// The same where the partition key is a number.
    #[must_use]
    pub fn numbered_partition(index: Option<&'static str>, attribute: &'static str, value: u64) -> Self {
        let mut query = Self::partition(index, attribute, "");
        query
            .values
            .insert(":partition".to_owned(), AttributeValue::N(value.to_string()));
        query
    }

    /// Only those whose numeric sort key `attribute` is at least `bound`.
    #[must_use]
    pub fn from(self, attribute: &'static str, bound: i64) -> Self {
        self.bounded(attribute, ">=", AttributeValue::N(bound.to_string()))
    }

    /// Only those whose numeric sort key `attribute` is at most `bound`.
    #[must_use]
    pub fn up_to(self, attribute: &'static str, bound: i64) -> Self {
        self.bounded(attribute, "<=", AttributeValue::N(bound.to_string()))
    }

    /// Only those whose sort key `attribute`, a text, comes before `bound`.
    #[must_use]
    pub fn before(self, attribute: &'static str, bound: impl ToString) -> Self {
        self.bounded(attribute, "<", AttributeValue::S(bound.to_string()))
    }

    /// Only those whose sort key `attribute`, a text, comes after `bound`.
    #[must_use]
    pub fn after(self, attribute: &'static str, bound: impl ToString) -> Self {
        self.bounded(attribute, ">", AttributeValue::S(bound.to_string()))
    }

    /// A query has one such bound.
    fn bounded(mut self, attribute: &'static str, relation: &'static str, bound: AttributeValue) -> Self {
        self.names.insert("#sort".to_owned(), attribute.to_owned());
        self.values.insert(":bound".to_owned(), bound);
        self.condition.push_str(&format!(" AND #sort {relation} :bound"));
        self
    }

    /// Only those whose text sort key `attribute` lies between the two, both included.
    #[must_use]
    pub fn between(mut self, attribute: &'static str, low: impl ToString, high: impl ToString) -> Self {
        self.names.insert("#sort".to_owned(), attribute.to_owned());
        self.values
            .insert(":low".to_owned(), AttributeValue::S(low.to_string()));
        self.values
            .insert(":high".to_owned(), AttributeValue::S(high.to_string()));
        self.condition.push_str(" AND #sort BETWEEN :low AND :high");
        self
    }

    /// Only those for which `expression` holds, in DynamoDB's own language, with values `:v` given by [`Query::number`].
    /// What it leaves out is read all the same.
    #[must_use]
    pub fn filter(mut self, expression: &'static str) -> Self {
        self.filter = Some(expression);
        self
    }

    /// States what `:placeholder` of the filter stands for: a whole number.
    #[must_use]
    pub fn number(mut self, placeholder: &'static str, value: i64) -> Self {
        self.values
            .insert(placeholder.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    /// In this order of the sort key.
    #[must_use]
    pub fn in_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Only these attributes of each item: less to send and to parse, for the same request units.
    #[must_use]
    pub fn only<const N: usize>(mut self, attributes: [&'static str; N]) -> Self {
        let names = attributes.map(|attribute| {
            let name = format!("#{attribute}");
            self.names.insert(name.clone(), attribute.to_owned());
            name
        });
        self.projection = Some(names.join(", "));
        self
    }

    /// At most `count` items.
    #[must_use]
    pub fn limit(mut self, count: i32) -> Self {
        self.limit = Some(count);
        self
    }
}

impl Table {
    /// Everything that the query selects, up to its limit.
    ///
    /// # Errors
    /// [`TableError::Unavailable`], [`TableError::Corrupt`].
    pub fn query<'a, T: DeserializeOwned + 'a>(&'a self, query: Query) -> Boxed<'a, Result<Vec<T>, TableError>> {
        Box::pin(async move {
            self.query_items(query)
                .await?
                .into_iter()
                .map(|item| self.parse_item(item))
                .collect()
        })
    }

    fn query_items(&self, query: Query) -> Boxed<'_, Result<Vec<Item>, TableError>> {
        Box::pin(async move {
            let mut found: Vec<Item> = Vec::new();
            let mut start = None;
            let at_a_time = match query.filter {
                Some(_) => query.limit.map(|limit| limit.max(FILTERED_AT_A_TIME)),
                None => query.limit,
            };
            let wanted = query.limit.map_or(usize::MAX, |limit| limit.unsigned_abs() as usize);
            loop {
                let answer = self
                    .client
                    .query()
                    .table_name(&self.name)
                    .set_index_name(query.index.map(str::to_owned))
                    .consistent_read(query.index.is_none())
                    .key_condition_expression(&query.condition)
                    .set_expression_attribute_names(Some(query.names.clone()))
                    .set_expression_attribute_values(Some(query.values.clone()))
                    .scan_index_forward(query.order == Order::Ascending)
                    .set_filter_expression(query.filter.map(str::to_owned))
                    .set_projection_expression(query.projection.clone())
                    .set_limit(at_a_time)
                    .set_exclusive_start_key(start)
                    .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                    .send()
                    .await
                    .map_err(|error| TableError::of(&self.name, &error))?;
                found.extend(answer.items.unwrap_or_default());
                start = answer.last_evaluated_key.filter(|key| !key.is_empty());
                if start.is_none() || found.len() >= wanted {
                    found.truncate(wanted);
                    self.saw(&found);
                    return Ok(found);
                }
            }
        })
    }
}
