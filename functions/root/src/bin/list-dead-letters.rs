//! `GET /api/root/dead-letters`: administrators see what nobody could handle, the oldest first: `status` (`waiting`, unless
//! said otherwise), `consumer`.
//!
//! The list has no numbered pages: `next` names the place where it goes on, so that the last part costs what the first does.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::Place;
use root::consumer::Consumer;
use root::error::RootError;
use root::letter::Status;
use root::table::Letters;
use root::view::{LetterView, LettersResults, LettersView};
use utoipa::ToSchema;

/// Entries of a part.
#[derive(ToSchema)]
#[schema(as = DeadLettersPageSize, minimum = 1, maximum = 100)]
struct PageSize(#[expect(dead_code, reason = "only described: the page parses it")] u32);

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| Letters::from_env(&cloud),
        list_dead_letters,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/root/dead-letters", "Dead letters")
            .details("What nobody could handle, oldest first. The list has no numbered pages: follow `next`.")
            .for_administrators()
            .query::<Status>("status", "Only these; `waiting` unless said otherwise")
            .query::<Consumer>("consumer", "Only those of this function")
            .query::<Place>("after", "Where the part before ended")
            .query::<PageSize>("page_size", "Entries of a part")
            .bare::<LettersView>(StatusCode::OK, "A part of the list"),
    );
}

async fn list_dead_letters(letters: Arc<Letters>, call: Call) -> Result<Reply, RootError> {
    call.administrator()?;
    let status: Option<Status> = call.query_parameter("status")?;
    let consumer: Option<Consumer> = call.query_parameter("consumer")?;
    let after: Option<Place> = call.query_parameter("after")?;
    let size = call.page(20)?.size();

    let listed = letters
        .page(
            status.unwrap_or(Status::Waiting),
            consumer,
            after.as_ref(),
            size as usize,
        )
        .await?;
    let data: Vec<LetterView> = listed
        .letters
        .iter()
        .map(|letter| LetterView::of(letter, call.zone()))
        .collect();
    let body = LettersView {
        count: data.len(),
        next: listed.next.map(|place| url_after(&call, &place)).transpose()?,
        previous: None,
        results: LettersResults {
            code: 200,
            message: "获取死信列表成功",
            data,
        },
    };
    Ok(Reply::bare(StatusCode::OK, body)?)
}

/// The same list from this place on. What was parsed needs no encoding.
fn url_after(call: &Call, place: &Place) -> Result<String, Problem> {
    let mut url = format!("{}{}/?", call.base_url(), call.path());
    for name in ["status", "consumer", "page_size"] {
        if let Some(value) = call.query_text(name)? {
            url.push_str(&format!("{name}={value}&"));
        }
    }
    Ok(format!("{url}after={place}"))
}
