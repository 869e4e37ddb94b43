//! A product and what its seller can do with it. Pure: no time is read here, nothing is stored.

use kernel::money::MoneyError;
use kernel::{Money, ProductId, Quantity, SellerId, Text, Timestamp};
use serde::{Deserialize, Serialize};

use crate::category::Category;
use crate::error::ProductError;
use crate::picture::Picture;
use crate::review::Ratings;

/// Title or other name: 1 to 100 characters.
pub type Title = Text<1, 100>;
/// Description: 1 to 5000 characters.
pub type Description = Text<1, 5000>;
/// Pictures that one request can name beside the main one.
pub const MAX_PICTURES: usize = 9;
/// Categories of one product.
pub const MAX_CATEGORIES: usize = 5;

/// What one piece costs: more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Money")]
pub struct Price(Money);

impl Price {
    /// The amount.
    #[must_use]
    pub fn money(self) -> Money {
        self.0
    }
}

impl TryFrom<Money> for Price {
    type Error = MoneyError;

    fn try_from(money: Money) -> Result<Self, MoneyError> {
        money.positive().map(Self)
    }
}

/// A list of at most `MAX` entries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
pub struct AtMost<const MAX: usize, T>(Vec<T>);

/// A list that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have at most {0} entries")]
pub struct TooMany(usize);

impl<const MAX: usize, T> TryFrom<Vec<T>> for AtMost<MAX, T> {
    type Error = TooMany;

    fn try_from(entries: Vec<T>) -> Result<Self, TooMany> {
        if entries.len() > MAX {
            Err(TooMany(MAX))
        } else {
            Ok(Self(entries))
        }
    }
}

/// How many pieces a seller says that he has: 0 to 999. None at all is a way to say "sold".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Pieces(u16);

/// A number that is no stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 0 to 999")]
pub struct NotPieces;

impl TryFrom<u64> for Pieces {
    type Error = NotPieces;

    fn try_from(count: u64) -> Result<Self, NotPieces> {
        u16::try_from(count)
            .ok()
            .filter(|count| *count <= Quantity::MAX)
            .map(Self)
            .ok_or(NotPieces)
    }
}

/// How the goods reach the buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// The seller sends them and pays for it.
    #[default]
    FreeShipping,
    /// The buyer fetches them.
    PickUp,
}

impl Handover {
    /// The number that clients know as `function`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::FreeShipping => 0,
            Self::PickUp => 1,
        }
    }

    /// What clients call `number`.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::FreeShipping, Self::PickUp]
            .into_iter()
            .find(|handover| u64::from(handover.number()) == number)
    }
}

/// Whether a product is offered, apart from how many pieces are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// Offered.
    OnSale,
    /// Its seller took it off.
    Withdrawn,
    /// The market took it off.
    Banned,
    /// The market has not looked at it yet.
    Unreviewed,
    /// Its seller deleted it. It is there for the orders that were made of it, and for nobody else.
    Removed,
}

/// What an administrator decides about a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be offered.
    Approve,
    /// It is taken off.
    Ban,
    /// It is taken off until somebody has looked at it.
    Review,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Approve, Self::Ban, Self::Review];

    /// The verdict that clients express by the status `number`: 0 on sale, 1 banned, 3 unreviewed.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Approve),
            1 => Some(Self::Ban),
            3 => Some(Self::Review),
            _ => None,
        }
    }
}

/// What a seller wants of his listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Offer it.
    Offer,
    /// Take it off, because it was sold elsewhere or is not for sale any more.
    Withdraw,
}

impl Wish {
    /// The wish that clients express by the status `number`: 0 on sale, 2 sold.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Offer),
            2 => Some(Self::Withdraw),
            _ => None,
        }
    }
}

impl Listing {
    /// Every listing.
    pub const ALL: [Self; 5] = [
        Self::OnSale,
        Self::Withdrawn,
        Self::Banned,
        Self::Unreviewed,
        Self::Removed,
    ];

    /// What the seller's wish makes of it. What the market decided is not the seller's to change.
    ///
    /// # Errors
    /// [`ProductError::HeldByTheMarket`], [`ProductError::NotFound`].
    pub fn wished(self, wish: Wish) -> Result<Self, ProductError> {
        match (self, wish) {
            (Self::OnSale | Self::Withdrawn, Wish::Offer) => Ok(Self::OnSale),
            (Self::OnSale | Self::Withdrawn, Wish::Withdraw) => Ok(Self::Withdrawn),
            (Self::Banned | Self::Unreviewed, _) => Err(ProductError::HeldByTheMarket),
            (Self::Removed, _) => Err(ProductError::NotFound),
        }
    }

    /// What an administrator's verdict makes of it. What its seller took off is not the market's to offer.
    ///
    /// # Errors
    /// [`ProductError::Withdrawn`], [`ProductError::NotFound`].
    pub fn judged(self, verdict: Verdict) -> Result<Self, ProductError> {
        match (self, verdict) {
            (Self::OnSale | Self::Banned | Self::Unreviewed, Verdict::Approve) => Ok(Self::OnSale),
            (Self::Withdrawn, Verdict::Approve) => Err(ProductError::Withdrawn),
            (Self::OnSale | Self::Withdrawn | Self::Banned | Self::Unreviewed, Verdict::Ban) => Ok(Self::Banned),
            (Self::OnSale | Self::Withdrawn | Self::Banned | Self::Unreviewed, Verdict::Review) => Ok(Self::Unreviewed),
            (Self::Removed, _) => Err(ProductError::NotFound),
        }
    }
}

/// What clients see of listing and stock together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Can be bought.
    OnSale,
    /// Taken off by the market.
    Banned,
    /// Nothing left, or taken off by its seller.
    Sold,
    /// Not looked at by the market yet.
    Unreviewed,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::OnSale, Self::Banned, Self::Sold, Self::Unreviewed];

    /// The status of a product.
    #[must_use]
    pub fn of(listing: Listing, stock: u32) -> Self {
        match (listing, stock) {
            (Listing::OnSale, 1..) => Self::OnSale,
            (Listing::OnSale, 0) | (Listing::Withdrawn | Listing::Removed, _) => Self::Sold,
            (Listing::Banned, _) => Self::Banned,
            (Listing::Unreviewed, _) => Self::Unreviewed,
        }
    }

    /// Whether the market holds it back: only its seller and administrators find it.
    #[must_use]
    pub fn is_held_back(self) -> bool {
        match self {
            Self::Banned | Self::Unreviewed => true,
            Self::OnSale | Self::Sold => false,
        }
    }

    /// The number that clients know.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::OnSale => 0,
            Self::Banned => 1,
            Self::Sold => 2,
            Self::Unreviewed => 3,
        }
    }
}

/// Who sells a product, as he called himself when he put it up. It is kept with the product, so that no list has to
/// ask for users one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seller {
    /// The user.
    pub id: SellerId,
    /// His name then.
    pub username: String,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Who sells it.
    pub seller: Seller,
    /// Its headline.
    pub title: String,
    /// Another name; the title serves if there is none.
    pub name: Option<String>,
    /// What it is.
    pub description: String,
    /// What a piece costs.
    pub price: Money,
    /// Pieces that can be bought: what orders hold is not among them.
    pub stock: u32,
    /// Whether it is offered.
    pub listing: Listing,
    /// How it reaches the buyer.
    pub handover: Handover,
    /// URLs of its pictures, the main one first.
    pub pictures: Vec<String>,
    /// What it belongs to.
    pub categories: Vec<String>,
    /// How often it was looked at.
    pub visit_count: u64,
    /// What its buyers think of it.
    pub ratings: Ratings,
    /// When it was put up.
    pub created_at: Timestamp,
    /// When its seller last changed it.
    pub updated_at: Timestamp,
    /// Counts the changes, those of stock included, from 1.
    pub version: u64,
}

/// What a seller says of a new product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its headline.
    pub title: Title,
    /// Another name.
    pub name: Option<Title>,
    /// What it is.
    pub description: Description,
    /// What a piece costs.
    pub price: Price,
    /// How many there are; one, if he does not say.
    pub stock: Option<Quantity>,
    /// How it reaches the buyer.
    pub handover: Handover,
    /// Pictures.
    pub pictures: Pictures,
    /// What it belongs to.
    pub categories: Option<AtMost<MAX_CATEGORIES, Category>>,
}

/// What a seller changes of a product; what he does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Its headline.
    pub title: Option<Title>,
    /// Another name.
    pub name: Option<Title>,
    /// What it is.
    pub description: Option<Description>,
    /// What a piece costs.
    pub price: Option<Price>,
    /// How many can be bought from now on, beside what orders hold already.
    pub stock: Option<Pieces>,
    /// Whether it is offered.
    pub listing: Option<Wish>,
    /// How it reaches the buyer.
    pub handover: Option<Handover>,
    /// Pictures.
    pub pictures: Pictures,
    /// What it belongs to.
    pub categories: Option<AtMost<MAX_CATEGORIES, Category>>,
}

/// Pictures as requests name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pictures {
    /// The main one; the first of the others, if it is not named.
    pub main: Option<Picture>,
    /// The others. They take the place of all that were there.
    pub others: Option<AtMost<MAX_PICTURES, Picture>>,
}

impl Pictures {
    /// The pictures of a product that had those of `before`.
    fn instead_of(self, before: &[String]) -> Vec<String> {
        let main = self.main.map(Picture::into_string);
        let mut others = match self.others {
            Some(AtMost(others)) => others.into_iter().map(Picture::into_string).collect(),
            None if main.is_some() => before.iter().skip(1).cloned().collect(),
            None => before.to_vec(),
        };
        if let Some(main) = main {
            others.retain(|picture| *picture != main);
            others.insert(0, main);
        }
        others
    }
}

impl Product {
    /// A product that is put up for sale.
    #[must_use]
    pub fn put_up(id: ProductId, seller: Seller, draft: Draft, now: Timestamp) -> Self {
        Self {
            id,
            seller,
            title: draft.title.into_string(),
            name: draft.name.map(Title::into_string),
            description: draft.description.into_string(),
            price: draft.price.money(),
            stock: draft.stock.map_or(1, |stock| u32::from(stock.get())),
            listing: Listing::OnSale,
            handover: draft.handover,
            pictures: draft.pictures.instead_of(&[]),
            categories: draft.categories.map(plain).unwrap_or_default(),
            visit_count: 0,
            ratings: Ratings::default(),
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }

    /// The product, if `seller` sells it. Nobody else can change it, or learn this way that it exists.
    ///
    /// # Errors
    /// [`ProductError::NotFound`].
    pub fn of_seller(self, seller: SellerId) -> Result<Self, ProductError> {
        if self.seller.id == seller {
            Ok(self)
        } else {
            Err(ProductError::NotFound)
        }
    }

    /// The product as its seller wants it. `None`: it is like that already.
    ///
    /// # Errors
    /// [`ProductError::HeldByTheMarket`].
    pub fn edited(&self, edit: Edit, now: Timestamp) -> Result<Option<Self>, ProductError> {
        let edited = Self {
            title: edit.title.map_or_else(|| self.title.clone(), Title::into_string),
            name: edit.name.map(Title::into_string).or_else(|| self.name.clone()),
            description: edit
                .description
                .map_or_else(|| self.description.clone(), Description::into_string),
            price: edit.price.map_or(self.price, Price::money),
            stock: edit.stock.map_or(self.stock, |Pieces(count)| u32::from(count)),
            listing: edit
                .listing
                .map_or(Ok(self.listing), |wish| self.listing.wished(wish))?,
            handover: edit.handover.unwrap_or(self.handover),
            pictures: edit.pictures.instead_of(&self.pictures),
            categories: edit.categories.map_or_else(|| self.categories.clone(), plain),
            ..self.clone()
        };
        Ok((edited != *self).then_some(Self {
            updated_at: now,
            version: self.version + 1,
            ..edited
        }))
    }

    /// The product as an administrator judged it. `None`: it is like that already.
    ///
    /// # Errors
    /// [`ProductError::Withdrawn`], [`ProductError::NotFound`].
    pub fn judged(&self, verdict: Verdict, now: Timestamp) -> Result<Option<Self>, ProductError> {
        let listing = self.listing.judged(verdict)?;
        Ok((listing != self.listing).then(|| self.listed(listing, now)))
    }

    /// The product as its seller deletes it. What orders hold of it stays theirs.
    #[must_use]
    pub fn removed(&self, now: Timestamp) -> Self {
        self.listed(Listing::Removed, now)
    }

    fn listed(&self, listing: Listing, now: Timestamp) -> Self {
        Self {
            listing,
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Whether it is there for anybody but the orders that were made of it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.listing != Listing::Removed
    }

    /// What clients see of listing and stock together.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.listing, self.stock)
    }
}

fn plain(categories: AtMost<MAX_CATEGORIES, Category>) -> Vec<String> {
    categories.0.into_iter().map(Category::into_string).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn lamp(stock: u32) -> Product {
        let draft = Draft {
            title: "台灯".parse().unwrap(),
            name: None,
            description: "九成新".parse().unwrap(),
            price: Price(Money::from_fen(1990).unwrap()),
            stock: None,
            handover: Handover::PickUp,
            pictures: Pictures::default(),
            categories: None,
        };
        let seller = Seller {
            id: SellerId::random(),
            username: "ann".to_owned(),
        };
        Product {
            stock,
            ..Product::put_up(ProductId::random(), seller, draft, Timestamp::from_millis(1_000))
        }
    }

    fn picture(text: &str) -> Picture {
        text.parse().unwrap()
    }

    #[test]
    fn a_new_product_is_on_sale_with_one_piece() {
        let product = lamp(1);
        assert_eq!((product.stock, product.status().number(), product.version), (1, 0, 1));
    }

    #[test]
    fn what_the_seller_wants_and_the_market_decided_gives_one_listing() {
        use Listing::{Banned, OnSale, Removed, Unreviewed, Withdrawn};
        let table = [
            (OnSale, [Some(OnSale), Some(Withdrawn)]),
            (Withdrawn, [Some(OnSale), Some(Withdrawn)]),
            (Banned, [None, None]),
            (Unreviewed, [None, None]),
            (Removed, [None, None]),
        ];
        assert_eq!(table.map(|(listing, _)| listing), Listing::ALL);
        for (listing, outcomes) in table {
            for (wish, outcome) in [Wish::Offer, Wish::Withdraw].into_iter().zip(outcomes) {
                assert_eq!(listing.wished(wish).ok(), outcome, "{listing:?} {wish:?}");
            }
        }
    }

    #[test]
    fn what_the_market_decides_of_a_listing_gives_one_listing() {
        use Listing::{Banned, OnSale, Removed, Unreviewed, Withdrawn};
        let table = [
            (OnSale, [Some(OnSale), Some(Banned), Some(Unreviewed)]),
            (Withdrawn, [None, Some(Banned), Some(Unreviewed)]),
            (Banned, [Some(OnSale), Some(Banned), Some(Unreviewed)]),
            (Unreviewed, [Some(OnSale), Some(Banned), Some(Unreviewed)]),
            (Removed, [None, None, None]),
        ];
        assert_eq!(table.map(|(listing, _)| listing), Listing::ALL);
        for (listing, outcomes) in table {
            for (verdict, outcome) in Verdict::ALL.into_iter().zip(outcomes) {
                assert_eq!(listing.judged(verdict).ok(), outcome, "{listing:?} {verdict:?}");
                let product = Product { listing, ..lamp(1) };
                let judged = product.judged(verdict, Timestamp::from_millis(9)).ok().flatten();
                let changed = outcome.filter(|after| *after != listing);
                assert_eq!(
                    judged.map(|after| (after.listing, after.version)),
                    changed.map(|after| (after, 2))
                );
            }
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(Verdict::from_number).map(|v| v.is_some()),
            [true, true, false, true, false]
        );
    }

    #[test]
    fn a_removed_product_is_there_for_its_orders_only() {
        let removed = lamp(3).removed(Timestamp::from_millis(9));
        assert_eq!((removed.is_there(), removed.stock, removed.version), (false, 3, 2));
        assert!(
            removed
                .edited(
                    Edit {
                        listing: Some(Wish::Offer),
                        ..Edit::default()
                    },
                    Timestamp::from_millis(10)
                )
                .is_err()
        );
        assert!(lamp(0).is_there());
    }

    #[test]
    fn status_is_what_listing_and_stock_make_together() {
        for (listing, without, with) in [
            (Listing::OnSale, 2, 0),
            (Listing::Withdrawn, 2, 2),
            (Listing::Banned, 1, 1),
            (Listing::Unreviewed, 3, 3),
            (Listing::Removed, 2, 2),
        ] {
            assert_eq!(Status::of(listing, 0).number(), without);
            assert_eq!(Status::of(listing, 7).number(), with);
        }
    }

    #[test]
    fn an_edit_changes_what_it_names_and_counts_as_one_change() {
        let before = lamp(1);
        let later = Timestamp::from_millis(2_000);
        let edit = Edit {
            title: Some("新台灯".parse().unwrap()),
            stock: Some(Pieces(0)),
            ..Edit::default()
        };
        let after = before.edited(edit.clone(), later).unwrap().unwrap();
        assert_eq!((after.title.as_str(), after.stock, after.version), ("新台灯", 0, 2));
        assert_eq!(
            (after.price, after.created_at, after.updated_at),
            (before.price, before.created_at, later)
        );
        assert_eq!(
            after.edited(edit, later).unwrap(),
            None,
            "the same wish again changes nothing"
        );
    }

    /// Through the same wrapper that calls are read with: it must not hide the digits of a JSON number from `Money`.
    #[test]
    fn a_price_is_an_amount_above_nothing_in_text_or_number() {
        let read = |json: &str| {
            serde_path_to_error::deserialize::<_, Price>(&mut serde_json::Deserializer::from_str(json))
                .map(Price::money)
        };
        for json in ["19.9", "\"19.90\""] {
            assert_eq!(read(json).unwrap().fen(), 1990, "{json}");
        }
        for json in [
            "0",
            "\"0.00\"",
            "0.004",
            "-1",
            "1e2",
            "100000000",
            "\"\"",
            "null",
            "[]",
            "{}",
            "true",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_and_lists_out_of_range_are_refused() {
        for json in ["-1", "1000", "1.5", "\"1\"", "18446744073709551616", "null"] {
            assert!(serde_json::from_str::<Pieces>(json).is_err(), "{json}");
        }
        let list = |count| serde_json::from_str::<AtMost<2, u8>>(&format!("{:?}", vec![1; count]));
        assert!(list(2).is_ok());
        assert!(list(3).is_err());
    }

    #[test]
    fn somebody_elses_product_is_not_there() {
        let product = lamp(1);
        let seller = product.seller.id;
        assert!(product.clone().of_seller(seller).is_ok());
        assert!(matches!(
            product.of_seller(SellerId::random()),
            Err(ProductError::NotFound)
        ));
    }

    #[test]
    fn the_main_picture_comes_first_and_once() {
        let others = |list: &[&str]| Some(AtMost(list.iter().map(|text| picture(text)).collect()));
        let new = Pictures {
            main: Some(picture("/b")),
            others: others(&["/a", "/b"]),
        }
        .instead_of(&[]);
        assert_eq!(new, ["/b", "/a"]);
        let first_of_the_others = Pictures {
            main: None,
            others: others(&["/c", "/d"]),
        }
        .instead_of(&new);
        assert_eq!(first_of_the_others, ["/c", "/d"]);
        assert_eq!(
            Pictures {
                main: Some(picture("/e")),
                others: None
            }
            .instead_of(&new),
            ["/e", "/a"]
        );
        assert_eq!(Pictures::default().instead_of(&new), new);
    }
}
