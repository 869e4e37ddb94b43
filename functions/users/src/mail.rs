//! The mail that holds a captcha.

use mail::{Mail, MailError, Mailer};

use crate::captcha::Captcha;

const SUBJECT: &str = "CFMP 验证码 / verification code";

/// Mails a captcha to its address.
///
/// # Errors
/// [`MailError`]; one whose fate is unknown may be asked for again after a minute like any other.
pub async fn send(mailer: &Mailer, captcha: &Captcha) -> Result<(), MailError> {
    let mail = Mail {
        to: captcha.email.as_str(),
        subject: SUBJECT,
        text: &text(captcha.code.digits()),
    };
    mailer.send(mail).await
}

fn text(digits: &str) -> String {
    format!(
        "您的验证码是 {digits}，两分钟内有效。如非本人操作，请忽略此邮件。\n\n\
         Your verification code is {digits}. It is valid for two minutes. If you did not ask for it, ignore this mail.\n"
    )
}
