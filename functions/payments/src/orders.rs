//! OrderService, as PaymentService needs it: what an order costs, and whether it waits for payment.

use contracts::orders::OrderForServices;
use http_function::StatusCode;
use kernel::{Money, OrderId, Timestamp, UserId};
use keys::ServiceName;
use serde::Deserialize;
use service_client::Services;

use crate::error::PaymentError;

/// Number of the status in which an order waits for payment.
const PENDING_PAYMENT: u8 = 0;

/// Reads orders.
#[derive(Debug, Clone)]
pub struct Orders {
    services: Services,
}

#[derive(Deserialize)]
struct Found {
    data: Member,
}

#[derive(Deserialize)]
struct Member {
    order: OrderForServices,
}

impl Orders {
    /// Through `services`.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }

    /// The order, if there is one.
    ///
    /// # Errors
    /// [`PaymentError::Service`].
    pub async fn find(&self, id: OrderId) -> Result<Option<OrderForServices>, PaymentError> {
        let answer = self
            .services
            .get(ServiceName::OrderService, &format!("/api/orders/internal/{id}"))
            .await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.json::<Found>()?.data.order)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.not_understood("an order could not be read").into()),
        }
    }
}

/// The order, if `user` may pay `amount` for it now.
///
/// # Errors
/// [`PaymentError::OrderNotFound`] for everybody but its buyer, [`PaymentError::OrderNotPayable`],
/// [`PaymentError::AmountMismatch`].
pub fn payable(
    order: Option<OrderForServices>,
    user: UserId,
    amount: Money,
    now: Timestamp,
) -> Result<OrderForServices, PaymentError> {
    let order = order
        .filter(|order| order.buyer_uuid.uuid() == user.uuid())
        .ok_or(PaymentError::OrderNotFound)?;
    if order.status != PENDING_PAYMENT || now >= order.payable_until {
        return Err(PaymentError::OrderNotPayable(order.order_uuid));
    }
    if order.total_amount != amount {
        return Err(PaymentError::AmountMismatch {
            asked: order.total_amount,
        });
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use kernel::{BuyerId, SellerId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn only_its_buyer_pays_an_order_and_only_its_price_and_in_time() {
        let buyer = UserId::random();
        let price = Money::from_fen(1990).unwrap();
        let order = OrderForServices {
            order_uuid: OrderId::random(),
            buyer_uuid: BuyerId::from(buyer),
            seller_uuid: SellerId::random(),
            status: PENDING_PAYMENT,
            total_amount: price,
            payable_until: NOW.plus(std::time::Duration::from_millis(1)),
            title: "desk lamp".into(),
        };
        let late = order.payable_until;
        assert!(payable(Some(order.clone()), buyer, price, NOW).is_ok());
        let refusal = |order, user, amount, now| payable(order, user, amount, now).unwrap_err();
        assert!(matches!(refusal(None, buyer, price, NOW), PaymentError::OrderNotFound));
        let seller = UserId::from(order.seller_uuid);
        assert!(matches!(
            refusal(Some(order.clone()), seller, price, NOW),
            PaymentError::OrderNotFound
        ));
        assert!(matches!(
            refusal(Some(order.clone()), buyer, price, late),
            PaymentError::OrderNotPayable(_)
        ));
        let cheap = Money::from_fen(1).unwrap();
        assert!(matches!(
            refusal(Some(order.clone()), buyer, cheap, NOW),
            PaymentError::AmountMismatch { .. }
        ));
        for status in 1..=3 {
            let ended = OrderForServices {
                status,
                ..order.clone()
            };
            assert!(matches!(
                refusal(Some(ended), buyer, price, NOW),
                PaymentError::OrderNotPayable(_)
            ));
        }
    }
}
