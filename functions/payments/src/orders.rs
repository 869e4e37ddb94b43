//! OrderService, as PaymentService needs it: what an order costs, whether it waits for payment, and what it gives back.

use std::str::FromStr;

use contracts::orders::{OrderForServices, RefundDemand, RefundForServices, RefundRefusal};
use http_function::StatusCode;
use kernel::{Money, OrderId, Timestamp, UserId};
use keys::ServiceName;
use serde::Deserialize;
use service_client::Services;
use uuid::Uuid;

use crate::error::PaymentError;

/// Number of the status in which an order waits for payment.
const PENDING_PAYMENT: u8 = 0;

/// Reads orders and asks their money back.
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

#[derive(Deserialize)]
struct Refunded {
    data: RefundMember,
}

#[derive(Deserialize)]
struct RefundMember {
    refund: RefundForServices,
}

/// A refusal, as far as it says why.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalKind,
    #[serde(default)]
    refundable: Option<Money>,
}

#[derive(Deserialize)]
struct RefusalKind {
    #[serde(rename = "type")]
    kind: RefundRefusal,
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
        self.read(&format!("/api/orders/internal/{id}")).await
    }

    /// The order that has the number `number` from before orders had UUIDs, if there is one.
    ///
    /// # Errors
    /// [`PaymentError::Service`].
    pub async fn numbered(&self, number: u64) -> Result<Option<OrderForServices>, PaymentError> {
        self.read(&format!("/api/orders/internal/{number}")).await
    }

    async fn read(&self, path: &str) -> Result<Option<OrderForServices>, PaymentError> {
        let answer = self.services.get(ServiceName::OrderService, path).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.json::<Found>()?.data.order)),
            // What OrderService does not take for the name of an order is the name of none.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(None),
            _ => Err(answer.not_understood("an order could not be read").into()),
        }
    }

    /// Has the order give money back. It decides, and its stream asks for the refund.
    ///
    /// # Errors
    /// The order's refusals, and [`PaymentError::Service`]: whether it was asked back is not known.
    pub async fn refund(&self, order: OrderId, demand: &RefundDemand) -> Result<RefundForServices, PaymentError> {
        let path = format!("/api/orders/internal/{order}/refund");
        let answer = self
            .services
            .post_idempotent(ServiceName::OrderService, &path, demand)
            .await?;
        match answer.status {
            StatusCode::OK => Ok(answer.json::<Refunded>()?.data.refund),
            StatusCode::NOT_FOUND => Err(PaymentError::OrderNotFound),
            _ => {
                let refusal: Refusal = answer.json()?;
                Err(match refusal.error.kind {
                    RefundRefusal::OrderNotPaid => PaymentError::NotPaid,
                    RefundRefusal::AlreadyReleased => PaymentError::AlreadyReleased,
                    RefundRefusal::AlreadyRefunded => PaymentError::AlreadyRefunded,
                    RefundRefusal::RefundExceeds => PaymentError::RefundExceeds {
                        left: refusal.refundable.unwrap_or_default(),
                    },
                    RefundRefusal::IdempotencyKeyReused => PaymentError::KeyReused,
                    RefundRefusal::ChangedMeanwhile => PaymentError::OrderChangedMeanwhile,
                })
            }
        }
    }
}

/// What a path calls an order or one of its payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// By its own UUID, or by that of a payment of it.
    Uuid(Uuid),
    /// By its number from before orders had UUIDs.
    Number(u64),
}

/// A text that names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the UUID of an order or of a payment, or an order's old number")]
pub struct NotNamed;

impl FromStr for Named {
    type Err = NotNamed;

    fn from_str(text: &str) -> Result<Self, NotNamed> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            // As many digits as a UUID without hyphens has are a UUID.
            Ok(number) if is_number && text.len() < 19 => Ok(Self::Number(number)),
            _ => Uuid::try_parse(text).map(Self::Uuid).map_err(|_| NotNamed),
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
    fn orders_have_uuids_and_some_have_numbers() {
        let uuid = Uuid::new_v4();
        assert_eq!(uuid.to_string().parse(), Ok(Named::Uuid(uuid)));
        assert_eq!(uuid.simple().to_string().parse(), Ok(Named::Uuid(uuid)));
        assert_eq!(
            "12".repeat(16)
                .parse::<Named>()
                .map(|named| matches!(named, Named::Uuid(_))),
            Ok(true)
        );
        assert_eq!("17".parse(), Ok(Named::Number(17)));
        for text in ["", "-1", "+1", "1.5", "x", "records ", "99999999999999999999", "１"] {
            assert_eq!(text.parse::<Named>(), Err(NotNamed), "{text}");
        }
    }

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
