//! What a change of the orders table means to others. Pure: the same change always announces the same events.

use contracts::payments::RefundMessage;
use contracts::{Envelope, Event, OrderEvent};
use event_function::{Announcement, Change, EventError};

use crate::order::{Order, Refund, RefundOutcome, State};
use crate::status::Status;
use crate::table::OrderRecord;

/// Topic of order events.
const ORDER_EVENTS: &str = "ORDER_EVENTS_TOPIC";
/// Topic of refund requests and outcomes.
const REFUNDS: &str = "REFUNDS_TOPIC";

/// The announcements that a change amounts to.
///
/// # Errors
/// [`EventError`] when an image is no order.
pub fn of(change: &Change<OrderRecord>) -> Result<Vec<Announcement>, EventError> {
    let parse = |record: &Option<OrderRecord>| record.clone().map(Order::try_from).transpose();
    let (before, after) = (parse(&change.before)?, parse(&change.after)?);
    // Orders are never deleted; if a person does it by hand, nobody is told.
    let Some(order) = after else { return Ok(Vec::new()) };
    let mut announcements = Vec::new();
    for event in order_events(before.as_ref(), &order) {
        announcements.push(announce(ORDER_EVENTS, &order, event)?);
    }
    for refund in new_refunds(before.as_ref(), &order) {
        let envelope = Envelope::new(
            refund.refund_uuid.uuid(),
            "",
            order.updated_at,
            requested(&order, refund),
        );
        announcements.push(Announcement::on(REFUNDS, &envelope)?);
    }
    Ok(announcements)
}

/// An order's version tells its changes apart.
fn announce(topic: &'static str, order: &Order, event: impl Event) -> Result<Announcement, EventError> {
    Announcement::on(
        topic,
        &Envelope::new(order.id.uuid(), &order.version.to_string(), order.updated_at, event),
    )
}

/// What the topic of orders hears when `before` becomes `order`.
#[must_use]
pub fn order_events(before: Option<&Order>, order: &Order) -> Vec<OrderEvent> {
    let mut events = Vec::new();
    let summary = || order.summary();
    let moved = before.map(Order::status) != Some(order.status());
    match &order.state {
        State::PendingPayment { expires_at } if moved => {
            events.push(OrderEvent::OrderCreated {
                order: summary(),
                expires_at: *expires_at,
            });
        }
        State::Paid { paid, .. } if moved => {
            events.push(OrderEvent::OrderPaid {
                order: summary(),
                payment_uuid: paid.payment_uuid,
            });
        }
        State::Paid {
            reminded: true,
            completes_at,
            ..
        } if !before.is_some_and(is_reminded) => {
            events.push(OrderEvent::OrderCompletionDue {
                order: summary(),
                completes_at: *completes_at,
            });
        }
        State::Completed { paid, .. } if moved => {
            events.push(OrderEvent::OrderCompleted {
                order: summary(),
                payment_uuid: paid.payment_uuid,
                to_seller: order.kept(),
            });
        }
        State::Cancelled { paid, by, .. } if moved => events.push(OrderEvent::OrderCancelled {
            order: summary(),
            cancelled_by: *by,
            was_paid: paid.is_some(),
            to_buyer: before.map(Order::kept).unwrap_or_default(),
            products: order.reserved(),
        }),
        _ => {}
    }
    for refund in &order.refunds {
        let known = before
            .and_then(|before| refund_of(before, refund))
            .map(|refund| refund.outcome);
        let succeeded = match refund.outcome {
            RefundOutcome::Pending => continue,
            RefundOutcome::Succeeded => true,
            RefundOutcome::NeedsAttention => false,
        };
        if known != Some(refund.outcome) {
            events.push(OrderEvent::OrderRefundSettled {
                order: summary(),
                refund_uuid: refund.refund_uuid,
                amount: refund.amount,
                reason: refund.reason,
                succeeded,
            });
        }
    }
    events
}

/// The refunds that are asked for when `before` becomes `order`.
#[must_use]
pub fn refund_requests(before: Option<&Order>, order: &Order) -> Vec<RefundMessage> {
    new_refunds(before, order)
        .map(|refund| requested(order, refund))
        .collect()
}

fn requested(order: &Order, refund: &Refund) -> RefundMessage {
    RefundMessage::RefundRequested {
        refund_uuid: refund.refund_uuid,
        payment_uuid: refund.payment_uuid,
        order_uuid: order.id,
        amount: refund.amount,
        reason: refund.reason,
    }
}

fn is_reminded(order: &Order) -> bool {
    match order.state {
        State::Paid { reminded, .. } => reminded,
        _ => order.status() != Status::PendingPayment,
    }
}

fn refund_of<'a>(order: &'a Order, refund: &Refund) -> Option<&'a Refund> {
    order
        .refunds
        .iter()
        .find(|known| known.refund_uuid == refund.refund_uuid)
}

fn new_refunds<'a>(before: Option<&'a Order>, order: &'a Order) -> impl Iterator<Item = &'a Refund> {
    order
        .refunds
        .iter()
        .filter(move |refund| before.is_none_or(|before| refund_of(before, refund).is_none()))
}
