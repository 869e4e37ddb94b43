//! `POST /api/products/{product_id}/reserve-stock`, for services: an order takes pieces off the shelf.
//!
//! Shelf and reservation change together or not at all. Repeated by the same order, it changes nothing and answers the
//! same. However many want the last piece, one gets it and the others learn that it is gone.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{OrderId, ProductId, Quantity};
use products::error::ProductError;
use products::stock::{self, Claim, Reserving};
use products::table::{Stockroom, Turn};
use products::view::{self, ReservationAnswer};
use serde::Deserialize;
use utoipa::ToSchema;

/// How often a turn is tried for. Each one waits for others up to 0.7 s, and the calling service waits 2 s for an answer.
const ATTEMPTS: u32 = 2;

fn main() -> ExitCode {
    http_function::open(Stockroom::from_env, reserve_stock, describe)
}

/// What an order wants of a product.
#[derive(Deserialize, ToSchema)]
struct StockClaim {
    quantity: Quantity,
    order_uuid: OrderId,
}

async fn reserve_stock(stockroom: Arc<Stockroom>, call: Call) -> Result<Reply, ProductError> {
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

    let mut attempts = 0;
    loop {
        // In this order: an earlier call of the same order that empties the shelf between the two reads is then seen.
        let shelf = stockroom.product(product).await?.ok_or(ProductError::NotFound)?;
        let known = stockroom.reservation(order, product).await?;
        let reservation = match stock::reserve(&shelf, known, claim, call.now())? {
            Reserving::Taken(known) => known,
            // Only a look at what is left, as above, says whether it is sold out; a lost turn alone does not.
            Reserving::Take(_) | Reserving::Renew(_) if attempts == ATTEMPTS => return Err(ProductError::Contended),
            Reserving::Renew(next) => {
                attempts += 1;
                match stockroom.keep(&next).await? {
                    Turn::Won => next,
                    Turn::Lost => continue,
                }
            }
            Reserving::Take(new) => {
                attempts += 1;
                match stockroom.take(&new, &shelf).await? {
                    Turn::Won => new,
                    Turn::Lost => continue,
                }
            }
        };
        return Ok(Reply::bare(StatusCode::OK, view::reservation(&reservation))?);
    }
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/products/{product_id}/reserve-stock", "Take stock for an order")
            .details("Repeated by the same order, it changes nothing and answers the same.")
            .for_services()
            .path::<ProductId>("product_id", "The product")
            .body::<StockClaim>()
            .bare::<ReservationAnswer>(StatusCode::OK, "What the order holds now")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product.")
            .refuses(
                StatusCode::CONFLICT,
                "`out-of-stock`, `not-on-sale`; `reservation-closed`: it was given back before; `reservation-differs`: another quantity was reserved.",
            ),
    );
}
