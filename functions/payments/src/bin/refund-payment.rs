//! `POST /api/payment/{order_uuid}/refund`: the buyer of a paid order, or a service, asks its money back, all or a part.
//!
//! The order decides, for it is the order that may be completed or cancelled meanwhile; its stream asks for the refund, and
//! `process-refund` makes it. What becomes of it is shown by the order's `refund_status`.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::orders::RefundDemand;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{BuyerId, Money, OrderId, PaymentId, RefundId, Text};
use payments::error::PaymentError;
use payments::orders::{Named, Orders};
use payments::status::Status;
use payments::table::ReadPayments;
use payments::view::RefundView;
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;

struct Desk {
    payments: ReadPayments,
    orders: Orders,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            payments: ReadPayments::from_env(&cloud)?,
            orders: Orders::new(Services::from_env(&cloud).await?),
        })
    }
}

/// Without an amount: all that is left.
#[derive(Default, Deserialize, ToSchema)]
struct RefundRequest {
    #[serde(default)]
    #[schema(value_type = Option<kernel::schema::Amount>)]
    refund_amount: Option<Money>,
    #[serde(default)]
    refund_reason: Option<Text<0, 500>>,
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, refund_payment, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::POST], "/api/payment/{order_uuid}/refund", "Ask money back")
            .details(
                "The buyer of a paid order, or a service. A part leaves the order paid; with all that is left it is called \
                 off, and its stock goes back on sale. All refunds together never exceed what was paid. The provider makes \
                 the refund later: the order's `refund_status` shows what became of it, and both sides are told.",
            )
            .for_users()
            .for_services()
            .path::<OrderId>("order_uuid", "The order or its payment; an older order's number is understood as well")
            .idempotent()
            .optional_body::<RefundRequest>()
            .created::<RefundView>("The refund that is asked for")
            .refuses(
                StatusCode::BAD_REQUEST,
                "A field is wrong; `refund-exceeds`: more than is left, which `refundable` names.",
            )
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such order or payment of yours.")
            .refuses(
                StatusCode::CONFLICT,
                "`order-not-paid`. `already-released`: the order is completed. `already-refunded`. \
                 `idempotency-key-reused`. `changed-meanwhile`.",
            ),
    );
}

async fn refund_payment(desk: Arc<Desk>, call: Call) -> Result<Reply, PaymentError> {
    // 1. Who wants what back of which order.
    let (caller, buyer_uuid) = match call.service() {
        Ok(service) => (service.to_string(), None),
        Err(_) => {
            let user = call.user()?.id;
            (user.to_string(), Some(BuyerId::from(user)))
        }
    };
    let named: Named = call.path_parameter("order_uuid")?;
    let request: RefundRequest = call.json_or_default()?;
    let amount = request
        .refund_amount
        .map(Money::positive)
        .transpose()
        .map_err(|error| Problem::invalid_field("refund_amount", error))?;

    let key = call.idempotency_key()?;
    let order = order_of(&desk, named, buyer_uuid).await?;

    // 2. One key of one caller names one refund of one order.
    let refund_uuid = match &key {
        Some(key) => RefundId::derived(&[&caller, &order.to_string(), key.as_str()]),
        None => RefundId::random(),
    };
    let fingerprint = key
        .map(|_| call.fingerprint().parse())
        .transpose()
        .map_err(Problem::internal)?;

    // 3. The order says whether so much of its money can go back.
    let demand = RefundDemand {
        refund_uuid,
        buyer_uuid,
        amount,
        reason: request.refund_reason,
        fingerprint,
    };
    let refund = desk.orders.refund(order, &demand).await?;
    Ok(Reply::created("退款申请已提交", RefundView::from(refund))?)
}

/// The order that is meant. A payment that is named has to be the buyer's, and to pay its order.
async fn order_of(desk: &Desk, named: Named, buyer: Option<BuyerId>) -> Result<OrderId, PaymentError> {
    let uuid = match named {
        Named::Uuid(uuid) => uuid,
        Named::Number(number) => {
            let order = desk.orders.numbered(number).await?;
            return order.map(|order| order.order_uuid).ok_or(PaymentError::OrderNotFound);
        }
    };
    match desk.payments.find(PaymentId::from(uuid)).await? {
        None => Ok(OrderId::from(uuid)),
        Some(payment) if buyer.is_some_and(|buyer| buyer.uuid() != payment.user.uuid()) => Err(PaymentError::NotFound),
        Some(payment) if payment.status() != Status::Paid => Err(PaymentError::NotPaid),
        Some(payment) => Ok(payment.order),
    }
}
