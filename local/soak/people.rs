//! The people of a soak: accounts, and pages that hear of news at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::SoakError;
use super::host::Host;
use crate::aws::mail::{Mail, captcha};
use crate::purchases::{Desk, Person};

/// Everyone's password.
const PASSWORD: &str = "cfmp-soak-1";
/// Pause before a page connects again.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// Everybody, by the name that is his alone.
pub(super) type People = BTreeMap<String, Person>;

/// The address of somebody with this name.
pub(super) fn email(name: &str) -> String {
    format!("{name}@cfmp.test")
}

/// Makes accounts for all of them.
pub(super) async fn register(host: &Host, names: BTreeSet<String>) -> Result<People, SoakError> {
    let mut people = People::new();
    for name in names {
        let email = email(&name);
        let session = host
            .with(async |operator| {
                let wish = json!({"scene": "register", "email": email});
                operator.post("/api/v1/captcha", &wish).await?;
                let mails = operator.get("/_local/mails").await?["mails"].take();
                let mails: Vec<Mail> = serde_json::from_value(mails).unwrap_or_default();
                let account = json!({
                    "username": name, "password": PASSWORD, "password_repeat": PASSWORD, "email": email,
                    "captcha": captcha(&mails, &email),
                });
                operator.post("/api/v1/auth/register", &account).await?;
                let log_in = json!({"email": email, "password": PASSWORD});
                operator.post("/api/v1/auth/login-with-password", &log_in).await
            })
            .await?;
        let id = serde_json::from_value(session["user_id"].clone()).map_err(super::host::HostError::from)?;
        people.insert(name.clone(), Person { id, name });
    }
    Ok(people)
}

/// Whom pages were shown which notification, by ids.
pub(super) type Shown = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Somebody has a page open, which connects again whenever it is cut off, until the handle is aborted.
pub(super) fn listen(desk: Arc<Desk>, url: String, person: Person, shown: Shown) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Ok(token) = desk.token(&person) {
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("token", &token)
                    .finish();
                if let Ok((mut socket, _)) = connect_async(format!("{url}?{query}")).await {
                    while let Some(Ok(message)) = socket.next().await {
                        let Message::Text(text) = message else { continue };
                        let told: Value = serde_json::from_str(&text).unwrap_or_default();
                        if let ("notification", Some(id)) =
                            (told["type"].as_str().unwrap_or_default(), told["data"]["id"].as_str())
                        {
                            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                            shown.insert((person.id.to_string(), id.to_owned()));
                        }
                    }
                }
            }
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
    })
}
