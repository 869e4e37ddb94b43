//! What the gateway answers: whether it is genuine, whether it is about what was asked, and what it says.

use std::collections::BTreeMap;

use http_function::StatusCode;
use kernel::{Money, PaymentId};
use serde::Deserialize;
use serde_json::value::RawValue;
use service_client::Received;

use super::keys::Keys;
use super::request::Method;
use super::{amount, moment};
use crate::provider::{
    CURRENCY, Closing, Making, Observation, Offer, Queried, Receipt, Refunding, Silence, Trade, refund_number,
    trade_number,
};
use crate::refund::Refund;

/// Larger answers are not read.
const MOST_BYTES: usize = 1024 * 1024;

/// A genuine answer.
pub(super) enum Answer {
    /// Code 10000.
    Done(Box<Content>),
    /// Code 40004: the gateway understood the call and does not do it, for this reason, without its prefix `ACQ.`.
    Refused(String),
}

/// What answers are made of; each has some of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    code: String,
    sub_code: Option<String>,
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    trade_status: Option<String>,
    total_amount: Option<String>,
    trans_currency: Option<String>,
    send_pay_date: Option<String>,
    qr_code: Option<String>,
    fund_change: Option<String>,
    out_request_no: Option<String>,
    refund_status: Option<String>,
    refund_amount: Option<String>,
    bill_download_url: Option<String>,
}

impl Answer {
    /// Reads what came for a call of `method` about `payment`.
    pub(super) fn read(keys: &Keys, method: Method, payment: PaymentId, received: &Received) -> Result<Self, Silence> {
        let content = genuine(keys, method, received)?;
        let asked = trade_number(payment);
        // A refusal, and the answer to a question about a refund that is not there, may leave the trade out.
        let named = content.out_trade_no.as_deref().filter(|named| !named.is_empty());
        match (content.code.as_str(), named) {
            (_, Some(named)) if named != asked => Err(silence("the answer is about another trade")),
            ("10000", None) if method != Method::RefundQuery => Err(silence("the answer is about no trade")),
            ("10000", _) => Ok(Self::Done(Box::new(content))),
            ("40004", _) => match content.refusal() {
                Some(reason) => Ok(Self::Refused(reason)),
                None => Err(silence(content.codes())),
            },
            // 10003: in progress. 20000: the gateway is not available. The others speak of our settings and permissions, not
            // of the trade.
            _ => Err(silence(content.codes())),
        }
    }
}

/// The answer to a question for the statement of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Where it is.
    At(String),
    /// The gateway understood the question and has no address, for this reason.
    Refused(String),
}

impl Address {
    /// Reads what came. It names no trade.
    pub(super) fn read(keys: &Keys, received: &Received) -> Result<Self, Silence> {
        let content = genuine(keys, Method::StatementAddress, received)?;
        match (content.code.as_str(), &content.bill_download_url, &content.sub_code) {
            ("10000", Some(url), _) if !url.is_empty() => Ok(Self::At(url.clone())),
            ("40004", _, Some(reason)) => Ok(Self::Refused(word(reason))),
            _ => Err(silence(content.codes())),
        }
    }
}

/// The content of an answer, if Alipay signed it.
fn genuine(keys: &Keys, method: Method, received: &Received) -> Result<Content, Silence> {
    if received.status != StatusCode::OK {
        return Err(silence(format!("status {}", received.status.as_u16())));
    }
    if received.body.len() > MOST_BYTES {
        return Err(silence("the answer is too long"));
    }
    let answer: BTreeMap<String, &RawValue> =
        serde_json::from_slice(&received.body).map_err(|_| silence("the answer is not a JSON object"))?;
    let member = |name: &str| answer.get(name).copied();
    let text = |name: &str| member(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let content = member(&method.response());
    let Some(signature) = text("sign") else {
        // Without proof, but the gateway says in this way that it can not verify our own signature.
        let claim = content.or_else(|| member("error_response"));
        let claim = claim.and_then(|raw| serde_json::from_str::<Content>(raw.get()).ok());
        let codes = claim.map(|content| content.codes()).unwrap_or_default();
        return Err(silence(format!("the answer is not signed: {codes}")));
    };
    let content = content
        .ok_or_else(|| silence("the answer is to another question"))?
        .get();
    let number = text("alipay_cert_sn");
    let verify = |text: &str| keys.verify(text, &signature, number.as_deref());
    let parse = |text: &str| serde_json::from_str(text).map_err(|_| silence("the answer is not understood"));
    let wrong = match verify(content) {
        Ok(()) => return parse(content),
        Err(wrong) => wrong,
    };
    // Alipay's own libraries believe a signature also where the slashes were escaped after signing. What is read is what
    // was signed.
    let plain = content.replace("\\/", "/");
    match plain != content && verify(&plain).is_ok() {
        true => parse(&plain),
        false => Err(silence(format!("the answer's signature proves nothing: {wrong}"))),
    }
}

impl Content {
    /// For people who look for what is wrong.
    fn codes(&self) -> String {
        let sub_code = self.sub_code.as_deref().unwrap_or_default();
        format!("code {} {}", word(&self.code), word(sub_code))
            .trim_end()
            .to_owned()
    }

    /// Why the trade is not to be had; nothing where only the gateway failed, and that may be over soon.
    fn refusal(&self) -> Option<String> {
        let reason = self.sub_code.as_deref()?.strip_prefix("ACQ.")?;
        (reason != "SYSTEM_ERROR" && !reason.is_empty()).then(|| word(reason))
    }

    fn observation(&self, payment: PaymentId) -> Result<Observation, Silence> {
        let trade = match self.trade_status.as_deref() {
            Some("WAIT_BUYER_PAY") => Trade::Waiting,
            Some("TRADE_SUCCESS" | "TRADE_FINISHED") => Trade::Paid(self.receipt()?),
            // Closed because time was up, or because all of the money went back.
            Some("TRADE_CLOSED") if self.send_pay_date.as_ref().is_some_and(|date| !date.is_empty()) => {
                Trade::Returned(self.receipt()?)
            }
            Some("TRADE_CLOSED") => Trade::Closed,
            _ => return Err(silence("trade_status is not known")),
        };
        Ok(Observation { payment, trade })
    }

    fn receipt(&self) -> Result<Receipt, Silence> {
        let trade_no = self.trade_no.clone().filter(|number| !number.is_empty());
        let currency = self.trans_currency.clone().filter(|currency| !currency.is_empty());
        Ok(Receipt {
            trade_no: trade_no.ok_or_else(|| silence("trade_no is missing"))?,
            // Not receipt_amount: that is less where Alipay gave the buyer a rebate.
            amount: money("total_amount", self.total_amount.as_deref())?,
            currency: currency.unwrap_or_else(|| CURRENCY.to_owned()),
            paid_at: self
                .send_pay_date
                .as_deref()
                .and_then(moment::read)
                .ok_or_else(|| silence("send_pay_date is missing or no moment"))?,
        })
    }
}

/// What the answer to a precreation makes of a trade.
pub(super) fn making(answer: Result<Answer, Silence>) -> Making {
    match answer {
        Ok(Answer::Done(content)) => match content.qr_code.filter(|code| !code.is_empty()) {
            Some(code) => Making::Offered(Offer::QrCode(code)),
            None => Making::Unknown(silence("qr_code is missing")),
        },
        Ok(Answer::Refused(reason)) => match reason.as_str() {
            "TRADE_HAS_SUCCESS" => Making::AlreadyPaid,
            "TRADE_HAS_CLOSE" => Making::Closed,
            _ => Making::Rejected(reason),
        },
        Err(silence) => Making::Unknown(silence),
    }
}

/// What the answer to a question says of a trade.
pub(super) fn queried(payment: PaymentId, answer: Result<Answer, Silence>) -> Queried {
    match answer {
        Ok(Answer::Done(content)) => content
            .observation(payment)
            .map_or_else(Queried::Unknown, Queried::Found),
        Ok(Answer::Refused(reason)) if reason == "TRADE_NOT_EXIST" => Queried::NotFound,
        Ok(Answer::Refused(reason)) => Queried::Unknown(Silence(reason)),
        Err(silence) => Queried::Unknown(silence),
    }
}

/// What the answer to closing says; `None` where it only says that the trade is not one to be closed, and a question has
/// to tell why.
pub(super) fn closing(answer: Result<Answer, Silence>) -> Option<Closing> {
    Some(match answer {
        Ok(Answer::Done(_)) => Closing::Closed,
        Ok(Answer::Refused(reason)) => match reason.as_str() {
            "TRADE_NOT_EXIST" => Closing::NotFound,
            "TRADE_HAS_SUCCESS" | "TRADE_HAS_FINISHED" => Closing::AlreadyPaid,
            "TRADE_HAS_CLOSE" => Closing::Closed,
            "TRADE_STATUS_ERROR" | "REASON_TRADE_STATUS_INVALID" | "REASON_ILLEGAL_STATUS" => return None,
            _ => Closing::Unknown(Silence(reason)),
        },
        Err(silence) => Closing::Unknown(silence),
    })
}

/// The same, told by a question.
pub(super) fn closing_by(queried: Queried) -> Closing {
    match queried {
        Queried::Found(seen) => match seen.trade {
            Trade::Paid(_) | Trade::PaidToAnother(_) | Trade::Returned(_) => Closing::AlreadyPaid,
            Trade::Closed | Trade::Failed => Closing::Closed,
            Trade::Waiting => Closing::Unknown(silence("the trade waits for its buyer and can not be closed")),
        },
        Queried::NotFound => Closing::NotFound,
        Queried::Unknown(silence) => Closing::Unknown(silence),
    }
}

/// What the answer to a refund says.
pub(super) fn refunding(answer: Result<Answer, Silence>) -> Refunding {
    match answer {
        // Only then did money move now. Otherwise it may have moved before, under the same number, or is going to.
        Ok(Answer::Done(content)) if content.fund_change.as_deref() == Some("Y") => Refunding::Succeeded,
        Ok(Answer::Done(_)) => Refunding::Processing,
        Ok(Answer::Refused(reason)) if reason == "TRADE_NOT_EXIST" => Refunding::NotFound,
        Ok(Answer::Refused(reason)) if is_final(&reason) => Refunding::Rejected(reason),
        // Asked again later, under the same number, which never pays twice. So too SELLER_BALANCE_NOT_ENOUGH: other buyers
        // pay, or a person tops the account up. If it stays so, a person is called.
        Ok(Answer::Refused(reason)) => Refunding::Unknown(Silence(reason)),
        Err(silence) => Refunding::Unknown(silence),
    }
}

/// What becomes of a refund that was refused, by what a question says of it: a trade whose money went back under this very
/// number, and whose answer was lost, refuses more.
pub(super) fn refused_refund(reason: String, asked: Refunding) -> Refunding {
    match asked {
        Refunding::NotFound => Refunding::Rejected(reason),
        known => known,
    }
}

/// Refusals of a refund that no waiting mends.
fn is_final(reason: &str) -> bool {
    matches!(
        reason,
        "ALLOC_AMOUNT_VALIDATE_ERROR"
            | "BUYER_ENABLE_STATUS_FORBID"
            | "BUYER_ERROR"
            | "BUYER_NOT_EXIST"
            | "CUSTOMER_VALIDATE_ERROR"
            | "DISCORDANT_REPEAT_REQUEST"
            | "INVALID_PARAMETER"
            | "NOT_ALLOW_PARTIAL_REFUND"
            | "ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND"
            | "REASON_TRADE_BEEN_FREEZEN"
            | "REASON_TRADE_REFUND_FEE_ERR"
            | "REASON_TRADE_STATUS_INVALID"
            | "REFUND_AMT_NOT_EQUAL_TOTAL"
            | "REFUND_FEE_ERROR"
            | "TRADE_HAS_CLOSE"
            | "TRADE_HAS_FINISHED"
            | "TRADE_NOT_ALLOW_REFUND"
            | "TRADE_STATUS_ERROR"
            | "USER_NOT_MATCH_ERR"
    )
}

/// What the answer to a question says of a refund.
pub(super) fn queried_refund(refund: &Refund, answer: Result<Answer, Silence>) -> Refunding {
    let content = match answer {
        Ok(Answer::Done(content)) => content,
        Ok(Answer::Refused(reason)) if reason == "TRADE_NOT_EXIST" => return Refunding::NotFound,
        Ok(Answer::Refused(reason)) => return Refunding::Unknown(Silence(reason)),
        Err(silence) => return Refunding::Unknown(silence),
    };
    let number = content.out_request_no.as_deref().filter(|number| !number.is_empty());
    if number.is_some_and(|number| number != refund_number(refund.id)) {
        return Refunding::Unknown(silence("the answer is about another refund"));
    }
    match content.refund_status.as_deref().filter(|status| !status.is_empty()) {
        Some("REFUND_SUCCESS") if number.is_none() || content.out_trade_no.is_none() => {
            Refunding::Unknown(silence("the answer does not say which refund succeeded"))
        }
        Some("REFUND_SUCCESS") => match content.refund_amount.as_deref() {
            Some(text) => match amount(text) {
                Ok(amount) if amount == refund.amount => Refunding::Succeeded,
                Ok(amount) => Refunding::Rejected(format!("{amount} was refunded under this number")),
                Err(error) => Refunding::Unknown(silence(format!("refund_amount {error}"))),
            },
            None => Refunding::Succeeded,
        },
        Some(_) => Refunding::Processing,
        // The question was understood, and there is no such refund (yet).
        None => Refunding::NotFound,
    }
}

fn money(name: &str, text: Option<&str>) -> Result<Money, Silence> {
    let text = text.ok_or_else(|| silence(format!("{name} is missing")))?;
    amount(text).map_err(|error| silence(format!("{name} {error}")))
}

/// A code that can stand in a log, whatever it is.
fn word(code: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    code.chars().filter(allowed).take(64).collect()
}

fn silence(reason: impl Into<String>) -> Silence {
    Silence(reason.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contracts::payments::RefundReason;
    use http_function::HeaderMap;
    use kernel::{OrderId, RefundId, Timestamp, UserId};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::vectors::VECTORS;
    use super::*;
    use crate::provider::ProviderName;
    use crate::refund::RefundStatus;

    const OTHER: &str = "ffffffffffffffffffffffffffffffff";

    fn payment() -> PaymentId {
        VECTORS.text("payment").parse().unwrap()
    }

    fn refund() -> Refund {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Refund {
            id: VECTORS.text("refund").parse::<RefundId>().unwrap(),
            payment: payment(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(500).unwrap(),
            paid: Money::from_fen(1990).unwrap(),
            reason: RefundReason::OrderCancelled,
            provider: ProviderName::Alipay,
            created_at: now,
            updated_at: now,
            status: RefundStatus::Requested,
            remark: None,
            attempts: 0,
            next_attempt: now,
            version: 1,
        }
    }

    fn received(status: u16, body: impl Into<Bytes>) -> Received {
        Received {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    fn read(method: Method, body: impl Into<Bytes>) -> Result<Answer, Silence> {
        Answer::read(&VECTORS.our_keys(), method, payment(), &received(200, body))
    }

    /// What the gateway sends for `text`.
    fn signed(method: Method, text: &str) -> String {
        let sign = VECTORS.keys_of_alipay().sign(text).unwrap();
        format!(r#"{{"{}":{text},"sign":"{sign}"}}"#, method.response())
    }

    fn said(method: Method, content: &Value) -> Result<Answer, Silence> {
        read(method, signed(method, &content.to_string()))
    }

    /// Code 10000 for our trade, with more.
    fn done(method: Method, more: &Value) -> Result<Answer, Silence> {
        let mut content = json!({"code": "10000", "msg": "Success", "out_trade_no": VECTORS.text("payment")});
        content
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        said(method, &content)
    }

    fn refusal(method: Method, code: &str, sub_code: &str) -> Result<Answer, Silence> {
        said(
            method,
            &json!({"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "不行"}),
        )
    }

    fn why(answer: Result<Answer, Silence>) -> String {
        answer.err().expect("silence").0
    }

    fn paid() -> Trade {
        Trade::Paid(Receipt {
            trade_no: "2027011522001400000000000001".into(),
            amount: Money::from_fen(1990).unwrap(),
            currency: CURRENCY.into(),
            paid_at: "2027-01-15T16:05:07+08:00".parse().unwrap(),
        })
    }

    fn found(trade: Trade) -> Queried {
        Queried::Found(Observation {
            payment: payment(),
            trade,
        })
    }

    #[test]
    fn answers_that_another_implementation_signed_are_understood() {
        let code = Making::Offered(Offer::QrCode("https://qr.alipay.com/bax03431ljhokirwl38f00a7".into()));
        for keys in [VECTORS.our_keys(), VECTORS.our_certificates()] {
            let read = |method, name| {
                let body = VECTORS.of("answers", name).to_owned();
                Answer::read(&keys, method, payment(), &received(200, body))
            };
            for name in ["paid", "paid, slashes escaped", "paid, pretty"] {
                assert_eq!(queried(payment(), read(Method::Query, name)), found(paid()), "{name}");
            }
            assert_eq!(queried(payment(), read(Method::Query, "not known")), Queried::NotFound);
            assert_eq!(making(read(Method::Precreate, "code")), code);
        }
        assert_eq!(VECTORS.names("answers").len(), 5);
    }

    #[test]
    fn what_is_not_proved_is_no_answer() {
        let genuine = VECTORS.of("answers", "paid");
        let sign_at = genuine.find(r#","sign""#).unwrap();
        let unsigned = format!("{}}}", &genuine[..sign_at]);
        for body in [
            unsigned.clone(),
            genuine.replace("19.90", "1.00"),
            genuine.replace("TRADE_SUCCESS", "TRADE_CLOSED"),
            genuine.replace(r#","msg""#, r#", "msg""#),
            genuine.replace(r#""code":"10000","msg":"Success""#, r#""msg":"Success","code":"10000""#),
            genuine.replace("店/铺", "\\u5e97/铺"),
            genuine.replace(r#""sign":""#, r#""sign":"A"#),
            genuine.replace("alipay_trade_query_response", "alipay_trade_close_response"),
            genuine.replace("alipay_trade_query_response", "error_response"),
            format!(r#"{unsigned} "sign":null}}"#),
            unsigned.replace("}}", r#"},"sign":7}"#),
            String::new(),
            "null".into(),
            "[]".into(),
            r#""SUCCESS""#.into(),
            "<html>502 Bad Gateway</html>".into(),
            genuine[..genuine.len() - 1].into(),
            format!("{genuine}{genuine}"),
            "{".repeat(100_000),
        ] {
            assert!(
                read(Method::Query, body.clone()).is_err(),
                "{}",
                &body[..body.len().min(2_000)]
            );
        }
        assert!(
            read(
                Method::Query,
                &b"{\"alipay_trade_query_response\":{\"msg\":\"\xff\"},\"sign\":\"\"}"[..]
            )
            .is_err()
        );
        assert!(read(Method::Query, genuine.to_owned()).is_ok());
        assert!(read(Method::Close, genuine.to_owned()).is_err(), "to another question");
        for status in [201, 204, 301, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504] {
            let received = received(status, genuine.to_owned());
            assert!(
                Answer::read(&VECTORS.our_keys(), Method::Query, payment(), &received).is_err(),
                "{status}"
            );
        }
        let long = genuine.replace(r#""msg""#, &format!("{}\"msg\"", " ".repeat(MOST_BYTES)));
        assert_eq!(why(read(Method::Query, long)), "the answer is too long");
        let stranger = VECTORS.keys_of("stranger_private_key").sign("{}").unwrap();
        assert!(
            read(
                Method::Query,
                format!(r#"{{"alipay_trade_query_response":{{}},"sign":"{stranger}"}}"#)
            )
            .is_err()
        );
    }

    #[test]
    fn an_answer_without_proof_still_says_what_to_mend() {
        let body = r#"{"alipay_trade_query_response":{"code":"40002","sub_code":"isv.invalid-signature","msg":"x"}}"#;
        assert_eq!(
            why(read(Method::Query, body)),
            "the answer is not signed: code 40002 isv.invalid-signature"
        );
        let body = r#"{"error_response":{"code":"40002","sub_code":"a\nb <script>"}}"#;
        assert_eq!(
            why(read(Method::Query, body)),
            "the answer is not signed: code 40002 abscript"
        );
    }

    /// Some gateways escape slashes after signing. What was signed is what is read.
    #[test]
    fn slashes_that_were_escaped_after_signing_do_no_harm() {
        let genuine = VECTORS.of("answers", "paid");
        let escaped = genuine.replace("店/铺", "店\\/铺");
        assert_ne!(genuine, escaped);
        assert_eq!(queried(payment(), read(Method::Query, escaped)), found(paid()));
        assert!(read(Method::Query, genuine.replace("店/铺", "店\\/ 铺")).is_err());
    }

    #[test]
    fn the_named_certificate_verifies_an_answer() {
        let ours = VECTORS.our_certificates();
        let with = |number: &str| {
            let body = VECTORS.of("answers", "paid");
            let body = format!(r#"{{"alipay_cert_sn":"{number}",{}"#, &body[1..]);
            Answer::read(&ours, Method::Query, payment(), &received(200, body))
        };
        assert!(with(VECTORS.serial_number("alipay_certificate")).is_ok());
        assert!(with(VECTORS.serial_number("alipay_next_certificate")).is_err());
        assert!(why(with("1")).contains("not configured"));
    }

    #[test]
    fn an_answer_about_another_trade_is_no_answer() {
        for method in [
            Method::Query,
            Method::Close,
            Method::Refund,
            Method::Precreate,
            Method::RefundQuery,
        ] {
            assert_eq!(
                why(done(method, &json!({"out_trade_no": OTHER}))),
                "the answer is about another trade"
            );
            let other = json!({"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST", "out_trade_no": OTHER});
            assert_eq!(why(said(method, &other)), "the answer is about another trade");
        }
        for method in [Method::Query, Method::Close, Method::Refund, Method::Precreate] {
            for nothing in [json!({"out_trade_no": ""}), json!({"out_trade_no": null})] {
                assert_eq!(why(done(method, &nothing)), "the answer is about no trade");
            }
        }
    }

    #[test]
    fn a_trouble_of_the_gateway_says_nothing_of_the_trade() {
        for (code, sub_code) in [
            ("20000", "isp.unknow-error"),
            ("20000", "aop.ACQ.SYSTEM_ERROR"),
            ("20001", "aop.invalid-auth-token"),
            ("10003", ""),
            ("40001", "isv.missing-method"),
            ("40002", "isv.invalid-signature"),
            ("40005", "isv.app-call-limited"),
            ("40006", "isv.insufficient-isv-permissions"),
            ("40004", "ACQ.SYSTEM_ERROR"),
            ("40004", "AQC.SYSTEM_ERROR"),
            ("40004", "aop.ACQ.SYSTEM_ERROR"),
            ("40004", "isp.unknow-error"),
            ("40004", "ACQ."),
            ("40004", ""),
            ("", ""),
            ("99999", "ACQ.TRADE_NOT_EXIST"),
        ] {
            let ask = |method| refusal(method, code, sub_code);
            assert!(
                matches!(making(ask(Method::Precreate)), Making::Unknown(_)),
                "{code} {sub_code}"
            );
            assert!(
                matches!(queried(payment(), ask(Method::Query)), Queried::Unknown(_)),
                "{code} {sub_code}"
            );
            assert!(
                matches!(closing(ask(Method::Close)), Some(Closing::Unknown(_))),
                "{code} {sub_code}"
            );
            assert!(
                matches!(refunding(ask(Method::Refund)), Refunding::Unknown(_)),
                "{code} {sub_code}"
            );
            let asked = queried_refund(&refund(), ask(Method::RefundQuery));
            assert!(matches!(asked, Refunding::Unknown(_)), "{code} {sub_code}");
        }
    }

    #[test]
    fn a_new_trade_is_offered_exists_already_or_is_refused() {
        let making_of = |sub_code| making(refusal(Method::Precreate, "40004", sub_code));
        assert_eq!(making_of("ACQ.TRADE_HAS_SUCCESS"), Making::AlreadyPaid);
        assert_eq!(making_of("ACQ.TRADE_HAS_CLOSE"), Making::Closed);
        assert_eq!(
            making_of("ACQ.TOTAL_FEE_EXCEED"),
            Making::Rejected("TOTAL_FEE_EXCEED".into())
        );
        for nothing in [json!({}), json!({"qr_code": ""}), json!({"qr_code": null})] {
            assert!(matches!(making(done(Method::Precreate, &nothing)), Making::Unknown(_)));
        }
    }

    #[test]
    fn every_status_of_a_trade_has_one_meaning() {
        let ask = |more: Value| {
            let mut content = json!({
                "trade_no": "2027011522001400000000000001", "total_amount": "19.90", "receipt_amount": "1.00",
                "buyer_pay_amount": "1.00", "send_pay_date": "2027-01-15 16:05:07",
            });
            content
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            queried(payment(), done(Method::Query, &content))
        };
        let Trade::Paid(receipt) = paid() else { panic!() };
        assert_eq!(ask(json!({"trade_status": "TRADE_SUCCESS"})), found(paid()));
        assert_eq!(ask(json!({"trade_status": "TRADE_FINISHED"})), found(paid()));
        assert_eq!(
            ask(json!({"trade_status": "TRADE_CLOSED"})),
            found(Trade::Returned(receipt.clone()))
        );
        assert_eq!(
            ask(json!({"trade_status": "TRADE_CLOSED", "send_pay_date": null})),
            found(Trade::Closed)
        );
        assert_eq!(
            ask(json!({"trade_status": "TRADE_CLOSED", "send_pay_date": ""})),
            found(Trade::Closed)
        );
        assert_eq!(
            ask(json!({"trade_status": "WAIT_BUYER_PAY", "send_pay_date": null})),
            found(Trade::Waiting)
        );
        let in_dollars = Receipt {
            currency: "USD".into(),
            ..receipt
        };
        assert_eq!(
            ask(json!({"trade_status": "TRADE_SUCCESS", "trans_currency": "USD"})),
            found(Trade::Paid(in_dollars))
        );
        for wrong in [
            json!({}),
            json!({"trade_status": "TRADE_PAID"}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": null}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": "19.901"}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": "19.900"}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": "-19.90"}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": "1.99e1"}),
            json!({"trade_status": "TRADE_SUCCESS", "total_amount": 19.90}),
            json!({"trade_status": "TRADE_SUCCESS", "send_pay_date": null}),
            json!({"trade_status": "TRADE_SUCCESS", "send_pay_date": "soon"}),
            json!({"trade_status": "TRADE_SUCCESS", "trade_no": ""}),
            json!({"trade_status": ["TRADE_SUCCESS"]}),
        ] {
            assert!(matches!(ask(wrong.clone()), Queried::Unknown(_)), "{wrong}");
        }
        let refused = |sub_code| queried(payment(), refusal(Method::Query, "40004", sub_code));
        assert_eq!(refused("ACQ.TRADE_NOT_EXIST"), Queried::NotFound);
        assert!(matches!(refused("ACQ.INVALID_PARAMETER"), Queried::Unknown(_)));
    }

    #[test]
    fn closing_says_whether_money_can_still_come() {
        assert_eq!(
            closing(done(Method::Close, &json!({"trade_no": "1"}))),
            Some(Closing::Closed)
        );
        let refused = |sub_code| closing(refusal(Method::Close, "40004", sub_code));
        assert_eq!(refused("ACQ.TRADE_NOT_EXIST"), Some(Closing::NotFound));
        assert_eq!(refused("ACQ.TRADE_HAS_SUCCESS"), Some(Closing::AlreadyPaid));
        assert_eq!(refused("ACQ.TRADE_HAS_CLOSE"), Some(Closing::Closed));
        assert!(matches!(refused("ACQ.NEWS"), Some(Closing::Unknown(_))));
        // Paid or closed: only a question tells.
        assert_eq!(refused("ACQ.TRADE_STATUS_ERROR"), None);
        assert_eq!(refused("ACQ.REASON_TRADE_STATUS_INVALID"), None);
        assert_eq!(closing_by(found(paid())), Closing::AlreadyPaid);
        assert_eq!(closing_by(found(Trade::Closed)), Closing::Closed);
        assert_eq!(closing_by(Queried::NotFound), Closing::NotFound);
        assert!(matches!(closing_by(found(Trade::Waiting)), Closing::Unknown(_)));
    }

    #[test]
    fn a_refund_is_done_only_when_money_moved() {
        let answered = |more: Value| refunding(done(Method::Refund, &more));
        assert_eq!(
            answered(json!({"fund_change": "Y", "refund_fee": "5.00"})),
            Refunding::Succeeded
        );
        for unclear in [
            json!({}),
            json!({"fund_change": "N"}),
            json!({"fund_change": "y"}),
            json!({"fund_change": ""}),
        ] {
            assert_eq!(answered(unclear.clone()), Refunding::Processing, "{unclear}");
        }
        let refused = |reason: &str| refunding(refusal(Method::Refund, "40004", &format!("ACQ.{reason}")));
        for reason in [
            "REASON_TRADE_REFUND_FEE_ERR",
            "TRADE_HAS_FINISHED",
            "DISCORDANT_REPEAT_REQUEST",
            "TRADE_STATUS_ERROR",
        ] {
            assert_eq!(refused(reason), Refunding::Rejected(reason.into()));
        }
        assert_eq!(refused("TRADE_NOT_EXIST"), Refunding::NotFound);
        for reason in ["SELLER_BALANCE_NOT_ENOUGH", "A_REASON_THAT_IS_NEW"] {
            assert_eq!(refused(reason), Refunding::Unknown(Silence(reason.into())));
        }
        let impostor = json!({"fund_change": "Y", "out_trade_no": OTHER});
        assert!(matches!(answered(impostor), Refunding::Unknown(_)));
    }

    #[test]
    fn a_refusal_is_final_only_if_the_refund_was_not_made_before() {
        let after = |asked| refused_refund("TRADE_HAS_CLOSE".into(), asked);
        assert_eq!(
            after(Refunding::NotFound),
            Refunding::Rejected("TRADE_HAS_CLOSE".into())
        );
        for known in [
            Refunding::Succeeded,
            Refunding::Processing,
            Refunding::Unknown(Silence("timed out".into())),
            Refunding::Rejected("4.99 was refunded under this number".into()),
        ] {
            assert_eq!(after(known.clone()), known);
        }
    }

    #[test]
    fn a_question_about_a_refund_is_answered_for_that_refund_only() {
        let number = VECTORS.text("refund");
        let asked = |more: Value| queried_refund(&refund(), done(Method::RefundQuery, &more));
        let success = |number: Value, amount: Value| {
            asked(json!({"out_request_no": number, "refund_status": "REFUND_SUCCESS", "refund_amount": amount}))
        };
        assert_eq!(success(json!(number), json!("5.00")), Refunding::Succeeded);
        assert_eq!(success(json!(number), json!(null)), Refunding::Succeeded);
        assert!(matches!(success(json!(number), json!("4.99")), Refunding::Rejected(_)));
        assert!(matches!(success(json!(number), json!("5.001")), Refunding::Unknown(_)));
        assert!(matches!(success(json!(OTHER), json!("5.00")), Refunding::Unknown(_)));
        assert!(matches!(success(json!(""), json!("5.00")), Refunding::Unknown(_)));
        assert!(matches!(success(json!(null), json!("5.00")), Refunding::Unknown(_)));
        assert_eq!(asked(json!({})), Refunding::NotFound);
        assert_eq!(asked(json!({"out_request_no": number})), Refunding::NotFound);
        assert_eq!(
            asked(json!({"out_request_no": number, "refund_status": ""})),
            Refunding::NotFound
        );
        assert_eq!(
            asked(json!({"out_request_no": number, "refund_status": "REFUND_PROCESSING"})),
            Refunding::Processing
        );
        let bare = said(Method::RefundQuery, &json!({"code": "10000", "msg": "Success"}));
        assert_eq!(queried_refund(&refund(), bare), Refunding::NotFound);
        let unknown = refusal(Method::RefundQuery, "40004", "ACQ.TRADE_NOT_EXIST");
        assert_eq!(queried_refund(&refund(), unknown), Refunding::NotFound);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_answer(body in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(read(Method::Query, body).is_err());
        }

        #[test]
        fn a_changed_byte_is_noticed_or_means_the_same(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut body = VECTORS.of("answers", "paid").as_bytes().to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(answer) = read(Method::Query, body) {
                prop_assert_eq!(queried(payment(), Ok(answer)), found(paid()));
            }
        }
    }
}
