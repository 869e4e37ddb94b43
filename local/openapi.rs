//! The OpenAPI document: what the functions say of themselves, put together along the template's routes.
//!
//! A development build of an HTTP function prints its part when it is started with `--describe`; its types are the
//! source. `functions/root/openapi.json` is the result, served by the deployment itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::cargo_build::{self, Binaries, BuildError, Profile};
use crate::template::TemplateError;
use crate::template::model::Template;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum OpenApiError {
    /// The template was refused.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The functions were not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A function could not be asked.
    #[error("{binary} does not describe itself: {reason}")]
    NotDescribed {
        /// The function's binary.
        binary: String,
        /// What happened.
        reason: String,
    },
    /// A function describes other operations than the template routes to it.
    #[error(
        "{binary} describes {described:?}, and template.yaml routes {routed:?} to it; describe every route and nothing else"
    )]
    OtherRoutes {
        /// The function's binary.
        binary: String,
        /// `METHOD path` of what is described.
        described: BTreeSet<String>,
        /// `METHOD path` of the template.
        routed: BTreeSet<String>,
    },
    /// Two types of one name differ.
    #[error("two different types are called {name}, the second one in {binary}; name one with #[schema(as = ...)]")]
    NameTaken {
        /// Name of the schema.
        name: String,
        /// The function that uses it for something else.
        binary: String,
    },
}

const ABOUT: &str = "\
Orders, payments and notifications of a campus flea market.

- Every path also answers with a slash at its end.
- Money is text with two decimals (`\"19.90\"`), in yuan. Requests may also send a number.
- Times are ISO 8601 with the offset of the deployment's zone.
- Users send the token of the log-in as `Authorization: Bearer ...`; services send tokens of their own.
- Refusals have the shape `Refusal`; with `Accept: application/problem+json` they come as RFC 9457 says.";

/// The document of this workspace as it is now; builds it first.
///
/// # Errors
/// [`OpenApiError`].
pub fn of_workspace() -> Result<Value, OpenApiError> {
    let root = crate::root();
    // The document names no host, so neither does it depend on one.
    let template = Template::read(&root.join("template.yaml"), "http://127.0.0.1")?;
    document(&template, &cargo_build::build(root, Profile::Dev)?)
}

/// The document for these functions, members in a fixed order.
///
/// # Errors
/// [`OpenApiError`]: a function is not described as the template uses it.
pub fn document(template: &Template, binaries: &Binaries) -> Result<Value, OpenApiError> {
    let mut paths: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for function in template.functions.values() {
        let routed: BTreeSet<String> = template
            .routes
            .iter()
            .filter(|route| route.function == function.logical_id && route.path != "$default")
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        if routed.is_empty() {
            continue;
        }
        let binary = &function.binary;
        let mut part = describe(binary, binaries)?;
        let operations = operations(&mut part);
        let described: BTreeSet<String> = operations.iter().map(|(route, ..)| route.clone()).collect();
        if described != routed {
            return Err(OpenApiError::OtherRoutes {
                binary: binary.clone(),
                described,
                routed,
            });
        }
        let service = function.code_uri.rsplit('/').next().unwrap_or_default().to_owned();
        let only = operations.len() == 1;
        for (position, (_, path, method, mut operation)) in operations.into_iter().enumerate() {
            operation["tags"] = json!([service]);
            operation["operationId"] = match only {
                true => json!(binary),
                false => json!(format!("{binary}-{}", position + 1)),
            };
            paths.entry(path).or_default().insert(method, operation);
        }
        for (name, schema) in take_object(&mut part["components"]["schemas"]) {
            if schemas.get(&name).is_some_and(|known| *known != schema) {
                return Err(OpenApiError::NameTaken {
                    name,
                    binary: binary.clone(),
                });
            }
            schemas.insert(name, schema);
        }
    }
    let bearer = |what: &str| json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": what});
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CFMP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The deployment that serves this document"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "userToken": bearer("The `access_token` of a log-in. The role `administrator` is needed where it is named."),
                "serviceToken": bearer("Signed by the deployment for one of its services, valid for minutes."),
            },
        },
    }))
}

fn describe(binary: &str, binaries: &Binaries) -> Result<Value, OpenApiError> {
    let refused = |reason: String| OpenApiError::NotDescribed {
        binary: binary.to_owned(),
        reason,
    };
    let executable = binaries
        .get(binary)
        .ok_or_else(|| refused("there is no such binary".into()))?;
    let output = Command::new(executable)
        .arg("--describe")
        .env_clear()
        .output()
        .map_err(|error| refused(error.to_string()))?;
    if !output.status.success() {
        return Err(refused(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| refused(error.to_string()))
}

/// `METHOD path`, path, method in small letters, operation.
fn operations(part: &mut Value) -> Vec<(String, String, String, Value)> {
    let mut operations = Vec::new();
    for (path, mut item) in take_object(&mut part["paths"]) {
        for (method, operation) in take_object(&mut item) {
            let route = format!("{} {path}", method.to_uppercase());
            operations.push((route, path.clone(), method, operation));
        }
    }
    operations
}

fn take_object(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
