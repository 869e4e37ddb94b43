//! Events of orders: how far an order came is noted in its buyer's profile.
//!
//! Events come twice, late and out of order; what is known of an order only ever advances.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::OrderEvent;
use event_function::Delivery;
use security::error::SecurityError;
use security::profile::Lesson;
use security::table::Profiles;

fn main() -> ExitCode {
    event_function::open_queue(async |cloud: Cloud| Profiles::from_env(&cloud), learn_from_orders)
}

async fn learn_from_orders(profiles: Arc<Profiles>, delivery: Delivery<OrderEvent>) -> Result<(), SecurityError> {
    let event = delivery.event;
    if let Some(lesson) = Lesson::of(&event.event, event.occurred_at) {
        profiles.learn(&lesson).await?;
    }
    Ok(())
}
