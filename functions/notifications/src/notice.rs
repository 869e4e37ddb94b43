//! What people are told about their orders, payments and refunds, and in which words.
//!
//! The words are in `templates/`, one file per language. A variant that a template does not know, or a fact that it names
//! and that is not there, does not compile.

use askama::Template;
use contracts::orders::{CancelledBy, OrderForServices, OrderSummary};
use kernel::{Money, Timestamp, Zone};
use serde::{Deserialize, Serialize};

/// In which language somebody is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Chinese; also for those of whom nobody knows it.
    #[default]
    Zh,
    /// English.
    En,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::Zh, Self::En];
}

/// What a notice is about: an order, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// The first product's title; `None` for an order that OrderService does not know.
    pub title: Option<String>,
    /// How many different products there are.
    pub products: usize,
    /// The whole amount.
    pub total: Money,
}

impl From<&OrderSummary> for Deal {
    fn from(order: &OrderSummary) -> Self {
        Self {
            title: Some(order.title.clone()),
            products: order.product_count,
            total: order.total,
        }
    }
}

impl From<&OrderForServices> for Deal {
    fn from(order: &OrderForServices) -> Self {
        Self {
            title: Some(order.title.clone()),
            products: 1,
            total: order.total_amount,
        }
    }
}

/// What one person is told about an order, from where he stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the templates say what each means, and the members are named as they read there"
)]
pub enum Notice {
    OrderPlaced {
        deal: Deal,
        until: String,
    },
    OrderReceived {
        deal: Deal,
    },
    PaidByYou {
        deal: Deal,
    },
    PaidByBuyer {
        deal: Deal,
    },
    CompletionDue {
        deal: Deal,
        when: String,
    },
    Bought {
        deal: Deal,
    },
    Sold {
        deal: Deal,
        yours: Money,
    },
    PurchaseCancelled {
        deal: Deal,
        by: CancelledBy,
        returned: Option<Money>,
    },
    SaleCancelled {
        deal: Deal,
        by: CancelledBy,
        returned: Option<Money>,
    },
    Refunded {
        deal: Deal,
        amount: Money,
    },
    BuyerRefunded {
        deal: Deal,
        amount: Money,
    },
    RefundHeld {
        deal: Deal,
        amount: Money,
    },
    BuyerRefundHeld {
        deal: Deal,
        amount: Money,
    },
    PaymentFailed {
        deal: Deal,
    },
    PaymentMismatched {
        deal: Deal,
    },
    LatePaymentRefunded {
        deal: Deal,
        amount: Money,
    },
    LatePaymentHeld {
        deal: Deal,
        amount: Money,
    },
}

/// A headline and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub title: String,
    /// The text.
    pub content: String,
}

#[derive(Template)]
#[template(path = "notice.zh.txt")]
struct Chinese<'a> {
    notice: &'a Notice,
}

#[derive(Template)]
#[template(path = "notice.en.txt")]
struct English<'a> {
    notice: &'a Notice,
}

#[derive(Template)]
#[template(path = "mail.zh.txt")]
struct ChineseMail<'a> {
    content: &'a str,
    market: &'a str,
}

#[derive(Template)]
#[template(path = "mail.en.txt")]
struct EnglishMail<'a> {
    content: &'a str,
    market: &'a str,
}

impl Notice {
    /// The notice in words.
    ///
    /// # Errors
    /// [`askama::Error`] when there is no memory to write it.
    pub fn words(&self, language: Language) -> Result<Words, askama::Error> {
        let text = match language {
            Language::Zh => Chinese { notice: self }.render(),
            Language::En => English { notice: self }.render(),
        }?;
        let (title, content) = text.split_once('\n').unwrap_or((&text, ""));
        Ok(Words {
            title: title.trim().to_owned(),
            content: content.trim().to_owned(),
        })
    }

    /// Whether it is mailed as well: what asks the seller to act, money that came back, and what a person has to see to.
    #[must_use]
    pub fn is_mailed(&self) -> bool {
        match self {
            Self::PaidByBuyer { .. }
            | Self::Refunded { .. }
            | Self::RefundHeld { .. }
            | Self::BuyerRefundHeld { .. }
            | Self::PaymentMismatched { .. }
            | Self::LatePaymentRefunded { .. }
            | Self::LatePaymentHeld { .. } => true,
            Self::OrderPlaced { .. }
            | Self::OrderReceived { .. }
            | Self::PaidByYou { .. }
            | Self::CompletionDue { .. }
            | Self::Bought { .. }
            | Self::Sold { .. }
            | Self::PurchaseCancelled { .. }
            | Self::SaleCancelled { .. }
            | Self::BuyerRefunded { .. }
            | Self::PaymentFailed { .. } => false,
        }
    }
}

/// The text of a mail that says `content`; `market` is where the market is found.
///
/// # Errors
/// [`askama::Error`] when there is no memory to write it.
pub fn letter(content: &str, market: &str, language: Language) -> Result<String, askama::Error> {
    match language {
        Language::Zh => ChineseMail { content, market }.render(),
        Language::En => EnglishMail { content, market }.render(),
    }
}

/// A moment as people write it: month, day, hour and minute.
#[must_use]
pub fn moment(at: Timestamp, zone: Zone) -> String {
    zone.show(at).get(5..16).unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yuan(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn deal() -> Deal {
        Deal {
            title: Some("台灯".into()),
            products: 1,
            total: yuan("19.90"),
        }
    }

    #[test]
    fn words_are_chosen_by_language_and_hold_the_facts() {
        let placed = Notice::OrderPlaced {
            deal: deal(),
            until: "01-01 08:30".into(),
        };
        let words = placed.words(Language::Zh).unwrap();
        assert_eq!(words.title, "订单已提交");
        assert_eq!(
            words.content,
            "您已下单「台灯」，金额 ¥19.90。请在 01-01 08:30 前完成支付，逾期订单将自动取消。"
        );
        let words = placed.words(Language::En).unwrap();
        assert_eq!(words.title, "Order placed");
        assert_eq!(
            words.content,
            "You ordered “台灯” for ¥19.90. Please pay by 01-01 08:30; after that the order is cancelled automatically."
        );

        let cancelled = |by, returned| Notice::PurchaseCancelled {
            deal: Deal { products: 3, ..deal() },
            by,
            returned,
        };
        let words = |notice: Notice, language| notice.words(language).unwrap().content;
        assert_eq!(
            words(cancelled(CancelledBy::Timeout, None), Language::Zh),
            "因超时未付款，系统取消了「台灯」等 3 种商品的订单。订单金额 ¥19.90 尚未支付，无需退款。"
        );
        assert_eq!(
            words(cancelled(CancelledBy::Seller, Some(yuan("9.90"))), Language::En),
            "The seller cancelled the order of “台灯” and other items (3 in all). The ¥9.90 that you paid goes back to you."
        );
        let unknown = Notice::PaymentFailed {
            deal: Deal { title: None, ..deal() },
        };
        assert_eq!(
            words(unknown, Language::Zh),
            "您为您的订单支付的 ¥19.90 未成功。订单仍为您保留，可在有效期内重新支付。"
        );
    }

    #[test]
    fn nothing_is_escaped_and_no_title_can_break_out_of_its_place() {
        let notice = Notice::Bought {
            deal: Deal {
                title: Some("<b>灯</b>\n& {{ x }}".into()),
                ..deal()
            },
        };
        let words = notice.words(Language::Zh).unwrap();
        assert_eq!(words.title, "交易完成");
        assert_eq!(words.content, "「<b>灯</b>\n& {{ x }}」的订单已完成，金额 ¥19.90。");
    }

    #[test]
    fn a_letter_says_where_it_comes_from() {
        for language in Language::ALL {
            let text = letter("内容", "https://market.example.edu", language).unwrap();
            assert!(
                text.starts_with("内容\n\n--\n") && text.contains("https://market.example.edu"),
                "{text}"
            );
        }
    }
}
