//! `DELETE /api/notifications/{notification_id}`: the caller does not want to see one of his notifications any more.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Reply};
use notifications::error::NotificationError;
use notifications::table::DeleteNotifications;
use notifications::view::NotificationView;

fn main() -> ExitCode {
    http_function::open(DeleteNotifications::from_env, delete_notification)
}

async fn delete_notification(notifications: Arc<DeleteNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let id = call.path_parameter("notification_id")?;
    if !notifications.delete(user, id, call.now()).await? {
        return Err(NotificationError::NotFound);
    }
    Ok(Reply::ok("通知已删除", None::<NotificationView>)?)
}
