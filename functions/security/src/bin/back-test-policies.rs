//! `POST /api/security/policies/back-test`: what an edit would have made of the newest orders. Nothing is changed.
//!
//! Every assessment of an order holds the facts that it was made from; they are assessed anew by the edited policies.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Method, Reply, operation};
use security::assessment::BackTest;
use security::error::SecurityError;
use security::policy::{Count, Edit, PolicyEdit};
use security::table::{ListAssessments, ReadPolicies};
use security::view::BackTestView;
use serde::Deserialize;
use utoipa::ToSchema;

struct Desk {
    policies: ReadPolicies,
    assessments: ListAssessments,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            policies: ReadPolicies::from_env(&cloud)?,
            assessments: ListAssessments::from_env(&cloud)?,
        })
    }
}

/// Orders that one back-test looks at.
type Orders = Count<1, 500>;

/// An edit as `update-policies` takes it, and how many orders to look at.
#[derive(Deserialize, ToSchema)]
#[schema(as = PoliciesBackTest)]
struct Request {
    // Written out instead of flattened: only so does a refusal name the member that is at fault.
    #[serde(default)]
    security_level: Option<security::policy::Level>,
    #[serde(default)]
    policies: Vec<PolicyEdit>,
    #[serde(default)]
    limit: Option<Orders>,
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, back_test_policies, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/security/policies/back-test",
            "Try an edit of the security policies",
        )
        .details("Decides the newest orders anew, from the facts as they were. Nothing is changed.")
        .for_administrators()
        .body::<Request>()
        .ok::<BackTestView>("What the edit would have made of them"),
    );
}

async fn back_test_policies(desk: Arc<Desk>, call: Call) -> Result<Reply, SecurityError> {
    let administrator = call.administrator()?;
    let request: Request = call.json()?;
    let edit = Edit {
        security_level: request.security_level,
        policies: request.policies,
    };
    let limit = request.limit.unwrap_or(Orders::clamped(200)).get() as usize;

    let current = desk.policies.current().await?;
    let edited = current.edited(&edit, administrator.id, call.now())?;
    let orders = desk.assessments.newest_orders(limit).await?;
    let test = BackTest::of(&orders, edited.as_ref().unwrap_or(&current));
    Ok(Reply::ok("安全策略回测完成", BackTestView::of(&test, call.zone()))?)
}
