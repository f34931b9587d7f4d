//! One controller: the one way to start, await and stop it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gardener_testbed::process::{Process, ProcessError};
use gardener_testbed::supervisor::Supervisor;
use tokio::process::Command;

use crate::kinds::Package;
use crate::log;

/// Pause between two looks at the log: the greatest error of [`StartTimes`].
const PRECISION: Duration = Duration::from_millis(2);

/// How long a controller took to start, since its process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTimes {
    /// Until it logged that it has listed the objects of its kind.
    pub listed: Duration,
    /// Until it logged that it is ready: by then it has also listed the Clusters, if its kind needs them.
    pub ready: Duration,
}

/// A running controller. It is killed when this value is dropped, and at the latest with its [`Supervisor`].
pub struct Controller {
    process: Process,
    started: Instant,
}

impl Controller {
    /// Starts a controller on the cluster of a kubeconfig. It appends its log, in JSON, to the file `log`. `RUST_LOG`
    /// has no effect on it, since [`Controller::ready`] needs the level `info`.
    pub fn start(
        supervisor: &Supervisor,
        package: Package,
        program: &Path,
        kubeconfig: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--log-format", "json"]).args(arguments);
        command.env_remove("RUST_LOG");
        let process = Process::start(supervisor, package.full_name(), command, log);
        Self::new(process, package)
    }

    /// Starts a controller with these arguments alone, and its output in pipes or files of the caller. Its log cannot
    /// be awaited.
    pub fn start_into(
        supervisor: &Supervisor,
        package: Package,
        program: &Path,
        arguments: &[String],
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        let process = Process::start_into(supervisor, package.full_name(), command, stdout, stderr);
        Self::new(process, package)
    }

    fn new(process: io::Result<Process>, package: Package) -> Result<Self> {
        let process = process.with_context(|| format!("cannot start {}", package.full_name()))?;
        Ok(Self { process, started: Instant::now() })
    }

    /// The name of the package and its binary.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The process ID; `None` once the end of the process was noticed.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Returns when the controller has logged that it is ready. Fails when it ends, or after `limit`.
    pub async fn ready(&mut self, limit: Duration) -> Result<StartTimes, ProcessError> {
        let started = self.started;
        let mut times = Times::default();
        let both = |line: &str| times.note(line, started.elapsed());
        self.process.until_logged(limit, PRECISION, "that it is ready", both).await.map_err(readable)
    }

    /// Returns when the controller has ended.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.ended().await
    }

    /// Returns when the controller has ended, with the error [`ProcessError::Ended`]: for a controller that must not
    /// end.
    pub async fn unexpected_end(&mut self) -> ProcessError {
        readable(self.process.unexpected_end().await)
    }

    /// Asks the controller to end, by SIGTERM, and returns when it has ended.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        // It fails if the process has ended already.
        let _ = self.process.terminate();
        self.process.ended().await
    }

    /// The last lines of the log as text, indented.
    #[must_use]
    pub fn log_end(&self) -> String {
        log::readable(&self.process.log_end())
    }
}

/// The error with its log as text.
fn readable(mut error: ProcessError) -> ProcessError {
    if let ProcessError::Ended { log, .. } | ProcessError::Late { log, .. } = &mut error {
        *log = log::readable(log);
    }
    error
}

/// When each of the two lines was seen.
#[derive(Default)]
struct Times {
    listed: Option<Duration>,
    ready: Option<Duration>,
}

impl Times {
    /// Notes a line of the log. Returns both times as soon as both lines were seen.
    fn note(&mut self, line: &str, now: Duration) -> Option<StartTimes> {
        for (message, time) in [("listed", &mut self.listed), ("ready", &mut self.ready)] {
            if line.contains(&format!(r#""message":"{message}""#)) {
                time.get_or_insert(now);
            }
        }
        self.listed.zip(self.ready).map(|(listed, ready)| StartTimes { listed, ready })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ends_when_both_lines_were_logged() {
        let mut times = Times::default();
        let lines = [r#"{"message":"serving"}"#, r#"{"message":"listed"}"#, r#"{"message":"listed"}"#];
        for (second, line) in (1..).zip(lines) {
            assert!(times.note(line, Duration::from_secs(second)).is_none());
        }
        let (listed, ready) = (Duration::from_secs(2), Duration::from_secs(4));
        assert_eq!(times.note(r#"{"message":"ready"}"#, ready), Some(StartTimes { listed, ready }));
    }
}
