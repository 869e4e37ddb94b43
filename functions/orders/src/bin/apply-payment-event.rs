//! `PaymentSucceeded`: pays the order, or, where it is paid or ended already, has the money sent back.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::PaymentEvent;
use event_function::Delivery;
use orders::error::OrderError;
use orders::order::Payment;
use orders::table::WriteOrders;

fn main() -> ExitCode {
    event_function::open_queue(async |cloud: Cloud| WriteOrders::from_env(&cloud), apply_payment_event)
}

async fn apply_payment_event(orders: Arc<WriteOrders>, delivery: Delivery<PaymentEvent>) -> Result<(), OrderError> {
    let PaymentEvent::PaymentSucceeded {
        payment_uuid,
        order_uuid,
        amount,
        method,
        paid_at,
        ..
    } = delivery.event.event
    else {
        // The subscription lets only successes through; what else is announced changes no order.
        return Ok(());
    };
    let payment = Payment {
        id: payment_uuid,
        amount,
        method,
        at: paid_at,
    };
    orders
        .change(order_uuid, |order| order.pay(payment, delivery.now))
        .await?;
    Ok(())
}
