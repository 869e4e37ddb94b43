//! Trades and refunds as WeChat Pay reports them, in answers and under the seal of notifications alike.
//!
//! Amounts are whole fen. `payer_total`, what the buyer was charged after WeChat Pay's own coupons, is not read: `total` is
//! what the merchant gets.

use kernel::{Money, PaymentId, RefundId};
use serde::Deserialize;
use uuid::Uuid;

use super::Account;
use crate::provider::{CURRENCY, Receipt, Refunding, Trade, refund_number, trade_number};
use crate::refund::Refund;

/// A trade.
#[derive(Deserialize)]
pub(super) struct TradeReport {
    appid: String,
    mchid: String,
    pub(super) out_trade_no: String,
    pub(super) trade_state: String,
    #[serde(default)]
    transaction_id: Option<String>,
    /// RFC 3339 with any offset.
    #[serde(default)]
    success_time: Option<String>,
    #[serde(default)]
    amount: Option<TradeAmount>,
}

#[derive(Deserialize)]
struct TradeAmount {
    total: i64,
    /// Documented as optional; CNY is the only one there is for merchants in the mainland.
    #[serde(default)]
    currency: Option<String>,
}

/// A refund. In an answer its state is `status`, in a notification `refund_status`.
#[derive(Deserialize)]
pub(super) struct RefundReport {
    /// Only in notifications.
    #[serde(default)]
    pub(super) mchid: Option<String>,
    pub(super) out_trade_no: String,
    pub(super) out_refund_no: String,
    #[serde(alias = "refund_status")]
    pub(super) status: String,
    pub(super) amount: RefundAmount,
}

#[derive(Deserialize)]
pub(super) struct RefundAmount {
    /// What the trade was paid with.
    total: i64,
    /// What goes back.
    pub(super) refund: i64,
    /// Only in answers.
    #[serde(default)]
    currency: Option<String>,
}

impl TradeReport {
    /// How the trade stands. The reason if that is not understood.
    pub(super) fn trade(&self, account: &Account) -> Result<Trade, &'static str> {
        let ours = self.appid == account.app_id && self.mchid == account.merchant_id;
        match self.trade_state.as_str() {
            "SUCCESS" if ours => Ok(Trade::Paid(self.receipt()?)),
            // Money that came and went there was never ours to speak of, but a person has to know that it came.
            "SUCCESS" | "REFUND" if !ours => Ok(Trade::PaidToAnother(self.receipt()?)),
            "REFUND" => Ok(Trade::Returned(self.receipt()?)),
            _ if !ours => Err("it is about another merchant's or app's trade"),
            "NOTPAY" | "USERPAYING" | "ACCEPT" => Ok(Trade::Waiting),
            "CLOSED" | "REVOKED" => Ok(Trade::Closed),
            "PAYERROR" => Ok(Trade::Failed),
            _ => Err("its trade_state is not known"),
        }
    }

    fn receipt(&self) -> Result<Receipt, &'static str> {
        let (Some(trade_no), Some(amount), Some(paid_at)) = (&self.transaction_id, &self.amount, &self.success_time)
        else {
            return Err("it is paid, but transaction_id, amount or success_time is missing");
        };
        Ok(Receipt {
            trade_no: trade_no.clone(),
            amount: money(amount.total)?,
            currency: amount.currency.clone().unwrap_or_else(|| CURRENCY.to_owned()),
            paid_at: paid_at.parse().map_err(|_| "its success_time is no time")?,
        })
    }
}

impl RefundReport {
    /// What became of the refund. The reason if that is not understood.
    ///
    /// `ABNORMAL` means that the buyer's bank card does not take the money back, `CLOSED` that nothing goes back at all.
    /// Both end here: a person sees to it in the merchant's console.
    pub(super) fn outcome(&self) -> Result<Refunding, &'static str> {
        match self.status.as_str() {
            "SUCCESS" => Ok(Refunding::Succeeded),
            "PROCESSING" => Ok(Refunding::Processing),
            "CLOSED" => Ok(Refunding::Rejected("CLOSED: WeChat Pay closed the refund".to_owned())),
            "ABNORMAL" => Ok(Refunding::Rejected(
                "ABNORMAL: the money can not go back the way it came; the merchant's console has other ways".to_owned(),
            )),
            _ => Err("its status is not known"),
        }
    }

    /// The same where it answers a question about `refund`.
    ///
    /// A refund under our number of another amount is none that we made: nothing may be settled by it, and only a person
    /// can tell what happened.
    pub(super) fn outcome_of(&self, refund: &Refund) -> Result<Refunding, &'static str> {
        if self.out_trade_no != trade_number(refund.payment) || self.out_refund_no != refund_number(refund.id) {
            return Err("it is about another refund");
        }
        let amount = &self.amount;
        let same = amount.refund == refund.amount.fen() && amount.total == refund.paid.fen();
        if !same || amount.currency.as_deref().is_some_and(|currency| currency != CURRENCY) {
            return Ok(Refunding::Rejected("WeChat Pay speaks of another amount".to_owned()));
        }
        self.outcome()
    }
}

/// Whole fen.
pub(super) fn money(fen: i64) -> Result<Money, &'static str> {
    Money::from_fen(fen).map_err(|_| "its amount is none")
}

/// Our payment of this number: 32 hex digits as [`trade_number`] writes them, and no other spelling.
pub(super) fn payment(number: &str) -> Option<PaymentId> {
    let id = PaymentId::from(Uuid::try_parse(number).ok()?);
    (trade_number(id) == number).then_some(id)
}

/// Our refund of this number. Refunds that a person makes in the merchant's console have others.
pub(super) fn refund(number: &str) -> Option<RefundId> {
    let id = RefundId::from(Uuid::try_parse(number).ok()?);
    (refund_number(id) == number).then_some(id)
}

/// What is wrong with JSON that can not be read, without quoting it.
pub(super) fn misread(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("it is not the JSON that is expected, from line {line}, column {column} on")
}
