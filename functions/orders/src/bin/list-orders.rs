//! `GET /api/orders` and `GET /api/orders/sold`: the caller's orders as buyer, or as seller.
//!
//! The indexes bring the ids of one page, read from its nearer end; one batch reads the orders of the page. However many
//! orders the caller has, that is the same number of calls.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use futures::future::try_join_all;
use http_function::{Api, Call, Method, Reply, operation};
use kernel::{OrderId, Page, PageRequest};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::listing::{Filter, Listed, Sort, Stretch};
use orders::order::Party;
use orders::statistics::Account;
use orders::table::{ListOrders, ReadFigures};
use orders::view;
use orders::view::OrderView;

struct Desk {
    orders: ListOrders,
    figures: ReadFigures,
    seal: Seal,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: ListOrders::from_env(&cloud)?,
            figures: ReadFigures::from_env(&cloud)?,
            seal: Seal::from_env(&cloud).await?,
        })
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, list_orders, describe)
}

async fn list_orders(desk: Arc<Desk>, call: Call) -> Result<Reply, OrderError> {
    let account = Account {
        user: call.user()?.id,
        role: if call.path().ends_with("/sold") {
            Party::Seller
        } else {
            Party::Buyer
        },
    };
    let wanted = call.page(10)?;
    let filter = call.query_parameter("status")?.unwrap_or(Filter::ALL);
    let sort = call.query_parameter("sort")?.unwrap_or(Sort::Newest);

    let page = desk.page(account, wanted, filter, sort).await?;

    let mut views = Vec::with_capacity(page.entries.len());
    for order in desk.orders.page_of(&page.entries).await? {
        let particulars = desk.seal.open(order.id, &order.particulars)?;
        views.push(view::order(&order, &particulars, call.zone()));
    }
    Ok(Reply::list(&call, "获取订单列表成功", &page.with_entries(views))?)
}

impl Desk {
    async fn page(
        &self,
        account: Account,
        wanted: PageRequest,
        filter: Filter,
        sort: Sort,
    ) -> Result<Page<OrderId>, OrderError> {
        let known = match Stretch::needs_count(wanted) {
            true => Some(self.count(account, filter).await?),
            false => None,
        };
        let page = |entries, count| Page {
            request: wanted,
            count,
            entries,
        };
        let Some(stretch) = Stretch::of(wanted, sort, known) else {
            return Ok(page(Vec::new(), known.unwrap_or(0)));
        };
        let count = async {
            match known {
                Some(count) => Ok(count),
                None => self.count(account, filter).await,
            }
        };
        let (count, shelves) = tokio::try_join!(count, self.shelves(account, filter, stretch))?;
        let (entries, count) = stretch.cut(shelves, count);
        Ok(page(entries, count))
    }

    async fn count(&self, account: Account, filter: Filter) -> Result<usize, OrderError> {
        Ok(self.figures.of(account).await?.shown(filter.status()))
    }

    async fn shelves(
        &self,
        account: Account,
        filter: Filter,
        stretch: Stretch,
    ) -> Result<Vec<Vec<Listed>>, OrderError> {
        let shelves = filter.shelves().into_iter();
        let reads = shelves.map(|shelf| self.orders.shelf(account, shelf, filter, stretch.sort, stretch.reach()));
        try_join_all(reads).await
    }
}

fn describe(api: &mut Api) {
    for (path, summary) in [
        ("/api/orders", "The orders that you placed"),
        ("/api/orders/sold", "The orders that others placed with you"),
    ] {
        api.add(
            operation([Method::GET], path, summary)
                .for_users()
                .query::<Filter>("status", "Only these; all unless given")
                .query::<Sort>("sort", "Which come first; the newest unless given")
                .paged(10)
                .list::<OrderView>("A page of orders"),
        );
    }
}
