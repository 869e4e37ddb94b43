//! WeChat Pay's API v3: its interface, its payment pages, its notifications.
//!
//! Facts are from the merchant platform's public documentation: requests are signed over method, path, time, nonce and
//! body, answers and notifications over time, nonce and body; notifications are encrypted with the merchant's APIv3 key.

use std::collections::BTreeMap;
use std::time::Duration;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::ledger::{Made, News, Notice};
use super::moment::{self, Day, HOUR_MS};
use super::notifier::Message;
use super::statement::{self, openid, trade_type};
use super::switches::{Operation, SignedBy, Spoiling, Switches};
use super::trade::{Company, Outcome, Refund, RefundWish, Refusal, Standing, State, Trade, Way, Wish};
use super::{
    Answer, Core, Signer, SimulatorError, WECHAT_APP_ID, WECHAT_MERCHANT_ID, front, header, is_notifiable, json_text,
    keys, page, signer, spoiled,
};

/// How long WeChat Pay waits for the answer to a notification.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How old a request may be.
const TIME_LIMIT_S: i64 = 300;
/// When an unpaid trade ends if its merchant does not say.
const LIFE_MS: i64 = 2 * HOUR_MS;
/// How long the address of an `h5` trade's page works. The same request gives another one.
const H5_LIFE_MS: i64 = 300_000;
/// Largest total of one trade, in fen: a million yuan.
const LARGEST: i64 = 100_000_000;
/// From when on a day's statement can be fetched: ten o'clock on the next day.
const STATEMENT_READY_MS: i64 = 10 * HOUR_MS;
/// How the code of a `native` trade begins.
const CODE_PREFIX: &str = "weixin://wxpay/bizpayurl?pr=";
/// What a deliberately wrong signature begins with.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// How old a stale notification is, in seconds.
const STALE_S: i64 = 3_600;

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

const fn fault(status: StatusCode, code: &'static str, message: &'static str) -> Fault {
    Fault { status, code, message }
}

const fn bad(message: &'static str) -> Fault {
    fault(StatusCode::BAD_REQUEST, "PARAM_ERROR", message)
}

const SIGN_ERROR: Fault = fault(StatusCode::UNAUTHORIZED, "SIGN_ERROR", "错误的签名，验签失败");
const NOT_EXIST: Fault = fault(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST", "订单不存在");
const PAID: Fault = fault(StatusCode::BAD_REQUEST, "ORDERPAID", "该订单已支付");
const CLOSED: Fault = fault(StatusCode::BAD_REQUEST, "ORDER_CLOSED", "该订单已关闭");

fn refused(refusal: Refusal) -> Fault {
    let invalid = |message| fault(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message);
    match refusal {
        Refusal::Unknown => NOT_EXIST,
        Refusal::Paid => PAID,
        Refusal::Closed => CLOSED,
        Refusal::NotPaid => invalid("订单状态有误，不能退款"),
        Refusal::Finished => invalid("订单已经超过退款期限"),
        Refusal::TooMuch => invalid("申请退款金额超过订单可退金额"),
        Refusal::Nothing => bad("退款金额无效"),
        Refusal::Different => fault(StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED", "商户订单号重复"),
        Refusal::NoMoney => fault(StatusCode::FORBIDDEN, "NOT_ENOUGH", "基本账户余额不足"),
    }
}

type Outcomes = Result<(StatusCode, Option<Value>), Fault>;

fn ok(body: Value) -> Outcomes {
    Ok((StatusCode::OK, Some(body)))
}

/// `/v3/...`
pub(super) fn call(core: &Core, head: &Parts, body: &[u8]) -> Result<Answer, SimulatorError> {
    if let Err(fault) = check(core, head, body) {
        // Who is not known gets an answer that nobody signed: so the real gateway was seen to answer.
        return Ok(respond(core, head, &Err(fault), Signer::Nobody, SignedBy::default())?.into());
    }
    let path = head.uri.path();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let (&Method::GET, ["v3", "billdownload", "file"]) = (&head.method, segments.as_slice()) {
        return download(core, head);
    }
    let query = front::query(head);
    let request: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let number_in = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (operation, out_trade_no) = match (&head.method, segments.as_slice()) {
        (&Method::POST, ["v3", "pay", "transactions", "native" | "jsapi" | "h5"]) => {
            (Operation::Create, number_in("out_trade_no"))
        }
        (&Method::GET, ["v3", "pay", "transactions", "out-trade-no", number]) => {
            (Operation::Query, (*number).to_owned())
        }
        (&Method::GET, ["v3", "pay", "transactions", "id", number]) => {
            let trade = core.ledger.numbered(Company::WechatPay, number)?;
            (
                Operation::Query,
                trade.map(|trade| trade.wish.out_trade_no).unwrap_or_default(),
            )
        }
        (&Method::POST, ["v3", "pay", "transactions", "out-trade-no", number, "close"]) => {
            (Operation::Close, (*number).to_owned())
        }
        (&Method::POST, ["v3", "refund", "domestic", "refunds"]) => {
            let by_id = core.ledger.numbered(Company::WechatPay, &number_in("transaction_id"))?;
            let number = by_id.map_or_else(|| number_in("out_trade_no"), |trade| trade.wish.out_trade_no);
            (Operation::Refund, number)
        }
        (&Method::GET, ["v3", "refund", "domestic", "refunds", number]) => (
            Operation::QueryRefund,
            trade_of_refund(core, number)?.unwrap_or_default(),
        ),
        (&Method::GET, ["v3", "bill", "tradebill"]) => (Operation::Statement, String::new()),
        _ => {
            // No body, and no signature either.
            let nothing = Ok((StatusCode::NOT_FOUND, None));
            return Ok(respond(core, head, &nothing, Signer::Nobody, SignedBy::default())?.into());
        }
    };
    let (spoiling, switches) = core.ledger.spoiling(&out_trade_no, operation)?;
    let outcome = if spoiling == Spoiling::ServerError {
        Err(fault(StatusCode::INTERNAL_SERVER_ERROR, "SYSTEM_ERROR", "系统错误"))
    } else {
        match operation {
            Operation::Create => create(core, segments.last().copied().unwrap_or_default(), body)?,
            Operation::Query => query_trade(core, &out_trade_no, query.get("mchid"))?,
            Operation::Close => close(core, &out_trade_no, &request)?,
            Operation::Refund => refund(core, &out_trade_no, body, &switches)?,
            Operation::QueryRefund => query_refund(core, &out_trade_no, segments.last().copied().unwrap_or_default())?,
            Operation::Statement => statement_address(core, &query)?,
        }
    };
    let signer = match signer(spoiling) {
        Signer::Genuine if outcome.is_err() && switches.unsigned_refusals => Signer::Nobody,
        signer => signer,
    };
    let response = respond(core, head, &outcome, signer, switches.signed_by)?;
    Ok(spoiled(response, spoiling, &switches))
}

/// What every request has to have.
fn check(core: &Core, head: &Parts, body: &[u8]) -> Result<(), Fault> {
    let has = |name| head.headers.get(name).is_some_and(|value| !value.is_empty());
    if !has(ACCEPT) || !has(USER_AGENT) {
        return Err(fault(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "Http头缺少Accept或User-Agent",
        ));
    }
    let is_json = header(&head.headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
    if head.method == Method::POST && !is_json {
        return Err(bad("Http头Content-Type应为application/json"));
    }
    let authorization =
        header(&head.headers, "authorization").and_then(|value| value.strip_prefix("WECHATPAY2-SHA256-RSA2048 "));
    let authorization = authorization.ok_or(SIGN_ERROR)?;
    let mut parts = BTreeMap::new();
    for part in authorization.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or(SIGN_ERROR)?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        parts.insert(name, value.ok_or(SIGN_ERROR)?);
    }
    let of = |name: &str| parts.get(name).copied().unwrap_or_default();
    if of("mchid") != WECHAT_MERCHANT_ID {
        return Err(fault(StatusCode::UNAUTHORIZED, "SIGN_ERROR", "商户号不存在"));
    }
    if of("serial_no") != core.keys.wechat_merchant_serial() {
        return Err(fault(StatusCode::UNAUTHORIZED, "SIGN_ERROR", "商户证书序列号有误"));
    }
    let timestamp: i64 = of("timestamp").parse().map_err(|_| SIGN_ERROR)?;
    if core.clock.now_ms().div_euclid(1_000).saturating_sub(timestamp).abs() > TIME_LIMIT_S {
        return Err(fault(
            StatusCode::UNAUTHORIZED,
            "SIGN_ERROR",
            "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟",
        ));
    }
    let nonce = of("nonce_str");
    if nonce.is_empty() || nonce.len() > 32 {
        return Err(SIGN_ERROR);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut text = format!("{}\n{path}\n{timestamp}\n{nonce}\n", head.method).into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    if core.keys.wechat_merchant.verifies(&text, of("signature")) {
        Ok(())
    } else {
        Err(SIGN_ERROR)
    }
}

/// An answer is signed, also one without a body, with the key whose name the caller sent.
fn respond(
    core: &Core,
    head: &Parts,
    outcome: &Outcomes,
    signer: Signer,
    signed_by: SignedBy,
) -> Result<Response<Bytes>, SimulatorError> {
    let mut response = match outcome {
        Ok((status, Some(body))) => json_text(*status, body),
        Ok((status, None)) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = *status;
            response
        }
        Err(fault) => json_text(fault.status, &json!({ "code": fault.code, "message": fault.message })),
    };
    let wanted = match header(&head.headers, "wechatpay-serial") {
        Some(serial) if serial == core.keys.wechat_public_key_id() => SignedBy::PublicKey,
        Some(serial) if serial == core.keys.wechat_platform_serial() => SignedBy::Certificate,
        _ => signed_by,
    };
    let signature = Signature::of(core, response.body(), signer, wanted, 0, false)?;
    for (name, value) in signature.map(Signature::headers).into_iter().flatten() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().simple().to_string()) {
        response.headers_mut().insert("request-id", id);
    }
    Ok(response)
}

/// What an answer or a notification is signed with.
struct Signature {
    timestamp: i64,
    nonce: String,
    serial: String,
    signature: String,
}

impl Signature {
    /// `None` when nobody signs.
    fn of(
        core: &Core,
        body: &[u8],
        signer: Signer,
        signed_by: SignedBy,
        older_s: i64,
        unknown: bool,
    ) -> Result<Option<Signature>, SimulatorError> {
        let certificate = match signed_by {
            SignedBy::PublicKey => false,
            SignedBy::Certificate => true,
            SignedBy::Alternating => core.other_turn(),
        };
        let (key, serial) = if certificate {
            (&core.keys.wechat_platform, core.keys.wechat_platform_serial())
        } else {
            (&core.keys.wechat_public, core.keys.wechat_public_key_id())
        };
        let timestamp = core.clock.now_ms().div_euclid(1_000).saturating_sub(older_s);
        let nonce = Uuid::new_v4().simple().to_string();
        let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        let signature = match signer {
            Signer::Genuine => key.sign(&text)?,
            Signer::Stranger => core.keys.stranger.sign(&text)?,
            Signer::Probe => format!("{PROBE}{}", core.keys.stranger.sign(&text)?),
            Signer::Nobody => return Ok(None),
        };
        let serial = if unknown {
            "7777777777777777777777777777777777777777"
        } else {
            serial
        };
        Ok(Some(Signature {
            timestamp,
            nonce,
            serial: serial.to_owned(),
            signature,
        }))
    }

    fn headers(self) -> [(&'static str, String); 5] {
        [
            ("wechatpay-timestamp", self.timestamp.to_string()),
            ("wechatpay-nonce", self.nonce),
            ("wechatpay-signature", self.signature),
            ("wechatpay-serial", self.serial),
            ("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
        ]
    }
}

#[derive(Deserialize)]
struct Creation {
    appid: String,
    mchid: String,
    description: String,
    out_trade_no: String,
    time_expire: Option<String>,
    attach: Option<String>,
    notify_url: String,
    amount: Total,
    payer: Option<Payer>,
    scene_info: Option<Scene>,
}

#[derive(Deserialize)]
struct Total {
    total: i64,
    currency: Option<String>,
}

#[derive(Deserialize)]
struct Payer {
    openid: String,
}

#[derive(Deserialize)]
struct Scene {
    payer_client_ip: String,
    h5_info: Option<H5>,
}

#[derive(Deserialize)]
struct H5 {
    #[serde(rename = "type")]
    kind: String,
}

fn is_notify_url(url: &str) -> bool {
    // Parameters in the address are not allowed: what has to be known goes in the path.
    is_notifiable(url) && !url.contains(['?', '#'])
}

fn create(core: &Core, kind: &str, body: &[u8]) -> Result<Outcomes, SimulatorError> {
    let wish = match wish(core, kind, body) {
        Ok(wish) => wish,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(
        match core
            .ledger
            .make(Company::WechatPay, wish, State::Waiting, core.clock.now_ms())?
        {
            Made::Refused(refusal) => Err(refused(refusal)),
            Made::Trade(trade) => match trade.wish.way {
                Way::InApp => ok(json!({ "prepay_id": prepay_id(&trade) })),
                Way::MobilePage => {
                    let (base_url, id) = (&core.base_url, prepay_id(&trade));
                    // Its `package` says when it was made.
                    let made_ms = core.clock.now_ms();
                    ok(json!({ "h5_url": format!("{base_url}/wechat_pay/h5?prepay_id={id}&package={made_ms}") }))
                }
                Way::QrCode | Way::Page => ok(json!({ "code_url": format!("{CODE_PREFIX}{}", trade.token) })),
            },
        },
    )
}

fn prepay_id(trade: &Trade) -> String {
    format!("wx{}", trade.token)
}

fn wish(core: &Core, kind: &str, body: &[u8]) -> Result<Wish, Fault> {
    let asked: Creation = serde_json::from_slice(body).map_err(|_| bad("请求体不是规定的JSON"))?;
    if asked.appid != WECHAT_APP_ID || asked.mchid != WECHAT_MERCHANT_ID {
        return Err(fault(
            StatusCode::BAD_REQUEST,
            "APPID_MCHID_NOT_MATCH",
            "AppID和mch_id不匹配",
        ));
    }
    let is_number = (6..=32).contains(&asked.out_trade_no.len())
        && asked
            .out_trade_no
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || b"_-|*".contains(&one));
    if !is_number {
        return Err(bad("商户订单号无效"));
    }
    if !(1..=127).contains(&asked.description.chars().count()) {
        return Err(bad("商品描述的长度应为1至127个字符"));
    }
    if asked.attach.as_ref().is_some_and(|attach| attach.chars().count() > 128) {
        return Err(bad("商户数据包过长"));
    }
    if !is_notify_url(&asked.notify_url) {
        return Err(bad("通知地址无效，应为不带参数的https地址"));
    }
    if !(1..=LARGEST).contains(&asked.amount.total) || asked.amount.currency.is_some_and(|currency| currency != "CNY") {
        return Err(bad("订单金额无效"));
    }
    let now_ms = core.clock.now_ms();
    let expires_ms = match &asked.time_expire {
        None => now_ms.saturating_add(LIFE_MS),
        Some(text) => moment::from_rfc3339(text)
            .filter(|at| *at > now_ms)
            .ok_or(bad("订单失效时间无效"))?,
    };
    let way = match kind {
        "native" => Way::QrCode,
        "jsapi" => Way::InApp,
        _ => Way::MobilePage,
    };
    let openid = asked
        .payer
        .map(|payer| payer.openid)
        .filter(|openid| !openid.is_empty());
    if way == Way::InApp && openid.is_none() {
        return Err(bad("缺少支付者openid"));
    }
    let of_phone = asked.scene_info.as_ref().is_some_and(|scene| {
        scene.payer_client_ip.parse::<std::net::IpAddr>().is_ok()
            && scene
                .h5_info
                .as_ref()
                .is_some_and(|info| ["iOS", "Android", "Wap"].contains(&info.kind.as_str()))
    });
    if way == Way::MobilePage && !of_phone {
        return Err(bad("缺少场景信息：payer_client_ip与h5_info.type"));
    }
    Ok(Wish {
        out_trade_no: asked.out_trade_no,
        way,
        title: asked.description,
        amount_fen: asked.amount.total,
        notify_url: Some(asked.notify_url),
        return_url: None,
        attach: asked.attach,
        openid,
        expires_ms,
    })
}

/// WeChat Pay's words for how a trade stands.
fn trade_state(trade: &Trade, now_ms: i64) -> (&'static str, &'static str) {
    match trade.standing(now_ms) {
        Standing::Prepared | Standing::Waiting => ("NOTPAY", "订单未支付"),
        Standing::Closed => ("CLOSED", "订单已关闭"),
        // Any refund, of a part too and as soon as it is asked for, turns the whole trade into this.
        Standing::Returned | Standing::Paid | Standing::Finished if !trade.refunds.is_empty() => {
            ("REFUND", "订单发生过退款，退款详情请查询退款单")
        }
        Standing::Returned | Standing::Paid | Standing::Finished => ("SUCCESS", "支付成功"),
    }
}

/// A trade as answers and notifications show it.
fn shown(trade: &Trade, state: (&str, &str), total: i64) -> Value {
    let mut shown = json!({
        "amount": { "currency": "CNY", "payer_currency": "CNY", "total": total },
        "appid": WECHAT_APP_ID,
        "mchid": WECHAT_MERCHANT_ID,
        "out_trade_no": trade.wish.out_trade_no,
        "promotion_detail": [],
        "scene_info": { "device_id": "" },
        "trade_state": state.0,
        "trade_state_desc": state.1,
    });
    if let Some(paid_ms) = trade.paid_ms() {
        let mut put = |name: &str, value: Value| shown[name] = value;
        put("attach", trade.wish.attach.clone().unwrap_or_default().into());
        put("bank_type", "OTHERS".into());
        put("payer", json!({ "openid": openid(trade) }));
        put("success_time", moment::rfc3339(paid_ms).into());
        put("trade_type", trade_type(trade.wish.way).into());
        put("transaction_id", trade.trade_no.clone().into());
        shown["amount"]["payer_total"] = total.into();
    }
    shown
}

fn query_trade(core: &Core, out_trade_no: &str, mchid: Option<&String>) -> Result<Outcomes, SimulatorError> {
    if mchid.is_none_or(|mchid| mchid != WECHAT_MERCHANT_ID) {
        return Ok(Err(bad("商户号无效")));
    }
    Ok(match core.ledger.find(Company::WechatPay, out_trade_no)? {
        None => Err(NOT_EXIST),
        Some(trade) => ok(shown(
            &trade,
            trade_state(&trade, core.clock.now_ms()),
            trade.wish.amount_fen,
        )),
    })
}

fn close(core: &Core, out_trade_no: &str, request: &Value) -> Result<Outcomes, SimulatorError> {
    if request.get("mchid").and_then(Value::as_str) != Some(WECHAT_MERCHANT_ID) {
        return Ok(Err(bad("商户号无效")));
    }
    let now_ms = core.clock.now_ms();
    let closed = core.ledger.change(Company::WechatPay, out_trade_no, |trade| {
        Ok((trade.close(now_ms)?, Vec::new()))
    })?;
    Ok(match closed {
        // Closing twice is closing once.
        Ok(_) | Err(Refusal::Closed) => Ok((StatusCode::NO_CONTENT, None)),
        Err(refusal) => Err(refused(refusal)),
    })
}

#[derive(Deserialize)]
struct RefundRequest {
    out_refund_no: String,
    reason: Option<String>,
    notify_url: Option<String>,
    amount: RefundAmount,
}

#[derive(Deserialize)]
struct RefundAmount {
    refund: i64,
    total: i64,
    currency: String,
}

fn refund(core: &Core, out_trade_no: &str, body: &[u8], switches: &Switches) -> Result<Outcomes, SimulatorError> {
    let Ok(asked) = serde_json::from_slice::<RefundRequest>(body) else {
        return Ok(Err(bad("请求体不是规定的JSON")));
    };
    let is_number = (1..=64).contains(&asked.out_refund_no.len())
        && asked
            .out_refund_no
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || b"_-|*@".contains(&one));
    if !is_number || asked.amount.currency != "CNY" || asked.amount.refund < 1 {
        return Ok(Err(bad("退款单号、币种或金额无效")));
    }
    if asked.reason.as_ref().is_some_and(|reason| reason.chars().count() > 80) {
        return Ok(Err(bad("退款原因过长")));
    }
    if asked.notify_url.as_deref().is_some_and(|url| !is_notify_url(url)) {
        return Ok(Err(bad("通知地址无效，应为不带参数的https地址")));
    }
    // A refund's number is one merchant's, whatever trade it is of.
    if trade_of_refund(core, &asked.out_refund_no)?.is_some_and(|trade| trade != out_trade_no) {
        return Ok(Err(fault(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "退款单号已用于其他订单",
        )));
    }
    let (until_ms, now_ms) = (core.processed_ms(switches), core.clock.now_ms());
    let refund_no = asked.out_refund_no.clone();
    let outcome = core.ledger.change(Company::WechatPay, out_trade_no, |trade| {
        if asked.amount.total != trade.wish.amount_fen {
            return Err(Refusal::Different);
        }
        let wish = RefundWish {
            refund_no: asked.out_refund_no,
            refund_id: format!("503{}", keys::digits(26)),
            amount_fen: asked.amount.refund,
            reason: asked.reason,
            notify_url: asked.notify_url,
        };
        // It is settled after this answer.
        Ok((trade.refund(wish, switches.refund, until_ms, now_ms)?, Vec::new()))
    })?;
    core.happened();
    Ok(match outcome {
        Err(Refusal::Unknown | Refusal::NotPaid | Refusal::Closed) => Err(fault(
            StatusCode::NOT_FOUND,
            "RESOURCE_NOT_EXISTS",
            "订单不存在或未支付",
        )),
        Err(Refusal::Different) => Err(fault(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "订单金额或退款金额与之前请求不一致",
        )),
        Err(refusal) => Err(refused(refusal)),
        Ok((trade, _)) => trade
            .refund_named(&refund_no)
            .map_or(Err(NOT_EXIST), |refund| ok(refunded(&trade, refund))),
    })
}

fn refund_status(refund: &Refund) -> &'static str {
    match refund.outcome {
        Outcome::Processing { .. } => "PROCESSING",
        Outcome::Succeeded { .. } => "SUCCESS",
        Outcome::Abnormal { .. } => "ABNORMAL",
    }
}

/// A refund as answers show it.
fn refunded(trade: &Trade, refund: &Refund) -> Value {
    let mut shown = json!({
        "amount": {
            "currency": "CNY",
            "discount_refund": 0,
            "from": [],
            "payer_refund": refund.amount_fen,
            "payer_total": trade.wish.amount_fen,
            "refund": refund.amount_fen,
            "settlement_refund": refund.amount_fen,
            "settlement_total": trade.wish.amount_fen,
            "total": trade.wish.amount_fen,
        },
        "channel": "ORIGINAL",
        "create_time": moment::rfc3339(refund.requested_ms),
        "funds_account": "AVAILABLE",
        "out_refund_no": refund.refund_no,
        "out_trade_no": trade.wish.out_trade_no,
        "promotion_detail": [],
        "refund_id": refund.refund_id,
        "status": refund_status(refund),
        "transaction_id": trade.trade_no,
        "user_received_account": "支付用户零钱",
    });
    if let Outcome::Succeeded { at_ms } = refund.outcome {
        shown["success_time"] = moment::rfc3339(at_ms).into();
    }
    shown
}

/// Of which trade a refund is.
fn trade_of_refund(core: &Core, refund_no: &str) -> Result<Option<String>, SimulatorError> {
    let trades = core.ledger.trades()?;
    let of = |trade: &Trade| trade.company == Company::WechatPay && trade.refund_named(refund_no).is_some();
    Ok(trades.into_iter().find(of).map(|trade| trade.wish.out_trade_no))
}

fn query_refund(core: &Core, out_trade_no: &str, refund_no: &str) -> Result<Outcomes, SimulatorError> {
    let trade = core.ledger.find(Company::WechatPay, out_trade_no)?;
    let found = trade
        .as_ref()
        .and_then(|trade| Some((trade, trade.refund_named(refund_no)?)));
    Ok(match found {
        None => Err(fault(
            StatusCode::NOT_FOUND,
            "RESOURCE_NOT_EXISTS",
            "退款单查询失败，退款单不存在",
        )),
        Some((trade, refund)) => ok(refunded(trade, refund)),
    })
}

fn statement_address(core: &Core, query: &BTreeMap<String, String>) -> Result<Outcomes, SimulatorError> {
    let date = query.get("bill_date").map(String::as_str).unwrap_or_default();
    let is_all = query.get("bill_type").is_none_or(|kind| kind == "ALL");
    let Some(day) = Day::parse(date).filter(|_| is_all && !query.contains_key("tar_type")) else {
        return Ok(Err(bad("账单日期或类型无效，此处只有未压缩的ALL账单")));
    };
    let now_ms = core.clock.now_ms();
    if now_ms < day.end_ms {
        return Ok(Err(bad("账单日期应早于今日")));
    }
    if now_ms < day.end_ms.saturating_add(STATEMENT_READY_MS) {
        return Ok(Err(fault(
            StatusCode::BAD_REQUEST,
            "STATEMENT_CREATING",
            "账单生成中，请稍后再试",
        )));
    }
    Ok(match statement::wechat_pay(&core.ledger.trades()?, &day) {
        None => Err(fault(StatusCode::BAD_REQUEST, "NO_STATEMENT_EXIST", "账单文件不存在")),
        Some(text) => ok(json!({
            "download_url": format!(
                "{}/v3/billdownload/file?bill_date={date}&token={}",
                core.base_url,
                token(core, date)
            ),
            "hash_type": "SHA1",
            "hash_value": statement::sha1_of(text.as_bytes()),
        })),
    })
}

/// What only this simulator can put into the address of a statement.
fn token(core: &Core, date: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(core.keys.api_v3_key());
    hash.update(format!("wechat pay bill {date}"));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The statement itself: the request is signed, this one answer is not.
fn download(core: &Core, head: &Parts) -> Result<Answer, SimulatorError> {
    let query = front::query(head);
    let of = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let day = Day::parse(of("bill_date")).filter(|_| of("token") == token(core, of("bill_date")));
    let text = match day {
        Some(day) => statement::wechat_pay(&core.ledger.trades()?, &day),
        None => None,
    };
    let Some(text) = text else {
        return Ok(json_text(
            StatusCode::BAD_REQUEST,
            &json!({ "code": "PARAM_ERROR", "message": "下载地址无效" }),
        )
        .into());
    };
    let mut response = Response::new(Bytes::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response.into())
}

/// `/wechat_pay/...`: what stands for the app on the buyer's phone.
pub(super) fn page(core: &Core, head: &Parts, rest: &[&str], body: &[u8]) -> Result<Answer, SimulatorError> {
    let now_ms = core.clock.now_ms();
    let query = front::query(head);
    let of = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    match (&head.method, rest) {
        (&Method::GET, ["scan"]) => shown_at(core, of("code_url").strip_prefix(CODE_PREFIX), Way::QrCode),
        (&Method::GET, ["h5"]) => {
            let made_ms: i64 = of("package").parse().unwrap_or(0);
            if now_ms.saturating_sub(made_ms) >= H5_LIFE_MS {
                return Ok(page::result(
                    StatusCode::OK,
                    "✕ 支付请求已失效",
                    "This address works for five minutes.",
                )
                .into());
            }
            let token = of("prepay_id").strip_prefix("wx");
            let shown = shown_at(core, token, Way::MobilePage)?;
            match (query.get("redirect_url"), token) {
                // The merchant adds to the address where the buyer is to come back.
                (Some(url), Some(token)) => {
                    let Some(trade) = core.ledger.at_page(Company::WechatPay, token)? else {
                        return Ok(shown);
                    };
                    let url = Some(url.clone());
                    let _known = core
                        .ledger
                        .change(Company::WechatPay, &trade.wish.out_trade_no, |trade| {
                            trade.wish.return_url = url;
                            Ok(((), Vec::new()))
                        })?;
                    Ok(shown)
                }
                _ => Ok(shown),
            }
        }
        (&Method::GET | &Method::POST, ["cashier", token]) => {
            let Some(trade) = core.ledger.at_page(Company::WechatPay, token)? else {
                return Ok(page::closed().into());
            };
            let outcome = front::parameters(body).remove("outcome");
            if head.method == Method::GET || outcome.as_deref() != Some("pay") {
                return Ok(page::of_trade(&trade, head.method == Method::POST, now_ms).into());
            }
            match core.pay(Company::WechatPay, &trade.wish.out_trade_no)? {
                Ok(paid) => Ok(match &paid.wish.return_url {
                    Some(url) => page::redirect(url).into(),
                    None => page::of_trade(&paid, false, now_ms).into(),
                }),
                Err(_) => Ok(page::of_trade(&trade, false, now_ms).into()),
            }
        }
        (&Method::POST, ["jsapi-pay"]) => jsapi_pay(core, body),
        _ => Ok(front::nothing_here(head).into()),
    }
}

/// The page of a trade that is known by a token and was made for this way to pay.
fn shown_at(core: &Core, token: Option<&str>, way: Way) -> Result<Answer, SimulatorError> {
    let trade = match token {
        Some(token) => core.ledger.at_page(Company::WechatPay, token)?,
        None => None,
    };
    Ok(match trade.filter(|trade| trade.wish.way == way) {
        Some(trade) => page::redirect(&page::cashier_path(&trade)).into(),
        None => page::closed().into(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsapiParameters {
    app_id: String,
    time_stamp: String,
    nonce_str: String,
    package: String,
    sign_type: String,
    pay_sign: String,
}

/// What WeChat does with the parameters that a page gives to `getBrandWCPayRequest`: verify, and pay.
fn jsapi_pay(core: &Core, body: &[u8]) -> Result<Answer, SimulatorError> {
    let failed = |why: &str| {
        let body = json!({ "err_msg": "get_brand_wcpay_request:fail", "err_desc": why });
        json_text(StatusCode::BAD_REQUEST, &body).into()
    };
    let Ok(given) = serde_json::from_slice::<JsapiParameters>(body) else {
        return Ok(failed("调用支付JSAPI缺少参数"));
    };
    let text = format!(
        "{}\n{}\n{}\n{}\n",
        given.app_id, given.time_stamp, given.nonce_str, given.package
    );
    if given.sign_type != "RSA" || !core.keys.wechat_merchant.verifies(text.as_bytes(), &given.pay_sign) {
        return Ok(failed("支付验证签名失败"));
    }
    let token = given.package.strip_prefix("prepay_id=wx").unwrap_or_default();
    let trade = core.ledger.at_page(Company::WechatPay, token)?;
    let Some(trade) = trade.filter(|trade| trade.wish.way == Way::InApp && given.app_id == WECHAT_APP_ID) else {
        return Ok(failed("预支付交易会话无效"));
    };
    Ok(match core.pay(Company::WechatPay, &trade.wish.out_trade_no)? {
        Ok(_) => json_text(StatusCode::OK, &json!({ "err_msg": "get_brand_wcpay_request:ok" })).into(),
        Err(refusal) => failed(refused(refusal).message),
    })
}

/// A notification as it leaves now.
pub(super) fn notification(
    core: &Core,
    trade: &Trade,
    notice: &Notice,
    switches: &Switches,
    signer: Signer,
) -> Result<Message, SimulatorError> {
    let total = switches.wrong_amount_fen.unwrap_or(trade.wish.amount_fen);
    let merchant = if switches.wrong_merchant {
        "1900000099"
    } else {
        WECHAT_MERCHANT_ID
    };
    let (event_type, original_type, summary, plain) = match &notice.news {
        News::Paid => {
            let mut plain = shown(trade, ("SUCCESS", "支付成功"), total);
            plain["mchid"] = merchant.into();
            if switches.wrong_app {
                plain["appid"] = "wx9900000000000000".into();
            }
            ("TRANSACTION.SUCCESS", "transaction", "支付成功", plain)
        }
        News::Refund { refund_no, .. } => {
            let Some(refund) = trade.refund_named(refund_no) else {
                return Err(SimulatorError::refused(&trade.wish.out_trade_no, Refusal::Unknown));
            };
            let status = refund_status(refund);
            let mut plain = json!({
                "amount": {
                    "payer_refund": refund.amount_fen,
                    "payer_total": total,
                    "refund": refund.amount_fen,
                    "total": total,
                },
                "mchid": merchant,
                "out_refund_no": refund.refund_no,
                "out_trade_no": trade.wish.out_trade_no,
                "refund_id": refund.refund_id,
                "refund_status": status,
                "transaction_id": trade.trade_no,
                "user_received_account": "支付用户零钱",
            });
            if let Outcome::Succeeded { at_ms } = refund.outcome {
                plain["success_time"] = moment::rfc3339(at_ms).into();
            }
            if status == "ABNORMAL" {
                ("REFUND.ABNORMAL", "refund", "退款异常", plain)
            } else {
                ("REFUND.SUCCESS", "refund", "退款成功", plain)
            }
        }
    };
    // It may be empty; now it is, now it is not.
    let associated = if core.other_turn() { "" } else { original_type };
    let nonce: String = Uuid::new_v4().simple().to_string().chars().take(12).collect();
    let cipher = Aes256Gcm::new_from_slice(core.keys.api_v3_key()).map_err(SimulatorError::key)?;
    let plain = plain.to_string();
    let sealed = Payload {
        msg: plain.as_bytes(),
        aad: associated.as_bytes(),
    };
    let nonce_bytes = Nonce::try_from(nonce.as_bytes()).map_err(SimulatorError::key)?;
    let ciphertext = cipher.encrypt(&nonce_bytes, sealed).map_err(SimulatorError::key)?;
    let body = json!({
        "create_time": moment::rfc3339(notice.happened_ms),
        "event_type": event_type,
        "id": notice.notify_id,
        "resource": {
            "algorithm": "AEAD_AES_256_GCM",
            "associated_data": associated,
            "ciphertext": BASE64.encode(ciphertext),
            "nonce": nonce,
            "original_type": original_type,
        },
        "resource_type": "encrypt-resource",
        "summary": summary,
    });
    let body = Bytes::from(body.to_string());
    let older_s = if switches.stale_timestamp { STALE_S } else { 0 };
    let signature = Signature::of(
        core,
        &body,
        signer,
        switches.signed_by,
        older_s,
        switches.unknown_serial,
    )?;
    let mut headers: Vec<(&'static str, String)> = vec![
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("accept", "*/*".to_owned()),
        ("user-agent", "Mozilla/4.0".to_owned()),
    ];
    headers.extend(signature.map(Signature::headers).into_iter().flatten());
    Ok(Message { headers, body })
}

/// Whether an answer confirms a notification: its status alone decides.
pub(super) fn is_confirmed(status: u16) -> bool {
    matches!(status, 200 | 204)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_alone_confirms() {
        assert!(is_confirmed(200) && is_confirmed(204));
        for status in [201, 301, 400, 401, 500] {
            assert!(!is_confirmed(status));
        }
    }

    #[test]
    fn addresses_to_notify_have_no_parameters() {
        for url in [
            "https://cfmp.test/pay/wechat",
            "http://127.0.0.1:3000/pay",
            "http://localhost:1/x",
        ] {
            assert!(is_notify_url(url), "{url}");
        }
        for url in [
            "https://cfmp.test/pay?token=1",
            "http://cfmp.test/pay",
            "ftp://127.0.0.1/",
            "nonsense",
        ] {
            assert!(!is_notify_url(url), "{url}");
        }
    }
}
