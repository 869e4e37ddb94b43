//! `report`: a page that holds all of it, for whoever decides and for the records. It loads nothing.

use std::path::{Path, PathBuf};

use askama::Template;
use kernel::Timestamp;

use crate::rules::Kind;
use crate::run::{Copied, Plan};
use crate::state::{State, StateError, Tally};
use crate::verify::Verdict;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder holds no migration.
    #[error("{} holds no migration; is --state right?", .0.display())]
    Nothing(PathBuf),
    /// The page can not be made.
    #[error("the page can not be made: {0}")]
    Page(#[from] askama::Error),
}

/// Entries of the list that a page shows; the quarantine file has all of them.
const LISTED: usize = 2000;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    source: String,
    plan: Option<PlanView>,
    copies: Vec<CopyView>,
    last: Option<CopyView>,
    tallies: Vec<TallyView>,
    verdict: Option<VerdictView>,
    listed: Vec<Listed>,
    not_listed: u64,
}

struct PlanView {
    at: String,
    tables: Vec<crate::run::Planned>,
    statuses: Vec<(String, String, String, u64)>,
}

struct CopyView {
    at: String,
    ahead: bool,
    read: u64,
    changed: u64,
    written: u64,
    seconds: u64,
    memory_mib: u64,
    stages: Vec<Bar>,
}

struct TallyView {
    tally: Tally,
    meaning: &'static str,
    repair: &'static str,
    width: u64,
}

struct VerdictView {
    at: String,
    is_good: bool,
    checks: Vec<crate::verify::Check>,
    differences: Vec<String>,
    months: Vec<Month>,
    height: usize,
}

/// A bar of a plot, as wide as its share of the largest.
struct Bar {
    what: String,
    rows: u64,
    seconds: u64,
    width: u64,
}

/// A month, on both sides.
struct Month {
    name: String,
    there: u64,
    here: u64,
    there_yuan: String,
    here_yuan: String,
    y: usize,
    there_width: u64,
    here_width: u64,
}

struct Listed {
    table: String,
    id: String,
    kind: String,
    rule: String,
    detail: String,
}

/// Writes `report.html` beside the state.
///
/// # Errors
/// [`ReportError`].
pub fn write(folder: &Path) -> Result<PathBuf, ReportError> {
    if !folder.join("state.sqlite").exists() {
        return Err(ReportError::Nothing(folder.to_owned()));
    }
    let state = State::reopen(folder)?;
    let page = page(&state)?.render()?;
    Ok(state.write_file("report.html", &page)?)
}

fn page(state: &State) -> Result<Page, StateError> {
    let identity = state.meta("identity")?.unwrap_or_default();
    let plan: Option<Plan> = state.meta("plan")?.and_then(|json| serde_json::from_str(&json).ok());
    let copies: Vec<Copied> = state
        .meta("copies")?
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let verdict: Option<Verdict> = state.meta("verdict")?.and_then(|json| serde_json::from_str(&json).ok());
    let tallies = state.tallies()?;
    let most = tallies.iter().map(|tally| tally.rows).max().unwrap_or(0);
    let (mut listed, mut not_listed) = (Vec::new(), 0);
    // The page says what and why; what was lost is in the quarantine file only, because it may be personal.
    let _ = state.each_finding(|finding| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        match listed.len() < LISTED {
            true => listed.push(Listed {
                table: text("table"),
                id: text("id"),
                kind: text("kind"),
                rule: text("rule"),
                detail: text("detail"),
            }),
            false => not_listed += 1,
        }
        Ok(())
    })?;
    Ok(Page {
        source: identity.split(" [").next().unwrap_or_default().to_owned(),
        plan: plan.map(|plan| PlanView {
            at: moment(plan.at),
            tables: plan.tables,
            statuses: plan.statuses,
        }),
        last: copies.iter().max_by_key(|copied| copied.written).map(copy_view),
        copies: copies.iter().map(copy_view).collect(),
        tallies: tallies
            .into_iter()
            .map(|tally| {
                let kind = tally.kind.parse::<Kind>().ok();
                TallyView {
                    meaning: kind.map(Kind::meaning).unwrap_or_default(),
                    repair: kind.and_then(Kind::repair).unwrap_or_default(),
                    width: share(tally.rows, most),
                    tally,
                }
            })
            .collect(),
        verdict: verdict.map(verdict_view),
        listed,
        not_listed,
    })
}

fn copy_view(copied: &Copied) -> CopyView {
    let most = copied.stages.iter().map(|(_, _, seconds)| *seconds).max().unwrap_or(0);
    CopyView {
        at: moment(copied.at),
        ahead: copied.ahead,
        read: copied.read,
        changed: copied.changed,
        written: copied.written,
        seconds: copied.seconds,
        memory_mib: copied.memory_kib / 1024,
        stages: copied
            .stages
            .iter()
            .map(|(what, rows, seconds)| Bar {
                what: what.clone(),
                rows: *rows,
                seconds: *seconds,
                width: share(*seconds, most),
            })
            .collect(),
    }
}

fn verdict_view(verdict: Verdict) -> VerdictView {
    let most = verdict
        .months
        .iter()
        .map(|(_, there, _, here, _)| *there.max(here))
        .max()
        .unwrap_or(0);
    let months: Vec<Month> = verdict
        .months
        .iter()
        .enumerate()
        .map(|(at, (name, there, there_fen, here, here_fen))| Month {
            name: name.clone(),
            there: *there,
            here: *here,
            there_yuan: yuan(*there_fen),
            here_yuan: yuan(*here_fen),
            y: at * 26,
            there_width: share(*there, most),
            here_width: share(*here, most),
        })
        .collect();
    VerdictView {
        at: moment(verdict.at),
        is_good: verdict.is_good(),
        height: months.len() * 26 + 4,
        checks: verdict.checks,
        differences: verdict.differences,
        months,
    }
}

/// Of 400, the widest bar.
fn share(part: u64, most: u64) -> u64 {
    match most {
        0 => 0,
        most => (part.saturating_mul(400) / most).max(u64::from(part > 0)),
    }
}

fn yuan(fen: i64) -> String {
    format!(
        "{}{}.{:02}",
        if fen < 0 { "-" } else { "" },
        fen.abs() / 100,
        fen.abs() % 100
    )
}

fn moment(millis: i64) -> String {
    Timestamp::from_millis(millis)
        .to_string()
        .chars()
        .take(19)
        .collect::<String>()
        .replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_nothing_and_shows_what_it_was_given_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), "monolith db:3306/cfmp [01]").unwrap();
        let plan = Plan {
            tables: vec![crate::run::Planned {
                table: "<script>".into(),
                becomes: "orders".into(),
                rows: 5,
                taken: 4,
                held_back: 0,
                left_out: 1,
            }],
            ..Plan::default()
        };
        state.set_meta("plan", &serde_json::to_string(&plan).unwrap()).unwrap();
        let verdict = Verdict {
            at: 0,
            checks: vec![],
            differences: vec![],
            months: vec![("2026-01".into(), 5, 1990, 4, 990)],
        };
        state
            .set_meta("verdict", &serde_json::to_string(&verdict).unwrap())
            .unwrap();
        drop(state);
        let page = std::fs::read_to_string(write(folder.path()).unwrap()).unwrap();
        assert!(page.contains("monolith db:3306/cfmp") && !page.contains("[01]"));
        assert!(!page.contains("<script>") && page.contains("19.90"), "{page}");
        for outside in ["http://", "https://", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(matches!(write(Path::new("/nowhere")), Err(ReportError::Nothing(_))));
    }
}
