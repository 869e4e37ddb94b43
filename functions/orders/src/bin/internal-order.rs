//! `GET|PATCH /api/orders/internal/{order_uuid}`, `.../internal/orders/{order_uuid}`: an order, for services only.
//!
//! PATCH asks for a status. What the state machine allows happens, a status that is reached already is no error, and an
//! order never becomes paid by hand: only a payment that succeeded does that, through its event.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::orders::CancelledBy;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{Timestamp, Zone};
use orders::error::OrderError;
use orders::order::{CancelReason, Order, OrderRef};
use orders::status::Status;
use orders::table::WriteOrders;
use orders::view;
use orders::view::ServiceAnswer;
use serde::Deserialize;
use utoipa::ToSchema;

/// Unknown members, amounts and parties among them, are not even read.
#[derive(Deserialize, ToSchema)]
struct OrderMove {
    /// The status wanted: 0 pending_payment, 1 paid, 2 completed, 3 cancelled.
    #[schema(minimum = 0, maximum = 3)]
    status: u8,
    #[serde(default)]
    cancel_reason: Option<CancelReason>,
}

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| WriteOrders::from_env(&cloud),
        internal_order,
        describe,
    )
}

async fn internal_order(orders: Arc<WriteOrders>, call: Call) -> Result<Reply, OrderError> {
    let service = call.service()?;
    let named = call.path_parameter("order_uuid")?;
    if !call.changes_something() {
        let id = orders.read().resolve(named).await?;
        let order = orders.read().find(id).await?.ok_or(OrderError::NotFound)?;
        return answer(&order, call.zone());
    }

    let change: OrderMove = call.json()?;
    let wanted = Status::ALL
        .into_iter()
        .find(|status| status.number() == change.status)
        .ok_or_else(|| Problem::invalid_field("status", "must be 0, 1, 2 or 3"))?;
    let id = orders.read().resolve(named).await?;
    let order = orders
        .change(id, |order| moved(order, wanted, &change, call.now()))
        .await?;
    tracing::info!(%service, order = %id, status = order.status().word(), "an order was moved by a service");
    answer(&order, call.zone())
}

fn moved(order: &Order, wanted: Status, change: &OrderMove, now: Timestamp) -> Result<Option<Order>, OrderError> {
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
    Ok(Reply::bare(StatusCode::OK, view::for_services(order, zone))?)
}

fn describe(api: &mut Api) {
    for path in [
        "/api/orders/internal/{order_uuid}",
        "/api/orders/internal/orders/{order_uuid}",
    ] {
        api.add(
            operation([Method::GET], path, "An order, for services")
                .for_services()
                .path::<OrderRef>("order_uuid", "The order")
                .bare::<ServiceAnswer>(StatusCode::OK, "The order, without personal data")
                .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order."),
        );
    }
    api.add(
        operation(
            [Method::PATCH],
            "/api/orders/internal/orders/{order_uuid}",
            "Move an order, for services",
        )
        .details(
            "What the state machine allows happens; a status that is reached already is no error. No order becomes paid this \
             way: only a payment that succeeded does that.",
        )
        .for_services()
        .path::<OrderRef>("order_uuid", "The order")
        .body::<OrderMove>()
        .bare::<ServiceAnswer>(StatusCode::OK, "The order as it is now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order.")
        .refuses(
            StatusCode::CONFLICT,
            "`illegal-transition`, `order-not-completable`, `order-not-cancellable` (with `order_status`), \
             `changed-meanwhile`.",
        ),
    );
}
