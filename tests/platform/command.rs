//! The `cfmp` command: how it starts, and that nothing is left when it ends, however it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);

fn command(template: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cfmp"));
    command
        .args(["--no-demo", "--memory", "--template"])
        .arg(template)
        .arg("--built")
        .arg(super::built())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn template() -> PathBuf {
    cfmp::root().join("tests/platform/template.yaml")
}

struct Running {
    command: Child,
    address: String,
    /// Everything it printed before `ready`.
    announced: String,
}

fn start() -> Running {
    let mut running = Running {
        command: command(&template()).args(["--port", "0"]).spawn().unwrap(),
        address: String::new(),
        announced: String::new(),
    };
    for line in BufReader::new(running.command.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(address) = line.strip_prefix("ready: http://") {
            running.address = address.to_owned();
            return running;
        }
        running.announced.push_str(&line);
        running.announced.push('\n');
    }
    unreachable!("it ended before it was ready: {}", running.announced);
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

impl Running {
    /// The process that answers an invocation of the probe.
    fn probe(&self) -> PathBuf {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = r#"{"do": "look"}"#;
        write!(
            stream,
            "POST /2015-03-31/functions/ProbeFunction/invocations HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let looked: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        PathBuf::from(format!("/proc/{}", looked["pid"]))
    }

    fn signal(&self, signal: &str) {
        let pid = self.command.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

fn disappears(process: &Path) -> bool {
    let began = Instant::now();
    while process.exists() && began.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(10));
    }
    !process.exists()
}

#[test]
fn it_announces_its_routes_and_ends_cleanly_when_it_is_told_to() {
    for signal in ["-TERM", "-INT"] {
        let mut running = start();
        let route = running
            .announced
            .lines()
            .find(|line| line.contains("/api/probe/{id}"))
            .unwrap();
        assert!(
            route.starts_with("GET ") && route.ends_with(" ProbeFunction"),
            "{route}"
        );
        let process = running.probe();
        assert!(process.exists());
        running.signal(signal);
        assert_eq!(running.command.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!process.exists(), "{signal}");
    }
}

#[test]
fn its_functions_do_not_survive_its_being_killed() {
    let mut running = start();
    let process = running.probe();
    running.signal("-KILL");
    running.command.wait().unwrap();
    assert!(disappears(&process));
}

#[test]
fn what_is_wrong_is_one_line_and_a_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("template.yaml");
    std::fs::write(&broken, "Resources: {A: {Type: AWS::EC2::Instance}}").unwrap();
    for (template, port, line) in [
        (
            template(),
            port.as_str(),
            format!("cfmp: port {port} can not be used: "),
        ),
        (
            broken,
            "0",
            "cfmp: template: A: the type AWS::EC2::Instance is not understood".to_owned(),
        ),
    ] {
        let output = command(&template).args(["--port", port]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.starts_with(&line) && said.lines().count() == 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}
