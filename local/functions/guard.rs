//! Sees to it that no function outlives the platform, even one that is killed with SIGKILL.
//!
//! A shell waits at the other end of a pipe. The platform tells it after every change which processes it has; when the
//! platform dies, however, the pipe closes and the shell ends what was last named.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const SCRIPT: &str = r#"trap '' HUP INT TERM
pids=
while IFS= read -r line; do pids=$line; done
[ -n "$pids" ] && kill -9 $pids 2>/dev/null
exit 0"#;

/// The watcher of one platform's processes.
#[derive(Debug)]
pub(super) struct Guard {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shell: Child,
    pipe: Option<ChildStdin>,
    pids: BTreeSet<u32>,
}

impl Guard {
    /// Starts the watcher.
    pub(super) fn start() -> io::Result<Guard> {
        use std::os::unix::process::CommandExt as _;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must not reach it before it has done its work.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Guard {
            state: Mutex::new(State {
                shell,
                pipe,
                pids: BTreeSet::new(),
            }),
        })
    }

    /// A process was started.
    pub(super) fn started(&self, pid: u32) {
        self.change(|pids| pids.insert(pid));
    }

    /// A process has ended and was reaped; its id may be given to another one from now on.
    pub(super) fn ended(&self, pid: u32) {
        self.change(|pids| pids.remove(&pid));
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeSet<u32>) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut state.pids);
        let names: Vec<String> = state.pids.iter().map(u32::to_string).collect();
        if let Some(pipe) = state.pipe.as_mut() {
            // Without its watcher the platform still works; only a SIGKILL would leave processes behind.
            let _ = writeln!(pipe, "{}", names.join(" "));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.pipe.take();
        // The shell sees the closed pipe at once.
        let _ = state.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_running_when_the_pipe_closes_is_killed() {
        let guard = Guard::start().unwrap();
        let mut orphan = Command::new("sleep").arg("600").spawn().unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        guard.started(orphan.id());
        guard.started(ended.id());
        ended.wait().unwrap();
        guard.ended(ended.id());
        drop(guard);
        assert!(!orphan.wait().unwrap().success());
    }
}
