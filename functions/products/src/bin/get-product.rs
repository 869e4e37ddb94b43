//! `GET /api/product/{product_id}` and `GET /api/products/{product_id}`: a product, for everybody.
//!
//! Looking at a product writes nothing: a popular one would cost a write per look, on the item that its buyers contend
//! for.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Reply, StatusCode};
use products::error::ProductError;
use products::table::ReadProducts;
use products::view::ProductView;

fn main() -> ExitCode {
    http_function::open(ReadProducts::from_env, get_product)
}

async fn get_product(products: Arc<ReadProducts>, call: Call) -> Result<Reply, ProductError> {
    let product = products
        .find(call.path_parameter("product_id")?)
        .await?
        .ok_or(ProductError::NotFound)?;
    Ok(Reply::bare(StatusCode::OK, ProductView::of(product, call.zone()))?)
}
