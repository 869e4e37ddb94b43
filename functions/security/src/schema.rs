//! What requests look like in JSON, where their types alone do not tell.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::policy::{
    AmountHistory, AmountVelocity, Cancellations, Count, FirstPurchase, Level, LinkedParties, Mode, NewAccount,
    OnFailure, OrderVelocity, PolicyEdit, PolicyId, SharedContact, TimeLimit,
};

impl<const MIN: u32, const MAX: u32> PartialSchema for Count<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        RefOr::T(whole.minimum(Some(MIN)).maximum(Some(MAX)).build().into())
    }
}

impl<const MIN: u32, const MAX: u32> ToSchema for Count<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Count{MIN}To{MAX}"))
    }
}

/// Which thresholds an edit may name depends on the policy, so there is an alternative for each.
impl PartialSchema for PolicyEdit {
    fn schema() -> RefOr<Schema> {
        let alternatives = PolicyId::ALL
            .into_iter()
            .fold(OneOfBuilder::new(), |all, id| all.item(edit_of(id)));
        RefOr::T(
            alternatives
                .description(Some("A change of one policy; what is not named stays"))
                .build()
                .into(),
        )
    }
}

impl ToSchema for PolicyEdit {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("PolicyEdit")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        OrderVelocity::schemas(schemas);
        AmountVelocity::schemas(schemas);
        AmountHistory::schemas(schemas);
        NewAccount::schemas(schemas);
        FirstPurchase::schemas(schemas);
        SharedContact::schemas(schemas);
        LinkedParties::schemas(schemas);
        Cancellations::schemas(schemas);
    }
}

fn edit_of(id: PolicyId) -> Schema {
    ObjectBuilder::new()
        .property(
            "policy_id",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some([id.word()])),
        )
        .required("policy_id")
        .property("is_enabled", or_null(ObjectBuilder::new().schema_type(Type::Boolean)))
        .property("security_level", or_null(Level::schema()))
        .property("mode", or_null(Mode::schema()))
        .property("on_failure", or_null(OnFailure::schema()))
        .property("time_limit_ms", or_null(TimeLimit::schema()))
        .property("config_data", or_null(thresholds(id)))
        .build()
        .into()
}

fn or_null(schema: impl Into<RefOr<Schema>>) -> OneOfBuilder {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(schema).item(null)
}

fn thresholds(id: PolicyId) -> RefOr<Schema> {
    let mut schema = match id {
        PolicyId::OrderVelocity => OrderVelocity::schema(),
        PolicyId::AmountVelocity => AmountVelocity::schema(),
        PolicyId::AmountHistory => AmountHistory::schema(),
        PolicyId::NewAccount => NewAccount::schema(),
        PolicyId::FirstPurchase => FirstPurchase::schema(),
        PolicyId::SharedContact => SharedContact::schema(),
        PolicyId::LinkedParties => LinkedParties::schema(),
        PolicyId::Cancellations => Cancellations::schema(),
    };
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.required.clear();
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        for (name, property) in &mut object.properties {
            if name.ends_with("_amount") {
                *property = kernel::schema::Amount::schema();
            }
        }
    }
    schema
}
