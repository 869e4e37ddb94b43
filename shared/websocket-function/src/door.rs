//! From the Lambda Runtime API to an operation and back.

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayWebsocketProxyRequest, ApiGatewayWebsocketProxyRequestContext};
use cloud::{Cloud, StartError};
use futures::FutureExt;
use http_function::{Callers, HeaderMap, Problem, StatusCode};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Arrival, Boxed, ConnectionId, Departure, Incoming, SUBPROTOCOL};

/// Answers one event: the answer for the gateway.
type Handler = Box<dyn Fn(ApiGatewayWebsocketProxyRequest) -> Boxed<Result<Value, Problem>> + Send + Sync>;
/// Makes the handler from the environment.
type Build = Box<dyn FnOnce(Cloud) -> Boxed<Result<Handler, StartError>>>;

/// Header in which a client names subprotocols, and the gateway the one that was chosen.
const PROTOCOLS: &str = "Sec-WebSocket-Protocol";

/// Serves `$connect` until the Lambda service ends it: whoever `operation` returns for is connected, whoever it refuses is
/// refused with the refusal's status.
pub fn open_connect<S, Started, Answered, E>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Arrival) -> Answered + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Answered: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Problem>,
{
    let operation = Arc::new(operation);
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let (clock, callers) = (cloud.clock().clone(), Callers::from_env(&cloud).await?);
            let (state, callers) = (Arc::new(build(cloud).await?), Arc::new(callers));
            let handler: Handler = Box::new(move |request| {
                let (state, operation, callers, now) = (state.clone(), operation.clone(), callers.clone(), clock.now());
                Box::pin(async move {
                    let offer = Offer::of(&request);
                    let arrival = Arrival {
                        connection: connection_of(&request)?,
                        caller: callers.identify_token(offer.token.as_deref(), now).await,
                        now,
                    };
                    operation(state, arrival).await.map_err(Into::into)?;
                    Ok(offer.acceptance())
                })
            });
            Ok(handler)
        })
    }))
}

/// Serves `$disconnect` until the Lambda service ends it. The gateway tells of an end once and as best it can: some
/// connections end without.
pub fn open_disconnect<S, Started, Answered, E>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Departure) -> Answered + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Answered: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Problem>,
{
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let state = Arc::new(build(cloud).await?);
            let handler: Handler = Box::new(move |request| {
                let departure = connection_of(&request).map(|connection| Departure { connection });
                match departure {
                    Ok(departure) => Box::pin(operation(state.clone(), departure).map(|outcome| match outcome {
                        Ok(()) => Ok(json!({ "statusCode": 200 })),
                        Err(error) => Err(error.into()),
                    })),
                    Err(problem) => Box::pin(async { Err(problem) }),
                }
            });
            Ok(handler)
        })
    }))
}

/// Serves the messages of clients until the Lambda service ends it. What `operation` returns goes back to the client; a
/// refusal does too, as `{"type": "error", "error": {"type": ..., "message": ..., "fields": ...}}`.
pub fn open_messages<S, R, Started, Answered, E>(
    build: impl FnOnce(Cloud) -> Started + Send + 'static,
    operation: impl Fn(Arc<S>, Incoming) -> Answered + Send + Sync + 'static,
) -> ExitCode
where
    S: Send + Sync + 'static,
    R: Serialize,
    Started: Future<Output = Result<S, StartError>> + Send + 'static,
    Answered: Future<Output = Result<R, E>> + Send + 'static,
    E: Into<Problem>,
{
    let operation = Arc::new(operation);
    serve(Box::new(move |cloud| {
        Box::pin(async move {
            let clock = cloud.clock().clone();
            let state = Arc::new(build(cloud).await?);
            let handler: Handler = Box::new(move |request| {
                let (state, operation, now) = (state.clone(), operation.clone(), clock.now());
                Box::pin(async move {
                    let incoming = Incoming {
                        connection: connection_of(&request)?,
                        // A binary message is not decoded: as text it is no JSON, and refused like other nonsense.
                        body: request.body.unwrap_or_default(),
                        now,
                    };
                    let said = match operation(state, incoming).await.map_err(Into::into) {
                        Ok(reply) => serde_json::to_string(&reply).map_err(Problem::internal)?,
                        // What is the client's own fault, or may be repeated, it should be able to read.
                        Err(problem) if problem.status() != StatusCode::INTERNAL_SERVER_ERROR => {
                            report(&request.request_context, &problem);
                            refusal(&problem)
                        }
                        Err(problem) => return Err(problem),
                    };
                    Ok(json!({ "statusCode": 200, "body": said }))
                })
            });
            Ok(handler)
        })
    }))
}

fn refusal(problem: &Problem) -> String {
    json!({
        "type": "error",
        "error": {"type": problem.kind(), "message": problem.message(), "fields": problem.fields()},
    })
    .to_string()
}

fn connection_of(request: &ApiGatewayWebsocketProxyRequest) -> Result<ConnectionId, Problem> {
    let id = request.request_context.connection_id.clone();
    id.map(ConnectionId::from)
        .ok_or_else(|| Problem::internal("the event names no connection"))
}

/// How a client shows who it is.
struct Offer {
    token: Option<String>,
    /// Whether it named our subprotocol and so has to be told that it was chosen.
    names_protocol: bool,
}

impl Offer {
    fn of(request: &ApiGatewayWebsocketProxyRequest) -> Self {
        let protocols = protocols(&request.headers);
        let names_protocol = protocols.first().is_some_and(|first| first == SUBPROTOCOL);
        let in_query = request.query_string_parameters.first("token").map(str::to_owned);
        let as_protocol = protocols.get(1).filter(|_| names_protocol).cloned();
        Self {
            token: in_query.or(as_protocol),
            names_protocol,
        }
    }

    fn acceptance(&self) -> Value {
        if self.names_protocol {
            json!({ "statusCode": 200, "headers": { PROTOCOLS: SUBPROTOCOL } })
        } else {
            json!({ "statusCode": 200 })
        }
    }
}

fn protocols(headers: &HeaderMap) -> Vec<String> {
    let offered = headers.get(PROTOCOLS).and_then(|value| value.to_str().ok());
    let offered = offered.unwrap_or_default().split(',');
    offered.map(|protocol| protocol.trim().to_owned()).collect()
}

fn serve(build: Build) -> ExitCode {
    cloud::instance::run(Box::pin(run(build)))
}

async fn run(build: Build) -> Result<(), lambda_runtime::Error> {
    let handler = Arc::new(build(Cloud::from_env()?).await?);
    lambda_runtime::run(service_fn(
        move |event: LambdaEvent<ApiGatewayWebsocketProxyRequest>| {
            let handler = handler.clone();
            async move { Ok::<_, lambda_runtime::Error>(answer(&handler, event.payload).await) }
        },
    ))
    .await
}

async fn answer(handler: &Handler, request: ApiGatewayWebsocketProxyRequest) -> Value {
    let context = request.request_context.clone();
    match handler(request).await {
        Ok(answer) => {
            let (connection, route) = (context.connection_id, context.route_key);
            tracing::info!(connection, route, "answered");
            answer
        }
        Err(problem) => {
            report(&context, &problem);
            json!({ "statusCode": problem.status().as_u16() })
        }
    }
}

fn report(context: &ApiGatewayWebsocketProxyRequestContext, problem: &Problem) {
    let (connection, route) = (context.connection_id.as_deref(), context.route_key.as_deref());
    let (status, kind) = (problem.status().as_u16(), problem.kind());
    match problem.chain() {
        Some(cause) => tracing::error!(connection, route, status, kind, cause, "failed"),
        None => tracing::info!(connection, route, status, kind, "refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(event: Value) -> (Option<String>, Value) {
        let mut event = event;
        event["requestContext"] = json!({"connectedAt": 1, "requestTimeEpoch": 1, "connectionId": "c"});
        let offer = Offer::of(&serde_json::from_value(event).unwrap());
        (offer.token.clone(), offer.acceptance())
    }

    #[test]
    fn a_token_comes_in_the_query_or_as_the_second_subprotocol() {
        let plain = json!({"statusCode": 200});
        let chosen = json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "cfmp"}});
        let token = |text: &str| Some(text.to_owned());
        for (event, expected) in [
            (json!({}), (None, &plain)),
            (
                json!({"queryStringParameters": {"token": "a.b.c"}}),
                (token("a.b.c"), &plain),
            ),
            (
                json!({"headers": {"Sec-WebSocket-Protocol": "cfmp, a.b.c"}}),
                (token("a.b.c"), &chosen),
            ),
            (json!({"headers": {"Sec-WebSocket-Protocol": "cfmp"}}), (None, &chosen)),
            (
                json!({"headers": {"Sec-WebSocket-Protocol": "chat, a.b.c"}}),
                (None, &plain),
            ),
            (
                json!({"headers": {"Sec-WebSocket-Protocol": "cfmp"}, "queryStringParameters": {"token": "a.b.c"}}),
                (token("a.b.c"), &chosen),
            ),
        ] {
            let (token, acceptance) = offer(event.clone());
            assert_eq!((token, &acceptance), expected, "{event}");
        }
    }
}
