//! `POST /api/internal/security/assess-order`: OrderService asks what is to become of an order about to be placed.
//!
//! Two round trips: the attempt is noted, which answers the buyer's profile, while the contact and the seller are read;
//! then the assessment is stored. A buyer's first order costs a third one, to UserService: how old is the account?
//! Asking about an order again answers as before.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Cloud, StartError};
use contracts::security::{OrderAssessment, OrderToAssess};
use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use kernel::money::MoneyError;
use kernel::{Timestamp, UserId};
use security::assessment::Assessed;
use security::error::SecurityError;
use security::facts::{Facts, Stage};
use security::policy::{Mode, PolicyId, PolicySet};
use security::profile::{OrderEntry, Profile};
use security::table::{AddAssessments, Attempt, Profiles, ReadPolicies};
use security::users;
use service_client::Services;
use tables::TableError;

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

fn main() -> ExitCode {
    http_function::open(Desk::from_env, assess_order, describe)
}

fn describe(api: &mut Api) {
    api.add(
        operation(
            [Method::POST],
            "/api/internal/security/assess-order",
            "Whether an order may be placed",
        )
        .details("Asking about an order again answers as before.")
        .for_services()
        .body::<OrderToAssess>()
        .bare::<OrderAssessment>(StatusCode::OK, "What is to become of it"),
    );
}

async fn assess_order(desk: Arc<Desk>, call: Call) -> Result<Reply, SecurityError> {
    call.service()?;
    let order: OrderToAssess = call.json()?;
    if order.total_amount.is_zero() {
        return Err(Problem::invalid_field("total_amount", MoneyError::Zero).into());
    }
    let now = call.now();

    let policies = desk.policies.recent(now).await?;
    let (facts, profile) = facts(&desk, &policies, &order, now).await;
    let buyer = UserId::from(order.buyer_uuid);
    let assessed = Assessed::order(order.order_uuid, buyer, facts, &policies);
    let (stored, ()) = tokio::join!(desk.assessments.add(assessed), tidy(&desk, buyer, profile, now));
    let stored = stored?;

    Ok(Reply::bare(
        StatusCode::OK,
        OrderAssessment {
            decision: stored.assessment.decision,
            when_unreachable: policies.when_unreachable(),
        },
    )?)
}

/// What is known of everybody concerned, as far as it can be read while the most patient policy waits.
async fn facts(desk: &Desk, policies: &PolicySet, order: &OrderToAssess, now: Timestamp) -> (Facts, Option<Profile>) {
    let (buyer, seller) = (UserId::from(order.buyer_uuid), UserId::from(order.seller_uuid));
    let attempt = Attempt {
        buyer,
        order: order.order_uuid,
        entry: OrderEntry {
            at: now,
            amount: order.total_amount,
            stage: Stage::Attempted,
            seller: order.seller_uuid,
            heard_late: false,
        },
        phone: order.phone_fingerprint.clone(),
        address: order.address_fingerprint.clone(),
    };
    let patience = Duration::from_millis(policies.patience_ms().into());
    let since = Instant::now();
    let (noted, contact, counterpart) = tokio::join!(
        in_time(patience, "the buyer", desk.profiles.note_attempt(&attempt)),
        in_time(patience, "the contact", desk.profiles.note_contact(&attempt, seller)),
        in_time(patience, "the seller", desk.profiles.find(seller)),
    );
    let waited = since.elapsed();
    let mut profile = noted;
    if let Some(profile) = &mut profile
        && profile.registered_at.is_none()
        && asks_for_age(policies)
    {
        profile.registered_at = users::registered_at(&desk.services, buyer).await;
    }
    let facts = Facts {
        at: now,
        amount: Some(order.total_amount),
        waited_ms: u32::try_from(waited.as_millis()).unwrap_or(u32::MAX),
        account: profile
            .as_ref()
            .map(|profile| profile.account(Some(order.order_uuid), Some(order.seller_uuid), now)),
        contact,
        counterpart: counterpart.map(|seller| seller.counterpart(buyer, now)),
    };
    (facts, profile)
}

fn asks_for_age(policies: &PolicySet) -> bool {
    let mut policies = policies.policies.iter();
    policies.any(|policy| policy.id() == PolicyId::NewAccount && policy.effect() != Mode::Off)
}

async fn in_time<T>(
    patience: Duration,
    what: &'static str,
    reading: impl Future<Output = Result<T, TableError>>,
) -> Option<T> {
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(read)) => Some(read),
        Ok(Err(error)) => {
            tracing::warn!(what, cause = %error, "a risk fact can not be read");
            None
        }
        Err(_) => {
            tracing::warn!(what, "a risk fact was not read in time");
            None
        }
    }
}

/// Keeps the age that was asked for, and drops what need not be kept. The answer does not depend on it, so a failure is
/// only logged: it is done again next time.
async fn tidy(desk: &Desk, buyer: UserId, profile: Option<Profile>, now: Timestamp) {
    let Some(profile) = profile else { return };
    let registration = async {
        match profile.registered_at {
            Some(at) if profile.orders.len() <= 1 => desk.profiles.keep_registration(buyer, at).await,
            _ => Ok(()),
        }
    };
    let dispensable = profile.dispensable(now);
    let dropping = async {
        if dispensable.is_empty() {
            Ok(())
        } else {
            desk.profiles.drop_orders(buyer, &dispensable).await
        }
    };
    let (kept, dropped) = tokio::join!(registration, dropping);
    for failed in [kept, dropped].into_iter().filter_map(Result::err) {
        tracing::warn!(user = %buyer, cause = %failed, "a risk profile was not tidied");
    }
}
