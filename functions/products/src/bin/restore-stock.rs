//! `POST /api/products/{product_id}/restore-stock`, for services: what an order reserved goes back on the shelf.
//!
//! It goes back once, however often this is asked. Where nothing was reserved yet, the order can not reserve any more: a
//! reserve that was overtaken would otherwise hold the goods for nobody.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{OrderId, ProductId, Quantity};
use products::error::ProductError;
use products::stock::{self, Claim, Restoring};
use products::table::{Stockroom, Turn};
use products::view::{self, ReservationAnswer};
use serde::Deserialize;
use utoipa::ToSchema;

/// How often a turn is tried for. Each one waits for others up to 0.7 s, and the calling service waits 2 s for an answer.
const ATTEMPTS: u32 = 2;

fn main() -> ExitCode {
    http_function::open(Stockroom::from_env, restore_stock, describe)
}

/// What an order wants of a product.
#[derive(Deserialize, ToSchema)]
struct StockClaim {
    quantity: Quantity,
    order_uuid: OrderId,
}

async fn restore_stock(stockroom: Arc<Stockroom>, call: Call) -> Result<Reply, ProductError> {
    call.service()?;
    let product: ProductId = call.path_parameter("product_id")?;
    let StockClaim {
        quantity,
        order_uuid: order,
    } = call.json()?;
    let claim = Claim {
        order,
        product,
        quantity,
    };

    for _ in 0..ATTEMPTS {
        let known = stockroom.reservation(order, product).await?;
        let (reservation, turn) = match stock::restore(known, claim, call.now()) {
            Restoring::Done(known) => (known, Turn::Won),
            Restoring::GiveBack(next) => (next, stockroom.give_back(&next).await?),
            Restoring::Forestall(new) => {
                stockroom.product(product).await?.ok_or(ProductError::NotFound)?;
                (new, stockroom.forestall(&new).await?)
            }
        };
        if turn == Turn::Won {
            return Ok(Reply::bare(StatusCode::OK, view::reservation(&reservation))?);
        }
    }
    Err(ProductError::Contended)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/products/{product_id}/restore-stock",
            "Put an order's stock back",
        )
        .details(
            "It goes back once, however often this is asked. What was not reserved yet can not be reserved any more.",
        )
        .for_services()
        .path::<ProductId>("product_id", "The product")
        .body::<StockClaim>()
        .bare::<ReservationAnswer>(StatusCode::OK, "What the order holds now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product."),
    );
}
