//! The JSON that leaves OrderService, the numbers that clients know for statuses and methods included.

use contracts::orders::{OrderForServices, RefundForServices, RefundStatus};
use kernel::{RefundId, Timestamp, Zone};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::delivery::Particulars;
use crate::error::OrderError;
use crate::order::{Order, RefundOutcome, State};

/// An order, for its buyer or seller.
#[must_use]
pub fn order(order: &Order, particulars: &Particulars, zone: Zone) -> Value {
    let show = |at: Timestamp| zone.show(at);
    let paid = order.paid();
    let (expires_at, cancel_reason) = match &order.state {
        State::PendingPayment { expires_at } => (Some(show(*expires_at)), None),
        State::Cancelled { reason, .. } => (None, Some(reason)),
        State::Paid { .. } | State::Completed { .. } => (None, None),
    };
    let lines: Vec<Value> = order
        .lines
        .iter()
        .map(|line| {
            json!({
                "product_id": line.product_uuid,
                "product_uuid": line.product_uuid,
                "product_name": line.title,
                "product_image": line.image,
                "price": line.price,
                "quantity": line.quantity,
            })
        })
        .collect();
    json!({
        "order_id": order.id,
        "order_uuid": order.id,
        "status": order.status().number(),
        "created_at": show(order.placed_at),
        "updated_at": show(order.updated_at),
        "payment_method": paid.map(|paid| paid.method).or(order.intended_method).map(|method| method.number()),
        "payment_time": paid.map(|paid| show(paid.at)),
        "buyer_id": order.buyer,
        "buyer_uuid": order.buyer,
        "seller_id": order.seller,
        "seller_uuid": order.seller,
        "total_amount": order.total,
        "remark": particulars.remark.as_deref().unwrap_or_default(),
        "cancel_reason": cancel_reason,
        "refund_status": order.refund_outcome().map(refund_status),
        "shipping_name": particulars.shipping_name,
        "shipping_phone": particulars.shipping_phone,
        "shipping_address": particulars.shipping_address,
        "shipping_postal_code": particulars.shipping_postal_code.as_deref().unwrap_or_default(),
        "expires_at": expires_at,
        "products": lines,
    })
}

/// The same for a service, with what services compute with. It holds no personal data.
///
/// # Errors
/// [`OrderError`] when it can not be written as JSON.
pub fn order_for_services(order: &Order, zone: Zone) -> Result<Value, OrderError> {
    let payable_until = match order.state {
        State::PendingPayment { expires_at } => expires_at,
        _ => order.updated_at,
    };
    let core = OrderForServices {
        order_uuid: order.id,
        buyer_uuid: order.buyer,
        seller_uuid: order.seller,
        status: order.status().number(),
        total_amount: order.total,
        payable_until,
        title: order.summary().title,
    };
    let mut view = serde_json::to_value(core).map_err(http_function::Problem::internal)?;
    let lines: Vec<Value> = order
        .reserved()
        .iter()
        .map(|line| json!({"product_uuid": line.product_uuid, "quantity": line.quantity}))
        .collect();
    view["order_id"] = json!(order.id);
    view["buyer_id"] = json!(order.buyer);
    view["seller_id"] = json!(order.seller);
    view["created_at"] = json!(zone.show(order.placed_at));
    view["payment_uuid"] = json!(order.paid().map(|paid| paid.payment_uuid));
    view["refund_status"] = json!(order.refund_outcome().map(refund_status));
    view["products"] = json!(lines);
    Ok(view)
}

fn refund_status(outcome: RefundOutcome) -> RefundStatus {
    match outcome {
        RefundOutcome::Pending => RefundStatus::Pending,
        RefundOutcome::Succeeded => RefundStatus::Succeeded,
        RefundOutcome::NeedsAttention => RefundStatus::NeedsAttention,
    }
}

/// A refund of an order, for a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundFound {
    success: bool,
    data: RefundOfOrder,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefundOfOrder {
    refund: RefundForServices,
}

/// The refund `refund` of an order that has it, for a service.
///
/// # Errors
/// [`OrderError::NotFound`] when it has none of that name.
pub fn refund_for_services(order: &Order, refund: RefundId) -> Result<RefundFound, OrderError> {
    let refund = order.refund_named(refund).ok_or(OrderError::NotFound)?;
    Ok(RefundFound {
        success: true,
        data: RefundOfOrder {
            refund: RefundForServices {
                refund_uuid: refund.refund_uuid,
                order_uuid: order.id,
                amount: refund.amount,
                refund_status: refund_status(refund.outcome),
            },
        },
    })
}
