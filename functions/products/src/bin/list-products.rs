//! `GET /api/product` and `GET /api/products`: what is for sale, searched and sorted; or, with `ids`, the products named.
//!
//! A search reads the shelves of one status in the index `by-shelf` (all of them side by side), which holds just what
//! searching and sorting need, and then the products of one page in one batch: two round trips, whatever was sold before.
//! What the market holds back is found by administrators only.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{Page, PageRequest, ProductId};
use products::error::ProductError;
use products::product::{Product, Status, Title};
use products::schema::ProductIds;
use products::search::{Search, Sort};
use products::table::ReadShelf;
use products::view::{ProductListView, ProductView};

/// Products on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 20;
/// Products that can be named at once.
const MAX_IDS: usize = 100;

fn main() -> ExitCode {
    http_function::open(ReadShelf::from_env, list_products, describe)
}

async fn list_products(shelf: Arc<ReadShelf>, call: Call) -> Result<Reply, ProductError> {
    // All of the query is read, also where `ids` alone decides: what can not be meant is refused.
    let (ids, request) = (call.query_parameter::<Ids>("ids")?, call.page(PAGE_SIZE)?);
    let search = Search {
        title: call.query_parameter::<Title>("title")?.map(Title::into_string),
        min_price: call.query_parameter("min_price")?,
        max_price: call.query_parameter("max_price")?,
        status: call.query_parameter("status")?.unwrap_or(Status::OnSale),
        sort: call.query_parameter("sort_by")?.unwrap_or_default(),
    };
    let page = match ids {
        Some(Ids(ids)) => {
            let request = PageRequest::parse(None, None, PageRequest::MAX_SIZE)
                .map_err(|error| Problem::invalid_field("ids", error))?;
            request.cut(shelf.find_all(&ids).await?)
        }
        None => found(&shelf, &call, request, &search).await?,
    };
    let shown = page
        .entries
        .iter()
        .map(|product| ProductView::of(product.clone(), call.zone()))
        .collect();
    Ok(Reply::bare(
        StatusCode::OK,
        ProductListView::of(page.with_entries(shown), &call),
    )?)
}

async fn found(
    shelf: &ReadShelf,
    call: &Call,
    request: PageRequest,
    search: &Search,
) -> Result<Page<Product>, ProductError> {
    let entries = if search.status.is_held_back() && call.administrator().is_err() {
        Vec::new()
    } else {
        shelf.entries(search.status).await?
    };
    let ids = request.cut(search.among(entries));
    Ok(ids.with_entries(shelf.find_all(&ids.entries).await?))
}

/// Products named in a query: UUIDs with commas between them, each counted once.
struct Ids(Vec<ProductId>);

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ids = text
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<ProductId>, _>>()
            .map_err(|e| e.to_string())?;
        ids.sort();
        ids.dedup();
        if ids.len() > MAX_IDS {
            Err(format!("must name at most {MAX_IDS} products"))
        } else {
            Ok(Self(ids))
        }
    }
}

fn describe(api: &mut Api) {
    for path in ["/api/product", "/api/products"] {
        api.add(
            operation([Method::GET], path, "What is for sale, searched and sorted")
                .details("With `ids`, the products named, of any status, in one answer; everything else is not read then.")
                .query::<Title>("title", "The title contains this, in large or small letters")
                .query::<kernel::schema::AmountBound>("min_price", "It costs at least this")
                .query::<kernel::schema::AmountBound>("max_price", "It costs at most this")
                .query::<Status>("status", "0 on sale (default), 1 banned, 2 sold, 3 unreviewed; 1 and 3 find something for administrators only")
                .query::<Sort>("sort_by", "0 newest (default), 1 most visited, 2 cheapest, 3 most expensive first")
                .query::<ProductIds>("ids", "At most 100 products, with commas between them")
                .paged(PAGE_SIZE)
                .bare::<ProductListView>(StatusCode::OK, "A page of products"),
        );
    }
}
