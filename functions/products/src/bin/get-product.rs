//! `GET /api/product/{product_id}` and `GET /api/products/{product_id}`: a product, for everybody.
//!
//! A visit is counted when a browser asks for the page of a product and its seller does not: not for services, which ask
//! by the second path, and not for robots. Of a popular product a sample is counted, because each count is a write on the
//! item that its buyers contend for. The answer waits for that at most a moment, and never fails because of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http_function::{Api, Call, Caller, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::error::ProductError;
use products::product::Product;
use products::table::ShowProducts;
use products::view::ProductView;
use products::visit;

/// How long an answer waits for its visit to be counted.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    http_function::open(ShowProducts::from_env, get_product, describe)
}

async fn get_product(products: Arc<ShowProducts>, call: Call) -> Result<Reply, ProductError> {
    let product = products
        .find(call.path_parameter("product_id")?)
        .await?
        .ok_or(ProductError::NotFound)?;
    if is_visit(&call, &product) {
        count(&products, &product).await;
    }
    Ok(Reply::bare(StatusCode::OK, ProductView::of(product, call.zone()))?)
}

fn is_visit(call: &Call, product: &Product) -> bool {
    let is_stranger = match call.caller() {
        Caller::User(user) => product.seller.id != user.id.into(),
        Caller::Service(_) => false,
        Caller::Anonymous | Caller::Unknown(_) => true,
    };
    is_stranger && call.path().starts_with("/api/product/") && visit::is_browser(call.header("user-agent"))
}

async fn count(products: &ShowProducts, product: &Product) {
    let weight = visit::weight(product.visit_count);
    if !visit::is_drawn(weight) {
        return;
    }
    match tokio::time::timeout(PATIENCE, products.count_visits(product.id, weight)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(product = %product.id, reason = %error, "a visit was not counted"),
        Err(_) => tracing::info!(product = %product.id, "a visit was not counted in time"),
    }
}

fn describe(api: &mut Api) {
    for path in ["/api/product/{product_id}", "/api/products/{product_id}"] {
        api.add(
            operation([Method::GET], path, "A product")
                .path::<ProductId>("product_id", "The product")
                .bare::<ProductView>(StatusCode::OK, "The product")
                .refuses(
                    StatusCode::NOT_FOUND,
                    "`not-found`: no such product, or it was deleted.",
                ),
        );
    }
}
