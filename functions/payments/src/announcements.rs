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

fn of_payment(before: Option<Status>, payment: &Payment) -> Result<Vec<Announcement>, EventError> {
    if before == Some(payment.status()) {
        return Ok(Vec::new());
    }
    let (id, order_uuid, user_uuid, amount) = (payment.id, payment.order, payment.user, payment.amount);
    let announcement = match &payment.state {
        State::Created | State::Pending { .. } | State::Closed { .. } | State::Expired { .. } => {
            return Ok(Vec::new());
        }
        State::Paid { receipt } => {
            let event = PaymentEvent::PaymentSucceeded {
                payment_uuid: id,
                order_uuid,
                user_uuid,
                amount,
                method: payment.method,
                paid_at: receipt.paid_at,
            };
            announce(PAYMENT_EVENTS, id.uuid(), payment.updated_at, event)?
        }
        State::Failed => {
            let event = PaymentEvent::PaymentFailed {
                payment_uuid: id,
                order_uuid,
                user_uuid,
                amount,
            };
            announce(PAYMENT_EVENTS, id.uuid(), payment.updated_at, event)?
        }
        State::Mismatch { .. } => {
            let event = PaymentEvent::PaymentMismatched {
                payment_uuid: id,
                order_uuid,
                user_uuid,
            };
            announce(PAYMENT_EVENTS, id.uuid(), payment.updated_at, event)?
        }
        State::LatePaid { .. } => {
            let refund_uuid = full_refund_id(id);
            let event = RefundMessage::RefundRequested {
                refund_uuid,
                payment_uuid: id,
                order_uuid,
                amount,
                reason: RefundReason::PaidAfterClosing,
            };
            announce(REFUNDS, refund_uuid.uuid(), payment.updated_at, event)?
        }
    };
    Ok(vec![announcement])
}

fn of_refund(before: Option<RefundStatus>, refund: &Refund) -> Result<Vec<Announcement>, EventError> {
    let succeeded = match refund.status {
        status if before == Some(status) => return Ok(Vec::new()),
        RefundStatus::Requested | RefundStatus::Processing => return Ok(Vec::new()),
        RefundStatus::Succeeded => true,
        RefundStatus::NeedsHuman => false,
    };
    let event = RefundMessage::RefundSettled {
        refund_uuid: refund.id,
        payment_uuid: refund.payment,
        order_uuid: refund.order,
        user_uuid: refund.user,
        amount: refund.amount,
        reason: refund.reason,
        succeeded,
    };
    Ok(vec![announce(REFUNDS, refund.id.uuid(), refund.updated_at, event)?])
}

/// Each of these happens to its subject once, so the subject and the kind of event identify it.
fn announce(topic: &'static str, subject: Uuid, at: Timestamp, event: impl Event) -> Result<Announcement, EventError> {
    Announcement::on(topic, &Envelope::new(subject, "", at, event))
}
