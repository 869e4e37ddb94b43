//! WeChat Pay, API v3.
//!
//! | Call | Answer |
//! |---|---|
//! | `POST /v3/pay/transactions/native` | `code_url`, shown as a QR code |
//! | `POST /v3/pay/transactions/jsapi` | `prepay_id`, signed for a script inside WeChat |
//! | `POST /v3/pay/transactions/h5` | `h5_url`, opened by a browser on a phone |
//! | `GET /v3/pay/transactions/out-trade-no/{n}?mchid=` | the trade |
//! | `POST /v3/pay/transactions/out-trade-no/{n}/close` | 204 |
//! | `POST /v3/refund/domestic/refunds` | the refund |
//! | `GET /v3/refund/domestic/refunds/{n}` | the refund |
//! | `GET /v3/bill/tradebill?bill_date=` | where the statement of a day is |
//!
//! Requests carry our signature, answers and notifications WeChat Pay's (`signature`). What notifications say is sealed
//! besides (`sealed`). Every call may be repeated under its number without doing anything twice.
//!
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791877> and the pages beside it.

mod answer;
mod callback;
mod credentials;
#[cfg(test)]
pub(crate) mod fixture;
mod hosts;
mod order;
mod report;
mod sealed;
mod signature;
mod statement;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::secrets::SecretError;
use cloud::settings::{SettingError, Settings};
use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Method};
use http_function::HeaderMap;
use kernel::{Clock, Timestamp};
use serde::Serialize;
use service_client::{Connection, ConnectionError, Header, Received};

use self::answer::Answer;
use self::credentials::Credentials;
use self::hosts::Hosts;
use self::order::{Close, Order, RefundOrder};
use self::signature::Stamp;
use crate::payment::Payment;
use crate::provider::{
    Acknowledgement, CallbackError, Channel, Closing, Handled, Making, News, Offer, Payer, Provider, ProviderName,
    Queried, Refunding, Silence,
};
use crate::refund::Refund;
use crate::statement::{Day, Downloads, Stated};

/// Variable with the ARN of the secret that holds the keys.
const SECRET: &str = "WECHAT_PAY_SECRET";
/// Time limit of a call.
const LIMIT: Duration = Duration::from_millis(2_000);

/// WeChat Pay.
pub struct WechatPay {
    connection: Connection,
    hosts: Hosts,
    downloads: Downloads,
    /// Where notifications are sent, of payments and refunds alike.
    notify_url: String,
    account: Account,
    credentials: Credentials,
    clock: Clock,
}

/// Who we are to WeChat Pay.
#[derive(Debug)]
struct Account {
    app_id: String,
    merchant_id: String,
}

impl WechatPay {
    /// Reads `STAGE`, `API_BASE_URL`, `WECHAT_PAY_BASE_URL`, `WECHAT_PAY_BACKUP_URL` (may be absent), `WECHAT_PAY_APP_ID`,
    /// `WECHAT_PAY_MERCHANT_ID`, and the secret named by `WECHAT_PAY_SECRET`: JSON with
    ///
    /// - `merchant_private_key`: the merchant's RSA key, PEM, PKCS#8 or PKCS#1;
    /// - `merchant_serial_no`: serial number of the certificate of that key, hex;
    /// - `api_v3_keys`: APIv3 keys of 32 bytes, the current one first. To rotate, put the new one in front of the old one
    ///   here before it is set in the merchant's console, so that no notification is lost;
    /// - `public_keys`: WeChat Pay's public keys, each `{"id": "PUB_KEY_ID_...", "key": PEM}`;
    /// - `platform_certificates`: WeChat Pay's certificates, PEM. One of the last two may be absent.
    ///
    /// # Errors
    /// [`StartError`] names the variable, and the member of the secret, that is missing or wrong.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let settings = cloud.settings();
        let (base, backup) = (
            settings.required("WECHAT_PAY_BASE_URL")?,
            settings.optional("WECHAT_PAY_BACKUP_URL"),
        );
        let stage = settings.required("STAGE")?;
        let hosts = Hosts::new(
            ("WECHAT_PAY_BASE_URL", &base),
            backup.as_deref().map(|backup| ("WECHAT_PAY_BACKUP_URL", backup)),
            &stage,
        )?;
        let api = settings.required("API_BASE_URL")?;
        Ok(Self {
            connection: Connection::to_the_web(cloud),
            hosts,
            downloads: Downloads::new(Connection::to_the_web(cloud), &stage),
            notify_url: format!("{api}/api/payment/callback/{}", PaymentMethod::WechatPay.word()),
            account: Account::from_settings(settings)?,
            credentials: cloud.secret(SECRET).await?,
            clock: cloud.clock().clone(),
        })
    }

    /// Whether the merchant's private key signs.
    ///
    /// # Errors
    /// [`StartError`] names the member of the secret.
    pub fn check_signing_key(&self) -> Result<(), StartError> {
        let checked = self.credentials.check();
        checked.map_err(|error| SecretError::wrong(SECRET, error).into())
    }

    async fn post(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<Answer, Silence> {
        let body = serde_json::to_vec(body).map_err(|error| Silence(error.to_string()))?;
        self.call(Method::POST, path, Bytes::from(body)).await
    }

    async fn get(&self, path: &str) -> Result<Answer, Silence> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Silence> {
        let received = first_reached(self.hosts.urls(path), |url| self.send(&method, url, body.clone())).await?;
        Answer::read(&received, &self.credentials.platform_keys, self.clock.now())
    }

    /// Asked for as everything else is; what comes is not signed.
    async fn download(&self, url: &str) -> Result<Bytes, Silence> {
        let stamp = Stamp::new(self.clock.now());
        let headers = headers(&self.account, &self.credentials, &Method::GET, url, b"", &stamp)?;
        self.downloads.fetch(url, &headers).await
    }

    async fn send(&self, method: &Method, url: String, body: Bytes) -> Result<Received, Unanswered> {
        let stamp = Stamp::new(self.clock.now());
        let headers =
            headers(&self.account, &self.credentials, method, &url, &body, &stamp).map_err(Unanswered::Final)?;
        let answered = self.connection.send(method.clone(), &url, &headers, body, LIMIT).await;
        answered.map_err(|error| match error {
            ConnectionError::Failed(_) => Unanswered::Unreached(Silence(error.to_string())),
            ConnectionError::Request(_) | ConnectionError::TimedOut(_) | ConnectionError::Rehearsed(_) => {
                Unanswered::Final(Silence(error.to_string()))
            }
        })
    }
}

/// A call without an answer.
enum Unanswered {
    /// The connection failed: another host may be there.
    Unreached(Silence),
    /// Another host would not help, or there is no time left to ask it.
    Final(Silence),
}

/// The answer of the first host that can be reached. Whether one whose connection failed acted on the call does not matter:
/// under the same number it is the same call.
async fn first_reached<A: Future<Output = Result<Received, Unanswered>>>(
    urls: impl Iterator<Item = String>,
    mut send: impl FnMut(String) -> A,
) -> Result<Received, Silence> {
    let mut last = Silence("there is no host to call".to_owned());
    for url in urls {
        match send(url).await {
            Ok(received) => return Ok(received),
            Err(Unanswered::Unreached(silence)) => {
                tracing::warn!(cause = %silence, "a host of WeChat Pay's can not be reached");
                last = silence;
            }
            Err(Unanswered::Final(silence)) => return Err(silence),
        }
    }
    Err(last)
}

/// The headers of a request. It is signed for the path of `url` as it is sent.
fn headers(
    account: &Account,
    credentials: &Credentials,
    method: &Method,
    url: &str,
    body: &[u8],
    stamp: &Stamp,
) -> Result<Vec<Header>, Silence> {
    let path = hosts::signed_path(url).ok_or_else(|| Silence("the URL has no path".to_owned()))?;
    let authorization = credentials
        .merchant_key
        .authorization(&account.merchant_id, method, &path, body, stamp)
        .map_err(|error| Silence(error.to_string()))?;
    let mut headers = vec![(ACCEPT, "application/json".to_owned()), (AUTHORIZATION, authorization)];
    if !body.is_empty() {
        headers.push((CONTENT_TYPE, "application/json".to_owned()));
    }
    if let Some(id) = credentials.platform_keys.preferred() {
        headers.push((HeaderName::from_static(signature::SERIAL), id.to_owned()));
    }
    Ok(headers)
}

impl Account {
    fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        Self::new(
            ("WECHAT_PAY_APP_ID", settings.required("WECHAT_PAY_APP_ID")?),
            ("WECHAT_PAY_MERCHANT_ID", settings.required("WECHAT_PAY_MERCHANT_ID")?),
        )
    }

    /// Both come into headers, paths and signed lines as they are.
    fn new(app_id: (&'static str, String), merchant_id: (&'static str, String)) -> Result<Self, SettingError> {
        if !app_id.1.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(hosts::wrong(app_id.0, "it must be letters and digits"));
        }
        if !merchant_id.1.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(hosts::wrong(merchant_id.0, "it must be digits"));
        }
        Ok(Self {
            app_id: app_id.1,
            merchant_id: merchant_id.1,
        })
    }
}

impl fmt::Debug for WechatPay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WechatPay({:?}, {:?})", self.account, self.hosts)
    }
}

#[async_trait]
impl Provider for WechatPay {
    fn name(&self) -> ProviderName {
        ProviderName::WechatPay
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::QrCode, Channel::InApp, Channel::MobilePage]
    }

    /// A `code_url` and a `prepay_id` live for two hours, longer than any of our payments; an `h5_url` lives for five minutes.
    /// Asked again in the same words, WeChat Pay makes a new one for the same trade.
    fn offers_last(&self, channel: Channel) -> bool {
        channel != Channel::MobilePage
    }

    /// Each trade has to be made first.
    fn ready_offer(&self, _payment: &Payment) -> Option<Offer> {
        None
    }

    async fn create(&self, payment: &Payment, payer: &Payer) -> Making {
        let (path, order) = match Order::of(payment, payer, &self.account, &self.notify_url) {
            Ok(asked) => asked,
            Err(reason) => return Making::Rejected(reason.to_owned()),
        };
        let answer = self.post(path, &order).await;
        let stamp = Stamp::new(self.clock.now());
        answer::making(answer, payment, &self.account, &self.credentials.merchant_key, &stamp)
    }

    async fn query(&self, payment: &Payment) -> Queried {
        let answer = self.get(&order::trade_path(payment.id, &self.account)).await;
        answer::queried(answer, payment, &self.account)
    }

    async fn close(&self, payment: &Payment) -> Closing {
        let body = Close {
            mchid: &self.account.merchant_id,
        };
        answer::closing(self.post(&order::close_path(payment.id), &body).await)
    }

    async fn refund(&self, refund: &Refund) -> Refunding {
        let body = RefundOrder::of(refund, &self.notify_url);
        answer::refunding(self.post(order::REFUNDS, &body).await, refund)
    }

    async fn query_refund(&self, refund: &Refund) -> Refunding {
        answer::refunding(self.get(&order::refund_path(refund)).await, refund)
    }

    async fn statement(&self, day: Day) -> Stated {
        let answer = self.get(&statement::path(day)).await;
        let place = match statement::place(answer, day, self.clock.now()) {
            Ok(place) => place,
            Err(stated) => return stated,
        };
        self.download(&place.download_url)
            .await
            .and_then(|file| place.read(&file))
            .into()
    }

    fn parse_callback(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<News, CallbackError> {
        callback::read(&self.account, &self.credentials, headers, body, now)
    }

    fn ack(&self, handled: Handled) -> Acknowledgement {
        callback::acknowledgement(handled)
    }
}

#[cfg(test)]
mod tests {
    use http_function::StatusCode;
    use serde_json::{Value, json};

    use super::fixture::Fixture;
    use super::*;

    const NOTIFY: &str = "https://api.example.com/api/payment/callback/wechat_pay";

    fn header<'a>(headers: &'a [Header], name: &HeaderName) -> Option<&'a str> {
        let header = headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The fields of an `Authorization`, sorted: their order is free.
    fn fields(authorization: &str) -> Vec<String> {
        let (kind, fields) = authorization.split_once(' ').unwrap();
        let mut fields: Vec<_> = fields.split(',').map(str::to_owned).collect();
        fields.push(kind.to_owned());
        fields.sort();
        fields
    }

    #[test]
    fn a_request_is_signed_as_another_library_signs_it() {
        let it = Fixture::new();
        for request in it.vectors["requests"].as_array().unwrap() {
            let text = |name: &str| request[name].as_str().unwrap();
            let stamp = Stamp {
                timestamp: request["timestamp"].as_i64().unwrap(),
                nonce: text("nonce").to_owned(),
            };
            let url = format!("https://api.mch.weixin.qq.com{}", text("path"));
            let method = text("method").parse().unwrap();
            let body = text("body").as_bytes();
            let headers = headers(&it.account, &it.credentials, &method, &url, body, &stamp).unwrap();
            let authorization = header(&headers, &AUTHORIZATION).unwrap();
            assert_eq!(fields(authorization), fields(text("authorization")));
            assert_eq!(header(&headers, &ACCEPT), Some("application/json"));
            assert_eq!(header(&headers, &CONTENT_TYPE).is_some(), !body.is_empty());
            let serial = HeaderName::from_static(signature::SERIAL);
            assert_eq!(
                header(&headers, &serial),
                it.text("/secret/public_keys/0/id").as_str().into()
            );
        }
    }

    #[test]
    fn an_id_that_is_none_stops_the_start() {
        let account = |app: &str, merchant: &str| {
            let account = Account::new(("APP", app.into()), ("MERCHANT", merchant.into()));
            account.map_err(|error| error.to_string())
        };
        assert!(account("wx8888888888888888", "1900000109").is_ok());
        for wrong in ["wx\n", "wx\"", "wx 1", "微信"] {
            assert!(account(wrong, "1900000109").unwrap_err().contains("APP"), "{wrong}");
        }
        for wrong in ["19\n", "19\"", "19&a=b", "x"] {
            assert!(
                account("wx8888888888888888", wrong).unwrap_err().contains("MERCHANT"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn every_request_has_a_stamp_of_its_own() {
        let now = Timestamp::from_millis(1_767_225_600_999);
        let (one, other) = (Stamp::new(now), Stamp::new(now));
        assert_eq!((one.timestamp, one.nonce.len()), (1_767_225_600, 32));
        assert_ne!(one.nonce, other.nonce);
    }

    /// What this adapter makes, as the other library has verified it: `tests/peers/vectors/wechat_pay_v3.py --check`.
    #[test]
    fn what_is_made_here_was_verified_by_another_library() {
        let it = Fixture::new();
        let (stamp, payer) = (
            it.stamp(),
            Payer {
                openid: Some("oUpF8uMuAJO".into()),
                ip: Some("203.0.113.7".into()),
            },
        );
        let mut requests = Vec::new();
        let mut request = |method: Method, path: &str, body: String| {
            let url = format!("https://api.mch.weixin.qq.com{path}");
            let headers = headers(&it.account, &it.credentials, &method, &url, body.as_bytes(), &stamp).unwrap();
            let authorization = header(&headers, &AUTHORIZATION).unwrap();
            requests
                .push(json!({"method": method.as_str(), "path": path, "body": body, "authorization": authorization}));
        };
        for channel in [Channel::QrCode, Channel::InApp, Channel::MobilePage] {
            let payment = it.payment(channel);
            let (path, order) = Order::of(&payment, &payer, &it.account, NOTIFY).unwrap();
            request(Method::POST, path, serde_json::to_string(&order).unwrap());
        }
        let (payment, refund) = (it.payment(Channel::QrCode), it.refund());
        request(Method::GET, &order::trade_path(payment.id, &it.account), String::new());
        let close = Close {
            mchid: &it.account.merchant_id,
        };
        request(
            Method::POST,
            &order::close_path(payment.id),
            serde_json::to_string(&close).unwrap(),
        );
        let order = RefundOrder::of(&refund, NOTIFY);
        request(Method::POST, order::REFUNDS, serde_json::to_string(&order).unwrap());
        request(Method::GET, &order::refund_path(&refund), String::new());

        let answer = Answer::Done(
            StatusCode::OK,
            r#"{"prepay_id":"wx201410272009395522657a690389285100"}"#.into(),
        );
        let key = &it.credentials.merchant_key;
        let making = answer::making(Ok(answer), &it.payment(Channel::InApp), &it.account, key, &stamp);
        let Making::Offered(Offer::JsapiParams(jsapi)) = making else {
            panic!("{making:?}")
        };

        let message = |event: &str, kind: &str, content: &Value| {
            let body = it.notification(event, kind, content).to_string();
            let headers: serde_json::Map<_, _> = it
                .signed(body.as_bytes())
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
                .collect();
            json!({"headers": headers, "body": body})
        };
        let ours = json!({
            "requests": requests,
            "jsapi": jsapi,
            "callbacks": {
                "payment": message("TRANSACTION.SUCCESS", "transaction", &it.vectors["transaction"]),
                "refund": message("REFUND.SUCCESS", "refund", &it.vectors["refunded"]),
            },
        });
        let verified: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/wechat_pay_ours.json")).unwrap();
        assert!(
            ours == verified,
            "tests/vectors/wechat_pay_ours.json has to hold this, and to be checked again:\n{ours:#}"
        );
    }

    fn reached(answers: Vec<Result<u16, Unanswered>>) -> (Result<u16, Silence>, usize) {
        let urls = ["https://a", "https://b"].map(str::to_owned);
        let (mut answers, mut asked) = (answers.into_iter(), 0);
        let outcome = futures::executor::block_on(first_reached(urls.into_iter(), |_| {
            asked += 1;
            let answer = answers.next().unwrap().map(|status| Received {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            });
            async move { answer }
        }));
        (outcome.map(|received| received.status.as_u16()), asked)
    }

    #[test]
    fn the_other_host_is_asked_only_where_the_first_can_not_be_reached() {
        let unreached = || Err(Unanswered::Unreached(Silence("refused".into())));
        let late = Err(Unanswered::Final(Silence("too late".into())));
        assert_eq!(reached(vec![Ok(200)]), (Ok(200), 1));
        assert_eq!(reached(vec![Ok(500)]), (Ok(500), 1), "an answer is an answer");
        assert_eq!(reached(vec![unreached(), Ok(200)]), (Ok(200), 2));
        assert_eq!(
            reached(vec![unreached(), unreached()]),
            (Err(Silence("refused".into())), 2)
        );
        assert_eq!(reached(vec![late]), (Err(Silence("too late".into())), 1));
    }
}
