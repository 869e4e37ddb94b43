//! `GET /api/product/{product_id}/reviews`: what buyers say of a product, newest first, for everybody.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::error::ProductError;
use products::table::ReadReviews;
use products::view::{ReviewListView, ReviewView};

/// Reviews on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 10;

fn main() -> ExitCode {
    http_function::open(ReadReviews::from_env, list_reviews, describe)
}

async fn list_reviews(reviews: Arc<ReadReviews>, call: Call) -> Result<Reply, ProductError> {
    let product: ProductId = call.path_parameter("product_id")?;
    let request = call.page(PAGE_SIZE)?;
    let (product, all) = futures::try_join!(reviews.product(product), reviews.of(product))?;
    product.ok_or(ProductError::NotFound)?;

    let page = request.cut(all);
    let shown = page
        .entries
        .iter()
        .map(|review| ReviewView::of(review, call.zone()))
        .collect();
    Ok(Reply::bare(
        StatusCode::OK,
        ReviewListView::of(page.with_entries(shown), &call),
    )?)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/product/{product_id}/reviews",
            "What buyers say of a product",
        )
        .path::<ProductId>("product_id", "The product")
        .paged(PAGE_SIZE)
        .bare::<ReviewListView>(StatusCode::OK, "A page of reviews, newest first")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product."),
    );
}
