//! The tables of OrderService: the only file that knows their attribute names.

use cloud::{Cloud, StartError};
use contracts::orders::CancelledBy;
use contracts::payments::PaymentMethod;
use kernel::{BuyerId, Money, OrderId, SellerId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{Key, Query, Table, TableError, WhenConditionFails, due_shard, due_shards};

use crate::delivery::SealedParticulars;
use crate::error::OrderError;
use crate::order::{Line, Order, Paid, Party, Refund, State};
use crate::status::Status;

/// An order as it is stored and as the table's stream carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderRecord {
    order_uuid: OrderId,
    buyer_uuid: BuyerId,
    seller_uuid: SellerId,
    status: Status,
    #[serde(with = "kernel::money::fen")]
    total: Money,
    created_at: Timestamp,
    updated_at: Timestamp,
    lines: Vec<Line>,
    sealed_particulars: SealedParticulars,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intended_method: Option<PaymentMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid: Option<Paid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completes_at: Option<Timestamp>,
    #[serde(default)]
    reminded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<CancelledBy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<String>,
    #[serde(default)]
    refunds: Vec<Refund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    version: u64,
}

impl From<&Order> for OrderRecord {
    fn from(order: &Order) -> Self {
        let mut record = Self {
            order_uuid: order.id,
            buyer_uuid: order.buyer,
            seller_uuid: order.seller,
            status: order.status(),
            total: order.total,
            created_at: order.placed_at,
            updated_at: order.updated_at,
            lines: order.lines.clone(),
            sealed_particulars: order.particulars.clone(),
            intended_method: order.intended_method,
            expires_at: None,
            paid: order.paid().copied(),
            completes_at: None,
            reminded: false,
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            refunds: order.refunds.clone(),
            fingerprint: order.fingerprint.clone(),
            due_shard: order.due_at().map(|_| due_shard(order.id.uuid())),
            due_at: order.due_at(),
            version: order.version,
        };
        match &order.state {
            State::PendingPayment { expires_at } => record.expires_at = Some(*expires_at),
            State::Paid {
                completes_at, reminded, ..
            } => {
                record.completes_at = Some(*completes_at);
                record.reminded = *reminded;
            }
            State::Completed { at, .. } => record.ended_at = Some(*at),
            State::Cancelled { by, reason, at, .. } => {
                record.ended_at = Some(*at);
                record.cancelled_by = Some(*by);
                record.cancel_reason = Some(reason.clone());
            }
        }
        record
    }
}

impl TryFrom<OrderRecord> for Order {
    type Error = TableError;

    /// Reading is parsing: a combination that no order can have is an error that names the order, not a default.
    fn try_from(record: OrderRecord) -> Result<Self, TableError> {
        let id = record.order_uuid;
        let lacks = |what: &str| TableError::Corrupt {
            table: "orders".into(),
            reason: format!("the order {id} is {} but has no {what}", record.status.word()),
        };
        let state = match record.status {
            Status::PendingPayment => State::PendingPayment {
                expires_at: record.expires_at.ok_or_else(|| lacks("expires_at"))?,
            },
            Status::Paid => State::Paid {
                paid: record.paid.ok_or_else(|| lacks("paid"))?,
                completes_at: record.completes_at.ok_or_else(|| lacks("completes_at"))?,
                reminded: record.reminded,
            },
            Status::Completed => State::Completed {
                paid: record.paid.ok_or_else(|| lacks("paid"))?,
                at: record.ended_at.ok_or_else(|| lacks("ended_at"))?,
            },
            Status::Cancelled => State::Cancelled {
                paid: record.paid,
                by: record.cancelled_by.ok_or_else(|| lacks("cancelled_by"))?,
                reason: record.cancel_reason.clone().unwrap_or_default(),
                at: record.ended_at.ok_or_else(|| lacks("ended_at"))?,
            },
        };
        Ok(Self {
            id,
            buyer: record.buyer_uuid,
            seller: record.seller_uuid,
            lines: record.lines,
            total: record.total,
            particulars: record.sealed_particulars,
            intended_method: record.intended_method,
            placed_at: record.created_at,
            updated_at: record.updated_at,
            state,
            refunds: record.refunds,
            fingerprint: record.fingerprint,
            version: record.version,
        })
    }
}

/// What an index of orders tells of each.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ListedOrder {
    /// The order.
    #[serde(rename = "order_uuid")]
    pub id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// What it costs.
    #[serde(with = "kernel::money::fen")]
    pub total: Money,
    /// When it was placed.
    #[serde(rename = "created_at")]
    pub placed_at: Timestamp,
}

fn key(id: OrderId) -> Key {
    Key::of("order_uuid", id)
}

/// Reads orders.
#[derive(Debug, Clone)]
pub struct ReadOrders {
    orders: Table,
}

impl ReadOrders {
    /// Reads `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: Table::from_env(cloud, "ORDERS_TABLE")?,
        })
    }

    /// The order as it is now.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn find(&self, id: OrderId) -> Result<Option<Order>, OrderError> {
        let record: Option<OrderRecord> = self.orders.find(&key(id)).await?;
        Ok(record.map(Order::try_from).transpose()?)
    }

    /// The order, if `user` is a party to it, and which.
    ///
    /// # Errors
    /// [`OrderError::NotFound`].
    pub async fn find_for(&self, id: OrderId, user: UserId) -> Result<(Order, Party), OrderError> {
        let order = self.find(id).await?.ok_or(OrderError::NotFound)?;
        let party = order.party(user)?;
        Ok((order, party))
    }
}

/// Lists a user's orders.
#[derive(Debug, Clone)]
pub struct ListOrders {
    orders: Table,
}

impl ListOrders {
    /// Reads `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: Table::from_env(cloud, "ORDERS_TABLE")?,
        })
    }

    /// Every order in which `user` has the part `party`, newest first, in one read of the index.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn of(&self, user: UserId, party: Party) -> Result<Vec<ListedOrder>, OrderError> {
        let (index, attribute) = match party {
            Party::Buyer => ("by-buyer", "buyer_uuid"),
            Party::Seller => ("by-seller", "seller_uuid"),
        };
        let query = Query::partition(Some(index), attribute, user).in_order(tables::Order::Descending);
        Ok(self.orders.query(query).await?)
    }

    /// The orders of one page, in the order of `ids`.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn page_of(&self, ids: &[OrderId]) -> Result<Vec<Order>, OrderError> {
        let records: Vec<OrderRecord> = self.orders.find_all(ids.iter().copied().map(key).collect()).await?;
        let mut orders = records
            .into_iter()
            .map(Order::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        orders.sort_by_key(|order| ids.iter().position(|id| *id == order.id));
        Ok(orders)
    }
}

/// Reads and changes orders.
#[derive(Debug, Clone)]
pub struct WriteOrders {
    read: ReadOrders,
}

/// How often a change is decided anew when others keep changing the same order.
const ATTEMPTS: usize = 8;

impl WriteOrders {
    /// Reads `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            read: ReadOrders::from_env(cloud)?,
        })
    }

    /// Reading, for those who also write.
    #[must_use]
    pub fn read(&self) -> &ReadOrders {
        &self.read
    }

    /// Stores a new order. `false`: an order with its id exists already; nothing was written.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn insert(&self, order: &Order) -> Result<bool, OrderError> {
        match self.read.orders.insert(&key(order.id), OrderRecord::from(order)).await {
            Ok(()) => Ok(true),
            Err(TableError::ConditionFailed) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the order, lets `decide` say what becomes of it, and stores that if nobody changed it meanwhile; otherwise
    /// it is read and decided anew. Answers the order as it then stands. `decide` returning `None` changes nothing.
    ///
    /// # Errors
    /// [`OrderError::NotFound`], [`OrderError::ChangedMeanwhile`], and those of `decide`.
    pub async fn change(
        &self,
        id: OrderId,
        decide: impl Fn(&Order) -> Result<Option<Order>, OrderError>,
    ) -> Result<Order, OrderError> {
        for _ in 0..ATTEMPTS {
            let order = self.read.find(id).await?.ok_or(OrderError::NotFound)?;
            let Some(next) = decide(&order)? else { return Ok(order) };
            let stored = self
                .read
                .orders
                .replace(OrderRecord::from(&next), order.version)
                .await
                .when_condition_fails(|| OrderError::ChangedMeanwhile(id));
            match stored {
                Ok(()) => return Ok(next),
                Err(OrderError::ChangedMeanwhile(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(OrderError::ChangedMeanwhile(id))
    }
}

/// Finds orders that time alone changes.
#[derive(Debug, Clone)]
pub struct DueOrders {
    orders: Table,
}

/// Orders of one shard that one run takes on; the rest waits for the next run, a minute later.
const DUE_AT_ONCE: i32 = 200;

impl DueOrders {
    /// Reads `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: Table::from_env(cloud, "ORDERS_TABLE")?,
        })
    }

    /// Orders that are due at `now`, longest overdue first within each shard.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn due(&self, now: Timestamp) -> Result<Vec<OrderId>, OrderError> {
        #[derive(Deserialize)]
        struct Due {
            order_uuid: OrderId,
        }
        let shards = due_shards().map(|shard| {
            let query = Query::partition(Some("due"), "due_shard", shard)
                .up_to("due_at", now.millis())
                .limit(DUE_AT_ONCE);
            self.orders.query::<Due>(query)
        });
        let due = futures::future::try_join_all(shards).await?;
        Ok(due.into_iter().flatten().map(|due| due.order_uuid).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_item_is_corrupt_and_names_its_order() {
        let id = OrderId::random();
        let record: OrderRecord = serde_json::from_value(serde_json::json!({
            "order_uuid": id, "buyer_uuid": BuyerId::random(), "seller_uuid": SellerId::random(), "status": "paid",
            "total": 1990, "created_at": 1, "updated_at": 1, "lines": [], "sealed_particulars": "x", "version": 2,
        }))
        .unwrap();
        let error = Order::try_from(record).unwrap_err();
        assert!(matches!(error, TableError::Corrupt { .. }));
        assert!(error.to_string().contains(&id.to_string()));
    }
}
