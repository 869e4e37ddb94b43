//! Refusals and failures, and the envelope in which clients read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;

use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use service_client::CallError;
use tables::TableError;

/// Why a call is not answered as asked: the HTTP status says what happened, `kind` is a stable slug for programs, the
/// message is for people, `fields` names what has to be changed.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

/// On the heap: a refusal is rare, and every answer of every operation has room for one.
#[derive(Debug)]
struct Parts {
    status: StatusCode,
    kind: &'static str,
    message: Cow<'static, str>,
    fields: BTreeMap<String, String>,
    fail_code: Option<&'static str>,
    extra: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, String)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A refusal with a status, a stable slug and a sentence for people.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            kind,
            message: message.into(),
            fields: BTreeMap::new(),
            fail_code: None,
            extra: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// 400: the field `name` is not acceptable, for this reason.
    pub fn invalid_field(name: impl Into<String>, reason: impl ToString) -> Self {
        let (name, reason) = (name.into(), reason.to_string());
        Self::new(StatusCode::BAD_REQUEST, "invalid-field", format!("{name}: {reason}")).field(name, reason)
    }

    /// 401: nobody is logged in, or the token proves nothing.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Log in first.").fail_code("UNAUTHENTICATED")
    }

    /// 403: a known caller who may not do this.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message).fail_code("FORBIDDEN")
    }

    /// 404: not there, or somebody else's.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("There is no such {what}."))
    }

    /// 405: no path takes this method; these ones, separated by commas, some paths do.
    #[must_use]
    pub fn method_not_allowed(allowed: String) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This method is not allowed.",
        );
        problem.0.headers.push((ALLOW, allowed));
        problem
    }

    /// 409: the state of things forbids it.
    pub fn conflict(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, message)
    }

    /// 503: something this call needs does not answer; it may be repeated in two seconds.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The service is busy. Nothing was lost; please try again in a moment.",
        );
        problem.0.cause = Some(cause.into());
        problem.retry_after(2)
    }

    /// 500: a fault of ours. The client learns the request id only.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong on our side. Please report the request id.",
        );
        problem.0.cause = Some(cause.into());
        problem
    }

    /// Names a field that is at fault.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.0.fields.insert(name.into(), reason.into());
        self
    }

    /// Sets `fail_code`, and with it `fail_msg`, which the log-in pages read.
    #[must_use]
    pub fn fail_code(mut self, code: &'static str) -> Self {
        self.0.fail_code = Some(code);
        self
    }

    /// Adds a member to the error's body, beside `code` and `message`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.extra.push((name, value.into()));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.headers.retain(|(name, _)| *name != RETRY_AFTER);
        self.0.headers.push((RETRY_AFTER, seconds.to_string()));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable slug.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields at fault, each with what is wrong with it.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.0.fields
    }

    /// The headers that go with it.
    pub(crate) fn headers(&self) -> &[(HeaderName, String)] {
        &self.0.headers
    }

    /// The cause with all of its causes, for the log.
    #[must_use]
    pub fn chain(&self) -> Option<String> {
        let mut next: Option<&(dyn Error + 'static)> = Some(self.0.cause.as_deref()?);
        let mut chain = Vec::new();
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        Some(chain.join(": "))
    }

    /// The published envelope.
    pub(crate) fn envelope(&self, request_id: &str) -> Value {
        let mut body = json!({
            "code": self.0.status.as_u16(),
            "message": self.0.message,
            "data": null,
            "error": {"type": self.0.kind, "fields": self.0.fields},
            "request_id": request_id,
        });
        if let Some(code) = self.0.fail_code {
            body["fail_code"] = json!(code);
            body["fail_msg"] = json!(self.0.message);
        }
        for (name, value) in &self.0.extra {
            body[*name] = value.clone();
        }
        body
    }

    /// RFC 9457, for clients that accept `application/problem+json`.
    pub(crate) fn problem_json(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:cfmp:problem:{}", self.0.kind),
            "title": self.0.status.canonical_reason(),
            "status": self.0.status.as_u16(),
            "detail": self.0.message,
            "instance": format!("urn:cfmp:request:{request_id}"),
            "fields": self.0.fields,
        });
        for (name, value) in &self.0.extra {
            body[*name] = value.clone();
        }
        body
    }
}

/// A refused condition that no operation gave a meaning to is a lost race.
impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        match error {
            TableError::ConditionFailed | TableError::TransactionRefused { .. } => Self::conflict(
                "changed-meanwhile",
                "It was changed by somebody else just now. Look again and repeat.",
            ),
            TableError::Unavailable { .. } => Self::unavailable(error),
            TableError::Corrupt { .. } | TableError::Refused { .. } | TableError::Rehearsed(_) => Self::internal(error),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable { .. } => Self::unavailable(error),
            CallError::NotUnderstood { .. } => Self::internal(error),
        }
    }
}
