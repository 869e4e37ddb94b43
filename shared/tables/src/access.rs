//! One table: find, insert, replace, update, delete.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnConsumedCapacity, ReturnValue, TransactWriteItem,
};
use cloud::{Cloud, StartError, rehearsal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Boxed, Item, TableError, facts};

/// One client for all tables of a process: building another for each is start-up time for nothing.
static CLIENT: OnceLock<Client> = OnceLock::new();

/// A table of this deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// The primary key of an item: one or two text attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<(&'static str, String)>);

impl Key {
    /// The key `attribute = value`.
    pub fn of(attribute: &'static str, value: impl ToString) -> Self {
        Self(vec![(attribute, value.to_string())])
    }

    /// The same with a sort key.
    #[must_use]
    pub fn and(mut self, attribute: &'static str, value: impl ToString) -> Self {
        self.0.push((attribute, value.to_string()));
        self
    }

    pub(crate) fn partition_attribute(&self) -> &'static str {
        self.0.first().map_or("", |(attribute, _)| attribute)
    }

    /// A key of this shape under which nobody ever stores anything.
    fn of_nobody(&self) -> Item {
        let nobody = |(attribute, _): &(&'static str, String)| {
            ((*attribute).to_owned(), AttributeValue::S("rehearsal".to_owned()))
        };
        self.0.iter().map(nobody).collect()
    }

    pub(crate) fn item(&self) -> Item {
        self.0
            .iter()
            .map(|(attribute, value)| ((*attribute).to_owned(), AttributeValue::S(value.clone())))
            .collect()
    }
}

/// A change of some attributes of one item, under a condition that has to be stated.
#[derive(Debug, Clone)]
pub struct Update {
    pub(crate) key: Key,
    pub(crate) expression: Cow<'static, str>,
    pub(crate) condition: &'static str,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Update {
    /// `expression` is an update expression, `condition` a condition expression; both in DynamoDB's own language, with
    /// names `#n` and values `:v` given by [`Update::name`] and [`Update::value`].
    #[must_use]
    pub fn new(key: Key, expression: impl Into<Cow<'static, str>>, condition: &'static str) -> Self {
        Self {
            key,
            expression: expression.into(),
            condition,
            names: HashMap::new(),
            values: HashMap::new(),
        }
    }

    /// States what `#placeholder` stands for.
    #[must_use]
    pub fn name(mut self, placeholder: impl Into<String>, attribute: impl Into<String>) -> Self {
        self.names.insert(placeholder.into(), attribute.into());
        self
    }

    /// States what `:placeholder` stands for: text.
    #[must_use]
    pub fn text(mut self, placeholder: &'static str, value: impl ToString) -> Self {
        self.values
            .insert(placeholder.to_owned(), AttributeValue::S(value.to_string()));
        self
    }

    /// States what `:placeholder` stands for: a whole number.
    #[must_use]
    pub fn number(mut self, placeholder: &'static str, value: i64) -> Self {
        self.values
            .insert(placeholder.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    /// States what `:placeholder` stands for: a set of this one text, to add to a set or to take from it.
    #[must_use]
    pub fn set_of(mut self, placeholder: &'static str, value: impl ToString) -> Self {
        self.values
            .insert(placeholder.to_owned(), AttributeValue::Ss(vec![value.to_string()]));
        self
    }

    /// States what `:placeholder` stands for: anything that an attribute can hold.
    ///
    /// # Errors
    /// [`TableError::Refused`] when the value can not be written.
    pub fn value(mut self, placeholder: &'static str, value: impl Serialize) -> Result<Self, TableError> {
        let value =
            serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(value).map_err(|error| TableError::Refused {
                table: self.key.partition_attribute().to_owned(),
                reason: error.to_string(),
            })?;
        self.values.insert(placeholder.to_owned(), value);
        Ok(self)
    }
}

impl Table {
    /// The table whose name the setting `variable` holds, e.g. `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when the variable is not set.
    pub fn from_env(cloud: &Cloud, variable: &'static str) -> Result<Self, StartError> {
        let name = cloud.settings().required(variable)?;
        let client = CLIENT.get_or_init(|| Client::new(cloud.sdk())).clone();
        Ok(Self { client, name })
    }

    pub(crate) fn to_item(&self, value: impl Serialize) -> Result<Item, TableError> {
        serde_dynamo::aws_sdk_dynamodb_1::to_item(value).map_err(|error| self.corrupt(&error))
    }

    pub(crate) fn parse_item<T: DeserializeOwned>(&self, item: Item) -> Result<T, TableError> {
        serde_dynamo::aws_sdk_dynamodb_1::from_item(item).map_err(|error| self.corrupt(&error))
    }

    fn corrupt(&self, error: &serde_dynamo::Error) -> TableError {
        TableError::Corrupt {
            table: self.name.clone(),
            reason: error.to_string(),
        }
    }

    /// The item of `key` as it is now (a strongly consistent read), if there is one.
    ///
    /// # Errors
    /// [`TableError::Unavailable`], [`TableError::Corrupt`].
    pub fn find<'a, T: DeserializeOwned + 'a>(&'a self, key: &'a Key) -> Boxed<'a, Result<Option<T>, TableError>> {
        Box::pin(async move {
            self.find_item(key.item())
                .await?
                .map(|item| self.parse_item(item))
                .transpose()
        })
    }

    fn find_item(&self, key: Item) -> Boxed<'_, Result<Option<Item>, TableError>> {
        Box::pin(async move {
            self.client
                .get_item()
                .table_name(&self.name)
                .set_key(Some(key))
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map(|answer| answer.item)
                .inspect(|item| self.saw(item.as_slice()))
                .map_err(|error| TableError::of(&self.name, &error))
        })
    }

    pub(crate) fn saw(&self, items: &[Item]) {
        for item in items {
            rehearsal::saw(&self.name, || facts::of_item(item));
        }
    }

    /// The items of `keys` (at most 100, strongly consistent), in no particular order; absent ones are left out.
    ///
    /// # Errors
    /// [`TableError::Unavailable`], [`TableError::Corrupt`].
    pub fn find_all<'a, T: DeserializeOwned + 'a>(&'a self, keys: Vec<Key>) -> Boxed<'a, Result<Vec<T>, TableError>> {
        Box::pin(async move {
            let items = self.find_items(keys.iter().map(Key::item).collect()).await?;
            items.into_iter().map(|item| self.parse_item(item)).collect()
        })
    }

    fn find_items(&self, keys: Vec<Item>) -> Boxed<'_, Result<Vec<Item>, TableError>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(keys.len());
            let mut missing = keys;
            // Each answer may leave keys out (16 MB, throttling); three rounds are more than a page of lists needs.
            for _ in 0..3 {
                if missing.is_empty() {
                    self.saw(&found);
                    return Ok(found);
                }
                let wanted = KeysAndAttributes::builder()
                    .set_keys(Some(std::mem::take(&mut missing)))
                    .consistent_read(true)
                    .build()
                    .map_err(|error| TableError::Refused {
                        table: self.name.clone(),
                        reason: error.to_string(),
                    })?;
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, wanted)
                    .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                    .send()
                    .await
                    .map_err(|error| TableError::of(&self.name, &error))?;
                found.extend(
                    answer
                        .responses
                        .and_then(|mut tables| tables.remove(&self.name))
                        .unwrap_or_default(),
                );
                missing = answer
                    .unprocessed_keys
                    .and_then(|mut tables| tables.remove(&self.name))
                    .map(|rest| rest.keys)
                    .unwrap_or_default();
            }
            if missing.is_empty() {
                self.saw(&found);
                return Ok(found);
            }
            Err(TableError::Unavailable {
                table: self.name.clone(),
                reason: "keys were left unprocessed".into(),
            })
        })
    }

    pub(crate) fn insertion(&self, key: &Key, value: impl Serialize) -> Result<Put, TableError> {
        self.put(
            self.to_item(value)?,
            "attribute_not_exists(#key)",
            key.partition_attribute(),
            None,
        )
    }

    pub(crate) fn replacement(&self, value: impl Serialize, seen_version: u64) -> Result<Put, TableError> {
        self.put(self.to_item(value)?, "#key = :seen", "version", Some(seen_version))
    }

    fn put(&self, item: Item, condition: &str, name: &str, seen: Option<u64>) -> Result<Put, TableError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_names("#key", name)
            .set_expression_attribute_values(
                seen.map(|version| HashMap::from([(":seen".to_owned(), AttributeValue::N(version.to_string()))])),
            )
            .build()
            .map_err(|error| TableError::Refused {
                table: self.name.clone(),
                reason: error.to_string(),
            })
    }

    /// Writes a new item; `key` is its primary key.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`] when the key is taken, [`TableError::Unavailable`].
    pub fn insert<'a>(&'a self, key: &Key, value: impl Serialize) -> Boxed<'a, Result<(), TableError>> {
        let put = self.insertion(key, value);
        let nobody = key.of_nobody();
        Box::pin(async move {
            let put = put?;
            if rehearsal::is_on() {
                return self.rehearse_insertion(put, nobody).await;
            }
            self.send_put(put).await
        })
    }

    /// Finds out whether the item could be written, by a transaction that can not be carried out.
    async fn rehearse_insertion(&self, put: Put, nobody: Item) -> Result<(), TableError> {
        let after = facts::of_item(&put.item);
        let refused = |error: aws_sdk_dynamodb::error::BuildError| TableError::Refused {
            table: self.name.clone(),
            reason: error.to_string(),
        };
        let partition = nobody.keys().next().cloned().unwrap_or_default();
        let never = Put::builder()
            .table_name(&self.name)
            .set_item(Some(nobody))
            .condition_expression(rehearsal::NEVER)
            .expression_attribute_names("#never", partition)
            .build()
            .map_err(refused)?;
        let outcome = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().put(never).build())
            .send()
            .await;
        if let Err(error) = outcome {
            let cancelled = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled,
                _ => return Err(TableError::of(&self.name, &error)),
            };
            let mut codes = cancelled.cancellation_reasons().iter().map(|reason| reason.code());
            if codes.next().flatten() == Some("ConditionalCheckFailed") {
                return Err(TableError::ConditionFailed);
            }
        }
        self.stop_before("PutItem", || (facts::Facts::new(), after))?;
        Ok(())
    }

    /// To be asked before every write; see [`rehearsal::stop_before`].
    fn stop_before(
        &self,
        action: &str,
        before_and_after: impl FnOnce() -> (facts::Facts, facts::Facts),
    ) -> Result<(), rehearsal::Refused> {
        if !rehearsal::is_on() {
            return Ok(());
        }
        let (before, after) = before_and_after();
        rehearsal::stop_before(|| rehearsal::Effect {
            action: format!("dynamodb:{action}"),
            target: self.name.clone(),
            before,
            after,
        })
    }

    /// A put that nothing was noted of yet.
    fn stop_before_put(&self, item: &Item) -> Result<(), rehearsal::Refused> {
        self.stop_before("PutItem", || {
            let after = facts::of_item(item);
            (rehearsal::seen(&self.name, &facts::of_identity(&after)), after)
        })
    }

    /// Writes an item in place of the one whose attribute `version` is `seen_version`. The new item carries a higher one.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`] when the item was changed meanwhile, [`TableError::Unavailable`].
    pub fn replace<'a>(&'a self, value: impl Serialize, seen_version: u64) -> Boxed<'a, Result<(), TableError>> {
        let put = self.replacement(value, seen_version);
        Box::pin(async move { self.send_put(put?).await })
    }

    /// Writes an item if `condition` holds, which may speak of `:now` as a number: for items that are claimed anew once
    /// they ran out.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`], [`TableError::Unavailable`].
    pub fn put_if<'a>(
        &'a self,
        value: impl Serialize,
        condition: &'static str,
        now: i64,
    ) -> Boxed<'a, Result<(), TableError>> {
        let item = self.to_item(value);
        Box::pin(async move {
            let item = item?;
            self.stop_before_put(&item)?;
            self.client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item))
                .condition_expression(condition)
                .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| TableError::of(&self.name, &error))
        })
    }

    async fn send_put(&self, put: Put) -> Result<(), TableError> {
        self.stop_before_put(&put.item)?;
        self.client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(put.item))
            .set_condition_expression(put.condition_expression)
            .set_expression_attribute_names(put.expression_attribute_names)
            .set_expression_attribute_values(put.expression_attribute_values)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| TableError::of(&self.name, &error))
    }

    /// Changes attributes of one item under the update's condition.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`], [`TableError::Unavailable`].
    pub fn update(&self, update: Update) -> Boxed<'_, Result<(), TableError>> {
        Box::pin(async move {
            self.stop_before_update(&update)?;
            self.updating(update)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| TableError::of(&self.name, &error))
        })
    }

    /// The same, and answers the whole item as this update left it: whoever updates one item at the same time sees the
    /// changes of all who came before him.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`], [`TableError::Unavailable`], [`TableError::Corrupt`].
    pub fn update_and_read<'a, T: DeserializeOwned + 'a>(&'a self, update: Update) -> Boxed<'a, Result<T, TableError>> {
        Box::pin(async move { self.parse_item(self.updated_item(update).await?) })
    }

    fn stop_before_update(&self, update: &Update) -> Result<(), rehearsal::Refused> {
        self.stop_before("UpdateItem", || {
            let key = facts::of_item(&update.key.item());
            (rehearsal::seen(&self.name, &key), facts::of_update(update))
        })
    }

    fn updating(&self, update: Update) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(update.key.item()))
            .update_expression(update.expression)
            .condition_expression(update.condition)
            .set_expression_attribute_names((!update.names.is_empty()).then_some(update.names))
            .set_expression_attribute_values((!update.values.is_empty()).then_some(update.values))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
    }

    fn updated_item(&self, update: Update) -> Boxed<'_, Result<Item, TableError>> {
        Box::pin(async move {
            self.stop_before_update(&update)?;
            self.updating(update)
                .return_values(ReturnValue::AllNew)
                .send()
                .await
                .map(|answer| answer.attributes.unwrap_or_default())
                .map_err(|error| TableError::of(&self.name, &error))
        })
    }

    /// Deletes the item of `key` if its attribute `attribute` is the text `value`.
    ///
    /// # Errors
    /// [`TableError::ConditionFailed`] when it is another or absent, [`TableError::Unavailable`].
    pub fn delete_if<'a>(
        &'a self,
        key: &Key,
        attribute: &'static str,
        value: impl ToString,
    ) -> Boxed<'a, Result<(), TableError>> {
        let (key, value) = (key.item(), value.to_string());
        Box::pin(async move {
            self.stop_before("DeleteItem", || {
                let key = facts::of_item(&key);
                (rehearsal::seen(&self.name, &key), key)
            })?;
            self.client
                .delete_item()
                .table_name(&self.name)
                .set_key(Some(key))
                .condition_expression("#attribute = :value")
                .expression_attribute_names("#attribute", attribute)
                .expression_attribute_values(":value", AttributeValue::S(value))
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| TableError::of(&self.name, &error))
        })
    }
}
