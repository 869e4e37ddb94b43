//! `DELETE /api/product/{product_id}`: its seller deletes a product.
//!
//! It is gone for everybody; its row stays for the orders that were made of it. They keep the pieces that they hold, and
//! give back to the row what they give back.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::error::ProductError;
use products::table::{ChangeProducts, Turn};
use tables::TableError;

/// How often it is decided anew after others changed the product at the same time.
const ATTEMPTS: u32 = 5;

fn main() -> ExitCode {
    http_function::open(ChangeProducts::from_env, remove_product, describe)
}

async fn remove_product(products: Arc<ChangeProducts>, call: Call) -> Result<Reply, ProductError> {
    let seller = call.user()?.id.into();
    let id: ProductId = call.path_parameter("product_id")?;

    for _ in 0..ATTEMPTS {
        let product = products
            .find(id)
            .await?
            .ok_or(ProductError::NotFound)?
            .of_seller(seller)?;
        if products.replace(&product.removed(call.now())).await? == Turn::Won {
            return Ok(Reply::ok("商品已删除", ())?);
        }
    }
    Err(TableError::ConditionFailed.into())
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::DELETE], "/api/product/{product_id}", "Delete a product")
            .details("Orders that were made of it go on.")
            .for_users()
            .path::<ProductId>("product_id", "The product")
            .ok::<()>("It is gone")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product of yours.")
            .refuses(
                StatusCode::CONFLICT,
                "`changed-meanwhile`: others change it all the time; repeat.",
            ),
    );
}
