//! Who is who: the UUIDs that rows of the older systems have here.
//!
//! No map from the older integers to UUIDs exists, so they are derived: a second run, and a URL with an older integer, find
//! the same thing. The split services had UUIDs of their own, which stay.

use uuid::Uuid;

/// Root of every id that is derived from an integer of the monolith.
const NAMESPACE: Uuid = Uuid::from_u128(0x0c1d_5e2a_94b7_4f0e_8d66_3a7f_c1b0_9e52);

/// What rows of the older systems stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// `user`.
    User,
    /// `product`.
    Product,
    /// `order`, with its items and payments.
    Order,
    /// `order_item`.
    OrderItem,
    /// `payment`.
    Payment,
    /// `notification`.
    Notification,
    /// `user_messages`: a message of the market, as one user got it.
    UserMessage,
    /// `collection`: a user keeps an eye on a product.
    Collection,
    /// `security_policy`.
    SecurityPolicy,
    /// `risk_assessment`.
    RiskAssessment,
    /// `product_review`.
    ProductReview,
}

impl Entity {
    /// Every entity.
    pub const ALL: [Self; 11] = [
        Self::User,
        Self::Product,
        Self::Order,
        Self::OrderItem,
        Self::Payment,
        Self::Notification,
        Self::UserMessage,
        Self::Collection,
        Self::SecurityPolicy,
        Self::RiskAssessment,
        Self::ProductReview,
    ];

    /// Its table in the older systems.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Product => "product",
            Self::Order => "order",
            Self::OrderItem => "order_item",
            Self::Payment => "payment",
            Self::Notification => "notification",
            Self::UserMessage => "user_messages",
            Self::Collection => "collection",
            Self::SecurityPolicy => "security_policy",
            Self::RiskAssessment => "risk_assessment",
            Self::ProductReview => "product_review",
        }
    }

    /// The UUID of the row with this integer: version 5 of the name `<table>:<id>`.
    #[must_use]
    pub fn uuid(self, id: u64) -> Uuid {
        Uuid::new_v5(&NAMESPACE, format!("{}:{id}", self.table()).as_bytes())
    }
}

/// A UUID of the split services: 32 hexadecimal digits on MySQL, with dashes on MariaDB.
#[must_use]
pub fn given(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.trim()).ok().filter(|uuid| !uuid.is_nil())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_never_changes() {
        let shown = |entity: Entity, id| entity.uuid(id).to_string();
        assert_eq!(shown(Entity::Order, 123), Entity::Order.uuid(123).to_string());
        assert_eq!(
            [shown(Entity::User, 1), shown(Entity::Order, 1)],
            [
                "62f8a6cd-66e3-59dd-8898-3543c5f96421",
                "565ab5c0-59e1-5e2a-8123-78d465a3f011"
            ]
        );
    }

    #[test]
    fn both_spellings_of_a_uuid_are_one() {
        let uuid = given("0c1d5e2a94b74f0e8d663a7fc1b09e52");
        assert!(uuid.is_some());
        assert_eq!(uuid, given("0C1D5E2A-94B7-4F0E-8D66-3A7FC1B09E52"));
        for text in ["", "x", "123", "00000000000000000000000000000000"] {
            assert_eq!(given(text), None, "{text}");
        }
    }

    proptest! {
        /// Different rows are different things, whatever their tables and integers; the same row is always the same thing.
        #[test]
        fn the_map_is_one_to_one(a in any::<u64>(), b in any::<u64>(), s in 0..Entity::ALL.len(), t in 0..Entity::ALL.len()) {
            let (one, other) = (Entity::ALL[s], Entity::ALL[t]);
            prop_assert_eq!(one.uuid(a) == other.uuid(b), (one, a) == (other, b));
            prop_assert_eq!(one.uuid(a).get_version_num(), 5);
            prop_assert_eq!(given(&one.uuid(a).simple().to_string()), Some(one.uuid(a)));
        }
    }
}
