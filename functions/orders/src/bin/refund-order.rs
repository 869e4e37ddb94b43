//! `POST /api/orders/internal/{order_uuid}/refund`: a service, on behalf of a buyer or its own, asks money of an order back.
//!
//! The order decides and notes it in one conditional write; `RefundRequested` comes from the table's stream, and so does
//! `OrderCancelled` when nothing is left of the order's money.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::orders::{CancelledBy, RefundDemand};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{Money, OrderId, Text};
use orders::error::OrderError;
use orders::order::RefundWish;
use orders::table::WriteOrders;
use orders::view::{self, RefundFound};

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| WriteOrders::from_env(&cloud),
        refund_order,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/orders/internal/{order_uuid}/refund",
            "Money of an order is asked back",
        )
        .details("On behalf of its buyer, or of the service itself. Asking again under the same name answers what became of it.")
        .for_services()
        .path::<OrderId>("order_uuid", "The order")
        .body::<RefundDemand>()
        .bare::<RefundFound>(StatusCode::OK, "The refund as the order has it")
        .refuses(
            StatusCode::BAD_REQUEST,
            "A field is missing or wrong; `refund-exceeds`: more than is left, which `refundable` names.",
        )
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order, or another's.")
        .refuses(
            StatusCode::CONFLICT,
            "`order-not-paid`, `already-released`, `already-refunded`, `idempotency-key-reused`, `changed-meanwhile`.",
        ),
    );
}

async fn refund_order(orders: Arc<WriteOrders>, call: Call) -> Result<Reply, OrderError> {
    let service = call.service()?;
    let id: OrderId = call.path_parameter("order_uuid")?;
    let demand: RefundDemand = call.json()?;
    let amount = demand
        .amount
        .map(Money::positive)
        .transpose()
        .map_err(|error| Problem::invalid_field("amount", error))?;
    let wish = RefundWish {
        refund: demand.refund_uuid,
        by: match demand.buyer_uuid {
            Some(_) => CancelledBy::Buyer,
            None => CancelledBy::Service,
        },
        amount,
        words: demand.reason.map(Text::into_string).unwrap_or_default(),
        fingerprint: demand.fingerprint.map(Text::into_string),
    };

    let order = orders
        .change(id, |order| match demand.buyer_uuid {
            // Somebody else's order does not exist for him.
            Some(buyer) if buyer != order.buyer => Err(OrderError::NotFound),
            _ => order.refund(&wish, call.now()),
        })
        .await?;

    tracing::info!(%service, order = %id, refund = %wish.refund, "money of an order is asked back");
    Ok(Reply::bare(
        StatusCode::OK,
        view::refund_for_services(&order, wish.refund)?,
    )?)
}
