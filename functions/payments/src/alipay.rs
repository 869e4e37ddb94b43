//! Alipay, the open platform (`https://opendocs.alipay.com`), seen from its merchant: RSA2 signatures, by keys or by
//! certificates.
//!
//! | Channel | Method | The buyer gets |
//! |---|---|---|
//! | page | `alipay.trade.page.pay` | a signed link; Alipay learns of the trade when he follows it |
//! | page on a phone | `alipay.trade.wap.pay` | the same |
//! | QR code | `alipay.trade.precreate` | a code; Alipay learns of the trade when he scans it |
//!
//! Requests are forms whose sorted, raw parameters are signed with the app's key. An answer is believed if Alipay signed
//! the text of it, and it is about the trade that was asked about; a notification, if Alipay signed its fields, and they
//! are addressed to us. Everything else is no answer: whether a call was acted upon is then not known, never that it was.

mod answer;
mod certificate;
mod keys;
mod moment;
mod notification;
mod request;
mod statement;
#[cfg(test)]
pub(crate) mod vectors;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::secrets::SecretError;
use cloud::settings::SettingError;
use cloud::{Cloud, StartError};
use contracts::payments::PaymentMethod;
use http::Uri;
use http::header::CONTENT_TYPE;
use http_function::{HeaderMap, Method as HttpMethod, StatusCode};
use kernel::{Clock, Money, PaymentId, Timestamp};
use serde::Serialize;
use service_client::{Connection, Received};

use crate::payment::Payment;
use crate::provider::{
    Acknowledgement, CallbackError, Channel, Closing, Handled, Making, News, Offer, Payer, Provider, ProviderName,
    Queried, Refunding, Silence, refund_number, trade_number,
};
use crate::refund::Refund;
use crate::statement::{Day, Downloads, Stated};
use answer::{Address, Answer};
use keys::Keys;
use notification::Addressee;
use request::{Method, Request};

/// Variable with the ARN of the secret that holds the keys.
const SECRET: &str = "ALIPAY_SECRET";
/// Time limit of a call.
const LIMIT: Duration = Duration::from_millis(2_000);
/// Alipay's limit of a title, in characters.
const LONGEST_SUBJECT: usize = 256;
/// A refund that Alipay was asked for less than this ago may be under way although Alipay does not show it.
const REFUND_SHOWS_AFTER: Duration = Duration::from_secs(10);
/// Where the stage is this, the gateway may be a local one.
const LOCAL: &str = "local";

/// Alipay.
pub struct Alipay {
    connection: Connection,
    downloads: Downloads,
    merchant: Merchant,
    clock: Clock,
}

/// We, as Alipay knows us. Sends nothing.
struct Merchant {
    gateway: String,
    app_id: String,
    seller_id: String,
    /// Where notifications and returning browsers come.
    callback: String,
    keys: Keys,
}

/// What Alipay is told of a new trade.
#[derive(Serialize)]
struct NewTrade<'a> {
    out_trade_no: String,
    /// Yuan with two decimals.
    total_amount: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_code: Option<&'a str>,
    /// Until when it can be paid. Without it a code that was shown could be paid for hours.
    time_expire: String,
}

/// What a question, or closing, is about.
#[derive(Serialize)]
struct KnownTrade {
    out_trade_no: String,
}

/// A refund to make.
#[derive(Serialize)]
struct NewRefund {
    out_trade_no: String,
    /// Yuan with two decimals.
    refund_amount: String,
    out_request_no: String,
}

/// A refund to ask about.
#[derive(Serialize)]
struct KnownRefund {
    out_trade_no: String,
    out_request_no: String,
}

impl Alipay {
    /// Reads `ALIPAY_GATEWAY` (the full URL of `gateway.do`), `ALIPAY_APP_ID`, `ALIPAY_SELLER_ID`, `API_BASE_URL`, `STAGE`
    /// and the secret named by `ALIPAY_SECRET`: JSON with `app_private_key` and `alipay_public_keys`, or with
    /// `app_private_key`, `app_certificate`, `alipay_root_certificate` and `alipay_certificates`.
    ///
    /// # Errors
    /// [`StartError`] names the variable, and in a secret the member, that is missing or wrong.
    pub async fn from_env(cloud: &Cloud) -> Result<Self, StartError> {
        let settings = cloud.settings();
        let stage = settings.required("STAGE")?;
        let gateway = gateway(settings.required("ALIPAY_GATEWAY")?, &stage)?;
        let app_id = id("ALIPAY_APP_ID", settings.required("ALIPAY_APP_ID")?)?;
        let seller_id = id("ALIPAY_SELLER_ID", settings.required("ALIPAY_SELLER_ID")?)?;
        let base_url = settings.required("API_BASE_URL")?;
        Ok(Self {
            merchant: Merchant {
                gateway,
                app_id,
                seller_id,
                callback: format!("{base_url}/api/payment/callback/{}", PaymentMethod::Alipay.word()),
                keys: cloud.secret(SECRET).await?,
            },
            connection: Connection::to_the_web(cloud),
            downloads: Downloads::new(Connection::to_the_web(cloud), &stage),
            clock: cloud.clock().clone(),
        })
    }

    /// Whether the app's private key signs.
    ///
    /// # Errors
    /// [`StartError`] names the member of the secret.
    pub fn check_signing_key(&self) -> Result<(), StartError> {
        let checked = self.merchant.keys.check();
        checked.map_err(|error| SecretError::wrong(SECRET, error).into())
    }

    async fn call(&self, method: Method, payment: PaymentId, form: Option<String>) -> Result<Answer, Silence> {
        Answer::read(&self.merchant.keys, method, payment, &self.send(form).await?)
    }

    async fn send(&self, form: Option<String>) -> Result<Received, Silence> {
        let form = form.ok_or_else(|| Silence("the call could not be signed".to_owned()))?;
        // The gateway decodes a form by the charset in the query; without it, as GBK.
        let url = format!("{}?charset=utf-8", self.merchant.gateway);
        let headers = [(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded;charset=utf-8".to_owned(),
        )];
        self.connection
            .send(HttpMethod::POST, &url, &headers, Bytes::from(form), LIMIT)
            .await
            .map_err(|error| Silence(error.to_string()))
    }

    async fn ask_about(&self, refund: &Refund) -> Refunding {
        let form = self.merchant.about_refund(refund, self.clock.now());
        answer::queried_refund(refund, self.call(Method::RefundQuery, refund.payment, form).await)
    }
}

impl Merchant {
    /// The link to Alipay's payment page, where the channel has one.
    fn page(&self, payment: &Payment, now: Timestamp) -> Option<String> {
        let (method, product) = match payment.channel {
            Channel::Page => (Method::PagePay, "FAST_INSTANT_TRADE_PAY"),
            Channel::MobilePage => (Method::WapPay, "QUICK_WAP_PAY"),
            Channel::QrCode | Channel::InApp => return None,
        };
        let request = Request {
            return_url: Some(&self.callback),
            notify_url: Some(&self.callback),
            ..self.request(method, now)
        };
        let query = request.form(&self.keys, &new_trade(payment, Some(product)))?;
        Some(format!("{}?{query}", self.gateway))
    }

    fn precreation(&self, payment: &Payment, now: Timestamp) -> Option<String> {
        let request = Request {
            notify_url: Some(&self.callback),
            ..self.request(Method::Precreate, now)
        };
        request.form(&self.keys, &new_trade(payment, None))
    }

    /// A question about a trade, or an end to it.
    fn about(&self, method: Method, payment: &Payment, now: Timestamp) -> Option<String> {
        let content = KnownTrade {
            out_trade_no: trade_number(payment.id),
        };
        self.request(method, now).form(&self.keys, &content)
    }

    fn refund(&self, refund: &Refund, now: Timestamp) -> Option<String> {
        let content = NewRefund {
            out_trade_no: trade_number(refund.payment),
            refund_amount: refund.amount.to_string(),
            out_request_no: refund_number(refund.id),
        };
        self.request(Method::Refund, now).form(&self.keys, &content)
    }

    fn about_refund(&self, refund: &Refund, now: Timestamp) -> Option<String> {
        let content = KnownRefund {
            out_trade_no: trade_number(refund.payment),
            out_request_no: refund_number(refund.id),
        };
        self.request(Method::RefundQuery, now).form(&self.keys, &content)
    }

    fn about_statement(&self, day: Day, now: Timestamp) -> Option<String> {
        let content = statement::Wanted::of(day);
        self.request(Method::StatementAddress, now).form(&self.keys, &content)
    }

    fn request(&self, method: Method, at: Timestamp) -> Request<'_> {
        Request {
            app_id: &self.app_id,
            method,
            at,
            notify_url: None,
            return_url: None,
        }
    }

    fn read_notification(&self, body: &[u8]) -> Result<News, CallbackError> {
        let addressee = Addressee {
            app_id: &self.app_id,
            seller_id: &self.seller_id,
        };
        notification::read(&self.keys, addressee, body)
    }
}

#[async_trait]
impl Provider for Alipay {
    fn name(&self) -> ProviderName {
        ProviderName::Alipay
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Page, Channel::MobilePage, Channel::QrCode]
    }

    /// A link and a code are good until `time_expire`.
    fn offers_last(&self, _channel: Channel) -> bool {
        true
    }

    fn ready_offer(&self, payment: &Payment) -> Option<Offer> {
        self.merchant.page(payment, self.clock.now()).map(Offer::Redirect)
    }

    async fn create(&self, payment: &Payment, _payer: &Payer) -> Making {
        let now = self.clock.now();
        match payment.channel {
            Channel::Page | Channel::MobilePage => match self.merchant.page(payment, now) {
                Some(url) => Making::Offered(Offer::Redirect(url)),
                None => Making::Unknown(Silence("the page's link could not be signed".to_owned())),
            },
            Channel::QrCode => {
                let form = self.merchant.precreation(payment, now);
                answer::making(self.call(Method::Precreate, payment.id, form).await)
            }
            Channel::InApp => Making::Rejected("Alipay has no such channel".to_owned()),
        }
    }

    async fn query(&self, payment: &Payment) -> Queried {
        let form = self.merchant.about(Method::Query, payment, self.clock.now());
        answer::queried(payment.id, self.call(Method::Query, payment.id, form).await)
    }

    async fn close(&self, payment: &Payment) -> Closing {
        let form = self.merchant.about(Method::Close, payment, self.clock.now());
        match answer::closing(self.call(Method::Close, payment.id, form).await) {
            Some(closing) => closing,
            None => answer::closing_by(self.query(payment).await),
        }
    }

    async fn refund(&self, refund: &Refund) -> Refunding {
        let form = self.merchant.refund(refund, self.clock.now());
        match answer::refunding(self.call(Method::Refund, refund.payment, form).await) {
            Refunding::Rejected(reason) => answer::refused_refund(reason, self.ask_about(refund).await),
            answer => answer,
        }
    }

    async fn query_refund(&self, refund: &Refund) -> Refunding {
        not_too_early(self.ask_about(refund).await, refund, self.clock.now())
    }

    async fn statement(&self, day: Day) -> Stated {
        let now = self.clock.now();
        let form = self.merchant.about_statement(day, now);
        let address = self.send(form).await;
        let address = address.and_then(|received| Address::read(&self.merchant.keys, &received));
        match statement::place(address, day, now) {
            // The address proves itself.
            Ok(url) => self
                .downloads
                .fetch(&url, &[])
                .await
                .and_then(|file| statement::read(&file))
                .into(),
            Err(stated) => stated,
        }
    }

    fn parse_callback(&self, _headers: &HeaderMap, body: &[u8], _now: Timestamp) -> Result<News, CallbackError> {
        // Its time is not looked at: Alipay repeats a notification for a day, and each is understood at any time.
        self.merchant.read_notification(body)
    }

    fn ack(&self, handled: Handled) -> Acknowledgement {
        acknowledgement(handled)
    }
}

fn new_trade<'a>(payment: &Payment, product_code: Option<&'a str>) -> NewTrade<'a> {
    NewTrade {
        out_trade_no: trade_number(payment.id),
        total_amount: payment.amount.to_string(),
        subject: subject(&payment.subject),
        product_code,
        time_expire: moment::written(payment.expires_at),
    }
}

/// A title as Alipay takes it. It forbids `/`, `=` and `&`: their wide forms look the same to the buyer.
fn subject(title: &str) -> String {
    let permitted = |c: char| match c {
        '/' => '／',
        '=' => '＝',
        '&' => '＆',
        c if c.is_control() => ' ',
        c => c,
    };
    title.chars().map(permitted).take(LONGEST_SUBJECT).collect()
}

/// That a refund is not there means little right after it was asked for.
fn not_too_early(answer: Refunding, refund: &Refund, now: Timestamp) -> Refunding {
    match answer {
        Refunding::NotFound if now.since(refund.updated_at) < REFUND_SHOWS_AFTER => Refunding::Unknown(Silence(
            "it is too early to tell that there is no such refund".to_owned(),
        )),
        answer => answer,
    }
}

/// Alipay reads the word and repeats what was not answered with `success`.
fn acknowledgement(handled: Handled) -> Acknowledgement {
    let (status, text) = match handled {
        Handled::Stored => (StatusCode::OK, "success"),
        Handled::NotGenuine => (StatusCode::UNAUTHORIZED, "failure"),
        Handled::NotUnderstood => (StatusCode::BAD_REQUEST, "failure"),
        Handled::UnknownTrade => (StatusCode::NOT_FOUND, "failure"),
        Handled::NotStored => (StatusCode::SERVICE_UNAVAILABLE, "failure"),
    };
    Acknowledgement {
        status,
        content_type: "text/plain; charset=utf-8",
        text,
    }
}

/// An amount as Alipay writes it: yuan with at most two decimals.
fn amount(text: &str) -> Result<Money, String> {
    if text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 2) {
        return Err("has more than two decimals".to_owned());
    }
    text.parse()
        .map_err(|error: kernel::money::MoneyError| error.to_string())
}

fn gateway(url: String, stage: &str) -> Result<String, SettingError> {
    let wrong = |reason: &str| SettingError::Wrong {
        name: "ALIPAY_GATEWAY",
        reason: reason.to_owned(),
    };
    let parsed: Uri = url
        .parse()
        .map_err(|_| wrong("must be the URL of Alipay's gateway.do"))?;
    match parsed.scheme_str() {
        Some("https") => {}
        Some("http") if stage == LOCAL => {}
        _ => return Err(wrong("must begin with https://")),
    }
    if parsed
        .authority()
        .is_none_or(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong("must name a host, and no user"));
    }
    if url.contains(['?', '#']) {
        return Err(wrong("must have neither query nor fragment"));
    }
    Ok(url)
}

fn id(name: &'static str, id: String) -> Result<String, SettingError> {
    match id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(id),
        false => Err(SettingError::Wrong {
            name,
            reason: "must be a number".to_owned(),
        }),
    }
}

impl fmt::Debug for Alipay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alipay(app {} at {})", self.merchant.app_id, self.merchant.gateway)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contracts::payments::RefundReason;
    use kernel::{OrderId, UserId};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::vectors::VECTORS;
    use super::*;
    use crate::ledger::Ledger;
    use crate::payment::State;
    use crate::refund::RefundStatus;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn merchant(keys: Keys) -> Merchant {
        VECTORS.merchant(keys)
    }

    fn payment(channel: Channel, title: &str) -> Payment {
        Payment {
            id: VECTORS.text("payment").parse().unwrap(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(1990).unwrap(),
            method: PaymentMethod::Alipay,
            channel,
            provider: ProviderName::Alipay,
            subject: title.into(),
            created_at: NOW,
            updated_at: NOW,
            expires_at: NOW.plus(Duration::from_secs(30 * 60)),
            state: State::Created,
            ledger: Ledger::default(),
            checks: 0,
            fingerprint: None,
            version: 1,
        }
    }

    fn refund() -> Refund {
        Refund {
            id: VECTORS.text("refund").parse().unwrap(),
            payment: VECTORS.text("payment").parse().unwrap(),
            order: OrderId::random(),
            user: UserId::random(),
            amount: Money::from_fen(500).unwrap(),
            paid: Money::from_fen(1990).unwrap(),
            reason: RefundReason::OrderCancelled,
            provider: ProviderName::Alipay,
            created_at: NOW,
            updated_at: NOW,
            status: RefundStatus::Requested,
            remark: None,
            attempts: 0,
            next_attempt: NOW,
            version: 1,
        }
    }

    /// Every request there is, by method.
    fn requests(merchant: &Merchant) -> Vec<(Method, String)> {
        let title = VECTORS.text("title");
        let query = |url: String| url.split_once('?').unwrap().1.to_owned();
        let (page, mobile) = (payment(Channel::Page, title), payment(Channel::MobilePage, title));
        let code = payment(Channel::QrCode, title);
        vec![
            (Method::PagePay, query(merchant.page(&page, NOW).unwrap())),
            (Method::WapPay, query(merchant.page(&mobile, NOW).unwrap())),
            (Method::Precreate, merchant.precreation(&code, NOW).unwrap()),
            (Method::Query, merchant.about(Method::Query, &code, NOW).unwrap()),
            (Method::Close, merchant.about(Method::Close, &code, NOW).unwrap()),
            (Method::Refund, merchant.refund(&refund(), NOW).unwrap()),
            (Method::RefundQuery, merchant.about_refund(&refund(), NOW).unwrap()),
        ]
    }

    fn fields(form: &str) -> BTreeMap<String, String> {
        let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let fields: BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(fields.len(), pairs.len(), "no field twice");
        fields
    }

    /// What the gateway does with a request: takes the signature off and verifies the rest.
    fn verified(form: &str) -> BTreeMap<String, String> {
        let mut fields = fields(form);
        let sign = fields.remove("sign").unwrap();
        let text = request::signed_text(&fields);
        VECTORS.keys_of_alipay().verify(&text, &sign, None).unwrap();
        fields
    }

    #[test]
    fn requests_are_signed_as_another_implementation_signs_them() {
        for (mode, keys) in [
            ("keys", VECTORS.our_keys()),
            ("certificates", VECTORS.our_certificates()),
        ] {
            let requests = requests(&merchant(keys));
            assert_eq!(requests.len() * 2, VECTORS.names("requests").len());
            for (method, form) in requests {
                let expected = VECTORS.of("requests", &format!("{mode} {}", method.name()));
                assert_eq!(fields(&form), fields(expected), "{mode} {method:?}");
                verified(&form);
            }
        }
    }

    /// The other way round: `tests/peers/vectors/alipay_open_platform.py --check` verifies what is stored with another implementation.
    #[test]
    fn what_we_sign_is_what_another_implementation_has_verified() {
        for (method, form) in requests(&merchant(VECTORS.our_certificates())) {
            assert_eq!(form, VECTORS.of("ours", method.name()), "{method:?}");
        }
    }

    #[test]
    fn a_page_is_a_link_and_a_code_is_asked_for() {
        let merchant = merchant(VECTORS.our_keys());
        for (channel, product) in [
            (Channel::Page, "FAST_INSTANT_TRADE_PAY"),
            (Channel::MobilePage, "QUICK_WAP_PAY"),
        ] {
            let url = merchant.page(&payment(channel, "台灯"), NOW).unwrap();
            let (base, query) = url.split_once('?').unwrap();
            assert_eq!(base, VECTORS.text("gateway"));
            assert!(url.parse::<Uri>().is_ok());
            let fields = verified(query);
            assert_eq!(fields["return_url"], VECTORS.text("callback"));
            assert_eq!(fields["notify_url"], VECTORS.text("callback"));
            let content: Value = serde_json::from_str(&fields["biz_content"]).unwrap();
            assert_eq!(content["product_code"], product);
        }
        for channel in [Channel::QrCode, Channel::InApp] {
            assert_eq!(merchant.page(&payment(channel, "台灯"), NOW), None);
        }
    }

    #[test]
    fn every_new_trade_ends_with_its_payment_in_the_time_of_beijing() {
        let merchant = merchant(VECTORS.our_keys());
        for (method, form) in requests(&merchant).into_iter().take(3) {
            let content: Value = serde_json::from_str(&verified(&form)["biz_content"]).unwrap();
            assert_eq!(content["time_expire"], "2027-01-15 16:30:00", "{method:?}");
            assert_eq!(content["total_amount"], "19.90");
            assert_eq!(verified(&form)["timestamp"], "2027-01-15 16:00:00");
        }
    }

    #[test]
    fn a_title_is_cut_and_spared_what_alipay_forbids() {
        assert_eq!(subject("a/b=c&d"), "a／b＝c＆d");
        assert_eq!(subject("100% \"}+台灯 💡\n\0"), "100% \"}+台灯 💡  ");
        let longest = "💡".repeat(LONGEST_SUBJECT);
        assert_eq!(subject(&longest), longest);
        assert_eq!(subject(&format!("{longest}字")), longest);
    }

    #[test]
    fn a_refund_that_was_just_asked_for_may_be_under_way() {
        let refund = refund();
        let soon = NOW.plus(Duration::from_millis(9_999));
        let later = NOW.plus(REFUND_SHOWS_AFTER);
        assert!(matches!(
            not_too_early(Refunding::NotFound, &refund, soon),
            Refunding::Unknown(_)
        ));
        assert_eq!(not_too_early(Refunding::NotFound, &refund, later), Refunding::NotFound);
        assert_eq!(not_too_early(Refunding::Succeeded, &refund, soon), Refunding::Succeeded);
    }

    #[test]
    fn success_is_said_only_when_the_result_is_stored() {
        for handled in [
            Handled::Stored,
            Handled::NotGenuine,
            Handled::NotUnderstood,
            Handled::UnknownTrade,
            Handled::NotStored,
        ] {
            let said = acknowledgement(handled);
            assert_eq!(said.text == "success", handled == Handled::Stored, "{handled:?}");
            assert_eq!(said.status == StatusCode::OK, handled == Handled::Stored, "{handled:?}");
            assert!(said.content_type.starts_with("text/plain"));
        }
    }

    #[test]
    fn a_notification_is_read_by_whom_it_is_addressed_to() {
        let body = VECTORS.of("notifications", "paid").as_bytes();
        let mut merchant = merchant(VECTORS.our_keys());
        let paid_to_us = |merchant: &Merchant| match merchant.read_notification(body).unwrap() {
            News::Payment(seen) => matches!(seen.trade, crate::provider::Trade::Paid(_)),
            News::Refund(_) => false,
        };
        assert!(paid_to_us(&merchant));
        merchant.seller_id = "2088000000000002".into();
        assert!(!paid_to_us(&merchant));
    }

    #[test]
    fn only_a_local_gateway_may_do_without_tls() {
        let read = |url: &str, stage: &str| gateway(url.to_owned(), stage).is_ok();
        assert!(read("https://openapi.alipay.com/gateway.do", "production"));
        assert!(read("http://127.0.0.1:3000/gateway.do", "local"));
        for stage in ["production", "staging", "", "Local"] {
            assert!(!read("http://127.0.0.1:3000/gateway.do", stage), "{stage}");
        }
        for url in [
            "",
            "gateway.do",
            "/gateway.do",
            "ftp://x/gateway.do",
            "https://",
            "https:///gateway.do",
            "https://a@b/gateway.do",
            "https://b/gateway.do?charset=gbk",
            "https://b/gateway.do#x",
            "https://b/gate way.do",
        ] {
            assert!(!read(url, "local"), "{url}");
        }
    }

    #[test]
    fn ids_are_numbers() {
        assert!(id("ALIPAY_APP_ID", "2021000000000001".into()).is_ok());
        let refused = id("ALIPAY_APP_ID", "2021 ".into()).unwrap_err();
        assert!(refused.to_string().contains("ALIPAY_APP_ID"));
    }

    proptest! {
        #[test]
        fn whatever_a_title_is_what_is_signed_is_what_is_sent(title in "\\PC{0,300}|[&=+%/\"{}\\\\ \\u{1F4A1}\n]{0,40}") {
            let merchant = merchant(VECTORS.our_keys());
            let url = merchant.page(&payment(Channel::Page, &title), NOW).unwrap();
            let code = merchant.precreation(&payment(Channel::QrCode, &title), NOW).unwrap();
            for form in [url.split_once('?').unwrap().1, &code] {
                let fields = verified(form);
                let content: Value = serde_json::from_str(&fields["biz_content"]).unwrap();
                prop_assert_eq!(&content["subject"], &Value::from(subject(&title)));
                prop_assert_eq!(&content["out_trade_no"], VECTORS.text("payment"));
                prop_assert!(subject(&title).chars().count() <= LONGEST_SUBJECT);
            }
        }

        /// The wire carries every text, also those that titles are spared.
        #[test]
        fn whatever_is_said_survives_the_wire(text in any::<String>()) {
            let merchant = merchant(VECTORS.our_keys());
            let form = merchant.request(Method::Query, NOW).form(&merchant.keys, &text).unwrap();
            let sent: String = serde_json::from_str(&verified(&form)["biz_content"]).unwrap();
            prop_assert_eq!(sent, text);
        }
    }
}
