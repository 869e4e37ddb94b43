//! `GET /api/orders/stats`: how many orders the caller placed, by status, and what they cost him.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Call, Reply, StatusCode};
use orders::error::OrderError;
use orders::order::Party;
use orders::statistics::Statistics;
use orders::table::ListOrders;

fn main() -> ExitCode {
    http_function::open(async |cloud: Cloud| ListOrders::from_env(&cloud), order_statistics)
}

async fn order_statistics(orders: Arc<ListOrders>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let placed = orders.of(user.id, Party::Buyer).await?;

    Ok(Reply::bare(StatusCode::OK, Statistics::of(&placed, call.now()).view())?)
}
