//! `cargo run`: CFMP on this machine.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cfmp::cargo_build::Profile;
use cfmp::faults::{Fault, Point};
use cfmp::mutants::{self, Verdict};
use cfmp::proof::{self, Flow, Pair, Plan, Progress, RacePlan, RaceProgress, Trial};
use cfmp::purchases::{Run, RunError};
use cfmp::soak::load::Load;
use cfmp::soak::{self, Ground, Outcome, Soak};
use cfmp::turns::Interleaving;
use cfmp::{Data, Options, Platform, Providers, Source, StartError, cargo_build};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Where there is no terminal, a line is printed after so long at the earliest.
const QUIET: Duration = Duration::from_secs(5);

/// Runs the whole of CFMP on this machine: builds the functions, serves the HTTP API, keeps tables and queues.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Folder that keeps the data.
    #[arg(long, default_value = ".cfmp", conflicts_with = "memory")]
    data: PathBuf,
    /// Keeps nothing.
    #[arg(long)]
    memory: bool,
    /// Starts empty, without demo accounts and products.
    #[arg(long)]
    no_demo: bool,
    /// Serves the bare HTTP API, without the front that folds trailing slashes.
    #[arg(long)]
    no_edge: bool,
    /// Who plays the payment providers; simulated ones have the next port.
    #[arg(long, value_enum, default_value_t = ProvidersArgument::Sandbox)]
    providers: ProvidersArgument,
    /// Works with certificates at the simulated Alipay, instead of bare keys.
    #[arg(long)]
    alipay_certificates: bool,
    /// Lets `migrate` write the tables.
    #[arg(long)]
    migration: bool,
    /// Another template.
    #[arg(long, hide = true)]
    template: Option<PathBuf>,
    /// Folder with functions that were built already.
    #[arg(long, hide = true)]
    built: Option<PathBuf>,
}

/// Who plays the payment providers.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProvidersArgument {
    /// The built-in sandbox, for every way to pay.
    Sandbox,
    /// A simulator of Alipay and WeChat Pay, with their protocols.
    Simulated,
}

impl From<ProvidersArgument> for Providers {
    fn from(argument: ProvidersArgument) -> Self {
        match argument {
            ProvidersArgument::Sandbox => Self::Sandbox,
            ProvidersArgument::Simulated => Self::Simulated,
        }
    }
}

/// What else can be done than running it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the OpenAPI document, made from the types of the functions' own code.
    Openapi,
    /// Runs purchases that are decided by a number, with everything going wrong at the payment providers that can, and
    /// compares their books with those of the same purchases without faults. Fails when anything is not as it should be.
    Purchases {
        /// Decides everything; the same number runs the same purchases.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many purchases.
        #[arg(long, default_value_t = 200)]
        orders: u32,
        /// Who plays the payment providers; only simulated ones can go wrong.
        #[arg(long, value_enum, default_value_t = ProvidersArgument::Simulated)]
        providers: ProvidersArgument,
    },
    /// Runs orders that are decided by a number while everything goes wrong at once, kills of the whole platform included.
    /// Fails when anything is not as it should be in the end, and says how to run it again.
    Soak(SoakArguments),
    /// Runs orders at a steady rate, and tells how long requests take and whether memory stays where it is.
    Load(LoadArguments),
    /// Crashes everywhere, and proves that nothing is lost. Ends with a failure where something is.
    Proof(ProofArguments),
    /// Has two flows act on one order, in every order of their steps. Ends with a failure where something is wrong then.
    Races(RaceArguments),
    /// Breaks one guarantee after the other in a copy of the sources, and has the proof find out. Ends with a failure where
    /// it does not.
    Mutants {
        /// One only, by the name of its patch.
        #[arg(long)]
        only: Option<String>,
    },
}

/// How many runs there are, and how they are made.
#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Decides the order of the runs, and which ones a sample has.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A sample instead of everything.
    #[arg(long)]
    short: bool,
    /// Markets at the same time; what hangs in one does not hold up the others.
    #[arg(long, default_value_t = 4)]
    markets: usize,
    /// Begins no new run after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
}

/// What is raced.
#[derive(Debug, clap::Args)]
struct RaceArguments {
    /// One pair of flows only.
    #[arg(long, value_enum)]
    pair: Option<Pair>,
    /// One order of their steps only, as it is printed.
    #[arg(long, requires = "pair")]
    interleaving: Option<Interleaving>,
    #[command(flatten)]
    runs: RunArguments,
    /// Prints the steps and runs nothing.
    #[arg(long)]
    steps: bool,
}

/// How the platform under a soak or a load is had, and where the report goes.
#[derive(Debug, clap::Args)]
struct GroundArguments {
    /// Folder with functions that were built already.
    #[arg(long, hide = true)]
    built: Option<PathBuf>,
    /// File for the report as a page.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What is soaked.
#[derive(Debug, clap::Args)]
struct SoakArguments {
    /// Decides everything; the same number is the same history.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many orders.
    #[arg(long, default_value_t = 200)]
    orders: u32,
    /// Who plays the payment providers; the seed decides where it is not said.
    #[arg(long, value_enum)]
    providers: Option<ProvidersArgument>,
    /// Only these of the orders, by their numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<u32>,
    /// Breaks nothing in the platform, and does not kill it.
    #[arg(long)]
    unbroken: bool,
    /// Prints what will be done, and does nothing.
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    ground: GroundArguments,
}

/// What is loaded.
#[derive(Debug, clap::Args)]
struct LoadArguments {
    /// Decides what people want, and what goes wrong.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders that begin in a minute of the platform's time.
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// Minutes of the platform's time.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// Minutes of the platform's time in one of real time.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=6))]
    speed: u32,
    /// Lets things go wrong, at the providers and in the platform.
    #[arg(long)]
    faults: bool,
    /// Who plays the payment providers.
    #[arg(long, value_enum, default_value_t = ProvidersArgument::Simulated)]
    providers: ProvidersArgument,
    #[command(flatten)]
    ground: GroundArguments,
}

/// What is proved.
#[derive(Debug, clap::Args)]
struct ProofArguments {
    /// One flow only.
    #[arg(long, value_enum)]
    flow: Option<Flow>,
    /// One point only, as it is printed.
    #[arg(long, requires = "flow")]
    point: Option<Point>,
    /// One fault only.
    #[arg(long, value_enum)]
    fault: Option<Fault>,
    #[command(flatten)]
    runs: RunArguments,
    /// Prints the points and tries nothing.
    #[arg(long)]
    points: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Openapi) => ended_with(openapi()),
        Some(Command::Soak(wanted)) => {
            log();
            ended_with(soak(wanted))
        }
        Some(Command::Load(wanted)) => {
            log();
            ended_with(load(wanted))
        }
        Some(Command::Proof(wanted)) => {
            log();
            ended_with(prove(wanted))
        }
        Some(Command::Races(wanted)) => {
            log();
            ended_with(race(wanted))
        }
        Some(Command::Mutants { only }) => {
            log();
            ended_with(mutate(only.as_deref()))
        }
        Some(Command::Purchases {
            seed,
            orders,
            providers,
        }) => purchases(&Run {
            seed,
            orders,
            providers: providers.into(),
            options: Options::test(),
        }),
        None => {
            log();
            serve(arguments)
        }
    }
}

fn ended_with(outcome: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cfmp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log() {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,dynoxide=error")))
        .init();
}

fn serve(arguments: Arguments) -> ExitCode {
    let outcome = match Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(arguments));
            // A build that was interrupted is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(StartError::Functions(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cfmp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn prove(wanted: ProofArguments) -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan {
        flow: wanted.flow,
        point: wanted.point,
        fault: wanted.fault,
        seed: wanted.runs.seed,
        short: wanted.runs.short,
        markets: wanted.runs.markets,
        points_only: wanted.points,
        limit: minutes(wanted.runs.minutes),
        template: None,
        functions: Source::Cargo,
        program: Some(std::env::current_exe()?),
    };
    let outcome = Runtime::new()?.block_on(proof::run(&plan, |progress| match progress {
        Progress::Discovered(flow, points) if plan.points_only => {
            for point in points {
                println!("{flow}: {point}");
            }
        }
        Progress::Discovered(flow, points) => eprintln!("{flow}: {} points", points.len()),
        Progress::Tried(shown, done, of) => {
            let Trial { flow, point, fault } = &shown.trial;
            let verdict = match (shown.found.as_slice(), shown.reached) {
                ([], true) => "well",
                ([], false) => "well, but the point was not reached",
                (_, _) => "FAILED",
            };
            eprintln!("{done}/{of} {flow}: {point}, {fault}: {verdict}");
            for found in &shown.found {
                eprintln!("    {found}");
            }
        }
    }))?;
    if plan.points_only {
        return Ok(());
    }
    println!("{outcome}");
    match outcome.failures().count() {
        0 => Ok(()),
        failures => Err(format!("{failures} runs failed").into()),
    }
}

impl GroundArguments {
    fn ground(&self) -> Result<Ground, Box<dyn std::error::Error>> {
        let functions = match &self.built {
            Some(folder) => folder.clone(),
            None => {
                let built = cargo_build::build(cfmp::root(), Profile::OWN)?;
                let folder = built.values().next().and_then(|binary| binary.parent());
                folder.ok_or("the workspace has no functions")?.to_owned()
            }
        };
        Ok(Ground {
            program: std::env::current_exe()?,
            functions,
            template: None,
        })
    }

    /// Shows what came of it.
    fn show(&self, outcome: &Outcome) -> Result<(), Box<dyn std::error::Error>> {
        println!("{outcome}");
        if let Some(file) = &self.report {
            std::fs::write(file, outcome.page()?)?;
            println!("report: {}", file.display());
        }
        match outcome.failures.len() {
            0 => Ok(()),
            failures => {
                let again = outcome.shortest.as_ref().unwrap_or(&outcome.command);
                Err(format!("{failures} things are wrong; run it again with: {again}").into())
            }
        }
    }
}

/// Shows how far it is: a bar on a terminal, now and then a line elsewhere.
fn bar() -> impl Fn(soak::Progress) {
    let bar = ProgressBar::new(1);
    // The style is known to be one; the usual one serves as well.
    if let Ok(style) = ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    let last = Mutex::new(Instant::now());
    move |progress| {
        let is_last = progress == soak::Progress::Looking;
        let (name, at, of, said) = match progress {
            soak::Progress::Preparing => ("preparing", 0, 1, String::new()),
            soak::Progress::Going(at, of, said) => ("going", at, of, said),
            soak::Progress::Passing(at, of) => ("passing", at, of, "time passes".to_owned()),
            soak::Progress::Looking => ("looking", 0, 1, String::new()),
        };
        if bar.is_hidden() {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= QUIET {
                *last = Instant::now();
                eprintln!("{name}: {at} of {of} {said}");
            }
        }
        bar.set_prefix(name);
        bar.set_length(of);
        bar.set_position(at);
        bar.set_message(said);
        if is_last {
            bar.finish_and_clear();
        }
    }
}

fn soak(wanted: SoakArguments) -> Result<(), Box<dyn std::error::Error>> {
    let soak = Soak {
        seed: wanted.seed,
        orders: wanted.orders,
        providers: wanted.providers.map(Providers::from),
        only: wanted.only.into_iter().collect(),
        unbroken: wanted.unbroken,
    };
    if wanted.plan {
        print!("{}", soak.plan());
        return Ok(());
    }
    let ground = wanted.ground.ground()?;
    let outcome = Runtime::new()?.block_on(soak.run(&ground, &bar()));
    let outcome = outcome.map_err(|error| format!("{error}; run it again with: {}", soak.command(&soak.only)))?;
    wanted.ground.show(&outcome)
}

fn load(wanted: LoadArguments) -> Result<(), Box<dyn std::error::Error>> {
    let load = Load {
        seed: wanted.seed,
        rate: wanted.rate.max(1),
        minutes: wanted.minutes.max(1),
        speed: wanted.speed,
        faults: wanted.faults,
        providers: wanted.providers.into(),
    };
    let ground = wanted.ground.ground()?;
    let outcome = Runtime::new()?.block_on(load.run(&ground, &bar()));
    let outcome = outcome.map_err(|error| format!("{error}; run it again with: {}", load.command()))?;
    wanted.ground.show(&outcome)
}

fn minutes(wanted: Option<u64>) -> Option<Duration> {
    wanted.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)))
}

fn race(wanted: RaceArguments) -> Result<(), Box<dyn std::error::Error>> {
    let plan = RacePlan {
        pair: wanted.pair,
        interleaving: wanted.interleaving,
        seed: wanted.runs.seed,
        short: wanted.runs.short,
        markets: wanted.runs.markets,
        steps_only: wanted.steps,
        limit: minutes(wanted.runs.minutes),
        template: None,
        functions: Source::Cargo,
    };
    let races = Runtime::new()?.block_on(proof::race(&plan, |progress| match progress {
        RaceProgress::Found(pair, heat) => {
            eprintln!("{pair}: {} orders, {} of them run", heat.orders, heat.planned);
            for (lane, steps) in ["A", "B"].into_iter().zip(&heat.steps) {
                for step in steps.iter().filter(|_| plan.steps_only) {
                    println!("{pair}: {lane} {step}");
                }
            }
        }
        RaceProgress::Ran(ran, done, of) => {
            let verdict = match (ran.found.as_slice(), ran.kept.let_go) {
                ([], 0) => "well".to_owned(),
                ([], let_go) => format!("well, {let_go} steps let go"),
                (_, _) => "FAILED".to_owned(),
            };
            eprintln!("{done}/{of} {}: {}: {verdict}", ran.race.pair, ran.race.interleaving);
            for found in &ran.found {
                eprintln!("    {found}");
            }
        }
    }))?;
    if plan.steps_only {
        return Ok(());
    }
    println!("{races}");
    match races.failures().count() {
        0 => Ok(()),
        failures => Err(format!("{failures} runs failed").into()),
    }
}

fn mutate(only: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let program = std::env::current_exe()?;
    let tell = |verdict: &Verdict| eprintln!("{verdict}");
    let verdicts = Runtime::new()?.block_on(mutants::run(only, &program, tell))?;
    println!("{}", mutants::Table(&verdicts));
    match verdicts.iter().filter(|verdict| verdict.caught_by.is_none()).count() {
        0 => Ok(()),
        alive => Err(format!("{alive} mutants were not caught").into()),
    }
}

fn openapi() -> Result<(), Box<dyn std::error::Error>> {
    let document = cfmp::openapi::of_workspace()?;
    serde_json::to_writer_pretty(io::stdout().lock(), &document)?;
    writeln!(io::stdout())?;
    Ok(())
}

fn purchases(run: &Run) -> ExitCode {
    let started = Instant::now();
    let progress = |what: &str| eprintln!("{:>5} s  {what}", started.elapsed().as_secs());
    let played = Runtime::new()
        .map_err(|error| RunError::Start(StartError::Functions(error)))
        .and_then(|runtime| runtime.block_on(run.play(progress)));
    match played {
        Ok(outcome) => {
            println!("{outcome}took {} s", started.elapsed().as_secs());
            if outcome.is_clean() {
                return ExitCode::SUCCESS;
            }
        }
        Err(error) => eprintln!("cfmp: {error}"),
    }
    eprintln!(
        "cfmp: run it again with: cargo run -- purchases --seed {} --orders {}",
        run.seed, run.orders
    );
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> Result<(), StartError> {
    // From here on a signal is an orderly end, also one that arrives during the start.
    let interrupt = signal(SignalKind::interrupt()).map_err(StartError::Functions)?;
    let terminate = signal(SignalKind::terminate()).map_err(StartError::Functions)?;
    let ended = ended(interrupt, terminate);
    tokio::pin!(ended);
    let functions = match &arguments.built {
        Some(folder) => Source::Built(cargo_build::found_in(folder).map_err(StartError::Functions)?),
        None => Source::Cargo,
    };
    let template = arguments.template.unwrap_or_else(|| cfmp::root().join("template.yaml"));
    let started = Platform::start(Options {
        port: arguments.port,
        data: if arguments.memory {
            Data::Memory
        } else {
            Data::Folder(arguments.data)
        },
        template,
        functions,
        edge: !arguments.no_edge,
        providers: arguments.providers.into(),
        alipay_certificates: arguments.alipay_certificates,
        migration: arguments.migration,
        demo: !arguments.no_demo,
        show_logs: true,
    });
    let platform = tokio::select! {
        platform = started => platform?,
        () = &mut ended => return Ok(()),
    };
    // Who started it may have stopped reading; it serves all the same.
    let _ = announce(&platform);
    ended.await;
    platform.stop().await;
    Ok(())
}

fn announce(platform: &Platform) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for route in &platform.template().routes {
        writeln!(out, "{:<7} {:<60} {}", route.method, route.path, route.function)?;
    }
    if let (Some(api), Some(url)) = (&platform.template().sockets, platform.websocket_url()) {
        for (key, route) in &api.routes {
            writeln!(out, "{:<7} {:<60} {}", "WS", key, route.function)?;
        }
        writeln!(out, "push: {url}?token=...")?;
    }
    if let Some(simulator) = platform.simulator() {
        writeln!(out, "payment providers, simulated: {}", simulator.base_url())?;
    }
    writeln!(out, "ready: {}", platform.base_url())?;
    out.flush()
}

async fn ended(mut interrupt: tokio::signal::unix::Signal, mut terminate: tokio::signal::unix::Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
