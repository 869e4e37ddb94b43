//! The simulated Alipay and WeChat Pay, as a merchant meets them: over HTTP, with keys and libraries of his own.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use cfmp::simulator::{
    ALIPAY_APP_ID, ALIPAY_SELLER_ID, Company, Fate, Operation, SignedBy, Spoiling, Switches, WECHAT_APP_ID,
    WECHAT_MERCHANT_ID,
};
use cfmp::{Data, Options, Platform, Providers};
use chrono::{DateTime, FixedOffset};
use der::{DecodePem, Encode};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::{PrivateKey, PublicKey};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use x509_cert::Certificate;

use super::{body, invoke, options};

const LONG: Duration = Duration::from_secs(20);
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// What sellers type.
const TITLE: &str = r#"台灯 & lamp = "}+ <b>😀"#;

fn simulated() -> Options {
    Options {
        providers: Providers::Simulated,
        ..options()
    }
}

/// A notification that arrived.
#[derive(Clone)]
struct Arrived {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Where notifications arrive. Answers are given in turn, then `200 success`.
#[derive(Clone, Default)]
struct Inbox {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

impl Inbox {
    async fn open() -> (Inbox, String) {
        let inbox = Inbox::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = inbox.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let inbox = served.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let inbox = inbox.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let (path, headers) = (head.uri.path().to_owned(), head.headers);
                        inbox.arrived.lock().unwrap().push(Arrived { path, headers, body });
                        let (status, text) = inbox.answers.lock().unwrap().pop_front().unwrap_or((200, "success"));
                        let response = Response::builder().status(status).body(Full::new(Bytes::from(text)));
                        Ok::<_, Infallible>(response.unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (inbox, address)
    }

    fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }

    fn answer(&self, answers: &[(u16, &'static str)]) {
        self.answers.lock().unwrap().extend(answers);
    }
}

/// A merchant with his platform, his keys, and his customers.
struct Market {
    platform: Platform,
    inbox: Inbox,
    inbox_url: String,
    app_key: PrivateKey,
    alipay_key: PublicKey,
    certificates: Option<[String; 2]>,
    merchant_key: PrivateKey,
    merchant_serial: String,
    api_v3_key: String,
    wechat_keys: BTreeMap<String, PublicKey>,
}

fn certificate_key(pem: &str) -> (Certificate, PublicKey) {
    let certificate = Certificate::from_pem(pem).unwrap();
    let key = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .unwrap();
    (certificate, PublicKey::from_public_key_der(&key).unwrap())
}

/// MD5 of the issuer and the decimal serial number.
fn alipay_serial(certificate: &Certificate) -> String {
    let tbs = certificate.tbs_certificate();
    // From bytes to decimal digits, the lowest first: long multiplication.
    let mut decimal = vec![0_u32];
    for byte in tbs.serial_number().as_bytes() {
        let mut carry = u32::from(*byte);
        for place in &mut decimal {
            let value = *place * 256 + carry;
            (*place, carry) = (value % 10, value / 10);
        }
        while carry > 0 {
            decimal.push(carry % 10);
            carry /= 10;
        }
    }
    let decimal: String = decimal.iter().rev().map(u32::to_string).collect();
    format!("{:x}", md5::compute(format!("{}{decimal}", tbs.issuer())))
}

impl Market {
    async fn open() -> Market {
        Market::with(simulated()).await
    }

    async fn with(options: Options) -> Market {
        let platform = Platform::start(options).await.unwrap();
        let simulator = platform.simulator().unwrap();
        let alipay: Value = serde_json::from_str(&simulator.merchant_secret(Company::Alipay).unwrap()).unwrap();
        let wechat: Value = serde_json::from_str(&simulator.merchant_secret(Company::WechatPay).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (certificates, alipay_key) = match alipay["alipay_certificates"][0].as_str() {
            None => {
                let key = PublicKey::from_public_key_pem(alipay["alipay_public_keys"][0].as_str().unwrap());
                (None, key.unwrap())
            }
            Some(pem) => {
                let serials = |pems: &Value| {
                    let certificates = Certificate::load_pem_chain(pems.as_str().unwrap().as_bytes()).unwrap();
                    let of_rsa = |certificate: &&Certificate| {
                        certificate
                            .signature_algorithm()
                            .oid
                            .to_string()
                            .starts_with("1.2.840.113549.1.1.")
                    };
                    let serials: Vec<String> = certificates.iter().filter(of_rsa).map(alipay_serial).collect();
                    serials.join("_")
                };
                let serials = [
                    serials(&alipay["app_certificate"]),
                    serials(&alipay["alipay_root_certificate"]),
                ];
                (Some(serials), certificate_key(pem).1)
            }
        };
        let mut wechat_keys = BTreeMap::new();
        let public = &wechat["public_keys"][0];
        let key = PublicKey::from_public_key_pem(public["key"].as_str().unwrap()).unwrap();
        wechat_keys.insert(text(&public["id"]), key);
        let (certificate, key) = certificate_key(wechat["platform_certificates"][0].as_str().unwrap());
        let serial = certificate
            .tbs_certificate()
            .serial_number()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02X}"));
        wechat_keys.insert(serial.collect(), key);
        let private = |pem: &Value| PrivateKey::from_pkcs8_pem(pem.as_str().unwrap()).unwrap();
        let (inbox, inbox_url) = Inbox::open().await;
        Market {
            inbox,
            inbox_url,
            app_key: private(&alipay["app_private_key"]),
            alipay_key,
            certificates,
            merchant_key: private(&wechat["merchant_private_key"]),
            merchant_serial: text(&wechat["merchant_serial_no"]),
            api_v3_key: text(&wechat["api_v3_keys"][0]),
            wechat_keys,
            platform,
        }
    }

    fn base(&self) -> String {
        self.platform.simulator().unwrap().base_url().to_owned()
    }

    async fn settled(&self) -> Vec<Arrived> {
        self.platform.settle(LONG).await.unwrap();
        self.inbox.take()
    }

    fn pay(&self, out_trade_no: &str) {
        self.platform.simulator().unwrap().pay(out_trade_no).unwrap();
    }

    async fn switch(&self, switches: Value) {
        let request = Request::post(format!("{}/_simulator/switches", self.base()));
        let response = exchange(request, switches.to_string()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.body());
    }

    fn beijing(&self) -> String {
        let now = DateTime::from_timestamp_millis(self.platform.clock().now_ms()).unwrap();
        let beijing = now.with_timezone(&FixedOffset::east_opt(8 * 3_600).unwrap());
        beijing.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn alipay_parameters(&self, method: &str, content: &Value) -> BTreeMap<String, String> {
        let mut parameters: BTreeMap<String, String> = [
            ("app_id", ALIPAY_APP_ID.to_owned()),
            ("method", method.to_owned()),
            ("format", "JSON".to_owned()),
            ("charset", "utf-8".to_owned()),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", self.beijing()),
            ("version", "1.0".to_owned()),
            ("biz_content", content.to_string()),
            ("notify_url", format!("{}/alipay", self.inbox_url)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if let Some([app, root]) = &self.certificates {
            parameters.insert("app_cert_sn".to_owned(), app.clone());
            parameters.insert("alipay_root_cert_sn".to_owned(), root.clone());
        }
        parameters
    }

    fn alipay_query(&self, parameters: BTreeMap<String, String>) -> String {
        signed_query(&self.app_key, parameters)
    }

    /// A call of the gateway: the inner answer, and whether its signature is Alipay's; `None` if no answer came.
    async fn alipay_exchange(&self, parameters: BTreeMap<String, String>) -> Option<(Value, bool)> {
        let request = Request::post(format!("{}/gateway.do", self.base()))
            .header("content-type", "application/x-www-form-urlencoded;charset=utf-8");
        let response = exchange(request, self.alipay_query(parameters)).await?;
        let answer: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(response.body()).unwrap();
        let inner = answer
            .iter()
            .find(|(name, _)| name.ends_with("_response"))
            .unwrap()
            .1
            .get()
            .to_owned();
        let genuine = answer.get("sign").is_some_and(|sign| {
            let sign: String = serde_json::from_str(sign.get()).unwrap();
            let sign = BASE64.decode(sign).unwrap();
            self.alipay_key
                .pkcs1v15_verify::<Sha256>(inner.as_bytes(), &sign)
                .is_ok()
        });
        Some((serde_json::from_str(&inner).unwrap(), genuine))
    }

    /// A call of the gateway with a genuine answer.
    async fn alipay(&self, method: &str, content: Value) -> Value {
        let (answer, genuine) = self
            .alipay_exchange(self.alipay_parameters(method, &content))
            .await
            .unwrap();
        assert!(genuine, "{answer}");
        answer
    }

    /// A trade by code, scanned and waiting.
    async fn alipay_waiting(&self, out_trade_no: &str, yuan: &str) {
        let content = json!({"out_trade_no": out_trade_no, "total_amount": yuan, "subject": TITLE});
        let made = self.alipay("alipay.trade.precreate", content).await;
        let page = get(made["qr_code"].as_str().unwrap()).await;
        assert_eq!(page.status(), StatusCode::SEE_OTHER);
    }

    async fn alipay_paid(&self, out_trade_no: &str, yuan: &str) {
        self.alipay_waiting(out_trade_no, yuan).await;
        self.pay(out_trade_no);
    }

    /// The fields of a notification, and whether its signature is Alipay's.
    fn alipay_notification(&self, arrived: &Arrived) -> (BTreeMap<String, String>, bool) {
        assert_eq!(arrived.path, "/alipay");
        let mut fields: BTreeMap<String, String> = form_urlencoded::parse(&arrived.body).into_owned().collect();
        let sign = BASE64.decode(fields.remove("sign").unwrap()).unwrap();
        assert_eq!(fields.remove("sign_type").as_deref(), Some("RSA2"));
        let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
        let text = pairs.collect::<Vec<_>>().join("&");
        let genuine = self
            .alipay_key
            .pkcs1v15_verify::<Sha256>(text.as_bytes(), &sign)
            .is_ok();
        (fields, genuine)
    }

    fn wechat_request(&self, method: &str, path: &str, body: &str, at_s: i64) -> http::request::Builder {
        let text = format!("{method}\n{path}\n{at_s}\nnonce\n{body}\n");
        let signature = self.merchant_key.pkcs1v15_sign::<Sha256>(text.as_bytes()).unwrap();
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base()))
            .header("accept", "application/json")
            .header("user-agent", "test")
            .header("content-type", "application/json")
            .header(
                "authorization",
                format!(
                    "WECHATPAY2-SHA256-RSA2048 mchid=\"{WECHAT_MERCHANT_ID}\",nonce_str=\"nonce\",timestamp=\"{at_s}\",\
                     serial_no=\"{}\",signature=\"{}\"",
                    self.merchant_serial,
                    BASE64.encode(signature)
                ),
            )
    }

    fn is_wechats(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let of = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap())
                .unwrap_or_default()
        };
        let mut text = format!("{}\n{}\n", of("wechatpay-timestamp"), of("wechatpay-nonce")).into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        let key = self.wechat_keys.get(of("wechatpay-serial"));
        let signature = BASE64.decode(of("wechatpay-signature"));
        key.is_some_and(|key| signature.is_ok_and(|signature| key.pkcs1v15_verify::<Sha256>(&text, &signature).is_ok()))
    }

    async fn wechat_exchange(&self, method: &str, path: &str, body: &str) -> Option<Response<Bytes>> {
        let at_s = self.platform.clock().now_ms() / 1_000;
        exchange(self.wechat_request(method, path, body, at_s), body.to_owned()).await
    }

    /// A call with a genuine answer.
    async fn wechat(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let response = self.wechat_exchange(method, path, &text).await.unwrap();
        assert!(self.is_wechats(response.headers(), response.body()), "{method} {path}");
        let answer = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), answer)
    }

    fn wechat_order(&self, out_trade_no: &str, fen: i64) -> Value {
        json!({
            "appid": WECHAT_APP_ID,
            "mchid": WECHAT_MERCHANT_ID,
            "description": TITLE,
            "out_trade_no": out_trade_no,
            "notify_url": format!("{}/wechat", self.inbox_url),
            "amount": {"total": fen, "currency": "CNY"},
        })
    }

    async fn wechat_waiting(&self, out_trade_no: &str, fen: i64) {
        let order = self.wechat_order(out_trade_no, fen);
        let (status, made) = self.wechat("POST", "/v3/pay/transactions/native", order).await;
        assert_eq!(status, 200, "{made}");
    }

    async fn wechat_paid(&self, out_trade_no: &str, fen: i64) {
        self.wechat_waiting(out_trade_no, fen).await;
        self.pay(out_trade_no);
    }

    async fn wechat_query(&self, out_trade_no: &str) -> (u16, Value) {
        let path = format!("/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={WECHAT_MERCHANT_ID}");
        self.wechat("GET", &path, Value::Null).await
    }

    fn wechat_refund(&self, out_trade_no: &str, refund_no: &str, fen: i64, total: i64) -> Value {
        json!({
            "out_trade_no": out_trade_no,
            "out_refund_no": refund_no,
            "notify_url": format!("{}/wechat-refund", self.inbox_url),
            "amount": {"refund": fen, "total": total, "currency": "CNY"},
        })
    }

    /// The envelope of a notification and what is sealed in it, if its signature is WeChat Pay's.
    fn wechat_notification(&self, arrived: &Arrived) -> Option<(Value, Value)> {
        if !self.is_wechats(&arrived.headers, &arrived.body) {
            return None;
        }
        let envelope: Value = serde_json::from_slice(&arrived.body).unwrap();
        let resource = &envelope["resource"];
        assert_eq!(resource["algorithm"], "AEAD_AES_256_GCM");
        let of = |name: &str| resource[name].as_str().unwrap();
        let cipher = Aes256Gcm::new_from_slice(self.api_v3_key.as_bytes()).unwrap();
        let sealed = BASE64.decode(of("ciphertext")).unwrap();
        let payload = Payload {
            msg: &sealed,
            aad: of("associated_data").as_bytes(),
        };
        let plain = cipher
            .decrypt(&Nonce::try_from(of("nonce").as_bytes()).unwrap(), payload)
            .unwrap();
        let plain = serde_json::from_slice(&plain).unwrap();
        Some((envelope, plain))
    }
}

/// Parameters with their signature, as a query or a form.
fn signed_query(key: &PrivateKey, mut parameters: BTreeMap<String, String>) -> String {
    let pairs = parameters.iter().filter(|(_, value)| !value.is_empty());
    let text = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&");
    let signature = key.pkcs1v15_sign::<Sha256>(text.as_bytes()).unwrap();
    parameters.insert("sign".to_owned(), BASE64.encode(signature));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// `None` when the connection breaks.
async fn exchange(request: http::request::Builder, body: String) -> Option<Response<Bytes>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client
        .request(request.body(Full::new(Bytes::from(body))).unwrap())
        .await
        .ok()?;
    let (head, body) = response.into_parts();
    Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
}

async fn get(url: &str) -> Response<Bytes> {
    exchange(Request::get(url), String::new()).await.unwrap()
}

async fn post_form(url: &str, form: &str) -> Response<Bytes> {
    let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    exchange(request, form.to_owned()).await.unwrap()
}

fn location(response: &Response<Bytes>) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{:?}", response.body());
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alipay_purchase_on_a_page_ends_where_the_merchant_wants_the_buyer() {
    let market = Market::open().await;
    let content = json!({
        "out_trade_no": "page_1", "total_amount": "19.90", "subject": TITLE,
        "product_code": "FAST_INSTANT_TRADE_PAY", "passback_params": "a=1&b=2",
    });
    let unopened = market
        .alipay("alipay.trade.query", json!({"out_trade_no": "page_1"}))
        .await;
    assert_eq!(
        (&unopened["code"], &unopened["sub_code"]),
        (&json!("40004"), &json!("ACQ.TRADE_NOT_EXIST"))
    );

    let mut parameters = market.alipay_parameters("alipay.trade.page.pay", &content);
    parameters.insert("return_url".to_owned(), "http://shop.test/back?order=7".to_owned());
    let link = format!(
        "{}/gateway.do?{}",
        market.base(),
        market.alipay_query(parameters.clone())
    );
    let cashier = format!("{}{}", market.base(), location(&get(&link).await));
    let page = get(&cashier).await;
    let text = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(
        text.contains("¥19.90") && text.contains("&#60;b&#62;") && !text.contains("<b>"),
        "{text}"
    );
    let waiting = market
        .alipay("alipay.trade.query", json!({"out_trade_no": "page_1"}))
        .await;
    assert_eq!(
        (&waiting["trade_status"], &waiting["subject"]),
        (&json!("WAIT_BUYER_PAY"), &json!(TITLE))
    );

    let failed = post_form(&cashier, "outcome=fail").await;
    assert!(String::from_utf8_lossy(failed.body()).contains("支付失败"));
    let back = location(&post_form(&cashier, "outcome=pay").await);
    let back = url::Url::parse(&back).unwrap();
    let mut shown: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
    assert_eq!(
        (back.host_str(), shown.remove("order").as_deref()),
        (Some("shop.test"), Some("7"))
    );
    let sign = BASE64.decode(shown.remove("sign").unwrap()).unwrap();
    shown.remove("sign_type");
    let text = shown
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&");
    market
        .alipay_key
        .pkcs1v15_verify::<Sha256>(text.as_bytes(), &sign)
        .unwrap();
    assert_eq!(
        (shown["out_trade_no"].as_str(), shown["total_amount"].as_str()),
        ("page_1", "19.90")
    );

    let arrived = market.settled().await;
    assert_eq!(arrived.len(), 1);
    let (fields, genuine) = market.alipay_notification(&arrived[0]);
    assert!(genuine);
    for (name, value) in [
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "19.90"),
        ("seller_id", ALIPAY_SELLER_ID),
        ("subject", TITLE),
        ("passback_params", "a=1&b=2"),
        ("body", ""),
        ("buyer_logon_id", "159****5620"),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
    assert!(!fields.contains_key("refund_fee"));
    let paid = market
        .alipay("alipay.trade.query", json!({"trade_no": fields["trade_no"]}))
        .await;
    assert_eq!(paid["trade_status"], "TRADE_SUCCESS");
    let closed = market
        .alipay("alipay.trade.close", json!({"out_trade_no": "page_1"}))
        .await;
    assert_eq!(closed["sub_code"], "ACQ.TRADE_STATUS_ERROR");

    parameters.insert("biz_content".to_owned(), content.to_string().replace("19.90", "0.01"));
    let forged = market.alipay_query(parameters.clone()).replace("19.90", "0.01");
    let (_, signature) = forged.split_once("sign=").unwrap();
    let honest = market.alipay_query(market.alipay_parameters("alipay.trade.page.pay", &content));
    let tampered = honest.replace(honest.split_once("sign=").unwrap().1, signature);
    let refused = get(&format!("{}/gateway.do?{tampered}", market.base())).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_notifies_of_partial_refunds_as_successes_and_of_the_last_one_as_closed() {
    let market = Market::open().await;
    let content = json!({"out_trade_no": "code_1", "total_amount": 100, "subject": "x", "timeout_express": "10m"});
    let made = market.alipay("alipay.trade.precreate", content.clone()).await;
    let again = market.alipay("alipay.trade.precreate", content).await;
    assert_eq!(made["qr_code"], again["qr_code"]);
    for method in ["alipay.trade.query", "alipay.trade.close"] {
        let unscanned = market.alipay(method, json!({"out_trade_no": "code_1"})).await;
        assert_eq!(unscanned["sub_code"], "ACQ.TRADE_NOT_EXIST", "{method}");
    }
    get(made["qr_code"].as_str().unwrap()).await;
    let early = json!({"out_trade_no": "code_1", "refund_amount": "1.00", "out_request_no": "back_0"});
    assert_eq!(
        market.alipay("alipay.trade.refund", early).await["sub_code"],
        "ACQ.TRADE_STATUS_ERROR"
    );
    market.pay("code_1");
    assert_eq!(market.settled().await.len(), 1);

    let refund = |number: &str, yuan: &str| {
        let content = json!({"out_trade_no": "code_1", "refund_amount": yuan, "out_request_no": number});
        market.alipay("alipay.trade.refund", content)
    };
    let first = refund("back_1", "30.00").await;
    assert_eq!(
        (&first["fund_change"], &first["refund_fee"]),
        (&json!("Y"), &json!("30.00"))
    );
    let repeated = refund("back_1", "30.00").await;
    assert_eq!(
        (&repeated["fund_change"], &repeated["refund_fee"]),
        (&json!("N"), &json!("30.00"))
    );
    assert_eq!(
        refund("back_1", "31.00").await["sub_code"],
        "ACQ.DISCORDANT_REPEAT_REQUEST"
    );
    assert_eq!(
        refund("back_2", "70.01").await["sub_code"],
        "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    );
    let arrived = market.settled().await;
    assert_eq!(arrived.len(), 1);
    let (fields, genuine) = market.alipay_notification(&arrived[0]);
    assert!(genuine);
    assert_eq!(
        ["trade_status", "refund_fee", "out_biz_no", "total_amount"].map(|name| fields[name].as_str()),
        ["TRADE_SUCCESS", "30.00", "back_1", "100.00"]
    );

    assert_eq!(refund("back_2", "70.00").await["refund_fee"], "100.00");
    let (fields, _) = market.alipay_notification(&market.settled().await[0]);
    assert_eq!(
        (fields["trade_status"].as_str(), fields["refund_fee"].as_str()),
        ("TRADE_CLOSED", "100.00")
    );
    let ask = |number: &str| {
        let content = json!({"out_trade_no": "code_1", "out_request_no": number, "query_options": ["gmt_refund_pay"]});
        market.alipay("alipay.trade.fastpay.refund.query", content)
    };
    let known = ask("back_1").await;
    assert_eq!(
        (&known["refund_status"], &known["refund_amount"]),
        (&json!("REFUND_SUCCESS"), &json!("30.00"))
    );
    assert!(known["gmt_refund_pay"].is_string());
    let unknown = ask("back_9").await;
    assert_eq!(
        (&unknown["code"], &unknown["refund_status"]),
        (&json!("10000"), &Value::Null)
    );
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_repeats_until_the_word_comes_and_eight_times_at_most() {
    let market = Market::open().await;
    market
        .inbox
        .answer(&[(200, "SUCCESS"), (500, "success"), (200, "success\n"), (302, "success")]);
    market.alipay_paid("order_1", "1.00").await;
    let gaps = [2 * MINUTE, 10 * MINUTE, 10 * MINUTE, HOUR];
    assert_eq!(market.settled().await.len(), 1);
    let mut ids = Vec::new();
    for gap in gaps {
        market.platform.clock().advance(gap / 2).unwrap();
        assert_eq!(market.settled().await.len(), 0, "before {gap}");
        market.platform.clock().advance(gap / 2).unwrap();
        let arrived = market.settled().await;
        assert_eq!(arrived.len(), 1, "after {gap}");
        ids.push(market.alipay_notification(&arrived[0]).0["notify_id"].clone());
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    market.platform.clock().advance(48 * HOUR).unwrap();
    assert_eq!(market.settled().await.len(), 0, "it was confirmed");

    market.inbox.answer(&[(200, "fail"); 20]);
    market.alipay_paid("order_2", "1.00").await;
    let mut tries = market.settled().await.len();
    for _ in 0..20 {
        market.platform.clock().advance(24 * HOUR).unwrap();
        tries += market.settled().await.len();
    }
    assert_eq!(tries, 8);
    let kept = market
        .platform
        .simulator()
        .unwrap()
        .notifications(Some("order_2"))
        .unwrap();
    assert_eq!(kept[0]["state"], "given up");
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_alipay_trade_runs_out_in_silence() {
    let market = Market::open().await;
    market.alipay_waiting("order_1", "1.00").await;
    market.platform.clock().advance(2 * HOUR).unwrap();
    assert!(market.settled().await.is_empty());
    let closed = market
        .alipay("alipay.trade.query", json!({"out_trade_no": "order_1"}))
        .await;
    assert_eq!(closed["trade_status"], "TRADE_CLOSED");
    assert!(market.platform.simulator().unwrap().pay("order_1").is_err());

    market.alipay_waiting("order_2", "1.00").await;
    let closed = market
        .alipay("alipay.trade.close", json!({"out_trade_no": "order_2"}))
        .await;
    assert_eq!(closed["out_trade_no"], "order_2");
    assert!(market.platform.simulator().unwrap().pay("order_2").is_err());
    let content = json!({"out_trade_no": "order_2", "total_amount": "1.00", "subject": TITLE});
    assert_eq!(
        market.alipay("alipay.trade.precreate", content).await["sub_code"],
        "ACQ.TRADE_HAS_CLOSE"
    );
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_refuses_what_is_not_signed_as_it_should_be() {
    let market = Market::open().await;
    let content = json!({"out_trade_no": "order_1"});
    let query = || market.alipay_parameters("alipay.trade.query", &content);
    let cases: [(&str, &str, &str); 5] = [
        ("sign_type", "RSA", "isv.invalid-signature-type"),
        ("charset", "GBK", "isv.invalid-charset"),
        ("timestamp", "2026-01-01 00:00:00", "isv.invalid-timestamp"),
        ("method", "alipay.trade.unheard", "isv.invalid-method"),
        ("biz_content", "nonsense", "ACQ.INVALID_PARAMETER"),
    ];
    for (name, value, sub_code) in cases {
        let mut parameters = query();
        parameters.insert(name.to_owned(), value.to_owned());
        let (answer, genuine) = market.alipay_exchange(parameters).await.unwrap();
        assert_eq!((answer["sub_code"].as_str(), genuine), (Some(sub_code), true), "{name}");
    }
    let mut unknown = query();
    unknown.insert("app_id".to_owned(), "2021000000000000".to_owned());
    let (answer, genuine) = market.alipay_exchange(unknown).await.unwrap();
    assert_eq!(
        (answer["sub_code"].as_str(), genuine),
        (Some("isv.invalid-app-id"), false)
    );
    let mut elsewhere = market.alipay_parameters(
        "alipay.trade.precreate",
        &json!({"out_trade_no": "order_1", "total_amount": "1.00", "subject": "x"}),
    );
    elsewhere.insert("notify_url".to_owned(), "http://shop.test/notify".to_owned());
    assert_eq!(
        market.alipay_exchange(elsewhere).await.unwrap().0["sub_code"],
        "isv.invalid-parameter"
    );
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_with_certificates_wants_and_names_their_serial_numbers() {
    let market = Market::with(Options {
        alipay_certificates: true,
        ..simulated()
    })
    .await;
    market.alipay_paid("order_1", "1.00").await;
    let arrived = market.settled().await;
    assert!(market.alipay_notification(&arrived[0]).1);
    let mut bare = market.alipay_parameters("alipay.trade.query", &json!({"out_trade_no": "order_1"}));
    bare.remove("app_cert_sn");
    assert_eq!(
        market.alipay_exchange(bare).await.unwrap().0["sub_code"],
        "isv.invalid-app-cert-sn"
    );
    let signed =
        market.alipay_query(market.alipay_parameters("alipay.trade.query", &json!({"out_trade_no": "order_1"})));
    let answer: Value = serde_json::from_slice(
        post_form(&format!("{}/gateway.do", market.base()), &signed)
            .await
            .body(),
    )
    .unwrap();
    assert_eq!(answer["alipay_cert_sn"].as_str().unwrap().len(), 32);
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wechat_purchase_by_code_with_refunds() {
    let market = Market::open().await;
    let order = market.wechat_order("order_1", 1_990);
    let (status, made) = market
        .wechat("POST", "/v3/pay/transactions/native", order.clone())
        .await;
    assert_eq!(status, 200, "{made}");
    let code = made["code_url"].as_str().unwrap();
    assert!(code.starts_with("weixin://wxpay/bizpayurl?pr="));
    let (_, again) = market
        .wechat("POST", "/v3/pay/transactions/native", order.clone())
        .await;
    assert_eq!(made, again);
    let mut other = order.clone();
    other["amount"]["total"] = 1.into();
    let (status, refused) = market.wechat("POST", "/v3/pay/transactions/native", other).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("OUT_TRADE_NO_USED")));
    assert_eq!(market.wechat_query("order_1").await.1["trade_state"], "NOTPAY");
    assert_eq!(market.wechat_query("order_9").await.0, 404);

    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code_url", code)
        .finish();
    let cashier = location(&get(&format!("{}/wechat_pay/scan?{query}", market.base())).await);
    let paid = post_form(&format!("{}{cashier}", market.base()), "outcome=pay").await;
    assert!(String::from_utf8_lossy(paid.body()).contains("支付成功"));
    let arrived = market.settled().await;
    assert_eq!((arrived.len(), arrived[0].path.as_str()), (1, "/wechat"));
    let (envelope, plain) = market.wechat_notification(&arrived[0]).unwrap();
    assert_eq!(
        (&envelope["event_type"], &envelope["resource"]["original_type"]),
        (&json!("TRANSACTION.SUCCESS"), &json!("transaction"))
    );
    assert_eq!(
        plain["amount"],
        json!({"total": 1_990, "payer_total": 1_990, "currency": "CNY", "payer_currency": "CNY"})
    );
    assert_eq!(
        (&plain["trade_state"], &plain["mchid"], &plain["appid"]),
        (&json!("SUCCESS"), &json!(WECHAT_MERCHANT_ID), &json!(WECHAT_APP_ID))
    );
    assert_eq!(
        market.wechat_query("order_1").await.1["transaction_id"],
        plain["transaction_id"]
    );
    let close = json!({"mchid": WECHAT_MERCHANT_ID});
    let (status, refused) = market
        .wechat("POST", "/v3/pay/transactions/out-trade-no/order_1/close", close)
        .await;
    assert_eq!((status, refused["code"].as_str()), (400, Some("ORDERPAID")));
    let (_, refused) = market.wechat("POST", "/v3/pay/transactions/native", order).await;
    assert_eq!(refused["code"], "ORDERPAID");

    let refunds = "/v3/refund/domestic/refunds";
    let (status, begun) = market
        .wechat("POST", refunds, market.wechat_refund("order_1", "back_1", 990, 1_990))
        .await;
    assert_eq!((status, begun["status"].as_str()), (200, Some("PROCESSING")));
    let arrived = market.settled().await;
    assert_eq!((arrived.len(), arrived[0].path.as_str()), (1, "/wechat-refund"));
    let (envelope, plain) = market.wechat_notification(&arrived[0]).unwrap();
    assert_eq!(
        (&envelope["event_type"], &plain["refund_status"]),
        (&json!("REFUND.SUCCESS"), &json!("SUCCESS"))
    );
    assert_eq!(
        (&plain["amount"]["refund"], &plain["amount"]["total"]),
        (&json!(990), &json!(1_990))
    );
    let (_, known) = market.wechat("GET", &format!("{refunds}/back_1"), Value::Null).await;
    assert_eq!(
        (&known["status"], &known["amount"]["refund"]),
        (&json!("SUCCESS"), &json!(990))
    );
    assert_eq!(market.wechat_query("order_1").await.1["trade_state"], "REFUND");
    let (status, refused) = market
        .wechat("POST", refunds, market.wechat_refund("order_1", "back_2", 1_001, 1_990))
        .await;
    assert_eq!((status, refused["code"].as_str()), (400, Some("INVALID_REQUEST")));
    let (status, _) = market
        .wechat("POST", refunds, market.wechat_refund("order_1", "back_2", 1_000, 1_990))
        .await;
    assert_eq!((status, market.settled().await.len()), (200, 1));
    assert_eq!(
        market.wechat("GET", &format!("{refunds}/back_9"), Value::Null).await.0,
        404
    );
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wechat_purchase_in_the_app_and_in_a_browser() {
    let market = Market::open().await;
    let mut order = market.wechat_order("order_app", 5);
    let (status, refused) = market.wechat("POST", "/v3/pay/transactions/jsapi", order.clone()).await;
    assert_eq!((status, refused["code"].as_str()), (400, Some("PARAM_ERROR")));
    order["payer"] = json!({"openid": "oBuyer"});
    let (_, made) = market.wechat("POST", "/v3/pay/transactions/jsapi", order).await;
    let package = format!("prepay_id={}", made["prepay_id"].as_str().unwrap());
    let text = format!("{WECHAT_APP_ID}\n1\nnonce\n{package}\n");
    let sign = BASE64.encode(market.merchant_key.pkcs1v15_sign::<Sha256>(text.as_bytes()).unwrap());
    let pay = |sign: String| {
        let given = json!({
            "appId": WECHAT_APP_ID, "timeStamp": "1", "nonceStr": "nonce", "package": package, "signType": "RSA",
            "paySign": sign,
        });
        exchange(
            Request::post(format!("{}/wechat_pay/jsapi-pay", market.base())),
            given.to_string(),
        )
    };
    assert_eq!(
        pay(sign.replace('A', "B")).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(pay(sign.clone()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(pay(sign).await.unwrap().status(), StatusCode::BAD_REQUEST, "it is paid");
    let (_, plain) = market.wechat_notification(&market.settled().await[0]).unwrap();
    assert_eq!(
        (&plain["trade_type"], &plain["payer"]["openid"]),
        (&json!("JSAPI"), &json!("oBuyer"))
    );

    let mut order = market.wechat_order("order_h5", 5);
    order["scene_info"] = json!({"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Wap"}});
    let (_, made) = market.wechat("POST", "/v3/pay/transactions/h5", order).await;
    let url = format!(
        "{}&redirect_url=http%3A%2F%2Fshop.test%2Fback",
        made["h5_url"].as_str().unwrap()
    );
    let cashier = location(&get(&url).await);
    market.platform.clock().advance(5 * MINUTE).unwrap();
    assert!(String::from_utf8_lossy(get(&url).await.body()).contains("支付请求已失效"));
    assert_eq!(
        location(&post_form(&format!("{}{cashier}", market.base()), "outcome=pay").await),
        "http://shop.test/back"
    );
    assert_eq!(market.settled().await.len(), 1);

    market.wechat_waiting("order_code", 5).await;
    let close = json!({"mchid": WECHAT_MERCHANT_ID});
    let path = "/v3/pay/transactions/out-trade-no/order_code/close";
    assert_eq!(market.wechat("POST", path, close.clone()).await.0, 204);
    assert_eq!(
        market.wechat("POST", path, close).await.0,
        204,
        "closing twice is closing once"
    );
    let again = market.wechat_order("order_code", 5);
    assert_eq!(
        market.wechat("POST", "/v3/pay/transactions/native", again).await.1["code"],
        "ORDER_CLOSED"
    );
    let refund = market.wechat_refund("order_code", "back_1", 5, 5);
    let (status, refused) = market.wechat("POST", "/v3/refund/domestic/refunds", refund).await;
    assert_eq!((status, refused["code"].as_str()), (404, Some("RESOURCE_NOT_EXISTS")));
    assert_eq!(market.wechat_query("order_code").await.1["trade_state"], "CLOSED");
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_pay_refuses_what_is_not_signed_as_it_should_be() {
    let market = Market::open().await;
    let path = format!("/v3/pay/transactions/out-trade-no/order_1?mchid={WECHAT_MERCHANT_ID}");
    let now_s = market.platform.clock().now_ms() / 1_000;
    let old = exchange(market.wechat_request("GET", &path, "", now_s - 400), String::new())
        .await
        .unwrap();
    let other_body = exchange(market.wechat_request("POST", &path, "{}", now_s), "[]".to_owned())
        .await
        .unwrap();
    let bare = exchange(Request::get(format!("{}{path}", market.base())), String::new())
        .await
        .unwrap();
    for (response, status, code) in [
        (old, 401, "SIGN_ERROR"),
        (other_body, 401, "SIGN_ERROR"),
        (bare, 400, "INVALID_REQUEST"),
    ] {
        assert_eq!(
            (response.status().as_u16(), body(&response)["code"].as_str()),
            (status, Some(code))
        );
        assert!(
            !response.headers().contains_key("wechatpay-signature"),
            "who is not known gets no signature"
        );
    }
    let query = || market.wechat_exchange("GET", &path, "");
    assert!(query().await.unwrap().headers().contains_key("wechatpay-signature"));
    market.switch(json!({"unsigned_refusals": true})).await;
    let refused = query().await.unwrap();
    assert_eq!(
        (refused.status(), body(&refused)["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("ORDER_NOT_EXIST"))
    );
    assert!(!refused.headers().contains_key("wechatpay-signature"));
    market.switch(json!({})).await;
    for (change, value) in [
        ("notify_url", json!("https://shop.test/notify?token=1")),
        ("out_trade_no", json!("short")),
        ("description", json!("x".repeat(128))),
        ("time_expire", json!("2020-01-01T00:00:00+08:00")),
        ("amount", json!({"total": 0})),
        ("appid", json!("wx1")),
    ] {
        let mut order = market.wechat_order("order_1", 5);
        order[change] = value;
        let (status, answer) = market.wechat("POST", "/v3/pay/transactions/native", order).await;
        assert_eq!(status, 400, "{change}: {answer}");
    }
    // The caller says which of the two keys he knows.
    for serial in market.wechat_keys.keys() {
        for _ in 0..2 {
            let request = market
                .wechat_request("GET", &path, "", now_s)
                .header("wechatpay-serial", serial);
            let response = exchange(request, String::new()).await.unwrap();
            assert_eq!(response.headers()["wechatpay-serial"], serial.as_str());
        }
    }
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_pay_repeats_fifteen_times_by_the_moved_clock() {
    let market = Market::open().await;
    market.inbox.answer(&[(500, ""); 40]);
    market.wechat_paid("order_1", 5).await;
    assert_eq!(market.settled().await.len(), 1);
    for gap in [15_000, 15_000, 30_000, 3 * MINUTE, 10 * MINUTE, 20 * MINUTE] {
        market.platform.clock().advance(gap / 2).unwrap();
        assert_eq!(market.settled().await.len(), 0, "before {gap}");
        market.platform.clock().advance(gap / 2).unwrap();
        assert_eq!(market.settled().await.len(), 1, "after {gap}");
    }
    let mut tries = 7;
    for _ in 0..20 {
        market.platform.clock().advance(6 * HOUR).unwrap();
        tries += market.settled().await.len();
    }
    assert_eq!(tries, 16);
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_can_be_late_doubled_reordered_and_lost() {
    let market = Market::open().await;
    market
        .switch(json!({"out_trade_no": "late_1", "late_ms": 60_000}))
        .await;
    market.wechat_paid("late_1", 5).await;
    assert!(market.settled().await.is_empty());
    market.platform.clock().advance(60_000).unwrap();
    assert_eq!(market.settled().await.len(), 1);

    market.switch(json!({"out_trade_no": "copies", "copies": 2})).await;
    market.alipay_paid("copies", "1.00").await;
    let arrived = market.settled().await;
    assert_eq!(arrived.len(), 3);
    assert!(arrived.iter().all(|one| market.alipay_notification(one).1));

    market.switch(json!({"out_trade_no": "lost_1", "lost": true})).await;
    market.alipay_paid("lost_1", "1.00").await;
    market.platform.clock().advance(25 * HOUR).unwrap();
    assert!(market.settled().await.is_empty());

    let refund = |number: &str| {
        let content =
            json!({"out_trade_no": number, "refund_amount": "0.40", "out_request_no": format!("{number}_back")});
        market.alipay("alipay.trade.refund", content)
    };
    for switch in ["reordered", "after_refund"] {
        market.switch(json!({"out_trade_no": switch, switch: true})).await;
        market.alipay_paid(switch, "1.00").await;
        assert!(market.settled().await.is_empty(), "{switch}");
        refund(switch).await;
        let fields: Vec<_> = market
            .settled()
            .await
            .iter()
            .map(|one| market.alipay_notification(one).0)
            .collect();
        let refunds: Vec<bool> = fields.iter().map(|fields| fields.contains_key("refund_fee")).collect();
        assert_eq!(refunds, [true, false], "{switch}");
    }
    market
        .switch(json!({"out_trade_no": "reordered_alone", "reordered": true}))
        .await;
    market.alipay_paid("reordered_alone", "1.00").await;
    market.platform.clock().advance(HOUR).unwrap();
    assert_eq!(market.settled().await.len(), 1);

    market
        .switch(json!({"out_trade_no": "silent", "partial_refund_notification": false}))
        .await;
    market.alipay_paid("silent", "1.00").await;
    assert_eq!(market.settled().await.len(), 1);
    refund("silent").await;
    assert!(market.settled().await.is_empty());
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_can_be_forged_and_wrong() {
    let market = Market::open().await;
    market.switch(json!({"forged": true})).await;
    market.inbox.answer(&[(400, ""), (401, "")]);
    market.alipay_paid("forged_a", "1.00").await;
    market.wechat_paid("forged_w", 100).await;
    for arrived in market.settled().await {
        match arrived.path.as_str() {
            "/alipay" => assert!(!market.alipay_notification(&arrived).1),
            _ => assert!(market.wechat_notification(&arrived).is_none()),
        }
    }
    // What was refused comes again, and by then it is the company's own.
    market.switch(json!({})).await;
    market.platform.clock().advance(2 * MINUTE).unwrap();
    assert_eq!(market.settled().await.len(), 2);

    market
        .switch(json!({"wrong_amount_fen": 1, "wrong_app": true, "wrong_merchant": true}))
        .await;
    market.alipay_paid("wrong_a", "1.00").await;
    let (fields, genuine) = market.alipay_notification(&market.settled().await[0]);
    assert!(genuine && fields["app_id"] != ALIPAY_APP_ID && fields["seller_id"] != ALIPAY_SELLER_ID);
    assert_eq!(fields["total_amount"], "0.01");
    market.wechat_paid("wrong_w", 100).await;
    let (_, plain) = market.wechat_notification(&market.settled().await[0]).unwrap();
    assert!(plain["mchid"] != WECHAT_MERCHANT_ID && plain["appid"] != WECHAT_APP_ID && plain["amount"]["total"] == 1);

    market.switch(json!({"unknown_serial": true})).await;
    market.wechat_paid("serial", 100).await;
    let arrived = market.settled().await;
    assert!(
        !market
            .wechat_keys
            .contains_key(arrived[0].headers["wechatpay-serial"].to_str().unwrap())
    );

    market.switch(json!({"stale_timestamp": true})).await;
    market.wechat_paid("stale_1", 100).await;
    let arrived = market.settled().await;
    let at_s: i64 = arrived[0].headers["wechatpay-timestamp"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(market.platform.clock().now_ms() / 1_000 - at_s >= 3_600);
    assert!(
        market.wechat_notification(&arrived[0]).is_some(),
        "its signature is genuine all the same"
    );

    market.switch(json!({"sign_test": true})).await;
    market.inbox.answer(&[(401, "")]);
    market.wechat_paid("probe_1", 100).await;
    let arrived = market.settled().await;
    assert_eq!(arrived.len(), 2);
    assert!(
        arrived[0].headers["wechatpay-signature"]
            .to_str()
            .unwrap()
            .starts_with("WECHATPAY/SIGNTEST/")
    );
    assert!(market.wechat_notification(&arrived[1]).is_some());
    let kept = market
        .platform
        .simulator()
        .unwrap()
        .notifications(Some("probe_1"))
        .unwrap();
    assert_eq!(
        (&kept[0]["state"], &kept[0]["tries"][0]["status"]),
        (&json!("confirmed"), &json!(401))
    );
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_can_be_lost_late_broken_and_wrongly_signed() {
    let market = Market::open().await;
    let simulator = market.platform.simulator().unwrap();
    let spoil = |answer, operation| Switches {
        answer,
        answer_to: Some(operation),
        answer_times: Some(1),
        hang_ms: 60_000,
        ..Switches::default()
    };
    let precreate = |number: &str| {
        let content = json!({"out_trade_no": number, "total_amount": "1.00", "subject": TITLE});
        market.alipay_exchange(market.alipay_parameters("alipay.trade.precreate", &content))
    };
    simulator
        .set_switches(None, &spoil(Spoiling::Lost, Operation::Create))
        .unwrap();
    assert!(precreate("order_lost").await.is_none());
    assert_eq!(
        simulator.books(None).unwrap()["trades"][0]["out_trade_no"],
        "order_lost",
        "the work is done"
    );
    assert!(precreate("order_lost").await.unwrap().1, "once only");

    simulator
        .set_switches(None, &spoil(Spoiling::Hanging, Operation::Create))
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), precreate("order_late"))
            .await
            .is_err()
    );
    // Nobody waits for an answer whose caller has gone.
    market.settled().await;
    for (answer, genuine) in [
        (Spoiling::Unsigned, false),
        (Spoiling::WronglySigned, false),
        (Spoiling::ServerError, true),
    ] {
        simulator.set_switches(None, &spoil(answer, Operation::Query)).unwrap();
        let parameters = market.alipay_parameters("alipay.trade.query", &json!({"out_trade_no": "order_lost"}));
        let (body, signed) = market.alipay_exchange(parameters).await.unwrap();
        assert_eq!(signed, genuine, "{answer:?}");
        assert_eq!(body["code"] == "20000", answer == Spoiling::ServerError);
    }

    market.wechat_waiting("order_w", 100).await;
    let path = format!("/v3/pay/transactions/out-trade-no/order_w?mchid={WECHAT_MERCHANT_ID}");
    let query = || market.wechat_exchange("GET", &path, "");
    for (answer, status, genuine) in [
        (Spoiling::Unsigned, 200, false),
        (Spoiling::WronglySigned, 200, false),
        (Spoiling::SignTest, 200, false),
        (Spoiling::ServerError, 500, true),
        (Spoiling::None, 200, true),
    ] {
        simulator
            .set_switches(Some("order_w"), &spoil(answer, Operation::Query))
            .unwrap();
        let response = query().await.unwrap();
        assert_eq!(response.status(), status, "{answer:?}");
        assert_eq!(
            market.is_wechats(response.headers(), response.body()),
            genuine,
            "{answer:?}"
        );
    }
    simulator
        .set_switches(Some("order_w"), &spoil(Spoiling::Lost, Operation::Close))
        .unwrap();
    assert!(query().await.is_some(), "only the answer to close is lost");
    let close = json!({"mchid": WECHAT_MERCHANT_ID}).to_string();
    let closed = market
        .wechat_exchange("POST", "/v3/pay/transactions/out-trade-no/order_w/close", &close)
        .await;
    assert!(closed.is_none());
    assert_eq!(market.wechat_query("order_w").await.1["trade_state"], "CLOSED");

    for signed_by in [SignedBy::PublicKey, SignedBy::Certificate] {
        let switches = Switches {
            signed_by,
            ..Switches::default()
        };
        simulator.set_switches(Some("order_w"), &switches).unwrap();
        let named: Vec<bool> = [query().await.unwrap(), query().await.unwrap()]
            .iter()
            .map(|response| {
                response.headers()["wechatpay-serial"]
                    .to_str()
                    .unwrap()
                    .starts_with("PUB_KEY_ID_")
            })
            .collect();
        assert_eq!(named, [signed_by == SignedBy::PublicKey; 2]);
    }
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_can_take_their_time_be_refused_and_get_stuck() {
    let market = Market::open().await;
    let simulator = market.platform.simulator().unwrap();
    let refunds = "/v3/refund/domestic/refunds";
    let with = |refund| Switches {
        refund,
        refund_ms: 60_000,
        ..Switches::default()
    };
    market.alipay_paid("order_a", "1.00").await;
    market.wechat_paid("order_w", 100).await;
    assert_eq!(market.settled().await.len(), 2);
    let alipay = |number: &str| {
        let content = json!({"out_trade_no": "order_a", "refund_amount": "0.30", "out_request_no": number});
        market.alipay("alipay.trade.refund", content)
    };
    simulator.set_switches(None, &with(Fate::Refused)).unwrap();
    assert_eq!(alipay("back_1").await["sub_code"], "ACQ.SELLER_BALANCE_NOT_ENOUGH");
    let (status, refused) = market
        .wechat("POST", refunds, market.wechat_refund("order_w", "back_1", 30, 100))
        .await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("NOT_ENOUGH")));

    simulator.set_switches(None, &with(Fate::Slow)).unwrap();
    let begun = alipay("back_1").await;
    assert_eq!((&begun["code"], &begun["fund_change"]), (&json!("10000"), &json!("N")));
    let ask = json!({"out_trade_no": "order_a", "out_request_no": "back_1"});
    assert_eq!(
        market.alipay("alipay.trade.fastpay.refund.query", ask.clone()).await["refund_status"],
        Value::Null
    );
    market
        .wechat("POST", refunds, market.wechat_refund("order_w", "back_1", 30, 100))
        .await;
    assert!(market.settled().await.is_empty());
    let path = format!("{refunds}/back_1");
    assert_eq!(market.wechat("GET", &path, Value::Null).await.1["status"], "PROCESSING");
    market.platform.clock().advance(60_000).unwrap();
    assert_eq!(market.settled().await.len(), 2);
    assert_eq!(market.wechat("GET", &path, Value::Null).await.1["status"], "SUCCESS");
    let done = market.alipay("alipay.trade.fastpay.refund.query", ask).await;
    assert_eq!(done["refund_status"], "REFUND_SUCCESS");

    simulator.set_switches(None, &with(Fate::Abnormal)).unwrap();
    market
        .wechat("POST", refunds, market.wechat_refund("order_w", "back_2", 30, 100))
        .await;
    let (envelope, plain) = market.wechat_notification(&market.settled().await[0]).unwrap();
    assert_eq!(
        (&envelope["event_type"], &plain["refund_status"]),
        (&json!("REFUND.ABNORMAL"), &json!("ABNORMAL"))
    );

    // A person gives money back on the company's own pages.
    simulator.set_switches(None, &Switches::default()).unwrap();
    let url = format!("{}/_simulator/trades/order_a/refund", market.base());
    let made = exchange(Request::post(url), json!({"amount_fen": 20}).to_string())
        .await
        .unwrap();
    assert_eq!(made.status(), StatusCode::OK);
    let (fields, _) = market.alipay_notification(&market.settled().await[0]);
    assert_eq!(fields["refund_fee"], "0.50");
    market.platform.stop().await;
}

/// What was to be sent is sent after the next start, with the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_trades_keys_and_what_is_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let kept = || Options {
        data: Data::Folder(folder.path().join("data")),
        ..simulated()
    };
    let market = Market::with(kept()).await;
    market.switch(json!({"late_ms": 60_000})).await;
    market.alipay_paid("order_1", "1.00").await;
    market.wechat_waiting("order_2", 5).await;
    assert!(market.settled().await.is_empty());
    let (inbox, key, serial) = (
        market.inbox.clone(),
        market.alipay_key.clone(),
        market.merchant_serial.clone(),
    );
    market.platform.stop().await;

    let market = Market::with(kept()).await;
    assert_eq!((&market.alipay_key, &market.merchant_serial), (&key, &serial));
    let paid = market
        .alipay("alipay.trade.query", json!({"out_trade_no": "order_1"}))
        .await;
    assert_eq!(paid["trade_status"], "TRADE_SUCCESS");
    assert_eq!(market.wechat_query("order_2").await.1["trade_state"], "NOTPAY");
    market.platform.clock().advance(60_000).unwrap();
    market.platform.settle(LONG).await.unwrap();
    assert_eq!(inbox.take().len(), 1);
    market.platform.stop().await;
}

/// The command with simulated providers: its process, and where it and they serve.
fn start(data: &Path) -> (Child, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cfmp"))
        .args(["--no-demo", "--port", "0", "--providers", "simulated", "--template"])
        .arg(cfmp::root().join("tests/platform/template.yaml"))
        .arg("--built")
        .arg(super::built())
        .arg("--data")
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut platform, mut simulator) = (None, None);
    for line in BufReader::new(command.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(url) = line.strip_prefix("payment providers, simulated: ") {
            simulator = Some(url.to_owned());
        }
        if let Some(url) = line.strip_prefix("ready: ") {
            platform = Some(url.to_owned());
            break;
        }
    }
    (command, platform.unwrap(), simulator.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_forgets_no_trade_and_no_notification() {
    let folder = tempfile::tempdir().unwrap();
    let (inbox, inbox_url) = Inbox::open().await;
    inbox.answer(&[(500, "")]);
    let (mut command, platform, simulator) = start(folder.path());
    let secrets: Value = serde_json::from_slice(&std::fs::read(folder.path().join("secrets.json")).unwrap()).unwrap();
    let secret: Value = serde_json::from_str(secrets["AlipaySecret"]["value"].as_str().unwrap()).unwrap();
    let key = PrivateKey::from_pkcs8_pem(secret["app_private_key"].as_str().unwrap()).unwrap();
    let clock: Value = body(&get(&format!("{platform}/_local/clock")).await);
    let now = DateTime::from_timestamp_millis(clock["now_ms"].as_i64().unwrap()).unwrap();
    let beijing = now.with_timezone(&FixedOffset::east_opt(8 * 3_600).unwrap());
    let parameters = [
        ("app_id", ALIPAY_APP_ID.to_owned()),
        ("method", "alipay.trade.precreate".to_owned()),
        ("charset", "utf-8".to_owned()),
        ("sign_type", "RSA2".to_owned()),
        ("timestamp", beijing.format("%Y-%m-%d %H:%M:%S").to_string()),
        ("version", "1.0".to_owned()),
        (
            "biz_content",
            json!({"out_trade_no": "order_1", "total_amount": "1.00", "subject": "x"}).to_string(),
        ),
        ("notify_url", format!("{inbox_url}/alipay")),
    ];
    let parameters = parameters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let made = post_form(&format!("{simulator}/gateway.do"), &signed_query(&key, parameters)).await;
    assert!(String::from_utf8_lossy(made.body()).contains("qr_code"));
    let pay = exchange(
        Request::post(format!("{simulator}/_simulator/trades/order_1/pay")),
        String::new(),
    );
    assert_eq!(pay.await.unwrap().status(), StatusCode::OK);
    let idle = body(&get(&format!("{platform}/_local/idle")).await);
    assert_eq!(
        (&idle["idle"], &idle["pending"]["providers"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(inbox.take().len(), 1);
    command.kill().unwrap();
    command.wait().unwrap();

    let (mut command, platform, simulator) = start(folder.path());
    let books = body(&get(&format!("{simulator}/_simulator/books")).await);
    assert_eq!(
        (&books["trades"][0]["out_trade_no"], &books["trades"][0]["standing"]),
        (&json!("order_1"), &json!("paid"))
    );
    let later = exchange(
        Request::post(format!("{platform}/_local/clock")),
        json!({"advance_ms": 2 * MINUTE}).to_string(),
    );
    assert_eq!(later.await.unwrap().status(), StatusCode::OK);
    assert_eq!(body(&get(&format!("{platform}/_local/idle")).await)["idle"], true);
    assert_eq!(inbox.take().len(), 1, "it comes again, after the time that was left");
    command.kill().unwrap();
    command.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_agree_with_the_books() {
    let market = Market::open().await;
    market.alipay_paid("order_a", "19.90").await;
    market.wechat_paid("order_w", 1_990).await;
    let content = json!({"out_trade_no": "order_a", "refund_amount": "9.90", "out_request_no": "back_a"});
    market.alipay("alipay.trade.refund", content).await;
    market
        .wechat(
            "POST",
            "/v3/refund/domestic/refunds",
            market.wechat_refund("order_w", "back_w", 990, 1_990),
        )
        .await;
    market.settled().await;
    let day = market.beijing()[..10].to_owned();
    let books = market.platform.simulator().unwrap().books(Some(&day)).unwrap();
    assert_eq!(
        (
            books["trades"].as_array().unwrap().len(),
            books["refunds"].as_array().unwrap().len()
        ),
        (2, 2)
    );
    let asked = get(&format!("{}/_simulator/books?day={day}", market.base())).await;
    assert_eq!(body(&asked), books);
    assert_eq!(
        get(&format!("{}/_simulator/books?day=today", market.base()))
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );

    let statement = json!({"bill_type": "trade", "bill_date": day});
    let method = "alipay.data.dataservice.bill.downloadurl.query";
    assert_eq!(
        market.alipay(method, statement.clone()).await["sub_code"],
        "isp.bill_not_exist",
        "not yet"
    );
    let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL");
    assert_eq!(market.wechat("GET", &path, Value::Null).await.0, 400, "not yet");
    market.platform.clock().advance(34 * HOUR).unwrap();

    let url = market.alipay(method, statement).await["bill_download_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let archive = get(&url).await;
    let mut archive = zip::ZipArchive::new(Cursor::new(archive.body().to_vec())).unwrap();
    let mut details = Vec::new();
    archive.by_index(0).unwrap().read_to_end(&mut details).unwrap();
    let details = encoding_rs::GBK.decode(&details).0.into_owned();
    assert!(
        details.contains("order_a\t,交易,") && details.contains("order_a\t,退款,"),
        "{details}"
    );
    assert!(
        details.contains(",19.90,19.90,") && details.contains(",-9.90,-9.90,"),
        "{details}"
    );
    assert_eq!(
        get(&url.replace("token=", "token=0")).await.status(),
        StatusCode::FORBIDDEN
    );
    market.platform.clock().advance(MINUTE).unwrap();
    assert_eq!(
        get(&url).await.status(),
        StatusCode::FORBIDDEN,
        "the address works for half a minute"
    );

    let (_, answer) = market.wechat("GET", &path, Value::Null).await;
    let url = answer["download_url"]
        .as_str()
        .unwrap()
        .strip_prefix(&market.base())
        .unwrap()
        .to_owned();
    let file = market.wechat_exchange("GET", &url, "").await.unwrap();
    let hash: String = <sha1::Sha1 as sha1::Digest>::digest(file.body())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        (&answer["hash_type"], &answer["hash_value"]),
        (&json!("SHA1"), &json!(hash))
    );
    let text = String::from_utf8(file.body().to_vec()).unwrap();
    assert_eq!(text.lines().last(), Some("`2,`19.90,`9.90,`0.00,`0.06000,`19.90,`9.90"));
    market.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_told_where_the_simulated_providers_are() {
    let platform = Platform::start(simulated()).await.unwrap();
    let simulator = platform.simulator().unwrap();
    let environment = body(&invoke(&platform, "ProbeFunction", json!({"do": "look"})).await)["environment"].clone();
    assert_eq!(environment["GATEWAY"], format!("{}/gateway.do", simulator.base_url()));
    assert_eq!(environment["MERCHANT"], WECHAT_MERCHANT_ID);
    let secret = platform.aws().secrets().value("AlipaySecret").unwrap();
    assert_eq!(secret, simulator.merchant_secret(Company::Alipay).unwrap());
    let overview = get(simulator.base_url()).await;
    assert_eq!(overview.status(), StatusCode::OK);
    platform.stop().await;

    let platform = Platform::start(options()).await.unwrap();
    assert!(platform.simulator().is_none());
    let environment = body(&invoke(&platform, "ProbeFunction", json!({"do": "look"})).await)["environment"].clone();
    assert_eq!(environment["GATEWAY"], "nobody");
    platform.stop().await;
}
