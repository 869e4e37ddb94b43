//! `GET|PATCH /api/orders/internal/{order_uuid}`, `.../internal/orders/{order_uuid}`: an order, for services only.
//!
//! PATCH asks for a status. What the state machine allows happens, a status that is reached already is no error, and an
//! order never becomes paid by hand: only a payment that succeeded does that, through its event.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::orders::CancelledBy;
use http_function::{Call, Problem, Reply, StatusCode};
use kernel::{OrderId, Timestamp, Zone};
use orders::error::OrderError;
use orders::order::{CancelReason, Order};
use orders::status::Status;
use orders::table::WriteOrders;
use orders::view;
use serde::Deserialize;
use serde_json::json;

/// Unknown members, amounts and parties among them, are not even read.
#[derive(Deserialize)]
struct Change {
    status: u8,
    #[serde(default)]
    cancel_reason: Option<CancelReason>,
}

fn main() -> ExitCode {
    http_function::open(async |cloud: Cloud| WriteOrders::from_env(&cloud), internal_order)
}

async fn internal_order(orders: Arc<WriteOrders>, call: Call) -> Result<Reply, OrderError> {
    let service = call.service()?;
    let id: OrderId = call.path_parameter("order_uuid")?;
    if !call.changes_something() {
        let order = orders.read().find(id).await?.ok_or(OrderError::NotFound)?;
        return answer(&order, call.zone());
    }

    let change: Change = call.json()?;
    let wanted = Status::ALL
        .into_iter()
        .find(|status| status.number() == change.status)
        .ok_or_else(|| Problem::invalid_field("status", "must be 0, 1, 2 or 3"))?;
    let order = orders
        .change(id, |order| moved(order, wanted, &change, call.now()))
        .await?;
    tracing::info!(%service, order = %id, status = order.status().word(), "an order was moved by a service");
    answer(&order, call.zone())
}

fn moved(order: &Order, wanted: Status, change: &Change, now: Timestamp) -> Result<Option<Order>, OrderError> {
    match wanted {
        _ if wanted == order.status() => Ok(None),
        Status::Completed => order.complete(now),
        Status::Cancelled => {
            let reason = change.cancel_reason.as_deref().unwrap_or_default().to_owned();
            order.cancel(CancelledBy::Service, reason, now)
        }
        Status::PendingPayment | Status::Paid => Err(OrderError::NotByHand {
            id: order.id,
            status: order.status(),
            wanted,
        }),
    }
}

fn answer(order: &Order, zone: Zone) -> Result<Reply, OrderError> {
    let body = json!({"success": true, "data": {"order": view::order_for_services(order, zone)?}});
    Ok(Reply::bare(StatusCode::OK, body)?)
}
