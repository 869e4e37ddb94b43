//! What WeChat Pay's answers mean.
//!
//! An answer counts only if it is signed, whatever its status. WeChat Pay signs whatever it answers to a request whose own
//! signature is right, errors too; its client libraries verify success alone. Errors are verified here as well, because
//! some of them decide about money: "does not exist" has a refund made anew, "closed" lets the goods go to somebody else.
//! So an unsigned error, as gateways in between and WeChat Pay's own front (`SIGN_ERROR`) send it, is no answer: what
//! happened is unknown, and the question is put again. The same goes for a signed server error.
//!
//! A signature does not bind an answer to its question; TLS does that. Where an answer names its trade it must be the right
//! one; an offer and the empty answer to closing name none.

use bytes::Bytes;
use http_function::StatusCode;
use kernel::Timestamp;
use serde::Deserialize;
use serde_json::json;
use service_client::Received;

use super::Account;
use super::report::{RefundReport, TradeReport, misread};
use super::signature::{MerchantKey, PlatformKeys, Stamp};
use crate::payment::Payment;
use crate::provider::{Channel, Closing, Making, Observation, Offer, Queried, Refunding, Silence, trade_number};
use crate::refund::Refund;

/// Largest answer that is read, in bytes. Real ones have a few thousand.
const LARGEST: usize = 1024 * 1024;
/// Most characters of an error's words that are passed on.
const LONGEST_REASON: usize = 200;

/// A genuine answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done: status 2xx.
    Done(StatusCode, Bytes),
    /// Not done: status 4xx.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    /// A word from the documentation.
    code: String,
    /// For people.
    #[serde(default)]
    message: String,
}

impl Answer {
    /// The answer, if it is genuine and no server error.
    pub(super) fn read(received: &Received, keys: &PlatformKeys, now: Timestamp) -> Result<Self, Silence> {
        let (status, body) = (received.status, &received.body);
        if body.len() > LARGEST {
            return Err(Silence("the answer is too large".to_owned()));
        }
        if let Err(reason) = keys.verify(&received.headers, body, now) {
            let code = claimed_code(body)
                .map(|code| format!(" that says {code}"))
                .unwrap_or_default();
            return Err(Silence(format!(
                "an answer of status {}{code}, whose signature proves nothing: {reason}",
                status.as_u16()
            )));
        }
        if status.is_success() {
            return Ok(Self::Done(status, body.clone()));
        }
        let refusal = serde_json::from_slice::<Refusal>(body).ok();
        match refusal {
            Some(refusal) if status.is_client_error() => Ok(Self::Refused(refusal)),
            Some(refusal) => Err(refusal.into_silence()),
            None => Err(Silence(format!("status {}", status.as_u16()))),
        }
    }
}

impl Refusal {
    fn reason(&self) -> String {
        let reason = format!("{}: {}", self.code, self.message);
        reason.chars().take(LONGEST_REASON).collect()
    }

    fn into_silence(self) -> Silence {
        Silence(self.reason())
    }
}

/// The code in an answer that proves nothing, for whoever reads the log. Only what looks like a code.
fn claimed_code(body: &[u8]) -> Option<String> {
    let code = serde_json::from_slice::<Refusal>(body).ok()?.code;
    let looks_like_one = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    looks_like_one.then_some(code)
}

fn not_understood(reason: impl std::fmt::Display) -> Silence {
    Silence(format!("the answer is not understood: {reason}"))
}

/// The answer to a new trade.
///
/// Codes: `OUT_TRADE_NO_USED` and `INVALID_REQUEST` also say that the number is taken by an order that differs. Nobody was
/// ever offered that one, so the attempt has failed either way.
pub(super) fn making(
    answer: Result<Answer, Silence>,
    payment: &Payment,
    account: &Account,
    key: &MerchantKey,
    stamp: &Stamp,
) -> Making {
    match answer {
        Ok(Answer::Done(_, body)) => {
            offer(&body, payment.channel, account, key, stamp).map_or_else(Making::Unknown, Making::Offered)
        }
        Ok(Answer::Refused(refusal)) => match refusal.code.as_str() {
            "ORDERPAID" | "ORDER_PAID" => Making::AlreadyPaid,
            "ORDER_CLOSED" | "ORDERCLOSED" => Making::Closed,
            "OUT_TRADE_NO_USED"
            | "PARAM_ERROR"
            | "INVALID_REQUEST"
            | "NO_AUTH"
            | "APPID_MCHID_NOT_MATCH"
            | "MCH_NOT_EXISTS" => Making::Rejected(refusal.reason()),
            _ => Making::Unknown(refusal.into_silence()),
        },
        Err(silence) => Making::Unknown(silence),
    }
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    code_url: String,
    #[serde(default)]
    h5_url: String,
    #[serde(default)]
    prepay_id: String,
}

fn offer(body: &[u8], channel: Channel, account: &Account, key: &MerchantKey, stamp: &Stamp) -> Result<Offer, Silence> {
    let made: Made = serde_json::from_slice(body).map_err(|error| not_understood(misread(&error)))?;
    let (value, offer) = match channel {
        Channel::QrCode => (&made.code_url, Offer::QrCode(made.code_url.clone())),
        Channel::MobilePage => (&made.h5_url, Offer::Redirect(made.h5_url.clone())),
        Channel::InApp => {
            let parameters = jsapi(&made.prepay_id, account, key, stamp)?;
            (&made.prepay_id, Offer::JsapiParams(parameters))
        }
        Channel::Page => return Err(not_understood("nothing was asked")),
    };
    match value.is_empty() {
        true => Err(not_understood("it holds no way to pay")),
        false => Ok(offer),
    }
}

/// The parameters of `WeixinJSBridge.invoke('getBrandWCPayRequest')` and `wx.requestPayment`: all of them are text.
fn jsapi(prepay_id: &str, account: &Account, key: &MerchantKey, stamp: &Stamp) -> Result<String, Silence> {
    let package = format!("prepay_id={prepay_id}");
    let pay_sign = key
        .pay_sign(&account.app_id, &package, stamp)
        .map_err(|error| Silence(error.to_string()))?;
    let parameters = json!({
        "appId": account.app_id,
        "timeStamp": stamp.timestamp.to_string(),
        "nonceStr": stamp.nonce,
        "package": package,
        "signType": "RSA",
        "paySign": pay_sign,
    });
    Ok(parameters.to_string())
}

/// The answer to a question about a trade.
pub(super) fn queried(answer: Result<Answer, Silence>, payment: &Payment, account: &Account) -> Queried {
    match answer {
        Ok(Answer::Done(_, body)) => observation(&body, payment, account).map_or_else(Queried::Unknown, Queried::Found),
        Ok(Answer::Refused(refusal)) => match refusal.code.as_str() {
            "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS" => Queried::NotFound,
            _ => Queried::Unknown(refusal.into_silence()),
        },
        Err(silence) => Queried::Unknown(silence),
    }
}

fn observation(body: &[u8], payment: &Payment, account: &Account) -> Result<Observation, Silence> {
    let report: TradeReport = serde_json::from_slice(body).map_err(|error| not_understood(misread(&error)))?;
    if report.out_trade_no != trade_number(payment.id) {
        return Err(not_understood("it is about another trade"));
    }
    Ok(Observation {
        payment: payment.id,
        trade: report.trade(account).map_err(not_understood)?,
    })
}

/// The answer to closing a trade. WeChat Pay closes what is closed, and even what it never heard of, with the same 204.
pub(super) fn closing(answer: Result<Answer, Silence>) -> Closing {
    match answer {
        Ok(Answer::Done(StatusCode::NO_CONTENT, _)) => Closing::Closed,
        Ok(Answer::Done(status, _)) => Closing::Unknown(not_understood(format!("status {}", status.as_u16()))),
        Ok(Answer::Refused(refusal)) => match refusal.code.as_str() {
            "ORDERPAID" | "ORDER_PAID" => Closing::AlreadyPaid,
            "ORDER_CLOSED" | "ORDERCLOSED" => Closing::Closed,
            "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS" => Closing::NotFound,
            _ => Closing::Unknown(refusal.into_silence()),
        },
        Err(silence) => Closing::Unknown(silence),
    }
}

/// The answer to a refund, and to a question about one.
///
/// `NOT_ENOUGH` says that the merchant's account can not pay the refund now. It is asked for again, for days and under the
/// same number, while somebody fills the account; only then it is given to a person. `RESOURCE_NOT_EXISTS` to a new refund
/// is said now and then of a trade that is there: asking again helps.
pub(super) fn refunding(answer: Result<Answer, Silence>, refund: &Refund) -> Refunding {
    match answer {
        Ok(Answer::Done(_, body)) => match serde_json::from_slice::<RefundReport>(&body) {
            Ok(report) => match report.outcome_of(refund) {
                Ok(outcome) => outcome,
                Err(reason) => Refunding::Unknown(not_understood(reason)),
            },
            Err(error) => Refunding::Unknown(not_understood(misread(&error))),
        },
        Ok(Answer::Refused(refusal)) => match refusal.code.as_str() {
            "RESOURCE_NOT_EXISTS" => Refunding::NotFound,
            "PARAM_ERROR" | "INVALID_REQUEST" | "NO_AUTH" | "MCH_NOT_EXISTS" | "USER_ACCOUNT_ABNORMAL" => {
                Refunding::Rejected(refusal.reason())
            }
            _ => Refunding::Unknown(refusal.into_silence()),
        },
        Err(silence) => Refunding::Unknown(silence),
    }
}
