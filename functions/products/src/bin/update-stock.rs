//! `POST /api/product/{product_id}/update-stock`, for services: so many pieces more or fewer, beside all orders.
//!
//! With an `Idempotency-Key` it is done once, however often it is asked, and answered the same; without one, every call
//! counts. Never below nothing: the write is on condition that the stock is what was seen.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use kernel::id::derived_uuid;
use products::error::ProductError;
use products::stock::{Difference, StockChange};
use products::table::{Stocktaking, Turn};
use products::view::{self, StockChangeAnswer};
use serde::Deserialize;
use utoipa::ToSchema;

/// How often it is decided anew after others changed the stock at the same time.
const ATTEMPTS: u32 = 8;

fn main() -> ExitCode {
    http_function::open(Stocktaking::from_env, update_stock, describe)
}

/// A change of stock.
#[derive(Deserialize, ToSchema)]
struct NewStockChange {
    quantity: Difference,
}

async fn update_stock(stock: Arc<Stocktaking>, call: Call) -> Result<Reply, ProductError> {
    let service = call.service()?;
    let id: ProductId = call.path_parameter("product_id")?;
    let key = call
        .idempotency_key()?
        .map(|key| derived_uuid("StockChange", &[&service.to_string(), key.as_str()]));
    let NewStockChange { quantity: difference } = call.json()?;

    for _ in 0..ATTEMPTS {
        if let Some(key) = key
            && let Some(known) = stock.known(key).await?
        {
            return if (known.product, known.difference) == (id, difference) {
                Ok(Reply::bare(StatusCode::OK, view::stock_change(&known))?)
            } else {
                Err(ProductError::KeyReused)
            };
        }
        let seen = stock.product(id).await?.ok_or(ProductError::NotFound)?;
        let change = StockChange {
            product: id,
            difference,
            before: seen.stock,
            after: difference.applied_to(seen.stock)?,
        };
        if stock.change(&seen, change, key, call.now()).await? == Turn::Won {
            return Ok(Reply::bare(StatusCode::OK, view::stock_change(&change))?);
        }
    }
    Err(ProductError::Contended)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/product/{product_id}/update-stock",
            "Change a product's stock",
        )
        .for_services()
        .idempotent()
        .path::<ProductId>("product_id", "The product")
        .body::<NewStockChange>()
        .bare::<StockChangeAnswer>(StatusCode::OK, "The change")
        .refuses(
            StatusCode::BAD_REQUEST,
            "`out-of-stock`: less than nothing would be left. `invalid-field`: it does not parse.",
        )
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product.")
        .refuses(
            StatusCode::CONFLICT,
            "`idempotency-key-reused`: the key came with another request before.",
        ),
    );
}
