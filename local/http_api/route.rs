//! Which route a request takes: static segments beat `{variables}`, those beat `{greedy+}`, and `$default` comes last.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::template::model::Route;

/// The routes of an HTTP API, most specific first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    routes: Vec<Parsed>,
    default: Option<Route>,
}

#[derive(Debug, Clone)]
struct Parsed {
    route: Route,
    segments: Vec<Segment>,
}

/// The order of the variants is their precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Static(String),
    Variable(String),
    Greedy(String),
}

/// A route and what its variables stand for.
#[derive(Debug, Clone)]
pub(crate) struct Matched {
    pub(crate) route: Route,
    /// `POST /api/orders`, `ANY /x/{proxy+}` or `$default`.
    pub(crate) key: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Routes {
    pub(crate) fn new(routes: &[Route]) -> Routes {
        let mut parsed: Vec<Parsed> = routes
            .iter()
            .filter(|route| route.path != "$default")
            .map(|route| Parsed {
                segments: segments(&route.path),
                route: route.clone(),
            })
            .collect();
        parsed.sort_by(|a, b| {
            let kinds = |p: &Parsed| p.segments.iter().map(Segment::precedence).collect::<Vec<_>>();
            (kinds(a), a.route.method == "ANY").cmp(&(kinds(b), b.route.method == "ANY"))
        });
        Routes {
            routes: parsed,
            default: routes.iter().find(|route| route.path == "$default").cloned(),
        }
    }

    /// The route of a request; `path` is percent-encoded, as it came over the wire.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<Matched> {
        self.exact(method, path).or_else(|| {
            self.default.clone().map(|route| Matched {
                route,
                key: "$default".to_owned(),
                parameters: BTreeMap::new(),
            })
        })
    }

    /// As `find`, without `$default`.
    pub(crate) fn exact(&self, method: &str, path: &str) -> Option<Matched> {
        let given: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        self.routes
            .iter()
            .filter(|parsed| parsed.route.method == "ANY" || parsed.route.method == method)
            .find_map(|parsed| {
                let parameters = parameters(&parsed.segments, &given)?;
                let key = format!("{} {}", parsed.route.method, parsed.route.path);
                Some(Matched {
                    route: parsed.route.clone(),
                    key,
                    parameters,
                })
            })
    }
}

impl Segment {
    fn precedence(&self) -> u8 {
        match self {
            Segment::Static(_) => 0,
            Segment::Variable(_) => 1,
            Segment::Greedy(_) => 2,
        }
    }
}

fn segments(path: &str) -> Vec<Segment> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/')
        .map(
            |segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => match name.strip_suffix('+') {
                    Some(name) => Segment::Greedy(name.to_owned()),
                    None => Segment::Variable(name.to_owned()),
                },
                None => Segment::Static(segment.to_owned()),
            },
        )
        .collect()
}

fn parameters(segments: &[Segment], given: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    let mut given = given.iter().peekable();
    for segment in segments {
        match segment {
            Segment::Static(text) => {
                if decoded(given.next()?) != *text {
                    return None;
                }
            }
            Segment::Variable(name) => {
                let value = given.next()?;
                if value.is_empty() {
                    return None;
                }
                parameters.insert(name.clone(), decoded(value));
            }
            Segment::Greedy(name) => {
                let rest: Vec<String> = given.by_ref().map(|segment| decoded(segment)).collect();
                let rest = rest.join("/");
                if rest.is_empty() {
                    return None;
                }
                parameters.insert(name.clone(), rest);
            }
        }
    }
    given.peek().is_none().then_some(parameters)
}

/// The text behind percent-encoding, as API Gateway shows it to functions.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(String, BTreeMap<String, String>)> {
        let route = |key: &str, function: &str| {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            Route {
                method: method.to_owned(),
                path: path.to_owned(),
                function: function.to_owned(),
            }
        };
        let routes = Routes::new(&[
            route("ANY /files/{proxy+}", "greedy"),
            route("GET /orders/{id}", "one"),
            route("GET /orders/stats", "stats"),
            route("ANY /orders/{id}", "any"),
            route("POST /orders/{id}/cancel", "cancel"),
            route("GET /files/{name}", "file"),
            route("$default", "default"),
        ]);
        routes
            .find(method, path)
            .map(|found| (found.route.function, found.parameters))
    }

    fn function(method: &str, path: &str) -> String {
        found(method, path).unwrap().0
    }

    #[test]
    fn the_most_specific_route_wins() {
        assert_eq!(function("GET", "/orders/stats"), "stats");
        assert_eq!(function("GET", "/orders/7"), "one");
        assert_eq!(function("PUT", "/orders/7"), "any");
        assert_eq!(function("POST", "/orders/stats"), "any");
        assert_eq!(function("POST", "/orders/7/cancel"), "cancel");
        assert_eq!(function("GET", "/files/a"), "file");
        assert_eq!(function("GET", "/files/a/b"), "greedy");
        assert_eq!(function("GET", "/orders/7/"), "default");
        assert_eq!(function("GET", "/orders/"), "default");
        assert_eq!(function("GET", "/files/"), "default");
        assert_eq!(function("GET", "/"), "default");
    }

    #[test]
    fn parameters_arrive_decoded() {
        let (_, parameters) = found("GET", "/orders/a%20b").unwrap();
        assert_eq!(parameters.get("id").map(String::as_str), Some("a b"));
        let (_, parameters) = found("GET", "/files/a%20b/c").unwrap();
        assert_eq!(parameters.get("proxy").map(String::as_str), Some("a b/c"));
    }
}
