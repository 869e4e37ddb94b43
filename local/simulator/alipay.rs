//! Alipay's open platform: its gateway, its payment page, its notifications. RSA2 only.
//!
//! Facts are from the open platform's public documentation: requests are signed over all parameters but `sign`, answers
//! over the raw text of their inner value, notifications over all fields but `sign` and `sign_type`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::amount::{fen, yuan};
use super::ledger::{Made, News, Notice, settled};
use super::moment::{self, DAY_MS, Day, HOUR_MS};
use super::notifier::Message;
use super::switches::{Fate, Operation, Spoiling, Switches};
use super::trade::{Company, Outcome, Refund, RefundWish, Refusal, Standing, State, Trade, Way, Wish};
use super::{
    ALIPAY_APP_ID, ALIPAY_SELLER_ID, Answer, Core, Signer, SimulatorError, front, is_notifiable, keys, page, signer,
    spoiled, statement,
};

/// How far the time of a request may be away. Alipay does not publish its limit; this one notices a wrong time zone.
const TIME_LIMIT_MS: i64 = HOUR_MS;
/// When an unpaid trade ends if its merchant does not say: a page's, and a code's.
const PAGE_LIFE_MS: i64 = 15 * DAY_MS;
const CODE_LIFE_MS: i64 = 2 * HOUR_MS;
/// How long the address of a statement works.
const ADDRESS_LIFE_MS: i64 = 30_000;
/// From when on a day's statement can be fetched: nine o'clock on the next day.
const STATEMENT_READY_MS: i64 = 9 * HOUR_MS;
/// Longest title, in characters.
const TITLE_LIMIT: usize = 256;
/// The buyer.
const BUYER_ID: &str = "2088200000000001";
const BUYER_LOGON: &str = "159****5620";

type Parameters = BTreeMap<String, String>;

/// `biz_content`, as far as anything here reads it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    subject: Option<String>,
    total_amount: Option<Value>,
    product_code: Option<String>,
    passback_params: Option<String>,
    time_expire: Option<String>,
    timeout_express: Option<String>,
    refund_amount: Option<Value>,
    refund_reason: Option<String>,
    out_request_no: Option<String>,
    query_options: Vec<String>,
    bill_type: Option<String>,
    bill_date: Option<String>,
}

/// A refusal by the gateway or by the trade system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    code: &'static str,
    sub_code: &'static str,
    sub_msg: &'static str,
}

impl Fault {
    /// `40002`: the request itself is wrong.
    const fn invalid(sub_code: &'static str, sub_msg: &'static str) -> Self {
        Self {
            code: "40002",
            sub_code,
            sub_msg,
        }
    }

    /// `40004`: the request was understood and is refused.
    const fn business(sub_code: &'static str, sub_msg: &'static str) -> Self {
        Self {
            code: "40004",
            sub_code,
            sub_msg,
        }
    }

    fn body(self) -> Map<String, Value> {
        let msg = match self.code {
            "40002" => "Invalid Arguments",
            "20000" => "Service Currently Unavailable",
            _ => "Business Failed",
        };
        members(json!({ "code": self.code, "msg": msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg }))
    }
}

const INVALID_PARAMETER: Fault = Fault::business("ACQ.INVALID_PARAMETER", "参数无效");
const NOT_EXIST: Fault = Fault::business("ACQ.TRADE_NOT_EXIST", "交易不存在");
const STATUS_ERROR: Fault = Fault::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法");

/// How a refusal is told to who makes a trade.
fn making(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Paid | Refusal::Finished => Fault::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
        Refusal::Closed => Fault::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
        Refusal::Different => Fault::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
        Refusal::Unknown | Refusal::NotPaid | Refusal::Nothing | Refusal::TooMuch | Refusal::NoMoney => {
            INVALID_PARAMETER
        }
    }
}

/// How a refusal is told to who closes a trade or wants money back.
fn changing(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Unknown => NOT_EXIST,
        Refusal::Paid | Refusal::Closed | Refusal::NotPaid => STATUS_ERROR,
        Refusal::Finished => Fault::business("ACQ.TRADE_HAS_FINISHED", "交易已完结"),
        Refusal::TooMuch => Fault::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"),
        Refusal::Nothing => INVALID_PARAMETER,
        Refusal::Different => Fault::business("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
        Refusal::NoMoney => Fault::business("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足"),
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The text that a signature is over: sorted `key=value` pairs without those named, values as they are.
fn signed_text(parameters: &Parameters, without: &[&str], empty_too: bool) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .filter(|(key, value)| !without.contains(&key.as_str()) && (empty_too || !value.is_empty()))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
}

/// `/gateway.do`: parameters may come in the query, in a form, or in both.
pub(super) fn gateway(core: &Core, query: &str, body: &[u8]) -> Result<Answer, SimulatorError> {
    let mut parameters = front::parameters(query.as_bytes());
    parameters.extend(front::parameters(body));
    let of = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let method = of("method").to_owned();
    let for_browser = matches!(method.as_str(), "alipay.trade.page.pay" | "alipay.trade.wap.pay");
    if let Err(fault) = check(core, &parameters, for_browser) {
        if for_browser {
            return Ok(refused_page(fault).into());
        }
        // Who is not known gets an answer that nobody signed.
        if of("app_id") != ALIPAY_APP_ID {
            let text = json!({ "error_response": fault.body() }).to_string();
            return Ok(json_response(text).into());
        }
        return Ok(respond(core, &method, fault.body(), Signer::Genuine)?.into());
    }
    let Ok(content) = serde_json::from_str::<Content>(of("biz_content")) else {
        let fault = INVALID_PARAMETER;
        return Ok(respond(core, &method, fault.body(), Signer::Genuine)?.into());
    };
    if for_browser {
        let way = if method == "alipay.trade.page.pay" {
            Way::Page
        } else {
            Way::MobilePage
        };
        return browser_pay(core, way, &parameters, &content);
    }
    let operation = match method.as_str() {
        "alipay.trade.precreate" => Operation::Create,
        "alipay.trade.query" => Operation::Query,
        "alipay.trade.close" => Operation::Close,
        "alipay.trade.refund" => Operation::Refund,
        "alipay.trade.fastpay.refund.query" => Operation::QueryRefund,
        "alipay.data.dataservice.bill.downloadurl.query" => Operation::Statement,
        _ => {
            let fault = Fault::invalid("isv.invalid-method", "不存在的方法名");
            return Ok(respond(core, &method, fault.body(), Signer::Genuine)?.into());
        }
    };
    let trade = meant(core, &content)?;
    let out_trade_no = trade.as_ref().map(|trade| trade.wish.out_trade_no.clone());
    let out_trade_no = out_trade_no
        .or_else(|| content.out_trade_no.clone())
        .unwrap_or_default();
    let (spoiling, switches) = core.ledger.spoiling(&out_trade_no, operation)?;
    if spoiling == Spoiling::ServerError {
        let fault = Fault {
            code: "20000",
            sub_code: "isp.unknow-error",
            sub_msg: "系统繁忙",
        };
        let mut response = respond(core, &method, fault.body(), Signer::Genuine)?;
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(response.into());
    }
    let outcome = match operation {
        Operation::Create => precreate(core, &parameters, &content)?,
        Operation::Query => query_trade(core, trade.as_ref()),
        Operation::Close => close(core, trade.as_ref())?,
        Operation::Refund => refund(core, trade.as_ref(), &content, &switches)?,
        Operation::QueryRefund => query_refund(trade.as_ref(), &content),
        Operation::Statement => statement_address(core, &content)?,
    };
    let body = match outcome {
        Ok(mut body) => {
            body.insert("code".to_owned(), "10000".into());
            body.insert("msg".to_owned(), "Success".into());
            body
        }
        Err(fault) => fault.body(),
    };
    Ok(spoiled(
        respond(core, &method, body, signer(spoiling))?,
        spoiling,
        &switches,
    ))
}

/// What every request has to have.
fn check(core: &Core, parameters: &Parameters, for_browser: bool) -> Result<(), Fault> {
    let of = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    if of("app_id") != ALIPAY_APP_ID {
        return Err(Fault::invalid("isv.invalid-app-id", "无效的AppID参数"));
    }
    if of("sign_type") != "RSA2" {
        return Err(Fault::invalid("isv.invalid-signature-type", "无效的签名类型"));
    }
    if !of("charset").eq_ignore_ascii_case("utf-8") {
        return Err(Fault::invalid("isv.invalid-charset", "字符集错误"));
    }
    if of("version") != "1.0" || !matches!(of("format"), "" | "JSON" | "json") {
        return Err(Fault::invalid("isv.invalid-format", "无效的数据格式"));
    }
    if core.alipay_certificates {
        if of("app_cert_sn") != core.keys.app_certificate_serial() {
            return Err(Fault::invalid("isv.invalid-app-cert-sn", "应用公钥证书序列号错误"));
        }
        if of("alipay_root_cert_sn") != core.keys.root_certificate_serial() {
            return Err(Fault::invalid(
                "isv.invalid-alipay-root-cert-sn",
                "支付宝根证书序列号错误",
            ));
        }
    }
    let text = signed_text(parameters, &["sign"], false);
    if !core.keys.alipay_app.verifies(text.as_bytes(), of("sign")) {
        return Err(Fault::invalid("isv.invalid-signature", "验签出错"));
    }
    let Some(at_ms) = moment::from_plain(of("timestamp")) else {
        return Err(Fault::invalid("isv.invalid-timestamp", "非法的时间戳参数"));
    };
    // A link waits for its buyer as long as he likes.
    let apart = core.clock.now_ms().saturating_sub(at_ms).abs();
    if !for_browser && apart > TIME_LIMIT_MS {
        return Err(Fault::invalid("isv.invalid-timestamp", "非法的时间戳参数"));
    }
    Ok(())
}

/// An answer: the signature is over the inner value's text as it stands there.
fn respond(
    core: &Core,
    method: &str,
    body: Map<String, Value>,
    signer: Signer,
) -> Result<Response<Bytes>, SimulatorError> {
    let mut body = body;
    // Members come and go with Alipay; who reads answers has to live with those he does not know.
    body.insert("simulated_note".to_owned(), r#"not the end: "}, nor this: \"#.into());
    // Alipay escapes slashes, which stand in texts only.
    let inner = Value::Object(body).to_string().replace('/', "\\/");
    let certificate = if core.alipay_certificates {
        format!(r#","alipay_cert_sn":"{}""#, core.keys.alipay_certificate_serial())
    } else {
        String::new()
    };
    let signature = match signer {
        Signer::Genuine => Some(core.keys.alipay.sign(inner.as_bytes())?),
        Signer::Stranger | Signer::Probe => Some(core.keys.stranger.sign(inner.as_bytes())?),
        Signer::Nobody => None,
    };
    let signature = signature.map_or_else(String::new, |sign| format!(r#","sign":"{sign}""#));
    let node = method.replace('.', "_");
    Ok(json_response(format!(
        r#"{{"{node}_response":{inner}{certificate}{signature}}}"#
    )))
}

fn json_response(text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    let kind = HeaderValue::from_static("text/html;charset=utf-8");
    // It is JSON, and Alipay calls it HTML.
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refused_page(fault: Fault) -> Response<Bytes> {
    page::result(StatusCode::BAD_REQUEST, &format!("✕ {}", fault.sub_msg), fault.sub_code)
}

/// The trade that is meant, by either number.
fn meant(core: &Core, content: &Content) -> Result<Option<Trade>, SimulatorError> {
    match (&content.trade_no, &content.out_trade_no) {
        (Some(trade_no), _) if !trade_no.is_empty() => core.ledger.numbered(Company::Alipay, trade_no),
        (_, Some(out_trade_no)) => core.ledger.find(Company::Alipay, out_trade_no),
        _ => Ok(None),
    }
}

/// What a merchant asks for, checked.
fn wish(core: &Core, way: Way, parameters: &Parameters, content: &Content) -> Result<Wish, Fault> {
    let is_number = |text: &&String| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|character| character.is_ascii_alphanumeric() || character == b'_')
    };
    let out_trade_no = content
        .out_trade_no
        .as_ref()
        .filter(is_number)
        .ok_or(INVALID_PARAMETER)?;
    let is_title = |text: &&String| (1..=TITLE_LIMIT).contains(&text.chars().count());
    let title = content.subject.as_ref().filter(is_title).ok_or(INVALID_PARAMETER)?;
    let amount_fen = content
        .total_amount
        .as_ref()
        .and_then(amount)
        .ok_or(INVALID_PARAMETER)?;
    let product = content.product_code.as_deref().unwrap_or_default();
    let products: &[&str] = match way {
        Way::Page => &["FAST_INSTANT_TRADE_PAY"],
        Way::MobilePage => &["QUICK_WAP_WAY", "QUICK_WAP_PAY"],
        Way::QrCode | Way::InApp => &["", "FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"],
    };
    if !products.contains(&product) {
        return Err(INVALID_PARAMETER);
    }
    let now_ms = core.clock.now_ms();
    let life_ms = if way == Way::QrCode { CODE_LIFE_MS } else { PAGE_LIFE_MS };
    let expires_ms = match (&content.time_expire, &content.timeout_express) {
        (Some(text), _) => moment::from_plain(text).ok_or(INVALID_PARAMETER)?,
        (None, Some(text)) => now_ms.saturating_add(duration(text).ok_or(INVALID_PARAMETER)?),
        (None, None) => now_ms.saturating_add(life_ms),
    };
    let address = |name: &str| parameters.get(name).filter(|text| !text.is_empty());
    let notify_url = address("notify_url");
    if notify_url.is_some_and(|url| !is_notifiable(url)) {
        return Err(Fault::invalid("isv.invalid-parameter", "notify_url无效"));
    }
    Ok(Wish {
        out_trade_no: out_trade_no.clone(),
        way,
        title: title.clone(),
        amount_fen,
        notify_url: notify_url.cloned(),
        return_url: address("return_url").cloned(),
        attach: content.passback_params.clone(),
        openid: None,
        expires_ms,
    })
}

/// Alipay takes amounts as text and as numbers.
fn amount(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => fen(text),
        Value::Number(number) => fen(&number.to_string()),
        _ => None,
    }
}

/// `90m`, `2h`, `1d`.
fn duration(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: i64 = digits.parse().ok().filter(|count| *count > 0)?;
    let unit = match unit {
        "m" => 60_000,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    count.checked_mul(unit)
}

/// `page.pay` and `wap.pay`: a browser follows a signed link. The trade comes into being with that.
fn browser_pay(core: &Core, way: Way, parameters: &Parameters, content: &Content) -> Result<Answer, SimulatorError> {
    let wish = match wish(core, way, parameters, content) {
        Ok(wish) => wish,
        Err(fault) => return Ok(refused_page(fault).into()),
    };
    let now_ms = core.clock.now_ms();
    let known = core.ledger.find(Company::Alipay, &wish.out_trade_no)?;
    if known.is_none() && now_ms >= wish.expires_ms {
        return Ok(page::closed().into());
    }
    Ok(match core.ledger.make(Company::Alipay, wish, State::Waiting, now_ms)? {
        Made::Trade(trade) => page::redirect(&page::cashier_path(&trade)).into(),
        // Who follows his link again sees what became of it.
        Made::Refused(Refusal::Paid | Refusal::Closed) => match known {
            Some(trade) => page::of_trade(&trade, false, now_ms).into(),
            None => page::closed().into(),
        },
        Made::Refused(refusal) => refused_page(making(refusal)).into(),
    })
}

type Outcomes = Result<Map<String, Value>, Fault>;

fn precreate(core: &Core, parameters: &Parameters, content: &Content) -> Result<Outcomes, SimulatorError> {
    let wish = match wish(core, Way::QrCode, parameters, content) {
        Ok(wish) => wish,
        Err(fault) => return Ok(Err(fault)),
    };
    let now_ms = core.clock.now_ms();
    if now_ms >= wish.expires_ms {
        return Ok(Err(INVALID_PARAMETER));
    }
    Ok(
        match core.ledger.make(Company::Alipay, wish, State::Prepared, now_ms)? {
            Made::Trade(trade) => Ok(members(json!({
                "out_trade_no": trade.wish.out_trade_no,
                "qr_code": format!("{}/alipay/qr/{}", core.base_url, trade.token),
            }))),
            Made::Refused(refusal) => Err(making(refusal)),
        },
    )
}

/// Alipay's word for how a trade stands.
fn trade_status(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Prepared => None,
        Standing::Waiting => Some("WAIT_BUYER_PAY"),
        Standing::Paid => Some("TRADE_SUCCESS"),
        Standing::Finished => Some("TRADE_FINISHED"),
        Standing::Returned | Standing::Closed => Some("TRADE_CLOSED"),
    }
}

/// The trade, if its merchant may know of it.
fn known(trade: Option<&Trade>) -> Result<&Trade, Fault> {
    trade.filter(|trade| trade.state != State::Prepared).ok_or(NOT_EXIST)
}

fn query_trade(core: &Core, trade: Option<&Trade>) -> Outcomes {
    let trade = known(trade)?;
    let status = trade_status(trade.standing(core.clock.now_ms())).ok_or(NOT_EXIST)?;
    let total = yuan(trade.wish.amount_fen);
    let paid = trade.paid_ms();
    let received = if paid.is_some() { total.clone() } else { yuan(0) };
    let mut body = members(json!({
        "buyer_logon_id": BUYER_LOGON,
        "buyer_pay_amount": received,
        "buyer_user_id": BUYER_ID,
        "invoice_amount": received,
        "out_trade_no": trade.wish.out_trade_no,
        "point_amount": yuan(0),
        "receipt_amount": received,
        "subject": trade.wish.title,
        "total_amount": total,
        "trade_no": trade.trade_no,
        "trade_status": status,
    }));
    if let Some(at_ms) = paid {
        body.insert("send_pay_date".to_owned(), moment::plain(at_ms).into());
        let funds = json!([{ "amount": total, "fund_channel": "ALIPAYACCOUNT" }]);
        body.insert("fund_bill_list".to_owned(), funds);
    }
    Ok(body)
}

fn close(core: &Core, trade: Option<&Trade>) -> Result<Outcomes, SimulatorError> {
    let trade = match known(trade) {
        Ok(trade) => trade,
        Err(fault) => return Ok(Err(fault)),
    };
    let now_ms = core.clock.now_ms();
    let closed = core.ledger.change(Company::Alipay, &trade.wish.out_trade_no, |trade| {
        Ok((trade.close(now_ms)?, Vec::new()))
    })?;
    Ok(match closed {
        Ok((trade, ())) => Ok(members(json!({
            "out_trade_no": trade.wish.out_trade_no,
            "trade_no": trade.trade_no,
        }))),
        Err(refusal) => Err(changing(refusal)),
    })
}

fn refund(
    core: &Core,
    trade: Option<&Trade>,
    content: &Content,
    switches: &Switches,
) -> Result<Outcomes, SimulatorError> {
    let trade = match known(trade) {
        Ok(trade) => trade,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some(amount_fen) = content.refund_amount.as_ref().and_then(amount) else {
        return Ok(Err(INVALID_PARAMETER));
    };
    // Without a number it can only be the whole.
    let refund_no = match &content.out_request_no {
        Some(number) if !number.is_empty() => number.clone(),
        _ if amount_fen == trade.wish.amount_fen => trade.wish.out_trade_no.clone(),
        _ => return Ok(Err(INVALID_PARAMETER)),
    };
    // Nothing gets stuck at Alipay: it is refused.
    let fate = if switches.refund == Fate::Abnormal {
        Fate::Refused
    } else {
        switches.refund
    };
    let (until_ms, now_ms) = (core.processed_ms(switches), core.clock.now_ms());
    let of_parts = switches.partial_refund_notification;
    let outcome = core.ledger.change(Company::Alipay, &trade.wish.out_trade_no, |trade| {
        let wish = RefundWish {
            refund_no: refund_no.clone(),
            refund_id: keys::digits(28),
            amount_fen,
            reason: content.refund_reason.clone(),
            notify_url: None,
        };
        let is_new = trade.refund(wish, fate, until_ms, now_ms)?;
        let notices = settled(trade, of_parts, now_ms);
        Ok((is_new && !is_processing(trade, &refund_no), notices))
    })?;
    core.happened();
    Ok(match outcome {
        Err(refusal) => Err(changing(refusal)),
        Ok((trade, moved)) => {
            let returned = yuan(trade.returned_fen());
            Ok(members(json!({
                "buyer_logon_id": BUYER_LOGON,
                "buyer_user_id": BUYER_ID,
                // Whether this very request moved money: a repeated one did not.
                "fund_change": if moved { "Y" } else { "N" },
                "gmt_refund_pay": moment::plain(now_ms),
                "out_trade_no": trade.wish.out_trade_no,
                // All that went back of the trade so far.
                "refund_fee": returned,
                "send_back_fee": if moved { yuan(amount_fen) } else { yuan(0) },
                "trade_no": trade.trade_no,
            })))
        }
    })
}

/// Whether the refund is still being processed.
fn is_processing(trade: &Trade, refund_no: &str) -> bool {
    let refund = trade.refund_named(refund_no);
    refund.is_some_and(|refund| matches!(refund.outcome, Outcome::Processing { .. }))
}

fn query_refund(trade: Option<&Trade>, content: &Content) -> Outcomes {
    let trade = known(trade)?;
    let refund_no = content.out_request_no.as_deref().ok_or(INVALID_PARAMETER)?;
    let done = |refund: &&Refund| matches!(refund.outcome, Outcome::Succeeded { .. });
    let Some(refund) = trade.refund_named(refund_no).filter(done) else {
        // A refund that is not done, or that nobody made: a success that says nothing.
        return Ok(Map::new());
    };
    let mut body = members(json!({
        "out_request_no": refund.refund_no,
        "out_trade_no": trade.wish.out_trade_no,
        "refund_amount": yuan(refund.amount_fen),
        "refund_reason": refund.reason,
        "refund_status": "REFUND_SUCCESS",
        "total_amount": yuan(trade.wish.amount_fen),
        "trade_no": trade.trade_no,
    }));
    if let Outcome::Succeeded { at_ms } = refund.outcome
        && content.query_options.iter().any(|option| option == "gmt_refund_pay")
    {
        body.insert("gmt_refund_pay".to_owned(), moment::plain(at_ms).into());
    }
    Ok(body)
}

const NO_STATEMENT: Fault = Fault::business("isp.bill_not_exist", "账单不存在");

fn statement_address(core: &Core, content: &Content) -> Result<Outcomes, SimulatorError> {
    let day = content.bill_date.as_deref().and_then(Day::parse);
    let (Some("trade"), Some(day)) = (content.bill_type.as_deref(), day) else {
        return Ok(Err(Fault::invalid("isv.invalid-arguments", "参数有误")));
    };
    let now_ms = core.clock.now_ms();
    if now_ms < day.end_ms.saturating_add(STATEMENT_READY_MS) {
        return Ok(Err(NO_STATEMENT));
    }
    if statement::alipay(&core.ledger.trades()?, &day, now_ms)?.is_none() {
        return Ok(Err(NO_STATEMENT));
    }
    let date = content.bill_date.as_deref().unwrap_or_default();
    let expires_ms = now_ms.saturating_add(ADDRESS_LIFE_MS);
    let token = token(core, date, expires_ms);
    let url = format!(
        "{}/alipay/bill?bill_date={date}&expires={expires_ms}&token={token}",
        core.base_url
    );
    Ok(Ok(members(
        json!({ "bill_download_url": url, "bill_file_code": "EXIST" }),
    )))
}

/// What only this simulator can put into the address of a statement.
fn token(core: &Core, date: &str, expires_ms: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(core.keys.api_v3_key());
    hash.update(format!("alipay bill {date} {expires_ms}"));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `/alipay/...`: what browsers come to, and statements.
pub(super) fn page(core: &Core, head: &Parts, rest: &[&str], body: &[u8]) -> Result<Answer, SimulatorError> {
    let now_ms = core.clock.now_ms();
    match (&head.method, rest) {
        (&Method::GET, ["qr", token]) => {
            let Some(trade) = core.ledger.at_page(Company::Alipay, token)? else {
                return Ok(page::closed().into());
            };
            let opened = core.ledger.change(Company::Alipay, &trade.wish.out_trade_no, |trade| {
                Ok((trade.open(now_ms)?, Vec::new()))
            })?;
            Ok(match opened {
                Ok((trade, ())) => page::redirect(&page::cashier_path(&trade)).into(),
                Err(_) => page::closed().into(),
            })
        }
        (&Method::GET | &Method::POST, ["cashier", token]) => {
            let Some(trade) = core.ledger.at_page(Company::Alipay, token)? else {
                return Ok(page::closed().into());
            };
            let form = front::parameters(body);
            let outcome = form.get("outcome").map(String::as_str);
            if head.method == Method::GET || outcome != Some("pay") {
                return Ok(page::of_trade(&trade, head.method == Method::POST, now_ms).into());
            }
            match core.pay(Company::Alipay, &trade.wish.out_trade_no)? {
                Ok(trade) => match return_address(core, &trade)? {
                    Some(url) => Ok(page::redirect(&url).into()),
                    None => Ok(page::of_trade(&trade, false, now_ms).into()),
                },
                Err(_) => Ok(page::of_trade(&trade, false, now_ms).into()),
            }
        }
        (&Method::GET, ["bill"]) => bill(core, head),
        _ => Ok(front::nothing_here(head).into()),
    }
}

fn bill(core: &Core, head: &Parts) -> Result<Answer, SimulatorError> {
    let query = front::query(head);
    let of = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (date, now_ms) = (of("bill_date"), core.clock.now_ms());
    let expires_ms = of("expires").parse::<i64>().unwrap_or(0);
    let day = Day::parse(date).filter(|_| now_ms < expires_ms && of("token") == token(core, date, expires_ms));
    let archive = match day {
        Some(day) => statement::alipay(&core.ledger.trades()?, &day, now_ms)?,
        None => None,
    };
    let Some(archive) = archive else {
        return Ok(page::result(
            StatusCode::FORBIDDEN,
            "✕ 链接已失效",
            "This address does not work any more.",
        )
        .into());
    };
    let mut response = Response::new(Bytes::from(archive));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=bill.csv.zip"),
    );
    Ok(response.into())
}

/// Where the buyer is sent back to, with what the page may show before the notification has come.
fn return_address(core: &Core, trade: &Trade) -> Result<Option<String>, SimulatorError> {
    let Some(mut url) = trade
        .wish
        .return_url
        .as_deref()
        .and_then(|url| url::Url::parse(url).ok())
    else {
        return Ok(None);
    };
    let method = match trade.wish.way {
        Way::Page => "alipay.trade.page.pay.return",
        Way::MobilePage => "alipay.trade.wap.pay.return",
        Way::QrCode | Way::InApp => return Ok(None),
    };
    let mut parameters: Parameters = [
        ("app_id", ALIPAY_APP_ID.to_owned()),
        ("auth_app_id", ALIPAY_APP_ID.to_owned()),
        ("charset", "utf-8".to_owned()),
        ("method", method.to_owned()),
        ("out_trade_no", trade.wish.out_trade_no.clone()),
        ("seller_id", ALIPAY_SELLER_ID.to_owned()),
        ("timestamp", moment::plain(core.clock.now_ms())),
        ("total_amount", yuan(trade.wish.amount_fen)),
        ("trade_no", trade.trade_no.clone()),
        ("version", "1.0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let sign = core.keys.alipay.sign(signed_text(&parameters, &[], true).as_bytes())?;
    parameters.insert("sign_type".to_owned(), "RSA2".to_owned());
    parameters.insert("sign".to_owned(), sign);
    url.query_pairs_mut().extend_pairs(&parameters);
    Ok(Some(url.into()))
}

/// A notification as it leaves now.
pub(super) fn notification(
    core: &Core,
    trade: &Trade,
    notice: &Notice,
    switches: &Switches,
    signer: Signer,
) -> Result<Message, SimulatorError> {
    let total = yuan(switches.wrong_amount_fen.unwrap_or(trade.wish.amount_fen));
    let app = if switches.wrong_app {
        "2021000100000000"
    } else {
        ALIPAY_APP_ID
    };
    let seller = if switches.wrong_merchant {
        "2088100100000000"
    } else {
        ALIPAY_SELLER_ID
    };
    let paid_ms = trade.paid_ms().unwrap_or(notice.happened_ms);
    let refund = match &notice.news {
        News::Paid => None,
        News::Refund {
            refund_no,
            returned_fen,
        } => Some((refund_no, *returned_fen)),
    };
    let whole = refund.is_some_and(|(_, returned_fen)| returned_fen >= trade.wish.amount_fen);
    let mut fields: Parameters = [
        ("app_id", app.to_owned()),
        ("auth_app_id", app.to_owned()),
        // Nothing was said about it, and it comes all the same.
        ("body", String::new()),
        ("buyer_id", BUYER_ID.to_owned()),
        ("buyer_logon_id", BUYER_LOGON.to_owned()),
        ("buyer_pay_amount", total.clone()),
        ("charset", "utf-8".to_owned()),
        (
            "fund_bill_list",
            format!(r#"[{{"amount":"{total}","fundChannel":"ALIPAYACCOUNT"}}]"#),
        ),
        ("gmt_create", moment::plain(trade.created_ms)),
        ("gmt_payment", moment::plain(paid_ms)),
        ("invoice_amount", total.clone()),
        ("notify_id", notice.notify_id.replace('-', "")),
        ("notify_time", moment::plain(core.clock.now_ms())),
        ("notify_type", "trade_status_sync".to_owned()),
        ("out_trade_no", trade.wish.out_trade_no.clone()),
        ("point_amount", yuan(0)),
        ("receipt_amount", total.clone()),
        ("seller_id", seller.to_owned()),
        ("subject", trade.wish.title.clone()),
        ("total_amount", total),
        ("trade_no", trade.trade_no.clone()),
        (
            "trade_status",
            if whole { "TRADE_CLOSED" } else { "TRADE_SUCCESS" }.to_owned(),
        ),
        ("version", "1.0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let Some(attach) = &trade.wish.attach {
        fields.insert("passback_params".to_owned(), attach.clone());
    }
    if let Some((refund_no, returned_fen)) = refund {
        let at = moment::plain(notice.happened_ms);
        // With milliseconds, unlike every other time.
        let thousandths = notice.happened_ms.rem_euclid(1_000);
        fields.insert("gmt_refund".to_owned(), format!("{at}.{thousandths:03}"));
        fields.insert("out_biz_no".to_owned(), refund_no.clone());
        fields.insert("refund_fee".to_owned(), yuan(returned_fen));
        if whole {
            fields.insert("gmt_close".to_owned(), at);
        }
    }
    let text = signed_text(&fields, &[], true);
    let sign = match signer {
        Signer::Genuine => core.keys.alipay.sign(text.as_bytes())?,
        Signer::Stranger | Signer::Probe => core.keys.stranger.sign(text.as_bytes())?,
        Signer::Nobody => String::new(),
    };
    fields.insert("sign".to_owned(), sign);
    fields.insert("sign_type".to_owned(), "RSA2".to_owned());
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&fields)
        .finish();
    Ok(Message {
        headers: vec![(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
        )],
        body: Bytes::from(body),
    })
}

/// Whether an answer confirms a notification: exactly this word.
pub(super) fn is_confirmed(status: u16, answer: &[u8]) -> bool {
    status == 200 && answer == b"success"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_without_its_signature_and_empty_values_and_a_notification_with_them() {
        let parameters: Parameters = [("b", "2=&3"), ("a", ""), ("sign", "x"), ("sign_type", "RSA2")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(signed_text(&parameters, &["sign"], false), "b=2=&3&sign_type=RSA2");
        assert_eq!(signed_text(&parameters, &["sign", "sign_type"], true), "a=&b=2=&3");
    }

    #[test]
    fn only_the_word_itself_confirms() {
        assert!(is_confirmed(200, b"success"));
        for (status, answer) in [
            (200, &b"SUCCESS"[..]),
            (200, b"success\n"),
            (200, b""),
            (500, b"success"),
        ] {
            assert!(!is_confirmed(status, answer));
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(
            (duration("90m"), duration("2h"), duration("1d")),
            (Some(5_400_000), Some(2 * HOUR_MS), Some(DAY_MS))
        );
        for text in ["", "m", "90", "-1m", "1.5h", "1c", "十m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
