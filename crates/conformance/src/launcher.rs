//! How the controller under test is started, stopped and killed, and where it logs.

use std::fs;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gardener_testbed::bed::TestBed;
use gardener_testbed::container::Container;
use gardener_testbed::process::Process;
use libtest_mimic::Failed;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

use crate::eventually::{LIMIT, eventually};
use crate::object::ensure;

/// Limit for a controller to end. Its grace period must be shorter.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Starts the controller under test.
pub trait Launcher: Send + Sync + 'static {
    /// Starts the controller that serves the type of the [`Subject`](crate::Subject) for all rules. It logs to the file
    /// `log`.
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<Controller, Failed>;

    /// Starts one more controller, which serves `type_` and no other type. It logs to the file `log`.
    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<Controller, Failed>;
}

/// A command line for the controller. In its arguments, `{kubeconfig}` stands for the kubeconfig of a user who may do
/// everything, and `{type}` for the type to serve.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The type that all rules share.
    pub type_: String,
}

impl Launcher for CommandLine {
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<Controller, Failed> {
        self.further(bed, log, &self.type_)
    }

    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<Controller, Failed> {
        let kubeconfig = bed.kubeconfig().display().to_string();
        let argument = |text: &String| text.replace("{kubeconfig}", &kubeconfig).replace("{type}", type_);
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(argument));
        Controller::program(bed, command, log)
    }
}

/// A running controller. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Controller {
    host: Host,
    log: Log,
}

/// What the controller runs in.
#[derive(Debug)]
enum Host {
    Program(Process),
    Container(Container),
}

impl Controller {
    /// Starts a program of this machine.
    pub fn program(bed: &TestBed, command: Command, log: &Path) -> Result<Self, Failed> {
        let process = Process::start(bed.supervisor(), "the controller", command, log.to_owned())?;
        Ok(Self { host: Host::Program(process), log: Log(log.to_owned()) })
    }

    /// Starts a container from a command of [`Image::command`](gardener_testbed::container::Image::command).
    pub fn container(bed: &TestBed, mut command: Command, log: &Path) -> Result<Self, Failed> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stderr(file).kill_on_drop(true);
        let container = Container::new(bed.supervisor().spawn(command)?);
        Ok(Self { host: Host::Container(container), log: Log(log.to_owned()) })
    }

    /// Starts a controller whose standard error is a pipe without a reader: each write to it fails.
    pub fn unread(bed: &TestBed, mut command: Command, in_container: bool) -> Result<Self, Failed> {
        let (_, pipe) = std::io::pipe()?;
        let host = if in_container {
            command.stdin(Stdio::null()).stderr(pipe).kill_on_drop(true);
            Host::Container(Container::new(bed.supervisor().spawn(command)?))
        } else {
            Host::Program(Process::start_into(bed.supervisor(), "the controller", command, Stdio::inherit(), pipe)?)
        };
        Ok(Self { host, log: Log(PathBuf::new()) })
    }

    /// The log of this controller alone.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Sends SIGTERM and returns how the controller ended. Fails if it does not end within 15 s.
    pub async fn terminate(&mut self) -> Result<ExitStatus, Failed> {
        self.ask_to_stop()?;
        self.ended().await
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) -> Result<(), Failed> {
        match &self.host {
            Host::Program(process) => Ok(process.terminate()?),
            Host::Container(container) => Ok(kill_process(container.init()?, Signal::TERM)?),
        }
    }

    /// Returns when the controller has ended. Fails if it does not end within 15 s.
    pub async fn ended(&mut self) -> Result<ExitStatus, Failed> {
        let ended = async {
            Ok::<_, Failed>(match &mut self.host {
                Host::Program(process) => process.ended().await?,
                Host::Container(container) => container.wait().await?,
            })
        };
        tokio::time::timeout(ENDS_WITHIN, ended).await.map_err(|_| "the controller did not end")?
    }

    /// Sends SIGKILL, so that the controller cannot clean up, and returns when it has ended.
    pub async fn kill(mut self) -> Result<(), Failed> {
        match &mut self.host {
            Host::Program(process) => process.kill().await?,
            Host::Container(container) => drop(container.kill().await?),
        }
        Ok(())
    }
}

/// The log of one controller, with one JSON object per line.
#[derive(Clone, Debug)]
pub struct Log(PathBuf);

impl Log {
    /// The complete lines so far. A line that is not JSON becomes a JSON string.
    pub fn lines(&self) -> Result<Vec<Value>, Failed> {
        let text = String::from_utf8_lossy(&fs::read(&self.0)?).into_owned();
        let complete = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
        Ok(complete.lines().map(line).collect())
    }

    /// Returns the first line that `is_it` selects, and waits for it up to [`LIMIT`]. `what` completes the sentence
    /// "the log does not show ...".
    pub async fn until(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        eventually(LIMIT, || async {
            let lines = self.lines()?;
            let found = lines.iter().find(|line| is_it(line)).cloned();
            let end: Vec<_> = lines.iter().rev().take(5).rev().map(ToString::to_string).collect();
            found.ok_or_else(|| format!("the log does not show {what}; it ends with:\n{}", end.join("\n")).into())
        })
        .await
    }

    /// Fails if `is_it` selects a line.
    pub fn lacks(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<(), Failed> {
        let found = self.lines()?.into_iter().find(|line| is_it(line));
        ensure(found.is_none(), format!("the log shows {what}: {found:?}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn log_has_its_complete_lines_as_json() {
        let path = std::env::temp_dir().join(format!("conformance-log-{}", std::process::id()));
        fs::write(&path, "{\"level\":\"WARN\"}\nno JSON\n{\"level\":").unwrap();
        let lines = Log(path.clone()).lines().unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(lines, [json!({ "level": "WARN" }), json!("no JSON")]);
    }
}
