//! What can go wrong with an order, and how each audience is told.

use contracts::orders::RefundRefusal;
use event_function::EventError;
use http_function::{Problem, StatusCode};
use kernel::{Money, OrderId, ProductId};
use service_client::CallError;
use tables::TableError;

use crate::delivery::SealError;
use crate::status::Status;

/// A refusal or failure of OrderService.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order, or it is somebody else's.
    #[error("there is no such order")]
    NotFound,
    /// The state machine does not let it be called off.
    #[error("the order {id} is {} and can not be cancelled", .status.word())]
    NotCancellable {
        /// The order.
        id: OrderId,
        /// Where it stands.
        status: Status,
    },
    /// The state machine does not let it be completed.
    #[error("the order {id} is {} and can not be completed", .status.word())]
    NotCompletable {
        /// The order.
        id: OrderId,
        /// Where it stands.
        status: Status,
    },
    /// An order under way stays on the lists.
    #[error("the order {id} is {} and can not be taken off the lists", .status.word())]
    NotHideable {
        /// The order.
        id: OrderId,
        /// Where it stands.
        status: Status,
    },
    /// A service asked for a status that only an event may bring.
    #[error("the order {id} is {} and becomes {} by its own event only", .status.word(), .wanted.word())]
    NotByHand {
        /// The order.
        id: OrderId,
        /// Where it stands.
        status: Status,
        /// What was asked for.
        wanted: Status,
    },
    /// Only the buyer can say that he received the goods.
    #[error("only the buyer confirms the receipt")]
    OnlyTheBuyerConfirms,
    /// A seller's record of what he sold is not the buyer's to keep short, nor his own.
    #[error("only the buyer takes an order off his lists")]
    OnlyTheBuyerHides,
    /// A product does not exist.
    #[error("there is no product {0}")]
    NoSuchProduct(ProductId),
    /// A product is not on sale.
    #[error("the product {0} is not on sale")]
    NotOnSale(ProductId),
    /// Not enough of a product is left.
    #[error("not enough of the product {0} is left")]
    OutOfStock(ProductId),
    /// The price is not the one that the buyer saw.
    #[error("the price of the product {product} is {current} now")]
    PriceChanged {
        /// The product.
        product: ProductId,
        /// What it costs now.
        current: Money,
    },
    /// The buyer's own product.
    #[error("the product {0} is the buyer's own")]
    OwnProduct(ProductId),
    /// Products of several sellers, or another seller than named.
    #[error("the products are not all of the seller named")]
    SeveralSellers,
    /// More than one payment can be.
    #[error("the order costs more than one payment can be")]
    TooExpensive,
    /// The buyer already has a pending order for one of the products.
    #[error("the order {0} for one of these products waits for payment")]
    PendingOrderExists(OrderId),
    /// An order for one of these products is being placed right now.
    #[error("another order for one of these products is being placed")]
    BeingPlaced,
    /// The Idempotency-Key was used with another body.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// The Idempotency-Key belongs to an attempt that was refused and undone.
    #[error("the attempt with this Idempotency-Key was given up")]
    KeyAbandoned,
    /// A security policy refuses it. Nobody is told which.
    #[error("a security policy refuses the order")]
    Risky,
    /// A payment of another amount than the total.
    #[error("a payment of another amount came for the order {id}")]
    WrongAmount {
        /// The order.
        id: OrderId,
    },
    /// Money is asked back of an order that nobody paid.
    #[error("the order {0} is not paid")]
    NotPaid(OrderId),
    /// Money is asked back that is the seller's.
    #[error("the order {0} is completed, its money is the seller's")]
    AlreadyReleased(OrderId),
    /// All of the money was asked back before.
    #[error("all of the money of the order {0} goes back already")]
    AlreadyRefunded(OrderId),
    /// More is asked back than is left.
    #[error("only {left} of the order {id} is left to give back")]
    RefundExceeds {
        /// The order.
        id: OrderId,
        /// What is left.
        left: Money,
    },
    /// A change came to the counters when what they know of its order may be forgotten.
    #[error("a change of the order {0} is too old to be counted")]
    CountedTooLate(OrderId),
    /// A change came to the counters before an earlier one, when what they know of its order may be forgotten.
    #[error("a change of the order {0} can not be counted before an earlier one")]
    CountedOutOfTurn(OrderId),
    /// Changed by somebody else again and again.
    #[error("the order {0} is being changed by others")]
    ChangedMeanwhile(OrderId),
    /// Counters that others keep writing.
    #[error("the counters of a user are being written by others")]
    FiguresContended,
    /// A request that does not parse, or comes from the wrong kind of caller.
    #[error("refused")]
    Call(Problem),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Another service failed.
    #[error(transparent)]
    Service(#[from] CallError),
    /// Personal data can not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl PartialEq for OrderError {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.to_string() == other.to_string()
    }
}

impl From<Problem> for OrderError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let text = error.to_string();
        match error {
            OrderError::NotFound => Self::not_found("order"),
            OrderError::NotCancellable { status, .. } => {
                Self::conflict("order-not-cancellable", text).with("order_status", status.word())
            }
            OrderError::NotCompletable { status, .. } => {
                Self::conflict("order-not-completable", text).with("order_status", status.word())
            }
            OrderError::NotHideable { status, .. } => {
                Self::conflict("order-not-deletable", text).with("order_status", status.word())
            }
            OrderError::NotByHand { status, .. } => {
                Self::conflict("illegal-transition", text).with("order_status", status.word())
            }
            OrderError::OnlyTheBuyerConfirms => Self::forbidden("Only the buyer can confirm the receipt."),
            OrderError::OnlyTheBuyerHides => Self::forbidden("Only the buyer can delete an order from his lists."),
            OrderError::NoSuchProduct(product) => Self::new(
                StatusCode::NOT_FOUND,
                "product-not-found",
                "One of the products does not exist.",
            )
            .field("products", product.to_string()),
            OrderError::NotOnSale(product) => Self::conflict("not-on-sale", "One of the products is not on sale.")
                .field("products", product.to_string()),
            OrderError::OutOfStock(product) => {
                Self::conflict("out-of-stock", "Somebody else was faster: not enough of it is left.")
                    .field("products", product.to_string())
            }
            OrderError::PriceChanged { product, current } => {
                Self::conflict("price-changed", "The price has changed. Please look at it again.")
                    .field("products", product.to_string())
                    .with("current_price", current.to_string())
            }
            OrderError::OwnProduct(product) => Self::new(
                StatusCode::BAD_REQUEST,
                "own-product",
                "You can not buy your own product.",
            )
            .field("products", product.to_string()),
            OrderError::SeveralSellers => Self::new(
                StatusCode::BAD_REQUEST,
                "several-sellers",
                "All products of an order must be of the seller named.",
            )
            .field("seller_uuid", "is not the seller of all products"),
            OrderError::TooExpensive => Self::new(
                StatusCode::BAD_REQUEST,
                "too-expensive",
                "An order can cost at most 99999999.99.",
            )
            .field("products", "cost more than 99999999.99 together"),
            OrderError::PendingOrderExists(_) => Self::conflict(
                "pending-order-exists",
                "You already have an order for it that waits for payment.",
            ),
            OrderError::BeingPlaced => Self::unavailable(text).retry_after(1),
            OrderError::NotPaid(_) => Self::conflict(RefundRefusal::OrderNotPaid.word(), "This order is not paid."),
            OrderError::AlreadyReleased(_) => Self::conflict(
                RefundRefusal::AlreadyReleased.word(),
                "This order is completed; its money is the seller's.",
            ),
            OrderError::AlreadyRefunded(_) => Self::conflict(
                RefundRefusal::AlreadyRefunded.word(),
                "All of this order's money goes back already.",
            ),
            OrderError::RefundExceeds { left, .. } => Self::new(
                StatusCode::BAD_REQUEST,
                RefundRefusal::RefundExceeds.word(),
                format!("At most {left} of this order can be given back."),
            )
            .field("amount", format!("must be at most {left}"))
            .with("refundable", left.to_string()),
            OrderError::KeyReused => Self::conflict(
                RefundRefusal::IdempotencyKeyReused.word(),
                "This Idempotency-Key was used for another request. Use a new one.",
            ),
            OrderError::KeyAbandoned => Self::conflict(
                "idempotency-key-abandoned",
                "The attempt with this Idempotency-Key was given up. Use a new one.",
            ),
            OrderError::Risky => Self::conflict(
                "order-refused",
                "This order can not be placed. If you think that it should be, please write to us.",
            ),
            OrderError::ChangedMeanwhile(_) => Self::conflict(
                RefundRefusal::ChangedMeanwhile.word(),
                "The order was changed just now. Look again and repeat.",
            ),
            OrderError::FiguresContended => Self::unavailable(text),
            OrderError::WrongAmount { .. } | OrderError::CountedTooLate(_) | OrderError::CountedOutOfTurn(_) => {
                Self::internal(text)
            }
            OrderError::Call(problem) => problem,
            OrderError::Table(error) => error.into(),
            OrderError::Service(error) => error.into(),
            OrderError::Seal(error) => Self::internal(error),
        }
    }
}

impl From<OrderError> for EventError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Table(error) => error.into(),
            OrderError::Service(error) => error.into(),
            OrderError::ChangedMeanwhile(_) | OrderError::FiguresContended => Self::again(error),
            other => Self::never(other),
        }
    }
}
