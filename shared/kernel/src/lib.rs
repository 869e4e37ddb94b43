//! The nouns every service speaks: money, ids, time, quantities, bounded text, pages. No AWS, no HTTP, no async.

pub mod clock;
pub mod id;
pub mod money;
pub mod page;
pub mod place;
pub mod quantity;
pub mod schema;
pub mod text;

pub use clock::{Clock, Timestamp, Zone};
pub use id::{
    AssessmentId, BuyerId, LetterId, NotificationId, OrderId, PaymentId, ProductId, RefundId, SellerId, UserId,
    derived_uuid,
};
pub use money::Money;
pub use page::{Page, PageRequest};
pub use place::Place;
pub use quantity::Quantity;
pub use text::Text;
