//! The events that functions of a WebSocket API get.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use http::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Client;

/// What happened to a connection.
pub(super) enum Kind<'a> {
    /// A client wants to connect.
    Connect {
        /// Headers of the handshake.
        headers: &'a HeaderMap,
        /// Its raw query string.
        query: &'a str,
    },
    /// A client says something.
    Message {
        /// What.
        body: &'a [u8],
        /// Whether in a binary frame.
        is_binary: bool,
    },
    /// A client has gone.
    Disconnect {
        /// Code of the close frame, or what stands for its absence.
        code: u16,
        /// Its reason.
        reason: &'a str,
    },
}

/// What the gateway adds.
pub(super) struct Context<'a> {
    pub(super) api: &'a str,
    pub(super) stage: &'a str,
    pub(super) route_key: &'a str,
    pub(super) now_ms: i64,
}

/// Header or parameter values by name.
type Values = BTreeMap<String, Vec<String>>;

pub(super) fn event(client: &Client, kind: &Kind<'_>, context: &Context<'_>) -> Value {
    let request_id = Uuid::new_v4().to_string();
    let requested_at = DateTime::from_timestamp_millis(context.now_ms)
        .map(|time| time.format("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default();
    let mut event = json!({
        "requestContext": {
            "routeKey": context.route_key,
            "eventType": match kind {
                Kind::Connect { .. } => "CONNECT",
                Kind::Message { .. } => "MESSAGE",
                Kind::Disconnect { .. } => "DISCONNECT",
            },
            "extendedRequestId": request_id,
            "requestTime": requested_at,
            "messageDirection": "IN",
            "stage": context.stage,
            "connectedAt": client.connected_ms,
            "requestTimeEpoch": context.now_ms,
            "identity": { "userAgent": client.user_agent, "sourceIp": client.source_ip },
            "requestId": request_id,
            "domainName": client.host,
            "connectionId": client.id,
            "apiId": context.api,
        },
        "isBase64Encoded": false,
    });
    match kind {
        Kind::Connect { headers, query } => {
            insert(&mut event, ("headers", "multiValueHeaders"), &named(headers));
            let mut parameters = Values::new();
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                parameters
                    .entry(name.into_owned())
                    .or_default()
                    .push(value.into_owned());
            }
            if !parameters.is_empty() {
                let names = ("queryStringParameters", "multiValueQueryStringParameters");
                insert(&mut event, names, &parameters);
            }
        }
        Kind::Message { body, is_binary } => {
            event["requestContext"]["messageId"] = json!(Uuid::new_v4().to_string());
            match std::str::from_utf8(body) {
                Ok(text) if !is_binary => event["body"] = json!(text),
                _ => {
                    event["body"] = json!(STANDARD.encode(body));
                    event["isBase64Encoded"] = json!(true);
                }
            }
        }
        Kind::Disconnect { code, reason } => {
            event["requestContext"]["disconnectStatusCode"] = json!(code);
            event["requestContext"]["disconnectReason"] = json!(reason);
            let host = Values::from([("Host".to_owned(), vec![client.host.clone()])]);
            insert(&mut event, ("headers", "multiValueHeaders"), &host);
        }
    }
    event
}

/// The last value of each name, and all of them.
fn insert(event: &mut Value, (last, all): (&str, &str), values: &Values) {
    let single: BTreeMap<&String, Option<&String>> =
        values.iter().map(|(name, values)| (name, values.last())).collect();
    event[last] = json!(single);
    event[all] = json!(values);
}

/// Header names as API Gateway writes them here: `Sec-WebSocket-Protocol`, not `sec-websocket-protocol`.
fn named(headers: &HeaderMap) -> Values {
    let mut values = Values::new();
    for (name, value) in headers {
        let words: Vec<String> = name
            .as_str()
            .split('-')
            .map(|word| match word {
                "websocket" => "WebSocket".to_owned(),
                word => word.split_at_checked(1).map_or_else(String::new, |(first, rest)| {
                    format!("{}{rest}", first.to_ascii_uppercase())
                }),
            })
            .collect();
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        values.entry(words.join("-")).or_default().push(value);
    }
    values
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(kind: &Kind<'_>) -> Value {
        let client = Client {
            id: "L0SM9cOFvHcCIhw=".to_owned(),
            connected_ms: 1_000,
            host: "127.0.0.1:3000".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            user_agent: "test".to_owned(),
        };
        let context = Context {
            api: "PushApi",
            stage: "ws",
            route_key: "$connect",
            now_ms: 2_000,
        };
        event(&client, kind, &context)
    }

    #[test]
    fn a_handshake_shows_its_headers_and_its_query() {
        let mut headers = HeaderMap::new();
        headers.append("sec-websocket-protocol", HeaderValue::from_static("cfmp"));
        headers.append("x-twice", HeaderValue::from_static("1"));
        headers.append("x-twice", HeaderValue::from_static("2"));
        let event = shown(&Kind::Connect {
            headers: &headers,
            query: "token=a%2Bb&x=1&x=2",
        });
        assert_eq!(
            event["headers"],
            json!({"Sec-WebSocket-Protocol": "cfmp", "X-Twice": "2"})
        );
        assert_eq!(event["multiValueHeaders"]["X-Twice"], json!(["1", "2"]));
        assert_eq!(event["queryStringParameters"], json!({"token": "a+b", "x": "2"}));
        let context = &event["requestContext"];
        assert_eq!(
            (&context["eventType"], &context["connectionId"], &context["requestTime"]),
            (
                &json!("CONNECT"),
                &json!("L0SM9cOFvHcCIhw="),
                &json!("01/Jan/1970:00:00:02 +0000")
            )
        );
    }

    #[test]
    fn a_message_is_text_or_base64_and_a_farewell_has_its_code() {
        let text = shown(&Kind::Message {
            body: b"{}",
            is_binary: false,
        });
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        assert!(text["requestContext"]["messageId"].is_string() && text.get("headers").is_none());
        let binary = shown(&Kind::Message {
            body: b"{}",
            is_binary: true,
        });
        assert_eq!(
            (&binary["body"], &binary["isBase64Encoded"]),
            (&json!("e30="), &json!(true))
        );
        let gone = shown(&Kind::Disconnect { code: 1006, reason: "" });
        assert_eq!(gone["requestContext"]["disconnectStatusCode"], 1006);
    }
}
