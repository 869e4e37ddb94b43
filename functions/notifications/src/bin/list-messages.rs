//! `GET /api/v1/user/message`: what the caller was told, newest first, as the front-end's page of messages reads it.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use notifications::error::NotificationError;
use notifications::inbox::Filter;
use notifications::table::ReadNotifications;
use notifications::view::MessagesView;

/// Messages on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 10;

fn main() -> ExitCode {
    http_function::open(ReadNotifications::from_env, list_messages, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/v1/user/message",
            "What the caller was told, for the page of messages",
        )
        .for_users()
        .paged(PAGE_SIZE)
        .bare::<MessagesView>(StatusCode::OK, "A page, newest first"),
    );
}

async fn list_messages(notifications: Arc<ReadNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let request = call.page(PAGE_SIZE)?;
    let inbox = notifications.inbox(user).await?;
    let page = notifications.page(&inbox, &Filter::default(), request).await?;
    Ok(Reply::bare(StatusCode::OK, MessagesView::of(page, &call))?)
}
