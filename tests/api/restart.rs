//! `cfmp` killed without warning, and started again on the same data.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cfmp::cargo_build::{self, Profile};
use serde_json::json;

use crate::world::{Member, World};

/// A running `cfmp`, as a person starts it.
struct Running {
    process: Child,
    base_url: String,
}

/// The folder of binaries that cargo built.
fn built() -> PathBuf {
    let binaries = cargo_build::build(cfmp::root(), Profile::OWN).unwrap();
    binaries["create-order"].parent().unwrap().to_owned()
}

fn command(data: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cfmp"));
    command
        .args(["--no-demo", "--port", &port.to_string(), "--data"])
        .arg(data);
    command.arg("--built").arg(built());
    command
}

impl Running {
    fn start(data: &Path, port: u16) -> Self {
        let shown = if std::env::var_os("CFMP_SHOW_LOGS").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        let mut process = command(data, port)
            .stdout(Stdio::piped())
            .stderr(shown)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| Some(line.unwrap().strip_prefix("ready: ")?.to_owned()));
        Self {
            base_url: ready.expect("it ended before it was ready"),
            process,
        }
    }

    fn world(&self) -> World {
        World::at(&self.base_url)
    }

    /// `kill -9`
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago. Payment pages name it, so it stays the same over restarts.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn stock(world: &World, product: &str) -> u64 {
    let product = world.get(&format!("/api/product/{product}/")).expect(200).await.json();
    product["stock"].as_u64().unwrap()
}

async fn titles(person: &Member<'_>) -> usize {
    person.notices().await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_loses_no_order_no_payment_and_no_message() {
    if crate::inside::is_elsewhere() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let port = free_port();

    let running = Running::start(data.path(), port);
    let world = running.world();
    let (seller, buyer) = (world.member("卖家").await, world.member("买家").await);
    let lamp = seller.puts_up("台灯", "19.90", 3).await;
    let order = buyer.orders(&lamp).await;
    // Killed while the order's events are on their way, each time.
    running.kill();

    let running = Running::start(data.path(), port);
    let (seller_email, buyer_email, token) = (seller.email, buyer.email, buyer.token);
    let world = running.world();
    world.get("/api/orders/").bearer(&token).expect(200).await;
    let (seller, buyer) = (world.log_in(&seller_email).await, world.log_in(&buyer_email).await);
    assert_eq!(buyer.order(&order).await["status"], 0);
    world.settle().await;
    assert_eq!(
        (
            titles(&seller).await,
            titles(&buyer).await,
            stock(&world, &lamp.id).await
        ),
        (1, 1, 2)
    );
    let payment = buyer.starts_paying(&order).await;
    buyer.clicks_pay(&payment).await;
    running.kill();

    let running = Running::start(data.path(), port);
    let world = running.world();
    let (seller, buyer) = (world.log_in(&seller_email).await, world.log_in(&buyer_email).await);
    world.settle().await;
    assert_eq!(buyer.order(&order).await["status"], 1);
    assert_eq!((titles(&seller).await, titles(&buyer).await), (2, 2));
    seller.cancels(&order, "卖给室友了").await;
    running.kill();

    let running = Running::start(data.path(), port);
    let world = running.world();
    let (seller, buyer) = (world.log_in(&seller_email).await, world.log_in(&buyer_email).await);
    world.settle().await;
    let order = buyer.order(&order).await;
    assert_eq!(
        (&order["status"], &order["refund_status"]),
        (&json!(3), &json!("succeeded"))
    );
    assert_eq!(stock(&world, &lamp.id).await, 3);
    assert_eq!(titles(&buyer).await, 4, "placed, paid, cancelled, refunded");
    assert!(titles(&seller).await >= 3);
    assert_eq!(world.dead_letters().await, Vec::<serde_json::Value>::new());
    running.kill();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn data_that_can_not_be_kept_or_is_in_use_is_one_line_and_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let in_use = folder.path().join("data");
    let running = Running::start(&in_use, 0);
    for (data, reason) in [
        (file.join("below"), "the data can not be kept there: "),
        (file, "the data can not be kept there: "),
        (PathBuf::from("/proc/cfmp"), "the data can not be kept there: "),
        (in_use, "another platform is running on this data"),
    ] {
        let output = command(&data, 0).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("cfmp: ") && said.contains(reason) && said.lines().count() == 1,
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
    running.kill();
}
