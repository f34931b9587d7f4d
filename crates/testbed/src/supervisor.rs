//! Processes and a folder that never outlive the process that started them, however that one ends.
//!
//! A destructor does not run after SIGKILL, and Ctrl-C ends a test before it has cleaned up. What the kernel does in
//! every case is to close the pipes of a process that ended. Two helpers wait for that:
//!
//! * the *leader*, a `cat` that leads the process group which every child joins as it is spawned, so that there is no
//!   moment at which a child is not yet in the group;
//! * the *guard*, a shell outside that group, which kills the whole group and removes the folder.
//!
//! Both run in process groups of their own: Ctrl-C in a terminal reaches neither them nor the children, only the end
//! of their parent does.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

/// Kills the group `$1` and removes the folder `$2` at the end of its input. It does so again while the folder is not
/// empty: a child that was being spawned may have joined the group late, or have written one more file. Signals meant for
/// the parent, such as one sent to all its children, do not end it: only the end of its input does.
const GUARD: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
for attempt in 1 2 3 4 5; do
    kill -s KILL -- "-$1" 2>/dev/null
    rm -rf -- "$2" 2>/dev/null && break
done
"#;

/// The owner of a temporary folder and of a group of processes; both end with it.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    group: i32,
    leader: Child,
    guard: Child,
}

impl Supervisor {
    /// Creates the folder, readable for this user only, and gets ready to spawn.
    ///
    /// Needs a Tokio runtime, as [`Command::spawn`] does.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gardener-mock-").tempdir()?;
        let leader = helper("cat").spawn()?;
        let group = leader.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        let guard = helper("sh").args(["-c", GUARD, "guard"]).arg(group.to_string()).arg(folder.path()).spawn()?;
        Ok(Self { folder: folder.keep(), group, leader, guard })
    }

    /// The folder that goes with the processes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process group that all children join.
    #[must_use]
    pub const fn group(&self) -> i32 {
        self.group
    }

    /// Spawns a process that ends at the latest with the supervisor.
    ///
    /// Not covered are descendants of that process that move into another process group.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.process_group(self.group).spawn()
    }

    /// Kills the processes, removes the folder, and returns when both are gone.
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

/// A process that lives as long as the pipe to it.
fn helper(program: &str) -> Command {
    let mut command = Command::new(program);
    // A helper in the caller's working directory would keep that from being removed.
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
    async fn stop_ends_the_processes_and_removes_the_folder() {
        let supervisor = Supervisor::start().unwrap();
        let folder = supervisor.folder().to_owned();
        std::fs::write(folder.join("file"), "").unwrap();
        let mut child = supervisor.spawn(sleeper()).unwrap();
        supervisor.stop().await.unwrap();
        assert!(!folder.exists());
        assert!(!child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_signal_to_the_guard_does_not_keep_it_from_its_duty() {
        let supervisor = Supervisor::start().unwrap();
        let folder = supervisor.folder().to_owned();
        // The trap is set before the shell starts its first command.
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
    async fn a_dropped_supervisor_ends_the_processes() {
        let supervisor = Supervisor::start().unwrap();
        let mut child = supervisor.spawn(sleeper()).unwrap();
        drop(supervisor);
        assert!(!child.wait().await.unwrap().success());
    }
}
