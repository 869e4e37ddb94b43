//! What is done with what is dirty. Each kind has a rule, which a switch changes: `--rule KIND=RULE`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::identity::Entity;

/// What is done with a row that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// It is taken, changed as [`Kind::repair`] says. What is lost of it is in the quarantine file.
    Repair,
    /// It is left out, and is in the quarantine file with the reason.
    Quarantine,
    /// A person decides first: nothing is copied before one of the others is chosen.
    Ask,
}

impl Rule {
    /// The word in switches and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Quarantine => "quarantine",
            Self::Ask => "ask",
        }
    }
}

impl FromStr for Rule {
    type Err = BadSwitch;

    fn from_str(word: &str) -> Result<Self, BadSwitch> {
        [Self::Repair, Self::Quarantine, Self::Ask]
            .into_iter()
            .find(|rule| rule.word() == word)
            .ok_or_else(|| BadSwitch(format!("{word} is no rule: repair, quarantine or ask")))
    }
}

/// A switch that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSwitch(String);

macro_rules! kinds {
    ($($kind:ident = $word:literal, $rule:ident, $meaning:literal, $repair:expr;)*) => {
        /// What can be wrong with a row.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $meaning] $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The word in switches and files.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }

            /// What repairing means; `None`: it can not be repaired.
            #[must_use]
            pub fn repair(self) -> Option<&'static str> {
                match self { $(Self::$kind => $repair,)* }
            }

            /// Its rule, unless a switch says otherwise.
            #[must_use]
            pub fn rule(self) -> Rule {
                match self { $(Self::$kind => Rule::$rule,)* }
            }
        }
    };
}

kinds! {
    OrderWithoutSeller = "order-without-seller", Quarantine,
        "No seller is known: the order has no items, or its products are gone or have none.", None;
    SeveralSellers = "several-sellers", Quarantine,
        "The products of the order have several sellers; an order here has one, and one payment can not be divided.", None;
    Orphan = "orphan", Quarantine,
        "A row that refers to something that is not there: an item or a payment without its order, anything without its user.", None;
    TotalDiffers = "total-differs", Repair,
        "The total is not the sum of the items.", Some("The total stays, because that is what was charged; the items stay as they were.");
    AmountOutOfRange = "amount-out-of-range", Quarantine,
        "An amount of zero or less, or a quantity that no order can have.", None;
    PaymentDiffers = "payment-differs", Quarantine,
        "The payment that succeeded is of another amount than the order.", None;
    SeveralPayments = "several-payments", Repair,
        "Several payments of one order succeeded.",
        Some("The first one pays the order; of each other one a refund waits for a person.");
    PaidWithoutPayment = "paid-without-payment", Ask,
        "The order is paid or completed, and no payment succeeded.",
        Some("A payment of the older system is made up from the order's own total, time and method.");
    PendingButPaid = "pending-but-paid", Ask,
        "A payment succeeded, and the order still waits for it.", Some("The order is paid.");
    CancelledButPaid = "cancelled-but-paid", Repair,
        "A payment succeeded, and the order is cancelled; nothing tells whether the money went back.",
        Some("A refund of it waits for a person.");
    ForeignPayment = "foreign-payment", Repair,
        "The payment is of another user than the order's buyer.", Some("It is the buyer's payment.");
    DuplicateEmail = "duplicate-email", Repair,
        "Several accounts have one e-mail address, which here leads to one account.",
        Some("The oldest account keeps it; each other one gets an address that reaches nobody, until an administrator helps.");
    DuplicateName = "duplicate-name", Repair,
        "Several accounts have one name.", Some("The oldest account keeps it; each other one gets its number appended.");
    BadEmail = "bad-email", Repair,
        "An e-mail address that no mail can reach.", Some("The account gets an address that reaches nobody.");
    BadName = "bad-name", Repair,
        "A name with spaces, or none.", Some("Spaces become underscores; an empty name becomes `user` with the number.");
    BadPassword = "bad-password", Repair,
        "A password hash that nothing fits.", Some("The account is taken; nobody can log in with it until it has a new password.");
    TokenDoesNotDecrypt = "token-does-not-decrypt", Repair,
        "An encrypted field that the key does not open.", Some("The field says that it can not be read.");
    DateOutOfRange = "date-out-of-range", Repair,
        "A date before 2000, in the future, or none.", Some("The nearest date of the same row takes its place; without any, it is quarantined.");
    TextTooLong = "text-too-long", Repair,
        "A text that is longer than here, or has control characters.", Some("It is cut; the whole text is in the quarantine file.");
    TextMissing = "text-missing", Repair,
        "A text that is needed, and empty.", Some("A dash takes its place.");
    UnknownStatus = "unknown-status", Quarantine,
        "A status, kind or method that was never defined.", None;
    BadData = "bad-data", Repair,
        "Data for programs that is not an object of at most 4 KB.", Some("It is left out; it is in the quarantine file.");
    OverduePending = "overdue-pending", Repair,
        "The order has waited for its payment for longer than half an hour, which the older systems allowed.",
        Some("It is cancelled, as if its time had run out then.");
    PendingWithoutStock = "pending-without-stock", Repair,
        "The order waits for its payment, and its product is sold or is an older order's.", Some("It is cancelled.");
    ChangedHere = "changed-here", Quarantine,
        "It was changed here since it was moved; what is here stays.", None;
    NotTaken = "not-taken", Quarantine,
        "Nothing here corresponds to it.", None;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = BadSwitch;

    fn from_str(word: &str) -> Result<Self, BadSwitch> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| BadSwitch(format!("{word} is no kind; `migrate rules` lists them")))
    }
}

/// One switch: `KIND=RULE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    kind: Kind,
    rule: Rule,
}

impl FromStr for Switch {
    type Err = BadSwitch;

    fn from_str(text: &str) -> Result<Self, BadSwitch> {
        let (kind, rule) = text
            .split_once('=')
            .ok_or_else(|| BadSwitch("must be KIND=RULE, such as paid-without-payment=repair".to_owned()))?;
        let (kind, rule): (Kind, Rule) = (kind.parse()?, rule.parse()?);
        if rule == Rule::Repair && kind.repair().is_none() {
            return Err(BadSwitch(format!("{kind} can not be repaired: quarantine or ask")));
        }
        Ok(Self { kind, rule })
    }
}

/// The rules of a run.
#[derive(Debug, Clone, Default)]
pub struct Rules(BTreeMap<Kind, Rule>);

impl Rules {
    /// The rules with these switches.
    #[must_use]
    pub fn with(switches: &[Switch]) -> Self {
        Self(switches.iter().map(|switch| (switch.kind, switch.rule)).collect())
    }

    /// The rule for a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Rule {
        self.0.get(&kind).copied().unwrap_or_else(|| kind.rule())
    }

    /// All of them in a few words: a row that was judged by others is judged anew.
    #[must_use]
    pub fn words(&self) -> String {
        Kind::ALL
            .iter()
            .map(|kind| format!("{kind}={};", self.of(*kind).word()))
            .collect()
    }
}

/// Something that was wrong with a row, and what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub entity: Entity,
    /// Which row.
    pub id: String,
    /// What.
    pub kind: Kind,
    /// By which rule.
    pub rule: Rule,
    /// What exactly, without anything personal.
    pub detail: String,
    /// What was not taken of it. May be personal.
    pub lost: Option<String>,
}

/// What is found about one row.
#[derive(Debug)]
pub struct Notes<'a> {
    rules: &'a Rules,
    entity: Entity,
    id: String,
    /// The findings.
    pub findings: Vec<Finding>,
    left_out: bool,
}

impl<'a> Notes<'a> {
    /// Nothing yet, about a row.
    #[must_use]
    pub fn about(rules: &'a Rules, entity: Entity, id: impl ToString) -> Self {
        Self {
            rules,
            entity,
            id: id.to_string(),
            findings: Vec::new(),
            left_out: false,
        }
    }

    /// Something is wrong. Whether the row is still to be taken, as repaired.
    pub fn note(&mut self, kind: Kind, detail: impl Into<String>, lost: Option<String>) -> bool {
        let rule = match self.rules.of(kind) {
            Rule::Repair if kind.repair().is_none() => Rule::Quarantine,
            rule => rule,
        };
        self.enter(kind, rule, detail.into(), lost)
    }

    /// The same where it can not be repaired in this case.
    pub fn leave_out(&mut self, kind: Kind, detail: impl Into<String>) {
        let rule = match self.rules.of(kind) {
            Rule::Ask => Rule::Ask,
            Rule::Repair | Rule::Quarantine => Rule::Quarantine,
        };
        self.enter(kind, rule, detail.into(), None);
    }

    fn enter(&mut self, kind: Kind, rule: Rule, detail: String, lost: Option<String>) -> bool {
        self.left_out |= rule != Rule::Repair;
        match self.findings.iter_mut().find(|finding| finding.kind == kind) {
            Some(known) => {
                known.detail = format!("{}; {detail}", known.detail);
                if let Some(lost) = lost {
                    known.lost = Some(
                        known
                            .lost
                            .take()
                            .map_or_else(|| lost.clone(), |all| format!("{all}\n{lost}")),
                    );
                }
            }
            None => self.findings.push(Finding {
                entity: self.entity,
                id: self.id.clone(),
                kind,
                rule,
                detail,
                lost,
            }),
        }
        rule == Rule::Repair
    }

    /// Whether the row is not to be taken.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_rule_that_it_can_follow_and_a_switch() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse(), Ok(*kind));
            assert!(kind.rule() != Rule::Repair || kind.repair().is_some(), "{kind}");
            for rule in [Rule::Repair, Rule::Quarantine, Rule::Ask] {
                let switch = format!("{kind}={}", rule.word()).parse::<Switch>();
                assert_eq!(
                    switch.is_ok(),
                    rule != Rule::Repair || kind.repair().is_some(),
                    "{kind}"
                );
                if let Ok(switch) = switch {
                    assert_eq!(Rules::with(&[switch]).of(*kind), rule);
                }
            }
        }
        for text in ["", "orphan", "orphan=drop", "nothing=repair", "orphan=repair"] {
            assert!(text.parse::<Switch>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_reason_to_leave_a_row_out_is_enough() {
        let rules = Rules::default();
        let mut notes = Notes::about(&rules, Entity::Order, 1);
        assert!(notes.note(Kind::TextTooLong, "remark", Some("all of it".into())));
        assert!(!notes.is_left_out());
        assert!(!notes.note(Kind::SeveralSellers, "2", None));
        assert!(notes.note(Kind::TextTooLong, "cancel_reason", None));
        assert!(notes.is_left_out());
        assert_eq!(notes.findings.len(), 2);
        assert_eq!(notes.findings[0].detail, "remark; cancel_reason");
    }
}
