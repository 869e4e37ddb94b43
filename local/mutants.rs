//! Mutants: what the proof is worth. Each patch in `tests/mutants` breaks one guarantee in a copy of the sources; the proof,
//! run with the functions of that copy, has to find out.
//!
//! A patch begins with what it breaks and where that has to be found:
//!
//! ```text
//! Guarantee: a notification exists once, however often its event comes
//! Proof: --flow create --fault twice
//! ```
//!
//! or `Races: --pair cancel/complete`, or `Test: -p products --lib stock::` where the platform has no way to bring about what
//! breaks. The copy is a git worktree of the last commit under `target/mutants`, with a target
//! folder of its own: the first build takes minutes, later ones the crate that a patch changes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use clap::ValueEnum as _;

use crate::faults::{Fault, Point};
use crate::proof::{self, Flow, Pair, Plan, ProofError, RacePlan};
use crate::turns::Interleaving;
use crate::{Source, cargo_build, root};

/// Markets at the same time.
const MARKETS: usize = 3;

/// Why nothing can be said about a mutant.
#[derive(Debug, thiserror::Error)]
pub enum MutantError {
    /// A file can not be used.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A patch does not say what it breaks, or where that is found.
    #[error("{name}: {reason}")]
    Header {
        /// Name of the patch.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// Git or cargo did not do its part.
    #[error("{what}: {said}")]
    Tool {
        /// What was to be done.
        what: String,
        /// What it said.
        said: String,
    },
    /// Nothing could be proved.
    #[error("{name}: {source}")]
    Proof {
        /// Name of the patch.
        name: String,
        /// Why.
        source: Box<ProofError>,
    },
}

/// Where a mutant has to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// By breaking things there.
    Proof {
        /// The flow.
        flow: Flow,
        /// The point, if it is one.
        point: Option<Point>,
        /// What goes wrong, if it is one thing.
        fault: Option<Fault>,
    },
    /// By another flow on the same order.
    Races {
        /// The flows.
        pair: Pair,
        /// The order of their steps, if it is one.
        interleaving: Option<Interleaving>,
    },
    /// By a test: arguments of `cargo test`.
    Test(String),
}

/// A guarantee that is broken on purpose.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Name of the patch.
    pub name: String,
    /// What does not hold any more.
    pub guarantee: String,
    /// Where that has to be found.
    pub aim: Aim,
    /// The patch.
    pub patch: PathBuf,
}

/// What became of a mutant.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which.
    pub mutant: Mutant,
    /// What found it: the run, and what was wrong. `None`: nothing did.
    pub caught_by: Option<(String, String)>,
    /// How long build and proof took.
    pub took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            mutant,
            caught_by,
            took,
        } = self;
        let (name, guarantee) = (&mutant.name, &mutant.guarantee);
        match caught_by {
            Some((run, found)) => write!(f, "| {name} | {guarantee} | `{run}`: {found} | {} |", took.as_secs()),
            None => write!(f, "| {name} | {guarantee} | NOT CAUGHT | {} |", took.as_secs()),
        }
    }
}

/// Verdicts as a table.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Verdict]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| Mutant | Guarantee that it breaks | Caught by | Seconds |\n|---|---|---|---:|"
        )?;
        self.0.iter().try_for_each(|verdict| writeln!(f, "{verdict}"))
    }
}

impl Mutant {
    /// All of them, by their names.
    ///
    /// # Errors
    /// [`MutantError::File`], [`MutantError::Header`].
    pub fn all() -> Result<Vec<Mutant>, MutantError> {
        let folder = root().join("tests/mutants");
        let unusable = |source| MutantError::File {
            file: folder.clone(),
            source,
        };
        let mut mutants = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unusable)? {
            let patch = entry.map_err(unusable)?.path();
            if patch.extension().is_some_and(|extension| extension == "patch") {
                mutants.push(Mutant::read(patch)?);
            }
        }
        mutants.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(mutants)
    }

    fn read(patch: PathBuf) -> Result<Mutant, MutantError> {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&patch).map_err(|source| MutantError::File {
            file: patch.clone(),
            source,
        })?;
        let wrong = |reason: String| MutantError::Header {
            name: name.clone(),
            reason,
        };
        let stated = |field: &str| {
            let lines = text.lines().take_while(|line| !line.starts_with("diff "));
            let mut stated = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
            stated.next().map(str::to_owned)
        };
        let guarantee = stated("Guarantee").ok_or_else(|| wrong("it has no line \"Guarantee: ...\"".to_owned()))?;
        let aim = match (stated("Proof"), stated("Races"), stated("Test")) {
            (Some(options), None, None) => Aim::proof(&options),
            (None, Some(options), None) => Aim::races(&options),
            (None, None, Some(arguments)) => Ok(Aim::Test(arguments)),
            _ => Err("it needs one line \"Proof: --flow ...\", \"Races: --pair ...\" or \"Test: ...\"".to_owned()),
        };
        let aim = aim.map_err(wrong)?;
        Ok(Mutant {
            name,
            guarantee,
            aim,
            patch,
        })
    }
}

/// `--flow pay --fault twice` as names and values; the value of `--point` is the rest of the line.
fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = options.split_once(&format!("--{name} "))?;
    let value = if name == "point" { rest } else { rest.split(' ').next()? };
    Some(value.trim_matches('"'))
}

impl Aim {
    fn proof(options: &str) -> Result<Aim, String> {
        let flow = option(options, "flow").ok_or("--flow is missing")?;
        let fault = option(options, "fault").map(|fault| Fault::from_str(fault, false));
        let point = option(options, "point").map(str::parse);
        Ok(Aim::Proof {
            flow: Flow::from_str(flow, false)?,
            fault: fault.transpose()?,
            point: point
                .transpose()
                .map_err(|error: crate::faults::NotAPoint| error.to_string())?,
        })
    }

    fn races(options: &str) -> Result<Aim, String> {
        let pair = option(options, "pair").ok_or("--pair is missing")?;
        let order = option(options, "interleaving").map(str::parse);
        Ok(Aim::Races {
            pair: Pair::from_str(pair, false)?,
            interleaving: order
                .transpose()
                .map_err(|error: crate::turns::NotAnInterleaving| error.to_string())?,
        })
    }
}

/// Has the proof find one mutant after the other. `program` is the platform as a program.
///
/// # Errors
/// [`MutantError`]. A mutant that nothing catches is none: see [`Verdict::caught_by`].
pub async fn run(only: Option<&str>, program: &Path, tell: impl Fn(&Verdict)) -> Result<Vec<Verdict>, MutantError> {
    let copy = Copy::open()?;
    let mut verdicts = Vec::new();
    for mutant in Mutant::all()? {
        if only.is_some_and(|only| only != mutant.name) {
            continue;
        }
        let began = Instant::now();
        copy.becomes(&mutant)?;
        let caught_by = match &mutant.aim {
            Aim::Test(arguments) => copy.fails(arguments)?,
            _ => copy.catches(&mutant, copy.build()?, program).await?,
        };
        let verdict = Verdict {
            mutant,
            caught_by,
            took: began.elapsed(),
        };
        tell(&verdict);
        verdicts.push(verdict);
    }
    copy.is_itself()?;
    Ok(verdicts)
}

/// The sources, to be broken.
struct Copy {
    folder: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn open() -> Result<Copy, MutantError> {
        let mutants = root().join("target/mutants");
        let copy = Copy {
            folder: mutants.join("sources"),
            target: mutants.join("target"),
        };
        if copy.folder.join(".git").exists() {
            copy.is_itself()?;
        } else {
            // One that was deleted by hand is still listed.
            git(root(), &["worktree", "prune"])?;
            let folder = copy.folder.display().to_string();
            git(root(), &["worktree", "add", "--quiet", "--detach", &folder, "HEAD"])?;
        }
        Ok(copy)
    }

    /// Puts the copy back to the last commit. Files that did not change keep their times, so that cargo knows them.
    fn is_itself(&self) -> Result<(), MutantError> {
        let head = git(root(), &["rev-parse", "HEAD"])?;
        let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        git(&self.folder, &["checkout", "--quiet", "--force", "--detach", &head])?;
        git(&self.folder, &["clean", "--quiet", "--force", "-d"])?;
        Ok(())
    }

    fn becomes(&self, mutant: &Mutant) -> Result<(), MutantError> {
        self.is_itself()?;
        git(&self.folder, &["apply", &mutant.patch.display().to_string()])?;
        Ok(())
    }

    /// Builds the functions; the platform is not the copy's.
    fn build(&self) -> Result<cargo_build::Binaries, MutantError> {
        let mut command = self.cargo();
        command.args(["build", "--quiet", "--workspace", "--exclude", "cfmp", "--bins"]);
        carried_out("cargo build", command)?;
        let built = self.target.join("debug");
        cargo_build::found_in(&built).map_err(|source| MutantError::File { file: built, source })
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.target);
        // Many binaries are linked again for each mutant; nobody debugs them, and the disk is finite.
        command
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0");
        cargo_build::forget_the_package(&mut command);
        command
    }

    /// The first test that fails.
    fn fails(&self, arguments: &str) -> Result<Option<(String, String)>, MutantError> {
        let what = format!("cargo test {arguments}");
        let failed = |said: String| MutantError::Tool {
            what: what.clone(),
            said,
        };
        let mut command = self.cargo();
        command.args(["test", "--quiet"]).args(arguments.split(' '));
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&output.stdout);
        // Not what cargo says when the mutant does not even compile.
        let test = said
            .lines()
            .find_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"));
        match test {
            Some(test) => Ok(Some((what, format!("{test} fails")))),
            None => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    async fn catches(
        &self,
        mutant: &Mutant,
        built: cargo_build::Binaries,
        program: &Path,
    ) -> Result<Option<(String, String)>, MutantError> {
        let (functions, template) = (Source::Built(built), Some(self.folder.join("template.yaml")));
        let failed = |error| MutantError::Proof {
            name: mutant.name.clone(),
            source: Box::new(error),
        };
        let first = |found: &[String]| found.first().cloned().unwrap_or_default();
        let outcome = match &mutant.aim {
            Aim::Proof { flow, point, fault } => {
                let plan = Plan {
                    flow: Some(*flow),
                    point: point.clone(),
                    fault: *fault,
                    seed: 1,
                    markets: MARKETS,
                    template,
                    functions,
                    program: Some(program.to_owned()),
                    ..Plan::default()
                };
                let outcome = proof::run(&plan, |_| {}).await;
                outcome.map(|outcome| {
                    let caught = outcome.failures().next();
                    caught.map(|shown| (shown.trial.to_string(), first(&shown.found)))
                })
            }
            // Told by cargo.
            Aim::Test(_) => return Ok(None),
            Aim::Races { pair, interleaving } => {
                let plan = RacePlan {
                    pair: Some(*pair),
                    interleaving: interleaving.clone(),
                    seed: 1,
                    markets: MARKETS,
                    template,
                    functions,
                    ..RacePlan::default()
                };
                let races = proof::race(&plan, |_| {}).await;
                races.map(|races| {
                    let caught = races.failures().next();
                    caught.map(|ran| (ran.race.to_string(), first(&ran.found)))
                })
            }
        };
        match outcome {
            Ok(caught) => Ok(caught),
            Err(ProofError::Undisturbed { flow, found }) => Ok(Some((format!("{flow}, undisturbed"), first(&found)))),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Whether a patch still fits the sources.
///
/// # Errors
/// [`MutantError::Tool`] with what git says.
pub fn fits(mutant: &Mutant) -> Result<(), MutantError> {
    git(root(), &["apply", "--check", &mutant.patch.display().to_string()]).map(drop)
}

fn git(folder: &Path, arguments: &[&str]) -> Result<Output, MutantError> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    carried_out(&format!("git {}", arguments.join(" ")), command)
}

fn carried_out(what: &str, mut command: Command) -> Result<Output, MutantError> {
    let failed = |said: String| MutantError::Tool {
        what: what.to_owned(),
        said,
    };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}
