//! What came of it: for a terminal, and as a page that needs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use askama::Template;

use super::chart::{Bars, Line, Lines};
use super::host::lines_with;
use super::load::Load;
use super::measure::{Answered, Gauge, Latency, Operation, Trend, operations};
use super::plan::Plan;
use super::verdict::{Failure, Verdict};
use super::{Soak, SoakError, Stage};
use crate::books::Totals;
use crate::faults::Strike;
use crate::purchases::{Flow, Purchase};

/// Traces that are shown at most.
const MOST_TRACES: usize = 5;
/// Lines of a log in a trace at most.
const MOST_LINES: usize = 60;
/// Parts that the time is divided into, for latencies.
const PARTS: u64 = 60;
/// A memory that grows by less than a twentieth of itself in an hour stays where it is.
const FLAT: i64 = 20;

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was done, in a few words.
    pub title: String,
    /// How to do it again.
    pub command: String,
    /// How to do it again with only the orders that something is wrong with, where they are known.
    pub shortest: Option<String>,
    /// What is wrong; there should be nothing.
    pub failures: Vec<Failure>,
    /// What happened to orders that something is wrong with.
    pub traces: Vec<String>,
    /// Orders by what their people wanted.
    pub flows: BTreeMap<Flow, u32>,
    /// Orders by their status in the end.
    pub ends: BTreeMap<String, u64>,
    /// What could not be done as it was wished for: orders whose people gave up.
    pub given_up: u64,
    /// What went wrong at providers, by kind.
    pub troubles: BTreeMap<String, u64>,
    /// Faults of the platform that were set, and that struck, by kind.
    pub faults: BTreeMap<&'static str, (u64, u64)>,
    /// Places at which faults struck.
    pub sites: BTreeSet<String>,
    /// Kills of the whole platform.
    pub kills: usize,
    /// Messages that were given up, and put back by an operator.
    pub put_back: u64,
    /// Notifications, mails, and notifications that open pages showed.
    pub told: [usize; 3],
    /// All money.
    pub totals: Totals,
    /// Requests.
    pub operations: BTreeMap<&'static str, Operation>,
    /// Memory and queues.
    pub gauges: Vec<Gauge>,
    /// Real milliseconds until everybody was through, and until everything was over.
    pub took_ms: [u64; 2],
    /// What was found of a load.
    pub load: Option<Under>,
    answered: Vec<Answered>,
    strikes: Vec<(u64, Strike)>,
}

/// What a load showed.
#[derive(Debug, Clone)]
pub struct Under {
    /// Orders that were begun, and real milliseconds in which they were.
    pub begun: (u64, u64),
    /// Orders that were placed meanwhile, and requests that were answered with success.
    pub placed: (u64, u64),
    /// Memory of the platform, and of one function's process, in KiB, over the second half.
    pub memory: [Option<Trend>; 2],
}

impl Trend {
    /// Whether it stays where it is: it shrinks, or grows by less than a twentieth in an hour.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.per_hour.saturating_mul(FLAT) < self.level
    }
}

impl Outcome {
    pub(super) fn of_soak(
        soak: &Soak,
        plan: &Plan,
        stage: &Stage,
        purchases: &[Purchase],
        verdict: Verdict,
        put_back: u64,
    ) -> Outcome {
        let mut outcome = Outcome::of(plan, stage, purchases, verdict, put_back);
        let numbers: BTreeSet<u32> = outcome.failures.iter().filter_map(|failure| failure.number).collect();
        // Who wants the same goods belongs to it.
        let goods: BTreeSet<u32> = plan
            .stories
            .iter()
            .filter(|story| numbers.contains(&story.number))
            .map(|story| story.goods)
            .collect();
        let company = plan.stories.iter().filter(|story| goods.contains(&story.goods));
        outcome.title = format!("Soak, seed {}, {} orders", soak.seed, plan.stories.len());
        outcome.command = soak.command(&soak.only);
        outcome.shortest = (!numbers.is_empty()).then(|| soak.command(&company.map(|story| story.number).collect()));
        outcome
    }

    pub(super) fn of_load(
        load: &Load,
        plan: &Plan,
        stage: &Stage,
        all: (&[Purchase], u64),
        verdict: Verdict,
    ) -> Outcome {
        let (purchases, put_back) = all;
        let mut outcome = Outcome::of(plan, stage, purchases, verdict, put_back);
        outcome.title = load.to_string();
        outcome.command = load.command();
        outcome
    }

    fn of(plan: &Plan, stage: &Stage, purchases: &[Purchase], verdict: Verdict, put_back: u64) -> Outcome {
        let (answered, strikes) = (stage.journal.answered(), stage.strikes().clone());
        let mut outcome = Outcome {
            operations: operations(&answered),
            gauges: stage.journal.gauges(),
            kills: plan.kills.len(),
            put_back,
            told: [verdict.notifications, verdict.mails, stage.shown().len()],
            totals: verdict.report.totals,
            sites: strikes.iter().map(|(_, strike)| strike.site.clone()).collect(),
            took_ms: [
                answered.last().map_or(0, |answered| answered.at_ms),
                stage.journal.now_ms(),
            ],
            ..Outcome::default()
        };
        for story in &plan.stories {
            *outcome.flows.entry(story.wish.flow).or_default() += 1;
            for kind in &story.trouble.kinds {
                *outcome.troubles.entry(kind.clone()).or_default() += 1;
            }
            for (_, ambush) in &story.ambushes {
                outcome.faults.entry(ambush.fault.word()).or_default().0 += 1;
            }
        }
        for (_, strike) in &strikes {
            outcome.faults.entry(strike.fault.word()).or_default().1 += 1;
        }
        for books in verdict.report.orders.values() {
            *outcome.ends.entry(books.status.clone()).or_default() += 1;
        }
        let gave_up = purchases.iter().filter(|purchase| purchase.gave_up);
        outcome.given_up = u64::try_from(gave_up.count()).unwrap_or(u64::MAX);
        let numbers: BTreeSet<u32> = verdict.failures.iter().filter_map(|failure| failure.number).collect();
        for number in numbers.into_iter().take(MOST_TRACES) {
            let trace = trace(plan, stage, purchases, &verdict, (number, &answered, &strikes));
            outcome.traces.push(trace);
        }
        outcome.failures = verdict.failures;
        outcome.answered = answered;
        outcome.strikes = strikes;
        outcome
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// As a page of its own.
    ///
    /// # Errors
    /// [`SoakError::Page`].
    pub fn page(&self) -> Result<String, SoakError> {
        let gauge = |name: &str, of: &dyn Fn(&Gauge) -> u64| Line {
            name: name.to_owned(),
            points: self.gauges.iter().map(|gauge| (gauge.at_ms, of(gauge))).collect(),
        };
        let bars = |title, counts: Vec<(String, u64)>| Bars { title, bars: counts };
        let mut plots = vec![
            Lines {
                title: "Orders",
                unit: "so far",
                lines: self.courses(),
            }
            .draw()?,
            bars("Orders by their end", self.ends.clone().into_iter().collect()).draw()?,
        ];
        for (title, thousandths) in [
            ("Latency, half of the requests", 500),
            ("Latency, 99 in 100 requests", 990),
        ] {
            let lines = self.latencies(thousandths);
            plots.push(
                Lines {
                    title,
                    unit: "ms",
                    lines,
                }
                .draw()?,
            );
        }
        let mib = |name, of: &dyn Fn(&Gauge) -> u64| gauge(name, &|gauge| of(gauge) / 1024);
        let memory = vec![
            mib("platform", &|gauge| gauge.platform_kib),
            mib("all functions", &|gauge| gauge.functions_kib),
        ];
        plots.push(
            Lines {
                title: "Memory",
                unit: "MiB",
                lines: memory,
            }
            .draw()?,
        );
        let processes = vec![gauge("processes", &|gauge| gauge.functions)];
        plots.push(
            Lines {
                title: "Functions",
                unit: "processes",
                lines: processes,
            }
            .draw()?,
        );
        let queued = vec![gauge("waiting", &|gauge| gauge.queued)];
        plots.push(
            Lines {
                title: "Queues and streams",
                unit: "messages",
                lines: queued,
            }
            .draw()?,
        );
        let struck = Line {
            name: "struck".to_owned(),
            points: self
                .strikes
                .iter()
                .zip(1..)
                .map(|((at, _), count)| (*at, count))
                .collect(),
        };
        plots.push(
            Lines {
                title: "Faults of the platform",
                unit: "so far",
                lines: vec![struck],
            }
            .draw()?,
        );
        let faults = self
            .faults
            .iter()
            .map(|(kind, (_, struck))| ((*kind).to_owned(), *struck));
        plots.push(bars("Faults of the platform that struck", faults.collect()).draw()?);
        let troubles = self.troubles.clone().into_iter().collect();
        plots.push(bars("Faults at the providers", troubles).draw()?);
        let flows = self
            .flows
            .iter()
            .map(|(flow, count)| (format!("{flow:?}"), u64::from(*count)));
        plots.push(bars("What people wanted", flows.collect()).draw()?);
        let verdict = match self.failures.len() {
            0 => "Everything is as it should be.".to_owned(),
            failures => format!("{failures} things are wrong."),
        };
        let page = ReportPage {
            title: &self.title,
            verdict,
            failed: !self.is_clean(),
            facts: self.facts(),
            plots,
            operations: self
                .operations
                .iter()
                .map(|(name, operation)| Row::of(name, operation))
                .collect(),
            failures: self.wrongs(),
        };
        Ok(page.render()?)
    }

    /// How many orders have come how far.
    fn courses(&self) -> Vec<Line> {
        let steps = [
            ("placed", "order"),
            ("paid", "pay"),
            ("completed", "complete"),
            ("cancelled", "cancel"),
            ("refund asked", "refund"),
        ];
        let course = |(name, operation): (&str, &str)| {
            let done = self.answered.iter();
            let done =
                done.filter(|answered| answered.asked.operation == operation && answered.asked.status / 100 == 2);
            Line {
                name: name.to_owned(),
                points: done.zip(1..).map(|(answered, count)| (answered.at_ms, count)).collect(),
            }
        };
        steps.into_iter().map(course).collect()
    }

    fn latencies(&self, thousandths: u16) -> Vec<Line> {
        let last = self.answered.last().map_or(0, |answered| answered.at_ms);
        let part = last / PARTS + 1;
        let line = |name: &&'static str| {
            let mut parts: BTreeMap<u64, Vec<std::time::Duration>> = BTreeMap::new();
            for answered in self
                .answered
                .iter()
                .filter(|answered| answered.asked.operation == *name)
            {
                if answered.asked.status / 100 == 2 {
                    parts
                        .entry(answered.at_ms / part)
                        .or_default()
                        .push(answered.asked.took);
                }
            }
            let points = parts.into_iter().map(|(number, times)| {
                let latency = Latency::of(times);
                let us = if thousandths == 500 {
                    latency.p50_us
                } else {
                    latency.p99_us
                };
                (number * part, us / 1_000)
            });
            Line {
                name: (*name).to_owned(),
                points: points.collect(),
            }
        };
        let shown = ["order", "open payment", "pay", "complete", "cancel", "refund", "notify"];
        shown.iter().map(line).collect()
    }

    fn facts(&self) -> Vec<String> {
        let [through, over] = self.took_ms.map(|ms| ms / 1_000);
        let [notifications, mails, shown] = self.told;
        let struck: u64 = self.faults.values().map(|(_, struck)| struck).sum();
        let set: u64 = self.faults.values().map(|(set, _)| set).sum();
        let mut facts = vec![
            format!("{}; took {over} s, people were through after {through} s", self.command),
            format!(
                "{struck} of {set} faults of the platform struck, at {} places; {} kills of the whole platform",
                self.sites.len(),
                self.kills
            ),
            format!(
                "{notifications} notifications, {mails} mails, {shown} shown by open pages; {} messages given up and put back",
                self.put_back
            ),
            format!(
                "money in fen: {} came, {} went back, {} is the sellers', {} is held",
                self.totals.captured_fen, self.totals.refunded_fen, self.totals.released_fen, self.totals.held_fen
            ),
            format!("{} orders whose people gave something up", self.given_up),
        ];
        if let Some(under) = &self.load {
            facts.extend(under.facts());
        }
        facts
    }

    fn wrongs(&self) -> String {
        let mut text = String::new();
        for failure in &self.failures {
            // Writing to a text does not fail.
            let _ = writeln!(text, "{failure}");
        }
        let _ = writeln!(text, "\nagain: {}", self.command);
        if let Some(shortest) = &self.shortest {
            let _ = writeln!(text, "only that: {shortest}");
        }
        for trace in &self.traces {
            let _ = writeln!(text, "\n{trace}");
        }
        text
    }
}

impl Under {
    fn facts(&self) -> Vec<String> {
        let ((begun, ms), (placed, requests)) = (self.begun, self.placed);
        let per_minute = |count: u64| count * 60_000 / ms.max(1);
        let mut facts = vec![format!(
            "{begun} orders begun in {} s, {placed} placed: {} a minute; {requests} requests answered, {} a minute",
            ms / 1_000,
            per_minute(placed),
            per_minute(requests)
        )];
        for (of, trend) in ["the platform", "one process of a function"]
            .into_iter()
            .zip(self.memory)
        {
            facts.push(match trend {
                None => format!("memory of {of}: not known here"),
                Some(trend) => format!(
                    "memory of {of}: {} KiB in the second half, {:+} KiB an hour: {}",
                    trend.level,
                    trend.per_hour,
                    if trend.is_flat() { "flat" } else { "growing" }
                ),
            });
        }
        facts
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for fact in self.facts() {
            writeln!(f, "{fact}")?;
        }
        writeln!(f, "\norders by what their people wanted")?;
        for (flow, count) in &self.flows {
            writeln!(f, "  {:<24}{count:>7}", format!("{flow:?}"))?;
        }
        writeln!(f, "by their end")?;
        for (status, count) in &self.ends {
            writeln!(f, "  {status:<24}{count:>7}")?;
        }
        writeln!(f, "faults of the platform: set, struck")?;
        for (kind, (set, struck)) in &self.faults {
            writeln!(f, "  {kind:<24}{set:>7}{struck:>7}")?;
        }
        writeln!(f, "faults at the providers")?;
        for (kind, count) in &self.troubles {
            writeln!(f, "  {kind:<36}{count:>7}")?;
        }
        writeln!(f, "requests: answered, then ms: p50, p99, p99.9, longest")?;
        for (name, operation) in &self.operations {
            let Row {
                count, times, errors, ..
            } = Row::of(name, operation);
            write!(f, "  {name:<16}{count:>8}")?;
            for time in times {
                write!(f, "{time:>10}")?;
            }
            writeln!(f, "  {errors}")?;
        }
        if !self.is_clean() {
            writeln!(f, "\nwrong: {}\n{}", self.failures.len(), self.wrongs())?;
        }
        Ok(())
    }
}

#[derive(Template)]
#[template(path = "report.html", config = "local/soak/askama.toml")]
struct ReportPage<'a> {
    title: &'a str,
    verdict: String,
    failed: bool,
    facts: Vec<String>,
    plots: Vec<String>,
    operations: Vec<Row>,
    failures: String,
}

struct Row {
    name: String,
    count: u64,
    times: [String; 4],
    errors: String,
}

impl Row {
    fn of(name: &str, operation: &Operation) -> Row {
        let Latency {
            count,
            p50_us,
            p99_us,
            p999_us,
            most_us,
        } = operation.latency;
        let errors = operation.errors.iter();
        let errors: Vec<String> = errors
            .map(|(kind, count)| format!("{count} {}", kind.trim_end()))
            .collect();
        Row {
            name: name.to_owned(),
            count,
            times: [p50_us, p99_us, p999_us, most_us].map(|us| format!("{}.{}", us / 1_000, us / 100 % 10)),
            errors: errors.join(", "),
        }
    }
}

/// Everything that is known of one order.
fn trace(
    plan: &Plan,
    stage: &Stage,
    purchases: &[Purchase],
    verdict: &Verdict,
    (number, answered, strikes): (u32, &[Answered], &[(u64, Strike)]),
) -> String {
    let mut lines = Vec::new();
    lines.extend(
        plan.stories
            .iter()
            .filter(|story| story.number == number)
            .map(ToString::to_string),
    );
    let mut course: Vec<(u64, String)> = Vec::new();
    for Answered { at_ms, asked } in answered.iter().filter(|answered| answered.asked.number == number) {
        let took = asked.took.as_millis();
        let said = format!("{}: {} {} after {took} ms", asked.operation, asked.status, asked.error);
        course.push((*at_ms, said));
    }
    let (first, last) = (
        course.iter().map(|(at, _)| *at).min().unwrap_or(0),
        course.iter().map(|(at, _)| *at).max().unwrap_or(u64::MAX),
    );
    // Whoever set them, they may have struck this one.
    let meanwhile = strikes
        .iter()
        .filter(|(at, _)| (first..=last.saturating_add(2_000)).contains(at));
    course.extend(meanwhile.map(|(at, strike)| {
        (
            *at,
            format!("{} struck {} ({})", strike.fault, strike.site, strike.label),
        )
    }));
    course.sort();
    lines.extend(course.into_iter().map(|(at, said)| format!("  {at:>7} ms {said}")));
    for purchase in purchases.iter().filter(|purchase| purchase.wish.number == number) {
        lines.extend(purchase.notes.iter().map(|note| format!("  {note}")));
        let Some(order) = purchase.order.as_deref() else {
            continue;
        };
        lines.push(format!("  order {order}: {:?}", verdict.report.orders.get(order)));
        lines.extend(lines_with(&stage.host.log(), order, MOST_LINES));
    }
    lines.join("\n")
}
