//! OrderService, as the end of a lease asks it.

use contracts::orders::OrderForServices;
use http_function::StatusCode;
use kernel::OrderId;
use keys::ServiceName;
use serde::Deserialize;
use service_client::{CallError, Services};

use crate::stock::OrderStanding;

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

/// Where the order stands by OrderService's word.
///
/// # Errors
/// [`CallError`] when it does not answer, or not in terms of its contract.
pub async fn standing(services: &Services, order: OrderId) -> Result<OrderStanding, CallError> {
    let answer = services
        .get(ServiceName::OrderService, &format!("/api/orders/internal/{order}"))
        .await?;
    match answer.status {
        // A gateway that has lost the route answers 404 as well. Only OrderService's own word frees anything.
        StatusCode::NOT_FOUND => match answer.json::<Refused>()?.error.kind.as_str() {
            "not-found" => Ok(OrderStanding::Unknown),
            _ => Err(answer.not_understood("expected that there is no such order")),
        },
        StatusCode::OK => {
            let Answered { data: Data { order } } = answer.json()?;
            Ok(if order.status == CANCELLED {
                OrderStanding::Cancelled
            } else {
                OrderStanding::Alive
            })
        }
        _ => Err(answer.not_understood("expected the order, or that there is none")),
    }
}
