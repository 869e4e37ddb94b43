//! Who is told what about which event: the whole of it, in one exhaustive match. The words are in `templates/`.
//!
//! `docs/notifications.md` shows the same as a table; the tests hold the two together.

use contracts::orders::{OrderForServices, OrderSummary};
use contracts::payments::RefundReason;
use contracts::{Envelope, NotificationMessage, OrderEvent, PaymentEvent, RefundMessage};
use kernel::{Money, NotificationId, OrderId, Timestamp, UserId, Zone};
use serde_json::{Map, Value};

use crate::news::News;
use crate::notice::{Deal, Language, Notice, Words, moment};
use crate::notification::{Kind, Message, Notification, RelatedData, id_of};

/// Something that one person is told, before it is put into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The notification that it becomes; the same whenever its event is announced.
    pub id: NotificationId,
    /// Who is told.
    pub to: UserId,
    /// What.
    pub what: What,
    kind: Kind,
    related_id: Option<String>,
    at: Timestamp,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something about an order, in his language.
    Notice(Notice),
    /// What a service asked for, in its words.
    Given(Words),
}

impl Telling {
    /// The notification, in words.
    ///
    /// # Errors
    /// [`askama::Error`] when there is no memory to write it.
    pub fn notification(&self, language: Language) -> Result<Notification, askama::Error> {
        let (words, facts) = match &self.what {
            What::Notice(notice) => {
                let order = self.related_id.clone().map(Value::String);
                let facts = order.map(|order| Map::from_iter([("order_uuid".to_owned(), order)]));
                (notice.words(language)?, facts)
            }
            What::Given(words) => (words.clone(), None),
        };
        let message = Message {
            kind: self.kind,
            title: words.title,
            content: words.content,
            related_id: self.related_id.clone(),
            related_data: facts.and_then(|facts| RelatedData::try_from(facts).ok()),
        };
        Ok(Notification::new(self.id, self.to, message, self.at))
    }
}

/// The order that an event is about and does not describe: it has to be looked up before anybody is told. `None`: nobody is
/// told, or the event says enough.
#[must_use]
pub fn order_to_look_up(news: &News) -> Option<OrderId> {
    match news {
        News::Payment(
            PaymentEvent::PaymentFailed { order_uuid, .. } | PaymentEvent::PaymentMismatched { order_uuid, .. },
        )
        | News::Refund(RefundMessage::RefundSettled {
            order_uuid,
            reason: RefundReason::PaidAfterClosing,
            ..
        }) => Some(*order_uuid),
        News::Order(_) | News::Payment(_) | News::Refund(_) | News::Request(_) => None,
    }
}

/// What an event amounts to; `order` is the one of [`order_to_look_up`], if there is such a one.
#[must_use]
pub fn tellings(news: &Envelope<News>, order: Option<&OrderForServices>, zone: Zone) -> Vec<Telling> {
    match &news.event {
        News::Order(event) => {
            let (order, notices) = about_order(event, zone);
            told(news, order.order_uuid, notices)
        }
        News::Payment(event) => about_payment(event, order).map_or_else(Vec::new, |(order, payer, notice)| {
            told(news, order, vec![(payer, notice)])
        }),
        News::Refund(event) => about_refund(event, order).map_or_else(Vec::new, |(order, payer, notice)| {
            told(news, order, vec![(payer, notice)])
        }),
        News::Request(NotificationMessage::NotificationRequested {
            notification_uuid,
            user_uuid,
            kind,
            title,
            content,
            related_id,
        }) => {
            let (kind, user, at) = (Kind::from(*kind), *user_uuid, news.occurred_at);
            vec![Telling {
                id: id_of(kind, at, &[&notification_uuid.to_string(), &user.to_string()]),
                to: user,
                what: What::Given(Words {
                    title: title.clone(),
                    content: content.clone(),
                }),
                kind,
                related_id: related_id.clone(),
                at,
            }]
        }
    }
}

fn told(news: &Envelope<News>, order: OrderId, notices: Vec<(UserId, Notice)>) -> Vec<Telling> {
    let (kind, at) = (Kind::Transaction, news.occurred_at);
    let telling = |(to, notice): (UserId, Notice)| Telling {
        id: id_of(kind, at, &[&news.event_id.to_string(), &to.to_string()]),
        to,
        what: What::Notice(notice),
        kind,
        related_id: Some(order.to_string()),
        at,
    };
    notices.into_iter().map(telling).collect()
}

fn about_order(event: &OrderEvent, zone: Zone) -> (&OrderSummary, Vec<(UserId, Notice)>) {
    match event {
        OrderEvent::OrderCreated { order, expires_at } => {
            let deal = Deal::from(order);
            let until = moment(*expires_at, zone);
            let to_buyer = Notice::OrderPlaced {
                deal: deal.clone(),
                until,
            };
            both(order, to_buyer, Notice::OrderReceived { deal })
        }
        OrderEvent::OrderPaid { order, payment_uuid: _ } => {
            let deal = Deal::from(order);
            both(
                order,
                Notice::PaidByYou { deal: deal.clone() },
                Notice::PaidByBuyer { deal },
            )
        }
        OrderEvent::OrderCompletionDue { order, completes_at } => {
            let (deal, when) = (Deal::from(order), moment(*completes_at, zone));
            (
                order,
                vec![(order.buyer_uuid.into(), Notice::CompletionDue { deal, when })],
            )
        }
        OrderEvent::OrderCompleted {
            order,
            payment_uuid: _,
            to_seller: yours,
        } => {
            let deal = Deal::from(order);
            let to_seller = Notice::Sold {
                deal: deal.clone(),
                yours: *yours,
            };
            both(order, Notice::Bought { deal }, to_seller)
        }
        OrderEvent::OrderCancelled {
            order,
            cancelled_by,
            was_paid,
            to_buyer: returned,
            products: _,
        } => {
            let (deal, by, returned) = (Deal::from(order), *cancelled_by, was_paid.then_some(*returned));
            let to_buyer = Notice::PurchaseCancelled {
                deal: deal.clone(),
                by,
                returned,
            };
            both(order, to_buyer, Notice::SaleCancelled { deal, by, returned })
        }
        OrderEvent::OrderRefundSettled {
            order,
            refund_uuid: _,
            amount,
            reason: _,
            succeeded,
        } => {
            let (deal, amount) = (Deal::from(order), *amount);
            let again = deal.clone();
            if *succeeded {
                let to_buyer = Notice::Refunded { deal, amount };
                both(order, to_buyer, Notice::BuyerRefunded { deal: again, amount })
            } else {
                let to_buyer = Notice::RefundHeld { deal, amount };
                both(order, to_buyer, Notice::BuyerRefundHeld { deal: again, amount })
            }
        }
    }
}

fn about_payment(event: &PaymentEvent, order: Option<&OrderForServices>) -> Option<(OrderId, UserId, Notice)> {
    match event {
        // The order tells of it, once it is paid.
        PaymentEvent::PaymentSucceeded { .. } => None,
        PaymentEvent::PaymentFailed {
            payment_uuid: _,
            order_uuid,
            user_uuid,
            amount,
        } => {
            let deal = deal(order, *amount);
            Some((*order_uuid, *user_uuid, Notice::PaymentFailed { deal }))
        }
        PaymentEvent::PaymentMismatched {
            payment_uuid: _,
            order_uuid,
            user_uuid,
        } => {
            let deal = deal(order, Money::ZERO);
            Some((*order_uuid, *user_uuid, Notice::PaymentMismatched { deal }))
        }
    }
}

fn about_refund(event: &RefundMessage, order: Option<&OrderForServices>) -> Option<(OrderId, UserId, Notice)> {
    match event {
        RefundMessage::RefundRequested { .. } => None,
        RefundMessage::RefundSettled {
            order_uuid,
            user_uuid,
            amount,
            reason,
            succeeded,
            ..
        } => match reason {
            // These stand in the order, which tells of them itself: OrderRefundSettled.
            RefundReason::OrderCancelled
            | RefundReason::PaidAfterCancellation
            | RefundReason::PaidTwice
            | RefundReason::Requested => None,
            RefundReason::PaidAfterClosing => {
                let (deal, amount) = (deal(order, *amount), *amount);
                let notice = if *succeeded {
                    Notice::LatePaymentRefunded { deal, amount }
                } else {
                    Notice::LatePaymentHeld { deal, amount }
                };
                Some((*order_uuid, *user_uuid, notice))
            }
        },
    }
}

/// What is told of an order that was looked up; of one that is not there, the amount.
fn deal(order: Option<&OrderForServices>, amount: Money) -> Deal {
    order.map_or(
        Deal {
            title: None,
            products: 1,
            total: amount,
        },
        Deal::from,
    )
}

fn both(order: &OrderSummary, to_buyer: Notice, to_seller: Notice) -> (&OrderSummary, Vec<(UserId, Notice)>) {
    let notices = vec![
        (order.buyer_uuid.into(), to_buyer),
        (order.seller_uuid.into(), to_seller),
    ];
    (order, notices)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contracts::orders::CancelledBy;
    use contracts::{Event, NotificationKind};
    use kernel::{BuyerId, PaymentId, RefundId, SellerId};
    use serde_json::json;

    use super::*;

    const TABLE: &str = include_str!("../../../docs/notifications.md");

    fn order() -> OrderSummary {
        OrderSummary {
            order_uuid: OrderId::random(),
            buyer_uuid: BuyerId::random(),
            seller_uuid: SellerId::random(),
            title: "台灯".into(),
            product_count: 1,
            total: Money::from_fen(1990).unwrap(),
        }
    }

    fn looked_up() -> OrderForServices {
        OrderForServices {
            order_uuid: OrderId::random(),
            buyer_uuid: BuyerId::random(),
            seller_uuid: SellerId::random(),
            status: 0,
            total_amount: Money::from_fen(1990).unwrap(),
            payable_until: Timestamp::from_millis(0),
            title: "台灯".into(),
        }
    }

    fn zone() -> Zone {
        "+08:00".parse().unwrap()
    }

    /// Written as a producer writes it, read as the queue's reader does.
    fn announced<E: Event>(event: E) -> Envelope<News> {
        let envelope = Envelope::new(
            uuid::Uuid::new_v4(),
            "test",
            Timestamp::from_millis(1_767_225_600_123),
            event,
        );
        serde_json::from_str(&serde_json::to_string(&envelope).unwrap()).unwrap()
    }

    fn told_by(news: &Envelope<News>) -> Vec<Telling> {
        let order = order_to_look_up(&news.event).map(|_| looked_up());
        tellings(news, order.as_ref(), zone())
    }

    /// The name of an event. Fails to compile when one is added, until somebody gives it a sample below.
    fn name(news: &News) -> &'static str {
        match news {
            News::Order(
                event @ (OrderEvent::OrderCreated { .. }
                | OrderEvent::OrderPaid { .. }
                | OrderEvent::OrderCompletionDue { .. }
                | OrderEvent::OrderCompleted { .. }
                | OrderEvent::OrderCancelled { .. }
                | OrderEvent::OrderRefundSettled { .. }),
            ) => event.name(),
            News::Payment(
                event @ (PaymentEvent::PaymentSucceeded { .. }
                | PaymentEvent::PaymentFailed { .. }
                | PaymentEvent::PaymentMismatched { .. }),
            ) => event.name(),
            News::Refund(event @ (RefundMessage::RefundRequested { .. } | RefundMessage::RefundSettled { .. })) => {
                event.name()
            }
            News::Request(event @ NotificationMessage::NotificationRequested { .. }) => event.name(),
        }
    }

    /// Every event in every shape that makes a difference.
    fn every_event() -> Vec<Envelope<News>> {
        let at = Timestamp::from_millis(1_767_225_600_000);
        let (payment_uuid, refund_uuid, amount) = (PaymentId::random(), RefundId::random(), order().total);
        let (order_uuid, user_uuid) = (OrderId::random(), UserId::random());
        let method = contracts::payments::PaymentMethod::Alipay;
        let mut all = vec![
            announced(OrderEvent::OrderCreated {
                order: order(),
                expires_at: at,
            }),
            announced(OrderEvent::OrderPaid {
                order: order(),
                payment_uuid,
            }),
            announced(OrderEvent::OrderCompletionDue {
                order: order(),
                completes_at: at,
            }),
            announced(OrderEvent::OrderCompleted {
                order: order(),
                payment_uuid,
                to_seller: amount,
            }),
            announced(PaymentEvent::PaymentSucceeded {
                payment_uuid,
                order_uuid,
                user_uuid,
                amount,
                method,
                paid_at: at,
            }),
            announced(PaymentEvent::PaymentFailed {
                payment_uuid,
                order_uuid,
                user_uuid,
                amount,
            }),
            announced(PaymentEvent::PaymentMismatched {
                payment_uuid,
                order_uuid,
                user_uuid,
            }),
            announced(RefundMessage::RefundRequested {
                refund_uuid,
                payment_uuid,
                order_uuid,
                amount,
                reason: RefundReason::OrderCancelled,
            }),
        ];
        for cancelled_by in [
            CancelledBy::Buyer,
            CancelledBy::Seller,
            CancelledBy::Service,
            CancelledBy::Timeout,
        ] {
            for was_paid in [false, true] {
                all.push(announced(OrderEvent::OrderCancelled {
                    order: order(),
                    cancelled_by,
                    was_paid,
                    to_buyer: amount,
                    products: vec![],
                }));
            }
        }
        for succeeded in [true, false] {
            all.push(announced(OrderEvent::OrderRefundSettled {
                order: order(),
                refund_uuid,
                amount,
                reason: RefundReason::Requested,
                succeeded,
            }));
            for reason in [
                RefundReason::OrderCancelled,
                RefundReason::PaidAfterCancellation,
                RefundReason::PaidTwice,
                RefundReason::PaidAfterClosing,
                RefundReason::Requested,
            ] {
                all.push(announced(RefundMessage::RefundSettled {
                    refund_uuid,
                    payment_uuid,
                    order_uuid,
                    user_uuid,
                    amount,
                    reason,
                    succeeded,
                }));
            }
        }
        all
    }

    /// Event, side, both titles, and whether it is mailed.
    type Row = (String, &'static str, String, String, bool);

    /// The rows of the documented table that name an event and somebody.
    fn documented() -> BTreeSet<Row> {
        let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        TABLE
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(cells)
            .filter_map(|cells| match cells[..] {
                [_, event, side @ ("buyer" | "seller"), zh, en, mail] => Some((
                    event.trim_matches('`').to_owned(),
                    side,
                    zh.to_owned(),
                    en.to_owned(),
                    mail == "yes",
                )),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_documented_table_is_what_is_told() {
        let mut told = BTreeSet::new();
        for news in every_event() {
            for telling in told_by(&news) {
                let side = match &news.event {
                    News::Order(event) if telling.to == about_order(event, zone()).0.seller_uuid.into() => "seller",
                    _ => "buyer",
                };
                let What::Notice(notice) = &telling.what else {
                    panic!("{telling:?}")
                };
                let [zh, en] = Language::ALL.map(|language| notice.words(language).unwrap().title);
                told.insert((name(&news.event).to_owned(), side, zh, en, notice.is_mailed()));
            }
        }
        assert_eq!(documented(), told);
        let names: BTreeSet<_> = every_event().iter().map(|news| name(&news.event)).collect();
        for name in names {
            assert!(TABLE.contains(&format!("| `{name}` |")), "{name} has no row");
        }
    }

    #[test]
    fn every_text_holds_title_and_amount_in_both_languages() {
        for news in every_event() {
            for telling in told_by(&news) {
                for language in Language::ALL {
                    let notification = telling.notification(language).unwrap();
                    let message = &notification.message;
                    assert!(message.content.contains("台灯"), "{message:?}");
                    assert!(message.content.contains("¥19.90"), "{message:?}");
                    assert!(!message.content.contains("  "), "{message:?}");
                    assert!(message.title.chars().count() <= 100 && !message.content.contains('\n'));
                    assert_eq!(notification.created_at, news.occurred_at);
                    let order = message.related_id.as_deref().unwrap();
                    let facts = serde_json::to_value(&message.related_data).unwrap();
                    assert_eq!(facts, json!({"order_uuid": order}));
                }
            }
        }
    }

    #[test]
    fn an_event_that_comes_again_makes_the_same_notifications() {
        for news in every_event() {
            let (first, again) = (told_by(&news), told_by(&news));
            assert_eq!(first, again);
            let ids: BTreeSet<_> = first.iter().map(|telling| telling.id).collect();
            assert_eq!(ids.len(), first.len(), "buyer and seller have their own");
        }
    }

    #[test]
    fn an_order_that_is_not_there_is_still_told_of() {
        for news in every_event() {
            if order_to_look_up(&news.event).is_none() {
                continue;
            }
            for telling in tellings(&news, None, zone()) {
                for language in Language::ALL {
                    let content = telling.notification(language).unwrap().message.content;
                    assert!(!content.contains("「") && !content.contains("“"), "{content}");
                    assert!(!content.contains("0.00"), "{content}");
                }
            }
        }
    }

    #[test]
    fn a_request_is_passed_on_as_it_is() {
        let user = UserId::random();
        let news = announced(NotificationMessage::NotificationRequested {
            notification_uuid: NotificationId::random(),
            user_uuid: user,
            kind: NotificationKind::System,
            title: "维护".into(),
            content: "今晚维护".into(),
            related_id: None,
        });
        let told = told_by(&news);
        assert_eq!((told.len(), told[0].to), (1, user));
        for language in Language::ALL {
            let message = told[0].notification(language).unwrap().message;
            assert_eq!(
                (message.kind, message.title.as_str(), message.content.as_str()),
                (Kind::System, "维护", "今晚维护")
            );
        }
    }

    #[test]
    fn times_are_shown_in_the_configured_zone() {
        let expires_at = Timestamp::from_millis(1_767_225_600_000);
        let news = announced(OrderEvent::OrderCreated {
            order: order(),
            expires_at,
        });
        let content = told_by(&news)[0].notification(Language::Zh).unwrap().message.content;
        assert!(content.contains("01-01 08:00"), "{content}");
    }

    #[test]
    fn an_event_that_nobody_knows_is_refused() {
        let unknown = json!({
            "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1, "type": "OrderTeleported", "data": {},
        });
        assert!(serde_json::from_value::<Envelope<News>>(unknown).is_err());
    }
}
