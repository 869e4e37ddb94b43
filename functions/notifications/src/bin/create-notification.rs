//! `POST /api/notifications` and `POST /api/internal/notifications/create`: a service has somebody told something.
//!
//! With an `Idempotency-Key`, asking again makes no second notification; a key belongs to the asking service and the user
//! told. Without one, each call makes a new notification.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Call, Reply};
use kernel::{NotificationId, UserId};
use notifications::error::NotificationError;
use notifications::notification::{Content, Kind, Message, Notification, RelatedData, RelatedId, Title};
use notifications::recipient;
use notifications::table::{AddNotifications, Added};
use notifications::view::NotificationView;
use serde::Deserialize;
use service_client::Services;

fn main() -> ExitCode {
    http_function::open(Office::from_env, create_notification)
}

struct Office {
    notifications: AddNotifications,
    services: Services,
}

impl Office {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: AddNotifications::from_env(&cloud)?,
            services: Services::from_env(&cloud).await?,
        })
    }
}

#[derive(Deserialize)]
struct Request {
    user_uuid: UserId,
    #[serde(rename = "type")]
    kind: Kind,
    title: Title,
    content: Content,
    related_id: Option<RelatedId>,
    related_data: Option<RelatedData>,
}

async fn create_notification(office: Arc<Office>, call: Call) -> Result<Reply, NotificationError> {
    // 1. Who asks, for what.
    let service = call.service()?;
    let request: Request = call.json()?;
    let (user, key) = (request.user_uuid, call.idempotency_key()?);

    // 2. Verify that the user exists (UserService).
    if !recipient::exists(&office.services, user).await? {
        return Err(NotificationError::UserNotFound);
    }

    // 3. Create the notification.
    let id = key.map_or_else(NotificationId::random, |key| {
        NotificationId::derived(&[service.as_str(), &user.to_string(), key.as_str()])
    });
    let message = Message {
        kind: request.kind,
        title: request.title.into_string(),
        content: request.content.into_string(),
        related_id: request.related_id.map(RelatedId::into_string),
        related_data: request.related_data,
    };
    let new = Notification::new(id, user, message, call.now());
    let notification = match office.notifications.add(&new).await? {
        Added::Now => new,
        Added::Before => match office.notifications.find(user, id).await? {
            Some(earlier) if earlier.message == new.message => earlier,
            Some(_) => return Err(NotificationError::KeyReused),
            None => return Err(NotificationError::NotFound),
        },
    };

    Ok(Reply::created(
        "通知创建成功",
        NotificationView::of(notification, call.zone()),
    )?)
}
