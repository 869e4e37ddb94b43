//! Captchas: six digits that prove who reads a mailbox.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::{constant_time, rand};
use kernel::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::UserError;
use crate::email::Email;

/// How long a captcha can be used.
pub const VALID_FOR: Duration = Duration::from_secs(2 * 60);
/// An address is sent one captcha in this time.
pub const ONE_IN: Duration = Duration::from_secs(60);
/// How often a captcha may be tried. With six digits, five guesses find it once in 200 000 captchas.
pub const TRIES: u8 = 5;

/// Six random digits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(String);

/// What somebody says the code is: text, or a number as some clients send it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct GivenCode(String);

/// What a captcha is asked for. It is good for that only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// A new account.
    Register,
    /// Logging in without a password.
    Login,
    /// A forgotten password.
    Forget,
    /// Another address for an account.
    ChangeEmail,
    /// Another password for an account.
    ChangePassword,
}

/// The captcha that was sent to an address last.
#[derive(Debug, Clone)]
pub struct Captcha {
    /// The address.
    pub email: Email,
    /// What it is good for.
    pub scene: Scene,
    /// What was sent.
    pub code: Code,
    /// When.
    pub sent_at: Timestamp,
}

/// The machine has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("there are no random numbers")]
pub struct NoRandomness;

impl Captcha {
    /// A new captcha.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new(email: Email, scene: Scene, now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self {
            email,
            scene,
            code: Code::random()?,
            sent_at: now,
        })
    }

    /// Whether it can be tried at all: it is for this scene and still valid.
    ///
    /// # Errors
    /// [`UserError::CaptchaNotFound`], [`UserError::CaptchaExpired`].
    pub fn open_to_a_try(&self, scene: Scene, now: Timestamp) -> Result<(), UserError> {
        if self.scene != scene {
            return Err(UserError::CaptchaNotFound);
        }
        if now >= self.sent_at.plus(VALID_FOR) {
            return Err(UserError::CaptchaExpired);
        }
        Ok(())
    }

    /// Whole seconds until its address may be sent another one.
    #[must_use]
    pub fn wait_seconds(&self, now: Timestamp) -> u64 {
        self.sent_at
            .plus(ONE_IN)
            .since(now)
            .as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

impl Code {
    fn random() -> Result<Self, NoRandomness> {
        // Numbers beyond the last whole million would favour the small codes.
        let fair = u32::MAX - u32::MAX % 1_000_000;
        loop {
            let mut bytes = [0; 4];
            rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
            let number = u32::from_le_bytes(bytes);
            if number < fair {
                return Ok(Self(format!("{:06}", number % 1_000_000)));
            }
        }
    }

    /// Whether `given` is this code. How long it takes does not depend on how much of it is right.
    #[must_use]
    pub fn is(&self, given: &GivenCode) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), given.0.as_bytes()).is_ok()
    }

    /// The digits: for the mail and the table.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl GivenCode {
    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for GivenCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl de::Visitor<'_> for TextOrNumber {
            type Value = GivenCode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("six digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GivenCode, E> {
                match text.trim() {
                    text if text.len() > 32 => Err(E::custom("must be six digits")),
                    text => Ok(GivenCode(text.to_owned())),
                }
            }
            // A number has lost the zeros at its front.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<GivenCode, E> {
                Ok(GivenCode(format!("{number:06}")))
            }
        }
        deserializer.deserialize_any(TextOrNumber)
    }
}

/// A text that is no scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be register, login, forget, change_email or change_password")]
pub struct NotAScene;

impl FromStr for Scene {
    type Err = NotAScene;

    fn from_str(text: &str) -> Result<Self, NotAScene> {
        match text {
            "register" => Ok(Self::Register),
            "login" => Ok(Self::Login),
            "forget" => Ok(Self::Forget),
            "change_email" => Ok(Self::ChangeEmail),
            "change_password" => Ok(Self::ChangePassword),
            _ => Err(NotAScene),
        }
    }
}

impl Scene {
    /// Whether only a logged-in user can need it.
    #[must_use]
    pub fn needs_a_login(self) -> bool {
        match self {
            Self::Register | Self::Login | Self::Forget => false,
            Self::ChangeEmail | Self::ChangePassword => true,
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(...)")
    }
}

impl fmt::Debug for GivenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenCode(...)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn captcha(sent_at: Timestamp) -> Captcha {
        Captcha::new("a@example.edu".parse().unwrap(), Scene::Register, sent_at).unwrap()
    }

    #[test]
    fn codes_are_six_digits_and_differ() {
        let codes: HashSet<String> = (0..200).map(|_| Code::random().unwrap().0).collect();
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()))
        );
        assert!(codes.len() > 190);
    }

    #[test]
    fn a_code_is_given_as_text_or_as_a_number() {
        let code = Code("001234".into());
        for (json, expected) in [
            ("\"001234\"", true),
            ("\" 001234 \"", true),
            ("1234", true),
            ("\"1234\"", false),
            ("1235", false),
            ("\"\"", false),
        ] {
            assert_eq!(code.is(&serde_json::from_str(json).unwrap()), expected, "{json}");
        }
        for json in ["-1", "1.5", "true", "[1]", "\"000000000000000000000000000000000\""] {
            assert!(serde_json::from_str::<GivenCode>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_captcha_is_good_for_its_scene_and_for_two_minutes() {
        let sent = Timestamp::from_millis(1_800_000_000_000);
        let captcha = captcha(sent);
        let at = |millis: u64| sent.plus(Duration::from_millis(millis));
        assert!(captcha.open_to_a_try(Scene::Register, at(119_999)).is_ok());
        assert!(matches!(
            captcha.open_to_a_try(Scene::Register, at(120_000)),
            Err(UserError::CaptchaExpired)
        ));
        assert!(matches!(
            captcha.open_to_a_try(Scene::Login, at(0)),
            Err(UserError::CaptchaNotFound)
        ));
    }

    #[test]
    fn the_wait_for_another_one_is_counted_up_to_whole_seconds() {
        let sent = Timestamp::from_millis(1_800_000_000_000);
        for (passed, expected) in [(0, 60), (1, 60), (59_000, 1), (59_999, 1), (60_000, 0), (90_000, 0)] {
            assert_eq!(
                captcha(sent).wait_seconds(sent.plus(Duration::from_millis(passed))),
                expected,
                "{passed}"
            );
        }
    }

    #[test]
    fn codes_can_not_be_logged() {
        let shown = format!("{:?}", captcha(Timestamp::from_millis(0)));
        assert!(shown.contains("Code(...)") && shown.contains("Email(...)"), "{shown}");
    }
}
