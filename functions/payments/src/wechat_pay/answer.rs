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
#[cfg_attr(test, derive(Debug))]
pub(super) enum Answer {
    /// Done: status 2xx.
    Done(StatusCode, Bytes),
    /// Not done: status 4xx.
    Refused(Refusal),
}

/// Why something was not done.
#[cfg_attr(test, derive(Debug))]
#[derive(Deserialize)]
pub(super) struct Refusal {
    /// A word from the documentation.
    pub(super) code: String,
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
    pub(super) fn reason(&self) -> String {
        let reason = format!("{}: {}", self.code, self.message);
        reason.chars().take(LONGEST_REASON).collect()
    }

    pub(super) fn into_silence(self) -> Silence {
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

/// The answer to closing a trade. Merchants report the same 204 for a trade that was closed before, and for a number that
/// WeChat Pay never heard of: nobody has an offer of such a trade, so it can not be paid either.
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
/// same number, while somebody fills the account; only then it is given to a person. Merchants report
/// `RESOURCE_NOT_EXISTS` to a new refund of a trade that is there: asking again helps.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_function::HeaderMap;
    use kernel::Money;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::fixture::{Fixture, Signer};
    use super::super::signature::{NONCE, SERIAL, SIGNATURE, TIMESTAMP, WINDOW};
    use super::*;
    use crate::provider::{Receipt, Trade};

    fn read(it: &Fixture, received: &Received) -> Result<Answer, Silence> {
        Answer::read(received, &it.credentials.platform_keys, it.now())
    }

    fn made(it: &Fixture, channel: Channel, status: u16, body: &str) -> Making {
        let answer = read(it, &it.answered(status, body));
        let key = &it.credentials.merchant_key;
        making(answer, &it.payment(channel), &it.account, key, &it.stamp())
    }

    fn asked(it: &Fixture, status: u16, body: &str) -> Queried {
        queried(
            read(it, &it.answered(status, body)),
            &it.payment(Channel::QrCode),
            &it.account,
        )
    }

    fn closed(it: &Fixture, status: u16, body: &str) -> Closing {
        closing(read(it, &it.answered(status, body)))
    }

    fn refunded(it: &Fixture, status: u16, body: &str) -> Refunding {
        refunding(read(it, &it.answered(status, body)), &it.refund())
    }

    fn error(code: &str) -> String {
        json!({"code": code, "message": "为什么"}).to_string()
    }

    fn transaction(it: &Fixture, changes: Value) -> String {
        merged(&it.vectors["transaction"], changes)
    }

    fn merged(json: &Value, changes: Value) -> String {
        let mut json = json.clone();
        for (name, value) in changes.as_object().unwrap() {
            json[name] = value.clone();
        }
        json.to_string()
    }

    /// The refund of the vectors as answers write it.
    fn refund_report(it: &Fixture, changes: Value) -> String {
        let mut report = it.vectors["refunded"].clone();
        let members = report.as_object_mut().unwrap();
        members.remove("refund_status");
        members.remove("mchid");
        members.insert("status".into(), json!("SUCCESS"));
        report["amount"]["currency"] = json!("CNY");
        merged(&report, changes)
    }

    fn received(it: &Fixture, name: &str, status: u16) -> Received {
        let (headers, body) = it.message(&format!("/answers/{name}"));
        Received {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
        }
    }

    /// Made by another library.
    #[test]
    fn a_genuine_answer_is_believed_whatever_key_it_comes_under() {
        let it = Fixture::new();
        let receipt = Receipt {
            trade_no: "4200000000202601010000000001".into(),
            amount: Money::from_fen(1990).unwrap(),
            currency: "CNY".into(),
            paid_at: it.now().minus(Duration::from_secs(2)),
        };
        let found = Queried::Found(Observation {
            payment: it.payment_id(),
            trade: Trade::Paid(receipt),
        });
        for name in ["trade", "trade_by_certificate"] {
            let answer = read(&it, &received(&it, name, 200));
            assert_eq!(queried(answer, &it.payment(Channel::QrCode), &it.account), found);
        }
        assert_eq!(closing(read(&it, &received(&it, "closed", 204))), Closing::Closed);
        assert_eq!(
            closing(read(&it, &received(&it, "already_paid", 400))),
            Closing::AlreadyPaid
        );
    }

    #[test]
    fn an_answer_whose_signature_proves_nothing_decides_nothing() {
        let it = Fixture::new();
        let bodies = [
            (200, it.text("/answers/trade/body")),
            (200, refund_report(&it, json!({}))),
            (200, r#"{"code_url":"weixin://wxpay/bizpayurl?pr=p4lpSuKzz"}"#.into()),
            (204, String::new()),
            (400, error("ORDERPAID")),
            (400, error("ORDER_CLOSED")),
            (403, error("OUT_TRADE_NO_USED")),
            (400, error("PARAM_ERROR")),
            (404, error("RESOURCE_NOT_EXISTS")),
            (404, error("ORDER_NOT_EXIST")),
            (401, error("SIGN_ERROR")),
            (502, "<html>".into()),
        ];
        let spoilt: [fn(&mut HeaderMap); 6] = [
            |headers| headers.clear(),
            |headers| drop(headers.remove(SIGNATURE)),
            |headers| drop(headers.remove(SERIAL)),
            |headers| drop(headers.insert(NONCE, "another".parse().unwrap())),
            |headers| drop(headers.insert(TIMESTAMP, "1767225601".parse().unwrap())),
            |headers| drop(headers.insert(SIGNATURE, "WECHATPAY/SIGNTEST/AAAA".parse().unwrap())),
        ];
        for (status, body) in &bodies {
            for spoil in spoilt {
                let mut received = it.answered(*status, body);
                spoil(&mut received.headers);
                let answer = || read(&it, &received);
                let payment = it.payment(Channel::QrCode);
                let key = &it.credentials.merchant_key;
                assert!(matches!(
                    making(answer(), &payment, &it.account, key, &it.stamp()),
                    Making::Unknown(_)
                ));
                assert!(matches!(queried(answer(), &payment, &it.account), Queried::Unknown(_)));
                assert!(matches!(closing(answer()), Closing::Unknown(_)));
                assert!(matches!(refunding(answer(), &it.refund()), Refunding::Unknown(_)));
            }
        }
    }

    #[test]
    fn an_old_answer_and_one_for_another_body_are_none() {
        let it = Fixture::new();
        let good = it.answered(204, "");
        assert!(read(&it, &good).is_ok());
        for now in [it.now().plus(WINDOW), it.now().minus(WINDOW)] {
            assert!(Answer::read(&good, &it.credentials.platform_keys, now).is_err());
        }
        let mut other = it.answered(200, "{}");
        other.body = "{ }".into();
        assert!(read(&it, &other).is_err());
        let large = "x".repeat(LARGEST + 1);
        assert!(read(&it, &it.answered(200, &large)).is_err());
    }

    #[test]
    fn an_unsigned_answer_is_reported_with_its_code_and_nothing_else() {
        let it = Fixture::new();
        let unsigned = |body: &str| {
            let mut received = it.answered(401, body);
            received.headers.clear();
            read(&it, &received).unwrap_err().0
        };
        assert!(unsigned(&error("SIGN_ERROR")).contains("SIGN_ERROR"));
        for code in ["oUpF8uMuAJO", "A\nB", &"A".repeat(65)] {
            assert!(!unsigned(&error(code)).contains(code));
        }
    }

    #[test]
    fn each_channel_has_its_offer() {
        let it = Fixture::new();
        let body = r#"{"code_url":"weixin://wxpay/bizpayurl?pr=p4lpSuKzz"}"#;
        let code = Offer::QrCode("weixin://wxpay/bizpayurl?pr=p4lpSuKzz".into());
        assert_eq!(made(&it, Channel::QrCode, 200, body), Making::Offered(code));

        let body = r#"{"h5_url":"https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016&package=1"}"#;
        let page = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016&package=1";
        assert_eq!(
            made(&it, Channel::MobilePage, 200, body),
            Making::Offered(Offer::Redirect(page.into()))
        );

        let body = r#"{"prepay_id":"wx201410272009395522657a690389285100"}"#;
        let Making::Offered(Offer::JsapiParams(script)) = made(&it, Channel::InApp, 200, body) else {
            panic!();
        };
        let script: Value = serde_json::from_str(&script).unwrap();
        let expected = json!({
            "appId": it.text("/app_id"),
            "timeStamp": it.now().seconds().to_string(),
            "nonceStr": it.text("/jsapi/nonce"),
            "package": it.text("/jsapi/package"),
            "signType": "RSA",
            "paySign": it.text("/jsapi/pay_sign"),
        });
        assert_eq!(script, expected, "signed as the other library signs it");
    }

    #[test]
    fn an_answer_without_an_offer_is_not_understood() {
        let it = Fixture::new();
        for channel in [Channel::QrCode, Channel::InApp, Channel::MobilePage, Channel::Page] {
            for body in [
                "{}",
                "",
                "[]",
                "null",
                r#"{"code_url":""}"#,
                r#"{"code_url":1}"#,
                r#"{"other":"x"}"#,
            ] {
                assert!(
                    matches!(made(&it, channel, 200, body), Making::Unknown(_)),
                    "{channel:?} {body}"
                );
            }
        }
        let code = r#"{"code_url":"weixin://x"}"#;
        assert!(matches!(made(&it, Channel::InApp, 200, code), Making::Unknown(_)));
    }

    #[test]
    fn every_refusal_of_a_new_trade_has_its_meaning() {
        let it = Fixture::new();
        let made = |status, code: &str| made(&it, Channel::QrCode, status, &error(code));
        assert_eq!(made(400, "ORDERPAID"), Making::AlreadyPaid);
        assert_eq!(made(400, "ORDER_CLOSED"), Making::Closed);
        for code in [
            "OUT_TRADE_NO_USED",
            "PARAM_ERROR",
            "INVALID_REQUEST",
            "NO_AUTH",
            "MCH_NOT_EXISTS",
        ] {
            let Making::Rejected(reason) = made(400, code) else {
                panic!("{code}")
            };
            assert_eq!(reason, format!("{code}: 为什么"));
        }
        for (status, code) in [
            (429, "FREQUENCY_LIMITED"),
            (500, "SYSTEM_ERROR"),
            (403, "RULE_LIMIT"),
            (403, "NEW_CODE"),
            (400, ""),
            // A server error decides nothing, whatever it says.
            (500, "ORDERPAID"),
            (503, "PARAM_ERROR"),
            (302, "ORDER_CLOSED"),
        ] {
            assert!(matches!(made(status, code), Making::Unknown(_)), "{status} {code}");
        }
    }

    #[test]
    fn every_trade_state_has_its_meaning() {
        let it = Fixture::new();
        let trade = |state: &str| match asked(&it, 200, &transaction(&it, json!({"trade_state": state}))) {
            Queried::Found(seen) => Some(seen.trade),
            Queried::Unknown(_) => None,
            Queried::NotFound => panic!("{state}"),
        };
        assert!(matches!(trade("SUCCESS"), Some(Trade::Paid(_))));
        assert!(matches!(trade("REFUND"), Some(Trade::Returned(_))));
        for state in ["NOTPAY", "USERPAYING", "ACCEPT"] {
            assert_eq!(trade(state), Some(Trade::Waiting));
        }
        for state in ["CLOSED", "REVOKED"] {
            assert_eq!(trade(state), Some(Trade::Closed));
        }
        assert_eq!(trade("PAYERROR"), Some(Trade::Failed));
        for state in ["", "success", "PAID", "SUCCESS "] {
            assert_eq!(trade(state), None, "{state}");
        }
        // Before it is paid, the answer has no receipt.
        let bare = json!({"appid": it.text("/app_id"), "mchid": it.text("/merchant_id"),
            "out_trade_no": it.text("/payment"), "trade_state": "NOTPAY", "trade_state_desc": "订单未支付"});
        assert!(matches!(asked(&it, 200, &bare.to_string()), Queried::Found(_)));
    }

    #[test]
    fn an_answer_about_another_trade_is_no_answer() {
        let it = Fixture::new();
        for changes in [
            json!({"out_trade_no": it.text("/refund")}),
            json!({"out_trade_no": it.text("/payment").to_uppercase()}),
            json!({"trade_state": "NOTPAY", "mchid": "1900000110"}),
            json!({"trade_state": "CLOSED", "appid": "wx9999999999999999"}),
            json!({"success_time": null}),
            json!({"transaction_id": null}),
            json!({"amount": null}),
            json!({"amount": {"total": -1}}),
            json!({"amount": {"payer_total": 1990}}),
            json!({"amount": {"total": "1990"}}),
        ] {
            let answer = asked(&it, 200, &transaction(&it, changes.clone()));
            assert!(matches!(answer, Queried::Unknown(_)), "{changes}");
        }
        for changes in [json!({"mchid": "1900000110"}), json!({"appid": "wx9999999999999999"})] {
            let Queried::Found(seen) = asked(&it, 200, &transaction(&it, changes)) else {
                panic!()
            };
            assert!(matches!(seen.trade, Trade::PaidToAnother(_)));
        }
    }

    #[test]
    fn a_trade_without_a_currency_is_in_renminbi() {
        let it = Fixture::new();
        let answer = asked(&it, 200, &transaction(&it, json!({"amount": {"total": 1990}})));
        let Queried::Found(Observation {
            trade: Trade::Paid(receipt),
            ..
        }) = answer
        else {
            panic!("{answer:?}")
        };
        assert_eq!(receipt.currency, "CNY");
    }

    #[test]
    fn a_trade_is_unknown_there_only_by_a_signed_word() {
        let it = Fixture::new();
        for code in ["ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"] {
            assert_eq!(asked(&it, 404, &error(code)), Queried::NotFound);
            assert!(matches!(asked(&it, 500, &error(code)), Queried::Unknown(_)));
        }
        for (status, body) in [
            (404, String::new()),
            (404, "{}".into()),
            (400, error("PARAM_ERROR")),
            (200, error("ORDER_NOT_EXIST")),
        ] {
            assert!(
                matches!(asked(&it, status, &body), Queried::Unknown(_)),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn every_answer_to_closing_has_its_meaning() {
        let it = Fixture::new();
        assert_eq!(closed(&it, 204, ""), Closing::Closed);
        assert_eq!(closed(&it, 400, &error("ORDERPAID")), Closing::AlreadyPaid);
        assert_eq!(closed(&it, 400, &error("ORDER_CLOSED")), Closing::Closed);
        assert_eq!(closed(&it, 404, &error("ORDER_NOT_EXIST")), Closing::NotFound);
        assert_eq!(closed(&it, 404, &error("RESOURCE_NOT_EXISTS")), Closing::NotFound);
        for (status, body) in [
            (200, String::new()),
            (202, error("USER_PAYING")),
            (400, error("PARAM_ERROR")),
            (400, String::new()),
            (429, error("FREQUENCY_LIMITED")),
            (500, error("SYSTEM_ERROR")),
            (500, error("ORDER_CLOSED")),
        ] {
            assert!(
                matches!(closed(&it, status, &body), Closing::Unknown(_)),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn every_answer_to_a_refund_has_its_meaning() {
        let it = Fixture::new();
        let status = |status: &str| refunded(&it, 200, &refund_report(&it, json!({"status": status})));
        assert_eq!(status("SUCCESS"), Refunding::Succeeded);
        assert_eq!(status("PROCESSING"), Refunding::Processing);
        assert!(matches!(status("CLOSED"), Refunding::Rejected(_)));
        assert!(matches!(status("ABNORMAL"), Refunding::Rejected(_)));
        assert!(matches!(status("DONE"), Refunding::Unknown(_)));

        let refused = |status, code: &str| refunded(&it, status, &error(code));
        assert_eq!(refused(404, "RESOURCE_NOT_EXISTS"), Refunding::NotFound);
        for code in [
            "PARAM_ERROR",
            "INVALID_REQUEST",
            "NO_AUTH",
            "MCH_NOT_EXISTS",
            "USER_ACCOUNT_ABNORMAL",
        ] {
            assert!(matches!(refused(403, code), Refunding::Rejected(_)), "{code}");
        }
        for (status, code) in [
            (403, "NOT_ENOUGH"),
            (429, "FREQUENCY_LIMITED"),
            (500, "SYSTEM_ERROR"),
            (500, "RESOURCE_NOT_EXISTS"),
            (400, "NEW_CODE"),
        ] {
            assert!(matches!(refused(status, code), Refunding::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn a_refund_of_another_amount_settles_nothing() {
        let it = Fixture::new();
        for amount in [
            json!({"total": 1990, "refund": 501, "currency": "CNY"}),
            json!({"total": 1991, "refund": 500, "currency": "CNY"}),
            json!({"total": 1990, "refund": 500, "currency": "USD"}),
            json!({"total": 500, "refund": 1990}),
        ] {
            let answer = refunded(&it, 200, &refund_report(&it, json!({"amount": amount})));
            assert!(matches!(answer, Refunding::Rejected(_)), "{amount}");
        }
        for changes in [
            json!({"out_refund_no": it.text("/payment")}),
            json!({"out_trade_no": it.text("/refund")}),
            json!({"amount": null}),
            json!({"amount": {"refund": 500}}),
        ] {
            let answer = refunded(&it, 200, &refund_report(&it, changes.clone()));
            assert!(matches!(answer, Refunding::Unknown(_)), "{changes}");
        }
        let answer = refunded(
            &it,
            200,
            &refund_report(&it, json!({"amount": {"total": 1990, "refund": 500}})),
        );
        assert_eq!(answer, Refunding::Succeeded);
    }

    #[test]
    fn the_words_of_a_refusal_are_cut() {
        let it = Fixture::new();
        let body = json!({"code": "PARAM_ERROR", "message": "字".repeat(100_000)}).to_string();
        let Making::Rejected(reason) = made(&it, Channel::QrCode, 400, &body) else {
            panic!()
        };
        assert_eq!(reason.chars().count(), LONGEST_REASON);
    }

    proptest! {
        #[test]
        fn what_anybody_makes_up_is_no_answer(status in 100..600_u16, body in prop::collection::vec(any::<u8>(), 0..300)) {
            thread_local!(static IT: Fixture = Fixture::new());
            IT.with(|it| {
                let mut received = it.answered(status, "");
                received.body = [b"x", body.as_slice()].concat().into();
                assert!(read(it, &received).is_err());
                received.headers = it.signed_by(Signer::PublicKey, &body, "1");
                assert!(read(it, &received).is_err());
            });
        }

        #[test]
        fn what_is_signed_but_made_up_decides_nothing(status in 200..500_u16, body in "\\PC{0,200}") {
            thread_local!(static IT: Fixture = Fixture::new());
            IT.with(|it| {
                assert!(matches!(asked(it, status, &body), Queried::Unknown(_)));
                assert!(matches!(refunded(it, status, &body), Refunding::Unknown(_)));
                assert!(matches!(made(it, Channel::InApp, status, &body), Making::Unknown(_)));
            });
        }
    }
}
