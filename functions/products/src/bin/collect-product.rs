//! `GET`, `POST` and `DELETE /api/product/{product_id}/collection`: whether the caller keeps an eye on a product, and that
//! he does from now on, or does no more. Whoever is not logged in keeps an eye on nothing.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Caller, Method, Reply, StatusCode, operation};
use kernel::ProductId;
use products::error::ProductError;
use products::table::Collections;
use products::view::CollectionView;

fn main() -> ExitCode {
    http_function::open(Collections::from_env, collect_product, describe)
}

async fn collect_product(collections: Arc<Collections>, call: Call) -> Result<Reply, ProductError> {
    let product: ProductId = call.path_parameter("product_id")?;
    if call.method() == Method::GET && *call.caller() == Caller::Anonymous {
        return Ok(Reply::bare(StatusCode::OK, CollectionView { is_collected: false })?);
    }
    let user = call.user()?.id;
    let is_collected = match *call.method() {
        Method::POST => {
            collections.product(product).await?.ok_or(ProductError::NotFound)?;
            collections.add(user, product, call.now()).await?;
            true
        }
        Method::DELETE => {
            collections.remove(user, product).await?;
            false
        }
        _ => collections.has(user, product).await?,
    };
    Ok(Reply::bare(StatusCode::OK, CollectionView { is_collected })?)
}

fn describe(api: &mut Api) {
    const PATH: &str = "/api/product/{product_id}/collection";
    api.add(
        operation([Method::GET], PATH, "Whether the caller keeps an eye on a product")
            .path::<ProductId>("product_id", "The product")
            .bare::<CollectionView>(StatusCode::OK, "Whether he does; nobody, if nobody is logged in")
            .refuses(StatusCode::FORBIDDEN, "`forbidden`: services keep an eye on nothing."),
    );
    api.add(
        operation([Method::POST], PATH, "Keep an eye on a product")
            .for_users()
            .path::<ProductId>("product_id", "The product")
            .bare::<CollectionView>(StatusCode::OK, "He does now")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such product."),
    );
    api.add(
        operation([Method::DELETE], PATH, "Keep an eye on a product no more")
            .for_users()
            .path::<ProductId>("product_id", "The product")
            .bare::<CollectionView>(StatusCode::OK, "He does not now"),
    );
}
