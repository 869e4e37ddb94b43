//! `GET /api/notifications/{notification_id}`: one of the caller's notifications. Looking at it does not mark it read.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::NotificationId;
use notifications::error::NotificationError;
use notifications::table::ReadNotification;
use notifications::view::NotificationView;

fn main() -> ExitCode {
    http_function::open(ReadNotification::from_env, get_notification, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/notifications/{notification_id}",
            "One of the caller's notifications",
        )
        .details("Looking at it does not mark it read.")
        .for_users()
        .path::<NotificationId>("notification_id", "The notification")
        .ok::<NotificationView>("The notification")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: no such notification of yours."),
    );
}

async fn get_notification(notifications: Arc<ReadNotification>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let id = call.path_parameter("notification_id")?;
    let found = notifications.find(user, id).await?.ok_or(NotificationError::NotFound)?;
    Ok(Reply::ok("查询成功", NotificationView::of(found, call.zone()))?)
}
