//! The listener: one port for everything, told apart by path and signature.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aws::AwsEndpoint;
use crate::faults::Broken;
use crate::http_api::{BODY_LIMIT, HttpApi};
use crate::invoke_api::{self, InvokeApi};
use crate::local_api::{self, LocalApi};
use crate::runtime_api::{self, RuntimeApi, json_response};
use crate::websocket_api::WebSocketApi;

/// What a body may have at most, whoever it is for: an answer of a function and what it is wrapped in.
const ANY_BODY_LIMIT: usize = BODY_LIMIT + 1024 * 1024;
/// What is read and thrown away of a body that is too long, so that its sender gets to read the refusal.
const DRAIN_LIMIT: usize = 64 * 1024 * 1024;
/// Pause after a failed accept: too many open files, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Everything that answers.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) aws: AwsEndpoint,
    pub(crate) http_api: HttpApi,
    pub(crate) invoke_api: InvokeApi,
    pub(crate) local_api: LocalApi,
    pub(crate) runtime_api: RuntimeApi,
    pub(crate) websocket_api: WebSocketApi,
}

/// Accepts until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, services: Services, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(converse(stream, peer, services.clone(), stop.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    connections.close();
    connections.wait().await;
}

async fn converse(stream: TcpStream, peer: SocketAddr, services: Services, stop: CancellationToken) {
    // Small answers must not wait for acknowledgements; without it they are slower, and nothing else is wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let services = services.clone();
        async move {
            let response = services.answer(request, peer).await;
            if Broken::is(&response) {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
            Ok(response.map(Full::new))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        () = stop.cancelled() => {}
        // A connection that breaks concerns only its other end.
        _ = connection => {}
    }
}

impl Services {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        if self.websocket_api.is_at(request.uri().path()) {
            return self.websocket_api.connect(request, peer).await;
        }
        let (head, body) = request.into_parts();
        let request = match read(body).await {
            Ok(body) => Request::from_parts(head, body),
            Err(refusal) => return refusal,
        };
        let path = request.uri().path();
        if path.starts_with(runtime_api::PREFIX) {
            return self.runtime_api.answer(request).await;
        }
        if path.starts_with(local_api::PREFIX) {
            return self.local_api.answer(request).await;
        }
        // Functions need a permission to invoke others; people do not.
        if path.starts_with(invoke_api::PREFIX) && !self.aws.is_function(request.headers()) {
            return self.invoke_api.answer(request).await;
        }
        let signed = request
            .headers()
            .get(AUTHORIZATION)
            .is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256"));
        if signed && !self.http_api.has_route(request.method(), path) {
            return self.aws.answer(request).await;
        }
        self.http_api.answer(request, peer).await
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, Response<Bytes>> {
    let mut read = BytesMut::new();
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(json_response(
                StatusCode::BAD_REQUEST,
                &json!({ "message": "Bad Request" }),
            ));
        };
        let Ok(data) = frame.into_data() else { continue };
        if dropped == 0 && read.len() + data.len() <= ANY_BODY_LIMIT {
            read.extend_from_slice(&data);
        } else {
            dropped += data.len();
            if dropped > DRAIN_LIMIT {
                break;
            }
        }
    }
    if dropped > 0 {
        return Err(json_response(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({ "message": "Request Entity Too Large" }),
        ));
    }
    Ok(read.freeze())
}
