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

/// Most bytes of `description`. The documentation says 127 characters, the service counts bytes: this much passes both.
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
