//! `POST /api/notifications` and `POST /api/internal/notifications/create`: a service has somebody told something.
//!
//! With an `Idempotency-Key`, asking again makes no second notification; a key belongs to the asking service and the user
//! told. Without one, each call makes a new notification. Who does not want to be told such things is not.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{UserId, derived_uuid};
use notifications::error::NotificationError;
use notifications::notification::{Content, Kind, Message, Notification, RelatedData, RelatedId, Title, id_of};
use notifications::recipient::Recipients;
use notifications::table::{AddNotifications, Requested};
use notifications::view::NotificationView;
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;
use uuid::Uuid;

fn main() -> ExitCode {
    http_function::open(Office::from_env, create_notification, describe)
}

fn describe(api: &mut Api) {
    for path in ["/api/notifications", "/api/internal/notifications/create"] {
        api.add(
            operation([Method::POST], path, "Have somebody told something")
                .details(
                    "Told, mailed or pushed as the user prefers; who does not want such notifications is not told.",
                )
                .for_services()
                .idempotent()
                .body::<NewNotification>()
                .created::<NotificationView>("The notification")
                .ok::<Option<NotificationView>>("The user does not want such notifications; nothing was created")
                .refuses(StatusCode::NOT_FOUND, "`user-not-found`: there is no such user.")
                .refuses(
                    StatusCode::CONFLICT,
                    "`idempotency-key-reused`: the key was used for another notification.",
                ),
        );
    }
}

struct Office {
    notifications: AddNotifications,
    recipients: Recipients,
}

impl Office {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            notifications: AddNotifications::from_env(&cloud)?,
            recipients: Recipients::new(Services::from_env(&cloud).await?),
        })
    }
}

#[derive(Deserialize, ToSchema)]
struct NewNotification {
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
    let request: NewNotification = call.json()?;
    let (user, key) = (request.user_uuid, call.idempotency_key()?);

    // 2. Verify that the user exists (UserService).
    if !office.recipients.exists(user).await? {
        return Err(NotificationError::UserNotFound);
    }

    // 3. Create the notification.
    let message = Message {
        kind: request.kind,
        title: request.title.into_string(),
        content: request.content.into_string(),
        related_id: request.related_id.map(RelatedId::into_string),
        related_data: request.related_data,
    };
    let id = id_of(message.kind, call.now(), &[&Uuid::new_v4().to_string()]);
    let new = Notification::new(id, user, message, call.now());
    let name = key.map(|key| derived_uuid("request", &[service.as_str(), key.as_str()]).to_string());
    let notification = match office.notifications.add(&new, name.as_deref()).await? {
        Requested::Now(new) => new,
        Requested::Before(Some(earlier)) if earlier.message == new.message => earlier,
        Requested::Before(Some(_)) => return Err(NotificationError::KeyReused),
        Requested::Before(None) => return Err(NotificationError::NotFound),
        Requested::Unwanted => return Ok(Reply::ok("用户已关闭此类通知", None::<NotificationView>)?),
    };

    Ok(Reply::created(
        "通知创建成功",
        NotificationView::of(notification, call.zone()),
    )?)
}
