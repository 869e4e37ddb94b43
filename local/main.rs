//! `cargo run`: CFMP on this machine.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cfmp::faults::{Fault, Point};
use cfmp::proof::{self, Flow, Plan, Progress, Trial};
use cfmp::purchases::{Run, RunError};
use cfmp::{Data, Options, Platform, Providers, Source, StartError, cargo_build};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    /// Builds the functions with the release profile.
    #[arg(long, conflicts_with = "built")]
    release: bool,
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
    /// Crashes everywhere, and proves that nothing is lost. Ends with a failure where something is.
    Proof(ProofArguments),
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
    /// Decides the order of the runs, and which ones a short proof has.
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
    /// Prints the points and tries nothing.
    #[arg(long)]
    points: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Openapi) => ended_with(openapi()),
        Some(Command::Proof(wanted)) => {
            log();
            ended_with(prove(wanted))
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
        seed: wanted.seed,
        short: wanted.short,
        markets: wanted.markets,
        points_only: wanted.points,
        limit: wanted
            .minutes
            .map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        template: None,
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
        None => Source::Cargo {
            release: arguments.release,
        },
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
