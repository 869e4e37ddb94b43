//! What an assessment looks at: everything that is known of the people in an order, at one time.
//!
//! The facts are kept with every assessment, so that other policies can be tried on them later.

use kernel::{Money, Timestamp};
use serde::{Deserialize, Serialize};

/// How far an order came. Later stages stand further down; what is heard late never takes an order back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Stage {
    /// It was assessed; whether it was placed is not known (yet).
    Attempted,
    /// It was placed.
    Placed,
    /// It was paid.
    Paid,
    /// The goods were received.
    Completed,
    /// The seller or a service called it off.
    Ended,
    /// The buyer called it off, or let it expire.
    CalledOff,
}

impl Stage {
    const ALL: [Self; 6] = [
        Self::Attempted,
        Self::Placed,
        Self::Paid,
        Self::Completed,
        Self::Ended,
        Self::CalledOff,
    ];

    /// Its place: a later stage has a higher one.
    #[must_use]
    pub fn number(self) -> u8 {
        self.into()
    }

    /// Whether the order is (or was until it completed) the buyer's for his money.
    #[must_use]
    pub fn is_bought(self) -> bool {
        matches!(self, Self::Paid | Self::Completed)
    }
}

impl From<Stage> for u8 {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Attempted => 0,
            Stage::Placed => 1,
            Stage::Paid => 2,
            Stage::Completed => 3,
            Stage::Ended => 4,
            Stage::CalledOff => 5,
        }
    }
}

impl TryFrom<u8> for Stage {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.number() == number)
            .ok_or_else(|| format!("{number} is no stage of an order"))
    }
}

/// Everything that is known, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When.
    pub at: Timestamp,
    /// What the order costs; `None` when a user is assessed and no order.
    #[serde(with = "optional_fen")]
    pub amount: Option<Money>,
    /// How long reading them took, in milliseconds.
    pub waited_ms: u32,
    /// The buyer; `None` when it could not be read.
    pub account: Option<Account>,
    /// The phone and the address; `None` when it could not be read.
    pub contact: Option<Contact>,
    /// The seller; `None` when it could not be read.
    pub counterpart: Option<Counterpart>,
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Seconds since he registered, or since he was first seen where that is not known.
    pub age_s: u64,
    /// Whether he ever paid for an order.
    pub has_bought: bool,
    /// His orders of late, without the one in question.
    pub orders: Vec<PastOrder>,
}

/// An earlier order of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOrder {
    /// Seconds since it was attempted.
    pub age_s: u64,
    /// What it cost.
    #[serde(with = "kernel::money::fen")]
    pub amount: Money,
    /// How far it came.
    pub stage: Stage,
    /// Whether `age_s` says when it was heard of, because it was never assessed and its placing was not heard of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard_late: bool,
    /// Whether it was of the seller in question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_seller: bool,
}

/// What is known of where an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contact {
    /// Accounts that ordered to the phone, this one included; counted up to [`MOST_ACCOUNTS`].
    pub phone_accounts: u32,
    /// Accounts that ordered to the address, this one included; counted up to [`MOST_ACCOUNTS`].
    pub address_accounts: u32,
    /// Whether the seller is one of the phone's.
    pub seller_shares_phone: bool,
    /// Whether the seller is one of the address's.
    pub seller_shares_address: bool,
}

/// More accounts are not told apart: whatever the threshold is, this is more.
pub const MOST_ACCOUNTS: u32 = 51;

/// What is known of the seller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counterpart {
    /// Seconds since each order that he placed with the buyer.
    pub orders_from_buyer_s: Vec<u64>,
}

/// Money as whole fen, or none.
mod optional_fen {
    use kernel::Money;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    // The signature is serde's.
    #[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
    pub(super) fn serialize<S: Serializer>(money: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
        money.map(Money::fen).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Money>, D::Error> {
        Option::<i64>::deserialize(deserializer)?
            .map(Money::from_fen)
            .transpose()
            .map_err(de::Error::custom)
    }
}
