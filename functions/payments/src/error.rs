//! What can go wrong with a payment, and how each audience is told.

use event_function::EventError;
use http_function::{Problem, StatusCode};
use kernel::{Money, OrderId, PaymentId};
use service_client::CallError;
use tables::TableError;

use crate::ledger::LedgerError;
use crate::provider::{ProviderName, Silence};
use crate::statement::Day;
use crate::status::Status;

/// A refusal or failure of PaymentService.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// There is no such payment, or it is somebody else's.
    #[error("there is no such payment")]
    NotFound,
    /// There is no such order, or it is somebody else's.
    #[error("there is no such order")]
    OrderNotFound,
    /// The order does not wait for payment.
    #[error("the order {0} can not be paid")]
    OrderNotPayable(OrderId),
    /// The order costs something else.
    #[error("the order costs {asked}")]
    AmountMismatch {
        /// What it costs.
        asked: Money,
    },
    /// No provider is configured for the method.
    #[error("no provider takes payments by this method")]
    MethodUnavailable,
    /// The provider does not take this payment, whatever is done.
    #[error("the provider refuses the payment {0}")]
    Refused(PaymentId),
    /// The order is paid; OrderService may not have heard of it yet.
    #[error("the order {0} is paid already")]
    AlreadyPaid(OrderId),
    /// Money came that does not match; until a person decided, no other attempt is opened.
    #[error("the payment {0} is looked at by a person")]
    UnderReview(PaymentId),
    /// Only an open payment can be called off.
    #[error("the payment {id} is {} and can not be cancelled", .status.word())]
    NotCancellable {
        /// The payment.
        id: PaymentId,
        /// Where it stands.
        status: Status,
    },
    /// A simulated payment of something that can not be paid any more.
    #[error("the payment {id} is {} and can not be paid", .status.word())]
    NotPayable {
        /// The payment.
        id: PaymentId,
        /// Where it stands.
        status: Status,
    },
    /// Money is asked back of an order that nobody paid, or by the name of a payment that pays nothing.
    #[error("there is nothing to give back: it is not paid")]
    NotPaid,
    /// Money is asked back of a completed order.
    #[error("the order is completed, its money is the seller's")]
    AlreadyReleased,
    /// All of the money was asked back before.
    #[error("all of the order's money goes back already")]
    AlreadyRefunded,
    /// More is asked back than is left.
    #[error("only {left} is left to give back")]
    RefundExceeds {
        /// What is left.
        left: Money,
    },
    /// The order was changed by others again and again.
    #[error("the order is being changed by others")]
    OrderChangedMeanwhile,
    /// A refund of a payment to which no money ever came.
    #[error("no money came for the payment {0}")]
    NothingCaptured(PaymentId),
    /// The Idempotency-Key was used with another body.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// Changed by somebody else again and again.
    #[error("the payment {0} is being changed by others")]
    ChangedMeanwhile(PaymentId),
    /// The payment's provider is not configured any more.
    #[error("the provider {0:?} that took the payment is not configured")]
    ProviderGone(ProviderName),
    /// The provider gave no answer that can be trusted.
    #[error(transparent)]
    Provider(#[from] Silence),
    /// The provider has not written the day's statement yet.
    #[error("the statement of {0} is not ready")]
    StatementNotReady(Day),
    /// There is no statement and there will be none, for this reason.
    #[error("there is no statement: {0}")]
    NoStatement(String),
    /// Money that does not add up.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
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

impl From<Problem> for PaymentError {
    fn from(problem: Problem) -> Self {
        Self::Call(problem)
    }
}

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        let text = error.to_string();
        match error {
            PaymentError::NotFound => Self::not_found("payment"),
            PaymentError::OrderNotFound => Self::not_found("order"),
            PaymentError::OrderNotPayable(_) => Self::conflict(
                "order-not-payable",
                "This order is paid, cancelled, or was not paid in time.",
            ),
            PaymentError::AmountMismatch { asked } => Self::new(
                StatusCode::BAD_REQUEST,
                "amount-mismatch",
                format!("The order costs {asked}."),
            )
            .field("amount", format!("must be {asked}")),
            PaymentError::MethodUnavailable | PaymentError::Refused(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "payment-method-unavailable",
                "This payment method is not available at the moment.",
            ),
            PaymentError::AlreadyPaid(_) => Self::conflict("already-paid", "This order is paid already."),
            PaymentError::UnderReview(_) => Self::conflict(
                "payment-under-review",
                "Money came for this order that does not match its price. We are looking into it.",
            ),
            PaymentError::NotCancellable { status, .. } => {
                Self::conflict("payment-not-cancellable", text).with("payment_status", status.shown().word())
            }
            PaymentError::NotPayable { status, .. } => {
                Self::conflict("payment-not-payable", text).with("payment_status", status.shown().word())
            }
            PaymentError::NotPaid => Self::conflict("order-not-paid", "There is nothing to give back: it is not paid."),
            PaymentError::AlreadyReleased => Self::conflict(
                "already-released",
                "This order is completed; its money is the seller's.",
            ),
            PaymentError::AlreadyRefunded => {
                Self::conflict("already-refunded", "All of this order's money goes back already.")
            }
            PaymentError::RefundExceeds { left } => Self::new(
                StatusCode::BAD_REQUEST,
                "refund-exceeds",
                format!("At most {left} can be given back."),
            )
            .field("refund_amount", format!("must be at most {left}"))
            .with("refundable", left.to_string()),
            PaymentError::OrderChangedMeanwhile => Self::conflict(
                "changed-meanwhile",
                "The order was changed just now. Look again and repeat.",
            ),
            PaymentError::KeyReused => Self::conflict(
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request. Use a new one.",
            ),
            PaymentError::ChangedMeanwhile(_) => Self::conflict(
                "changed-meanwhile",
                "The payment was changed just now. Look again and repeat.",
            ),
            PaymentError::StatementNotReady(day) => Self::conflict(
                "statement-not-ready",
                format!(
                    "The provider has not written its statement of {day} yet. It does so until 10:00 on the next day."
                ),
            ),
            PaymentError::NoStatement(reason) => {
                Self::conflict("no-statement", format!("There is no statement: {reason}."))
            }
            PaymentError::Provider(silence) => Self::unavailable(silence),
            PaymentError::ProviderGone(_) | PaymentError::NothingCaptured(_) => Self::internal(text),
            PaymentError::Ledger(error) => Self::internal(error),
            PaymentError::Call(problem) => problem,
            PaymentError::Table(error) => error.into(),
            PaymentError::Service(error) => error.into(),
        }
    }
}

impl From<PaymentError> for EventError {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Table(error) => error.into(),
            PaymentError::Service(error) => error.into(),
            PaymentError::ChangedMeanwhile(_) | PaymentError::Provider(_) => Self::again(error),
            other => Self::never(other),
        }
    }
}
