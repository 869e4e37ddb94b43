//! Events of orders, payments and refunds, and requests of other services: whoever they concern is told.
//!
//! Who is told what is in `wording.rs`. A notification's id comes from its event, so an event that comes again adds nothing.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::Delivery;
use kernel::Zone;
use notifications::error::NotificationError;
use notifications::news::News;
use notifications::recipient::Recipients;
use notifications::table::{Added, DeliverNotifications};
use notifications::wording::What;
use notifications::{orders, wording};
use service_client::Services;

fn main() -> ExitCode {
    event_function::open_queue(Office::from_env, notify_people)
}

struct Office {
    notifications: DeliverNotifications,
    services: Services,
    recipients: Recipients,
    zone: Zone,
}

impl Office {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let services = Services::from_env(&cloud).await?;
        Ok(Self {
            notifications: DeliverNotifications::from_env(&cloud)?,
            recipients: Recipients::new(services.clone()),
            services,
            zone: cloud.settings().parsed("DISPLAY_UTC_OFFSET")?,
        })
    }
}

async fn notify_people(office: Arc<Office>, delivery: Delivery<News>) -> Result<(), NotificationError> {
    let news = delivery.event;
    let order = match wording::order_to_look_up(&news.event) {
        Some(order) => orders::find(&office.services, order).await?,
        None => None,
    };
    for telling in wording::tellings(&news, order.as_ref(), office.zone) {
        let user = telling.to;
        let language = match (office.recipients.language(user, delivery.now).await?, &telling.what) {
            (Some(language), _) => language,
            // Buyers and sellers have shown their tokens when they traded; whom a request names nobody has seen yet.
            (None, What::Notice(_)) => Default::default(),
            (None, What::Given(_)) => {
                tracing::warn!(event_id = %news.event_id, %user, "nobody is there to be notified");
                continue;
            }
        };
        match office.notifications.add(&telling.notification(language)?).await? {
            Added::Now(_) => {}
            Added::Before => tracing::info!(event_id = %news.event_id, %user, "was notified before"),
            Added::Unwanted => tracing::info!(event_id = %news.event_id, %user, "does not want to be notified"),
        }
    }
    Ok(())
}
