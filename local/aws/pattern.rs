//! The pattern language that stream filters and subscription filter policies share.
//!
//! A pattern is a JSON object in the shape of the event; its leaves are lists of tests, one of which has to pass.
//! Tests that are not known are refused when the pattern is read: a filter that quietly lets everything through
//! would be worse than none.

use serde_json::{Map, Value};

/// A pattern that was read and understood.
#[derive(Debug, Clone)]
pub struct Pattern {
    fields: Vec<(String, Node)>,
}

#[derive(Debug, Clone)]
enum Node {
    AnyOf(Vec<Test>),
    Nested(Pattern),
}

#[derive(Debug, Clone)]
enum Test {
    Equals(Value),
    EqualsIgnoreCase(String),
    Prefix(String),
    Suffix(String),
    AnythingBut(Vec<Value>),
    AnythingButPrefix(String),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Pattern {
    /// Reads a pattern; the error names the place that was not understood.
    pub fn parse(pattern: &Value) -> Result<Self, String> {
        Self::parse_at(pattern, "")
    }

    /// Whether the event fits.
    pub fn matches(&self, event: &Value) -> bool {
        let empty = Map::new();
        let event = event.as_object().unwrap_or(&empty);
        self.fields.iter().all(|(name, node)| match (node, event.get(name)) {
            (Node::Nested(pattern), Some(nested)) => pattern.matches(nested),
            (Node::Nested(pattern), None) => pattern.matches(&Value::Null),
            (Node::AnyOf(tests), found) => tests.iter().any(|test| test.passes(found)),
        })
    }

    fn parse_at(pattern: &Value, place: &str) -> Result<Self, String> {
        let object = pattern
            .as_object()
            .ok_or_else(|| format!("filter pattern at `{place}` is not an object"))?;
        let mut fields = Vec::new();
        for (name, value) in object {
            let place = format!("{place}/{name}");
            if name.starts_with('$') {
                return Err(format!("filter pattern operator `{place}` is not supported"));
            }
            let node = match value {
                Value::Object(_) => Node::Nested(Self::parse_at(value, &place)?),
                Value::Array(tests) => Node::AnyOf(
                    tests
                        .iter()
                        .map(|test| Test::parse(test, &place))
                        .collect::<Result<_, _>>()?,
                ),
                _ => return Err(format!("filter pattern at `{place}` is neither a list nor an object")),
            };
            fields.push((name.clone(), node));
        }
        Ok(Self { fields })
    }
}

impl Test {
    fn parse(test: &Value, place: &str) -> Result<Self, String> {
        let Value::Object(operators) = test else {
            return if test.is_array() {
                Err(format!("filter pattern at `{place}` nests a list"))
            } else {
                Ok(Self::Equals(test.clone()))
            };
        };
        let unknown = || format!("filter test {test} at `{place}` is not supported");
        let (Some((operator, operand)), 1) = (operators.iter().next(), operators.len()) else {
            return Err(unknown());
        };
        match (operator.as_str(), operand) {
            ("prefix", Value::String(text)) => Ok(Self::Prefix(text.clone())),
            ("suffix", Value::String(text)) => Ok(Self::Suffix(text.clone())),
            ("equals-ignore-case", Value::String(text)) => Ok(Self::EqualsIgnoreCase(text.to_lowercase())),
            ("exists", Value::Bool(expected)) => Ok(Self::Exists(*expected)),
            ("anything-but", Value::Array(values)) => Ok(Self::AnythingBut(values.clone())),
            ("anything-but", Value::Object(inner)) => match (inner.get("prefix"), inner.len()) {
                (Some(Value::String(prefix)), 1) => Ok(Self::AnythingButPrefix(prefix.clone())),
                _ => Err(unknown()),
            },
            ("anything-but", value) => Ok(Self::AnythingBut(vec![value.clone()])),
            ("numeric", Value::Array(terms)) => numeric(terms).map(Self::Numeric).ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }

    fn passes(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(expected), found) => {
                // Only leaves exist; an object on the way does not.
                *expected == found.is_some_and(|found| !found.is_object())
            }
            (_, None) => false,
            (test, Some(Value::Array(elements))) => elements.iter().any(|element| test.accepts(element)),
            (test, Some(value)) => test.accepts(value),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Equals(expected) => same(expected, value),
            Self::EqualsIgnoreCase(expected) => text.is_some_and(|text| text.to_lowercase() == *expected),
            Self::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
            Self::AnythingBut(excluded) => !excluded.iter().any(|excluded| same(excluded, value)),
            Self::AnythingButPrefix(prefix) => text.is_some_and(|text| !text.starts_with(prefix)),
            Self::Numeric(terms) => value.as_f64().is_some_and(|number| {
                terms.iter().all(|(comparison, bound)| match comparison {
                    Comparison::Equal => number.total_cmp(bound).is_eq(),
                    Comparison::Less => number < *bound,
                    Comparison::LessOrEqual => number <= *bound,
                    Comparison::Greater => number > *bound,
                    Comparison::GreaterOrEqual => number >= *bound,
                })
            }),
            Self::Exists(expected) => *expected,
        }
    }
}

/// Equality of JSON values, where 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

fn numeric(terms: &[Value]) -> Option<Vec<(Comparison, f64)>> {
    if terms.is_empty() || !terms.len().is_multiple_of(2) {
        return None;
    }
    terms
        .chunks(2)
        .map(|term| {
            let comparison = match term.first()?.as_str()? {
                "=" => Comparison::Equal,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                _ => return None,
            };
            Some((comparison, term.get(1)?.as_f64()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(pattern: Value, event: Value) -> bool {
        Pattern::parse(&pattern).unwrap().matches(&event)
    }

    #[test]
    fn every_field_has_to_fit_and_one_test_of_each_is_enough() {
        let pattern = json!({"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": {"kind": {"S": ["order"]}}}});
        let event =
            |name: &str, kind: &str| json!({"eventName": name, "dynamodb": {"NewImage": {"kind": {"S": kind}}}});
        assert!(fits(pattern.clone(), event("INSERT", "order")));
        assert!(fits(pattern.clone(), event("MODIFY", "order")));
        assert!(!fits(pattern.clone(), event("REMOVE", "order")));
        assert!(!fits(pattern.clone(), event("INSERT", "item")));
        assert!(!fits(pattern, json!({"eventName": "INSERT", "dynamodb": {}})));
    }

    #[test]
    fn tests_accept_what_they_say() {
        for (test, value, expected) in [
            (json!({"prefix": "order-"}), json!("order-paid"), true),
            (json!({"prefix": "order-"}), json!("payment-paid"), false),
            (json!({"suffix": "-paid"}), json!("order-paid"), true),
            (json!({"equals-ignore-case": "Paid"}), json!("pAID"), true),
            (json!({"anything-but": ["a", "b"]}), json!("c"), true),
            (json!({"anything-but": ["a", "b"]}), json!("a"), false),
            (json!({"anything-but": "a"}), json!("a"), false),
            (json!({"anything-but": {"prefix": "x"}}), json!("xy"), false),
            (json!({"numeric": [">", 0, "<=", 5]}), json!(5), true),
            (json!({"numeric": [">", 0, "<=", 5]}), json!(5.5), false),
            (json!({"numeric": ["=", 1]}), json!("1"), false),
            (json!(null), json!(null), true),
            (json!("a"), json!(["b", "a"]), true),
        ] {
            assert_eq!(
                fits(json!({"f": [test.clone()]}), json!({"f": value})),
                expected,
                "{test} {value}"
            );
        }
    }

    #[test]
    fn absence_fits_only_exists_false() {
        assert!(fits(json!({"f": [{"exists": false}]}), json!({})));
        assert!(!fits(json!({"f": [{"exists": true}]}), json!({})));
        assert!(!fits(json!({"f": [{"anything-but": ["a"]}]}), json!({})));
        assert!(fits(json!({"a": {"b": [{"exists": false}]}}), json!({})));
        assert!(!fits(
            json!({"f": [{"exists": true}]}),
            json!({"f": {"S": "not a leaf"}})
        ));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for pattern in [
            json!({"a": {"b": [{"wildcard": "x*"}]}}),
            json!({"a": "text"}),
            json!({"$or": [{"a": ["b"]}]}),
            json!({"a": [{"numeric": [">"]}]}),
            json!([]),
        ] {
            assert!(Pattern::parse(&pattern).is_err(), "{pattern}");
        }
        let message = Pattern::parse(&json!({"a": {"b": [{"wildcard": "x*"}]}})).unwrap_err();
        assert!(message.contains("/a/b"), "{message}");
    }
}
