//! Where products and reservations are kept. The only file that knows attribute names.

use std::time::Duration;

use cloud::{Cloud, StartError};
use futures::future::try_join_all;
use kernel::{Money, OrderId, ProductId, Quantity, SellerId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tables::{
    Import, Key, Order, Place, Query, Scanned, Table, TableError, Transaction, Update, WhenConditionFails, due_shard,
    due_shards,
};
use uuid::Uuid;

use crate::error::ProductError;
use crate::product::{Handover, Listing, Product, Seller, Status};
use crate::review::{Rating, Ratings, Review, Words};
use crate::search::{Entry, Published};
use crate::stock::{Claim, Difference, Reservation, State, StockChange};

/// On how many partitions of the index `by-shelf` the products of one status are spread: each takes 1000 writes a second,
/// and a search reads all of them side by side.
const SHELVES: u8 = 8;
/// Products that a search sees on each shelf, the newest ones; together 40 000. What was sold longer ago than that is found
/// by its id only, so that no list costs more as the market's history grows.
const SEEN_OF_A_SHELF: i32 = 5_000;
/// Products of one seller, or reviews of one product, that a list sees: the newest ones.
const SEEN_OF_ONE: i32 = 5_000;
/// How long the answer to a change of stock is remembered under its key.
const REMEMBERED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Reservations that one run of the sweep takes from each shard; the rest waits a minute.
const SWEPT_AT_ONCE: i32 = 50;

/// Where the index `by-shelf` has a product: every status has shelves of its own, so that what was sold is not in the way
/// of what is for sale. What its seller deleted is on none.
fn shelf(product: ProductId, listing: Listing, stock: u32) -> Option<String> {
    let number = product.uuid().as_bytes()[15] % SHELVES;
    (listing != Listing::Removed).then(|| shelf_name(Status::of(listing, stock), number))
}

fn shelf_name(status: Status, number: u8) -> String {
    let status = match status {
        Status::OnSale => "on_sale",
        Status::Banned => "banned",
        Status::Sold => "sold",
        Status::Unreviewed => "unreviewed",
    };
    format!("{status}#{number}")
}

fn word(listing: Listing) -> &'static str {
    match listing {
        Listing::OnSale => "on_sale",
        Listing::Withdrawn => "withdrawn",
        Listing::Banned => "banned",
        Listing::Unreviewed => "unreviewed",
        Listing::Removed => "removed",
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shelf: Option<String>,
    #[serde(default)]
    rating_count: u64,
    #[serde(default)]
    rating_stars: u64,
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
            shelf: shelf(product.id, product.listing, product.stock),
            rating_count: product.ratings.count,
            rating_stars: product.ratings.stars,
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
            ratings: Ratings {
                count: row.rating_count,
                stars: row.rating_stars,
            },
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

/// What the index `by-seller` holds of a product.
#[derive(Deserialize)]
struct SellerRow {
    product_uuid: ProductId,
    status: Listing,
    stock: u32,
}

/// The product, unless its seller deleted it.
async fn find_there(table: &Table, product: ProductId) -> Result<Option<Product>, TableError> {
    let row: Option<ProductRow> = table.find(&product_key(product)).await?;
    Ok(row.map(Product::from).filter(Product::is_there))
}

/// The products of `ids` (at most 100), in this order; absent and deleted ones are left out.
async fn find_all_there(table: &Table, ids: &[ProductId]) -> Result<Vec<Product>, TableError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<ProductRow> = table.find_all(ids.iter().copied().map(product_key).collect()).await?;
    rows.sort_by_key(|row| ids.iter().position(|id| *id == row.product_uuid));
    Ok(rows.into_iter().map(Product::from).filter(Product::is_there).collect())
}

fn product_key(product: ProductId) -> Key {
    Key::of("product_uuid", product)
}

/// Reads products.
#[derive(Debug)]
pub struct ReadProducts(Table);

/// Reads a product and counts visits of it.
#[derive(Debug)]
pub struct ShowProducts(Table);

impl ShowProducts {
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
        find_there(&self.0, product).await
    }

    /// Counts `visits` of the product. It is no change that anybody's edit has to respect, so `version` stays.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn count_visits(&self, product: ProductId, visits: u64) -> Result<(), TableError> {
        let count = Update::new(
            product_key(product),
            "ADD visit_count :visits",
            "attribute_exists(product_uuid)",
        )
        .number(":visits", i64::try_from(visits).unwrap_or(i64::MAX));
        self.0.update(count).await
    }
}

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
        find_there(&self.0, product).await
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

    /// The newest products of this status, as far as searching needs them: all shelves side by side, in one round trip.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn entries(&self, status: Status) -> Result<Vec<Entry>, TableError> {
        let shelves = (0..SHELVES).map(|number| {
            let shelf = Query::partition(Some("by-shelf"), "shelf", shelf_name(status, number));
            self.0
                .query::<ShelfRow>(shelf.in_order(Order::Descending).limit(SEEN_OF_A_SHELF))
        });
        let rows = try_join_all(shelves).await?;
        Ok(rows.into_iter().flatten().map(Entry::from).collect())
    }

    /// The products of `ids` (at most 100), in this order; absent ones are left out.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find_all(&self, ids: &[ProductId]) -> Result<Vec<Product>, TableError> {
        find_all_there(&self.0, ids).await
    }
}

/// Reads what a seller put up.
#[derive(Debug)]
pub struct ReadPublished(Table);

impl ReadPublished {
    /// Reads `PRODUCTS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] when it is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Table::from_env(&cloud, "PRODUCTS_TABLE").map(Self)
    }

    /// The newest products of a seller, newest first.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn of(&self, seller: SellerId) -> Result<Vec<Published>, TableError> {
        let his = Query::partition(Some("by-seller"), "seller_uuid", seller);
        let rows: Vec<SellerRow> = self.0.query(his.in_order(Order::Descending).limit(SEEN_OF_ONE)).await?;
        Ok(rows
            .into_iter()
            .map(|row| Published {
                id: row.product_uuid,
                listing: row.status,
                stock: row.stock,
            })
            .collect())
    }

    /// The products of `ids` (at most 100), in this order; absent ones are left out.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn find_all(&self, ids: &[ProductId]) -> Result<Vec<Product>, TableError> {
        find_all_there(&self.0, ids).await
    }
}

/// What people keep an eye on.
#[derive(Debug)]
pub struct Collections {
    products: ReadProducts,
    collections: Table,
}

#[derive(Serialize, Deserialize)]
struct CollectionRow {
    user_uuid: UserId,
    product_uuid: ProductId,
    created_at: Timestamp,
}

impl Collections {
    /// Reads `PRODUCTS_TABLE` and `COLLECTIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            collections: Table::from_env(&cloud, "COLLECTIONS_TABLE")?,
            products: ReadProducts::from_env(cloud).await?,
        })
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        self.products.find(product).await
    }

    /// Whether the user keeps an eye on the product.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn has(&self, user: UserId, product: ProductId) -> Result<bool, TableError> {
        let row: Option<CollectionRow> = self.collections.find(&collection_key(user, product)).await?;
        Ok(row.is_some())
    }

    /// From now on he does; or did already.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn add(&self, user: UserId, product: ProductId, now: Timestamp) -> Result<(), TableError> {
        let row = CollectionRow {
            user_uuid: user,
            product_uuid: product,
            created_at: now,
        };
        unless_so_already(self.collections.insert(&collection_key(user, product), row).await)
    }

    /// From now on he does not; or never did.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn remove(&self, user: UserId, product: ProductId) -> Result<(), TableError> {
        let key = collection_key(user, product);
        unless_so_already(self.collections.delete_if(&key, "user_uuid", user).await)
    }
}

fn collection_key(user: UserId, product: ProductId) -> Key {
    Key::of("user_uuid", user).and("product_uuid", product)
}

fn unless_so_already(outcome: Result<(), TableError>) -> Result<(), TableError> {
    match outcome {
        Err(TableError::ConditionFailed) => Ok(()),
        outcome => outcome,
    }
}

#[derive(Serialize, Deserialize)]
struct ReviewRow {
    product_uuid: ProductId,
    order_uuid: OrderId,
    author_uuid: UserId,
    author_name: String,
    rating: Rating,
    words: Words,
    created_at: Timestamp,
}

impl From<ReviewRow> for Review {
    fn from(row: ReviewRow) -> Self {
        Self {
            product: row.product_uuid,
            order: row.order_uuid,
            author: row.author_uuid,
            author_name: row.author_name,
            rating: row.rating,
            words: row.words,
            created_at: row.created_at,
        }
    }
}

/// Reads what buyers say of products.
#[derive(Debug)]
pub struct ReadReviews {
    products: ReadProducts,
    reviews: Table,
}

impl ReadReviews {
    /// Reads `PRODUCTS_TABLE` and `REVIEWS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            reviews: Table::from_env(&cloud, "REVIEWS_TABLE")?,
            products: ReadProducts::from_env(cloud).await?,
        })
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        self.products.find(product).await
    }

    /// Its newest reviews, newest first.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn of(&self, product: ProductId) -> Result<Vec<Review>, TableError> {
        let its = Query::partition(Some("by-age"), "product_uuid", product);
        let rows: Vec<ReviewRow> = self
            .reviews
            .query(its.in_order(Order::Descending).limit(SEEN_OF_ONE))
            .await?;
        Ok(rows.into_iter().map(Review::from).collect())
    }
}

/// Writes reviews.
#[derive(Debug)]
pub struct WriteReviews {
    products: Table,
    reservations: Table,
    reviews: Table,
}

impl WriteReviews {
    /// Reads `PRODUCTS_TABLE`, `RESERVATIONS_TABLE` and `REVIEWS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            products: Table::from_env(cloud, "PRODUCTS_TABLE")?,
            reservations: Table::from_env(cloud, "RESERVATIONS_TABLE")?,
            reviews: Table::from_env(cloud, "REVIEWS_TABLE")?,
        })
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        find_there(&self.products, product).await
    }

    /// What the order holds, or held, of the product.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn reservation(&self, order: OrderId, product: ProductId) -> Result<Option<Reservation>, TableError> {
        find_reservation(&self.reservations, order, product).await
    }

    /// Writes a review and adds its stars to the product's, together.
    ///
    /// # Errors
    /// [`ProductError::Reviewed`] when the order reviewed the product before; those of the tables.
    pub async fn insert(&self, review: &Review) -> Result<(), ProductError> {
        let key = Key::of("product_uuid", review.product).and("order_uuid", review.order);
        let row = ReviewRow {
            product_uuid: review.product,
            order_uuid: review.order,
            author_uuid: review.author,
            author_name: review.author_name.clone(),
            rating: review.rating,
            words: review.words.clone(),
            created_at: review.created_at,
        };
        // A version more, so that a seller's edit, which writes the whole product, can not undo it.
        let stars = Update::new(
            product_key(review.product),
            "ADD rating_count :one, rating_stars :stars, #version :one",
            "attribute_exists(product_uuid)",
        )
        .name("#version", "version")
        .number(":one", 1)
        .number(":stars", i64::from(review.rating.stars()));
        let both = Transaction::new()
            .insert(&self.reviews, &key, row)
            .update(&self.products, stars);
        both.commit().await.when_condition_fails(|| ProductError::Reviewed)
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
        find_there(&self.0, product).await
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

async fn find_reservation(
    reservations: &Table,
    order: OrderId,
    product: ProductId,
) -> Result<Option<Reservation>, TableError> {
    let stored: Option<StoredReservation> = reservations.find(&reservation_key(order, product)).await?;
    Ok(stored.map(|StoredReservation(reservation)| reservation))
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
        Err(error @ (TableError::Corrupt { .. } | TableError::Refused { .. } | TableError::Rehearsed(_))) => Err(error),
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

    /// The product, if there is one; also one that its seller deleted, of which orders may hold pieces.
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
        find_reservation(&self.reservations, order, product).await
    }

    /// Takes the pieces of a new reservation off the shelf, if they are there and offered. `seen` is the product as it was
    /// when that was decided: who takes the last piece also moves the product to the shelf of what is sold.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn take(&self, new: &Reservation, seen: &Product) -> Result<Turn, TableError> {
        let Claim {
            order,
            product,
            quantity,
        } = new.claim;
        let is_last = seen.stock == u32::from(quantity.get());
        let take = if is_last {
            Update::new(
                product_key(product),
                "SET #stock = #stock - :pieces, #version = #version + :one, #shelf = :shelf",
                "#status = :on_sale AND #stock = :pieces",
            )
        } else {
            Update::new(
                product_key(product),
                "SET #stock = #stock - :pieces, #version = #version + :one",
                "#status = :on_sale AND #stock > :pieces",
            )
        };
        let mut take = changes_of_stock(take, quantity)
            .name("#status", "status")
            .text(":on_sale", word(Listing::OnSale));
        if let Some(shelf) = shelf(product, Listing::OnSale, 0).filter(|_| is_last) {
            take = take.name("#shelf", "shelf").text(":shelf", shelf);
        }
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
        let Some(seen) = self.product(product).await? else {
            tracing::error!(%product, "a reservation is of a product that is not there");
            return Ok(Turn::Lost);
        };
        let put_back = match shelf(product, seen.listing, u32::from(quantity.get())) {
            Some(shelf) => Update::new(
                product_key(product),
                "SET #stock = #stock + :pieces, #version = #version + :one, #shelf = :shelf",
                "#status = :seen",
            )
            .name("#shelf", "shelf")
            .text(":shelf", shelf),
            None => Update::new(
                product_key(product),
                "SET #stock = #stock + :pieces, #version = #version + :one",
                "#status = :seen",
            ),
        };
        let put_back = changes_of_stock(put_back, quantity)
            .name("#status", "status")
            .text(":seen", word(seen.listing));
        let both = Transaction::new()
            .replace(
                &self.reservations,
                ReservationRow::from(next),
                next.version.saturating_sub(1),
            )
            .update(&self.products, put_back);
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

/// Changes stock beside all orders.
#[derive(Debug)]
pub struct Stocktaking {
    products: Table,
    changes: Table,
}

/// A change of stock as it is remembered under its key.
#[derive(Serialize, Deserialize)]
struct StockChangeRow {
    change_uuid: Uuid,
    product_uuid: ProductId,
    difference: Difference,
    old_stock: u32,
    current_stock: u32,
    /// Seconds, as the table's time to live counts.
    expires_at: i64,
}

impl Stocktaking {
    /// Reads `PRODUCTS_TABLE` and `STOCK_CHANGES_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            products: Table::from_env(&cloud, "PRODUCTS_TABLE")?,
            changes: Table::from_env(&cloud, "STOCK_CHANGES_TABLE")?,
        })
    }

    /// The product, if there is one.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, TableError> {
        find_there(&self.products, product).await
    }

    /// The change that was made under this key, if one was.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn known(&self, key: Uuid) -> Result<Option<StockChange>, TableError> {
        let row: Option<StockChangeRow> = self.changes.find(&Key::of("change_uuid", key)).await?;
        Ok(row.map(|row| StockChange {
            product: row.product_uuid,
            difference: row.difference,
            before: row.old_stock,
            after: row.current_stock,
        }))
    }

    /// Makes the change, and remembers it under its key if it has one. Lost, when stock or listing changed since `seen`, or
    /// the key was used meanwhile.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn change(
        &self,
        seen: &Product,
        change: StockChange,
        key: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Turn, TableError> {
        // What was deleted meanwhile has no shelf.
        let Some(shelf) = shelf(seen.id, seen.listing, change.after) else {
            return Ok(Turn::Lost);
        };
        let update = Update::new(
            product_key(seen.id),
            "SET #stock = :after, #version = #version + :one, #shelf = :shelf",
            "#status = :seen AND #stock = :before",
        )
        .name("#stock", "stock")
        .name("#version", "version")
        .name("#status", "status")
        .name("#shelf", "shelf")
        .number(":one", 1)
        .number(":before", i64::from(change.before))
        .number(":after", i64::from(change.after))
        .text(":seen", word(seen.listing))
        .text(":shelf", shelf);
        let Some(key) = key else {
            return turn(self.products.update(update).await);
        };
        let row = StockChangeRow {
            change_uuid: key,
            product_uuid: change.product,
            difference: change.difference,
            old_stock: change.before,
            current_stock: change.after,
            expires_at: now.plus(REMEMBERED_FOR).seconds(),
        };
        let both = Transaction::new()
            .insert(&self.changes, &Key::of("change_uuid", key), row)
            .update(&self.products, update);
        turn(both.commit().await)
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

/// Writes products that come from an older system, and what orders hold of them.
#[derive(Debug, Clone)]
pub struct ImportProducts {
    products: Table,
    reservations: Table,
    collections: Table,
}

impl ImportProducts {
    /// Reads `PRODUCTS_TABLE`, `RESERVATIONS_TABLE` and `COLLECTIONS_TABLE`.
    ///
    /// # Errors
    /// [`StartError`] names the one that is not set.
    pub fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        Ok(Self {
            products: Table::from_env(cloud, "PRODUCTS_TABLE")?,
            reservations: Table::from_env(cloud, "RESERVATIONS_TABLE")?,
            collections: Table::from_env(cloud, "COLLECTIONS_TABLE")?,
        })
    }

    /// Writes a product.
    ///
    /// # Errors
    /// Those of the table.
    pub fn product(&self, product: &Product, at: Timestamp) -> Result<Import, TableError> {
        self.products
            .import(&product_key(product.id), ProductRow::from(product), at)
    }

    /// Writes what an order holds.
    ///
    /// # Errors
    /// Those of the table.
    pub fn reservation(&self, reservation: &Reservation, at: Timestamp) -> Result<Import, TableError> {
        let key = reservation_key(reservation.claim.order, reservation.claim.product);
        self.reservations.import(&key, ReservationRow::from(reservation), at)
    }

    /// Writes that a user keeps an eye on a product since `since`.
    ///
    /// # Errors
    /// Those of the table.
    pub fn collection(
        &self,
        user: UserId,
        product: ProductId,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<Import, TableError> {
        let row = CollectionRow {
            user_uuid: user,
            product_uuid: product,
            created_at: since,
        };
        self.collections.import(&collection_key(user, product), row, at)
    }

    /// A page of all products; see [`Table::scan`].
    ///
    /// # Errors
    /// Those of the table.
    pub async fn page(&self, from: Option<Place>) -> Result<Scanned<Product>, TableError> {
        let page: Scanned<ProductRow> = self.products.scan(from).await?;
        Ok(Scanned {
            items: page.items.into_iter().map(Product::from).collect(),
            next: page.next,
        })
    }

    /// A page of all reservations.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn reservations_page(&self, from: Option<Place>) -> Result<Scanned<Reservation>, TableError> {
        let page: Scanned<StoredReservation> = self.reservations.scan(from).await?;
        Ok(Scanned {
            items: page
                .items
                .into_iter()
                .map(|StoredReservation(reservation)| reservation)
                .collect(),
            next: page.next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::tests::lamp;

    #[test]
    fn every_status_has_its_shelves_and_what_was_deleted_is_on_none() {
        for listing in Listing::ALL {
            for stock in [0, 1] {
                let product = Product { listing, ..lamp(stock) };
                let row = serde_json::to_value(ProductRow::from(&product)).unwrap();
                let shelf = row.get("shelf").and_then(|shelf| shelf.as_str());
                assert_eq!(row["status"], word(listing));
                assert_eq!(shelf.is_some(), product.is_there(), "{listing:?}");
                let number = product.id.uuid().as_bytes()[15] % SHELVES;
                let expected = product.is_there().then(|| shelf_name(product.status(), number));
                assert_eq!(shelf, expected.as_deref());
                assert_eq!(
                    Product::from(serde_json::from_value::<ProductRow>(row).unwrap()),
                    product
                );
            }
        }
    }

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
