//! The HTTP API: what API Gateway does with a request, and the edge in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::clock::PlatformClock;
use crate::faults::{Broken, Fault, Faults, Kind, Site};
use crate::functions::{self, Functions, Instance, Invocation, Outcome, Trigger};
use crate::recording::{Call, Recording};
use crate::runtime_api::json_response;
use crate::template::model::{Cors, Template};
use crate::turns::{self, Lane, Origin};
use payload::Context;
use route::Routes;

mod payload;
pub(crate) mod route;

/// API Gateway's limit on a request's body.
pub(crate) const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// API Gateway's limit on all headers together.
const HEADERS_LIMIT: usize = 10_240;
/// API Gateway's longest wait for a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP API of one platform.
#[derive(Debug, Clone)]
pub(crate) struct HttpApi {
    pub(crate) routes: Arc<Routes>,
    pub(crate) cors: Option<Cors>,
    /// The deployed front's folding of trailing slashes.
    pub(crate) edge: bool,
    pub(crate) functions: Functions,
    pub(crate) clock: PlatformClock,
    pub(crate) recording: Recording,
    pub(crate) faults: Faults,
}

impl HttpApi {
    pub(crate) fn new(
        template: &Template,
        edge: bool,
        functions: Functions,
        record: (PlatformClock, Recording, Faults),
    ) -> HttpApi {
        let (clock, recording, faults) = record;
        HttpApi {
            routes: Arc::new(Routes::new(&template.routes)),
            cors: template.cors.clone(),
            edge,
            functions,
            clock,
            recording,
            faults,
        }
    }

    /// Whether a route other than `$default` takes this request.
    pub(crate) fn has_route(&self, method: &Method, path: &str) -> bool {
        self.routes.exact(method.as_str(), path).is_some()
    }

    /// Answers a request; one that comes from a function is recorded as its call.
    pub(crate) async fn answer(&self, mut request: Request<Bytes>, peer: SocketAddr) -> Response<Bytes> {
        if self.edge {
            fold_trailing_slash(&mut request);
        }
        let Some(caller) = self.caller(&request) else {
            return match self.fault_of_answer(&request) {
                Some(fault) => self.route_badly(fault, &[], request, peer).await,
                None => self.route(request, peer).await,
            };
        };
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let resource = self
            .routes
            .find(method.as_str(), &path)
            .map_or_else(|| path.clone(), |found| found.key);
        let began = Instant::now();
        let response = match self.fault_of_call(&caller, &resource) {
            Some((fault, callers)) => self.route_badly(fault, &callers, request, peer).await,
            None => self.route(request, peer).await,
        };
        self.recording.call(Call {
            at_ms: self.clock.now_ms(),
            function: caller,
            request_id: None,
            target: format!("http:{method} {path}"),
            resource,
            status: response.status().as_u16(),
            duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            consumed: None,
        });
        response
    }

    /// What goes wrong with the answer to a client.
    fn fault_of_answer(&self, request: &Request<Bytes>) -> Option<Fault> {
        if !self.faults.are_awake() {
            return None;
        }
        let matched = self.routes.find(request.method().as_str(), request.uri().path())?;
        let site = Site {
            function: matched.route.function.clone(),
            kind: Kind::Answer,
            target: matched.key,
        };
        self.faults.pass(site, None)
    }

    /// What goes wrong with a call of a function, and the instances that may have made it: a request names its function
    /// only, which is rarely busy twice.
    fn fault_of_call(&self, caller: &str, resource: &str) -> Option<(Fault, Vec<Arc<Instance>>)> {
        if !self.faults.are_awake() {
            return None;
        }
        let callers = self.functions.busy(caller);
        let invocation = callers.first()?.current();
        let site = Site {
            function: caller.to_owned(),
            kind: Kind::Call,
            target: format!("http {resource}"),
        };
        Some((self.faults.pass(site, invocation.as_deref())?, callers))
    }

    async fn route_badly(
        &self,
        fault: Fault,
        callers: &[Arc<Instance>],
        request: Request<Bytes>,
        peer: SocketAddr,
    ) -> Response<Bytes> {
        let unavailable = || message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        let killed = async { drop(join_all(callers.iter().map(|caller| caller.killed())).await) };
        let work = self.route(request, peer);
        let answered = fault.spoil(work, unavailable(), killed, std::future::pending()).await;
        answered.unwrap_or_else(|| Broken::instead_of(unavailable()))
    }

    /// Functions name themselves in their `User-Agent`.
    fn caller(&self, request: &Request<Bytes>) -> Option<String> {
        let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
        let name = agent.strip_prefix("cfmp/")?.split(' ').next()?;
        self.functions.resolve(name).map(str::to_owned)
    }

    /// What a request goes back to: a client says of which flow it is, a function is known by what it is busy with.
    fn origin(&self, request: &mut Request<Bytes>) -> Option<Origin> {
        let turns = self.faults.turns();
        if !turns.are_awake() {
            return None;
        }
        let said = request.headers_mut().remove(turns::HEADER);
        if let Some(lane) = said.and_then(|value| value.to_str().ok().and_then(Lane::named)) {
            return Some(Origin::Client(lane));
        }
        let caller = self.caller(request)?;
        let busy = self.functions.busy(&caller);
        let busy: Vec<String> = busy.iter().filter_map(|instance| instance.current()).collect();
        Some(turns.origin_of(&caller, &busy))
    }

    async fn route(&self, request: Request<Bytes>, peer: SocketAddr) -> Response<Bytes> {
        let origin = request.headers().get(ORIGIN).cloned();
        let request_id = Uuid::new_v4().to_string();
        let mut response = self.gateway(request, peer, &request_id, origin.as_ref()).await;
        if let Some(cors) = &self.cors {
            add_cors(&mut response, cors, origin.as_ref());
        }
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("apigw-requestid", id);
        }
        response
    }

    async fn gateway(
        &self,
        mut request: Request<Bytes>,
        peer: SocketAddr,
        request_id: &str,
        origin: Option<&HeaderValue>,
    ) -> Response<Bytes> {
        let headers: usize = request
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if headers > HEADERS_LIMIT {
            return message(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
            );
        }
        if request.body().len() > BODY_LIMIT {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        }
        if !is_addressed(&request) {
            return message(StatusCode::BAD_REQUEST, "Bad Request");
        }
        if let (Some(cors), &Method::OPTIONS) = (&self.cors, request.method()) {
            return preflight(cors, origin);
        }
        let Some(matched) = self.routes.find(request.method().as_str(), request.uri().path()) else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let origin = self.origin(&mut request);
        let given_trace = request
            .headers()
            .get("x-amzn-trace-id")
            .and_then(|value| value.to_str().ok());
        let trace_id = given_trace.map_or_else(|| functions::trace_id(&self.clock), str::to_owned);
        let context = Context {
            request_id,
            now_ms: self.clock.now_ms(),
            peer,
            trace_id: &trace_id,
        };
        let event = payload::event(&request, &matched, &context).to_string();
        if event.len() > functions::PAYLOAD_LIMIT {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        }
        let mut invocation = Invocation::new(Bytes::from(event), Trigger::Http(matched.key), &self.clock);
        invocation.trace_id = trace_id;
        let _under_way = self.faults.turns().begin(&invocation.request_id, origin);
        let answer = tokio::time::timeout(
            INTEGRATION_TIMEOUT,
            self.functions.run(&matched.route.function, invocation),
        );
        match answer.await {
            Ok(Outcome::Answered(answer)) => payload::response(&answer).unwrap_or_else(failure),
            Ok(Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Crashed) => failure(),
            Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }
}

/// Whether a URL can be made of the host and the path: what functions get to see always is one.
fn is_addressed(request: &Request<Bytes>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let url = host.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    url.is_some_and(|url| url.path() == "/" && url.username().is_empty()) && request.uri().path().starts_with('/')
}

fn failure() -> Response<Bytes> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn message(status: StatusCode, text: &str) -> Response<Bytes> {
    json_response(status, &json!({ "message": text }))
}

/// What the CloudFront Function of the deployed front does.
fn fold_trailing_slash(request: &mut Request<Bytes>) {
    let uri = request.uri();
    let Some(folded) = uri.path().strip_suffix('/').filter(|_| uri.path().starts_with("/api/")) else {
        return;
    };
    let folded = match uri.query() {
        Some(query) => format!("{folded}?{query}"),
        None => folded.to_owned(),
    };
    if let Ok(folded) = folded.parse::<Uri>() {
        *request.uri_mut() = folded;
    }
}

fn preflight(cors: &Cors, origin: Option<&HeaderValue>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if allowed_origin(cors, origin).is_some() {
        let mut set = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        };
        if !cors.allow_methods.is_empty() {
            set("access-control-allow-methods", cors.allow_methods.join(","));
        }
        if !cors.allow_headers.is_empty() {
            set("access-control-allow-headers", cors.allow_headers.join(","));
        }
        if let Some(age) = cors.max_age {
            set("access-control-max-age", age.to_string());
        }
    }
    response
}

/// Where the gateway does CORS, what the function says about it is dropped.
fn add_cors(response: &mut Response<Bytes>, cors: &Cors, origin: Option<&HeaderValue>) {
    let is_preflight = response.status() == StatusCode::NO_CONTENT && response.body().is_empty();
    let own: Vec<HeaderName> = response
        .headers()
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    if !is_preflight {
        for name in own {
            response.headers_mut().remove(name);
        }
    }
    let Some(allowed) = allowed_origin(cors, origin) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", allowed);
    if cors.allow_credentials {
        headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
    }
    if let Ok(exposed) = HeaderValue::try_from(cors.expose_headers.join(","))
        && !exposed.is_empty()
    {
        headers.insert("access-control-expose-headers", exposed);
    }
}

fn allowed_origin(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    let any = cors.allow_origins.iter().any(|allowed| allowed == "*");
    if any && !cors.allow_credentials {
        return Some(HeaderValue::from_static("*"));
    }
    let named = cors
        .allow_origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes());
    (any || named).then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_strips_one_slash_below_api_and_keeps_the_query() {
        for (given, folded) in [
            ("/api/orders/?page=2", "/api/orders?page=2"),
            ("/api/orders//", "/api/orders/"),
            ("/api/", "/api"),
            ("/sandbox/", "/sandbox/"),
            ("/api/orders", "/api/orders"),
        ] {
            let mut request = Request::get(given).body(Bytes::new()).unwrap();
            fold_trailing_slash(&mut request);
            assert_eq!(request.uri().to_string(), folded);
        }
    }

    #[test]
    fn a_request_without_a_host_or_a_path_goes_nowhere() {
        for (host, path, addressed) in [
            (Some("127.0.0.1:3000"), "/api/orders", true),
            (Some("[::1]:3000"), "/", true),
            (None, "/api/orders", false),
            (Some(""), "/api/orders", false),
            (Some("[::"), "/api/orders", false),
            (Some("host:99999"), "/api/orders", false),
            (Some("host/path"), "/api/orders", false),
            (Some("127.0.0.1"), "*", false),
        ] {
            let mut request = Request::options(path).body(Bytes::new()).unwrap();
            if let Some(host) = host {
                request.headers_mut().insert(HOST, HeaderValue::from_static(host));
            }
            assert_eq!(is_addressed(&request), addressed, "{host:?} {path}");
        }
    }

    #[test]
    fn an_origin_that_is_not_named_is_not_allowed() {
        let cors = Cors {
            allow_origins: vec!["https://cfmp.test".to_owned()],
            ..Cors::default()
        };
        let stranger = HeaderValue::from_static("https://evil.test");
        let friend = HeaderValue::from_static("https://cfmp.test");
        assert_eq!(allowed_origin(&cors, Some(&stranger)), None);
        assert_eq!(allowed_origin(&cors, Some(&friend)), Some(friend.clone()));
        assert_eq!(preflight(&cors, Some(&stranger)).headers().len(), 0);
    }
}
