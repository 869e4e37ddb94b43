//! What WeChat Pay is asked: paths and bodies. Amounts in fen.
//!
//! A request under a number that is known already has to be the same as the first one, or it is refused; so everything
//! here follows from the payment or the refund, and only what the payer brings can differ.

use std::net::IpAddr;
use std::time::Duration;

use kernel::{PaymentId, Timestamp};
use serde::Serialize;

use super::Account;
use crate::payment::Payment;
use crate::provider::{CURRENCY, Channel, Payer, refund_number, trade_number};
use crate::refund::Refund;

/// Most bytes of `description`. The documentation says 127 characters and not whether a Chinese one counts once: 127 bytes
/// pass either way, and a title that is cut is better than an order that is refused.
const LONGEST_DESCRIPTION: usize = 127;
/// Most bytes of an `openid`.
const LONGEST_OPENID: usize = 128;
/// WeChat Pay's clock.
const BEIJING: Duration = Duration::from_secs(8 * 60 * 60);

/// A new trade.
#[derive(Serialize)]
pub(super) struct Order<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: String,
    out_trade_no: String,
    time_expire: String,
    notify_url: &'a str,
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<OrderPayer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scene_info: Option<Scene>,
}

#[derive(Serialize)]
struct Amount {
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct OrderPayer<'a> {
    openid: &'a str,
}

#[derive(Serialize)]
struct Scene {
    payer_client_ip: String,
    h5_info: H5,
}

#[derive(Serialize)]
struct H5 {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A new refund. Its reason is left out: the buyer would read it, and ours are words for programs.
#[derive(Serialize)]
pub(super) struct RefundOrder<'a> {
    out_trade_no: String,
    out_refund_no: String,
    notify_url: &'a str,
    amount: RefundAmount,
}

#[derive(Serialize)]
struct RefundAmount {
    refund: i64,
    total: i64,
    currency: &'static str,
}

/// The body of closing.
#[derive(Serialize)]
pub(super) struct Close<'a> {
    pub(super) mchid: &'a str,
}

impl<'a> Order<'a> {
    /// The trade, and the path that makes it. The reason if it can not be asked for.
    pub(super) fn of(
        payment: &Payment,
        payer: &'a Payer,
        account: &'a Account,
        notify_url: &'a str,
    ) -> Result<(&'static str, Self), &'static str> {
        let mut order = Self {
            appid: &account.app_id,
            mchid: &account.merchant_id,
            description: description(payment),
            out_trade_no: trade_number(payment.id),
            time_expire: beijing(payment.expires_at),
            notify_url,
            amount: Amount {
                total: payment.amount.fen(),
                currency: CURRENCY,
            },
            payer: None,
            scene_info: None,
        };
        let path = match payment.channel {
            Channel::QrCode => "/v3/pay/transactions/native",
            Channel::InApp => {
                let openid = payer
                    .openid
                    .as_deref()
                    .filter(|id| (1..=LONGEST_OPENID).contains(&id.len()));
                let openid = openid.ok_or("a payment inside WeChat needs the payer's openid")?;
                order.payer = Some(OrderPayer { openid });
                "/v3/pay/transactions/jsapi"
            }
            Channel::MobilePage => {
                let ip = payer.ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
                let ip = ip.ok_or("a payment on a phone's page needs the payer's IP address")?;
                order.scene_info = Some(Scene {
                    payer_client_ip: ip.to_string(),
                    h5_info: H5 { kind: "Wap" },
                });
                "/v3/pay/transactions/h5"
            }
            Channel::Page => return Err("WeChat Pay has no page for desktops"),
        };
        Ok((path, order))
    }
}

impl<'a> RefundOrder<'a> {
    pub(super) fn of(refund: &Refund, notify_url: &'a str) -> Self {
        Self {
            out_trade_no: trade_number(refund.payment),
            out_refund_no: refund_number(refund.id),
            notify_url,
            amount: RefundAmount {
                refund: refund.amount.fen(),
                total: refund.paid.fen(),
                currency: CURRENCY,
            },
        }
    }
}

/// Makes refunds.
pub(super) const REFUNDS: &str = "/v3/refund/domestic/refunds";

pub(super) fn trade_path(payment: PaymentId, account: &Account) -> String {
    let (number, merchant) = (trade_number(payment), &account.merchant_id);
    format!("/v3/pay/transactions/out-trade-no/{number}?mchid={merchant}")
}

pub(super) fn close_path(payment: PaymentId) -> String {
    format!("/v3/pay/transactions/out-trade-no/{}/close", trade_number(payment))
}

pub(super) fn refund_path(refund: &Refund) -> String {
    format!("{REFUNDS}/{}", refund_number(refund.id))
}

/// What the buyer reads on his bill: one line that is not empty.
fn description(payment: &Payment) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    let line: String = payment.subject.chars().map(visible).collect();
    let mut end = line.trim().len().min(LONGEST_DESCRIPTION);
    let line = line.trim();
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    match line.get(..end).map(str::trim_end) {
        Some(line) if !line.is_empty() => line.to_owned(),
        _ => trade_number(payment.id),
    }
}

/// RFC 3339 in whole seconds, `+08:00`.
fn beijing(at: Timestamp) -> String {
    let shown = at.plus(BEIJING).to_string();
    format!("{}+08:00", shown.get(..19).unwrap_or(&shown))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::fixture::Fixture;
    use super::*;

    const NOTIFY: &str = "https://api.example.com/api/payment/callback/wechat_pay";

    fn payer() -> Payer {
        Payer {
            openid: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into()),
            ip: Some("2001:db8::1".into()),
        }
    }

    fn order(it: &Fixture, channel: Channel, payer: &Payer) -> Result<(&'static str, Value), &'static str> {
        let (path, order) = Order::of(&it.payment(channel), payer, &it.account, NOTIFY)?;
        Ok((path, serde_json::to_value(order).unwrap()))
    }

    #[test]
    fn each_channel_asks_for_its_kind_of_trade() {
        let it = Fixture::new();
        let common = json!({
            "appid": "wx8888888888888888",
            "mchid": "1900000109",
            "description": "台灯 \"a=b+c&d\" 💡",
            "out_trade_no": "0123456789abcdef0123456789abcdef",
            "time_expire": "2026-01-01T08:30:00+08:00",
            "notify_url": NOTIFY,
            "amount": {"total": 1990, "currency": "CNY"},
        });
        let with = |name: &str, value: Value| {
            let mut order = common.clone();
            order[name] = value;
            order
        };
        let native = order(&it, Channel::QrCode, &Payer::default()).unwrap();
        assert_eq!(native, ("/v3/pay/transactions/native", common.clone()));
        let jsapi = order(&it, Channel::InApp, &payer()).unwrap();
        let payer_member = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"});
        assert_eq!(jsapi, ("/v3/pay/transactions/jsapi", with("payer", payer_member)));
        let h5 = order(&it, Channel::MobilePage, &payer()).unwrap();
        let scene = json!({"payer_client_ip": "2001:db8::1", "h5_info": {"type": "Wap"}});
        assert_eq!(h5, ("/v3/pay/transactions/h5", with("scene_info", scene)));
    }

    #[test]
    fn a_trade_that_can_not_be_made_is_not_asked_for() {
        let it = Fixture::new();
        assert!(order(&it, Channel::Page, &payer()).is_err());
        for openid in [None, Some(String::new()), Some("x".repeat(129))] {
            assert!(order(&it, Channel::InApp, &Payer { openid, ip: None }).is_err());
        }
        for ip in [
            None,
            Some("".into()),
            Some("localhost".into()),
            Some("1.2.3.4, 5.6.7.8".into()),
        ] {
            assert!(order(&it, Channel::MobilePage, &Payer { openid: None, ip }).is_err());
        }
    }

    #[test]
    fn a_refund_names_its_payment_and_of_how_much_it_is() {
        let it = Fixture::new();
        let order = serde_json::to_value(RefundOrder::of(&it.refund(), NOTIFY)).unwrap();
        let expected = json!({
            "out_trade_no": "0123456789abcdef0123456789abcdef",
            "out_refund_no": "fedcba9876543210fedcba9876543210",
            "notify_url": NOTIFY,
            "amount": {"refund": 500, "total": 1990, "currency": "CNY"},
        });
        assert_eq!(order, expected);
        assert_eq!(
            refund_path(&it.refund()),
            "/v3/refund/domestic/refunds/fedcba9876543210fedcba9876543210"
        );
    }

    #[test]
    fn the_same_payment_is_always_the_same_order() {
        let it = Fixture::new();
        let (payment, payer) = (it.payment(Channel::InApp), payer());
        let body = || serde_json::to_string(&Order::of(&payment, &payer, &it.account, NOTIFY).unwrap().1).unwrap();
        assert_eq!(body(), body());
    }

    fn described(subject: &str) -> String {
        let it = Fixture::new();
        let mut payment = it.payment(Channel::QrCode);
        payment.subject = subject.into();
        description(&payment)
    }

    #[test]
    fn a_title_is_cut_between_characters() {
        assert_eq!(described(&"a".repeat(256)), "a".repeat(127));
        assert_eq!(described(&"字".repeat(256)), "字".repeat(42));
        assert_eq!(described(&"💡".repeat(256)), "💡".repeat(31));
        assert_eq!(described("a\r\nb\tc\0"), "a  b c");
        for empty in ["", " ", "\n\n"] {
            assert_eq!(described(empty), "0123456789abcdef0123456789abcdef");
        }
    }

    proptest! {
        #[test]
        fn any_title_survives(title in "\\PC{0,256}|[a-z&=+\"{}\\\\\\n\\x00💡]{0,256}") {
            let shown = described(&title);
            prop_assert!((1..=127).contains(&shown.len()));
            prop_assert!(!shown.contains(char::is_control));
            let json = serde_json::to_string(&shown).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), shown);
        }
    }
}
