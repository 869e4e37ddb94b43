//! The JSON that leaves SecurityService.

use contracts::security::Decision;
use kernel::{AssessmentId, OrderId, UserId, Zone};
use serde::Serialize;

use crate::assessment::{Assessed, BackTest, Example, Kind, Tally};
use crate::policy::{Config, Level, Mode, OnFailure, Policy, PolicyId, PolicySet};
use crate::risk::{Finding, RiskLevel, Verdict};

/// All policies, for administrators.
#[derive(Debug, Serialize)]
pub struct PoliciesView {
    /// The level that was chosen last.
    security_level: Level,
    /// Counts changes; 0 is what is built in.
    edition: u32,
    policies: Vec<PolicyView>,
}

/// A policy, for administrators.
#[derive(Debug, Serialize)]
pub struct PolicyView {
    policy_id: PolicyId,
    name: &'static str,
    description: &'static str,
    security_level: Level,
    is_enabled: bool,
    mode: Mode,
    on_failure: OnFailure,
    time_limit_ms: u32,
    config_data: Config,
    version: u32,
    updated_by: Option<UserId>,
    updated_at: Option<String>,
}

impl PoliciesView {
    /// Everything.
    #[must_use]
    pub fn of(set: &PolicySet, zone: Zone) -> Self {
        Self {
            security_level: set.level,
            edition: set.edition,
            policies: set.policies.iter().map(|policy| PolicyView::of(policy, zone)).collect(),
        }
    }
}

impl PolicyView {
    fn of(policy: &Policy, zone: Zone) -> Self {
        let id = policy.id();
        Self {
            policy_id: id,
            name: id.name(),
            description: id.description(),
            security_level: policy.level,
            is_enabled: policy.is_enabled,
            mode: policy.mode,
            on_failure: policy.on_failure,
            time_limit_ms: policy.time_limit.get(),
            config_data: policy.config,
            version: policy.version,
            updated_by: policy.updated.map(|(by, _)| by),
            updated_at: policy.updated.map(|(_, at)| zone.show(at)),
        }
    }
}

/// All policies, for everybody who is logged in: that they exist, and nothing that would help to stay below them.
#[derive(Debug, Serialize)]
pub struct PublicPoliciesView {
    security_level: Level,
    policies: Vec<PublicPolicyView>,
}

/// A policy, for everybody who is logged in.
#[derive(Debug, Serialize)]
pub struct PublicPolicyView {
    policy_id: PolicyId,
    name: &'static str,
    description: &'static str,
    security_level: Level,
    is_enabled: bool,
}

impl PublicPoliciesView {
    /// What is harmless.
    #[must_use]
    pub fn of(set: &PolicySet) -> Self {
        let policies = set.policies.iter().map(|policy| PublicPolicyView {
            policy_id: policy.id(),
            name: policy.id().name(),
            description: policy.id().description(),
            security_level: policy.level,
            is_enabled: policy.is_enabled,
        });
        Self {
            security_level: set.level,
            policies: policies.collect(),
        }
    }
}

/// An assessment, for administrators and services.
#[derive(Debug, Serialize)]
pub struct AssessmentView {
    assessment_uuid: AssessmentId,
    assessment_type: Kind,
    user_uuid: UserId,
    order_uuid: Option<OrderId>,
    #[serde(flatten)]
    scores: Scores,
    decision: Decision,
    /// By which edition of the policies.
    policy_edition: u32,
    rules: Vec<RuleView>,
    created_at: String,
}

/// The figures, by the two names that clients may know them by.
#[derive(Debug, Serialize)]
pub struct Scores {
    risk_score: u8,
    risk_level: RiskLevel,
    score: u8,
    level: RiskLevel,
    /// Whether any rule was hit.
    is_suspicious: bool,
}

/// What one policy said.
#[derive(Debug, Serialize)]
pub struct RuleView {
    policy_id: PolicyId,
    name: &'static str,
    mode: Mode,
    verdict: Verdict,
    score: u8,
    reason: String,
}

impl AssessmentView {
    /// Everything.
    #[must_use]
    pub fn of(assessed: &Assessed, zone: Zone) -> Self {
        Self {
            assessment_uuid: assessed.id,
            assessment_type: assessed.kind,
            user_uuid: assessed.user,
            order_uuid: assessed.order,
            scores: Scores::of(assessed),
            decision: assessed.assessment.decision,
            policy_edition: assessed.edition,
            rules: assessed.assessment.findings.iter().map(RuleView::of).collect(),
            created_at: zone.show(assessed.at),
        }
    }
}

impl Scores {
    fn of(assessed: &Assessed) -> Self {
        Self {
            risk_score: assessed.assessment.score,
            risk_level: assessed.level(),
            score: assessed.assessment.score,
            level: assessed.level(),
            is_suspicious: assessed.is_suspicious(),
        }
    }
}

impl RuleView {
    fn of(finding: &Finding) -> Self {
        Self {
            policy_id: finding.policy_id,
            name: finding.policy_id.name(),
            mode: finding.mode,
            verdict: finding.verdict,
            score: finding.points,
            reason: finding.reason.clone(),
        }
    }
}

/// An assessment, for the user it is about: what was looked at and what came of it, without a number that would help to
/// stay below a threshold, and without what would follow.
#[derive(Debug, Serialize)]
pub struct OwnAssessmentView {
    assessment_uuid: AssessmentId,
    assessment_type: Kind,
    user_uuid: UserId,
    #[serde(flatten)]
    scores: Scores,
    rules: Vec<OwnRuleView>,
    created_at: String,
}

/// What one policy said, for the user it is about.
#[derive(Debug, Serialize)]
pub struct OwnRuleView {
    policy_id: PolicyId,
    name: &'static str,
    verdict: Verdict,
    reason: &'static str,
}

impl OwnAssessmentView {
    /// What is harmless.
    #[must_use]
    pub fn of(assessed: &Assessed, zone: Zone) -> Self {
        let rules = assessed.assessment.findings.iter().map(|finding| OwnRuleView {
            policy_id: finding.policy_id,
            name: finding.policy_id.name(),
            verdict: finding.verdict,
            reason: finding.policy_id.description(),
        });
        Self {
            assessment_uuid: assessed.id,
            assessment_type: assessed.kind,
            user_uuid: assessed.user,
            scores: Scores::of(assessed),
            rules: rules.collect(),
            created_at: zone.show(assessed.at),
        }
    }
}

/// A part of the list of assessments.
#[derive(Debug, Serialize)]
pub struct AssessmentsView {
    /// Entries of this part: the whole is not counted.
    pub count: usize,
    /// Where the list goes on.
    pub next: Option<String>,
    /// Always null: the list is read forwards.
    pub previous: Option<String>,
    /// The entries.
    pub results: AssessmentsResults,
}

/// The entries in the envelope of lists.
#[derive(Debug, Serialize)]
pub struct AssessmentsResults {
    /// 200.
    pub code: u16,
    /// For people.
    pub message: &'static str,
    /// Newest first.
    pub data: Vec<AssessmentView>,
}

/// What an edit would have done.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct TallyView {
    allow: usize,
    warn: usize,
    block: usize,
}

/// An order that would have been decided otherwise.
#[derive(Debug, Serialize)]
pub struct ExampleView {
    assessment_uuid: AssessmentId,
    order_uuid: Option<OrderId>,
    user_uuid: UserId,
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
