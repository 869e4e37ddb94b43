//! The tables of OrderService: the only file that knows their attribute names.

use cloud::{Cloud, StartError};
use contracts::orders::CancelledBy;
use contracts::payments::PaymentMethod;
use kernel::{BuyerId, Money, OrderId, ProductId, SellerId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{Import, Key, Place, Query, Scanned, Table, TableError, WhenConditionFails, due_shard, due_shards};

use crate::delivery::SealedParticulars;
use crate::error::OrderError;
use crate::listing::{Filter, Listed, Rank, Shelf, Sort};
use crate::order::{Line, Order, OrderRef, Paid, Party, Refund, State};
use crate::statistics::{Account, Figures, Movement};
use crate::status::Status;

/// An order as it is stored and as the table's stream carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderRecord {
    order_uuid: OrderId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    legacy_id: Option<u64>,
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
    #[serde(default)]
    hidden_by_buyer: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// The buyer's shelf in `bought-by-time` and `bought-by-amount`; hidden orders stand on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bought_shelf: Option<String>,
    /// The seller's shelf in `sold-by-time` and `sold-by-amount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sold_shelf: Option<String>,
    /// Only orders that have ended are sorted by amount in an index; so each is written there once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount_rank: Option<String>,
    /// Partition of the index `placed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placed_shard: Option<String>,
    version: u64,
}

impl From<&Order> for OrderRecord {
    fn from(order: &Order) -> Self {
        let shelf = Shelf::of(order.status());
        let mut record = Self {
            order_uuid: order.id,
            legacy_id: order.legacy_id,
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
            hidden_by_buyer: order.hidden,
            due_shard: order.due_at().map(|_| due_shard(order.id.uuid())),
            due_at: order.due_at(),
            bought_shelf: (!order.hidden).then(|| shelf.key(order.buyer.into())),
            sold_shelf: Some(shelf.key(order.seller.into())),
            amount_rank: (shelf != Shelf::UnderWay)
                .then(|| Rank::by_amount(order.total, order.placed_at).as_stored().to_owned()),
            placed_shard: Some(due_shard(order.id.uuid())),
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
            legacy_id: record.legacy_id,
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
            hidden: record.hidden_by_buyer,
            version: record.version,
        })
    }
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

    /// The id of the order that a caller names.
    ///
    /// # Errors
    /// [`OrderError::NotFound`] when no order ever had that integer, [`OrderError::Table`].
    pub async fn resolve(&self, named: OrderRef) -> Result<OrderId, OrderError> {
        #[derive(Deserialize)]
        struct Found {
            order_uuid: OrderId,
        }
        match named {
            OrderRef::Id(id) => Ok(id),
            OrderRef::Legacy(number) => {
                let query = Query::numbered_partition(Some("by-legacy-id"), "legacy_id", number).limit(1);
                let found: Vec<Found> = self.orders.query(query).await?;
                found.first().map(|found| found.order_uuid).ok_or(OrderError::NotFound)
            }
        }
    }

    /// The order, if `user` is a party to it, and which.
    ///
    /// # Errors
    /// [`OrderError::NotFound`].
    pub async fn find_for(&self, named: OrderRef, user: UserId) -> Result<(Order, Party), OrderError> {
        let id = self.resolve(named).await?;
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

    /// What `filter` selects of a shelf, in the order of `sort`, `reach` entries at most. Of orders under way, an index
    /// knows the time only; they are few, so all of them are read where anything else decides.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn shelf(
        &self,
        account: Account,
        shelf: Shelf,
        filter: Filter,
        sort: Sort,
        reach: usize,
    ) -> Result<Vec<Listed>, OrderError> {
        let (by_time, by_amount, attribute) = match account.role {
            Party::Buyer => ("bought-by-time", "bought-by-amount", "bought_shelf"),
            Party::Seller => ("sold-by-time", "sold-by-amount", "sold_shelf"),
        };
        let of_index = |index| {
            let direction = if sort.is_descending() {
                tables::Order::Descending
            } else {
                tables::Order::Ascending
            };
            Query::partition(Some(index), attribute, shelf.key(account.user)).in_order(direction)
        };
        let limit = i32::try_from(reach).unwrap_or(i32::MAX);
        match (shelf, sort.is_by_amount()) {
            (Shelf::UnderWay, by_amount) => {
                let everything = by_amount || filter.status().is_some();
                let query = of_index(by_time);
                let query = if everything { query } else { query.limit(limit) };
                let orders: Vec<UnderWay> = self.orders.query(query).await?;
                let selected = orders.into_iter().filter(|order| filter.selects(order.status));
                Ok(selected.map(|order| order.listed(by_amount)).collect())
            }
            (Shelf::Completed | Shelf::Cancelled, false) => {
                let query = of_index(by_time).only(["order_uuid", "created_at"]).limit(limit);
                let orders: Vec<Timed> = self.orders.query(query).await?;
                Ok(orders.into_iter().map(Listed::from).collect())
            }
            (Shelf::Completed | Shelf::Cancelled, true) => {
                let query = of_index(by_amount).only(["order_uuid", "amount_rank"]).limit(limit);
                let orders: Vec<Ranked> = self.orders.query(query).await?;
                Ok(orders.into_iter().map(Listed::from).collect())
            }
        }
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

/// Entry of the indexes by time, of an order under way.
#[derive(Deserialize)]
struct UnderWay {
    order_uuid: OrderId,
    created_at: Timestamp,
    status: Status,
    #[serde(with = "kernel::money::fen")]
    total: Money,
}

impl UnderWay {
    fn listed(&self, by_amount: bool) -> Listed {
        Listed {
            rank: if by_amount {
                Rank::by_amount(self.total, self.created_at)
            } else {
                Rank::by_time(self.created_at)
            },
            id: self.order_uuid,
        }
    }
}

/// Entry of the indexes by time, of an order that has ended.
#[derive(Deserialize)]
struct Timed {
    order_uuid: OrderId,
    created_at: Timestamp,
}

impl From<Timed> for Listed {
    fn from(order: Timed) -> Self {
        Self {
            rank: Rank::by_time(order.created_at),
            id: order.order_uuid,
        }
    }
}

/// Entry of the indexes by amount.
#[derive(Deserialize)]
struct Ranked {
    order_uuid: OrderId,
    amount_rank: String,
}

impl From<Ranked> for Listed {
    fn from(order: Ranked) -> Self {
        Self {
            rank: Rank::from_stored(order.amount_rank),
            id: order.order_uuid,
        }
    }
}

/// What an administrator sees of an order.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct PlacedOrder {
    /// The order.
    pub order_uuid: OrderId,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// What it costs.
    #[serde(with = "kernel::money::fen")]
    pub total: Money,
}

/// Finds orders by when they were placed.
#[derive(Debug, Clone)]
pub struct PlacedOrders {
    orders: Table,
}

impl PlacedOrders {
    /// Reads `ORDERS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: Table::from_env(cloud, "ORDERS_TABLE")?,
        })
    }

    /// Every order placed at `from` or later, newest first.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn since(&self, from: Timestamp) -> Result<Vec<PlacedOrder>, OrderError> {
        let shards = due_shards().map(|shard| {
            let query = Query::partition(Some("placed"), "placed_shard", shard).from("created_at", from.millis());
            self.orders.query::<PlacedOrder>(query)
        });
        let mut placed: Vec<PlacedOrder> = futures::future::try_join_all(shards)
            .await?
            .into_iter()
            .flatten()
            .collect();
        placed.sort_by_key(|order| std::cmp::Reverse((order.created_at, order.order_uuid)));
        Ok(placed)
    }
}

/// The counters of a user, as they are stored.
#[derive(Serialize, Deserialize)]
struct FiguresRecord {
    user_uuid: UserId,
    role: Party,
    figures: Figures,
    version: u64,
}

fn account_key(account: Account) -> Key {
    Key::of("user_uuid", account.user).and("role", account.role.word())
}

/// Reads the counters of users.
#[derive(Debug, Clone)]
pub struct ReadFigures {
    figures: Table,
}

impl ReadFigures {
    /// Reads `ORDER_STATISTICS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            figures: Table::from_env(cloud, "ORDER_STATISTICS_TABLE")?,
        })
    }

    /// The counters of an account; of one that has no orders, zeros.
    ///
    /// # Errors
    /// [`OrderError::Table`].
    pub async fn of(&self, account: Account) -> Result<Figures, OrderError> {
        Ok(self
            .stored(account)
            .await?
            .map(|record| record.figures)
            .unwrap_or_default())
    }

    async fn stored(&self, account: Account) -> Result<Option<FiguresRecord>, OrderError> {
        Ok(self.figures.find(&account_key(account)).await?)
    }
}

/// Keeps the counters of users.
#[derive(Debug, Clone)]
pub struct WriteFigures {
    read: ReadFigures,
}

impl WriteFigures {
    /// Reads `ORDER_STATISTICS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            read: ReadFigures::from_env(cloud)?,
        })
    }

    /// Takes changes into the counters of an account, with one write, or none when all of them are counted already. When
    /// somebody else writes them meanwhile they are read anew.
    ///
    /// # Errors
    /// Those of [`Figures::take_in`], [`OrderError::Table`].
    pub async fn take_in(&self, account: Account, movements: &[Movement], now: Timestamp) -> Result<(), OrderError> {
        for _ in 0..ATTEMPTS {
            let stored = self.read.stored(account).await?;
            let seen_version = stored.as_ref().map(|record| record.version);
            let mut figures = stored.map(|record| record.figures).unwrap_or_default();
            let mut changed = false;
            for movement in movements {
                changed |= figures.take_in(movement, now)?;
            }
            if !changed {
                return Ok(());
            }
            let record = FiguresRecord {
                user_uuid: account.user,
                role: account.role,
                figures,
                version: seen_version.unwrap_or(0) + 1,
            };
            let table = &self.read.figures;
            let written = match seen_version {
                Some(version) => table.replace(record, version).await,
                None => table.insert(&account_key(account), record).await,
            };
            match written {
                Ok(()) => return Ok(()),
                Err(TableError::ConditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(OrderError::FiguresContended)
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

/// Writes orders that come from an older system, the counters of their users, and the claims of those that wait for payment.
#[derive(Debug, Clone)]
pub struct ImportOrders {
    orders: Table,
    figures: Table,
    claims: Table,
}

impl ImportOrders {
    /// Reads `ORDERS_TABLE`, `ORDER_STATISTICS_TABLE` and `PENDING_CLAIMS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: Table::from_env(cloud, "ORDERS_TABLE")?,
            figures: Table::from_env(cloud, "ORDER_STATISTICS_TABLE")?,
            claims: Table::from_env(cloud, "PENDING_CLAIMS_TABLE")?,
        })
    }

    /// Writes an order.
    ///
    /// # Errors
    /// Those of the table.
    pub fn order(&self, order: &Order, at: Timestamp) -> Result<Import, TableError> {
        self.orders.import(&key(order.id), OrderRecord::from(order), at)
    }

    /// Writes what an account's orders amount to: the stream passes over imported orders.
    ///
    /// # Errors
    /// Those of the table.
    pub fn figures(&self, account: Account, figures: &Figures, at: Timestamp) -> Result<Import, TableError> {
        let record = FiguresRecord {
            user_uuid: account.user,
            role: account.role,
            figures: figures.clone(),
            version: 1,
        };
        self.figures.import(&account_key(account), record, at)
    }

    /// Claims the products of an order that waits for its payment.
    ///
    /// # Errors
    /// Those of the table.
    pub fn claims(&self, order: &Order) -> Result<Vec<Import>, TableError> {
        let mut products: Vec<ProductId> = order.lines.iter().map(|line| line.product_uuid).collect();
        products.sort_unstable();
        products.dedup();
        let claims = products.into_iter().map(|product| {
            let (key, row) = crate::claim::imported(order, product);
            self.claims.import(&key, row, order.placed_at)
        });
        claims.collect()
    }

    /// A page of all orders; see [`Table::scan`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, from: Option<Place>) -> Result<Scanned<Order>, TableError> {
        let page: Scanned<OrderRecord> = self.orders.scan(from).await?;
        Ok(Scanned {
            items: page.items.into_iter().map(Order::try_from).collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// A page of all counters.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn figures_page(&self, from: Option<Place>) -> Result<Scanned<(Account, Figures)>, TableError> {
        let page: Scanned<FiguresRecord> = self.figures.scan(from).await?;
        let account = |record: FiguresRecord| {
            let (user, role) = (record.user_uuid, record.role);
            (Account { user, role }, record.figures)
        };
        Ok(Scanned {
            items: page.items.into_iter().map(account).collect(),
            next: page.next,
        })
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
