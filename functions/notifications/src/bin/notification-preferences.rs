//! `GET` and `PUT /api/notifications/preferences`: what the caller wants to be told, and how.
//!
//! What a `PUT` does not name stays. What becomes of his money stays in the list whatever he wants.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use notifications::error::NotificationError;
use notifications::preferences::Wish;
use notifications::table::ChangeInboxes;
use notifications::view::PreferencesView;

fn main() -> ExitCode {
    http_function::open(ChangeInboxes::from_env, notification_preferences, describe)
}

fn describe(api: &mut Api) {
    let path = "/api/notifications/preferences";
    api.add(
        operation([Method::GET], path, "What the caller wants to be told, and how")
            .for_users()
            .ok::<PreferencesView>("The preferences"),
    );
    api.add(
        operation([Method::PUT], path, "Change what one wants to be told")
            .details("What is not named stays.")
            .for_users()
            .body::<Wish>()
            .ok::<PreferencesView>("The preferences as they are now")
            .refuses(
                StatusCode::BAD_REQUEST,
                "`invalid-field`: `error.fields` names what is wrong. `transaction-notifications-stay`: \
                 `transaction.in_app` can not be turned off.",
            ),
    );
}

async fn notification_preferences(inboxes: Arc<ChangeInboxes>, call: Call) -> Result<Reply, NotificationError> {
    let user = call.user()?.id;
    if !call.changes_something() {
        let preferences = inboxes.find(user).await?.preferences;
        return Ok(Reply::ok("查询成功", PreferencesView::of(preferences))?);
    }
    let wish: Wish = call.json()?;
    let (inbox, ()) = inboxes
        .change::<_, NotificationError>(user, |inbox| {
            let granted = inbox.preferences.granting(wish)?;
            let next = (granted != inbox.preferences).then(|| inbox.preferring(granted));
            Ok((next, ()))
        })
        .await?;
    Ok(Reply::ok("通知设置已保存", PreferencesView::of(inbox.preferences))?)
}
