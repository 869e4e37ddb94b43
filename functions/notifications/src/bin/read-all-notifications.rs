//! `POST`, `PUT` or `PATCH /api/notifications/read-all`: the caller has read everything; with `type`, everything of that
//! kind.
//!
//! One write of the inbox, however much is unread.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, operation};
use notifications::error::NotificationError;
use notifications::inbox::{Filter, Wanted};
use notifications::notification::Kind;
use notifications::table::ChangeInboxes;
use notifications::view::ReadAllView;

fn main() -> ExitCode {
    http_function::open(ChangeInboxes::from_env, read_all_notifications, describe)
}

fn describe(api: &mut Api) {
    let marks = [Method::POST, Method::PUT, Method::PATCH];
    api.add(
        operation(marks, "/api/notifications/read-all", "Mark everything read")
            .for_users()
            .query::<Kind>("type", "Only of this kind")
            .ok::<ReadAllView>("How many were unread, and how many of other kinds still are"),
    );
}

async fn read_all_notifications(inboxes: Arc<ChangeInboxes>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let kind: Option<Kind> = call.query_parameter("type")?;
    let those = Filter {
        kind,
        ..Filter::default()
    };
    let (inbox, updated) = inboxes
        .change::<_, NotificationError>(user, |inbox| {
            let unread = those.kinds().map(|kind| inbox.count(kind, Wanted::Unread)).sum::<u64>();
            Ok((inbox.reading_all(kind, call.now()), unread))
        })
        .await?;
    Ok(Reply::ok("全部标记为已读", ReadAllView::of(updated, &inbox))?)
}
