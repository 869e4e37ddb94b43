//! `POST /api/root/dead-letters/{letter_id}/preview`: what would redriving this letter change, as things are now?
//!
//! The consumer itself rehearses it: it reads, decides, and stops at the first thing that would change anything.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use event_function::{Attendance, Attended};
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::LetterId;
use root::desk::Desk;
use root::error::RootError;
use root::letter::Status;
use root::view::PreviewView;

fn main() -> ExitCode {
    http_function::open(async |cloud: Cloud| Desk::from_env(&cloud), preview_redrive, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/root/dead-letters/{letter_id}/preview",
            "What a redrive would change",
        )
        .details("As things are now. Nothing is changed by asking.")
        .for_administrators()
        .path::<LetterId>("letter_id", "The letter")
        .ok::<PreviewView>("The first thing that would be done, or that there is nothing to do, or why it would fail")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: there is no such letter.")
        .refuses(
            StatusCode::CONFLICT,
            "`letter-lost`: its stream had forgotten the change.",
        ),
    );
}

async fn preview_redrive(desk: Arc<Desk>, call: Call) -> Result<Reply, RootError> {
    call.administrator()?;
    let letter = desk.letters.find(call.path_parameter("letter_id")?).await?;
    let rehearsed = match letter.status {
        Status::Waiting => desk.consumers.attend(&letter, Attendance::Rehearsal).await?,
        // A redrive would not reach the consumer.
        Status::Redriven | Status::Discarded => Attended {
            cause: None,
            effect: None,
        },
    };
    Ok(Reply::ok("预览重投成功", PreviewView::of(&letter, rehearsed))?)
}
