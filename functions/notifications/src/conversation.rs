//! What open browsers and the push API say to each other, as JSON texts.

use http_function::{Problem, StatusCode};
use kernel::{NotificationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::view::NotificationView;

/// What a browser says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Request {
    /// It wants what it missed. Also its sign of life: whatever went wrong, this repairs it.
    Resume {
        /// The last notification that it saw, if any.
        #[serde(default)]
        last_id: Option<NotificationId>,
        /// Where the rest of a backlog begins, from [`Rest`].
        #[serde(default)]
        after: Option<Timestamp>,
    },
    /// A sign of life.
    Ping,
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// 400 with what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|error| {
            let message = r#"Send {"action": "resume", "last_id": <id or null>} or {"action": "ping"}."#;
            Problem::new(StatusCode::BAD_REQUEST, "invalid-message", message).field("message", error.to_string())
        })
    }
}

/// What a browser is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// A notification: a new one, or one of the backlog.
    Notification {
        /// As the list shows it.
        data: NotificationView,
    },
    /// The backlog, or a part of it, was sent.
    Resumed {
        /// How many notifications it was.
        count: usize,
        /// Whether there is more: `next` asks for it.
        more: bool,
        /// The request for the rest, to be sent back as it is.
        next: Option<Rest>,
        /// Whether older ones were left out, because nobody knows what the client has seen: it should load its list.
        cut: bool,
    },
    /// A sign of life.
    Pong,
}

impl Message {
    /// The text that is sent.
    ///
    /// # Errors
    /// 500 when it can not be written.
    pub fn text(&self) -> Result<String, Problem> {
        serde_json::to_string(self).map_err(Problem::internal)
    }
}

/// The request for the rest of a backlog.
#[derive(Debug, Serialize)]
pub struct Rest {
    action: &'static str,
    after: Timestamp,
}

impl Rest {
    /// The rest that begins here.
    #[must_use]
    pub fn from(after: Timestamp) -> Self {
        Self {
            action: "resume",
            after,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn browsers_resume_and_ping_and_everything_else_is_named() {
        let id = NotificationId::random();
        let resume = |last_id, after| Request::Resume { last_id, after };
        for (text, request) in [
            (json!({"action": "ping"}), Request::Ping),
            (json!({"action": "resume"}), resume(None, None)),
            (json!({"action": "resume", "last_id": null}), resume(None, None)),
            (
                json!({"action": "resume", "last_id": id, "more": 1}),
                resume(Some(id), None),
            ),
        ] {
            assert_eq!(Request::parse(&text.to_string()).unwrap(), request);
        }
        let rest = serde_json::to_string(&Rest::from(Timestamp::from_millis(7))).unwrap();
        assert_eq!(
            Request::parse(&rest).unwrap(),
            resume(None, Some(Timestamp::from_millis(7)))
        );
        for text in [
            "",
            "ping",
            "{}",
            "[]",
            r#"{"action": "shout"}"#,
            r#"{"action": "resume", "last_id": 7}"#,
        ] {
            assert_eq!(Request::parse(text).unwrap_err().kind(), "invalid-message", "{text}");
        }
    }

    #[test]
    fn what_browsers_are_told_says_its_type() {
        let resumed = Message::Resumed {
            count: 50,
            more: true,
            next: Some(Rest::from(Timestamp::from_millis(7))),
            cut: false,
        };
        let shown: serde_json::Value = serde_json::from_str(&resumed.text().unwrap()).unwrap();
        assert_eq!(
            shown,
            json!({"type": "resumed", "count": 50, "more": true, "next": {"action": "resume", "after": 7}, "cut": false})
        );
        assert_eq!(Message::Pong.text().unwrap(), r#"{"type":"pong"}"#);
    }
}
