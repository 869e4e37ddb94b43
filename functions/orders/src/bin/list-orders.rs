//! `GET /api/orders` and `GET /api/orders/sold`: the caller's orders as buyer, or as seller.
//!
//! One read of the index brings what sorting and filtering need; then one batch reads the orders of the page.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Reply};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::order::Party;
use orders::status::Status;
use orders::table::{ListOrders, ListedOrder};
use orders::view;

struct Desk {
    orders: ListOrders,
    seal: Seal,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: ListOrders::from_env(&cloud)?,
            seal: Seal::from_env(&cloud).await?,
        })
    }
}

/// `status`: one status, or `all`.
#[derive(Clone, Copy)]
struct Filter(Option<Status>);

impl FromStr for Filter {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match Status::ALL.into_iter().find(|status| status.word() == word) {
            None if word != "all" => Err("must be pending_payment, paid, completed, cancelled or all"),
            status => Ok(Self(status)),
        }
    }
}

/// `sort`: which come first.
#[derive(Clone, Copy)]
enum Sort {
    Newest,
    Oldest,
    Dearest,
    Cheapest,
}

impl FromStr for Sort {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "created_desc" => Ok(Self::Newest),
            "created_asc" => Ok(Self::Oldest),
            "amount_desc" => Ok(Self::Dearest),
            "amount_asc" => Ok(Self::Cheapest),
            _ => Err("must be created_desc, created_asc, amount_desc or amount_asc"),
        }
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, list_orders)
}

async fn list_orders(desk: Arc<Desk>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let party = if call.path().ends_with("/sold") {
        Party::Seller
    } else {
        Party::Buyer
    };
    let wanted = call.page(10)?;
    let filter = call.query_parameter("status")?.unwrap_or(Filter(None));
    let sort = call.query_parameter("sort")?.unwrap_or(Sort::Newest);

    let mut listed = desk.orders.of(user.id, party).await?;
    listed.retain(|order| filter.0.is_none_or(|status| order.status == status));
    arrange(&mut listed, sort);
    let page = wanted.cut(listed);

    let ids: Vec<_> = page.entries.iter().map(|order| order.id).collect();
    let mut views = Vec::with_capacity(ids.len());
    for order in desk.orders.page_of(&ids).await? {
        let particulars = desk.seal.open(order.id, &order.particulars)?;
        views.push(view::order(&order, &particulars, call.zone()));
    }
    Ok(Reply::list(&call, "获取订单列表成功", &page.with_entries(views))?)
}

/// The index is newest first already; amounts that are equal stay newest first.
fn arrange(listed: &mut [ListedOrder], sort: Sort) {
    match sort {
        Sort::Newest => {}
        Sort::Oldest => listed.reverse(),
        Sort::Dearest => listed.sort_by_key(|order| std::cmp::Reverse(order.total)),
        Sort::Cheapest => listed.sort_by_key(|order| order.total),
    }
}
