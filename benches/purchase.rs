//! What a purchase takes on the local platform, and what it costs:
//!
//!     cargo build --release --workspace --bins --examples && cargo bench --bench purchase
//!
//! Prints p50 and p99 of each step, round trips and request units per operation (from the store's own
//! `ConsumedCapacity`), what payment-callback takes for the notifications of Alipay and WeChat Pay, and the start-up times of
//! create-order and payment-callback against a function that does nothing, measured in turns.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_arithmetic,
    reason = "a measurement that fails should stop, and ratios are no money"
)]
#![expect(unreachable_pub, dead_code, reason = "the world belongs to the tests")]

#[path = "../tests/api/described.rs"]
mod described;
#[path = "../tests/api/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cfmp::{Options, Platform, Providers, Source};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use world::{Member, World};

/// Purchases measured.
const PURCHASES: usize = 40;
/// Starts of each function measured.
const STARTS: usize = 60;

fn main() {
    // `cargo test --benches` passes other arguments; only `cargo bench` measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let built = cfmp::cargo_build::found_in(&release_folder()).expect("the functions are built first");
    let options = |providers| Options {
        functions: Source::Built(built.clone()),
        providers,
        ..Options::test()
    };
    world::in_world_with(options(Providers::Sandbox), async |world| {
        let platform = world.platform().expect("a platform of its own");
        purchases(world, platform).await;
    });
    world::in_world_with(options(Providers::Simulated), async |world| {
        let platform = world.platform().expect("a platform of its own");
        notifications(world, platform).await;
        starts(platform, &["CreateOrderFunction", "PaymentCallbackFunction"]).await;
    });
}

/// What payment-callback takes for the signed notifications of the real providers' protocols.
async fn notifications(world: &World, platform: &Platform) {
    let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
    let simulator = platform.simulator().expect("simulated providers");
    println!(
        "\n{:<46} {:>9} {:>9}",
        "payment-callback, warm, a notification of", "p50 ms", "p99 ms"
    );
    for (method, channel) in [("alipay", "qr_code"), ("wechat_pay", "qr_code")] {
        let since = platform
            .recording()
            .events(|_| true)
            .last()
            .map_or(0, |event| event.sequence);
        for _ in 0..PURCHASES {
            let order = buyer.orders(&seller.puts_up("台灯", "19.90", 1).await).await;
            let wish = serde_json::json!({
                "order_uuid": order["order_uuid"], "amount": order["total_amount"],
                "payment_method": method, "channel": channel,
            });
            let payment = buyer.post("/api/payment/create/", &wish).expect(201).await.data();
            let number = payment["payment_uuid"].as_str().unwrap().replace('-', "");
            simulator.pay(&number).unwrap();
            world.settle().await;
        }
        let is_warm_callback = |event: &cfmp::recording::Numbered<cfmp::recording::Event>| {
            let callback = event.entry.function.as_deref() == Some("PaymentCallbackFunction");
            event.sequence > since
                && event.entry.kind == "invocation"
                && callback
                && event.entry.detail["cold"] == false
        };
        let answered = platform.recording().events(is_warm_callback);
        let micros =
            |event: &cfmp::recording::Numbered<cfmp::recording::Event>| event.entry.detail["duration_us"].as_u64();
        let mut times: Vec<Duration> = answered.iter().filter_map(micros).map(Duration::from_micros).collect();
        println!(
            "{method:<46} {:>9.2} {:>9.2}",
            percentile(&mut times, 50),
            percentile(&mut times, 99)
        );
    }
}

/// Where cargo puts what it builds for release: two levels above this benchmark.
fn release_folder() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// Times of the steps, in the order in which they first happened.
#[derive(Default)]
struct Steps(Vec<(&'static str, Vec<Duration>)>);

impl Steps {
    async fn time<T>(&mut self, step: &'static str, work: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let outcome = work.await;
        let took = since.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(took),
            None => self.0.push((step, vec![took])),
        }
        outcome
    }

    fn print(&mut self) {
        println!("\n{:<46} {:>9} {:>9}", "step of a purchase", "p50 ms", "p99 ms");
        for (step, times) in &mut self.0 {
            println!(
                "{step:<46} {:>9.2} {:>9.2}",
                percentile(times, 50),
                percentile(times, 99)
            );
        }
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    let position = (times.len() * percent).div_ceil(100).max(1) - 1;
    times[position].as_secs_f64() * 1000.0
}

async fn purchases(world: &World, platform: &Platform) {
    let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
    // The first purchase starts every function that takes part.
    purchase(world, &seller, &buyer, &mut Steps::default()).await;
    let mut steps = Steps::default();
    let before = platform
        .recording()
        .calls(|_| true)
        .last()
        .map_or(0, |call| call.sequence);
    for _ in 0..PURCHASES {
        purchase(world, &seller, &buyer, &mut steps).await;
    }
    steps.print();
    costs(platform, before);
}

async fn purchase(world: &World, seller: &Member<'_>, buyer: &Member<'_>, steps: &mut Steps) {
    let login = serde_json::json!({"email": buyer.email, "password": world::PASSWORD});
    steps
        .time(
            "log in (argon2id)",
            world.post("/api/v1/auth/login-with-password", &login).expect(200),
        )
        .await;
    for undone in [false, true] {
        let lamp = steps.time("put a product up", seller.puts_up("台灯", "19.90", 1)).await;
        let order = steps.time("create the order", buyer.orders(&lamp)).await;
        let payment = steps.time("create the payment", buyer.starts_paying(&order)).await;
        steps
            .time("pay on the provider's page (page, click)", buyer.clicks_pay(&payment))
            .await;
        let paid = async || buyer.order(&order).await["status"] == 1;
        steps
            .time("until the order is paid", world.until("it is paid", paid))
            .await;
        steps.time("read the order", buyer.order(&order)).await;
        steps
            .time("list the orders", buyer.get("/api/orders").expect(200))
            .await;
        steps
            .time("list the notifications", buyer.get("/api/notifications").expect(200))
            .await;
        if undone {
            steps.time("cancel the paid order", buyer.cancels(&order, "")).await;
            let refunded = async || buyer.order(&order).await["refund_status"] == "succeeded";
            steps
                .time("until it is refunded", world.until("it is refunded", refunded))
                .await;
        } else {
            let path = format!("/api/orders/{}/complete", order["order_uuid"].as_str().unwrap());
            steps
                .time("complete the order", buyer.ask("POST", &path).expect(200))
                .await;
        }
        steps.time("until everybody is told", world.settle()).await;
    }
}

/// What one function asked of others.
#[derive(Default)]
struct Cost {
    invocations: u64,
    calls: BTreeMap<String, u64>,
    read_units: f64,
    write_units: f64,
}

fn costs(platform: &Platform, since: u64) {
    let mut costs: BTreeMap<String, Cost> = BTreeMap::new();
    for event in platform.recording().events(|event| event.entry.kind == "invocation") {
        costs
            .entry(event.entry.function.clone().unwrap_or_default())
            .or_default()
            .invocations += 1;
    }
    let mut by_request: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in platform.recording().calls(|call| call.sequence > since) {
        let cost = costs.entry(call.entry.function.clone()).or_default();
        *cost
            .calls
            .entry(call.entry.target.split(' ').next().unwrap_or_default().to_owned())
            .or_default() += 1;
        let units = call.entry.consumed.as_ref().map_or(0.0, units);
        let reads = ["GetItem", "Query", "Scan"]
            .iter()
            .any(|read| call.entry.target.ends_with(read));
        if reads {
            cost.read_units += units;
        } else {
            cost.write_units += units;
        }
        by_request
            .entry(call.entry.request_id.clone().unwrap_or_default())
            .or_default()
            .push(call.entry.target.clone());
    }
    println!(
        "\nover {PURCHASES} purchases and as many cancelled ones, per order placed (two a round):\n{:<34} {:>8} {:>8}  calls",
        "function", "RCU", "WCU"
    );
    let orders = (PURCHASES * 2) as f64;
    let (mut reads, mut writes) = (0.0, 0.0);
    for (function, cost) in &costs {
        let calls: Vec<String> = cost
            .calls
            .iter()
            .map(|(target, count)| format!("{target} {:.2}", *count as f64 / orders))
            .collect();
        if calls.is_empty() {
            continue;
        }
        println!(
            "{function:<34} {:>8.2} {:>8.2}  {}",
            cost.read_units / orders,
            cost.write_units / orders,
            calls.join(", ")
        );
        reads += cost.read_units / orders;
        writes += cost.write_units / orders;
    }
    println!("{:<34} {reads:>8.2} {writes:>8.2}", "all");
}

/// The units of a call, whatever number of tables it spoke of.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}

/// From the start of the process until it asks for its first invocation.
async fn starts(platform: &Platform, functions: &[&str]) {
    let folder = release_folder();
    let empty = folder.join("examples/empty-function");
    assert!(
        empty.is_file(),
        "build it first: cargo build --release --example empty-function"
    );
    println!(
        "\n{:<34} {:>9} {:>9} {:>9}",
        "start to first request for work", "p50 ms", "p99 ms", "ratio"
    );
    for name in functions {
        let function = &platform.template().functions[*name];
        let binary = folder.join(&function.binary);
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            idle.push(start(platform, &empty, "CreateOrderFunction", &BTreeMap::new()).await);
            busy.push(start(platform, &binary, name, &function.environment).await);
        }
        let (idle_p50, busy_p50) = (percentile(&mut idle, 50), percentile(&mut busy, 50));
        println!(
            "{:<34} {idle_p50:>9.2} {:>9.2}",
            "a function that does nothing",
            percentile(&mut idle, 99)
        );
        println!(
            "{:<34} {busy_p50:>9.2} {:>9.2} {:>9.2}",
            function.binary,
            percentile(&mut busy, 99),
            busy_p50 / idle_p50
        );
    }
}

async fn start(platform: &Platform, binary: &Path, name: &str, environment: &BTreeMap<String, String>) -> Duration {
    let runtime_api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let since = Instant::now();
    let mut process = Command::new(binary)
        .env_clear()
        .envs(environment)
        .envs([
            (
                "AWS_LAMBDA_RUNTIME_API",
                runtime_api.local_addr().unwrap().to_string().as_str(),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "measured"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "measured"),
            ("AWS_ENDPOINT_URL", platform.base_url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", name),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut connection, _) = runtime_api.accept().await.unwrap();
    let mut first = [0; 64];
    let read = connection.read(&mut first).await.unwrap();
    let took = since.elapsed();
    assert!(
        first[..read].starts_with(b"GET /2018-06-01/runtime/invocation/next"),
        "it asks for work"
    );
    process.kill().unwrap();
    process.wait().unwrap();
    took
}
