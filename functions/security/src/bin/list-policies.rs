//! `GET /api/security/policies`: what is looked at. Administrators see how; everybody else who is logged in, that it is.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Api, Call, Method, Reply, operation};
use keys::Privilege;
use security::error::SecurityError;
use security::table::ReadPolicies;
use security::view::PoliciesView;

const DONE: &str = "获取安全策略成功";

fn main() -> ExitCode {
    http_function::open(
        async |cloud: Cloud| ReadPolicies::from_env(&cloud),
        list_policies,
        describe,
    )
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], "/api/security/policies", "Security policies")
            .details("What is looked at; administrators see thresholds and modes as well.")
            .for_users()
            .ok::<PoliciesView>("The policies as they are now"),
    );
}

async fn list_policies(policies: Arc<ReadPolicies>, call: Call) -> Result<Reply, SecurityError> {
    let user = call.user()?;
    let set = policies.current().await?;
    Ok(match user.privilege {
        Privilege::Administrator => Reply::ok(DONE, PoliciesView::of(&set, call.zone()))?,
        Privilege::Member => Reply::ok(DONE, PoliciesView::harmless(&set))?,
    })
}
