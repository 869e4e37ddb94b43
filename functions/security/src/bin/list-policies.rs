//! `GET /api/security/policies`: what is looked at. Administrators see how; everybody else who is logged in, that it is.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use http_function::{Call, Reply};
use keys::Privilege;
use security::error::SecurityError;
use security::table::ReadPolicies;
use security::view::{PoliciesView, PublicPoliciesView};

const DONE: &str = "获取安全策略成功";

fn main() -> ExitCode {
    http_function::open(async |cloud: Cloud| ReadPolicies::from_env(&cloud), list_policies)
}

async fn list_policies(policies: Arc<ReadPolicies>, call: Call) -> Result<Reply, SecurityError> {
    let user = call.user()?;
    let set = policies.current().await?;
    Ok(match user.privilege {
        Privilege::Administrator => Reply::ok(DONE, PoliciesView::of(&set, call.zone()))?,
        Privilege::Member => Reply::ok(DONE, PublicPoliciesView::of(&set))?,
    })
}
