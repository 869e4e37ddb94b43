//! `GET /api/orders/{order_id}`: an order, for its buyer or seller.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::order::OrderRef;
use orders::table::ReadOrders;
use orders::view;
use orders::view::OrderView;

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
    http_function::open(Desk::from_env, get_order, describe)
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

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/orders/{order_id}", "An order")
            .details("For its buyer and its seller.")
            .for_users()
            .path::<OrderRef>("order_id", "The order")
            .ok::<OrderView>("The order")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order of yours."),
    );
}
