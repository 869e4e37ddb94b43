//! `GET /api/security/risk-assessments`: administrators look through assessments, newest first: `decision`, `user_uuid`,
//! `kind` (`order` or `request`; all kinds of one user).
//!
//! The list has no numbered pages: `next` names the place where it goes on, so that the last part costs what the first does.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use contracts::security::Decision;
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::{Place, UserId};
use security::assessment::Shelf;
use security::error::SecurityError;
use security::policy::Count;
use security::table::{ListAssessments, Selection};
use security::view::{AssessmentView, AssessmentsResults, AssessmentsView};

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| ListAssessments::from_env(&cloud),
        list_risk_assessments,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/security/risk-assessments", "Assessments of risk")
            .details("Newest first. The list has no numbered pages: follow `next`.")
            .for_administrators()
            .query::<Decision>("decision", "Only these")
            .query::<UserId>("user_uuid", "Only of this user")
            .query::<Shelf>("kind", "Of orders (the default), or on request; without `user_uuid`")
            .query::<Place>("after", "Where the part before ended")
            .query::<Count<1, 100>>("page_size", "Entries of a part")
            .bare::<AssessmentsView>(StatusCode::OK, "A part of the list"),
    );
}

async fn list_risk_assessments(assessments: Arc<ListAssessments>, call: Call) -> Result<Reply, SecurityError> {
    call.administrator()?;
    let decision: Option<Decision> = call.query_parameter("decision")?;
    let user: Option<UserId> = call.query_parameter("user_uuid")?;
    let shelf: Option<Shelf> = call.query_parameter("kind")?;
    let after: Option<Place> = call.query_parameter("after")?;
    let size = call.page(10)?.size();

    let selection = match user {
        Some(user) => Selection::User(user, decision),
        None => Selection::Shelf(shelf.unwrap_or(Shelf::Orders), decision),
    };
    let listed = assessments.page(selection, after.as_ref(), size as usize).await?;
    let data: Vec<AssessmentView> = listed
        .assessments
        .iter()
        .map(|assessed| AssessmentView::of(assessed, call.zone()))
        .collect();
    let body = AssessmentsView {
        count: data.len(),
        next: listed.next.map(|place| url_after(&call, &place)).transpose()?,
        previous: None,
        results: AssessmentsResults {
            code: 200,
            message: "获取风险评估成功",
            data,
        },
    };
    Ok(Reply::bare(StatusCode::OK, body)?)
}

/// The same list from this place on. What was parsed needs no encoding.
fn url_after(call: &Call, place: &Place) -> Result<String, Problem> {
    let mut url = format!("{}{}/?", call.base_url(), call.path());
    for name in ["decision", "user_uuid", "kind", "page_size"] {
        if let Some(value) = call.query_text(name)? {
            url.push_str(&format!("{name}={value}&"));
        }
    }
    Ok(format!("{url}after={place}"))
}
