//! The JSON that leaves, and the numbers in which clients speak.

use http_function::{Call, PageLinks};
use kernel::{Money, OrderId, Page, ProductId, Quantity, SellerId, UserId, Zone};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use crate::product::{Handover, Product, Verdict, Wish};
use crate::review::Review;
use crate::stock::{Claim, Reservation, State, StockChange};

/// A product, as everybody may see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProductView {
    product_id: ProductId,
    product_uuid: ProductId,
    title: String,
    name: String,
    description: String,
    /// What a piece costs.
    price: Money,
    /// 0 on sale, 1 banned, 2 sold, 3 unreviewed.
    #[schema(minimum = 0, maximum = 3)]
    status: u8,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    categories: Vec<String>,
    media: Vec<MediaView>,
    /// The main picture.
    #[schema(required)]
    image: Option<String>,
    /// 0 free shipping, 1 pick-up.
    #[schema(minimum = 0, maximum = 1)]
    function: u8,
    visit_count: u64,
    /// Average of the stars with one decimal; "0.0" where nobody rated.
    #[schema(pattern = r"^[0-5]\.[0-9]$")]
    rating_avg: String,
    stock: u32,
    seller_uuid: SellerId,
    user_info: SellerView,
}

/// A picture.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MediaView {
    media_id: usize,
    media: String,
    is_main: bool,
}

/// The seller's public side: never a mail address, never a postal one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SellerView {
    user_id: SellerId,
    username: String,
    avatar: &'static str,
    status: u8,
}

impl ProductView {
    /// What the product looks like from outside, in this zone's time.
    #[must_use]
    pub fn of(product: Product, zone: Zone) -> Self {
        let status = product.status().number();
        let image = product.pictures.first().cloned();
        let media = product
            .pictures
            .into_iter()
            .enumerate()
            .map(|(position, media)| MediaView {
                media_id: position + 1,
                media,
                is_main: position == 0,
            })
            .collect();
        Self {
            product_id: product.id,
            product_uuid: product.id,
            name: product.name.unwrap_or_else(|| product.title.clone()),
            title: product.title,
            description: product.description,
            price: product.price,
            status,
            created_at: zone.show(product.created_at),
            updated_at: zone.show(product.updated_at),
            categories: product.categories,
            media,
            image,
            function: product.handover.number(),
            visit_count: product.visit_count,
            rating_avg: product.ratings.average(),
            stock: product.stock,
            seller_uuid: product.seller.id,
            user_info: SellerView {
                user_id: product.seller.id,
                username: product.seller.username,
                avatar: "",
                status: 0,
            },
        }
    }
}

/// A page of products.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct ProductListView(ListView<ProductView>);

impl ProductListView {
    /// A page of the list that `call` asks for.
    #[must_use]
    pub fn of(page: Page<ProductView>, call: &Call) -> Self {
        Self(ListView::of(page, call))
    }
}

/// A page of reviews.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct ReviewListView(ListView<ReviewView>);

impl ReviewListView {
    /// A page of the list that `call` asks for.
    #[must_use]
    pub fn of(page: Page<ReviewView>, call: &Call) -> Self {
        Self(ListView::of(page, call))
    }
}

/// A list, in the shape of its own that the product pages read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListView<T> {
    links: PageLinks,
    /// Entries on all pages.
    count: usize,
    total_pages: usize,
    current_page: u32,
    results: Vec<T>,
    data: ListDataView<T>,
}

/// The same entries once more, for clients that look for them one level down.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListDataView<T> {
    results: Vec<T>,
    count: usize,
}

impl<T: Clone> ListView<T> {
    fn of(page: Page<T>, call: &Call) -> Self {
        Self {
            links: PageLinks::of(&page, call),
            count: page.count,
            total_pages: page.total_pages(),
            current_page: page.request.number(),
            data: ListDataView {
                results: page.entries.clone(),
                count: page.count,
            },
            results: page.entries,
        }
    }
}

/// What an order holds of a product, for services.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReservationView {
    product_uuid: ProductId,
    order_uuid: OrderId,
    quantity: Quantity,
    status: ReservationWord,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReservationWord {
    /// The order holds the pieces.
    Reserved,
    /// They are on the shelf again, or never left it.
    Restored,
}

/// An answer to a service: the usual envelope, and `success` besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForServicesView<T> {
    success: bool,
    code: u16,
    message: &'static str,
    data: T,
}

impl<T> ForServicesView<T> {
    fn of(message: &'static str, data: T) -> Self {
        Self {
            success: true,
            code: 200,
            message,
            data,
        }
    }
}

/// The answer to reserving and restoring stock.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct ReservationAnswer(ForServicesView<ReservationView>);

/// The answer to a change of stock.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct StockChangeAnswer(ForServicesView<StockChangeView>);

/// What an order holds of a product now.
#[must_use]
pub fn reservation(reservation: &Reservation) -> ReservationAnswer {
    let Claim {
        order,
        product,
        quantity,
    } = reservation.claim;
    let (status, message) = match reservation.state {
        State::Reserved { .. } => (ReservationWord::Reserved, "The stock is reserved."),
        State::Restored { .. } | State::Forestalled { .. } => (ReservationWord::Restored, "The stock is restored."),
    };
    let data = ReservationView {
        product_uuid: product,
        order_uuid: order,
        quantity,
        status,
    };
    ReservationAnswer(ForServicesView::of(message, data))
}

/// A change of stock that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockChangeView {
    product_id: ProductId,
    quantity_changed: i32,
    old_stock: u32,
    current_stock: u32,
}

/// What a change of stock changed.
#[must_use]
pub fn stock_change(change: &StockChange) -> StockChangeAnswer {
    let data = StockChangeView {
        product_id: change.product,
        quantity_changed: change.difference.get(),
        old_stock: change.before,
        current_stock: change.after,
    };
    StockChangeAnswer(ForServicesView::of("The stock is changed.", data))
}

/// Whether the user keeps an eye on the product.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionView {
    /// He does.
    pub is_collected: bool,
}

/// What a buyer says of a product.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReviewView {
    review_id: OrderId,
    product_id: ProductId,
    user_info: AuthorView,
    #[schema(minimum = 1, maximum = 5)]
    rating: u8,
    content: String,
    #[schema(format = DateTime)]
    created_at: String,
}

/// Who wrote a review, as he called himself then.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuthorView {
    user_id: UserId,
    username: String,
    avatar: &'static str,
}

impl ReviewView {
    /// What a review looks like from outside, in this zone's time. Its id says nothing of the order.
    #[must_use]
    pub fn of(review: &Review, zone: Zone) -> Self {
        let (product, order) = (review.product.to_string(), review.order.to_string());
        Self {
            review_id: OrderId::derived(&["review", &product, &order]),
            product_id: review.product,
            user_info: AuthorView {
                user_id: review.author,
                username: review.author_name.clone(),
                avatar: "",
            },
            rating: review.rating.stars(),
            content: review.words.to_string(),
            created_at: zone.show(review.created_at),
        }
    }
}

/// Reads `function`: 0 free shipping, 1 pick-up.
///
/// # Errors
/// Refuses other numbers and other types.
pub fn handover<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Handover>, D::Error> {
    number(
        deserializer,
        Handover::from_number,
        "must be 0 (free shipping) or 1 (pick-up)",
    )
}

/// Reads the `status` that a seller wants: 0 on sale, 2 sold.
///
/// # Errors
/// Refuses other numbers and other types.
pub fn wish<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Wish>, D::Error> {
    number(deserializer, Wish::from_number, "must be 0 (on sale) or 2 (sold)")
}

/// Reads the `status` that an administrator gives: 0 on sale, 1 banned, 3 unreviewed.
///
/// # Errors
/// Refuses other numbers and other types.
pub fn verdict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verdict, D::Error> {
    let verdict = number(
        deserializer,
        Verdict::from_number,
        "must be 0 (on sale), 1 (banned) or 3 (unreviewed)",
    )?;
    verdict.ok_or_else(|| de::Error::custom("must be 0 (on sale), 1 (banned) or 3 (unreviewed)"))
}

fn number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    known: fn(u64) -> Option<T>,
    otherwise: &'static str,
) -> Result<Option<T>, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(number) => known(number).map(Some).ok_or_else(|| de::Error::custom(otherwise)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::product::tests::lamp;

    #[test]
    fn a_product_has_every_member_of_the_contract_and_nothing_private() {
        let product = Product {
            pictures: vec!["/a".into(), "/b".into()],
            ..lamp(3)
        };
        let shown = serde_json::to_value(ProductView::of(product.clone(), "+08:00".parse().unwrap())).unwrap();
        let id = product.id.to_string();
        let seller = product.seller.id.to_string();
        assert_eq!(
            shown,
            json!({
                "product_id": id, "product_uuid": id, "title": "台灯", "name": "台灯", "description": "九成新",
                "price": "19.90", "status": 0, "created_at": "1970-01-01T08:00:01.000000+08:00",
                "updated_at": "1970-01-01T08:00:01.000000+08:00", "categories": [], "image": "/a",
                "media": [{"media_id": 1, "media": "/a", "is_main": true}, {"media_id": 2, "media": "/b", "is_main": false}],
                "function": 1, "visit_count": 0, "rating_avg": "0.0", "stock": 3, "seller_uuid": seller,
                "user_info": {"user_id": seller, "username": "ann", "avatar": "", "status": 0},
            })
        );
    }
}
