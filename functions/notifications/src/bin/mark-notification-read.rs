//! `POST`, `PUT` or `PATCH /api/notifications/{notification_id}/read`, and `GET /api/notifications/detail/{notification_id}`:
//! the caller has read one of his notifications.
//!
//! Repeating it changes nothing: the time of the first reading stays.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::NotificationId;
use notifications::error::NotificationError;
use notifications::table::MarkNotifications;
use notifications::view::NotificationView;

fn main() -> ExitCode {
    http_function::open(MarkNotifications::from_env, mark_notification_read, describe)
}

fn describe(api: &mut Api) {
    let marks = [Method::POST, Method::PUT, Method::PATCH];
    api.add(
        operation(
            marks,
            "/api/notifications/{notification_id}/read",
            "Mark a notification read",
        )
        .details("Repeating it changes nothing: the time of the first reading stays.")
        .for_users()
        .path::<NotificationId>("notification_id", "The notification")
        .ok::<NotificationView>("The notification as it is now")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such notification of yours."),
    );
    let path = "/api/notifications/detail/{notification_id}";
    api.add(
        operation([Method::GET], path, "Read a notification, and mark it read")
            .for_users()
            .path::<NotificationId>("notification_id", "The notification")
            .ok::<NotificationView>("The notification as it is now")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: no such notification of yours."),
    );
}

async fn mark_notification_read(notifications: Arc<MarkNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let id = call.path_parameter("notification_id")?;
    let read = notifications
        .mark_read(user, id, call.now())
        .await?
        .ok_or(NotificationError::NotFound)?;
    let message = if call.changes_something() {
        "通知已标记为已读"
    } else {
        "查询成功"
    };
    Ok(Reply::ok(message, NotificationView::of(read, call.zone()))?)
}
