//! `POST /api/root/dead-letters/{letter_id}/discard`: an administrator decides that a letter is not needed, and says why.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::{LetterId, Text};
use root::error::RootError;
use root::table::Letters;
use root::view::ExplainedView;
use serde::Deserialize;
use utoipa::ToSchema;

/// Why.
#[derive(Deserialize, ToSchema)]
#[schema(as = DiscardDeadLetter)]
struct Reason {
    /// Kept with the letter.
    reason: Text<1, 200>,
}

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| Letters::from_env(&cloud),
        discard_dead_letter,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/root/dead-letters/{letter_id}/discard",
            "Discard a dead letter",
        )
        .details("It is kept for 90 days with the reason, and can not be redriven any more. Discarding twice changes nothing.")
        .for_administrators()
        .path::<LetterId>("letter_id", "The letter")
        .body::<Reason>()
        .ok::<ExplainedView>("The letter, discarded now or before")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: there is no such letter.")
        .refuses(
            StatusCode::CONFLICT,
            "`letter-closed`: it was redriven. `redrive-under-way`: somebody redrives it at this moment. \
             `changed-meanwhile`: others change it again and again.",
        ),
    );
}

async fn discard_dead_letter(letters: Arc<Letters>, call: Call) -> Result<Reply, RootError> {
    let by = call.administrator()?.id;
    let id: LetterId = call.path_parameter("letter_id")?;
    let Reason { reason } = call.json()?;
    let reason = reason.into_string();
    let (letter, _) = letters
        .change(id, |letter| letter.discard(by, call.now(), reason.clone()))
        .await?;
    Ok(Reply::ok("死信已忽略", ExplainedView::of(&letter, call.zone()))?)
}
