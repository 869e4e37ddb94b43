//! The functions that nobody waits for: what each does, what it means when one could not, what a person does then.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A function whose messages can die, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Consumer {
    /// Payments that succeeded pay their orders.
    ApplyPaymentEvent,
    /// Orders show what became of their refunds.
    ApplyRefundOutcome,
    /// What cancelled orders reserved goes back on sale.
    ReturnStock,
    /// Payments of cancelled orders are closed, those of completed ones released.
    ApplyOrderEvent,
    /// Refunds are made at the provider.
    ProcessRefund,
    /// Buyers' risk profiles follow their orders.
    LearnFromOrders,
    /// People are notified.
    NotifyPeople,
    /// People are mailed.
    MailPeople,
    /// Changes of orders are announced.
    PublishOrderEvents,
    /// Changes of payments and refunds are announced.
    PublishPaymentEvents,
    /// Changes of orders are counted.
    CountOrders,
    /// Stored notifications are pushed to open pages.
    PushNotification,
}

/// What a person has to know about the letters of one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What the consumer does with such a message.
    pub does: &'static str,
    /// What it means for people that it did not.
    pub otherwise: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// A text that names no consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a function that reads a queue or a stream, such as notify-people")]
pub struct NotAConsumer;

impl Consumer {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ApplyPaymentEvent,
        Self::ApplyRefundOutcome,
        Self::ReturnStock,
        Self::ApplyOrderEvent,
        Self::ProcessRefund,
        Self::LearnFromOrders,
        Self::NotifyPeople,
        Self::MailPeople,
        Self::PublishOrderEvents,
        Self::PublishPaymentEvents,
        Self::CountOrders,
        Self::PushNotification,
    ];

    /// Its name, that of its binary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplyPaymentEvent => "apply-payment-event",
            Self::ApplyRefundOutcome => "apply-refund-outcome",
            Self::ReturnStock => "return-stock",
            Self::ApplyOrderEvent => "apply-order-event",
            Self::ProcessRefund => "process-refund",
            Self::LearnFromOrders => "learn-from-orders",
            Self::NotifyPeople => "notify-people",
            Self::MailPeople => "mail-people",
            Self::PublishOrderEvents => "publish-order-events",
            Self::PublishPaymentEvents => "publish-payment-events",
            Self::CountOrders => "count-orders",
            Self::PushNotification => "push-notification",
        }
    }

    /// Whether the consumer's stream shows it changes of this kind (`INSERT`, `MODIFY`, `REMOVE`).
    #[must_use]
    pub fn reads(self, change: &str) -> bool {
        self != Self::PushNotification || change == "INSERT"
    }

    /// What a person has to know.
    #[must_use]
    pub fn explanation(self) -> Explanation {
        const ONCE: &str = "Mend what `last_error` or the log names, look at a preview, and redrive. What is done \
                            already is not done again.";
        let (does, otherwise, advice) = match self {
            Self::ApplyPaymentEvent => (
                "A payment that succeeded pays its order; if the order is paid or ended already, the money goes back.",
                "The buyer has paid, and his order is not shown as paid; it expires, and its goods are sold to others.",
                "Do it soon: an unpaid order ends after half an hour. A redrive after that sends the money back.",
            ),
            Self::ApplyRefundOutcome => (
                "The order shows what became of its refund.",
                "The order's refund_status stays pending, although the refund is decided.",
                ONCE,
            ),
            Self::ReturnStock => (
                "ProductService puts back on sale what a cancelled order had reserved, once per order and product.",
                "The pieces of a cancelled order can not be bought by anybody.",
                ONCE,
            ),
            Self::ApplyOrderEvent => (
                "The open payment of a cancelled order is closed at its provider; a completed order's money is released \
                 to the seller.",
                "A cancelled order can still be paid, or a seller waits for money that is his.",
                ONCE,
            ),
            Self::ProcessRefund => (
                "The amount is reserved in the payment's ledger and given back at the provider, once.",
                "A buyer waits for his money.",
                "Do it first of all. A preview that finds nothing to do means that the refund exists already; \
                 reconcile-refunds goes on with it by itself.",
            ),
            Self::LearnFromOrders => (
                "How far an order came is noted in its buyer's risk profile.",
                "Assessments of this buyer's next orders lack something.",
                ONCE,
            ),
            Self::NotifyPeople => (
                "Buyer and seller, or whom a service names, find a notification in their list.",
                "Somebody was not told.",
                ONCE,
            ),
            Self::MailPeople => (
                "Whoever the event concerns is mailed, at most once.",
                "Somebody was not mailed; the notification in his list is there all the same.",
                "Redrive it if the mail still makes sense to who gets it, and discard it if not.",
            ),
            Self::PublishOrderEvents => (
                "A change of an order is announced to all services.",
                "Nobody heard of the change: no notice, no refund, no stock that goes back.",
                "Redrive it first of all; its readers know what they have heard before.",
            ),
            Self::PublishPaymentEvents => (
                "A change of a payment or a refund is announced to all services.",
                "Nobody heard of the change: an order that was paid is not shown as paid, a refund not as made.",
                "Redrive it first of all; its readers know what they have heard before.",
            ),
            Self::CountOrders => (
                "A change of an order is added to the statistics of its buyer and its seller.",
                "Their figures are wrong by this order.",
                "Redrive it within 48 hours of the change. An older one is refused, because it may be counted already: \
                 then correct the figures by hand and discard it.",
            ),
            Self::PushNotification => (
                "The pages that the user has open show the notification at once.",
                "They show it when they ask for what they missed, within minutes.",
                "Nothing has to be sent again. Find the cause in the log of push-notification and discard it.",
            ),
        };
        Explanation {
            does,
            otherwise,
            advice,
        }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Consumer {
    type Err = NotAConsumer;

    fn from_str(text: &str) -> Result<Self, NotAConsumer> {
        Self::ALL
            .into_iter()
            .find(|consumer| consumer.name() == text)
            .ok_or(NotAConsumer)
    }
}

/// What each consumer is called in one deployment: `notify-people=<name or ARN>`, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(Vec<(Consumer, String)>);

/// A directory that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not <consumer>=<name>")]
pub struct NotAnEntry(String);

impl Directory {
    /// Who bears this name.
    #[must_use]
    pub fn consumer(&self, name: &str) -> Option<Consumer> {
        let entry = self.0.iter().find(|(_, known)| known == name);
        entry.map(|(consumer, _)| *consumer)
    }

    /// What the consumer is called.
    #[must_use]
    pub fn name(&self, consumer: Consumer) -> Option<&str> {
        let entry = self.0.iter().find(|(known, _)| *known == consumer);
        entry.map(|(_, name)| name.as_str())
    }
}

impl FromStr for Directory {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let entry = |entry: &str| {
            let (consumer, name) = entry.split_once('=')?;
            Some((consumer.parse().ok()?, name.to_owned()))
        };
        let entries = text
            .split_whitespace()
            .map(|text| entry(text).ok_or_else(|| NotAnEntry(text.to_owned())));
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consumer_has_a_name_of_its_own_and_an_explanation() {
        for consumer in Consumer::ALL {
            assert_eq!(consumer.name().parse(), Ok(consumer));
            assert_eq!(serde_json::to_value(consumer).unwrap(), consumer.name());
            let explanation = consumer.explanation();
            for text in [explanation.does, explanation.otherwise, explanation.advice] {
                assert!(text.ends_with('.') && text.len() > 20, "{consumer}: {text}");
            }
        }
        assert_eq!("create-order".parse::<Consumer>(), Err(NotAConsumer));
    }

    #[test]
    fn a_directory_is_read_both_ways() {
        let directory: Directory = " return-stock=a:b  notify-people=c ".parse().unwrap();
        assert_eq!(directory.name(Consumer::NotifyPeople), Some("c"));
        assert_eq!(directory.name(Consumer::CountOrders), None);
        assert_eq!(directory.consumer("a:b"), Some(Consumer::ReturnStock));
        assert_eq!("x=y".parse::<Directory>(), Err(NotAnEntry("x=y".to_owned())));
    }
}
