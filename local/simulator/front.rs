//! The listener: the companies' interfaces and pages, and what only people and tests ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::faults::{Fault, Kind, Site};
use crate::functions::Instance;

use super::switches::Switches;
use super::{Answer, Core, Simulator, SimulatorError, alipay, json_text, page, wechat_pay};

/// What a body may have at most.
const BODY_LIMIT: usize = 1024 * 1024;
/// Pause after a failed accept: too many open files, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection that is broken on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost, as it was asked for")]
struct Broken;

/// Accepts until it is stopped.
pub(super) async fn serve(listener: TcpListener, core: Arc<Core>) {
    loop {
        let accepted = tokio::select! {
            () = core.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                core.tasks.spawn(converse(stream, Arc::clone(&core)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(stream: TcpStream, core: Arc<Core>) {
    // Without it small answers are slower, and nothing else is wrong.
    let _ = stream.set_nodelay(true);
    let service = {
        let core = Arc::clone(&core);
        service_fn(move |request: Request<Incoming>| {
            let core = Arc::clone(&core);
            async move {
                let _at_work = core.at_work();
                match answer(&core, request).await {
                    Answer::Now(response) => Ok(response.map(Full::new)),
                    Answer::Late(response, ms) => {
                        tokio::time::sleep(Duration::from_millis(ms.into())).await;
                        Ok(response.map(Full::new))
                    }
                    Answer::Never => Err(Broken),
                }
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = core.stop.cancelled() => {}
        // A connection that breaks concerns only its other end.
        _ = connection => {}
    }
}

async fn answer(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return json_text(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "message": "too long" })).into();
    };
    let body = body.to_bytes();
    let work = async {
        route(core, &head, &body).unwrap_or_else(|error| {
            tracing::error!(%error, "the simulator can not answer");
            json_text(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "message": error.to_string() }),
            )
            .into()
        })
    };
    let Some((fault, callers)) = fault(core, &head, &body) else {
        return work.await;
    };
    let refused = json_text(StatusCode::SERVICE_UNAVAILABLE, &json!({ "message": "try later" }));
    let killed = async { drop(join_all(callers.iter().map(|caller| caller.killed())).await) };
    let answered = fault.spoil(work, refused.into(), killed, std::future::pending()).await;
    answered.unwrap_or(Answer::Never)
}

/// What goes wrong with a call of a function, and the instances that may have made it.
fn fault(core: &Core, head: &Parts, body: &[u8]) -> Option<(Fault, Vec<Arc<Instance>>)> {
    let (functions, faults) = core.callers.get()?;
    if !faults.are_awake() {
        return None;
    }
    let agent = head.headers.get(USER_AGENT)?.to_str().ok()?;
    let function = functions.resolve(agent.strip_prefix("cfmp/")?)?;
    let callers = functions.busy(function);
    let invocation = callers.first()?.current();
    let path = head.uri.path();
    let what = if path == "/gateway.do" {
        let mut given = query(head);
        given.extend(parameters(body));
        format!("alipay {}", given.get("method").map(String::as_str).unwrap_or_default())
    } else {
        // Without numbers, which differ from run to run.
        let named = |segment: &str| !segment.chars().any(|c| c.is_ascii_digit()) || segment == "v3";
        let segments = path.split('/').map(|part| if named(part) { part } else { "{number}" });
        let path: Vec<&str> = segments.collect();
        format!("wechat_pay {} {}", head.method, path.join("/"))
    };
    let site = Site {
        function: function.to_owned(),
        kind: Kind::Call,
        target: format!("provider {what}"),
    };
    Some((faults.pass(site, invocation.as_deref())?, callers))
}

fn route(core: &Arc<Core>, head: &Parts, body: &Bytes) -> Result<Answer, SimulatorError> {
    let path = head.uri.path();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (&head.method, segments.as_slice()) {
        (_, ["gateway.do"]) => alipay::gateway(core, head.uri.query().unwrap_or_default(), body),
        (_, ["v3", ..]) => wechat_pay::call(core, head, body),
        (&Method::GET, [""]) => Ok(page::overview(&core.ledger.trades()?, core.clock.now_ms()).into()),
        (_, ["alipay", rest @ ..]) => alipay::page(core, head, rest, body),
        (_, ["wechat_pay", rest @ ..]) => wechat_pay::page(core, head, rest, body),
        (_, ["_simulator", rest @ ..]) => Ok(own(core, head, rest, body).into()),
        _ => Ok(nothing_here(head).into()),
    }
}

/// The answer to what nobody serves.
pub(super) fn nothing_here(head: &Parts) -> Response<Bytes> {
    let message = format!("there is no {} {}", head.method, head.uri.path());
    json_text(StatusCode::NOT_FOUND, &json!({ "message": message }))
}

/// The parameters of a query or of a form.
pub(super) fn parameters(text: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// The parameters of a request's query.
pub(super) fn query(head: &Parts) -> BTreeMap<String, String> {
    parameters(head.uri.query().unwrap_or_default().as_bytes())
}

#[derive(Deserialize)]
struct SwitchesOf {
    out_trade_no: Option<String>,
    #[serde(flatten)]
    switches: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount_fen: i64,
}

/// `/_simulator/...`: what the companies do not have.
fn own(core: &Arc<Core>, head: &Parts, rest: &[&str], body: &[u8]) -> Response<Bytes> {
    let simulator = Simulator { core: Arc::clone(core) };
    let query = query(head);
    let asked = |name: &str| query.get(name).map(String::as_str);
    let outcome = match (&head.method, rest) {
        (&Method::GET, ["books"]) => simulator.books(asked("day")),
        (&Method::GET, ["notifications"]) => simulator.notifications(asked("out_trade_no")),
        (&Method::GET, ["switches"]) => core.ledger.all_switches(),
        (&Method::POST, ["switches"]) => set_switches(core, body),
        (&Method::POST, ["trades", out_trade_no, "pay"]) => {
            simulator.pay(out_trade_no).map(|()| json!({ "paid": out_trade_no }))
        }
        (&Method::POST, ["trades", out_trade_no, "refund"]) => serde_json::from_slice(body)
            .map_err(SimulatorError::from)
            .and_then(|Amount { amount_fen }| simulator.refund(out_trade_no, amount_fen))
            .map(|()| json!({ "refunded": out_trade_no })),
        _ => return nothing_here(head),
    };
    match outcome {
        Ok(body) => json_text(StatusCode::OK, &body),
        Err(error) => {
            let status = match &error {
                SimulatorError::Json(_) | SimulatorError::Day(_) => StatusCode::BAD_REQUEST,
                SimulatorError::Trade { .. } => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            json_text(status, &json!({ "message": error.to_string() }))
        }
    }
}

fn set_switches(core: &Core, body: &[u8]) -> Result<Value, SimulatorError> {
    let SwitchesOf { out_trade_no, switches } = serde_json::from_slice(body)?;
    let switches: Switches = serde_json::from_value(switches)?;
    core.ledger.set_switches(out_trade_no.as_deref(), &switches)?;
    Ok(serde_json::to_value(switches)?)
}
