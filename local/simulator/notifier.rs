//! Sends what the merchant is to be told, again and again until he confirms it, and settles refunds.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};

use super::ledger::{Due, Try};
use super::switches::Switches;
use super::trade::{Company, Trade};
use super::{Core, Signer, SimulatorError, alipay, timetable, wechat_pay};

/// What is read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;
/// Pause after the ledger failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Works until it is stopped.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let next_ms = match look(&core) {
            Ok(next_ms) => next_ms,
            Err(error) => {
                tracing::error!(%error, "the simulator can not send notifications");
                tokio::select! {
                    () = core.stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        let due = async {
            match next_ms {
                Some(at_ms) => core.clock.sleep_until(at_ms).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = core.wake.notified() => {}
            () = due => {}
        }
    }
}

/// Settles what is to be settled, sends what is due, and says when to look again.
fn look(core: &Arc<Core>) -> Result<Option<i64>, SimulatorError> {
    let now_ms = core.clock.now_ms();
    core.ledger.settle(now_ms)?;
    let mut under_way = core.under_way.lock().unwrap_or_else(PoisonError::into_inner);
    for due in core.ledger.due(now_ms, &under_way)? {
        under_way.push(due.id);
        let core = Arc::clone(core);
        core.tasks.clone().spawn(async move {
            let id = due.id;
            tokio::select! {
                () = core.stop.cancelled() => {}
                outcome = deliver(&core, due) => {
                    if let Err(error) = outcome {
                        tracing::error!(%error, "a notification could not be sent");
                        // Not at once: it is still due.
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            let mut under_way = core.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.retain(|other| *other != id);
            drop(under_way);
            core.happened();
        });
    }
    drop(under_way);
    core.ledger.next_ms(now_ms)
}

/// Tries once, copies included.
async fn deliver(core: &Core, due: Due) -> Result<(), SimulatorError> {
    let notice = &due.notice;
    let switches = core.ledger.switches(&notice.out_trade_no)?;
    let Some(trade) = core.ledger.find(notice.company, &notice.out_trade_no)? else {
        return core.ledger.tried(&due, &[], None, core.clock.now_ms());
    };
    let first = due.tries == 0;
    let mut tries = Vec::new();
    if first && switches.sign_test && notice.company == Company::WechatPay {
        tries.push(send(core, &trade, &due, &switches, Signer::Probe, "probe").await?);
    }
    let signer = if switches.forged {
        Signer::Stranger
    } else {
        Signer::Genuine
    };
    let copies = if first { switches.copies } else { 0 };
    let kinds = std::iter::once(if first { "first" } else { "again" }).chain((0..copies).map(|_| "copy"));
    let sent = kinds.map(|kind| send(core, &trade, &due, &switches, signer, kind));
    for sent in join_all(sent).await {
        tries.push(sent?);
    }
    let now_ms = core.clock.now_ms();
    let gap = timetable::gap_after(notice.company, due.tries.saturating_add(1));
    core.ledger
        .tried(&due, &tries, gap.map(|gap| now_ms.saturating_add(gap)), now_ms)
}

async fn send(
    core: &Core,
    trade: &Trade,
    due: &Due,
    switches: &Switches,
    signer: Signer,
    kind: &'static str,
) -> Result<Try, SimulatorError> {
    let notice = &due.notice;
    let at_ms = core.clock.now_ms();
    let (message, patience) = match notice.company {
        Company::Alipay => (
            alipay::notification(core, trade, notice, switches, signer)?,
            Duration::from_secs(15),
        ),
        Company::WechatPay => (
            wechat_pay::notification(core, trade, notice, switches, signer)?,
            wechat_pay::PATIENCE,
        ),
    };
    let mut request = Request::post(&notice.notify_url);
    for (name, value) in message.headers {
        request = request.header(name, value);
    }
    let failed = |answer: String| Try {
        at_ms,
        kind,
        status: None,
        answer,
        confirmed: false,
    };
    let request = match request.body(Full::new(message.body)) {
        Ok(request) => request,
        Err(error) => return Ok(failed(error.to_string())),
    };
    let exchange = async {
        let response = core.client.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok::<(u16, Bytes), String>((head.status.as_u16(), body.to_bytes()))
    };
    Ok(match tokio::time::timeout(patience, exchange).await {
        Err(_) => failed("no answer in time".to_owned()),
        Ok(Err(reason)) => failed(reason),
        Ok(Ok((status, body))) => Try {
            at_ms,
            kind,
            status: Some(status),
            // What a probe is answered with confirms nothing.
            confirmed: signer != Signer::Probe
                && match notice.company {
                    Company::Alipay => alipay::is_confirmed(status, &body),
                    Company::WechatPay => wechat_pay::is_confirmed(status),
                },
            answer: String::from_utf8_lossy(&body).into_owned(),
        },
    })
}

/// A notification on its way out.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}
