//! What OrderService asks SecurityService about an order before it is placed.

use std::fmt;
use std::str::FromStr;

use kernel::{BuyerId, Money, OrderId, SellerId};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// `POST /api/internal/security/assess-order`. What tells where an order goes comes as fingerprints only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderToAssess {
    /// The order about to be placed. Asking about it again answers the same.
    pub order_uuid: OrderId,
    /// Who buys.
    pub buyer_uuid: BuyerId,
    /// Who sells.
    pub seller_uuid: SellerId,
    /// What it costs, by ProductService's prices.
    #[schema(value_type = kernel::schema::Amount)]
    pub total_amount: Money,
    /// The phone it is delivered to.
    pub phone_fingerprint: Fingerprint,
    /// The address it is delivered to.
    pub address_fingerprint: Fingerprint,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderAssessment {
    /// What is to become of the order.
    pub decision: Decision,
    /// What is to become of the next orders if SecurityService then does not answer.
    pub when_unreachable: WhenUnreachable,
}

/// What an assessment decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is placed.
    Allow,
    /// It is placed, and administrators find it among the flagged ones.
    Warn,
    /// It is refused.
    Block,
}

impl Decision {
    /// From the mildest to the strictest.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Warn, Self::Block];

    /// The word in tables, answers and queries.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

impl FromStr for Decision {
    type Err = NotADecision;

    fn from_str(word: &str) -> Result<Self, NotADecision> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.word() == word)
            .ok_or(NotADecision)
    }
}

/// A word that is no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADecision;

impl fmt::Display for NotADecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be allow, warn or block")
    }
}

impl std::error::Error for NotADecision {}

/// What becomes of orders that nobody can assess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnreachable {
    /// They are placed: no policy insists.
    Allow,
    /// They are refused for the moment: a policy that blocks is fail-closed.
    Refuse,
}

impl FromStr for WhenUnreachable {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "allow" => Ok(Self::Allow),
            "refuse" => Ok(Self::Refuse),
            _ => Err("must be allow or refuse"),
        }
    }
}

/// What stands for a phone or an address: equal for equal ones, and telling nothing of them without the key it was made
/// with. 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = "^[0-9a-f]{32}$")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of these bytes of a keyed hash.
    #[must_use]
    pub fn of(hash: [u8; 16]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAFingerprint)
        }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAFingerprint;

impl fmt::Display for NotAFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be 32 hexadecimal digits")
    }
}

impl std::error::Error for NotAFingerprint {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_32_hexadecimal_digits() {
        let fingerprint = Fingerprint::of([0xa7; 16]);
        assert_eq!(fingerprint.as_str().parse(), Ok(fingerprint));
        for text in ["", "13800138000", &"A".repeat(32), &"a".repeat(33)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint), "{text}");
        }
    }
}
