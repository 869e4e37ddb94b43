//! `GET /api/notifications/unread-count`: how much the caller has not read; with `type`, of that kind.
//!
//! The index `unread` holds unread notifications only, so this costs what is unread, not what was ever told.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Reply, StatusCode};
use notifications::error::NotificationError;
use notifications::table::CountUnread;
use notifications::view;

fn main() -> ExitCode {
    http_function::open(CountUnread::from_env, unread_count)
}

async fn unread_count(notifications: Arc<CountUnread>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let kind = call.query_parameter("type")?;
    let unread = notifications.count(user).await?;
    Ok(Reply::bare(StatusCode::OK, view::unread(&unread, kind))?)
}
