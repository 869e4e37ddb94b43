//! An operator's hands: a running platform from outside, over HTTP, whichever process it lives in.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Platform;
use crate::aws::permissions::OPERATOR;
use crate::simulator::Simulator;

/// Longest wait for an answer: longer than the whole of a table takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the platform did not do as it was told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{request}: {reason}")]
pub struct OperatorError {
    /// What was asked.
    pub request: String,
    /// What came instead.
    pub reason: String,
}

/// Somebody with every right on one platform.
#[derive(Debug, Clone)]
pub struct Operator {
    client: Client<HttpConnector, Full<Bytes>>,
    base_url: String,
    simulator: Option<String>,
}

impl Operator {
    /// At the platform that serves at `base_url`, with its simulated providers at `simulator`, where they are.
    #[must_use]
    pub fn at(base_url: &str, simulator: Option<&str>) -> Operator {
        Operator {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base_url: base_url.to_owned(),
            simulator: simulator.map(str::to_owned),
        }
    }

    /// At this platform.
    #[must_use]
    pub fn of(platform: &Platform) -> Operator {
        Operator::at(platform.base_url(), platform.simulator().map(Simulator::base_url))
    }

    /// What `/_local/...`, or a route for everybody, says.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn get(&self, path: &str) -> Result<Value, OperatorError> {
        self.expect(Method::GET, format!("{}{path}", self.base_url), None).await
    }

    /// Tells `/_local/...`, or a route for everybody, something.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, OperatorError> {
        let url = format!("{}{path}", self.base_url);
        self.expect(Method::POST, url, Some(body)).await
    }

    /// Looks into the tables with nobody's permissions: `operation` is DynamoDB's, e.g. `Scan`.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn dynamodb(&self, operation: &str, body: &Value) -> Result<Value, OperatorError> {
        let failed = |reason: String| OperatorError {
            request: format!("dynamodb:{operation}"),
            reason,
        };
        let request = dynamodb(operation, body).map_err(|error| failed(error.to_string()))?;
        let (mut head, body) = request.into_parts();
        let url = format!("{}/", self.base_url).parse();
        head.uri = url.map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
        let (status, answer) = self.ask(Request::from_parts(head, body)).await.map_err(&failed)?;
        match status.is_success() {
            true => Ok(answer),
            false => Err(failed(format!("{status} {answer}"))),
        }
    }

    /// What the simulated providers have in their books; nothing where there are none.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn simulated_books(&self) -> Result<Option<Value>, OperatorError> {
        let Some(simulator) = &self.simulator else {
            return Ok(None);
        };
        let url = format!("{simulator}/_simulator/books");
        self.expect(Method::GET, url, None).await.map(Some)
    }

    /// Sets switches of the simulated providers; nothing where there are none.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn set_switches(&self, switches: &Value) -> Result<(), OperatorError> {
        let Some(simulator) = &self.simulator else {
            return Ok(());
        };
        let url = format!("{simulator}/_simulator/switches");
        self.expect(Method::POST, url, Some(switches)).await.map(drop)
    }

    async fn expect(&self, method: Method, url: String, body: Option<&Value>) -> Result<Value, OperatorError> {
        let failed = |reason: String| OperatorError {
            request: url.clone(),
            reason,
        };
        let request = Request::builder().method(method).uri(&url);
        let request = request.header("content-type", "application/json");
        let request = request.body(Bytes::from(body.map_or_else(String::new, Value::to_string)));
        let request = request.map_err(|error| failed(error.to_string()))?;
        let (status, answer) = self.ask(request).await.map_err(failed)?;
        match status.is_success() {
            true => Ok(answer),
            false => Err(failed(format!("{status} {answer}"))),
        }
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<(StatusCode, Value), String> {
        let answered = async {
            let answer = self.client.request(request.map(Full::new)).await;
            let answer = answer.map_err(|error| format!("{error:?}"))?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
        };
        let silence = || Err(format!("no answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| silence())
    }
}

/// A call of DynamoDB that needs nobody's permission.
pub(crate) fn dynamodb(operation: &str, body: &Value) -> Result<Request<Bytes>, http::Error> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={OPERATOR}/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
    );
    Request::post("/")
        .header("authorization", authorization)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20260101T000000Z")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .body(Bytes::from(body.to_string()))
}
