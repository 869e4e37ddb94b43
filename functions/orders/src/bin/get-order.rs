//! `GET /api/orders/{order_id}`: an order, for its buyer or seller.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Reply};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::table::ReadOrders;
use orders::view;

struct Desk {
    orders: ReadOrders,
    seal: Seal,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: ReadOrders::from_env(&cloud)?,
            seal: Seal::from_env(&cloud).await?,
        })
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, get_order)
}

async fn get_order(desk: Arc<Desk>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let (order, _) = desk.orders.find_for(call.path_parameter("order_id")?, user.id).await?;

    let particulars = desk.seal.open(order.id, &order.particulars)?;
    Ok(Reply::ok(
        "获取订单详情成功",
        view::order(&order, &particulars, call.zone()),
    )?)
}
