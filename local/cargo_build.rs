//! Building the functions, and finding out where cargo put them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// The executables of the workspace by the names of their binaries.
pub type Binaries = BTreeMap<String, PathBuf>;

/// How the functions are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Quickly, and able to describe themselves.
    Dev,
    /// As for AWS.
    Release,
}

impl Profile {
    /// The one that this platform itself was built with: `cargo run --release` measures release builds.
    pub const OWN: Self = if cfg!(debug_assertions) {
        Self::Dev
    } else {
        Self::Release
    };
}

/// Why there are no functions to run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BuildError {
    /// Cargo is not there.
    #[error("cargo could not be started: {0}")]
    NoCargo(String),
    /// Cargo said why, on stderr.
    #[error("the functions could not be built; cargo says why above")]
    Failed,
}

/// Builds every binary of the workspace at `root`, once per process however many platforms it starts. Cargo's progress
/// goes to stderr.
///
/// # Errors
/// Cargo can not be started or fails.
pub fn build(root: &Path, profile: Profile) -> Result<Binaries, BuildError> {
    static BUILT: Mutex<BTreeMap<(PathBuf, Profile), Result<Binaries, BuildError>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry((root.to_owned(), profile))
        .or_insert_with(|| run_cargo(root, profile))
        .clone()
}

/// A line of cargo's report.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn run_cargo(root: &Path, profile: Profile) -> Result<Binaries, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--workspace",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if profile == Profile::Release {
        command.arg("--release");
    }
    forget_the_package(&mut command);
    let output = command
        .output()
        .map_err(|error| BuildError::NoCargo(error.to_string()))?;
    if !output.status.success() {
        return Err(BuildError::Failed);
    }
    Ok(executables(&output.stdout))
}

/// Inside `cargo run` and `cargo test` cargo describes the package that runs; a build script that looks at such a variable
/// would be run again and again.
pub(crate) fn forget_the_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let describes_package = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR"].contains(&name);
        if describes_package {
            command.env_remove(name);
        }
    }
}

fn executables(report: &[u8]) -> Binaries {
    report
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter_map(|message| match message {
            Message::CompilerArtifact {
                target,
                executable: Some(path),
            } if target.kind.iter().any(|kind| kind == "bin") => Some((target.name, path)),
            Message::CompilerArtifact { .. } | Message::Other => None,
        })
        .collect()
}

/// The executables in a folder, for who has built them already.
///
/// # Errors
/// The folder can not be read.
pub fn found_in(folder: &Path) -> std::io::Result<Binaries> {
    let mut binaries = Binaries::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file() && path.extension().is_none(), path.file_name()) {
            binaries.insert(name.to_string_lossy().into_owned(), path.clone());
        }
    }
    Ok(binaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_report() {
        let report = br#"{"reason":"compiler-artifact","target":{"name":"orders","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"create-order","kind":["bin"],"x":1},"executable":"/t/debug/create-order"}
{"reason":"build-finished","success":true}
"#;
        let binaries = executables(report);
        assert_eq!(
            binaries,
            Binaries::from([("create-order".to_owned(), PathBuf::from("/t/debug/create-order"))])
        );
    }
}
