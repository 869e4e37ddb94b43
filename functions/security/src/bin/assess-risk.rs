//! `POST /api/security/risk-assessment` and `POST /api/security/fraud-detection`: how risky a user is, and why.
//!
//! Users ask about themselves. Services and administrators ask about anybody, and about an order that he could place:
//! `amount`, `seller_uuid`; of users these are not read, so that nobody finds out where a threshold is. The answer is
//! stored, as every assessment.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use http_function::{Api, Call, Caller, Method, Problem, Reply, operation};
use kernel::{Money, SellerId, Timestamp, UserId};
use keys::Privilege;
use security::assessment::{Assessed, Kind};
use security::error::SecurityError;
use security::facts::Facts;
use security::profile::Profile;
use security::table::{AddAssessments, Profiles, ReadPolicies};
use security::users;
use security::view::AssessmentView;
use serde::Deserialize;
use service_client::Services;
use utoipa::ToSchema;

struct Desk {
    policies: ReadPolicies,
    profiles: Profiles,
    assessments: AddAssessments,
    services: Services,
}

impl Desk {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        Ok(Self {
            policies: ReadPolicies::from_env(&cloud)?,
            profiles: Profiles::from_env(&cloud)?,
            assessments: AddAssessments::from_env(&cloud)?,
            services: Services::from_env(&cloud).await?,
        })
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = RiskQuestion)]
struct Request {
    /// Whom; users ask about themselves, services have to say.
    #[serde(default)]
    user_uuid: Option<UserId>,
    /// What an order would cost.
    #[serde(default)]
    #[schema(value_type = Option<kernel::schema::Amount>)]
    amount: Option<Money>,
    /// Whose goods it would be.
    #[serde(default)]
    seller_uuid: Option<SellerId>,
}

/// What is asked.
struct Question {
    user: UserId,
    amount: Option<Money>,
    seller: Option<SellerId>,
    /// Whether the asker may see how the answer came about.
    is_trusted: bool,
}

fn main() -> ExitCode {
    http_function::open(Desk::from_env, assess_risk, describe)
}

fn describe(api: &mut Api) {
    for (path, summary) in [
        ("/api/security/risk-assessment", "How risky a user is"),
        (
            "/api/security/fraud-detection",
            "Whether anything about a user speaks of deceit",
        ),
    ] {
        api.add(
            operation([Method::POST], path, summary)
                .details("Users about themselves; services and administrators about anybody, and about an order he could place.")
                .for_users()
                .for_services()
                .optional_body::<Request>()
                .ok::<AssessmentView>("The assessment, which is stored"),
        );
    }
}

async fn assess_risk(desk: Arc<Desk>, call: Call) -> Result<Reply, SecurityError> {
    let question = question(&call)?;
    let (kind, done) = if call.path().ends_with("/fraud-detection") {
        (Kind::Fraud, "欺诈检测完成")
    } else {
        (Kind::Risk, "风险评估完成")
    };

    let policies = desk.policies.recent(call.now()).await?;
    let facts = facts(&desk, &question, call.now()).await?;
    let assessed = Assessed::on_request(kind, question.user, facts, &policies);
    let stored = desk.assessments.add(assessed).await?;
    Ok(if question.is_trusted {
        Reply::ok(done, AssessmentView::of(&stored, call.zone()))?
    } else {
        Reply::ok(done, AssessmentView::harmless(&stored, call.zone()))?
    })
}

fn question(call: &Call) -> Result<Question, Problem> {
    let own = match call.caller() {
        Caller::Service(_) => None,
        Caller::User(_) | Caller::Anonymous | Caller::Unknown(_) => Some(call.user()?),
    };
    let request: Request = call.json_or_default()?;
    let amount = request
        .amount
        .map(Money::positive)
        .transpose()
        .map_err(|error| Problem::invalid_field("amount", error))?;
    match own {
        Some(user) if user.privilege == Privilege::Member => match request.user_uuid {
            Some(other) if other != user.id => Err(Problem::forbidden("You can ask about yourself only.")),
            _ => Ok(Question {
                user: user.id,
                amount: None,
                seller: None,
                is_trusted: false,
            }),
        },
        _ => Ok(Question {
            user: request
                .user_uuid
                .or(own.map(|user| user.id))
                .ok_or_else(|| Problem::invalid_field("user_uuid", "is required"))?,
            amount,
            seller: request.seller_uuid,
            is_trusted: true,
        }),
    }
}

async fn facts(desk: &Desk, question: &Question, now: Timestamp) -> Result<Facts, SecurityError> {
    let seller = question.seller.map(UserId::from);
    let (mut profile, counterpart) = tokio::try_join!(desk.profiles.find(question.user), async {
        match seller {
            Some(seller) => desk.profiles.find(seller).await,
            None => Ok(Profile::default()),
        }
    })?;
    let (contact, registered_at) = tokio::join!(desk.profiles.contact(&profile, seller), async {
        match profile.registered_at {
            None => users::registered_at(&desk.services, question.user).await,
            known => known,
        }
    });
    profile.registered_at = registered_at;
    Ok(Facts {
        at: now,
        amount: question.amount,
        // The policies' time limits are for buyers who wait for an order.
        waited_ms: 0,
        account: Some(profile.account(None, question.seller, now)),
        contact: Some(contact?),
        counterpart: Some(counterpart.counterpart(question.user, now)),
    })
}
