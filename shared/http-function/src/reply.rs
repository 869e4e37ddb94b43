//! Answers.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderValue, StatusCode};
use kernel::Page;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{Call, Problem};

/// The neighbours of a page, where there are any, for the lists that have a shape of their own.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageLinks {
    #[schema(required)]
    next: Option<String>,
    #[schema(required)]
    previous: Option<String>,
}

impl PageLinks {
    /// The neighbours of `page` in the list that `call` asks for.
    #[must_use]
    pub fn of<T>(page: &Page<T>, call: &Call) -> Self {
        let url = |number| call.url_of_page(number);
        Self {
            next: page.next().map(url),
            previous: page.previous().map(url),
        }
    }
}

/// An answer: status, headers and body.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// 200 with `{"code": 200, "message": ..., "data": ...}`.
    ///
    /// # Errors
    /// [`Problem::internal`] when the data can not be written as JSON.
    pub fn ok(message: &str, data: impl Serialize) -> Result<Self, Problem> {
        Self::json(
            StatusCode::OK,
            &json!({"code": 200, "message": message, "data": value(data)?}),
        )
    }

    /// 201 with the same envelope; `code` stays 200, as clients compare it.
    ///
    /// # Errors
    /// [`Problem::internal`] when the data can not be written as JSON.
    pub fn created(message: &str, data: impl Serialize) -> Result<Self, Problem> {
        Self::json(
            StatusCode::CREATED,
            &json!({"code": 200, "message": message, "data": value(data)?}),
        )
    }

    /// A body of the caller's own shape, without the envelope.
    ///
    /// # Errors
    /// [`Problem::internal`] when the body can not be written as JSON.
    pub fn bare(status: StatusCode, body: impl Serialize) -> Result<Self, Problem> {
        Self::json(status, &value(body)?)
    }

    /// A page of a list in the envelope of lists, with links to its neighbours.
    ///
    /// # Errors
    /// [`Problem::internal`] when an entry can not be written as JSON.
    pub fn list<T: Serialize>(call: &Call, message: &str, page: &Page<T>) -> Result<Self, Problem> {
        Self::list_with(call, message, page, &[])
    }

    /// The same with members of its own beside `count`.
    ///
    /// # Errors
    /// [`Problem::internal`] when an entry can not be written as JSON.
    pub fn list_with<T: Serialize>(
        call: &Call,
        message: &str,
        page: &Page<T>,
        more: &[(&'static str, Value)],
    ) -> Result<Self, Problem> {
        let mut body = json!({
            "count": page.count,
            "next": page.next().map(|number| call.url_of_page(number)),
            "previous": page.previous().map(|number| call.url_of_page(number)),
            "results": {"code": 200, "message": message, "data": value(&page.entries)?},
        });
        for (name, member) in more {
            body[*name] = member.clone();
        }
        Self::json(StatusCode::OK, &body)
    }

    /// A few words, in the form that whoever asked expects.
    #[must_use]
    pub fn text(status: StatusCode, content_type: &'static str, text: &'static str) -> Self {
        Self::with_type(status, content_type, Bytes::from_static(text.as_bytes()))
    }

    /// A web page.
    #[must_use]
    pub fn page(status: StatusCode, html: String) -> Self {
        Self::with_type(status, "text/html; charset=utf-8", html.into())
    }

    /// A file that belongs to a deployment and changes with it only; browsers may keep it for an hour.
    ///
    /// # Errors
    /// [`Problem::internal`] when the content type can not stand in a header.
    pub fn file(content_type: &str, content: impl Into<Bytes>) -> Result<Self, Problem> {
        Self::with_type(StatusCode::OK, "application/octet-stream", content.into())
            .header(CONTENT_TYPE, content_type)?
            .header(CACHE_CONTROL, "public, max-age=3600")
    }

    /// Nothing but a status.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A redirect to `url`.
    ///
    /// # Errors
    /// [`Problem::internal`] when the URL can not stand in a header.
    pub fn redirect(status: StatusCode, url: &str) -> Result<Self, Problem> {
        Self::empty(status).header(LOCATION, url)
    }

    /// Sets a header, in place of an earlier one of that name.
    ///
    /// # Errors
    /// [`Problem::internal`] when the value can not stand in a header.
    pub fn header(mut self, name: HeaderName, text: &str) -> Result<Self, Problem> {
        let value = HeaderValue::from_str(text).map_err(Problem::internal)?;
        self.headers.retain(|(earlier, _)| *earlier != name);
        self.headers.push((name, value));
        Ok(self)
    }

    fn json(status: StatusCode, body: &Value) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        Ok(Self::with_type(status, "application/json", body.into()))
    }

    pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status, headers, body }
    }
}

fn value(data: impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(data).map_err(Problem::internal)
}
