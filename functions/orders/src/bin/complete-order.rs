//! `POST|PUT|PATCH /api/orders/{order_id}/complete`: the buyer confirms that he received what he paid for.
//!
//! Arrives without a body. The money that was held becomes the seller's; the table's stream says so.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::order::OrderRef;
use orders::order::Party;
use orders::table::WriteOrders;
use orders::view;
use orders::view::OrderView;

struct Desk {
    orders: WriteOrders,
    seal: Seal,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: WriteOrders::from_env(&cloud)?,
            seal: Seal::from_env(&cloud).await?,
        })
    }
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, complete_order, describe)
}

async fn complete_order(desk: Arc<Desk>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let id = desk.orders.read().resolve(call.path_parameter("order_id")?).await?;

    let order = desk
        .orders
        .change(id, |order| match order.party(user.id)? {
            Party::Buyer => order.complete(call.now()),
            Party::Seller => Err(OrderError::OnlyTheBuyerConfirms),
        })
        .await?;

    let particulars = desk.seal.open(order.id, &order.particulars)?;
    Ok(Reply::ok("订单已完成", view::order(&order, &particulars, call.zone()))?)
}

fn describe(api: &mut Api) {
    let methods = [Method::POST, Method::PUT, Method::PATCH];
    api.add(
        operation(
            methods,
            "/api/orders/{order_id}/complete",
            "Confirm the receipt of a paid order",
        )
        .details("For its buyer. Takes no body. The money that was held becomes the seller's.")
        .for_users()
        .path::<OrderRef>("order_id", "The order")
        .ok::<OrderView>("The order as it is now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order of yours.")
        .refuses(
            StatusCode::CONFLICT,
            "`order-not-completable` (with `order_status`), `changed-meanwhile`.",
        ),
    );
}
