//! `GET /api/notifications/unread-count`: how much the caller has not read; with `type`, of that kind.
//!
//! One read of the inbox, however much was ever told.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use notifications::error::NotificationError;
use notifications::notification::Kind;
use notifications::table::ChangeInboxes;
use notifications::view::UnreadView;

fn main() -> ExitCode {
    http_function::open(ChangeInboxes::from_env, unread_count, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/notifications/unread-count",
            "How much the caller has not read",
        )
        .for_users()
        .query::<Kind>("type", "`unread_count` of this kind")
        .bare::<UnreadView>(StatusCode::OK, "The counts"),
    );
}

async fn unread_count(inboxes: Arc<ChangeInboxes>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let kind = call.query_parameter("type")?;
    let inbox = inboxes.find(user).await?;
    Ok(Reply::bare(StatusCode::OK, UnreadView::of(&inbox, kind))?)
}
