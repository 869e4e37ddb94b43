//! Lambda's Invoke API, as `cargo lambda invoke`, `sam` and the AWS CLI speak it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::clock::PlatformClock;
use crate::functions::{Functions, Invocation, Outcome, PAYLOAD_LIMIT, Trigger};
use crate::http_api::route::decoded;
use crate::recording::{Event, Recording};
use crate::runtime_api::json_response;

/// Where the Invoke API begins.
pub(crate) const PREFIX: &str = "/2015-03-31/functions/";
/// Lambda tries a failed asynchronous invocation twice again.
const RETRIES_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// The Invoke API of one platform.
#[derive(Debug, Clone)]
pub(crate) struct InvokeApi {
    pub(crate) functions: Functions,
    pub(crate) clock: PlatformClock,
    pub(crate) recording: Recording,
}

impl InvokeApi {
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let Some(name) = function(request.uri().path()) else {
            return refusal(
                StatusCode::NOT_FOUND,
                "ResourceNotFoundException",
                "no such operation of the Invoke API",
            );
        };
        let Some(function) = self.functions.resolve(&name).map(str::to_owned) else {
            let message = format!("Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}");
            return refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
        };
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let invocation_type = header("x-amz-invocation-type").unwrap_or("RequestResponse").to_owned();
        let client_context = header("x-amz-client-context")
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let payload = request.into_body();
        if payload.len() > PAYLOAD_LIMIT {
            let message = format!(
                "{} byte payload is too large for the {invocation_type} invocation type (limit {PAYLOAD_LIMIT} bytes)",
                payload.len()
            );
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message);
        }
        // No payload is an empty object, as on Lambda.
        let payload = if payload.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            payload
        };
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            let message = format!("Could not parse request body into json: {error}");
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message);
        }
        let mut invocation = Invocation::new(payload, Trigger::Invoke, &self.clock);
        invocation.client_context = client_context;
        let request_id = invocation.request_id.clone();
        let mut response = match invocation_type.as_str() {
            "RequestResponse" => {
                let outcome = self.functions.run(&function, invocation).await;
                answered(&request_id, outcome)
            }
            "Event" => {
                tokio::spawn(self.clone().invoke_later(function, invocation));
                empty(StatusCode::ACCEPTED)
            }
            "DryRun" => empty(StatusCode::NO_CONTENT),
            other => {
                let message = format!("{other} is not an invocation type");
                refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message)
            }
        };
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    async fn invoke_later(self, function: String, invocation: Invocation) {
        for pause in RETRIES_AFTER.into_iter().map(Some).chain([None]) {
            let outcome = self.functions.run(&function, invocation.clone()).await;
            if matches!(outcome, Outcome::Answered(_)) {
                return;
            }
            let Some(pause) = pause else { break };
            let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            self.clock.sleep_until(self.clock.now_ms().saturating_add(pause)).await;
        }
        self.recording.event(Event {
            at_ms: self.clock.now_ms(),
            kind: "invocation-abandoned",
            function: Some(function),
            detail: json!({ "request_id": invocation.request_id }),
        });
    }
}

/// The name of the function that a path of the Invoke API is about.
pub(crate) fn function(path: &str) -> Option<String> {
    let name = path.strip_prefix(PREFIX)?.strip_suffix("/invocations")?;
    Some(decoded(name))
}

fn answered(request_id: &str, outcome: Outcome) -> Response<Bytes> {
    let error = match outcome {
        Outcome::Answered(answer) => {
            let mut response = Response::new(answer);
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
                .headers_mut()
                .insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
            return response;
        }
        Outcome::Failed { error_type, message } => json!({ "errorType": error_type, "errorMessage": message }),
        Outcome::TimedOut => json!({
            "errorType": "Sandbox.Timedout",
            "errorMessage": format!("RequestId: {request_id} Error: Task timed out"),
        }),
        Outcome::Crashed => json!({
            "errorType": "Runtime.ExitError",
            "errorMessage": format!("RequestId: {request_id} Error: Runtime exited without providing a reason"),
        }),
    };
    let mut response = json_response(StatusCode::OK, &error);
    response
        .headers_mut()
        .insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    response
        .headers_mut()
        .insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, error_type: &'static str, message: &str) -> Response<Bytes> {
    let body: Value = json!({ "Type": "User", "Message": message, "message": message });
    let mut response = json_response(status, &body);
    response
        .headers_mut()
        .insert("x-amzn-errortype", HeaderValue::from_static(error_type));
    response
}
