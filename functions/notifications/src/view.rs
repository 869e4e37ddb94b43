//! The JSON that leaves.

use http_function::{Call, PageLinks};
use kernel::{NotificationId, Page, UserId, Zone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::inbox::Inbox;
use crate::notification::{Kind, Notification, RelatedData};
use crate::preferences::{Channels, Preferences};

/// A notification, as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationView {
    id: NotificationId,
    notification_uuid: NotificationId,
    user_uuid: UserId,
    /// 0 transaction, 1 system, 2 promotion.
    #[serde(rename = "type")]
    #[schema(minimum = 0, maximum = 2)]
    kind: u8,
    type_display: &'static str,
    title: String,
    content: String,
    read: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    read_at: Option<String>,
    #[schema(required)]
    related_id: Option<String>,
    #[schema(required)]
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
            era: _,
            push: _,
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

/// How much is unread.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadView {
    code: u16,
    message: &'static str,
    unread_count: u64,
    data: UnreadDataView,
}

/// How much is unread, of each kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadDataView {
    total_unread: u64,
    by_type: UnreadByKindView,
}

/// How much is unread of each kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadByKindView {
    transaction: u64,
    system: u64,
    promotion: u64,
}

impl UnreadView {
    /// `unread_count` of the kind asked for, or of all; `data` of all in any case.
    #[must_use]
    pub fn of(inbox: &Inbox, asked: Option<Kind>) -> Self {
        let of_kind = |kind| inbox.tally(kind).unread;
        Self {
            code: 200,
            message: "查询成功",
            unread_count: asked.map_or_else(|| inbox.unread(), of_kind),
            data: UnreadDataView {
                total_unread: inbox.unread(),
                by_type: UnreadByKindView {
                    transaction: of_kind(Kind::Transaction),
                    system: of_kind(Kind::System),
                    promotion: of_kind(Kind::Promotion),
                },
            },
        }
    }
}

/// What became of reading everything.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadAllView {
    updated_count: u64,
    unread_count: u64,
}

impl ReadAllView {
    /// So many were unread; what of other kinds is unread still.
    #[must_use]
    pub fn of(updated: u64, inbox: &Inbox) -> Self {
        Self {
            updated_count: updated,
            unread_count: inbox.unread(),
        }
    }
}

/// What was told, in the shape of its own that the page of messages reads.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessagesView {
    links: PageLinks,
    count: usize,
    total_pages: usize,
    current_page: u32,
    results: Vec<MessageView>,
}

/// A notification on the page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    message_id: NotificationId,
    title: String,
    content: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl MessagesView {
    /// A page of what was told.
    #[must_use]
    pub fn of(page: Page<Notification>, call: &Call) -> Self {
        let message = |notification: Notification| MessageView {
            message_id: notification.id,
            title: notification.message.title,
            content: notification.message.content,
            created_at: call.zone().show(notification.created_at),
        };
        Self {
            links: PageLinks::of(&page, call),
            count: page.count,
            total_pages: page.total_pages(),
            current_page: page.request.number(),
            results: page.entries.into_iter().map(message).collect(),
        }
    }
}

/// What somebody wants to be told, and how.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreferencesView {
    transaction: ChannelsView,
    system: ChannelsView,
    promotion: ChannelsView,
}

/// How somebody is told things of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelsView {
    in_app: bool,
    push: bool,
    email: bool,
}

impl PreferencesView {
    /// The preferences as they are.
    #[must_use]
    pub fn of(preferences: Preferences) -> Self {
        let channels = |Channels { in_app, push, email }| ChannelsView { in_app, push, email };
        Self {
            transaction: channels(preferences.transaction),
            system: channels(preferences.system),
            promotion: channels(preferences.promotion),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::notification::{Message, id_of};

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
        let mut inbox = Inbox::new(UserId::random());
        for (n, kind) in [Kind::System, Kind::Transaction, Kind::System].into_iter().enumerate() {
            let id = id_of(kind, Timestamp::from_millis(1), &[&n.to_string()]);
            inbox = inbox.counting(id, kind).0;
        }
        let shown = serde_json::to_value(UnreadView::of(&inbox, Some(Kind::System))).unwrap();
        assert_eq!(
            shown,
            json!({
                "code": 200, "message": "查询成功", "unread_count": 2,
                "data": {"total_unread": 3, "by_type": {"transaction": 1, "system": 2, "promotion": 0}},
            })
        );
    }
}
