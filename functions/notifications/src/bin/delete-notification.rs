//! `DELETE /api/notifications/{notification_id}`: the caller does not want to see one of his notifications any more.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::NotificationId;
use notifications::error::NotificationError;
use notifications::table::DeleteNotifications;
use notifications::view::NotificationView;

fn main() -> ExitCode {
    http_function::open(DeleteNotifications::from_env, delete_notification, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::DELETE],
            "/api/notifications/{notification_id}",
            "Delete a notification for good",
        )
        .for_users()
        .path::<NotificationId>("notification_id", "The notification")
        .ok::<Option<NotificationView>>("It is deleted; `data` is null")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such notification of yours."),
    );
}

async fn delete_notification(notifications: Arc<DeleteNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let id = call.path_parameter("notification_id")?;
    if !notifications.delete(user, id, call.now()).await? {
        return Err(NotificationError::NotFound);
    }
    Ok(Reply::ok("通知已删除", None::<NotificationView>)?)
}
