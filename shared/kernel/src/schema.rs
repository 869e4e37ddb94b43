//! What the nouns look like in JSON, for the OpenAPI document.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Object, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AssessmentId, BuyerId, Money, NotificationId, OrderId, PaymentId, ProductId, Quantity, RefundId, SellerId, Text,
    Timestamp, UserId,
};

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn known(schema: impl Into<Schema>) -> RefOr<Schema> {
    RefOr::T(schema.into())
}

macro_rules! uuids {
    ($($id:ident: $what:literal,)*) => {$(
        impl PartialSchema for $id {
            fn schema() -> RefOr<Schema> {
                known(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).description(Some($what)))
            }
        }
        impl ToSchema for $id {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($id))
            }
        }
    )*};
}

uuids! {
    OrderId: "Id of an order",
    UserId: "Id of a user",
    ProductId: "Id of a product",
    PaymentId: "Id of one attempt to pay an order",
    RefundId: "Id of a refund",
    NotificationId: "Id of a notification",
    BuyerId: "Id of the user who buys",
    SellerId: "Id of the user who sells",
    AssessmentId: "Id of one assessment of risk",
}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        known(
            text()
                .pattern(Some(r"^[0-9]{1,8}\.[0-9]{2}$"))
                .description(Some("Yuan with two decimals"))
                .examples(["19.90"]),
        )
    }
}

impl ToSchema for Money {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Money")
    }
}

/// How requests may write [`Money`] of more than nothing: text or a number, with at most two decimals. For
/// `#[schema(value_type = kernel::schema::Amount)]` on the fields of requests.
#[derive(Debug, Clone, Copy)]
pub struct Amount;

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let in_text = text().pattern(Some(r"^([1-9][0-9]{0,7}(\.[0-9]{1,2})?|0\.([1-9][0-9]?|0[1-9]))$"));
        let in_number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(99_999_999));
        known(
            OneOfBuilder::new()
                .item(in_text)
                .item(in_number)
                .description(Some(
                    "Yuan: \"19.9\", \"19.90\" or the number 19.9; at most two decimals",
                ))
                .examples(["19.90"]),
        )
    }
}

impl ToSchema for Amount {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Amount")
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        known(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .description(Some("Milliseconds since 1970-01-01T00:00:00Z")),
        )
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Timestamp")
    }
}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        known(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(Self::MAX))
                .description(Some("Pieces")),
        )
    }
}

impl ToSchema for Quantity {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Quantity")
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        // What `Text` parses: surrounding space is cut off before characters are counted, and only line breaks and tabs
        // are allowed among the control characters.
        const EDGE: &str = r"[^\s\x00-\x1f\x7f-\x9f]";
        const INNER: &str = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]";
        let pattern = match (MIN, MAX) {
            (0, max) => format!("^{INNER}{{0,{max}}}$"),
            (_, 1) => format!("^{EDGE}$"),
            (1, max) => format!("^{EDGE}({INNER}{{0,{}}}{EDGE})?$", max - 2),
            (min, max) => format!("^{EDGE}{INNER}{{{},{}}}{EDGE}$", min - 2, max - 2),
        };
        let described: Object = text()
            .min_length((MIN > 0).then_some(MIN))
            .max_length(Some(MAX))
            .pattern(Some(pattern))
            .build();
        known(described)
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MIN}To{MAX}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_text_says_how_long_it_may_be() {
        let schema: Value = serde_json::to_value(Text::<2, 9>::schema()).unwrap();
        assert_eq!((&schema["minLength"], &schema["maxLength"]), (&json!(2), &json!(9)));
        assert_eq!(Text::<2, 9>::name(), "Text2To9");
    }
}
