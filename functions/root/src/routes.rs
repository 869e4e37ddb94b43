//! Which methods the paths of this API take, read from its OpenAPI document.
//!
//! API Gateway hands a call to `$default` also where only the method is wrong; whoever sent it is told which one is right.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Every path, and the methods that it takes.
#[derive(Debug, Deserialize)]
pub struct Routes {
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

impl Routes {
    /// Reads an OpenAPI document.
    ///
    /// # Errors
    /// Those of JSON: the document is none.
    pub fn of(document: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(document)
    }

    /// The methods that `path` takes, in capitals, separated by commas; `None` if no route leads there.
    #[must_use]
    pub fn allowed(&self, path: &str) -> Option<String> {
        let mut methods: Vec<String> = self
            .paths
            .iter()
            .filter(|(template, _)| leads_to(template, path))
            .flat_map(|(_, methods)| methods.keys().map(|method| method.to_uppercase()))
            .collect();
        methods.sort_unstable();
        methods.dedup();
        (!methods.is_empty()).then(|| methods.join(", "))
    }
}

fn leads_to(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(there)) if wanted == there || (wanted.starts_with('{') && !there.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_takes_the_methods_of_every_route_that_leads_there() {
        let routes = Routes::of(
            r#"{"openapi": "3.1.0", "paths": {
                "/api/orders": {"get": {}, "post": {}},
                "/api/orders/stats": {"get": {}},
                "/api/orders/{order_id}": {"get": {}, "delete": {}},
                "/api/orders/{order_id}/cancel": {"post": {}}
            }}"#,
        )
        .unwrap();
        for (path, allowed) in [
            ("/api/orders", Some("GET, POST")),
            ("/api/orders/stats", Some("DELETE, GET")),
            ("/api/orders/7", Some("DELETE, GET")),
            ("/api/orders/7/cancel", Some("POST")),
            ("/api/orders/", None),
            ("/api/orders//cancel", None),
            ("/api", None),
            ("", None),
        ] {
            assert_eq!(routes.allowed(path).as_deref(), allowed, "{path}");
        }
    }
}
