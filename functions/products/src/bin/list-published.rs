//! `GET /api/product/publish`: what a seller put up, newest first; the caller himself, if no `user_id` is given.
//!
//! What the market holds back is shown to its seller and to administrators only, and what he deleted to nobody. One read
//! of the index `by-seller`, then one batch with the products of the page.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Caller, Method, Reply, StatusCode, operation};
use kernel::{SellerId, UserId};
use keys::Privilege;
use products::error::ProductError;
use products::product::Status;
use products::search;
use products::table::ReadPublished;
use products::view::{ProductListView, ProductView};

/// Products on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 20;

fn main() -> ExitCode {
    http_function::open(ReadPublished::from_env, list_published, describe)
}

async fn list_published(shelf: Arc<ReadPublished>, call: Call) -> Result<Reply, ProductError> {
    let seller: SellerId = match call.query_parameter::<UserId>("user_id")? {
        Some(user) => user.into(),
        None => call.user()?.id.into(),
    };
    let request = call.page(PAGE_SIZE)?;
    let status: Option<Status> = call.query_parameter("status")?;
    let sees_everything = match call.caller() {
        Caller::User(user) => seller == user.id.into() || user.privilege == Privilege::Administrator,
        Caller::Service(_) | Caller::Anonymous | Caller::Unknown(_) => false,
    };

    let ids = request.cut(search::published(shelf.of(seller).await?, status, sees_everything));
    let products = shelf.find_all(&ids.entries).await?;
    let shown = products
        .into_iter()
        .map(|product| ProductView::of(product, call.zone()))
        .collect();
    Ok(Reply::bare(
        StatusCode::OK,
        ProductListView::of(ids.with_entries(shown), &call),
    )?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/product/publish", "What a seller put up")
            .details("Banned and unreviewed products are shown to their seller and to administrators only.")
            .query::<UserId>(
                "user_id",
                "The seller; the caller himself if it is left out, who has to be logged in then",
            )
            .query::<Status>("status", "0 on sale, 1 banned, 2 sold, 3 unreviewed")
            .paged(PAGE_SIZE)
            .bare::<ProductListView>(StatusCode::OK, "A page of products, newest first")
            .refuses(
                StatusCode::UNAUTHORIZED,
                "`unauthenticated`: neither a seller nor a log-in.",
            )
            .refuses(StatusCode::FORBIDDEN, "`forbidden`: a service has to name the seller."),
    );
}
