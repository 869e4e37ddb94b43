//! `GET /api/product` and `GET /api/products`: what is for sale, searched and sorted; or, with `ids`, the products named.
//!
//! A search reads the index `by-shelf` (all shelves side by side), which holds just what searching and sorting need, and
//! then the products of one page in one batch. What the market holds back is found by administrators only.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use http_function::{Call, Problem, Reply, StatusCode};
use kernel::{Page, PageRequest, ProductId};
use products::error::ProductError;
use products::product::{Status, Title};
use products::search::Search;
use products::table::ReadShelf;
use products::view::{self, ProductView};

/// Products on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 20;
/// Products that can be named at once.
const MAX_IDS: usize = 100;

fn main() -> ExitCode {
    http_function::open(ReadShelf::from_env, list_products)
}

async fn list_products(shelf: Arc<ReadShelf>, call: Call) -> Result<Reply, ProductError> {
    let page = match call.query_parameter::<Ids>("ids")? {
        Some(Ids(ids)) => {
            let request = PageRequest::parse(None, None, PageRequest::MAX_SIZE)
                .map_err(|error| Problem::invalid_field("ids", error))?;
            request.cut(shelf.find_all(&ids).await?)
        }
        None => search(&shelf, &call).await?,
    };
    let shown = page
        .entries
        .iter()
        .map(|product| ProductView::of(product.clone(), call.zone()))
        .collect();
    let neighbour = |number: u32| call.url_of_page(number);
    let body = view::list(
        &page.with_entries(shown),
        page.next().map(neighbour),
        page.previous().map(neighbour),
    );
    Ok(Reply::bare(StatusCode::OK, body)?)
}

async fn search(shelf: &ReadShelf, call: &Call) -> Result<Page<products::product::Product>, ProductError> {
    let request = call.page(PAGE_SIZE)?;
    let search = Search {
        title: call.query_parameter::<Title>("title")?.map(Title::into_string),
        min_price: call.query_parameter("min_price")?,
        max_price: call.query_parameter("max_price")?,
        status: call.query_parameter("status")?.unwrap_or(Status::OnSale),
        sort: call.query_parameter("sort_by")?.unwrap_or_default(),
    };
    let held_back = matches!(search.status, Status::Banned | Status::Unreviewed);
    let entries = if held_back && call.administrator().is_err() {
        Vec::new()
    } else {
        shelf.entries().await?
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
