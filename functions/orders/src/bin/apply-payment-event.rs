//! `PaymentSucceeded`: pays the order, or, where it is paid or ended already, has the money sent back.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use contracts::{Envelope, PaymentEvent};
use kernel::Clock;
use orders::error::OrderError;
use orders::order::Payment;
use orders::table::WriteOrders;

struct Desk {
    orders: WriteOrders,
    clock: Clock,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            orders: WriteOrders::from_env(&cloud)?,
            clock: cloud.clock().clone(),
        })
    }
}

fn main() -> ExitCode {
    event_function::open_queue(Desk::from_env, apply_payment_event)
}

async fn apply_payment_event(desk: Arc<Desk>, event: Envelope<PaymentEvent>) -> Result<(), OrderError> {
    let PaymentEvent::PaymentSucceeded {
        payment_uuid,
        order_uuid,
        amount,
        method,
        paid_at,
        ..
    } = event.event
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
    desk.orders
        .change(order_uuid, |order| order.pay(payment, desk.clock.now()))
        .await?;
    Ok(())
}
