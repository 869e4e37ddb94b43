//! `cargo run -p migrate`: moves the data of the older systems here.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kernel::Clock;
use migrate::fernet::SecretKey;
use migrate::report;
use migrate::rules::{Kind, Rules, Switch};
use migrate::run::{Copied, Plan, Run};
use migrate::source::{Source, System, Tls, password_in};
use migrate::state::State;
use migrate::target::{Place, Target};
use migrate::verify::{self, Verdict};

/// Moves the data of the older systems, Django on MySQL, here. docs/migration.md says how it is done.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the source and tells what would become of it, and what is dirty. Writes nothing there.
    Plan(Wanted),
    /// Takes what is new or has changed since the last run. Goes on where it was interrupted.
    Copy(Writing),
    /// Compares both sides; fails when anything is different that nothing explains.
    Verify(Verifying),
    /// Makes a page of all that is known.
    Report(Reporting),
    /// Lists what can be dirty, and the rules.
    Rules,
}

#[derive(Debug, Args)]
struct Wanted {
    /// The source: mysql://user@host:port/database; the split services may leave the database out.
    #[arg(long)]
    from: String,
    /// Which of the older systems it is.
    #[arg(long, value_enum, default_value_t = System::Monolith)]
    source: System,
    /// File with the password of the source's user. A password in --from can be seen by everybody on this machine.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// File with Django's SECRET_KEY.
    #[arg(long)]
    secret_key_file: PathBuf,
    /// File with the certificate of the authority that signed the source's, where that is no public one.
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// Connects without TLS: to a server on this machine, or through a tunnel.
    #[arg(long, conflicts_with = "tls_ca")]
    no_tls: bool,
    /// What is done with a kind of dirty rows, as KIND=RULE; `migrate rules` lists both.
    #[arg(long = "rule", value_name = "KIND=RULE")]
    rules: Vec<Switch>,
    /// Leaves orders that are under way behind, for runs ahead of the switch.
    #[arg(long)]
    ahead: bool,
    /// What comes before the names of pictures, such as https://media.example.edu/.
    #[arg(long, default_value = "/media/")]
    media: String,
    /// Folder with what this migration remembers, the quarantine file and the report.
    #[arg(long, default_value = "migration")]
    state: PathBuf,
}

#[derive(Debug, Args)]
struct There {
    /// Where to.
    #[arg(long = "to", value_enum)]
    place: Place,
    /// Address of the local platform.
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    endpoint: String,
    /// The stack's output MigrationSettings, for --to aws.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Items that are written in a second at most.
    #[arg(long)]
    writes_per_second: Option<u32>,
    /// Transactions at the same time; each writes up to a hundred items.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
}

#[derive(Debug, Args)]
struct Writing {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    there: There,
}

#[derive(Debug, Args)]
struct Verifying {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    there: There,
    /// Address of the API, for comparing whole orders as their buyers see them; the local platform's, unless given.
    #[arg(long)]
    api: Option<String>,
    /// How many orders are compared like that.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Decides which.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Reporting {
    /// Folder with what the migration remembers.
    #[arg(long, default_value = "migration")]
    state: PathBuf,
}

type Failed = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::from)
        .and_then(|runtime| runtime.block_on(work(arguments.command)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("migrate: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work(command: Command) -> Result<ExitCode, Failed> {
    let mut out = io::stdout().lock();
    match command {
        Command::Rules => rules(&mut out)?,
        Command::Plan(wanted) => {
            let mut run = open(&wanted, 1).await?;
            let plan = run.plan().await?;
            show_plan(&mut out, &plan)?;
        }
        Command::Copy(wish) => {
            let mut run = open(&wish.wanted, wish.there.at_once).await?;
            let target = there(&wish.there).await?;
            let copied = run.copy(&target).await?;
            show_copied(&mut out, &copied)?;
            if copied.undecided > 0 {
                writeln!(
                    out,
                    "{} rows wait for a decision; see the quarantine file",
                    copied.undecided
                )?;
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Verify(wish) => {
            let mut run = open(&wish.wanted, wish.there.at_once).await?;
            let target = there(&wish.there).await?;
            let api = match (&wish.api, wish.there.place) {
                (Some(api), _) => Some(api.clone()),
                (None, Place::Local) => Some(wish.there.endpoint.clone()),
                (None, Place::Aws) => None,
            };
            let verdict = verify::verify(&mut run, &target, api.as_deref(), wish.samples, wish.seed).await?;
            show_verdict(&mut out, &verdict)?;
            if !verdict.is_good() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Report(wish) => {
            let path = report::write(&wish.state)?;
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(wanted: &Wanted, at_once: usize) -> Result<Run, Failed> {
    let key = SecretKey::of(&read(&wanted.secret_key_file)?)?;
    let password = match &wanted.password_file {
        Some(file) => Some(password_in(file).map_err(|error| format!("{}: {error}", file.display()))?),
        None => None,
    };
    let tls = match wanted.no_tls {
        true => Tls::Off,
        false => Tls::Verified(wanted.tls_ca.clone()),
    };
    let now = Clock::from_env().now();
    let source = Source::open(&wanted.from, password.as_deref(), &tls, wanted.source, now).await?;
    // Not the key itself, and not the password.
    let identity = format!("{} {:02x?}", source.name(), key.fingerprint(b"state"));
    Ok(Run {
        state: State::open(&wanted.state, &identity)?,
        source,
        key,
        rules: Rules::with(&wanted.rules),
        now,
        ahead: wanted.ahead,
        media: wanted.media.clone(),
        at_once: at_once.max(1),
    })
}

async fn there(there: &There) -> Result<Target, Failed> {
    Ok(Target::open(
        there.place,
        &there.endpoint,
        there.settings.as_deref(),
        there.writes_per_second,
    )
    .await?)
}

fn read(file: &PathBuf) -> Result<String, Failed> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn rules(out: &mut impl Write) -> io::Result<()> {
    for kind in Kind::ALL {
        writeln!(out, "{:24} {:10} {}", kind.word(), kind.rule().word(), kind.meaning())?;
        if let Some(repair) = kind.repair() {
            writeln!(out, "{:35} repair: {repair}", "")?;
        }
    }
    Ok(())
}

fn show_plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    writeln!(
        out,
        "{:16} {:>10} {:>10} {:>10} {:>10}  becomes",
        "table", "rows", "taken", "held back", "left out"
    )?;
    for table in &plan.tables {
        let (rows, taken, held, left) = (table.rows, table.taken, table.held_back, table.left_out);
        writeln!(
            out,
            "{:16} {rows:>10} {taken:>10} {held:>10} {left:>10}  {}",
            table.table, table.becomes
        )?;
    }
    writeln!(out, "\n{:10} {:>8}  {:24} rows", "table", "status", "becomes")?;
    for (table, from, to, rows) in &plan.statuses {
        writeln!(out, "{table:10} {from:>8}  {to:24} {rows}")?;
    }
    writeln!(
        out,
        "\n{:24} {:16} {:10} {:>8}  such as",
        "dirty", "table", "rule", "rows"
    )?;
    for tally in &plan.tallies {
        let such = tally.examples.join(", ");
        writeln!(
            out,
            "{:24} {:16} {:10} {:>8}  {such}",
            tally.kind, tally.table, tally.rule, tally.rows
        )?;
    }
    Ok(())
}

fn show_copied(out: &mut impl Write, copied: &Copied) -> io::Result<()> {
    let Copied {
        read,
        changed,
        written,
        seconds,
        memory_kib,
        ..
    } = copied;
    writeln!(
        out,
        "{read} rows read, {changed} of them new or changed, {written} items written, {seconds} s, {} MiB at most",
        memory_kib / 1024
    )
}

fn show_verdict(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    for check in &verdict.checks {
        let mark = if check.is_good { "same" } else { "DIFFERENT" };
        writeln!(out, "{mark:10} {:34} {}", check.what, check.figures)?;
    }
    for difference in &verdict.differences {
        writeln!(out, "           {difference}")?;
    }
    let word = if verdict.is_good() {
        "everything is there, or explained"
    } else {
        "NOT the same: see above"
    };
    writeln!(out, "verdict: {word}")
}
