//! `GET /api/root/dead-letters/{letter_id}`: what a dead letter is about, what it means, what was done with it, and what to
//! do.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use kernel::LetterId;
use root::error::RootError;
use root::table::Letters;
use root::view::ExplainedView;

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| Letters::from_env(&cloud),
        explain_dead_letter,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::GET],
            "/api/root/dead-letters/{letter_id}",
            "A dead letter, explained",
        )
        .for_administrators()
        .path::<LetterId>("letter_id", "The letter")
        .ok::<ExplainedView>("What it is about, what it means, and what to do")
        .refuses(StatusCode::NOT_FOUND, "`not-found`: there is no such letter."),
    );
}

async fn explain_dead_letter(letters: Arc<Letters>, call: Call) -> Result<Reply, RootError> {
    call.administrator()?;
    let letter = letters.find(call.path_parameter("letter_id")?).await?;
    Ok(Reply::ok("获取死信成功", ExplainedView::of(&letter, call.zone()))?)
}
