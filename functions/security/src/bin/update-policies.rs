//! `PUT /api/security/policies/update`: an administrator makes the next edition of the policies.
//!
//! All of an edit is done or nothing: it is decided in memory and written as one row, which is the history as well.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, StatusCode, operation};
use security::error::SecurityError;
use security::policy::Edit;
use security::table::ReadPolicies;
use security::view::PoliciesView;

/// How often an edit is made anew when others make editions at the same time.
const ATTEMPTS: usize = 5;

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| ReadPolicies::from_env(&cloud),
        update_policies,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::PUT],
            "/api/security/policies/update",
            "Edit the security policies",
        )
        .details(
            "All of the edit is done, or nothing. Another `security_level` takes earlier edits back. It is in force \
                 everywhere within ten seconds.",
        )
        .for_administrators()
        .body::<Edit>()
        .ok::<PoliciesView>("The policies as they are now")
        .refuses(
            StatusCode::CONFLICT,
            "`changed-meanwhile`: others edit them again and again.",
        ),
    );
}

async fn update_policies(policies: Arc<ReadPolicies>, call: Call) -> Result<Reply, SecurityError> {
    let administrator = call.administrator()?;
    let edit: Edit = call.json()?;
    for _ in 0..ATTEMPTS {
        let before = policies.current().await?;
        let next = match before.edited(&edit, administrator.id, call.now())? {
            Some(next) => next,
            None => before.clone(),
        };
        if next == before || policies.add(&next, &before, administrator.id, call.now()).await? {
            tracing::info!(edition = next.edition, by = %administrator.id, "the security policies were edited");
            return Ok(Reply::ok("安全策略更新成功", PoliciesView::of(&next, call.zone()))?);
        }
    }
    Err(SecurityError::ChangedMeanwhile)
}
