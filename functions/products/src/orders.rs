//! OrderService, as the end of a lease and the beginning of a review ask it.

use contracts::orders::OrderForServices;
use http_function::StatusCode;
use kernel::{BuyerId, OrderId};
use keys::ServiceName;
use serde::Deserialize;
use service_client::{CallError, Services};

use crate::stock::OrderStanding;

/// The status number of a completed order.
const COMPLETED: u8 = 2;
/// The status number of a cancelled order.
const CANCELLED: u8 = 3;

#[derive(Deserialize)]
struct Answered {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    order: OrderForServices,
}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: String,
}

/// What a review has to know of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// Who bought.
    pub buyer: BuyerId,
    /// Whether he has what he bought.
    pub is_completed: bool,
}

/// Where the order stands by OrderService's word.
///
/// # Errors
/// [`CallError`] when it does not answer, or not in terms of its contract.
pub async fn standing(services: &Services, order: OrderId) -> Result<OrderStanding, CallError> {
    Ok(match find(services, order).await? {
        None => OrderStanding::Unknown,
        Some(order) if order.status == CANCELLED => OrderStanding::Cancelled,
        Some(_) => OrderStanding::Alive,
    })
}

/// Who bought with the order, and whether it is completed; `None`: there is no such order.
///
/// # Errors
/// [`CallError`] when OrderService does not answer, or not in terms of its contract.
pub async fn deal(services: &Services, order: OrderId) -> Result<Option<Deal>, CallError> {
    Ok(find(services, order).await?.map(|order| Deal {
        buyer: order.buyer_uuid,
        is_completed: order.status == COMPLETED,
    }))
}

async fn find(services: &Services, order: OrderId) -> Result<Option<OrderForServices>, CallError> {
    let answer = services
        .get(ServiceName::OrderService, &format!("/api/orders/internal/{order}"))
        .await?;
    match answer.status {
        // A gateway that has lost the route answers 404 as well. Only OrderService's own word frees anything.
        StatusCode::NOT_FOUND => match answer.json::<Refused>()?.error.kind.as_str() {
            "not-found" => Ok(None),
            _ => Err(answer.not_understood("expected that there is no such order")),
        },
        StatusCode::OK => Ok(Some(answer.json::<Answered>()?.data.order)),
        _ => Err(answer.not_understood("expected the order, or that there is none")),
    }
}
