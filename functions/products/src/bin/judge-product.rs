//! `PATCH /api/root/products/{product_id}`, for administrators: a product is banned, approved, or sent to review.
//!
//! What its seller took off is not the market's to offer.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::error::ProductError;
use products::product::Verdict;
use products::table::{ChangeProducts, Turn};
use products::view::{self, ProductView};
use serde::Deserialize;
use tables::TableError;
use utoipa::ToSchema;

/// How often it is decided anew after others changed the product at the same time.
const ATTEMPTS: u32 = 5;

fn main() -> ExitCode {
    http_function::open(ChangeProducts::from_env, judge_product, describe)
}

/// What becomes of a product.
#[derive(Deserialize, ToSchema)]
struct ProductVerdict {
    #[serde(deserialize_with = "view::verdict")]
    status: Verdict,
}

async fn judge_product(products: Arc<ChangeProducts>, call: Call) -> Result<Reply, ProductError> {
    let administrator = call.administrator()?;
    let id: ProductId = call.path_parameter("product_id")?;
    let ProductVerdict { status: verdict } = call.json()?;

    for _ in 0..ATTEMPTS {
        let product = products.find(id).await?.ok_or(ProductError::NotFound)?;
        let Some(judged) = product.judged(verdict, call.now())? else {
            return Ok(Reply::ok("商品没有变化", ProductView::of(product, call.zone()))?);
        };
        if products.replace(&judged).await? == Turn::Won {
            tracing::info!(product = %id, by = %administrator.id, ?verdict, "a product was judged");
            return Ok(Reply::ok("商品状态修改成功", ProductView::of(judged, call.zone()))?);
        }
    }
    Err(TableError::ConditionFailed.into())
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::PATCH],
            "/api/root/products/{product_id}",
            "Ban, approve or review a product",
        )
        .for_administrators()
        .path::<ProductId>("product_id", "The product")
        .body::<ProductVerdict>()
        .ok::<ProductView>("The product as it is now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product.")
        .refuses(
            StatusCode::CONFLICT,
            "`withdrawn`: its seller took it off. `changed-meanwhile`: repeat.",
        ),
    );
}
