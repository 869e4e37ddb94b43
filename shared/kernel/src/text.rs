//! Text with a stated length.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Text of `MIN` to `MAX` characters (Unicode scalar values), counted without surrounding white space, which is cut off.
/// Control characters other than line breaks and tabs are refused: they come from no keyboard and break logs and pages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Shorter than allowed.
    #[error("must have at least {0} character(s)")]
    TooShort(usize),
    /// Longer than allowed.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// Contains a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> FromStr for Text<MIN, MAX> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let text = text.trim();
        match text.chars().count() {
            length if length < MIN => return Err(TextError::TooShort(MIN)),
            length if length > MAX => return Err(TextError::TooLong(MAX)),
            _ => {}
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(TextError::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<const MIN: usize, const MAX: usize> Deref for Text<MIN, MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows the length only: bounded text is mostly what people typed about themselves, and `Debug` ends up in logs.
impl<const MIN: usize, const MAX: usize> fmt::Debug for Text<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.0.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters_without_surrounding_space() {
        assert_eq!("  张三 ".parse::<Text<1, 2>>().unwrap().as_str(), "张三");
        assert_eq!("   ".parse::<Text<1, 2>>(), Err(TextError::TooShort(1)));
        assert_eq!("abc".parse::<Text<1, 2>>(), Err(TextError::TooLong(2)));
        assert_eq!("a\u{0}".parse::<Text<1, 9>>(), Err(TextError::ControlCharacter));
    }
}
