//! What the nouns of accounts look like in JSON and in queries, for the OpenAPI document.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Object, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::captcha::{GivenCode, Scene};
use crate::email::Email;
use crate::password::Password;
use crate::roll::PrivilegeNumber;
use crate::user::{Status, Username};

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one_of<const N: usize>(numbers: [u8; N]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some(numbers))
}

macro_rules! schemas {
    ($($noun:ty: $name:literal, $what:literal, $schema:expr;)*) => {$(
        impl PartialSchema for $noun {
            fn schema() -> RefOr<Schema> {
                let described: Object = $schema.description(Some($what)).build();
                RefOr::T(described.into())
            }
        }
        impl ToSchema for $noun {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

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
}

impl PartialSchema for GivenCode {
    fn schema() -> RefOr<Schema> {
        let in_number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(999_999));
        let described = OneOfBuilder::new()
            .item(text().pattern(Some("^[0-9]{6}$")))
            .item(in_number)
            .description(Some("The six digits that were mailed"));
        RefOr::T(described.into())
    }
}

impl ToSchema for GivenCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CaptchaCode")
    }
}
