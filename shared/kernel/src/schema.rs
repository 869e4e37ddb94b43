//! What the nouns look like in JSON, for the OpenAPI document.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Object, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AssessmentId, BuyerId, LetterId, Money, NotificationId, OrderId, PaymentId, ProductId, Quantity, RefundId,
    SellerId, Text, Timestamp, UserId,
};

/// Text.
#[must_use]
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A UUID.
#[must_use]
pub fn uuid() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

/// A whole number between the two, both included.
#[must_use]
pub fn whole(least: i64, most: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
}

/// One of these numbers.
#[must_use]
pub fn one_of<const N: usize>(numbers: [u8; N]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some(numbers))
}

/// Describes nouns that are written otherwise than their types tell: `Noun: "name of the schema", "what it is", builder;`.
/// Needs `utoipa` among the crate's dependencies.
#[macro_export]
macro_rules! schemas {
    ($($noun:ty: $name:literal, $what:literal, $schema:expr;)*) => {$(
        impl ::utoipa::PartialSchema for $noun {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                ::utoipa::openapi::RefOr::T($schema.description(Some($what)).build().into())
            }
        }
        impl ::utoipa::ToSchema for $noun {
            fn name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed($name)
            }
        }
    )*};
}

schemas! {
    OrderId: "OrderId", "Id of an order", uuid();
    UserId: "UserId", "Id of a user", uuid();
    ProductId: "ProductId", "Id of a product", uuid();
    PaymentId: "PaymentId", "Id of one attempt to pay an order", uuid();
    RefundId: "RefundId", "Id of a refund", uuid();
    NotificationId: "NotificationId", "Id of a notification", uuid();
    BuyerId: "BuyerId", "Id of the user who buys", uuid();
    SellerId: "SellerId", "Id of the user who sells", uuid();
    LetterId: "LetterId", "Id of a dead letter", uuid();
    AssessmentId: "AssessmentId", "Id of one assessment of risk", uuid();
    Money: "Money", "Yuan with two decimals", text()
        .pattern(Some(r"^[0-9]{1,8}\.[0-9]{2}$"))
        .examples(["19.90"]);
    Amount: "Amount", "Yuan, more than nothing: \"19.9\", \"19.90\" or the number 19.9; at most two decimals", yuan(
        r"^(0*[1-9][0-9]{0,7}(\.[0-9]{1,2}0*)?|0+\.([1-9][0-9]?|0[1-9])0*)$",
        0.01,
    ).examples(["19.90"]);
    AmountBound: "AmountBound", "Yuan, from nothing on: \"0\", \"19.90\" or the number 19.9; at most two decimals", yuan(
        r"^0*[0-9]{1,8}(\.[0-9]{1,2}0*)?$",
        0.0,
    ).examples(["19.90"]);
    Timestamp: "Timestamp", "Milliseconds since 1970-01-01T00:00:00Z", ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    Quantity: "Quantity", "Pieces", whole(1, i64::from(Quantity::MAX));
}

/// How requests may write [`Money`] of more than nothing: text or a number, with at most two decimals. For
/// `#[schema(value_type = kernel::schema::Amount)]` on the fields of requests.
#[derive(Debug, Clone, Copy)]
pub struct Amount;

/// How requests may write a bound of [`Money`] that they look for: as [`Amount`], and nothing at all. For descriptions of
/// query parameters.
#[derive(Debug, Clone, Copy)]
pub struct AmountBound;

fn yuan(pattern: &str, least: f64) -> OneOfBuilder {
    OneOfBuilder::new().item(text().pattern(Some(pattern))).item(
        ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(least))
            .maximum(Some(99_999_999.99))
            .multiple_of(Some(0.01)),
    )
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
        RefOr::T(described.into())
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MIN}To{MAX}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use regex::Regex;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_text_says_how_long_it_may_be() {
        let schema: Value = serde_json::to_value(Text::<2, 9>::schema()).unwrap();
        assert_eq!((&schema["minLength"], &schema["maxLength"]), (&json!(2), &json!(9)));
        assert_eq!(Text::<2, 9>::name(), "Text2To9");
    }

    /// What a schema's text has to look like.
    fn pattern<T: PartialSchema>() -> Regex {
        let schema: Value = serde_json::to_value(T::schema()).unwrap();
        Regex::new(schema["oneOf"][0]["pattern"].as_str().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn amounts_are_described_as_they_are_read(text in "0{0,2}[0-9]{0,9}[.]?[0-9]{0,3}|0{0,2}[.]0{0,2}[0-9]?0{0,2}") {
            let read = text.parse::<Money>();
            prop_assert_eq!(pattern::<AmountBound>().is_match(&text), read.is_ok());
            prop_assert_eq!(pattern::<Amount>().is_match(&text), read.and_then(Money::positive).is_ok());
        }
    }
}
