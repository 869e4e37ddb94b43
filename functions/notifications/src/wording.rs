//! Who is told what about which event: the whole of it, in one exhaustive match, and every sentence in this file.
//!
//! `docs/notifications.md` shows the same as a table; a test holds the two together.

use contracts::orders::{CancelledBy, OrderSummary};
use contracts::payments::RefundReason;
use contracts::{Envelope, NotificationMessage, OrderEvent, PaymentEvent, RefundMessage};
use kernel::{NotificationId, OrderId, Timestamp, UserId, Zone};
use serde_json::{Map, Value};

use crate::news::News;
use crate::notification::{Kind, Message, Notification, RelatedData};

/// A headline and a text for one person.
struct Notice {
    to: UserId,
    title: &'static str,
    content: String,
}

fn notice(to: impl Into<UserId>, title: &'static str, content: String) -> Notice {
    Notice {
        to: to.into(),
        title,
        content,
    }
}

/// The notifications that an event amounts to. The same event, announced again, amounts to notifications of the same ids.
#[must_use]
pub fn notifications(news: &Envelope<News>, zone: Zone) -> Vec<Notification> {
    match &news.event {
        News::Order(event) => {
            let (order, notices) = about_order(event, zone);
            told(news, order.order_uuid, notices)
        }
        News::Payment(event) => {
            about_payment(event).map_or_else(Vec::new, |(order, notice)| told(news, order, vec![notice]))
        }
        News::Refund(event) => {
            about_refund(event).map_or_else(Vec::new, |(order, notice)| told(news, order, vec![notice]))
        }
        News::Request(NotificationMessage::NotificationRequested {
            notification_uuid,
            user_uuid,
            kind,
            title,
            content,
            related_id,
        }) => {
            let message = Message {
                kind: Kind::from(*kind),
                title: title.clone(),
                content: content.clone(),
                related_id: related_id.clone(),
                related_data: None,
            };
            vec![Notification::new(
                *notification_uuid,
                *user_uuid,
                message,
                news.occurred_at,
            )]
        }
    }
}

fn told(news: &Envelope<News>, order: OrderId, notices: Vec<Notice>) -> Vec<Notification> {
    let notification = |notice: Notice| {
        let id = NotificationId::derived(&[&news.event_id.to_string(), &notice.to.to_string()]);
        let order = order.to_string();
        let facts = Map::from_iter([("order_uuid".to_owned(), Value::String(order.clone()))]);
        let message = Message {
            kind: Kind::Transaction,
            title: notice.title.to_owned(),
            content: notice.content,
            related_id: Some(order),
            related_data: RelatedData::try_from(facts).ok(),
        };
        Notification::new(id, notice.to, message, news.occurred_at)
    };
    notices.into_iter().map(notification).collect()
}

fn about_order(event: &OrderEvent, zone: Zone) -> (&OrderSummary, Vec<Notice>) {
    match event {
        OrderEvent::OrderCreated { order, expires_at } => {
            let (what, total, until) = (what(order), order.total, moment(*expires_at, zone));
            let to_buyer = format!("您已下单{what}，金额 ¥{total}。请在 {until} 前完成支付，逾期订单将自动取消。");
            let to_seller = format!("您的{what}已被下单，金额 ¥{total}，正在等待买家付款。");
            both(order, ("订单已提交", to_buyer), ("您有新的订单", to_seller))
        }
        OrderEvent::OrderPaid { order, payment_uuid: _ } => {
            let (what, total) = (what(order), order.total);
            let to_buyer = format!("您已为{what}支付 ¥{total}。收到商品后请确认收货。");
            let to_seller = format!("买家已为{what}支付 ¥{total}，请尽快交付商品。买家确认收货后款项归您。");
            both(order, ("支付成功", to_buyer), ("买家已付款", to_seller))
        }
        OrderEvent::OrderCompletionDue { order, completes_at } => {
            let (what, total, when) = (what(order), order.total, moment(*completes_at, zone));
            let to_buyer = format!("{what}（¥{total}）将在 {when} 自动确认收货。如未收到商品，请在此之前取消订单。");
            (order, vec![notice(order.buyer_uuid, "即将自动确认收货", to_buyer)])
        }
        OrderEvent::OrderCompleted {
            order,
            payment_uuid: _,
            to_seller: income,
        } => {
            let (what, total) = (what(order), order.total);
            let to_buyer = format!("{what}的订单已完成，金额 ¥{total}。");
            let to_seller = format!("{what}的订单已完成，¥{income} 归您所有。");
            both(order, ("交易完成", to_buyer), ("交易完成", to_seller))
        }
        OrderEvent::OrderCancelled {
            order,
            cancelled_by,
            was_paid,
            to_buyer: returned,
            products: _,
        } => {
            let (what, total) = (what(order), order.total);
            let (as_buyer_sees, as_seller_sees) = match cancelled_by {
                CancelledBy::Buyer => ("您取消了", "买家取消了"),
                CancelledBy::Seller => ("卖家取消了", "您取消了"),
                CancelledBy::Service => ("平台取消了", "平台取消了"),
                CancelledBy::Timeout => ("因超时未付款，系统取消了", "因买家超时未付款，系统取消了"),
            };
            let (money_of_buyer, goods_of_seller) = if *was_paid {
                (
                    format!("已支付的 ¥{returned} 将原路退回。"),
                    format!("买家已支付的 ¥{returned} 将退回，请勿再交付；库存随即恢复。"),
                )
            } else {
                (
                    format!("订单金额 ¥{total} 尚未支付，无需退款。"),
                    format!("订单金额 ¥{total} 尚未支付；库存随即恢复。"),
                )
            };
            let to_buyer = format!("{as_buyer_sees}{what}的订单。{money_of_buyer}");
            let to_seller = format!("{as_seller_sees}{what}的订单。{goods_of_seller}");
            both(order, ("订单已取消", to_buyer), ("订单已取消", to_seller))
        }
        OrderEvent::OrderRefundSettled {
            order,
            refund_uuid: _,
            amount,
            reason: _,
            succeeded,
        } => {
            let what = what(order);
            let (title, to_buyer, to_seller) = if *succeeded {
                (
                    "退款成功",
                    format!("{what}的退款 ¥{amount} 已原路退回。"),
                    format!("{what}的 ¥{amount} 已退还买家。"),
                )
            } else {
                (
                    "退款待人工处理",
                    format!("{what}的退款 ¥{amount} 未能自动完成，工作人员正在处理，请您放心。"),
                    format!("{what}给买家的退款 ¥{amount} 未能自动完成，工作人员正在处理，您无需操作。"),
                )
            };
            both(order, (title, to_buyer), (title, to_seller))
        }
    }
}

fn about_payment(event: &PaymentEvent) -> Option<(OrderId, Notice)> {
    match event {
        // The order tells of it, once it is paid.
        PaymentEvent::PaymentSucceeded { .. } => None,
        PaymentEvent::PaymentFailed {
            payment_uuid: _,
            order_uuid,
            user_uuid,
            amount,
        } => {
            let content = format!("您的 ¥{amount} 支付未成功。订单仍为您保留，可在有效期内重新支付。");
            Some((*order_uuid, notice(*user_uuid, "支付失败", content)))
        }
        PaymentEvent::PaymentMismatched {
            payment_uuid: _,
            order_uuid,
            user_uuid,
        } => {
            let content = "收到的付款与订单不符，款项已妥善保管，工作人员核对后会尽快处理。".to_owned();
            Some((*order_uuid, notice(*user_uuid, "付款正在核对", content)))
        }
    }
}

fn about_refund(event: &RefundMessage) -> Option<(OrderId, Notice)> {
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
                let (title, content) = if *succeeded {
                    ("退款成功", format!("您在支付关闭之后支付的 ¥{amount} 已原路退回。"))
                } else {
                    (
                        "退款待人工处理",
                        format!("您在支付关闭之后支付的 ¥{amount} 未能自动退回，工作人员正在处理，请您放心。"),
                    )
                };
                Some((*order_uuid, notice(*user_uuid, title, content)))
            }
        },
    }
}

fn both<'a>(
    order: &'a OrderSummary,
    (buyers_title, to_buyer): (&'static str, String),
    (sellers_title, to_seller): (&'static str, String),
) -> (&'a OrderSummary, Vec<Notice>) {
    let to_buyer = notice(order.buyer_uuid, buyers_title, to_buyer);
    let to_seller = notice(order.seller_uuid, sellers_title, to_seller);
    (order, vec![to_buyer, to_seller])
}

/// What an order is about.
fn what(order: &OrderSummary) -> String {
    match order.product_count {
        0 | 1 => format!("「{}」", order.title),
        several => format!("「{}」等 {several} 种商品", order.title),
    }
}

/// A moment as people write it: month, day, hour and minute.
fn moment(at: Timestamp, zone: Zone) -> String {
    zone.show(at).get(5..16).unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use contracts::{Event, NotificationKind};
    use kernel::{BuyerId, Money, PaymentId, RefundId, SellerId};
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

    /// Fails to compile when an event is added, until somebody gives it a number and a sample below.
    fn position(news: &News) -> usize {
        match news {
            News::Order(OrderEvent::OrderCreated { .. }) => 0,
            News::Order(OrderEvent::OrderPaid { .. }) => 1,
            News::Order(OrderEvent::OrderCompletionDue { .. }) => 2,
            News::Order(OrderEvent::OrderCompleted { .. }) => 3,
            News::Order(OrderEvent::OrderCancelled { .. }) => 4,
            News::Order(OrderEvent::OrderRefundSettled { .. }) => 5,
            News::Payment(PaymentEvent::PaymentSucceeded { .. }) => 6,
            News::Payment(PaymentEvent::PaymentFailed { .. }) => 7,
            News::Payment(PaymentEvent::PaymentMismatched { .. }) => 8,
            News::Refund(RefundMessage::RefundRequested { .. }) => 9,
            News::Refund(RefundMessage::RefundSettled { .. }) => 10,
            News::Request(NotificationMessage::NotificationRequested { .. }) => 11,
        }
    }

    /// The name of an event, the event, and the titles for the buyer and the seller.
    type Sample = (&'static str, Envelope<News>, Option<&'static str>, Option<&'static str>);

    /// Every event in every shape that makes a difference.
    fn every_event() -> Vec<Sample> {
        let at = Timestamp::from_millis(1_767_225_600_000);
        let (payment_uuid, refund_uuid, amount) = (PaymentId::random(), RefundId::random(), order().total);
        let mut all = vec![
            (
                announced(OrderEvent::OrderCreated {
                    order: order(),
                    expires_at: at,
                }),
                Some("订单已提交"),
                Some("您有新的订单"),
            ),
            (
                announced(OrderEvent::OrderPaid {
                    order: order(),
                    payment_uuid,
                }),
                Some("支付成功"),
                Some("买家已付款"),
            ),
            (
                announced(OrderEvent::OrderCompletionDue {
                    order: order(),
                    completes_at: at,
                }),
                Some("即将自动确认收货"),
                None,
            ),
            (
                announced(OrderEvent::OrderCompleted {
                    order: order(),
                    payment_uuid,
                    to_seller: amount,
                }),
                Some("交易完成"),
                Some("交易完成"),
            ),
        ];
        for cancelled_by in [
            CancelledBy::Buyer,
            CancelledBy::Seller,
            CancelledBy::Service,
            CancelledBy::Timeout,
        ] {
            for was_paid in [false, true] {
                let event = OrderEvent::OrderCancelled {
                    order: order(),
                    cancelled_by,
                    was_paid,
                    to_buyer: amount,
                    products: vec![],
                };
                all.push((announced(event), Some("订单已取消"), Some("订单已取消")));
            }
        }
        for (succeeded, title) in [(true, "退款成功"), (false, "退款待人工处理")] {
            let event = OrderEvent::OrderRefundSettled {
                order: order(),
                refund_uuid,
                amount,
                reason: RefundReason::Requested,
                succeeded,
            };
            all.push((announced(event), Some(title), Some(title)));
            for (reason, is_told) in [
                (RefundReason::OrderCancelled, false),
                (RefundReason::PaidAfterCancellation, false),
                (RefundReason::PaidTwice, false),
                (RefundReason::PaidAfterClosing, true),
                (RefundReason::Requested, false),
            ] {
                let event = RefundMessage::RefundSettled {
                    refund_uuid,
                    payment_uuid,
                    order_uuid: OrderId::random(),
                    user_uuid: UserId::random(),
                    amount,
                    reason,
                    succeeded,
                };
                all.push((announced(event), is_told.then_some(title), None));
            }
        }
        let (order_uuid, user_uuid) = (OrderId::random(), UserId::random());
        let method = contracts::payments::PaymentMethod::Alipay;
        let paid = PaymentEvent::PaymentSucceeded {
            payment_uuid,
            order_uuid,
            user_uuid,
            amount,
            method,
            paid_at: at,
        };
        all.push((announced(paid), None, None));
        let failed = PaymentEvent::PaymentFailed {
            payment_uuid,
            order_uuid,
            user_uuid,
            amount,
        };
        all.push((announced(failed), Some("支付失败"), None));
        let mismatched = PaymentEvent::PaymentMismatched {
            payment_uuid,
            order_uuid,
            user_uuid,
        };
        all.push((announced(mismatched), Some("付款正在核对"), None));
        let reason = RefundReason::OrderCancelled;
        let wanted = RefundMessage::RefundRequested {
            refund_uuid,
            payment_uuid,
            order_uuid,
            amount,
            reason,
        };
        all.push((announced(wanted), None, None));
        all.into_iter()
            .map(|(news, buyer, seller)| {
                let name = match &news.event {
                    News::Order(event) => event.name(),
                    News::Payment(event) => event.name(),
                    News::Refund(event) => event.name(),
                    News::Request(event) => event.name(),
                };
                (name, news, buyer, seller)
            })
            .collect()
    }

    #[test]
    fn every_event_tells_whom_it_concerns_and_nobody_else() {
        let mut seen = vec![false; 12];
        seen[11] = true;
        for (name, news, to_buyer, to_seller) in every_event() {
            seen[position(&news.event)] = true;
            let told = notifications(&news, zone());
            let titles: Vec<&str> = told
                .iter()
                .map(|notification| notification.message.title.as_str())
                .collect();
            let expected: Vec<&str> = [to_buyer, to_seller].into_iter().flatten().collect();
            assert_eq!(titles, expected, "{news:?}");
            if let News::Order(event) = &news.event {
                let (order, _) = about_order(event, zone());
                assert_eq!(told[0].user, order.buyer_uuid.into());
                assert!(
                    told.iter()
                        .skip(1)
                        .all(|notification| notification.user == order.seller_uuid.into())
                );
                for notification in &told {
                    assert!(notification.message.content.contains("「台灯」"), "{name}");
                    assert!(notification.message.content.contains("¥19.90"), "{name}");
                    assert_eq!(notification.message.related_id, Some(order.order_uuid.to_string()));
                }
            }
        }
        assert_eq!(seen, [true; 12], "an event has no sample");
    }

    #[test]
    fn the_documented_table_names_every_event_and_every_title() {
        for (name, _, to_buyer, to_seller) in every_event() {
            let rows: Vec<&str> = TABLE
                .lines()
                .filter(|line| line.contains(&format!("`{name}`")))
                .collect();
            assert!(!rows.is_empty(), "{name} is not in docs/notifications.md");
            for title in [to_buyer, to_seller].into_iter().flatten() {
                assert!(
                    rows.iter().any(|row| row.contains(title)),
                    "{title} of {name} is not in docs/notifications.md"
                );
            }
        }
        assert!(TABLE.contains("`NotificationRequested`"));
    }

    #[test]
    fn an_event_that_comes_again_makes_the_same_notifications() {
        let news = announced(OrderEvent::OrderPaid {
            order: order(),
            payment_uuid: PaymentId::random(),
        });
        let (first, again) = (notifications(&news, zone()), notifications(&news, zone()));
        assert_eq!(first, again);
        assert_ne!(first[0].id, first[1].id, "buyer and seller have their own");
    }

    #[test]
    fn a_request_is_passed_on_as_it_is() {
        let (id, user) = (NotificationId::random(), UserId::random());
        let news = announced(NotificationMessage::NotificationRequested {
            notification_uuid: id,
            user_uuid: user,
            kind: NotificationKind::System,
            title: "维护".into(),
            content: "今晚维护".into(),
            related_id: None,
        });
        let told = notifications(&news, zone());
        assert_eq!((told.len(), told[0].id, told[0].user), (1, id, user));
        assert_eq!(
            (told[0].message.kind, told[0].message.title.as_str()),
            (Kind::System, "维护")
        );
    }

    #[test]
    fn times_are_shown_in_the_configured_zone_and_several_products_are_counted() {
        let expires_at = Timestamp::from_millis(1_767_225_600_000);
        let order = OrderSummary {
            product_count: 3,
            ..order()
        };
        let told = notifications(&announced(OrderEvent::OrderCreated { order, expires_at }), zone());
        assert!(
            told[0].message.content.contains("01-01 08:00"),
            "{}",
            told[0].message.content
        );
        assert!(told[0].message.content.contains("「台灯」等 3 种商品"));
    }

    #[test]
    fn an_event_that_nobody_knows_is_refused() {
        let unknown = json!({
            "event_id": uuid::Uuid::new_v4(), "version": 1, "occurred_at": 1, "type": "OrderTeleported", "data": {},
        });
        assert!(serde_json::from_value::<Envelope<News>>(unknown).is_err());
    }
}
