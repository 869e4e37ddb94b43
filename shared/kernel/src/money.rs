//! Money in integer fen, and its decimal text at the edges.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::Quantity;

/// An amount of renminbi in fen (1/100 yuan), never negative, at most [`Money::MAX`].
///
/// In JSON it is written as text with two decimals (`"19.90"`) and read from text or from a number, digit by digit: no
/// binary fraction ever touches it. Tables store whole fen: see [`fen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not of the form `digits[.digits]`.
    #[error("must be an amount of money such as \"19.90\"")]
    NotDecimal,
    /// More than two decimals.
    #[error("must have at most two decimals")]
    TooPrecise,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// Zero where something has to be paid.
    #[error("must be more than 0.00")]
    Zero,
    /// Above [`Money::MAX`].
    #[error("must be at most 99999999.99")]
    TooLarge,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount the contract knows: 99999999.99 yuan.
    pub const MAX: Self = Self(9_999_999_999);

    /// An amount of `fen`.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] and [`MoneyError::TooLarge`].
    pub fn from_fen(fen: i64) -> Result<Self, MoneyError> {
        match fen {
            ..0 => Err(MoneyError::Negative),
            fen if fen > Self::MAX.0 => Err(MoneyError::TooLarge),
            fen => Ok(Self(fen)),
        }
    }

    /// The amount in fen.
    #[must_use]
    pub fn fen(self) -> i64 {
        self.0
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The amount itself, if there is any: prices and payments are never zero.
    ///
    /// # Errors
    /// [`MoneyError::Zero`].
    pub fn positive(self) -> Result<Self, MoneyError> {
        if self.is_zero() {
            Err(MoneyError::Zero)
        } else {
            Ok(self)
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_add(other.0)
            .ok_or(MoneyError::TooLarge)
            .and_then(Self::from_fen)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] when `other` is larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(other.0)
            .ok_or(MoneyError::Negative)
            .and_then(Self::from_fen)
    }

    /// The price of `quantity` pieces.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn times(self, quantity: Quantity) -> Result<Self, MoneyError> {
        self.0
            .checked_mul(i64::from(quantity.get()))
            .ok_or(MoneyError::TooLarge)
            .and_then(Self::from_fen)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        if let Some(rest) = text.strip_prefix('-') {
            return match rest.parse::<Self>() {
                Ok(Self(0)) => Err(MoneyError::NotDecimal),
                Ok(_) | Err(MoneyError::TooLarge) => Err(MoneyError::Negative),
                Err(other) => Err(other),
            };
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(MoneyError::NotDecimal),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(MoneyError::NotDecimal);
        }
        // "19.900" is the same amount as "19.90"; "19.901" is not an amount at all.
        if fraction.len() > 2 && fraction.bytes().skip(2).any(|digit| digit != b'0') {
            return Err(MoneyError::TooPrecise);
        }
        let cents: String = fraction.chars().chain("00".chars()).take(2).collect();
        let significant = whole.trim_start_matches('0');
        if significant.len() > 8 {
            return Err(MoneyError::TooLarge);
        }
        format!("0{significant}{cents}")
            .parse::<i64>()
            .map_err(|_| MoneyError::TooLarge)
            .and_then(Self::from_fen)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Reads JSON text or a JSON number. Needs a JSON deserialiser, because the number's own digits are read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let json = raw.get();
        if json.starts_with('"') {
            let text: String = serde_json::from_str(json).map_err(de::Error::custom)?;
            return text.parse().map_err(de::Error::custom);
        }
        if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return json.parse().map_err(de::Error::custom);
        }
        Err(de::Error::custom(MoneyError::NotDecimal))
    }
}

/// `#[serde(with = "kernel::money::fen")]`: money as whole fen, the form in which tables store it, sort and add.
pub mod fen {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Money;

    /// Writes whole fen.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(money.fen())
    }

    /// Reads whole fen.
    ///
    /// # Errors
    /// Refuses what is not an amount of money.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        Money::from_fen(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_one_amount_is_the_same_amount() {
        for json in ["\"19.9\"", "\"19.90\"", "19.9", "19.90", "\"0019.900\""] {
            assert_eq!(serde_json::from_str::<Money>(json).unwrap(), Money(1990), "{json}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_its_reason() {
        for (json, reason) in [
            ("\"0.004\"", MoneyError::TooPrecise),
            ("19.900000000000000001", MoneyError::TooPrecise),
            ("-1", MoneyError::Negative),
            ("\"-0.01\"", MoneyError::Negative),
            ("\"-99999999999\"", MoneyError::Negative),
            ("100000000", MoneyError::TooLarge),
            ("\"99999999999999999999999999\"", MoneyError::TooLarge),
            ("1e3", MoneyError::NotDecimal),
            ("\"\"", MoneyError::NotDecimal),
            ("\"1.\"", MoneyError::NotDecimal),
            ("\".5\"", MoneyError::NotDecimal),
            ("\"１９\"", MoneyError::NotDecimal),
            ("\"+1\"", MoneyError::NotDecimal),
            ("\" 1\"", MoneyError::NotDecimal),
            ("true", MoneyError::NotDecimal),
            ("null", MoneyError::NotDecimal),
            ("[1]", MoneyError::NotDecimal),
        ] {
            let error = serde_json::from_str::<Money>(json).unwrap_err().to_string();
            assert!(error.starts_with(&reason.to_string()), "{json}: {error}");
        }
        assert_eq!(Money::ZERO.positive(), Err(MoneyError::Zero));
    }

    proptest! {
        #[test]
        fn text_and_fen_are_two_views_of_one_amount(fen in 0..=Money::MAX.0) {
            let money = Money::from_fen(fen).unwrap();
            prop_assert_eq!(money.to_string().parse::<Money>().unwrap(), money);
            let json = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }

        #[test]
        fn parsing_never_panics_and_never_invents_money(text in "\\PC{0,24}") {
            if let Ok(money) = text.parse::<Money>() {
                let digits = text.trim_start_matches('0');
                let shown = money.to_string();
                let shown = shown.trim_start_matches('0').trim_end_matches('0').trim_end_matches('.');
                let fraction_free = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
                prop_assert_eq!(fraction_free, shown);
            }
        }

        #[test]
        fn adding_and_taking_away_again_is_nothing(a in 0..=Money::MAX.0, b in 0..=Money::MAX.0) {
            let (a, b) = (Money::from_fen(a).unwrap(), Money::from_fen(b).unwrap());
            match a.checked_add(b) {
                Ok(sum) => prop_assert_eq!(sum.checked_sub(b).unwrap(), a),
                Err(error) => prop_assert_eq!(error, MoneyError::TooLarge),
            }
        }
    }
}
