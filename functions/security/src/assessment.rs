//! An assessment as it is kept: append-only, with the facts it was made from.

use std::str::FromStr;
use std::time::Duration;

use contracts::security::Decision;
use kernel::{AssessmentId, OrderId, Place, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::facts::Facts;
use crate::policy::{PolicyId, PolicySet};
use crate::risk::{Assessment, Finding, RiskLevel, Verdict};

/// After that the table forgets an assessment.
pub const KEPT_FOR: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// What was assessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AssessmentType)]
pub enum Kind {
    /// An order about to be placed: all policies.
    Order,
    /// A user, on request: all policies.
    Risk,
    /// A user, on request: the policies that speak of deceit.
    Fraud,
}

impl Kind {
    /// Whether it looks at this policy.
    #[must_use]
    pub fn looks_at(self, policy: PolicyId) -> bool {
        match self {
            Self::Order | Self::Risk => true,
            Self::Fraud => policy.is_about_fraud(),
        }
    }
}

/// Where administrators look for an assessment: among those of orders, or among those that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(as = AssessmentShelf)]
pub enum Shelf {
    /// Of orders.
    #[schema(rename = "order")]
    Orders,
    /// On request.
    #[schema(rename = "request")]
    Requests,
}

impl Shelf {
    /// Where assessments of this kind are.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Order => Self::Orders,
            Kind::Risk | Kind::Fraud => Self::Requests,
        }
    }

    /// The word in queries and keys.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Orders => "order",
            Self::Requests => "request",
        }
    }
}

impl FromStr for Shelf {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "order" => Ok(Self::Orders),
            "request" => Ok(Self::Requests),
            _ => Err("must be order or request"),
        }
    }
}

/// An assessment with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// Derived from the order where there is one: an order is assessed once.
    pub id: AssessmentId,
    /// What was assessed.
    pub kind: Kind,
    /// Whom it is about.
    pub user: UserId,
    /// The order, placed or not.
    pub order: Option<OrderId>,
    /// When.
    pub at: Timestamp,
    /// By which edition of the policies.
    pub edition: u32,
    /// What it looked at.
    pub facts: Facts,
    /// What it says.
    pub assessment: Assessment,
}

impl Assessed {
    /// The id of the assessment of an order.
    #[must_use]
    pub fn id_of_order(order: OrderId) -> AssessmentId {
        AssessmentId::derived(&["order", &order.to_string()])
    }

    /// What `policies` say of an order that `user` is about to place.
    #[must_use]
    pub fn order(order: OrderId, user: UserId, facts: Facts, policies: &PolicySet) -> Self {
        Self::new(
            Self::id_of_order(order),
            Kind::Order,
            user,
            Some(order),
            facts,
            policies,
        )
    }

    /// What `policies` say of a user whom somebody asked about.
    #[must_use]
    pub fn on_request(kind: Kind, user: UserId, facts: Facts, policies: &PolicySet) -> Self {
        Self::new(AssessmentId::random(), kind, user, None, facts, policies)
    }

    fn new(
        id: AssessmentId,
        kind: Kind,
        user: UserId,
        order: Option<OrderId>,
        facts: Facts,
        policies: &PolicySet,
    ) -> Self {
        let looked_at = policies.policies.iter().filter(|policy| kind.looks_at(policy.id()));
        Self {
            id,
            kind,
            user,
            order,
            at: facts.at,
            edition: policies.edition,
            assessment: Assessment::of(&facts, looked_at),
            facts,
        }
    }

    /// The score in one word.
    #[must_use]
    pub fn level(&self) -> RiskLevel {
        self.assessment.level()
    }

    /// Whether anything that it looked at was hit.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.assessment.hits().next().is_some()
    }

    /// Its place in lists.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::of(self.at, self.id.uuid())
    }
}

/// What an edit of the policies would have done to orders that were assessed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackTest {
    /// Orders looked at, the newest ones.
    pub looked_at: usize,
    /// What was decided.
    pub was: Tally,
    /// What would have been decided.
    pub would_be: Tally,
    /// Orders with another decision.
    pub changed: usize,
    /// Some of those, the newest ones.
    pub examples: Vec<Example>,
}

/// How many orders of each decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Placed.
    pub allow: usize,
    /// Placed and flagged.
    pub warn: usize,
    /// Refused.
    pub block: usize,
}

impl Tally {
    fn count(&mut self, decision: Decision) {
        match decision {
            Decision::Allow => self.allow += 1,
            Decision::Warn => self.warn += 1,
            Decision::Block => self.block += 1,
        }
    }
}

/// An order of which another edition decides otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its assessment.
    pub id: AssessmentId,
    /// The order.
    pub order: Option<OrderId>,
    /// Its buyer.
    pub user: UserId,
    /// When it was assessed.
    pub at: Timestamp,
    /// The decision then.
    pub was: Decision,
    /// The score then.
    pub score_was: u8,
    /// The decision by the other policies.
    pub would_be: Decision,
    /// The score by the other policies.
    pub score_would_be: u8,
    /// What would have been hit, or could not have been decided.
    pub findings: Vec<Finding>,
}

/// Examples that a back-test gives.
const EXAMPLES: usize = 10;

impl BackTest {
    /// What `policies` make of orders that were assessed before, newest first.
    #[must_use]
    pub fn of(orders: &[Assessed], policies: &PolicySet) -> Self {
        let mut test = Self {
            looked_at: orders.len(),
            was: Tally::default(),
            would_be: Tally::default(),
            changed: 0,
            examples: Vec::new(),
        };
        for order in orders {
            let mut now = Assessment::of(&order.facts, &policies.policies);
            test.was.count(order.assessment.decision);
            test.would_be.count(now.decision);
            if now.decision == order.assessment.decision {
                continue;
            }
            test.changed += 1;
            if test.examples.len() < EXAMPLES {
                now.findings
                    .retain(|finding| matches!(finding.verdict, Verdict::Hit | Verdict::Unknown));
                test.examples.push(Example {
                    id: order.id,
                    order: order.order,
                    user: order.user,
                    at: order.at,
                    was: order.assessment.decision,
                    score_was: order.assessment.score,
                    would_be: now.decision,
                    score_would_be: now.score,
                    findings: now.findings,
                });
            }
        }
        test
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::Account;
    use crate::policy::{Edit, Level};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn facts(amount: &str) -> Facts {
        Facts {
            at: NOW,
            amount: Some(amount.parse().unwrap()),
            waited_ms: 0,
            account: Some(Account::default()),
            contact: Some(crate::facts::Contact::default()),
            counterpart: Some(crate::facts::Counterpart::default()),
        }
    }

    #[test]
    fn a_back_test_counts_what_an_edit_would_have_changed() {
        let set = PolicySet::built_in(Level::Medium);
        let order = |amount| Assessed::order(OrderId::random(), UserId::random(), facts(amount), &set);
        let orders = [order("10.00"), order("500.00"), order("900.00")];
        let edit: Edit = serde_json::from_value(json!({"policies": [
            {"policy_id": "first_purchase", "mode": "block", "config_data": {"max_amount": "499.99"}},
        ]}))
        .unwrap();
        let edited = set.edited(&edit, UserId::random(), NOW).unwrap().unwrap();
        let test = BackTest::of(&orders, &edited);
        assert_eq!((test.looked_at, test.was.allow, test.changed), (3, 3, 2));
        assert_eq!((test.would_be.allow, test.would_be.block), (1, 2));
        assert_eq!(test.examples[0].order, orders[1].order);
        assert_eq!(test.examples[0].findings.len(), 1);
        assert_eq!(BackTest::of(&orders, &set).changed, 0);
    }

    #[test]
    fn fraud_detection_looks_at_what_speaks_of_deceit() {
        let set = PolicySet::built_in(Level::Medium);
        let assessed = Assessed::on_request(Kind::Fraud, UserId::random(), facts("10.00"), &set);
        let looked_at = assessed.assessment.findings.len();
        assert!(0 < looked_at && looked_at < PolicyId::ALL.len());
    }
}
