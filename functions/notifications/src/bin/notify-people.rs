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
use notifications::table::{AddNotifications, Added};
use notifications::{recipient, wording};
use service_client::Services;

fn main() -> ExitCode {
    event_function::open_queue(Office::from_env, notify_people)
}

struct Office {
    notifications: AddNotifications,
    services: Services,
    zone: Zone,
}

impl Office {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: AddNotifications::from_env(&cloud)?,
            services: Services::from_env(&cloud).await?,
            zone: cloud.settings().parsed("DISPLAY_UTC_OFFSET")?,
        })
    }
}

async fn notify_people(office: Arc<Office>, delivery: Delivery<News>) -> Result<(), NotificationError> {
    let news = delivery.event;
    // Buyers and sellers have shown their tokens when they traded; whom a request names nobody has seen yet.
    let named_only = matches!(news.event, News::Request(_));
    for notification in wording::notifications(&news, office.zone) {
        let user = notification.user;
        if named_only && !recipient::exists(&office.services, user).await? {
            tracing::warn!(event_id = %news.event_id, %user, "nobody is there to be notified");
            continue;
        }
        match office.notifications.add(&notification).await? {
            Added::Now => {}
            Added::Before => tracing::info!(event_id = %news.event_id, %user, "was notified before"),
        }
    }
    Ok(())
}
