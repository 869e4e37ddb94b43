//! Lambda's Runtime API: `/_runtime/{instance}/2018-06-01/runtime/...`, one tree per process.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::clock::PlatformClock;
use crate::functions::{Functions, PAYLOAD_LIMIT, Reply, Report};

/// Where the Runtime API begins.
pub(crate) const PREFIX: &str = "/_runtime/";

/// The Runtime API of one platform.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeApi {
    pub(crate) functions: Functions,
    pub(crate) clock: PlatformClock,
}

/// Body of an error report; both fields may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Diagnostic {
    error_type: String,
    error_message: String,
}

impl RuntimeApi {
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let Some((instance, path)) = path.split_once("/2018-06-01/runtime/") else {
            return refusal(StatusCode::NOT_FOUND, "InvalidPath", "no such path of the Runtime API");
        };
        let Some(instance) = self.functions.instance(instance) else {
            return refusal(StatusCode::FORBIDDEN, "InvalidInstance", "this instance was ended");
        };
        let segments: Vec<&str> = path.split('/').collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => match instance.next().await {
                Some(job) => {
                    // Functions read the platform's clock, so the deadline is told by it as well.
                    let limit = i64::try_from(job.timeout.as_millis()).unwrap_or(i64::MAX);
                    let deadline = self.clock.now_ms().saturating_add(limit);
                    let mut answer = Response::builder()
                        .header("content-type", "application/json")
                        .header("lambda-runtime-aws-request-id", job.request_id)
                        .header("lambda-runtime-deadline-ms", deadline)
                        .header("lambda-runtime-invoked-function-arn", job.function_arn)
                        .header("lambda-runtime-trace-id", job.trace_id);
                    if let Some(context) = job.client_context {
                        answer = answer.header("lambda-runtime-client-context", context);
                    }
                    answer.body(job.payload).unwrap_or_else(|error| {
                        refusal(StatusCode::INTERNAL_SERVER_ERROR, "InvalidJob", &error.to_string())
                    })
                }
                None => refusal(StatusCode::FORBIDDEN, "InvalidInstance", "the platform is stopping"),
            },
            (&Method::POST, ["invocation", request_id, "response"]) => {
                let body = request.body();
                if body.len() > PAYLOAD_LIMIT {
                    let message = format!(
                        "Response payload size ({} bytes) exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes).",
                        body.len()
                    );
                    let report = Report {
                        error_type: "Function.ResponseSizeTooLarge".to_owned(),
                        message: message.clone(),
                    };
                    instance.reply(request_id, Reply::Error(report));
                    return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
                }
                accepted(instance.reply(request_id, Reply::Answer(body.clone())))
            }
            (&Method::POST, ["invocation", request_id, "error"]) => {
                accepted(instance.reply(request_id, Reply::Error(report(&request))))
            }
            (&Method::POST, ["init", "error"]) => {
                instance.fail_init(report(&request));
                accepted(true)
            }
            _ => refusal(StatusCode::NOT_FOUND, "InvalidPath", "no such path of the Runtime API"),
        }
    }
}

fn report(request: &Request<Bytes>) -> Report {
    // A report that can not be read is still a report.
    let diagnostic: Diagnostic = serde_json::from_slice(request.body()).unwrap_or_default();
    let header = request.headers().get("lambda-runtime-function-error-type");
    let error_type = match (diagnostic.error_type, header.and_then(|value| value.to_str().ok())) {
        (stated, _) if !stated.is_empty() => stated,
        (_, Some(header)) => header.to_owned(),
        (_, None) => "Unhandled".to_owned(),
    };
    Report {
        error_type,
        message: diagnostic.error_message,
    }
}

fn accepted(known: bool) -> Response<Bytes> {
    if known {
        json_response(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
    } else {
        refusal(
            StatusCode::BAD_REQUEST,
            "InvalidRequestID",
            "the instance is not busy with this invocation",
        )
    }
}

fn refusal(status: StatusCode, error_type: &str, message: &str) -> Response<Bytes> {
    json_response(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
