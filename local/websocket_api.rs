//! The WebSocket API: what API Gateway does with a browser that stays connected.
//!
//! `$connect` is answered before the handshake and decides it, so nothing can be sent to a connection whose `$connect`
//! has not returned. Each message is an invocation of its own. The query string, which holds a token, goes into the
//! event and nowhere else.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::aws::connections::{About, Connections, MESSAGE_LIMIT, Order};
use crate::clock::PlatformClock;
use crate::functions::{Functions, Invocation, Outcome, Trigger};
use crate::recording::{Event, Recording};
use crate::runtime_api::json_response;
use crate::template::model::{SocketApi, SocketRoute};
use event::{Context, Kind};

mod event;

/// API Gateway's limit on a frame.
const FRAME_LIMIT: usize = 32 * 1024;
/// API Gateway's limit on a connection's life.
const LONGEST_MS: i64 = 2 * 60 * 60 * 1000;
/// API Gateway's limit on a connection's silence.
const IDLE_MS: i64 = 10 * 60 * 1000;

const CONNECT: &str = "$connect";
const DISCONNECT: &str = "$disconnect";
const DEFAULT: &str = "$default";

/// The WebSocket API of one platform. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct WebSocketApi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: Option<SocketApi>,
    connections: Connections,
    functions: Functions,
    clock: PlatformClock,
    recording: Recording,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One connection.
#[derive(Debug)]
struct Client {
    id: String,
    connected_ms: i64,
    host: String,
    source_ip: String,
    user_agent: String,
}

/// How a connection ended, as the `$disconnect` route is told.
struct Ending {
    code: u16,
    reason: String,
}

impl WebSocketApi {
    pub(crate) fn new(
        api: Option<SocketApi>,
        connections: Connections,
        functions: Functions,
        record: (PlatformClock, Recording),
    ) -> Self {
        let (clock, recording) = record;
        Self {
            shared: Arc::new(Shared {
                api,
                connections,
                functions,
                clock,
                recording,
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// Whether clients connect at this path.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        let api = self.shared.api.as_ref();
        api.is_some_and(|api| path.trim_end_matches('/').strip_prefix('/') == Some(&api.stage))
    }

    /// Answers a request to connect.
    pub(crate) async fn connect(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        let Some(accept) = accept_key(&request) else {
            let mut refusal = message(StatusCode::UPGRADE_REQUIRED, "Upgrade Required");
            refusal
                .headers_mut()
                .insert(UPGRADE, HeaderValue::from_static("websocket"));
            return refusal;
        };
        let shared = &self.shared;
        let client = Client {
            id: connection_id(),
            connected_ms: shared.clock.now_ms(),
            host: text(request.headers(), "host"),
            source_ip: peer.ip().to_string(),
            user_agent: text(request.headers(), "user-agent"),
        };
        let kind = Kind::Connect {
            headers: request.headers(),
            query: request.uri().query().unwrap_or_default(),
        };
        let protocol = match shared.invoke(CONNECT, &client, &kind).await {
            None => None,
            Some(Outcome::Answered(answer)) => {
                let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
                let status = answer.get("statusCode").and_then(Value::as_u64);
                let status = status
                    .and_then(|status| u16::try_from(status).ok())
                    .and_then(|status| StatusCode::from_u16(status).ok())
                    .unwrap_or(StatusCode::BAD_GATEWAY);
                if !status.is_success() {
                    shared.record("refused", &client, json!({ "status": status.as_u16() }));
                    return message(status, status.canonical_reason().unwrap_or("Forbidden"));
                }
                answer.get("headers").and_then(protocol_of)
            }
            Some(Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Crashed) => {
                shared.record("refused", &client, json!({ "status": 502 }));
                return message(StatusCode::BAD_GATEWAY, "Bad Gateway");
            }
        };
        let about = About {
            connected_ms: client.connected_ms,
            source_ip: client.source_ip.clone(),
            user_agent: client.user_agent.clone(),
        };
        // From here on functions can reach it: what they send waits until the handshake is done.
        let orders = shared.connections.begin(&client.id, about);
        shared.record("connected", &client, json!({}));
        let upgrade = hyper::upgrade::on(&mut request);
        shared.tasks.spawn(Arc::clone(shared).attend(client, upgrade, orders));

        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        headers.extend(protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)));
        response
    }

    /// Closes every connection and waits until their functions have heard of it.
    pub(crate) async fn stop(&self) {
        self.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Closes every connection without waiting.
    pub(crate) fn cancel(&self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Follows a connection from its handshake to its end.
    async fn attend(self: Arc<Self>, client: Client, upgrade: OnUpgrade, orders: mpsc::Receiver<Order>) {
        let client = Arc::new(client);
        let ending = match upgrade.await {
            Ok(upgraded) => self.converse(&client, upgraded, orders).await,
            Err(_) => Ending::lost(),
        };
        self.connections.end(&client.id);
        self.record("disconnected", &client, json!({ "code": ending.code }));
        // Nobody waits for the answer: whatever it is, the connection is gone.
        let _ = self
            .invoke(
                DISCONNECT,
                &client,
                &Kind::Disconnect {
                    code: ending.code,
                    reason: &ending.reason,
                },
            )
            .await;
    }

    async fn converse(
        self: &Arc<Self>,
        client: &Arc<Client>,
        upgraded: Upgraded,
        mut orders: mpsc::Receiver<Order>,
    ) -> Ending {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(FRAME_LIMIT))
            .read_buffer_size(FRAME_LIMIT);
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        loop {
            let last_active = self.connections.last_active_ms(&client.id);
            let idle_until = last_active.unwrap_or(client.connected_ms).saturating_add(IDLE_MS);
            let event = tokio::select! {
                () = self.stop.cancelled() => Happened::Close("Going away"),
                () = self.clock.sleep_until(client.connected_ms.saturating_add(LONGEST_MS)) => Happened::Close("Going away"),
                () = self.clock.sleep_until(idle_until) => Happened::Quiet,
                order = orders.recv() => Happened::Ordered(order),
                message = socket.next() => Happened::Heard(message),
            };
            match event {
                // Something went out meanwhile, perhaps.
                Happened::Quiet if self.connections.last_active_ms(&client.id) != last_active => {}
                Happened::Quiet => return close(&mut socket, CloseCode::Away, "Going away").await,
                Happened::Close(reason) => return close(&mut socket, CloseCode::Away, reason).await,
                Happened::Ordered(None | Some(Order::Close)) => {
                    return close(&mut socket, CloseCode::Normal, "Connection Closed Normally").await;
                }
                Happened::Ordered(Some(Order::Send(text))) => {
                    let message = match Utf8Bytes::try_from(text.clone()) {
                        Ok(text) => Message::Text(text),
                        Err(_) => Message::Binary(text),
                    };
                    if socket.send(message).await.is_err() {
                        return Ending::lost();
                    }
                }
                Happened::Heard(Some(Ok(Message::Text(text)))) => self.heard(client, text.into(), false),
                Happened::Heard(Some(Ok(Message::Binary(bytes)))) => self.heard(client, bytes, true),
                Happened::Heard(Some(Ok(Message::Close(frame)))) => {
                    // The answer to it is sent by the library; whether it arrives is all the same.
                    let _ = socket.flush().await;
                    return match frame {
                        Some(frame) => Ending {
                            code: frame.code.into(),
                            reason: frame.reason.to_string(),
                        },
                        None => Ending {
                            code: 1005,
                            reason: "Client-side close frame status not set".to_owned(),
                        },
                    };
                }
                // Pings are answered by the library.
                Happened::Heard(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Happened::Heard(Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. })))) => {
                    return close(&mut socket, CloseCode::Size, "Frame too large").await;
                }
                Happened::Heard(None | Some(Err(_))) => return Ending::lost(),
            }
        }
    }

    /// Starts the function of a message. Others may come while it runs.
    fn heard(self: &Arc<Self>, client: &Arc<Client>, body: Bytes, is_binary: bool) {
        self.connections.touch(&client.id, self.clock.now_ms());
        let (shared, client) = (Arc::clone(self), Arc::clone(client));
        self.tasks
            .spawn(async move { shared.handle(&client, &body, is_binary).await });
    }

    async fn handle(&self, client: &Client, body: &Bytes, is_binary: bool) {
        let request_id = Uuid::new_v4().to_string();
        let about = |text: &str| json!({"message": text, "connectionId": client.id, "requestId": request_id});
        let kind = Kind::Message { body, is_binary };
        let key = self.key_of(body);
        let answer = match key {
            None => Some(about("Forbidden").to_string()),
            Some((key, answers)) => match self.invoke(&key, client, &kind).await {
                Some(Outcome::Answered(answer)) if answers => {
                    let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
                    let body = answer.get("body").and_then(Value::as_str);
                    body.filter(|body| !body.is_empty()).map(str::to_owned)
                }
                Some(Outcome::Answered(_)) => None,
                _ => Some(about("Internal server error").to_string()),
            },
        };
        if let Some(answer) = answer {
            // Who has gone, or does not read, does not get it.
            let _ = self
                .connections
                .send(&client.id, Bytes::from(answer), self.clock.now_ms());
        }
    }

    /// The route of a message, and whether its function answers the client.
    fn key_of(&self, body: &[u8]) -> Option<(String, bool)> {
        let api = self.api.as_ref()?;
        let named = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|body| body.get(&api.selected_by)?.as_str().map(str::to_owned))
            .filter(|key| !key.starts_with('$') && api.routes.contains_key(key));
        let key = named.unwrap_or_else(|| DEFAULT.to_owned());
        let answers = api.routes.get(&key)?.answers;
        Some((key, answers))
    }

    /// What the function of a route makes of an event; `None` where there is no such route.
    async fn invoke(&self, key: &str, client: &Client, kind: &Kind<'_>) -> Option<Outcome> {
        let api = self.api.as_ref()?;
        let SocketRoute { function, .. } = api.routes.get(key)?;
        let context = Context {
            api: &api.logical_id,
            stage: &api.stage,
            route_key: key,
            now_ms: self.clock.now_ms(),
        };
        let event = event::event(client, kind, &context).to_string();
        let invocation = Invocation::new(Bytes::from(event), Trigger::Socket(key.to_owned()), &self.clock);
        Some(self.functions.run(function, invocation).await)
    }

    fn record(&self, what: &str, client: &Client, mut detail: Value) {
        detail["connection"] = json!(client.id);
        detail["state"] = json!(what);
        self.recording.event(Event {
            at_ms: self.clock.now_ms(),
            kind: "connection",
            function: None,
            detail,
        });
    }
}

enum Happened {
    Close(&'static str),
    Quiet,
    Ordered(Option<Order>),
    Heard(Option<Result<Message, Error>>),
}

impl Ending {
    /// The client is gone without a word.
    fn lost() -> Self {
        Self {
            code: 1006,
            reason: String::new(),
        }
    }
}

async fn close(socket: &mut WebSocketStream<TokioIo<Upgraded>>, code: CloseCode, reason: &'static str) -> Ending {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    // A client that is gone does not hear it.
    let _ = socket.close(Some(frame)).await;
    Ending {
        code: code.into(),
        reason: reason.to_owned(),
    }
}

/// `Sec-WebSocket-Accept`, if the request asks for a WebSocket.
fn accept_key(request: &Request<Incoming>) -> Option<HeaderValue> {
    let headers = request.headers();
    let has = |name: HeaderName, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    if request.method() != Method::GET
        || !has(UPGRADE, "websocket")
        || !has(CONNECTION, "upgrade")
        || !has(SEC_WEBSOCKET_VERSION, "13")
    {
        return None;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

/// The protocol that the function chose.
fn protocol_of(headers: &Value) -> Option<HeaderValue> {
    let (_, value) = headers
        .as_object()?
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_PROTOCOL.as_str()))?;
    HeaderValue::try_from(value.as_str()?).ok()
}

/// An id in the form of API Gateway's.
fn connection_id() -> String {
    use base64::Engine as _;
    let random = Uuid::new_v4();
    base64::engine::general_purpose::URL_SAFE.encode(random.as_bytes().get(..11).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

fn message(status: StatusCode, text: &str) -> Response<Bytes> {
    json_response(status, &json!({ "message": text }))
}
