//! Where products and reservations are kept. The only file that knows attribute names.

use cloud::{Cloud, StartError};
use futures::future::try_join_all;
use kernel::{Money, OrderId, ProductId, Quantity, SellerId, Timestamp};
use serde::{Deserialize, Serialize};
use tables::{Key, Query, Table, TableError, Transaction, Update, due_shard, due_shards};

use crate::product::{Handover, Listing, Product, Seller};
use crate::search::Entry;
use crate::stock::{Claim, Reservation, State};

/// On how many partitions of the index `by-shelf` products are spread: each takes 1000 writes a second, and a search
/// reads all of them side by side.
const SHELVES: u8 = 4;
/// Reservations that one run of the sweep takes from each shard; the rest waits a minute.
const SWEPT_AT_ONCE: i32 = 50;

fn shelf(product: ProductId) -> String {
    (product.uuid().as_bytes()[15] % SHELVES).to_string()
}

#[derive(Serialize, Deserialize)]
struct ProductRow {
    product_uuid: ProductId,
    seller_uuid: SellerId,
    seller_name: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    description: String,
    #[serde(with = "kernel::money::fen")]
    price: Money,
    stock: u32,
    status: Listing,
    handover: Handover,
    pictures: Vec<String>,
    categories: Vec<String>,
    visit_count: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
    shelf: String,
}

impl From<&Product> for ProductRow {
    fn from(product: &Product) -> Self {
        let product = product.clone();
        Self {
            product_uuid: product.id,
            seller_uuid: product.seller.id,
            seller_name: product.seller.username,
            title: product.title,
            name: product.name,
            description: product.description,
            price: product.price,
            stock: product.stock,
            status: product.listing,
            handover: product.handover,
            pictures: product.pictures,
            categories: product.categories,
            visit_count: product.visit_count,
            created_at: product.created_at,
            updated_at: product.updated_at,
            version: product.version,
            shelf: shelf(product.id),
        }
    }
}

impl From<ProductRow> for Product {
    fn from(row: ProductRow) -> Self {
        Self {
            id: row.product_uuid,
            seller: Seller {
                id: row.seller_uuid,
                username: row.seller_name,
            },
            title: row.title,
            name: row.name,
            description: row.description,
            price: row.price,
            stock: row.stock,
            listing: row.status,
            handover: row.handover,
            pictures: row.pictures,
            categories: row.categories,
            visit_count: row.visit_count,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// What the index `by-shelf` holds of a product.
#[derive(Deserialize)]
struct ShelfRow {
    product_uuid: ProductId,
    title: String,
    #[serde(with = "kernel::money::fen")]
    price: Money,
    status: Listing,
    stock: u32,
    visit_count: u64,
    created_at: Timestamp,
}

impl From<ShelfRow> for Entry {
    fn from(row: ShelfRow) -> Self {
        Self {
            id: row.product_uuid,
            title: row.title,
            price: row.price,
            listing: row.status,
            stock: row.stock,
            visit_count: row.visit_count,
            created_at: row.created_at,
        }
    }
}

fn product_key(product: ProductId) -> Key {
    Key::of("product_uuid", product)
}

/// Reads products.
#[derive(Debug)]
pub struct ReadProducts(Table);

impl ReadProducts {
    /// Reads `PRODUCTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "PRODUCTS_TABLE").map(Self)
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        Ok(self
            .0
            .find::<ProductRow>(&product_key(product))
            .await?
            .map(Product::from))
    }
}

/// Reads the shelf with everything that was ever put up.
#[derive(Debug)]
pub struct ReadShelf(Table);

impl ReadShelf {
    /// Reads `PRODUCTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "PRODUCTS_TABLE").map(Self)
    }

    /// Every product, as far as searching needs it.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn entries(&self) -> Result<Vec<Entry>, TableError> {
        let shelves = (0..SHELVES).map(|shelf| Query::partition(Some("by-shelf"), "shelf", shelf));
        let rows = try_join_all(shelves.map(|shelf| self.0.query::<ShelfRow>(shelf))).await?;
        Ok(rows.into_iter().flatten().map(Entry::from).collect())
    }

    /// The products of `ids` (at most 100), in this order; absent ones are left out.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find_all(&self, ids: &[ProductId]) -> Result<Vec<Product>, TableError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<ProductRow> = self.0.find_all(ids.iter().copied().map(product_key).collect()).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.product_uuid));
        Ok(rows.into_iter().map(Product::from).collect())
    }
}

/// Puts new products up.
#[derive(Debug)]
pub struct AddProducts(Table);

impl AddProducts {
    /// Reads `PRODUCTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "PRODUCTS_TABLE").map(Self)
    }

    /// Writes a new product.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn insert(&self, product: &Product) -> Result<(), TableError> {
        self.0.insert(&product_key(product.id), ProductRow::from(product)).await
    }
}

/// Changes products on behalf of their sellers.
#[derive(Debug)]
pub struct ChangeProducts(Table);

impl ChangeProducts {
    /// Reads `PRODUCTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "PRODUCTS_TABLE").map(Self)
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        Ok(self
            .0
            .find::<ProductRow>(&product_key(product))
            .await?
            .map(Product::from))
    }

    /// Writes `next` in place of the version before it. Lost, when anything of the product changed meanwhile, its stock
    /// included.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn replace(&self, next: &Product) -> Result<Turn, TableError> {
        turn(
            self.0
                .replace(ProductRow::from(next), next.version.saturating_sub(1))
                .await,
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReservationStatus {
    Reserved,
    Restored,
    Forestalled,
}

#[derive(Serialize, Deserialize)]
struct ReservationRow {
    order_uuid: OrderId,
    product_uuid: ProductId,
    quantity: Quantity,
    status: ReservationStatus,
    created_at: Timestamp,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
}

impl From<&Reservation> for ReservationRow {
    fn from(reservation: &Reservation) -> Self {
        let Claim {
            order,
            product,
            quantity,
        } = reservation.claim;
        let (status, closed_at, due_at) = match reservation.state {
            State::Reserved { due_at } => (ReservationStatus::Reserved, None, due_at),
            State::Restored { at } => (ReservationStatus::Restored, Some(at), None),
            State::Forestalled { at } => (ReservationStatus::Forestalled, Some(at), None),
        };
        Self {
            order_uuid: order,
            product_uuid: product,
            quantity,
            status,
            created_at: reservation.created_at,
            version: reservation.version,
            closed_at,
            due_at,
            due_shard: due_at.map(|_| due_shard(order.uuid())),
        }
    }
}

/// A reservation as it is read: a row whose members contradict each other is refused.
#[derive(Deserialize)]
#[serde(try_from = "ReservationRow")]
struct StoredReservation(Reservation);

impl TryFrom<ReservationRow> for StoredReservation {
    type Error = String;

    fn try_from(row: ReservationRow) -> Result<Self, String> {
        let state = match (row.status, row.closed_at, row.due_at) {
            (ReservationStatus::Reserved, None, due_at) => State::Reserved { due_at },
            (ReservationStatus::Restored, Some(at), None) => State::Restored { at },
            (ReservationStatus::Forestalled, Some(at), None) => State::Forestalled { at },
            _ => return Err(format!("reservation of {} by {}", row.product_uuid, row.order_uuid)),
        };
        let claim = Claim {
            order: row.order_uuid,
            product: row.product_uuid,
            quantity: row.quantity,
        };
        Ok(Self(Reservation {
            claim,
            state,
            created_at: row.created_at,
            version: row.version,
        }))
    }
}

#[derive(Deserialize)]
struct DueRow {
    order_uuid: OrderId,
    product_uuid: ProductId,
}

fn reservation_key(order: OrderId, product: ProductId) -> Key {
    Key::of("order_uuid", order).and("product_uuid", product)
}

/// What became of a write that others may have beaten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Written.
    Won,
    /// Somebody else changed something meanwhile, or too many tried at once: look again and decide anew.
    Lost,
}

/// Contention counts as lost, not as a failure: whether a piece is left is told by another look.
fn turn(outcome: Result<(), TableError>) -> Result<Turn, TableError> {
    match outcome {
        Ok(()) => Ok(Turn::Won),
        Err(TableError::ConditionFailed | TableError::TransactionRefused { .. }) => Ok(Turn::Lost),
        Err(error @ TableError::Unavailable { .. }) => {
            tracing::warn!(cause = %error, "a write found no turn");
            Ok(Turn::Lost)
        }
        Err(error @ (TableError::Corrupt { .. } | TableError::Refused { .. })) => Err(error),
    }
}

/// Moves pieces between the shelf and reservations.
#[derive(Debug)]
pub struct Stockroom {
    products: Table,
    reservations: Table,
}

impl Stockroom {
    /// Reads `PRODUCTS_TABLE` and `RESERVATIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            products: Table::from_env(&cloud, "PRODUCTS_TABLE")?,
            reservations: Table::from_env(&cloud, "RESERVATIONS_TABLE")?,
        })
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        Ok(self
            .products
            .find::<ProductRow>(&product_key(product))
            .await?
            .map(Product::from))
    }

    /// What the order holds, or held, of the product.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn reservation(&self, order: OrderId, product: ProductId) -> Result<Option<Reservation>, TableError> {
        let stored = self
            .reservations
            .find::<StoredReservation>(&reservation_key(order, product))
            .await?;
        Ok(stored.map(|StoredReservation(reservation)| reservation))
    }

    /// Takes the pieces of a new reservation off the shelf, if they are there and offered.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn take(&self, new: &Reservation) -> Result<Turn, TableError> {
        let Claim {
            order,
            product,
            quantity,
        } = new.claim;
        let take = Update::new(
            product_key(product),
            "SET #stock = #stock - :pieces, #version = #version + :one",
            "#status = :on_sale AND #stock >= :pieces",
        );
        let take = changes_of_stock(take, quantity)
            .name("#status", "status")
            .text(":on_sale", "on_sale");
        let both = Transaction::new()
            .insert(
                &self.reservations,
                &reservation_key(order, product),
                ReservationRow::from(new),
            )
            .update(&self.products, take);
        turn(both.commit().await)
    }

    /// Puts the pieces of a reservation back on the shelf; `next` is the reservation as it is from then on.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn give_back(&self, next: &Reservation) -> Result<Turn, TableError> {
        let Claim { product, quantity, .. } = next.claim;
        let put_back = Update::new(
            product_key(product),
            "SET #stock = #stock + :pieces, #version = #version + :one",
            "attribute_exists(#stock)",
        );
        let both = Transaction::new()
            .replace(
                &self.reservations,
                ReservationRow::from(next),
                next.version.saturating_sub(1),
            )
            .update(&self.products, changes_of_stock(put_back, quantity));
        turn(both.commit().await)
    }

    /// Keeps a reservation that can never be made.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn forestall(&self, new: &Reservation) -> Result<Turn, TableError> {
        let key = reservation_key(new.claim.order, new.claim.product);
        turn(self.reservations.insert(&key, ReservationRow::from(new)).await)
    }

    /// Writes `next`, which holds the same pieces, in place of the version before it.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn keep(&self, next: &Reservation) -> Result<Turn, TableError> {
        turn(
            self.reservations
                .replace(ReservationRow::from(next), next.version.saturating_sub(1))
                .await,
        )
    }

    /// The reservations whose lease has ended, the longest overdue first; not more of them than one run can take.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn due(&self, now: Timestamp) -> Result<Vec<(OrderId, ProductId)>, TableError> {
        let shards = due_shards().map(|shard| {
            let due = Query::partition(Some("due"), "due_shard", shard).up_to("due_at", now.millis());
            self.reservations.query::<DueRow>(due.limit(SWEPT_AT_ONCE))
        });
        let rows = try_join_all(shards).await?;
        Ok(rows
            .into_iter()
            .flatten()
            .map(|row| (row.order_uuid, row.product_uuid))
            .collect())
    }
}

/// Every change of stock counts as a version: a seller's edit, which writes the whole product, can not undo it.
fn changes_of_stock(update: Update, quantity: Quantity) -> Update {
    update
        .name("#stock", "stock")
        .name("#version", "version")
        .number(":pieces", i64::from(quantity.get()))
        .number(":one", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reservation_with_a_lease_is_found_by_the_sweep() {
        let claim = Claim {
            order: OrderId::random(),
            product: ProductId::random(),
            quantity: Quantity::new(2).unwrap(),
        };
        let at = Timestamp::from_millis(5);
        for (state, due) in [
            (State::Reserved { due_at: Some(at) }, true),
            (State::Reserved { due_at: None }, false),
            (State::Restored { at }, false),
            (State::Forestalled { at }, false),
        ] {
            let reservation = Reservation {
                claim,
                state,
                created_at: at,
                version: 1,
            };
            let row = serde_json::to_value(ReservationRow::from(&reservation)).unwrap();
            assert_eq!(
                (row.get("due_shard").is_some(), row.get("due_at").is_some()),
                (due, due),
                "{state:?}"
            );
            let StoredReservation(read) = serde_json::from_value(row).unwrap();
            assert_eq!(read, reservation);
        }
    }

    #[test]
    fn a_row_that_contradicts_itself_is_corrupt_and_says_whose_it_is() {
        let row = serde_json::json!({
            "order_uuid": OrderId::random(), "product_uuid": ProductId::random(), "quantity": 1, "version": 1,
            "status": "reserved", "created_at": 5, "closed_at": 6,
        });
        let error = serde_json::from_value::<StoredReservation>(row.clone())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(row["order_uuid"].as_str().unwrap()));
    }
}
