//! OrderService, as far as it tells what an event is about.

use contracts::orders::OrderForServices;
use http_function::StatusCode;
use kernel::OrderId;
use keys::ServiceName;
use serde::Deserialize;
use service_client::{CallError, Services};

#[derive(Deserialize)]
struct Found {
    data: Member,
}

#[derive(Deserialize)]
struct Member {
    order: OrderForServices,
}

/// The order, if there is one.
///
/// # Errors
/// [`CallError`] when OrderService does not answer, or outside of its contract.
pub async fn find(services: &Services, order: OrderId) -> Result<Option<OrderForServices>, CallError> {
    let path = format!("/api/orders/internal/{order}");
    let answer = services.get(ServiceName::OrderService, &path).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.json::<Found>()?.data.order)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(answer.not_understood("expected an order, or that there is none")),
    }
}
