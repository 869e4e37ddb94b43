//! Rows of the older systems, as they are: nothing is judged here.

use kernel::Timestamp;
use uuid::Uuid;

/// A date of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// None.
    Null,
    /// This moment; the older systems kept UTC.
    At(Timestamp),
    /// Something that is no moment, such as `0000-00-00`.
    Never(String),
}

impl When {
    /// The moment, if it is one.
    #[must_use]
    pub fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at),
            Self::Null | Self::Never(_) => None,
        }
    }
}

/// A row of `user`.
#[derive(Debug, Clone)]
pub struct User {
    /// `user_id`.
    pub id: u64,
    /// Its name.
    pub username: String,
    /// Django's hash.
    pub password: String,
    /// Its address; not unique.
    pub email: String,
    /// When it was made.
    pub created_at: When,
    /// 0 normal, 1 banned.
    pub status: i64,
    /// 1 administrator.
    pub privilege: i64,
    /// Object name or URL.
    pub avatar: Option<String>,
    /// Where he lives, in plain text.
    pub address: Option<String>,
}

/// A row of `product` with what belongs to it.
#[derive(Debug, Clone)]
pub struct Product {
    /// `product_id`.
    pub id: u64,
    /// The seller and his name, if both are there.
    pub seller: Option<(Uuid, String)>,
    /// Its headline.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Fen.
    pub price: Option<i64>,
    /// 0 on sale, 1 banned, 2 sold, 3 unreviewed.
    pub status: i64,
    /// When it was put up.
    pub created_at: When,
    /// 0 free shipping, 1 pick-up.
    pub function: i64,
    /// How often it was looked at.
    pub visit_count: u64,
    /// Tenths of stars, and how many reviews there are.
    pub rating: (u64, u64),
    /// Object names or URLs, the main one first.
    pub media: Vec<String>,
    /// Names of its categories.
    pub categories: Vec<String>,
    /// Whether an order that is under way holds it.
    pub held: bool,
}

/// A row of `order` with its items and payments.
#[derive(Debug, Clone)]
pub struct Order {
    /// `order_id`.
    pub id: u64,
    /// Its UUID: the split services' own, or the one derived.
    pub uuid: Uuid,
    /// The buyer, if he is there.
    pub buyer: Option<Uuid>,
    /// How the source names the buyer: an integer or a UUID.
    pub buyer_key: String,
    /// Fen.
    pub total: Option<i64>,
    /// 0 pending, 1 paid, 2 completed, 3 cancelled.
    pub status: i64,
    /// When it was placed.
    pub created_at: When,
    /// The day of that, as the source writes it.
    pub created_day: String,
    /// When it changed.
    pub updated_at: When,
    /// 0 Alipay, 1 WeChat Pay.
    pub method: Option<i64>,
    /// When it was paid.
    pub payment_time: When,
    /// A word to the seller.
    pub remark: Option<String>,
    /// Why it was cancelled.
    pub cancel_reason: Option<String>,
    /// Who receives it.
    pub name: Option<String>,
    /// His phone.
    pub phone: Option<String>,
    /// Where.
    pub address: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// The seller that the order itself names: the split services only.
    pub seller: Option<Uuid>,
    /// Whether the order itself names its seller.
    pub names_seller: bool,
    /// Whether products are here as well, so that what is held of them is.
    pub has_products: bool,
    /// Its items, by their ids.
    pub items: Vec<Item>,
    /// Its payments, by their ids.
    pub payments: Vec<Payment>,
    /// Whether another order that waits for its payment is older and holds one of the products, or one is sold.
    pub too_late: bool,
}

/// A row of `order_item`.
#[derive(Debug, Clone)]
pub struct Item {
    /// `id`.
    pub id: u64,
    /// The product, if it is known.
    pub product: Option<Uuid>,
    /// Its seller, if he is there.
    pub seller: Option<Uuid>,
    /// Its title.
    pub title: String,
    /// Its picture.
    pub image: String,
    /// Fen.
    pub price: Option<i64>,
    /// Pieces.
    pub quantity: i64,
}

/// A row of `payment`.
#[derive(Debug, Clone)]
pub struct Payment {
    /// `payment_id`.
    pub id: u64,
    /// Its UUID.
    pub uuid: Uuid,
    /// How the source names its user.
    pub user_key: String,
    /// Fen.
    pub amount: Option<i64>,
    /// 0 Alipay, 1 WeChat Pay.
    pub method: i64,
    /// 0 pending, 1 processing, 2 success, 3 failed, 4 cancelled.
    pub status: i64,
    /// When it was opened.
    pub created_at: When,
    /// The day of that, as the source writes it.
    pub created_day: String,
    /// When it was paid.
    pub paid_at: When,
    /// Until when it could be paid.
    pub expires_at: When,
    /// The provider's number.
    pub transaction: Option<String>,
    /// What the buyer read.
    pub subject: String,
}

/// A row of `notification`, or a message of the market as one user got it.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Its integer.
    pub id: u64,
    /// Who was told, if he is there.
    pub user: Option<Uuid>,
    /// 0 transaction, 1 system, 2 promotion.
    pub kind: i64,
    /// Headline.
    pub title: String,
    /// Text.
    pub content: String,
    /// Whether it was read.
    pub read: bool,
    /// When it came about.
    pub created_at: When,
    /// When it was read, where that was kept.
    pub read_at: When,
    /// What it is about.
    pub related_id: Option<String>,
    /// JSON.
    pub related_data: Option<String>,
}

/// A row of `collection`.
#[derive(Debug, Clone)]
pub struct Collection {
    /// `collection_id`.
    pub id: u64,
    /// Who, if he is there.
    pub user: Option<Uuid>,
    /// What, if it is there.
    pub product: Option<Uuid>,
    /// Since when.
    pub created_at: When,
}
