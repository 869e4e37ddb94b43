//! `POST|PUT|PATCH /api/orders/{order_id}/cancel`: the buyer calls off an order, or the seller one that is paid.
//!
//! Changes one order. Everything else follows from the table's stream: stock goes back, a pending payment is closed, money
//! that was paid is refunded, both sides are told.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::orders::CancelledBy;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use orders::delivery::Seal;
use orders::error::OrderError;
use orders::order::OrderRef;
use orders::order::{CancelReason, Party};
use orders::table::WriteOrders;
use orders::view;
use orders::view::OrderView;
use serde::Deserialize;
use utoipa::ToSchema;

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

#[derive(Default, Deserialize, ToSchema)]
struct Cancellation {
    /// Why; shown to the other side.
    #[serde(default)]
    reason: Option<CancelReason>,
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, cancel_order, describe)
}

async fn cancel_order(desk: Arc<Desk>, call: Call) -> Result<Reply, OrderError> {
    let user = call.user()?;
    let named = call.path_parameter("order_id")?;
    let reason = call
        .json_or_default::<Cancellation>()?
        .reason
        .map(CancelReason::into_string)
        .unwrap_or_default();

    let id = desk.orders.read().resolve(named).await?;
    let order = desk
        .orders
        .change(id, |order| {
            let by = match order.party(user.id)? {
                Party::Buyer => CancelledBy::Buyer,
                Party::Seller => CancelledBy::Seller,
            };
            order.cancel(by, reason.clone(), call.now())
        })
        .await?;

    let particulars = desk.seal.open(order.id, &order.particulars)?;
    Ok(Reply::ok("订单已取消", view::order(&order, &particulars, call.zone()))?)
}

fn describe(api: &mut Api) {
    let methods = [Method::POST, Method::PUT, Method::PATCH];
    api.add(
        operation(methods, "/api/orders/{order_id}/cancel", "Call an order off")
            .details(
                "The buyer while it is pending or paid, the seller once it is paid. What was paid is refunded. Calling off again \
                 changes nothing.",
            )
            .for_users()
            .path::<OrderRef>("order_id", "The order")
            .optional_body::<Cancellation>()
            .ok::<OrderView>("The order as it is now")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order of yours.")
            .refuses(
                StatusCode::CONFLICT,
                "`order-not-cancellable` (with `order_status`), `changed-meanwhile`.",
            ),
    );
}
