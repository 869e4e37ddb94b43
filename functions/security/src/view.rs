//! The JSON that leaves SecurityService.

use std::borrow::Cow;

use contracts::security::Decision;
use kernel::{AssessmentId, OrderId, UserId, Zone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::assessment::{Assessed, BackTest, Example, Kind, Tally};
use crate::policy::{Config, Level, Mode, OnFailure, Policy, PolicyId, PolicySet};
use crate::risk::{Finding, RiskLevel, Verdict};

/// All policies. Everybody who is logged in may know that they exist; what would help to stay below them is for
/// administrators only.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecurityPolicies)]
pub struct PoliciesView {
    /// The level that was chosen last.
    security_level: Level,
    /// Counts changes; 0 is what is built in. For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    edition: Option<u32>,
    policies: Vec<PolicyView>,
}

/// A policy. From `mode` on, for administrators.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecurityPolicy)]
pub struct PolicyView {
    policy_id: PolicyId,
    name: &'static str,
    description: &'static str,
    security_level: Level,
    is_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    on_failure: Option<OnFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    time_limit_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    config_data: Option<Config>,
    /// Counts the policy's changes from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version: Option<u32>,
    /// Who changed it last; not there while nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    updated_by: Option<UserId>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    updated_at: Option<String>,
}

impl PoliciesView {
    /// Everything.
    #[must_use]
    pub fn of(set: &PolicySet, zone: Zone) -> Self {
        Self {
            edition: Some(set.edition),
            policies: set.policies.iter().map(|policy| PolicyView::of(policy, zone)).collect(),
            ..Self::harmless(set)
        }
    }

    /// What is harmless in anybody's hands.
    #[must_use]
    pub fn harmless(set: &PolicySet) -> Self {
        Self {
            security_level: set.level,
            edition: None,
            policies: set.policies.iter().map(PolicyView::harmless).collect(),
        }
    }
}

impl PolicyView {
    fn of(policy: &Policy, zone: Zone) -> Self {
        Self {
            mode: Some(policy.mode),
            on_failure: Some(policy.on_failure),
            time_limit_ms: Some(policy.time_limit.get()),
            config_data: Some(policy.config),
            version: Some(policy.version),
            updated_by: policy.updated.map(|(by, _)| by),
            updated_at: policy.updated.map(|(_, at)| zone.show(at)),
            ..Self::harmless(policy)
        }
    }

    fn harmless(policy: &Policy) -> Self {
        let id = policy.id();
        Self {
            policy_id: id,
            name: id.name(),
            description: id.description(),
            security_level: policy.level,
            is_enabled: policy.is_enabled,
            mode: None,
            on_failure: None,
            time_limit_ms: None,
            config_data: None,
            version: None,
            updated_by: None,
            updated_at: None,
        }
    }
}

/// An assessment. A user sees his own without a number that would help to stay below a threshold, and without what would
/// follow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RiskAssessment)]
pub struct AssessmentView {
    assessment_uuid: AssessmentId,
    assessment_type: Kind,
    user_uuid: UserId,
    /// The order, placed or not, where one was assessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    order_uuid: Option<OrderId>,
    #[schema(maximum = 100)]
    risk_score: u8,
    risk_level: RiskLevel,
    /// The same as `risk_score`.
    #[schema(maximum = 100)]
    score: u8,
    /// The same as `risk_level`.
    level: RiskLevel,
    /// Whether any rule was hit.
    is_suspicious: bool,
    /// For administrators and services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    decision: Option<Decision>,
    /// By which edition of the policies. For administrators and services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    policy_edition: Option<u32>,
    rules: Vec<RuleView>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// What one policy said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleVerdict)]
pub struct RuleView {
    policy_id: PolicyId,
    name: &'static str,
    verdict: Verdict,
    reason: Cow<'static, str>,
    /// For administrators and services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mode: Option<Mode>,
    /// What it adds by itself. For administrators and services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 100)]
    score: Option<u8>,
}

impl AssessmentView {
    /// Everything.
    #[must_use]
    pub fn of(assessed: &Assessed, zone: Zone) -> Self {
        Self {
            order_uuid: assessed.order,
            decision: Some(assessed.assessment.decision),
            policy_edition: Some(assessed.edition),
            rules: assessed.assessment.findings.iter().map(RuleView::of).collect(),
            ..Self::harmless(assessed, zone)
        }
    }

    /// What is harmless in the hands of the user it is about.
    #[must_use]
    pub fn harmless(assessed: &Assessed, zone: Zone) -> Self {
        let (score, level) = (assessed.assessment.score, assessed.level());
        Self {
            assessment_uuid: assessed.id,
            assessment_type: assessed.kind,
            user_uuid: assessed.user,
            order_uuid: None,
            risk_score: score,
            risk_level: level,
            score,
            level,
            is_suspicious: assessed.is_suspicious(),
            decision: None,
            policy_edition: None,
            rules: assessed.assessment.findings.iter().map(RuleView::harmless).collect(),
            created_at: zone.show(assessed.at),
        }
    }
}

impl RuleView {
    fn of(finding: &Finding) -> Self {
        Self {
            reason: finding.reason.clone().into(),
            mode: Some(finding.mode),
            score: Some(finding.points),
            ..Self::harmless(finding)
        }
    }

    fn harmless(finding: &Finding) -> Self {
        Self {
            policy_id: finding.policy_id,
            name: finding.policy_id.name(),
            verdict: finding.verdict,
            reason: finding.policy_id.description().into(),
            mode: None,
            score: None,
        }
    }
}

/// A part of the list of assessments.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RiskAssessmentsPage)]
pub struct AssessmentsView {
    /// Entries of this part: the whole is not counted.
    pub count: usize,
    /// Where the list goes on.
    #[schema(required)]
    pub next: Option<String>,
    /// Always null: the list is read forwards.
    #[schema(required)]
    pub previous: Option<String>,
    /// The entries.
    pub results: AssessmentsResults,
}

/// The entries in the envelope of lists.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RiskAssessments)]
pub struct AssessmentsResults {
    /// 200.
    pub code: u16,
    /// For people.
    pub message: &'static str,
    /// Newest first.
    pub data: Vec<AssessmentView>,
}

/// What an edit would have done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackTest)]
pub struct BackTestView {
    /// Orders looked at, the newest ones.
    looked_at: usize,
    /// What was decided.
    was: TallyView,
    /// What would have been decided.
    would_be: TallyView,
    /// Orders with another decision.
    changed: usize,
    /// Some of those, the newest ones.
    examples: Vec<ExampleView>,
}

/// How many orders of each decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackTestTally)]
pub struct TallyView {
    allow: usize,
    warn: usize,
    block: usize,
}

/// An order that would have been decided otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackTestExample)]
pub struct ExampleView {
    assessment_uuid: AssessmentId,
    #[schema(required)]
    order_uuid: Option<OrderId>,
    user_uuid: UserId,
    #[schema(format = DateTime)]
    created_at: String,
    was: Decision,
    score_was: u8,
    would_be: Decision,
    score_would_be: u8,
    rules: Vec<RuleView>,
}

impl BackTestView {
    /// All of it.
    #[must_use]
    pub fn of(test: &BackTest, zone: Zone) -> Self {
        Self {
            looked_at: test.looked_at,
            was: TallyView::of(test.was),
            would_be: TallyView::of(test.would_be),
            changed: test.changed,
            examples: test
                .examples
                .iter()
                .map(|example| ExampleView::of(example, zone))
                .collect(),
        }
    }
}

impl TallyView {
    fn of(tally: Tally) -> Self {
        let Tally { allow, warn, block } = tally;
        Self { allow, warn, block }
    }
}

impl ExampleView {
    fn of(example: &Example, zone: Zone) -> Self {
        Self {
            assessment_uuid: example.id,
            order_uuid: example.order,
            user_uuid: example.user,
            created_at: zone.show(example.at),
            was: example.was,
            score_was: example.score_was,
            would_be: example.would_be,
            score_would_be: example.score_would_be,
            rules: example.findings.iter().map(RuleView::of).collect(),
        }
    }
}
