//! Whatever any test is answered is what the API's description says.

use std::collections::HashMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// What the document is called where one schema refers to another.
const URL: &str = "urn:cfmp";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = cfmp::root().join("functions/root/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
});

struct Description {
    schemas: Schemas,
    /// By pointer to the schema.
    answers: HashMap<String, SchemaIndex>,
}

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource(URL, DOCUMENT.clone()).unwrap();
    let mut schemas = Schemas::new();
    let mut answers = HashMap::new();
    for (route, operations) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                if answer["content"]["application/json"]["schema"].is_null() {
                    continue;
                }
                let pointer = pointer(method, route, status);
                let schema = compiler.compile(&pointer, &mut schemas);
                answers.insert(pointer, schema.unwrap_or_else(|error| panic!("{error:#}")));
            }
        }
    }
    Description { schemas, answers }
});

fn pointer(method: &str, route: &str, status: &str) -> String {
    format!(
        "{URL}#/paths/{}/{}/responses/{status}/content/application~1json/schema",
        route.replace('~', "~0").replace('/', "~1"),
        method.to_lowercase(),
    )
}

/// What the gateway and the front answer in an operation's place.
const OF_THE_GATEWAY: &[u16] = &[308, 405, 413];

/// Makes sure that this answer to this request is described.
///
/// # Panics
/// It is not.
pub fn check(method: &str, path: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    let Some((route, operation)) = operation(method, path) else {
        return;
    };
    let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    if OF_THE_GATEWAY.contains(&status.as_u16()) || content_type == "application/problem+json" {
        return;
    }
    let asked = format!("{method} {path}: {status}");
    let described = &operation["responses"][status.as_str()];
    assert!(described.is_object(), "{asked} is not described");
    let Some(content) = described["content"].as_object() else {
        assert!(body.is_empty(), "{asked} has a body, which is not described");
        return;
    };
    if content_type != "application/json" {
        assert!(
            content.contains_key(content_type) || content.contains_key("*/*"),
            "{asked} comes as {content_type}, which is not described"
        );
        return;
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{asked}: {error}"));
    let schema = DESCRIPTION.answers.get(&pointer(method, route, status.as_str()));
    let schema = schema.unwrap_or_else(|| panic!("{asked}: no JSON is described"));
    if let Err(error) = DESCRIPTION.schemas.validate(&body, *schema) {
        panic!("{asked} is not as described: {error:#}\n{body:#}");
    }
}

/// The operation that a path leads to: fixed segments count more than parameters.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next()?.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |route: &str| {
        let parts: Vec<&str> = route.split('/').collect();
        let same = |(part, segment): (&&str, &&str)| part == segment || (part.starts_with('{') && !segment.is_empty());
        parts.len() == segments.len() && parts.iter().zip(&segments).all(same)
    };
    let routes = DOCUMENT["paths"].as_object()?.iter();
    let (route, operations) = routes
        .filter(|(route, operations)| fits(route) && operations.get(method.to_lowercase()).is_some())
        .min_by_key(|(route, _)| route.matches('{').count())?;
    Some((route.as_str(), &operations[method.to_lowercase()]))
}
