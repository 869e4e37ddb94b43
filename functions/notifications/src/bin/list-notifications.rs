//! `GET /api/notifications`: what the caller was told, newest first, and how much of it he has not read.
//!
//! Filters: `type` (number or word), `read` (true or false), `unread_only`. One read of the inbox, which holds the counts,
//! and one query per kind of notification that has something to show.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, operation};
use notifications::error::NotificationError;
use notifications::inbox::Filter;
use notifications::notification::Kind;
use notifications::table::ReadNotifications;
use notifications::view::NotificationView;
use serde_json::json;

/// Notifications on a page, if nobody says otherwise.
const PAGE_SIZE: u32 = 10;

fn main() -> ExitCode {
    http_function::open(ReadNotifications::from_env, list_notifications, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/notifications",
            "What the caller was told, newest first",
        )
        .for_users()
        .query::<Kind>("type", "Only of this kind")
        .query::<bool>("read", "Only read ones, or only unread ones")
        .query::<bool>("unread_only", "Only unread ones, whatever `read` says")
        .paged(PAGE_SIZE)
        .list_with::<NotificationView, 1>(
            "A page, and how much of everything is unread",
            [("unread_count", <u64 as utoipa::PartialSchema>::schema())],
        ),
    );
}

async fn list_notifications(notifications: Arc<ReadNotifications>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    let request = call.page(PAGE_SIZE)?;
    let filter = Filter {
        kind: call.query_parameter("type")?,
        is_read: call.query_parameter::<Flag>("read")?.map(|Flag(flag)| flag),
        unread_only: call
            .query_parameter::<Flag>("unread_only")?
            .is_some_and(|Flag(flag)| flag),
    };

    let inbox = notifications.inbox(user).await?;
    let page = notifications.page(&inbox, &filter, request).await?;

    let shown = page
        .entries
        .iter()
        .map(|notification| NotificationView::of(notification.clone(), call.zone()))
        .collect();
    let unread_count = ("unread_count", json!(inbox.unread()));
    Ok(Reply::list_with(
        &call,
        "查询成功",
        &page.with_entries(shown),
        &[unread_count],
    )?)
}

/// Yes or no, in the spellings that clients use.
struct Flag(bool);

impl FromStr for Flag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err("must be true or false"),
        }
    }
}
