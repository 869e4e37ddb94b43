//! `POST`, `PUT` or `PATCH /api/notifications/{notification_id}/read`: the caller has read one of his notifications.
//!
//! Repeating it changes nothing: the time of the first reading stays.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Reply};
use notifications::error::NotificationError;
use notifications::table::MarkNotifications;
use notifications::view::NotificationView;
use tables::TableError;

fn main() -> ExitCode {
    http_function::open(MarkNotifications::from_env, mark_notification_read)
}

async fn mark_notification_read(notifications: Arc<MarkNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let id = call.path_parameter("notification_id")?;

    let found = notifications.find(user, id).await?.ok_or(NotificationError::NotFound)?;
    let notification = match found.read(call.now()) {
        None => found,
        Some(read) => match notifications.mark_read(user, id, call.now()).await {
            Ok(()) => read,
            // Another window of the same user was faster, and its time counts.
            Err(TableError::ConditionFailed) => {
                notifications.find(user, id).await?.ok_or(NotificationError::NotFound)?
            }
            Err(error) => return Err(error.into()),
        },
    };

    Ok(Reply::ok(
        "通知已标记为已读",
        NotificationView::of(notification, call.zone()),
    )?)
}
