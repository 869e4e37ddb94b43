//! What can go wrong with a product, and how each audience is told.

use event_function::EventError;
use http_function::{Problem, StatusCode};
use kernel::Quantity;
use service_client::CallError;
use tables::TableError;

/// A refusal or failure of ProductService.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// There is no such product, or it is somebody else's.
    #[error("there is no such product")]
    NotFound,
    /// Not enough pieces are left.
    #[error("not enough of it is left")]
    OutOfStock {
        /// What is left.
        left: u32,
    },
    /// It is not offered.
    #[error("it is not on sale")]
    NotOnSale,
    /// The order's reservation was given back already, or forbidden before it was made.
    #[error("the reservation of this order is closed")]
    ReservationClosed,
    /// The order reserved another quantity before.
    #[error("this order has reserved {} before", .reserved.get())]
    ReservationDiffers {
        /// What it reserved.
        reserved: Quantity,
    },
    /// The market has banned the product or not looked at it yet, which its seller can not change.
    #[error("the market decides about this product's status")]
    HeldByTheMarket,
    /// Its seller took it off, so the market can not offer it.
    #[error("its seller took it off")]
    Withdrawn,
    /// A change would leave less than nothing.
    #[error("not enough of it is left to take away")]
    StockTooLow {
        /// What is left.
        left: u32,
    },
    /// A change would leave more than can be counted.
    #[error("more than can be counted")]
    StockTooHigh,
    /// The same idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Somebody wants to review what he did not buy with this order.
    #[error("it was not bought with this order")]
    NotBought,
    /// Somebody wants to review what he did not receive yet.
    #[error("the order is not completed")]
    NotReceived,
    /// The order's review of this product was written before.
    #[error("it was reviewed before")]
    Reviewed,
    /// So many want it at once that no turn came in time, although it may still be there.
    #[error("too many change it at once")]
    Contended,
    /// A request that does not parse, or comes from the wrong kind of caller.
    #[error("refused")]
    Call(Problem),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Another service failed.
    #[error(transparent)]
    Service(#[from] CallError),
}

impl From<Problem> for ProductError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<ProductError> for Problem {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::NotFound => Self::not_found("product"),
            ProductError::OutOfStock { left } => {
                Self::conflict("out-of-stock", "Not enough of it is left.").with("stock", left)
            }
            ProductError::NotOnSale => Self::conflict("not-on-sale", "It is not on sale."),
            ProductError::ReservationClosed => Self::conflict(
                "reservation-closed",
                "What this order reserved was given back. It can not reserve it again.",
            ),
            ProductError::ReservationDiffers { reserved } => Self::conflict(
                "reservation-differs",
                "This order has reserved another quantity before.",
            )
            .with("reserved", reserved.get()),
            ProductError::HeldByTheMarket => Self::new(
                StatusCode::CONFLICT,
                "held-by-the-market",
                "The market has banned this product or not looked at it yet. You can not put it on sale.",
            )
            .field("status", "is decided by the market"),
            ProductError::Withdrawn => {
                Self::conflict("withdrawn", "Its seller took it off. Only he can offer it again.")
                    .field("status", "is decided by its seller")
            }
            // In the words that services read: `success`, and HTTP 400.
            ProductError::StockTooLow { left } => {
                Self::new(StatusCode::BAD_REQUEST, "out-of-stock", "Not enough of it is left.")
                    .field("quantity", format!("must not take away more than {left}"))
                    .with("success", false)
                    .with("stock", left)
            }
            ProductError::StockTooHigh => {
                Self::invalid_field("quantity", "makes more than can be counted").with("success", false)
            }
            ProductError::KeyReused => Self::conflict(
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request.",
            ),
            ProductError::NotBought => Self::new(
                StatusCode::FORBIDDEN,
                "not-bought",
                "Only who bought it with this order can review it.",
            ),
            ProductError::NotReceived => {
                Self::conflict("not-received", "It can be reviewed when the order is completed.")
            }
            ProductError::Reviewed => Self::conflict("reviewed", "This order's review was written before."),
            ProductError::Contended => Self::unavailable(error).retry_after(1),
            ProductError::Call(problem) => problem,
            ProductError::Table(error) => error.into(),
            ProductError::Service(error) => error.into(),
        }
    }
}

impl From<ProductError> for EventError {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::Table(error) => error.into(),
            ProductError::Service(error) => error.into(),
            ProductError::Contended => Self::again(error),
            other => Self::never(other),
        }
    }
}
