//! What the nouns of accounts look like in JSON and in queries, for the OpenAPI document.

use kernel::schema::{one_of, text, whole};
use kernel::schemas;
use utoipa::openapi::schema::{KnownFormat, OneOfBuilder, SchemaFormat};

use crate::captcha::{GivenCode, Scene};
use crate::email::Email;
use crate::password::Password;
use crate::roll::PrivilegeNumber;
use crate::user::{Status, Username};

schemas! {
    Username: "Username", "1 to 30 characters, no white space; nobody else has it", text()
        .min_length(Some(1))
        .max_length(Some(30))
        .pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f]{1,30}$"));
    Email: "Email", "The address of one person", text()
        .max_length(Some(254))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Email)))
        .pattern(Some(r"^[A-Za-z0-9_+-]{1,30}(\.[A-Za-z0-9_+-]{1,20})?@[A-Za-z0-9]{1,30}(\.[A-Za-z0-9]{1,20}){0,2}\.[A-Za-z]{2,10}$"))
        .examples(["name@example.edu"]);
    Password: "Password", "A new one has 6 to 18 characters, at least two of digit, letter and special character", text()
        .min_length(Some(1))
        .max_length(Some(128))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)));
    Scene: "CaptchaScene", "What the captcha is for; the last two need a log-in", text()
        .enum_values(Some(["register", "login", "forget", "change_email", "change_password"]));
    Status: "AccountStatus", "0 normal, 1 banned", one_of([0, 1]);
    PrivilegeNumber: "Privilege", "0 member, 1 administrator", one_of([0, 1]);
    GivenCode: "CaptchaCode", "The six digits that were mailed", OneOfBuilder::new()
        .item(text().pattern(Some("^[0-9]{6}$")))
        .item(whole(0, 999_999));
}
