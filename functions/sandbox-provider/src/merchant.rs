//! What merchants ask and are answered, as JSON.

use kernel::Money;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::trade::{Refusal, Status, Trade};

/// A request for money to go back.
#[derive(Deserialize)]
pub struct RefundRequest {
    /// The merchant's number of the refund.
    pub refund_no: String,
    /// How much.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
}

/// A question about a refund.
#[derive(Deserialize)]
pub struct RefundQuestion {
    /// The merchant's number of the refund.
    pub refund_no: String,
}

/// How a trade stands: the answer to a query, and the body of a notification.
#[must_use]
pub fn report(trade: &Trade) -> Value {
    json!({
        "merchant": trade.order.merchant,
        "out_trade_no": trade.order.out_trade_no.as_str(),
        "trade_no": trade.trade_no,
        "trade_status": match trade.status {
            Status::Waiting => "WAIT_BUYER_PAY",
            Status::Paid => "TRADE_SUCCESS",
            Status::Failed => "TRADE_FAILED",
            Status::Closed => "TRADE_CLOSED",
        },
        "amount": trade.order.amount.fen(),
        "currency": "CNY",
        "paid_at": trade.paid_at,
    })
}

/// The answer about a trade that there is.
#[must_use]
pub fn found(trade: &Trade) -> Value {
    let mut answer = report(trade);
    answer["result"] = json!("FOUND");
    answer
}

/// The answer about a trade that there is not.
#[must_use]
pub fn trade_not_exist() -> Value {
    json!({"result": "TRADE_NOT_EXIST"})
}

/// The answer to closing a trade.
#[must_use]
pub fn closed() -> Value {
    json!({"result": "CLOSED"})
}

/// The answer to closing a trade too late.
#[must_use]
pub fn already_paid() -> Value {
    json!({"result": "ALREADY_PAID"})
}

/// The answer to paying a trade that can not be paid.
#[must_use]
pub fn refused(refusal: Refusal) -> Value {
    json!({"result": "REFUSED", "reason": refusal.to_string()})
}

/// The answer to a refund that was made, now or earlier.
#[must_use]
pub fn refunded() -> Value {
    json!({"result": "SUCCEEDED"})
}

/// The answer to a refund that is never made.
#[must_use]
pub fn refund_rejected(refusal: Refusal) -> Value {
    json!({"result": "REJECTED", "reason": refusal.to_string()})
}

/// The answer about a refund that there is not.
#[must_use]
pub fn refund_not_exist() -> Value {
    json!({"result": "REFUND_NOT_EXIST"})
}
