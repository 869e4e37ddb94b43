//! `POST /api/root/dead-letters/{letter_id}/redrive`: the letter's consumer tries it once more.
//!
//! What is wanted is written first, then the consumer is invoked, then what came of it is written. Interrupted in between,
//! the letter still waits, and can be redriven again after half a minute: consumers do once what they are told twice.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use event_function::Attendance;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::LetterId;
use root::desk::Desk;
use root::error::RootError;
use root::view::ExplainedView;

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| Desk::from_env(&cloud),
        redrive_dead_letter,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/root/dead-letters/{letter_id}/redrive",
            "Redrive a dead letter",
        )
        .details("Its function tries it once more, and the answer says what came of it. Redriving twice changes nothing.")
        .for_administrators()
        .path::<LetterId>("letter_id", "The letter")
        .ok::<ExplainedView>("The letter, redriven now or before")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: there is no such letter.")
        .refuses(
            StatusCode::CONFLICT,
            "`redrive-failed`: its function could not handle it again, `cause` says why; it goes on waiting. \
             `redrive-under-way`: somebody redrives it at this moment. `letter-closed`: it was discarded. `letter-lost`: \
             its stream had forgotten the change. `changed-meanwhile`: others change it again and again.",
        ),
    );
}

async fn redrive_dead_letter(desk: Arc<Desk>, call: Call) -> Result<Reply, RootError> {
    let by = call.administrator()?.id;
    let id: LetterId = call.path_parameter("letter_id")?;
    let now = call.now();
    let (letter, begun) = desk.letters.change(id, |letter| letter.begin_redrive(by, now)).await?;
    if !begun {
        return Ok(Reply::ok("死信已重投", ExplainedView::of(&letter, call.zone()))?);
    }
    let attended = desk.consumers.attend(&letter, Attendance::Redrive).await;
    let failed = match attended {
        Ok(attended) => attended.cause,
        Err(error) => Some(error.to_string()),
    };
    let (letter, _) = desk
        .letters
        .change(id, |letter| Ok(letter.after_redrive(by, now, failed.as_deref())))
        .await?;
    match failed {
        Some(cause) => Err(RootError::RedriveFailed { id, cause }),
        None => {
            tracing::info!(letter = %id, consumer = %letter.consumer, %by, "a dead letter was redriven");
            Ok(Reply::ok("死信重投成功", ExplainedView::of(&letter, call.zone()))?)
        }
    }
}
