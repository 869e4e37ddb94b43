//! ProductService, as OrderService needs it: what is on sale, reserving it, putting it back.

use futures::future::join_all;
use http_function::StatusCode;
use kernel::{Money, OrderId, ProductId, SellerId};
use keys::ServiceName;
use serde::Deserialize;
use serde_json::json;
use service_client::{Answer, Services};

use crate::error::OrderError;
use crate::order::Line;

/// A product as ProductService describes it (contract of `GET /api/products`).
#[derive(Debug, Clone, Deserialize)]
pub struct Product {
    /// The product.
    pub product_uuid: ProductId,
    /// Its title.
    pub title: String,
    /// Its main image.
    #[serde(default)]
    pub image: Option<String>,
    /// Price of one piece.
    pub price: Money,
    /// Who sells it.
    pub seller_uuid: SellerId,
    status: u8,
}

impl Product {
    /// Whether it is on sale. One that is sold out is still known as on sale to nobody.
    #[must_use]
    pub fn is_on_sale(&self) -> bool {
        self.status == 0
    }

    /// Whether it was sold out when it was read.
    #[must_use]
    pub fn is_sold_out(&self) -> bool {
        self.status == 2
    }
}

/// Reads products and moves their stock.
#[derive(Debug, Clone)]
pub struct Catalogue {
    services: Services,
}

#[derive(Deserialize)]
struct Listing {
    results: Vec<Product>,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalKind,
}

#[derive(Deserialize)]
struct RefusalKind {
    #[serde(rename = "type")]
    kind: String,
}

impl Catalogue {
    /// Through `services`.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }

    /// The products, in one call; those that do not exist are missing.
    ///
    /// # Errors
    /// [`OrderError::Service`].
    pub async fn products(&self, ids: &[ProductId]) -> Result<Vec<Product>, OrderError> {
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let answer = self
            .services
            .get(ServiceName::ProductService, &format!("/api/products?ids={ids}"))
            .await?;
        match answer.status {
            StatusCode::OK => Ok(answer.json::<Listing>()?.results),
            _ => Err(answer.not_understood("products could not be listed").into()),
        }
    }

    /// Reserves every line for `order`, all at once. ProductService does it once however often it is asked.
    ///
    /// # Errors
    /// [`OrderError::OutOfStock`] and its like for the first line that is refused: other lines may be reserved.
    /// [`OrderError::Service`]: whether anything is reserved is unknown.
    pub async fn reserve(&self, order: OrderId, lines: &[Line]) -> Result<(), OrderError> {
        let outcomes = join_all(lines.iter().map(|line| self.reserve_line(order, line))).await;
        let (refusals, failures): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .filter_map(Result::err)
            .partition(|error| !matches!(error, OrderError::Service(_)));
        // A refusal is certain and final, whatever became of the other lines.
        match refusals.into_iter().chain(failures).next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn reserve_line(&self, order: OrderId, line: &Line) -> Result<(), OrderError> {
        let product = line.product_uuid;
        let answer = self.move_stock("reserve-stock", order, product, line.quantity).await?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Err(OrderError::NoSuchProduct(product));
        }
        match answer.json::<Refusal>()?.error.kind.as_str() {
            "out-of-stock" => Err(OrderError::OutOfStock(product)),
            "not-on-sale" => Err(OrderError::NotOnSale(product)),
            "reservation-closed" | "reservation-differs" => Err(OrderError::KeyAbandoned),
            _ => Err(answer
                .not_understood("a reservation was refused for an unknown reason")
                .into()),
        }
    }

    /// Puts back what `order` reserved of a product. ProductService does it once however often it is asked, also when it
    /// never was reserved.
    ///
    /// # Errors
    /// [`OrderError::Service`]: ask again.
    pub async fn restore(
        &self,
        order: OrderId,
        product: ProductId,
        quantity: kernel::Quantity,
    ) -> Result<(), OrderError> {
        let answer = self.move_stock("restore-stock", order, product, quantity).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            _ => Err(answer.not_understood("stock could not be restored").into()),
        }
    }

    async fn move_stock(
        &self,
        verb: &str,
        order: OrderId,
        product: ProductId,
        quantity: kernel::Quantity,
    ) -> Result<Answer, OrderError> {
        let body = json!({"quantity": quantity, "order_uuid": order});
        let path = format!("/api/products/{product}/{verb}");
        Ok(self
            .services
            .post_idempotent(ServiceName::ProductService, &path, &body)
            .await?)
    }
}
