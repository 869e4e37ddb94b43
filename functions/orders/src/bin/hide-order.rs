//! `DELETE /api/orders/{order_id}`: the buyer takes an order that has ended off his lists.
//!
//! Nothing is lost: both sides still find it by its id, the seller in his lists as well, and it counts in the statistics.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use orders::error::OrderError;
use orders::order::OrderRef;
use orders::order::Party;
use orders::table::WriteOrders;

fn main() -> ExitCode {
    http_function::open(async |cloud: Cloud| WriteOrders::from_env(&cloud), hide_order, describe)
}

async fn hide_order(orders: Arc<WriteOrders>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let id = orders.read().resolve(call.path_parameter("order_id")?).await?;

    orders
        .change(id, |order| match order.party(user.id)? {
            Party::Buyer => order.hide(call.now()),
            Party::Seller => Err(OrderError::OnlyTheBuyerHides),
        })
        .await?;

    Ok(Reply::ok("订单已删除", ())?)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::DELETE], "/api/orders/{order_id}", "Take an order off your lists")
            .details(
                "For its buyer, once it is completed or cancelled. Nothing is lost: it is still found by its id, its seller \
                 still sees it, and it still counts.",
            )
            .for_users()
            .path::<OrderRef>("order_id", "The order")
            .ok::<()>("It is off the lists; `data` is null")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order of yours.")
            .refuses(
                StatusCode::CONFLICT,
                "`order-not-deletable` (with `order_status`): it is under way; `changed-meanwhile`.",
            ),
    );
}
