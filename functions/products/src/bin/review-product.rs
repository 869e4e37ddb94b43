//! `POST /api/product/{product_id}/reviews`: a buyer says what he thinks of what he received, once for each order.
//!
//! The reservation says that the order holds the product, OrderService whose order it is and that it is completed.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{OrderId, ProductId};
use products::error::ProductError;
use products::orders;
use products::review::{self, Rating, Review, Words};
use products::table::WriteReviews;
use products::view::ReviewView;
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;

fn main() -> ExitCode {
    http_function::open(Desk::from_env, review_product, describe)
}

struct Desk {
    reviews: WriteReviews,
    services: Services,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            reviews: WriteReviews::from_env(&cloud)?,
            services: Services::from_env(&cloud).await?,
        })
    }
}

/// What a buyer says.
#[derive(Deserialize, ToSchema)]
struct NewReview {
    /// The completed order that he bought it with.
    order_uuid: OrderId,
    rating: Rating,
    content: Words,
}

async fn review_product(desk: Arc<Desk>, call: Call) -> Result<Reply, ProductError> {
    let author = call.user()?;
    let product: ProductId = call.path_parameter("product_id")?;
    let NewReview {
        order_uuid: order,
        rating,
        content: words,
    } = call.json()?;

    desk.reviews.product(product).await?.ok_or(ProductError::NotFound)?;
    let held = desk.reviews.reservation(order, product).await?;
    let deal = orders::deal(&desk.services, order).await?;
    review::may_review(author.id, deal, held)?;

    let review = Review {
        product,
        order,
        author: author.id,
        author_name: author.username.clone(),
        rating,
        words,
        created_at: call.now(),
    };
    desk.reviews.insert(&review).await?;
    Ok(Reply::created("评价成功", ReviewView::of(&review, call.zone()))?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/product/{product_id}/reviews", "Review a product")
            .for_users()
            .path::<ProductId>("product_id", "The product")
            .body::<NewReview>()
            .created::<ReviewView>("The review")
            .refuses(
                StatusCode::FORBIDDEN,
                "`not-bought`: it was not bought by you with this order.",
            )
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product.")
            .refuses(
                StatusCode::CONFLICT,
                "`not-received`: the order is not completed. `reviewed`: once for each order.",
            ),
    );
}
