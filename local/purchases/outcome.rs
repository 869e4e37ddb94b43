//! What came of a run: two books, held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::customer::Purchase;
use super::plan::{Certainty, Flow, Way};
use super::{Played, Run};
use crate::books::{ForAPerson, OrderBooks, Report, Totals, Violation};

/// Something that should be the same with and without faults, and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The purchase's number in the run.
    pub number: u32,
    /// What its people wanted.
    pub flow: Flow,
    /// How it was to be paid.
    pub way: Way,
    /// What went wrong.
    pub trouble: Vec<String>,
    /// The order.
    pub order: String,
    /// What differs.
    pub found: String,
    /// What its people could not do, in the run with faults.
    pub notes: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            flow,
            way,
            trouble,
            order,
            found,
            notes,
        } = self;
        write!(
            f,
            "purchase {number} ({flow:?} by {way}, {trouble:?}, order {order}): {found}"
        )?;
        notes.iter().try_for_each(|note| write!(f, "\n    {note}"))
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// By which it can be run again.
    pub seed: u64,
    /// Purchases by what their people wanted.
    pub flows: BTreeMap<Flow, u32>,
    /// Purchases by how they were to be paid.
    pub ways: BTreeMap<Way, u32>,
    /// Purchases by what went wrong; several of one purchase count each.
    pub troubles: BTreeMap<String, u32>,
    /// Which of the one met which of the other.
    pub combinations: BTreeSet<(Flow, String)>,
    /// Broken rules of the run with faults.
    pub violations: Vec<Violation>,
    /// Broken rules of the run without.
    pub violations_without: Vec<Violation>,
    /// What differs between the two.
    pub differences: Vec<Difference>,
    /// Messages that their queues gave up and an operator put back, by queue: with faults and without.
    pub put_back: (BTreeMap<String, u64>, BTreeMap<String, u64>),
    /// Those that were given up again.
    pub dead_letters: (BTreeMap<String, u64>, BTreeMap<String, u64>),
    /// What waits for a person, with the reason for it among the faults.
    pub for_people: Vec<ForAPerson>,
    /// All money, with faults and without.
    pub totals: (Totals, Totals),
    /// Orders by their status in the end, with faults and without.
    pub statuses: BTreeMap<String, (u32, u32)>,
}

impl Outcome {
    pub(super) fn of(run: &Run, with: &Played, without: &Played) -> Outcome {
        let mut outcome = Outcome {
            seed: run.seed,
            violations: with.report.violations.clone(),
            violations_without: without.report.violations.clone(),
            put_back: (with.put_back.clone(), without.put_back.clone()),
            dead_letters: (with.dead_letters.clone(), without.dead_letters.clone()),
            for_people: with.report.for_people.clone(),
            totals: (with.report.totals, without.report.totals),
            ..Outcome::default()
        };
        for (troubled, smooth) in with.purchases.iter().zip(&without.purchases) {
            outcome.count(troubled);
            let there = books_of(&with.report, troubled);
            let here = books_of(&without.report, smooth);
            outcome.statuses.entry(there.status.clone()).or_default().0 += 1;
            outcome.statuses.entry(here.status.clone()).or_default().1 += 1;
            let called = |report: &Report, purchase: &Purchase| {
                let order = purchase.order.as_deref();
                report.for_people.iter().any(|what| Some(what.order()) == order)
            };
            let found = if called(&without.report, smooth) {
                Some("a person is called although nothing went wrong".to_owned())
            } else if called(&with.report, troubled) {
                let in_vain = !troubled.trouble.needs_a_person;
                in_vain.then(|| "a person is called, and nothing that went wrong needs one".to_owned())
            } else {
                difference(troubled.wish.flow.certainty(), &there, &here)
            };
            if let Some(found) = found {
                outcome.differences.push(Difference {
                    number: troubled.wish.number,
                    flow: troubled.wish.flow,
                    way: troubled.wish.first,
                    trouble: troubled.trouble.kinds.clone(),
                    order: troubled.order.clone().unwrap_or_default(),
                    found,
                    notes: troubled.notes.clone(),
                });
            }
        }
        outcome
    }

    fn count(&mut self, purchase: &Purchase) {
        let (wish, trouble) = (&purchase.wish, &purchase.trouble);
        *self.flows.entry(wish.flow).or_default() += 1;
        *self.ways.entry(wish.first).or_default() += 1;
        for kind in &trouble.kinds {
            *self.troubles.entry(kind.clone()).or_default() += 1;
            self.combinations.insert((wish.flow, kind.clone()));
        }
        if trouble.kinds.is_empty() {
            *self.troubles.entry("nothing".to_owned()).or_default() += 1;
        }
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
            && self.violations_without.is_empty()
            && self.differences.is_empty()
            && self.dead_letters.0.is_empty()
            && self.dead_letters.1.is_empty()
    }
}

fn books_of(report: &Report, purchase: &Purchase) -> OrderBooks {
    let order = purchase.order.as_ref().and_then(|order| report.orders.get(order));
    order.cloned().unwrap_or_default()
}

fn difference(certainty: Certainty, with: &OrderBooks, without: &OrderBooks) -> Option<String> {
    let ending = |books: &OrderBooks| {
        let kept = books.captured_fen - books.refunded_fen;
        (books.status.clone(), books.held_fen, books.released_fen, kept)
    };
    if with.unfinished || without.unfinished {
        return Some(format!("unfinished: {with:?}, without faults {without:?}"));
    }
    let is_same = match certainty {
        Certainty::Everything => with == without,
        Certainty::Ending => ending(with) == ending(without),
        Certainty::Nothing => true,
    };
    (!is_same).then(|| format!("{with:?}, without faults {without:?}"))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "purchases by what their people wanted")?;
        for (flow, count) in &self.flows {
            writeln!(f, "  {:<24}{count:>6}", format!("{flow:?}"))?;
        }
        writeln!(f, "by how they were to be paid")?;
        for (way, count) in &self.ways {
            writeln!(f, "  {:<24}{count:>6}", way.to_string())?;
        }
        writeln!(f, "by what went wrong at the provider")?;
        for (kind, count) in &self.troubles {
            writeln!(f, "  {kind:<36}{count:>6}")?;
        }
        writeln!(f, "by their status in the end: with faults, without")?;
        for (status, (with, without)) in &self.statuses {
            writeln!(f, "  {status:<24}{with:>6} {without:>6}")?;
        }
        let (with, without) = (&self.totals.0, &self.totals.1);
        writeln!(f, "money in fen: with faults, without")?;
        for (name, with, without) in [
            ("captured", with.captured_fen, without.captured_fen),
            ("held", with.held_fen, without.held_fen),
            ("released", with.released_fen, without.released_fen),
            ("refunded", with.refunded_fen, without.refunded_fen),
            ("mismatched", with.mismatched_fen, without.mismatched_fen),
            (
                "captured at providers",
                with.provider_captured_fen,
                without.provider_captured_fen,
            ),
            (
                "refunded at providers",
                with.provider_refunded_fen,
                without.provider_refunded_fen,
            ),
        ] {
            writeln!(f, "  {name:<24}{with:>12} {without:>12}")?;
        }
        let mut people = BTreeMap::new();
        for what in &self.for_people {
            let kind = match what {
                ForAPerson::Mismatch { .. } => "money that does not match",
                ForAPerson::Refund { .. } => "refunds that are not made",
                ForAPerson::GivenBackByHand { .. } => "refunds made by hand",
            };
            *people.entry(kind).or_insert(0_u32) += 1;
        }
        writeln!(f, "for a person, and rightly so")?;
        for (kind, count) in people {
            writeln!(f, "  {kind:<36}{count:>6}")?;
        }
        writeln!(f, "combinations of wish and fault: {}", self.combinations.len())?;
        let (with, without) = &self.put_back;
        writeln!(f, "dead letters that were put back: {with:?}, {without:?}")?;
        let (with, without) = &self.dead_letters;
        writeln!(f, "dead letters that stayed so: {with:?}, {without:?}")?;
        writeln!(
            f,
            "violations: {}, {}",
            self.violations.len(),
            self.violations_without.len()
        )?;
        for violation in self.violations.iter().chain(&self.violations_without) {
            writeln!(f, "  {violation}")?;
        }
        writeln!(f, "differences: {}", self.differences.len())?;
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        Ok(())
    }
}
