//! What can go wrong with accounts, and how callers read it.

use ::mail::MailError;
use http_function::{Problem, StatusCode};
use keys::SealError;
use tables::TableError;

use crate::captcha::{NoRandomness, TRIES};
use crate::email::NotAnEmail;
use crate::password::{HashError, Weakness};
use crate::user::UsernameError;

/// A refused or failed operation on accounts.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Members of the body that are absent or empty.
    #[error("{0:?} are missing")]
    Missing(Vec<&'static str>),
    /// The password was not repeated alike.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// The password is not good enough.
    #[error("the password is not good enough")]
    WeakPassword(Weakness),
    /// The username is not acceptable.
    #[error("the username {0}")]
    Username(#[from] UsernameError),
    /// The e-mail address is none.
    #[error("the e-mail address {0}")]
    Email(#[from] NotAnEmail),
    /// Somebody has an account with this e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Somebody is called that.
    #[error("the username is taken")]
    UsernameTaken,
    /// No captcha was sent for this, or it is used up.
    #[error("there is no captcha")]
    CaptchaNotFound,
    /// It is another code, or was used already.
    #[error("the captcha is wrong")]
    CaptchaWrong,
    /// It is too old.
    #[error("the captcha has expired")]
    CaptchaExpired,
    /// The address was sent a captcha less than a minute ago.
    #[error("a captcha was sent just now")]
    SentTooFrequently {
        /// Seconds until another one is sent.
        wait_seconds: u64,
    },
    /// The captcha could not be mailed.
    #[error("the mail was not sent")]
    Mail(#[from] MailError),
    /// Wrong e-mail address or wrong password: which of the two is not told.
    #[error("wrong e-mail address or password")]
    WrongCredentials,
    /// Too many failed log-ins.
    #[error("too many failed log-ins")]
    TooManyAttempts,
    /// An administrator closed the account.
    #[error("the account is banned")]
    Banned,
    /// His log-ins were ended after the token was issued.
    #[error("the log-in was ended")]
    LoggedOut,
    /// An administrator wants to ban or demote himself.
    #[error("one's own status and privilege stay")]
    OwnAccount,
    /// No such account.
    #[error("there is no such user")]
    NotFound,
    /// The account was changed by another call at the same time, again and again.
    #[error("the account was changed meanwhile")]
    ChangedMeanwhile,
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The machine has no random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// An address can not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The log-in pages show the messages as they are, so they are in the language of these pages.
impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        let refused = |code: &'static str, message: &'static str| {
            Problem::new(StatusCode::BAD_REQUEST, "refused", message).fail_code(code)
        };
        match error {
            UserError::Missing(names) => names
                .into_iter()
                .fold(refused("MISSING_PARAM", "缺少参数"), |problem, name| {
                    problem.field(name, "is required")
                }),
            UserError::PasswordsDiffer => {
                refused("PASSWORD_NOT_MATCH", "两次输入的密码不一致").field("password_repeat", "must equal password")
            }
            UserError::WeakPassword(Weakness::Space) => {
                refused("PASSWORD_CONTAINS_SPACE", "密码不能包含空字符").field("password", "must not contain spaces")
            }
            UserError::WeakPassword(Weakness::Simplicity) => refused(
                "PASSWORD_COMPLEXITY",
                "密码应满足：6-18位，包含数字、字母、特殊字符中的2种",
            )
            .field(
                "password",
                "must have 6 to 18 characters, two of digit, letter and special character",
            ),
            UserError::Username(UsernameError::Space) => refused("USERNAME_CONTAINS_SPACE", "用户名不能包含空字符")
                .field("username", UsernameError::Space.to_string()),
            UserError::Username(UsernameError::Length) => {
                refused("USERNAME_LENGTH", "用户名应为1-30个字符").field("username", UsernameError::Length.to_string())
            }
            UserError::Email(error) => refused("EMAIL_FORMAT_ERROR", "邮箱格式错误").field("email", error.to_string()),
            UserError::EmailTaken => refused("USER_EXIST", "用户已存在").field("email", "is taken"),
            UserError::UsernameTaken => refused("USER_EXIST", "用户名已被使用").field("username", "is taken"),
            UserError::CaptchaNotFound => {
                refused("CAPTCHA_NOT_FOUND", "验证码不存在，请重新获取").field("captcha", "was not sent or is used up")
            }
            UserError::CaptchaWrong => refused("CAPTCHA_ERROR", "验证码错误").field(
                "captcha",
                format!("is wrong; it can be tried {TRIES} times and used once"),
            ),
            UserError::CaptchaExpired => {
                refused("CAPTCHA_EXPIRED", "验证码已过期，请重新获取").field("captcha", "is older than two minutes")
            }
            UserError::SentTooFrequently { wait_seconds } => {
                refused("SEND_TOO_FREQUENTLY", "验证码发送过于频繁，请稍后再试").with("wait_time", wait_seconds)
            }
            UserError::WrongCredentials => refused("PASSWORD_ERROR", "邮箱或密码错误"),
            UserError::TooManyAttempts => refused("TOO_MANY_ATTEMPTS", "登录失败次数过多，请15分钟后再试"),
            UserError::Banned => Problem::new(StatusCode::UNAUTHORIZED, "banned", "用户已被封禁").fail_code("BANNED"),
            UserError::LoggedOut => Problem::new(StatusCode::UNAUTHORIZED, "logged-out", "登录已失效，请重新登录")
                .fail_code("TOKEN_REVOKED"),
            UserError::OwnAccount => Problem::forbidden("Nobody bans or demotes himself; ask another administrator."),
            UserError::NotFound => Problem::not_found("user"),
            UserError::ChangedMeanwhile => Problem::conflict(
                "changed-meanwhile",
                "It was changed by another call just now. Look again and repeat.",
            ),
            UserError::Mail(error) => Problem::unavailable(error).fail_code("SEND_FAILED"),
            UserError::Hash(error) => Problem::internal(error),
            UserError::Randomness(error) => Problem::internal(error),
            UserError::Seal(error) => Problem::internal(error),
            UserError::Table(error) => error.into(),
        }
    }
}
