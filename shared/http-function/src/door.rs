//! From the Lambda Runtime API to an operation and back.

use std::collections::HashMap;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use cloud::{Cloud, StartError};
use futures::FutureExt;
use http::{HeaderValue, Response, header};
use kernel::{Timestamp, Zone};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use serde_json::Value;

use crate::callers::Callers;
use crate::{Api, Call, Problem, Reply};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Operation = Box<dyn Fn(Call) -> Boxed<Result<Reply, Problem>> + Send + Sync>;
type Build = Box<dyn FnOnce(Cloud) -> Boxed<Result<Operation, StartError>>>;

/// Runs an HTTP function until the Lambda service ends it.
///
/// `build` makes the function's state from the environment, once per instance; `operation` answers one call; `describe`
/// says what it takes and answers: with the argument `--describe` a development build prints that instead of serving. A
/// failure to start is logged in one line that names what has to be mended, and the exit code is 1.
///
/// Generic only at its rim: everything behind the two boxes is compiled once, in this crate.
pub fn open<S, Started, Answered, E>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Call) -> Answered + Send + Sync + 'static,
    describe: impl FnOnce(&mut Api),
) -> ExitCode
where
    S: Send + Sync + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Answered: Future<Output = Result<Reply, E>> + Send + 'static,
    E: Into<Problem>,
{
    // Deployed functions carry no descriptions: they would make every one of them larger.
    #[cfg(debug_assertions)]
    if std::env::args().nth(1).as_deref() == Some("--describe") {
        return crate::description::print(describe);
    }
    #[cfg(not(debug_assertions))]
    drop(describe);
    let build: Build = Box::new(move |cloud| {
        Box::pin(async move {
            let state = Arc::new(build(cloud).await?);
            let operation: Operation =
                Box::new(move |call| Box::pin(operation(state.clone(), call).map(|answer| answer.map_err(Into::into))));
            Ok(operation)
        })
    });
    cloud::instance::run(Box::pin(run(build)))
}

async fn run(build: Build) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cloud = Cloud::from_env()?;
    let (operation, callers) = tokio::try_join!(build(cloud.clone()), Callers::from_env(&cloud))?;
    let door = Arc::new(Door {
        operation,
        callers,
        zone: cloud
            .settings()
            .parsed("DISPLAY_UTC_OFFSET")
            .map_err(StartError::from)?,
        base_url: cloud.settings().required("API_BASE_URL").map_err(StartError::from)?,
        cloud,
    });
    lambda_http::run(lambda_http::service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, std::convert::Infallible>(door.answer(request).await) }
    }))
    .await
}

struct Door {
    operation: Operation,
    callers: Callers,
    zone: Zone,
    base_url: String,
    cloud: Cloud,
}

impl Door {
    async fn answer(&self, request: Request) -> Response<Body> {
        let started = std::time::Instant::now();
        let (request_id, route) = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => (
                context.request_id.clone().unwrap_or_default(),
                context.route_key.clone().unwrap_or_default(),
            ),
            _ => Default::default(),
        };
        let wants_problem_json = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/problem+json"));
        let now = self.cloud.clock().now();
        let outcome = match self.call(request, now).await {
            Ok(call) => (self.operation)(call).await,
            Err(problem) => Err(problem),
        };
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(reply) => {
                tracing::info!(
                    request_id,
                    route,
                    status = reply.status.as_u16(),
                    elapsed_ms,
                    "answered"
                );
                response(reply, &request_id)
            }
            Err(problem) => {
                let (status, kind) = (problem.status().as_u16(), problem.kind());
                match problem.chain() {
                    Some(cause) => tracing::error!(request_id, route, status, kind, cause, elapsed_ms, "failed"),
                    None => tracing::info!(request_id, route, status, kind, elapsed_ms, "refused"),
                }
                response(refusal(&problem, wants_problem_json, &request_id), &request_id)
            }
        }
    }

    async fn call(&self, request: Request, now: Timestamp) -> Result<Call, Problem> {
        let path_parameters: HashMap<String, String> = request
            .path_parameters()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let client_ip = client_ip(&request);
        let raw_query = request.uri().query().unwrap_or_default().to_owned();
        let query = form_urlencoded::parse(raw_query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let raw_path = request.raw_http_path().to_owned();
        let path = raw_path.trim_end_matches('/').to_owned();
        let (parts, body) = request.into_parts();
        let body = match body {
            Body::Text(text) => Bytes::from(text),
            Body::Binary(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        };
        let caller = self.callers.identify(&parts.headers, now).await;
        Ok(Call {
            caller,
            method: parts.method,
            path,
            raw_path,
            raw_query,
            path_parameters,
            query,
            headers: parts.headers,
            client_ip,
            body,
            now,
            zone: self.zone,
            base_url: self.base_url.clone(),
        })
    }
}

/// CloudFront appends the address that called it to `X-Forwarded-For`, API Gateway that of CloudFront: the last but one is
/// the client's, whatever he wrote before it. Who calls API Gateway directly is the only one there.
fn client_ip(request: &Request) -> Option<String> {
    let forwarded = request
        .headers()
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok());
    let before_the_front = forwarded
        .and_then(|all| all.rsplit(',').nth(1))
        .map(|ip| ip.trim().to_owned());
    before_the_front.or_else(|| match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        _ => None,
    })
}

fn refusal(problem: &Problem, wants_problem_json: bool, request_id: &str) -> Reply {
    let (content_type, body): (_, Value) = if wants_problem_json {
        ("application/problem+json", problem.problem_json(request_id))
    } else {
        ("application/json", problem.envelope(request_id))
    };
    let mut reply = Reply::with_type(problem.status(), content_type, body.to_string().into());
    for (name, text) in problem.headers() {
        reply
            .headers
            .extend(HeaderValue::from_str(text).map(|value| (name.clone(), value)));
    }
    reply
}

fn response(reply: Reply, request_id: &str) -> Response<Body> {
    let is_text = std::str::from_utf8(&reply.body).is_ok();
    let body = match (reply.body.is_empty(), is_text) {
        (true, _) => Body::Empty,
        (false, true) => Body::Text(String::from_utf8_lossy(&reply.body).into_owned()),
        (false, false) => Body::Binary(reply.body.to_vec()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    for (name, value) in reply.headers {
        response.headers_mut().append(name, value);
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
