//! Ids: one type each, so that a buyer is never passed where a seller belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Root of every derived id of this system.
const NAMESPACE: Uuid = Uuid::from_u128(0x4f6a_3c52_8d1e_5b7a_9c04_cf3b_1e5d_a201);

/// A UUID that is the same whenever it is derived from the same parts: what an event or a repeated request creates has
/// the id that its cause gives it, so creating it twice is creating it once.
#[must_use]
pub fn derived_uuid(kind: &str, parts: &[&str]) -> Uuid {
    // Parts are separated by a byte that no part contains (ids, words and keys are text), so that no two lists collide.
    let mut name = kind.to_owned();
    for part in parts {
        name.push('\u{1f}');
        name.push_str(part);
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new, random id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id that `parts` determine; see [`derived_uuid`].
            #[must_use]
            pub fn derived(parts: &[&str]) -> Self {
                Self(derived_uuid(stringify!($name), parts))
            }

            /// The UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }
    )*};
}

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct NotAnId;

ids! {
    /// An order.
    OrderId;
    /// A user, whatever his part in a purchase.
    UserId;
    /// A product put up for sale.
    ProductId;
    /// One attempt to pay an order.
    PaymentId;
    /// One refund of (a part of) a payment.
    RefundId;
    /// A notification of one user.
    NotificationId;
    /// A message or a change that its function could not handle.
    LetterId;
    /// One assessment of the risk of an order or of a user.
    AssessmentId;
    /// The user who buys.
    BuyerId;
    /// The user who sells.
    SellerId;
}

impl From<UserId> for BuyerId {
    fn from(user: UserId) -> Self {
        Self(user.0)
    }
}

impl From<UserId> for SellerId {
    fn from(user: UserId) -> Self {
        Self(user.0)
    }
}

impl From<BuyerId> for UserId {
    fn from(buyer: BuyerId) -> Self {
        Self(buyer.0)
    }
}

impl From<SellerId> for UserId {
    fn from(seller: SellerId) -> Self {
        Self(seller.0)
    }
}
