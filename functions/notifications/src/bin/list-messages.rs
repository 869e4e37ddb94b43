//! `GET /api/v1/user/message`: what the caller was told, newest first, as the front-end's page of messages reads it.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Call, Reply, StatusCode};
use notifications::error::NotificationError;
use notifications::inbox::Filter;
use notifications::table::ReadNotifications;
use notifications::view::MessagesView;

/// Messages on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 10;

fn main() -> ExitCode {
    http_function::open(ReadNotifications::from_env, list_messages)
}

async fn list_messages(notifications: Arc<ReadNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let request = call.page(PAGE_SIZE)?;
    let inbox = notifications.inbox(user).await?;
    let page = notifications.page(&inbox, &Filter::default(), request).await?;
    Ok(Reply::bare(StatusCode::OK, MessagesView::of(page, &call))?)
}
