//! What somebody wants to be told, and how. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::notification::Kind;

/// How somebody is told things of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// In his list of notifications. What is not there is told in no other way.
    pub in_app: bool,
    /// At once, in his open browsers.
    pub push: bool,
    /// By mail: only the few that matter are mailed at all.
    pub email: bool,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            in_app: true,
            push: true,
            email: true,
        }
    }
}

/// How somebody is told things of every kind. Whoever never said anything is told everything in every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preferences {
    /// About orders, payments and refunds.
    #[serde(default)]
    pub transaction: Channels,
    /// About the market itself.
    #[serde(default)]
    pub system: Channels,
    /// Offers.
    #[serde(default)]
    pub promotion: Channels,
}

/// Somebody does not want to see what becomes of his money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("notifications about orders, payments and refunds stay in the list")]
pub struct TransactionsStay;

/// What somebody changes of the channels of one kind; what he does not name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
pub struct ChannelsWish {
    in_app: Option<bool>,
    push: Option<bool>,
    email: Option<bool>,
}

/// What somebody changes of his preferences; what he does not name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[schema(as = PreferencesWish)]
pub struct Wish {
    #[schema(schema_with = transaction_channels)]
    transaction: Option<ChannelsWish>,
    system: Option<ChannelsWish>,
    promotion: Option<ChannelsWish>,
}

/// The same channels, of which one is never turned off.
fn transaction_channels() -> RefOr<Schema> {
    let flag = || ObjectBuilder::new().schema_type(Type::Boolean);
    let stays = flag()
        .enum_values(Some([true]))
        .description(Some("What becomes of his money stays in the list"));
    let channels = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("in_app", OneOfBuilder::new().item(stays).item(nothing()))
        .property("push", OneOfBuilder::new().item(flag()).item(nothing()))
        .property("email", OneOfBuilder::new().item(flag()).item(nothing()));
    RefOr::T(OneOfBuilder::new().item(channels).item(nothing()).build().into())
}

fn nothing() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Null)
}

impl Preferences {
    /// How things of this kind are told.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Channels {
        match kind {
            Kind::Transaction => self.transaction,
            Kind::System => self.system,
            Kind::Promotion => self.promotion,
        }
    }

    /// The preferences once the wish is granted.
    ///
    /// # Errors
    /// [`TransactionsStay`].
    pub fn granting(self, wish: Wish) -> Result<Self, TransactionsStay> {
        let channels = |now: Channels, wish: Option<ChannelsWish>| {
            let wish = wish.unwrap_or_default();
            Channels {
                in_app: wish.in_app.unwrap_or(now.in_app),
                push: wish.push.unwrap_or(now.push),
                email: wish.email.unwrap_or(now.email),
            }
        };
        let granted = Self {
            transaction: channels(self.transaction, wish.transaction),
            system: channels(self.system, wish.system),
            promotion: channels(self.promotion, wish.promotion),
        };
        if granted.transaction.in_app {
            Ok(granted)
        } else {
            Err(TransactionsStay)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_named_stays_and_transactions_stay_in_the_list() {
        let wish = |json| serde_json::from_value::<Wish>(json).unwrap();
        let quiet = Preferences::default()
            .granting(wish(
                json!({"promotion": {"in_app": false}, "transaction": {"email": false}}),
            ))
            .unwrap();
        assert_eq!(
            serde_json::to_value(quiet).unwrap(),
            json!({
                "transaction": {"in_app": true, "push": true, "email": false},
                "system": {"in_app": true, "push": true, "email": true},
                "promotion": {"in_app": false, "push": true, "email": true},
            })
        );
        assert_eq!(quiet.granting(wish(json!({}))), Ok(quiet));
        assert_eq!(
            quiet.granting(wish(json!({"transaction": {"in_app": false}}))),
            Err(TransactionsStay)
        );
        assert_eq!(quiet.of(Kind::Promotion), quiet.promotion);
    }
}
