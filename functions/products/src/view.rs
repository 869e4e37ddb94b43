//! The JSON that leaves, and the numbers in which clients speak.

use kernel::{Money, OrderId, Page, ProductId, Quantity, SellerId, Zone};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use crate::product::{Handover, Product, Wish};
use crate::stock::{Claim, Reservation, State};

/// A product, as everybody may see it.
#[derive(Debug, Serialize)]
pub struct ProductView {
    product_id: ProductId,
    product_uuid: ProductId,
    title: String,
    name: String,
    description: String,
    price: Money,
    status: u8,
    created_at: String,
    updated_at: String,
    categories: Vec<String>,
    media: Vec<MediaView>,
    image: Option<String>,
    function: u8,
    visit_count: u64,
    rating_avg: &'static str,
    stock: u32,
    seller_uuid: SellerId,
    user_info: SellerView,
}

#[derive(Debug, Serialize)]
struct MediaView {
    media_id: usize,
    media: String,
    is_main: bool,
}

/// The seller's public side: never a mail address, never a postal one.
#[derive(Debug, Serialize)]
struct SellerView {
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
            // Nobody can rate products yet.
            rating_avg: "0.0",
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

/// A list of products, in the shape of its own that the product pages read.
#[must_use]
pub fn list(page: &Page<ProductView>, next: Option<String>, previous: Option<String>) -> Value {
    json!({
        "links": {"next": next, "previous": previous},
        "count": page.count,
        "total_pages": page.total_pages(),
        "current_page": page.request.number(),
        "results": page.entries,
        "data": {"results": page.entries, "count": page.count},
    })
}

/// What an order holds of a product, for services.
#[derive(Debug, Serialize)]
struct ReservationView {
    product_uuid: ProductId,
    order_uuid: OrderId,
    quantity: Quantity,
    status: &'static str,
}

/// The answer to reserving and restoring stock.
#[must_use]
pub fn reservation(reservation: &Reservation) -> Value {
    let Claim {
        order,
        product,
        quantity,
    } = reservation.claim;
    let (status, message) = match reservation.state {
        State::Reserved { .. } => ("reserved", "The stock is reserved."),
        State::Restored { .. } | State::Forestalled { .. } => ("restored", "The stock is restored."),
    };
    let data = ReservationView {
        product_uuid: product,
        order_uuid: order,
        quantity,
        status,
    };
    json!({"success": true, "code": 200, "message": message, "data": data})
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
