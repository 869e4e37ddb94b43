//! Payload format 2.0 of API Gateway: the event that a function gets for a request, and the response that its answer
//! becomes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::DateTime;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::route::{Matched, decoded};

/// Headers between two hops, and what the gateway writes itself.
const NOT_PASSED_ON: [&str; 7] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the gateway adds to a request.
pub(super) struct Context<'a> {
    pub(super) request_id: &'a str,
    pub(super) now_ms: i64,
    pub(super) peer: SocketAddr,
    pub(super) trace_id: &'a str,
}

/// The event for a request on its way to `matched`.
pub(super) fn event(request: &Request<Bytes>, matched: &Matched, context: &Context<'_>) -> Value {
    let path = decoded(request.uri().path());
    let raw_query = request.uri().query().unwrap_or_default();
    let peer = context.peer.ip().to_string();
    let (mut headers, cookies) = headers(request.headers());
    let host = headers.get("host").cloned().unwrap_or_default();
    let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
    let forwarded = match headers.get("x-forwarded-for") {
        Some(earlier) => format!("{earlier}, {peer}"),
        None => peer.clone(),
    };
    headers.insert("x-forwarded-for".to_owned(), forwarded);
    headers.insert(
        "x-forwarded-port".to_owned(),
        host.rsplit_once(':').map_or("80", |(_, port)| port).to_owned(),
    );
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    headers.insert("x-amzn-trace-id".to_owned(), context.trace_id.to_owned());
    headers.insert("content-length".to_owned(), request.body().len().to_string());
    let mut event = json!({
        "version": "2.0",
        "routeKey": matched.key,
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split('.').next(),
            "http": {
                "method": request.method().as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer,
                "userAgent": user_agent,
            },
            "requestId": context.request_id,
            "routeKey": matched.key,
            "stage": "$default",
            "time": time(context.now_ms),
            "timeEpoch": context.now_ms,
        },
        "isBase64Encoded": false,
    });
    if let Some(event) = event.as_object_mut() {
        if !cookies.is_empty() {
            event.insert("cookies".to_owned(), json!(cookies));
        }
        let query = query(raw_query);
        if !query.is_empty() {
            event.insert("queryStringParameters".to_owned(), json!(query));
        }
        if !matched.parameters.is_empty() {
            event.insert("pathParameters".to_owned(), json!(matched.parameters));
        }
        insert_body(event, request);
    }
    event
}

/// Text types arrive as they are, everything else in base64: forms too, and bodies that do not say what they are.
fn insert_body(event: &mut Map<String, Value>, request: &Request<Bytes>) {
    if request.body().is_empty() {
        return;
    }
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_text = essence.starts_with("text/")
        || matches!(
            essence.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        );
    match std::str::from_utf8(request.body()) {
        Ok(text) if is_text => event.insert("body".to_owned(), Value::from(text)),
        // JSON could not carry a body that is text by name only.
        _ => {
            event.insert("isBase64Encoded".to_owned(), Value::Bool(true));
            event.insert("body".to_owned(), Value::from(STANDARD.encode(request.body())))
        }
    };
}

/// Names in lower case, repeated values joined by commas; cookies travel apart.
fn headers(given: &HeaderMap) -> (BTreeMap<String, String>, Vec<String>) {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in given {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == http::header::COOKIE {
            cookies.extend(
                value
                    .split(';')
                    .map(|cookie| cookie.trim().to_owned())
                    .filter(|cookie| !cookie.is_empty()),
            );
        } else if !NOT_PASSED_ON.contains(&name.as_str()) {
            join(&mut headers, name.as_str(), &value);
        }
    }
    (headers, cookies)
}

fn query(raw: &str) -> BTreeMap<String, String> {
    let mut query = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
        join(&mut query, &name, &value);
    }
    query
}

fn join(map: &mut BTreeMap<String, String>, name: &str, value: &str) {
    map.entry(name.to_owned())
        .and_modify(|earlier| {
            earlier.push(',');
            earlier.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

fn time(now_ms: i64) -> String {
    DateTime::from_timestamp_millis(now_ms)
        .map(|time| time.format("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

/// The response that a function's answer stands for; `None` where API Gateway would call it malformed.
pub(super) fn response(answer: &Bytes) -> Option<Response<Bytes>> {
    let value: Value = serde_json::from_slice(answer).ok()?;
    let Some(shape) = value.as_object().filter(|shape| shape.contains_key("statusCode")) else {
        // Anything else is the body of a successful answer.
        let body = match value {
            Value::String(text) => Bytes::from(text),
            _ => answer.clone(),
        };
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Some(response);
    };
    let status = match shape.get("statusCode")? {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let is_base64 = match shape.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return None,
    };
    let body = match shape.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if is_base64 => Bytes::from(STANDARD.decode(text).ok()?),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(_) => return None,
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    match shape.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let name = HeaderName::try_from(name.as_str()).ok()?;
                let value = match value {
                    Value::String(text) => HeaderValue::try_from(text.as_str()).ok()?,
                    Value::Number(_) | Value::Bool(_) => HeaderValue::try_from(value.to_string()).ok()?,
                    _ => return None,
                };
                if !NOT_PASSED_ON.contains(&name.as_str()) {
                    headers.append(name, value);
                }
            }
        }
        Some(_) => return None,
    }
    if let Some(cookies) = shape.get("cookies").filter(|cookies| !cookies.is_null()) {
        for cookie in cookies.as_array()? {
            headers.append(SET_COOKIE, HeaderValue::try_from(cookie.as_str()?).ok()?);
        }
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    headers.remove(CONTENT_LENGTH);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::model::Route;

    fn event_of(request: Request<&'static [u8]>) -> Value {
        let matched = Matched {
            route: Route {
                method: "POST".into(),
                path: "/api/orders/{id}".into(),
                function: "F".into(),
            },
            key: "POST /api/orders/{id}".into(),
            parameters: BTreeMap::from([("id".to_owned(), "7".to_owned())]),
        };
        let context = Context {
            request_id: "r",
            now_ms: 1_583_348_638_390,
            peer: "127.0.0.1:9".parse().unwrap(),
            trace_id: "Root=1",
        };
        event(&request.map(Bytes::from_static), &matched, &context)
    }

    #[test]
    fn a_request_becomes_an_event_of_format_2() {
        let request = Request::post("/api/orders/a%20b?x=1&y=a%20b&x=2")
            .header("Host", "127.0.0.1:3000")
            .header("Accept", "a")
            .header("accept", "b")
            .header("Cookie", "one=1; two=2")
            .header("Content-Type", "application/json; charset=utf-8")
            .body(&b"{}"[..])
            .unwrap();
        let event = event_of(request);
        assert_eq!(event["rawPath"], "/api/orders/a b");
        assert_eq!(event["rawQueryString"], "x=1&y=a%20b&x=2");
        assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": "a b"}));
        assert_eq!(event["cookies"], json!(["one=1", "two=2"]));
        assert_eq!(event["headers"]["accept"], "a,b");
        assert_eq!(event["headers"]["cookie"], Value::Null);
        assert_eq!(event["body"], "{}");
        assert_eq!(event["isBase64Encoded"], false);
        assert_eq!(event["requestContext"]["time"], "04/Mar/2020:19:03:58 +0000");
        assert_eq!(event["pathParameters"], json!({"id": "7"}));
    }

    #[test]
    fn what_is_not_text_by_name_and_by_bytes_is_base64() {
        for (content_type, body) in [
            (Some("application/x-www-form-urlencoded"), &b"a=1"[..]),
            (None, b"{}"),
            (Some("application/json"), b"\xff"),
        ] {
            let mut request = Request::post("/").body(body).unwrap();
            if let Some(content_type) = content_type {
                request
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            let event = event_of(request);
            assert_eq!(event["isBase64Encoded"], true, "{content_type:?}");
            assert_eq!(event["body"], STANDARD.encode(body));
        }
    }

    #[test]
    fn answers_are_inferred_as_the_gateway_does() {
        let of = |text: &'static str| response(&Bytes::from_static(text.as_bytes()));
        let hello = of(r#""Hello""#).unwrap();
        assert_eq!((hello.status(), hello.body().as_ref()), (StatusCode::OK, &b"Hello"[..]));
        assert_eq!(hello.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(of(r#"{"a": 1}"#).unwrap().body().as_ref(), br#"{"a": 1}"#);
        let full = of(
            r#"{"statusCode":201,"headers":{"X-A":"b","content-length":"7"},"cookies":["a=1","b=2"],"body":"aGk=","isBase64Encoded":true}"#,
        )
        .unwrap();
        assert_eq!(full.status(), StatusCode::CREATED);
        assert_eq!(full.body().as_ref(), b"hi");
        assert_eq!(full.headers()["x-a"], "b");
        assert!(!full.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(full.headers().get_all(SET_COOKIE).iter().count(), 2);
        for malformed in [
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":200,"body":{}}"#,
            "not json",
            r#"{"statusCode":99}"#,
        ] {
            assert!(of(malformed).is_none(), "{malformed}");
        }
    }
}
