//! Processes and a folder that never outlive the process that created them.
//!
//! A destructor does not run after SIGKILL, and Ctrl-C ends a test before it can clean up. But whenever a process ends,
//! the kernel closes its pipes. Two helpers wait for that:
//!
//! * The *leader* is a `cat`. It leads the process group that every child joins when it is spawned. At no moment is a
//!   child outside the group.
//! * The *guard* is a shell outside that group. It kills the group and removes the folder.
//!
//! The helpers and the children are not in the parent's process group. Ctrl-C in a terminal therefore ends only the
//! parent, and the helpers notice that.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// At the end of its input, kills the group `$1` and removes the folder `$2`. Repeats both while the folder cannot be
/// removed, for 10 s: a child may have joined the group late, or a dying process may have written another file. Only the
/// end of its input ends the guard. It ignores signals, which may be meant for the parent and all its children.
const GUARD: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
attempt=0
while [ $attempt -lt 100 ]; do
    kill -s KILL -- "-$1" 2>/dev/null
    rm -rf -- "$2" 2>/dev/null && break
    attempt=$((attempt + 1))
    sleep 0.1
done
"#;

/// Owns a temporary folder and a group of processes. Both end with it.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    group: i32,
    leader: Child,
    guard: Child,
}

impl Supervisor {
    /// Creates the folder, which only this user can read, and starts the helpers.
    ///
    /// Requires a Tokio runtime, as [`Command::spawn`] does.
    pub fn start() -> io::Result<Self> {
        // TMPDIR may be relative. The children run in other folders.
        let parent = std::path::absolute(std::env::temp_dir())?;
        Self::owning(tempfile::Builder::new().prefix("gardener-testbed-").tempdir_in(parent)?.keep())
    }

    /// Takes over an existing folder, and starts the helpers.
    ///
    /// Requires a Tokio runtime, as [`Command::spawn`] does. If the helpers cannot be started, the folder stays.
    pub fn owning(folder: PathBuf) -> io::Result<Self> {
        let leader = helper("cat").spawn()?;
        let group = leader.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        let guard = helper("sh").args(["-c", GUARD, "guard"]).arg(group.to_string()).arg(&folder).spawn()?;
        Ok(Self { folder, group, leader, guard })
    }

    /// The temporary folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process group of all children.
    #[must_use]
    pub const fn group(&self) -> i32 {
        self.group
    }

    /// Spawns a process that ends with the supervisor at the latest.
    ///
    /// Descendants of the process must stay in its process group, or they can outlive the supervisor.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.process_group(self.group).spawn()
    }

    /// Kills the processes and removes the folder. Returns when both are gone.
    ///
    /// Dropping the supervisor does the same without waiting.
    pub async fn stop(mut self) -> io::Result<()> {
        drop((self.guard.stdin.take(), self.leader.stdin.take()));
        self.guard.wait().await?;
        self.leader.wait().await?;
        if tokio::fs::try_exists(&self.folder).await? {
            return Err(io::Error::other(format!("cannot remove {}: remove it by hand", self.folder.display())));
        }
        Ok(())
    }
}

/// A process that lives as long as its standard input.
fn helper(program: &str) -> Command {
    let mut command = Command::new(program);
    // In the caller's working directory, a helper could prevent the removal of that directory.
    command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000");
        command
    }

    #[tokio::test]
    async fn stop_kills_the_processes_and_removes_the_folder() {
        let supervisor = Supervisor::start().unwrap();
        let folder = supervisor.folder().to_owned();
        std::fs::write(folder.join("file"), "").unwrap();
        let mut child = supervisor.spawn(sleeper()).unwrap();
        supervisor.stop().await.unwrap();
        assert!(!folder.exists());
        assert!(!child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn the_guard_ignores_signals() {
        let supervisor = Supervisor::start().unwrap();
        let folder = supervisor.folder().to_owned();
        // When the shell has started its first command, it has set the trap.
        let guard = supervisor.guard.id().unwrap();
        let children = format!("/proc/{guard}/task/{guard}/children");
        while std::fs::read_to_string(&children).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let guard = rustix::process::Pid::from_raw(guard.cast_signed()).unwrap();
        rustix::process::kill_process(guard, rustix::process::Signal::INT).unwrap();
        supervisor.stop().await.unwrap();
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn dropping_the_supervisor_kills_the_processes() {
        let supervisor = Supervisor::start().unwrap();
        let mut child = supervisor.spawn(sleeper()).unwrap();
        drop(supervisor);
        assert!(!child.wait().await.unwrap().success());
    }
}
