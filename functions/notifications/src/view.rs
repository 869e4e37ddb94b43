//! The JSON that leaves.

use kernel::{NotificationId, UserId, Zone};
use serde::Serialize;
use serde_json::{Value, json};

use crate::inbox::Unread;
use crate::notification::{Kind, Notification, RelatedData};

/// A notification, as its user sees it.
#[derive(Debug, Serialize)]
pub struct NotificationView {
    id: NotificationId,
    notification_uuid: NotificationId,
    user_uuid: UserId,
    #[serde(rename = "type")]
    kind: u8,
    type_display: &'static str,
    title: String,
    content: String,
    read: bool,
    created_at: String,
    read_at: Option<String>,
    related_id: Option<String>,
    related_data: Option<RelatedData>,
}

impl NotificationView {
    /// What the notification looks like from outside, in this zone's time.
    #[must_use]
    pub fn of(notification: Notification, zone: Zone) -> Self {
        let Notification {
            id,
            user,
            message,
            created_at,
            read_at,
        } = notification;
        Self {
            id,
            notification_uuid: id,
            user_uuid: user,
            kind: message.kind.number(),
            type_display: display(message.kind),
            title: message.title,
            content: message.content,
            read: read_at.is_some(),
            created_at: zone.show(created_at),
            read_at: read_at.map(|at| zone.show(at)),
            related_id: message.related_id,
            related_data: message.related_data,
        }
    }
}

fn display(kind: Kind) -> &'static str {
    match kind {
        Kind::Transaction => "交易通知",
        Kind::System => "系统通知",
        Kind::Promotion => "促销通知",
    }
}

/// How much is unread: `unread_count` of the kind asked for, or of all; `data` of all in any case.
#[must_use]
pub fn unread(unread: &Unread, asked: Option<Kind>) -> Value {
    json!({
        "code": 200,
        "message": "查询成功",
        "unread_count": asked.map_or_else(|| unread.total(), |kind| unread.of(kind)),
        "data": {
            "total_unread": unread.total(),
            "by_type": {
                "transaction": unread.of(Kind::Transaction),
                "system": unread.of(Kind::System),
                "promotion": unread.of(Kind::Promotion),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use kernel::Timestamp;

    use super::*;
    use crate::notification::Message;

    #[test]
    fn a_notification_has_every_member_of_the_contract() {
        let message = Message {
            kind: Kind::Transaction,
            title: "支付成功".into(),
            content: "¥19.90".into(),
            related_id: None,
            related_data: None,
        };
        let notification = Notification::new(
            NotificationId::random(),
            UserId::random(),
            message,
            Timestamp::from_millis(1_000),
        );
        let (id, user) = (notification.id.to_string(), notification.user.to_string());
        let shown = NotificationView::of(notification, "+08:00".parse().unwrap());
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            json!({
                "id": id, "notification_uuid": id, "user_uuid": user, "type": 0, "type_display": "交易通知",
                "title": "支付成功", "content": "¥19.90", "read": false,
                "created_at": "1970-01-01T08:00:01.000000+08:00", "read_at": null,
                "related_id": null, "related_data": null,
            })
        );
    }

    #[test]
    fn a_count_of_one_kind_still_tells_the_others() {
        let shown = super::unread(
            &Unread::count([Kind::System, Kind::Transaction, Kind::System]),
            Some(Kind::System),
        );
        assert_eq!(shown["unread_count"], 2);
        assert_eq!(
            shown["data"],
            json!({"total_unread": 3, "by_type": {"transaction": 1, "system": 2, "promotion": 0}})
        );
    }
}
