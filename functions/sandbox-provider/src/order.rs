//! What a merchant asks a buyer to pay.

use kernel::{Money, Timestamp};
use serde::Deserialize;

/// An order of a merchant, as its payment page or its own call states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The merchant's number of the trade.
    pub out_trade_no: TradeNumber,
    /// The merchant.
    pub merchant: String,
    /// How much.
    pub amount: Money,
    /// What the buyer reads.
    pub subject: String,
    /// How the buyer thinks that he pays.
    pub method: String,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
    /// Who is told.
    pub notify_url: String,
    /// Where the buyer's browser goes afterwards.
    pub return_url: String,
}

/// A merchant's number of a trade: 6 to 32 of `[0-9A-Za-z_]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeNumber(String);

/// Something in an order that can not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or wrong")]
pub struct BadOrder(&'static str);

impl TradeNumber {
    /// The number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TradeNumber {
    type Err = BadOrder;

    fn from_str(text: &str) -> Result<Self, BadOrder> {
        let fits = (6..=32).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadOrder("out_trade_no"))
        }
    }
}

/// The members of an order, all of them text.
#[derive(Deserialize)]
pub struct StatedOrder {
    amount: String,
    expires_at: String,
    merchant: String,
    method: String,
    notify_url: String,
    out_trade_no: String,
    return_url: String,
    subject: String,
}

impl StatedOrder {
    /// From the parameters of a payment page.
    ///
    /// # Errors
    /// [`BadOrder`].
    pub fn from_parameters(parameters: &[(String, String)]) -> Result<Self, BadOrder> {
        let take = |wanted: &'static str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).ok_or(BadOrder(wanted))
        };
        Ok(Self {
            amount: take("amount")?,
            expires_at: take("expires_at")?,
            merchant: take("merchant")?,
            method: take("method")?,
            notify_url: take("notify_url")?,
            out_trade_no: take("out_trade_no")?,
            return_url: take("return_url")?,
            subject: take("subject")?,
        })
    }
}

impl TryFrom<StatedOrder> for Order {
    type Error = BadOrder;

    fn try_from(stated: StatedOrder) -> Result<Self, BadOrder> {
        let amount = stated.amount.parse().ok().and_then(|fen| Money::from_fen(fen).ok());
        Ok(Self {
            out_trade_no: stated.out_trade_no.parse()?,
            merchant: stated.merchant,
            amount: amount
                .and_then(|amount| amount.positive().ok())
                .ok_or(BadOrder("amount"))?,
            subject: stated.subject,
            method: stated.method,
            expires_at: Timestamp::from_millis(stated.expires_at.parse().map_err(|_| BadOrder("expires_at"))?),
            notify_url: web_url(stated.notify_url).ok_or(BadOrder("notify_url"))?,
            return_url: web_url(stated.return_url).ok_or(BadOrder("return_url"))?,
        })
    }
}

/// Only such a URL is called, and put into a link.
fn web_url(url: String) -> Option<String> {
    (url.starts_with("https://") || url.starts_with("http://")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(name: &str, value: &str) -> Vec<(String, String)> {
        let mut parameters: Vec<(String, String)> = [
            ("amount", "1990"),
            ("expires_at", "1800000000000"),
            ("merchant", "cfmp"),
            ("method", "alipay"),
            ("notify_url", "http://shop/notify"),
            ("out_trade_no", "0123456789abcdef0123456789abcdef"),
            ("return_url", "http://shop/return"),
            ("subject", "desk lamp"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        parameters
            .iter_mut()
            .filter(|(given, _)| given == name)
            .for_each(|given| value.clone_into(&mut given.1));
        parameters
    }

    fn order(name: &str, value: &str) -> Result<Order, BadOrder> {
        StatedOrder::from_parameters(&parameters(name, value)).and_then(Order::try_from)
    }

    #[test]
    fn an_order_is_refused_for_each_part_that_can_not_be() {
        assert_eq!(order("", "").unwrap().amount, Money::from_fen(1990).unwrap());
        for (name, value) in [
            ("amount", "0"),
            ("amount", "-1"),
            ("amount", "19.90"),
            ("expires_at", "soon"),
            ("out_trade_no", "12345"),
            ("out_trade_no", "0123456789abcdef0123456789abcdef0"),
            ("out_trade_no", "a/b/c/d"),
            ("return_url", "javascript:alert(1)"),
            ("notify_url", "file:///etc/passwd"),
        ] {
            assert!(order(name, value).is_err(), "{name}={value}");
        }
        assert!(StatedOrder::from_parameters(&[]).is_err());
    }
}
