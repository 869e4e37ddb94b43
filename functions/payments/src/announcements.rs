//! What a change of the tables of payments and refunds means to others. Pure: the same change always announces the same
//! events.

use contracts::payments::{PaymentEvent, RefundMessage, RefundReason, full_refund_id};
use contracts::{Envelope, Event};
use event_function::{Announcement, Change, EventError};
use kernel::Timestamp;
use uuid::Uuid;

use crate::payment::{Payment, State};
use crate::refund::{Refund, RefundStatus};
use crate::status::Status;
use crate::table::StreamRecord;

/// Topic of payment events.
const PAYMENT_EVENTS: &str = "PAYMENT_EVENTS_TOPIC";
/// Topic of refund requests and outcomes.
const REFUNDS: &str = "REFUNDS_TOPIC";

/// The announcements that a change amounts to.
///
/// # Errors
/// [`EventError`] when an image is neither a payment nor a refund.
pub fn of(change: &Change<StreamRecord>) -> Result<Vec<Announcement>, EventError> {
    match &change.after {
        // Nothing is ever deleted; if a person does it by hand, nobody is told.
        None => Ok(Vec::new()),
        Some(StreamRecord::Payment(record)) => {
            let payment = Payment::try_from((**record).clone())?;
            let before = match &change.before {
                Some(StreamRecord::Payment(record)) => Some(Payment::try_from((**record).clone())?.status()),
                _ => None,
            };
            of_payment(before, &payment)
        }
        Some(StreamRecord::Refund(record)) => {
            let before = match &change.before {
                Some(StreamRecord::Refund(record)) => Some(Refund::from((**record).clone()).status),
                _ => None,
            };
            of_refund(before, &Refund::from((**record).clone()))
        }
    }
}

/// What a change of a payment or a refund amounts to, and so on which topic it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// On the topic of payment events.
    Payment(PaymentEvent),
    /// On the topic of refunds.
    Refund(RefundMessage),
}

fn of_payment(before: Option<Status>, payment: &Payment) -> Result<Vec<Announcement>, EventError> {
    let at = payment.updated_at;
    let announcement = match payment_news(before, payment) {
        None => return Ok(Vec::new()),
        Some(News::Payment(event)) => announce(PAYMENT_EVENTS, payment.id.uuid(), at, event)?,
        Some(News::Refund(event)) => announce(REFUNDS, full_refund_id(payment.id).uuid(), at, event)?,
    };
    Ok(vec![announcement])
}

/// What others hear when a payment that had the status `before` becomes `payment`.
#[must_use]
pub fn payment_news(before: Option<Status>, payment: &Payment) -> Option<News> {
    if before == Some(payment.status()) {
        return None;
    }
    let (payment_uuid, order_uuid, user_uuid, amount) = (payment.id, payment.order, payment.user, payment.amount);
    match &payment.state {
        State::Created | State::Pending { .. } | State::Closed { .. } | State::Expired { .. } => None,
        State::Paid { receipt } => Some(News::Payment(PaymentEvent::PaymentSucceeded {
            payment_uuid,
            order_uuid,
            user_uuid,
            amount,
            method: payment.method,
            paid_at: receipt.paid_at,
        })),
        State::Failed => Some(News::Payment(PaymentEvent::PaymentFailed {
            payment_uuid,
            order_uuid,
            user_uuid,
            amount,
        })),
        State::Mismatch { .. } => Some(News::Payment(PaymentEvent::PaymentMismatched {
            payment_uuid,
            order_uuid,
            user_uuid,
        })),
        State::LatePaid { .. } => Some(News::Refund(RefundMessage::RefundRequested {
            refund_uuid: full_refund_id(payment_uuid),
            payment_uuid,
            order_uuid,
            amount,
            reason: RefundReason::PaidAfterClosing,
        })),
    }
}

fn of_refund(before: Option<RefundStatus>, refund: &Refund) -> Result<Vec<Announcement>, EventError> {
    refund_news(before, refund)
        .map(|event| announce(REFUNDS, refund.id.uuid(), refund.updated_at, event))
        .into_iter()
        .collect()
}

/// What others hear when a refund that had the status `before` becomes `refund`.
#[must_use]
pub fn refund_news(before: Option<RefundStatus>, refund: &Refund) -> Option<RefundMessage> {
    let succeeded = match refund.status {
        status if before == Some(status) => return None,
        RefundStatus::Requested | RefundStatus::Processing => return None,
        RefundStatus::Succeeded => true,
        RefundStatus::NeedsHuman => false,
    };
    Some(RefundMessage::RefundSettled {
        refund_uuid: refund.id,
        payment_uuid: refund.payment,
        order_uuid: refund.order,
        user_uuid: refund.user,
        amount: refund.amount,
        reason: refund.reason,
        succeeded,
    })
}

/// Each of these happens to its subject once, so the subject and the kind of event identify it.
fn announce(topic: &'static str, subject: Uuid, at: Timestamp, event: impl Event) -> Result<Announcement, EventError> {
    Announcement::on(topic, &Envelope::new(subject, "", at, event))
}
