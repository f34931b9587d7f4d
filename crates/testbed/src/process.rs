//! A supervised program and its log: the one way to start, await and stop a program.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::supervisor::Supervisor;

/// How many lines [`last_lines`] returns.
const LAST_LINES: usize = 12;
/// How many characters of a line [`last_lines`] returns. A line may have the stack of an error.
const LONGEST_LINE: usize = 400;

/// Why waiting for a process failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The process ended while the caller waited for something else.
    #[error("{name} ended ({status}){}", LogEnd(.log))]
    Ended {
        /// Name of the process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log, indented; empty if it logged nothing.
        log: String,
    },
    /// The process still runs, but the awaited condition does not hold.
    #[error("{name} {reason} after {} s{}", .after.as_secs(), LogEnd(.log))]
    Late {
        /// Name of the process.
        name: String,
        /// Why the condition does not hold: a phrase that follows the name.
        reason: String,
        /// The limit of the wait.
        after: Duration,
        /// The last lines of its log, indented; empty if it logged nothing.
        log: String,
    },
    /// The operating system refused an operation.
    #[error("cannot {doing}: {source}")]
    System {
        /// The operation.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

struct LogEnd<'a>(&'a str);

impl fmt::Display for LogEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("; it logged nothing")
        } else {
            write!(f, "; its log ends with:\n{}", self.0)
        }
    }
}

/// A running program. It is killed when this value is dropped, and at the latest with its [`Supervisor`].
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Size of the log file before the start, in bytes: a restarted program appends to the log of its predecessor.
    log_start: u64,
}

impl Process {
    /// Starts a program with an empty standard input. Its standard output and standard error are appended to the file
    /// `log`. Environment, arguments and working directory are those of `command`.
    pub fn start(
        supervisor: &Supervisor,
        name: impl Into<String>,
        mut command: Command,
        log: PathBuf,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let log_start = file.metadata()?.len();
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = supervisor.spawn(command)?;
        Ok(Self { name: name.into(), child, log, log_start })
    }

    /// Starts a program as [`Process::start`] does, but without a log: its output goes where the caller wants it, for
    /// example into a pipe. [`Process::log`] is then `/dev/null`.
    pub fn start_into(
        supervisor: &Supervisor,
        name: impl Into<String>,
        mut command: Command,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).kill_on_drop(true);
        let child = supervisor.spawn(command)?;
        Ok(Self { name: name.into(), child, log: "/dev/null".into(), log_start: 0 })
    }

    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process ID; `None` once the end of the process was noticed.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The file of its output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything that was logged since the start. Invalid UTF-8 is replaced.
    #[must_use]
    pub fn log_text(&self) -> String {
        LogReader::open(&self.log, self.log_start).and_then(|mut log| log.rest()).unwrap_or_default()
    }

    /// The last 12 lines since the start, each indented by two spaces.
    #[must_use]
    pub fn log_end(&self) -> String {
        last_lines(&self.log_text())
    }

    /// Returns the exit status if the process has ended, `None` if it runs.
    pub fn try_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Fails with [`ProcessError::Ended`] if the process has ended.
    pub fn still_runs(&mut self) -> Result<(), ProcessError> {
        match self.try_ended() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.end(status)),
            Err(source) => Err(self.system("watch", source)),
        }
    }

    /// Returns when the process has ended. The future can be dropped and created again.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Returns when the process has ended, with the error [`ProcessError::Ended`]: for a process that must not end.
    pub async fn unexpected_end(&mut self) -> ProcessError {
        match self.ended().await {
            Ok(status) => self.end(status),
            Err(source) => self.system("watch", source),
        }
    }

    /// Sends SIGTERM. It ends a program that has not installed a handler yet: wait for a line of its log first.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGSTOP: until [`Process::resume`], the process does nothing, but the kernel keeps its connections open.
    pub fn suspend(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| io::Error::other(format!("{} has ended", self.name)))?;
        Ok(kill_process(id, signal)?)
    }

    /// Sends SIGKILL and returns when the process has ended.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Calls `check` every `pause` until it returns `Ok`.
    ///
    /// Fails when the process ends, or after `limit` with the last `Err` of `check`: a phrase such as "is not ready",
    /// which follows the name in the message.
    pub async fn until<T>(
        &mut self,
        limit: Duration,
        pause: Duration,
        mut check: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, ProcessError> {
        let deadline = Instant::now() + limit;
        loop {
            // Before the check: what a process logs before it ends is then still seen.
            let runs = self.still_runs();
            match check().await {
                Ok(value) => return Ok(value),
                Err(reason) if Instant::now() >= deadline => {
                    runs?;
                    return Err(ProcessError::Late {
                        name: self.name.clone(),
                        reason,
                        after: limit,
                        log: self.log_end(),
                    });
                }
                Err(_) => {
                    runs?;
                    sleep(pause).await;
                }
            }
        }
    }

    /// Passes each complete line that is logged since the start to `found`, until that returns `Some`. The log is read
    /// every `pause`.
    ///
    /// Fails when the process ends, or after `limit`; `awaited` completes the sentence "has not logged ...".
    pub async fn until_logged<T>(
        &mut self,
        limit: Duration,
        pause: Duration,
        awaited: &str,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        let doing = "read the log of";
        let mut log = LogReader::open(&self.log, self.log_start).map_err(|source| self.system(doing, source))?;
        let mut line = String::new();
        let read = async || {
            for text in log.rest().map_err(|error| format!("cannot read its log: {error}"))?.split_inclusive('\n') {
                line += text;
                if line.ends_with('\n') {
                    if let Some(value) = found(line.trim_end()) {
                        return Ok(value);
                    }
                    line.clear();
                }
            }
            Err(format!("has not logged {awaited}"))
        };
        self.until(limit, pause, read).await
    }

    fn end(&self, status: ExitStatus) -> ProcessError {
        ProcessError::Ended { name: self.name.clone(), status, log: self.log_end() }
    }

    fn system(&self, doing: &str, source: io::Error) -> ProcessError {
        ProcessError::System { doing: format!("{doing} {}", self.name), source }
    }
}

/// The last 12 lines of a log, each indented by two spaces and cut at 400 characters.
#[must_use]
pub fn last_lines(log: &str) -> String {
    let shown = |line: &str| match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("  {}…", line.get(..end).unwrap_or_default()),
        None => format!("  {line}"),
    };
    let lines: Vec<_> = log.lines().map(shown).collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

/// Reads what is appended to a file.
struct LogReader {
    file: File,
    /// The first bytes of a character whose last bytes are not written yet.
    partial: Vec<u8>,
}

impl LogReader {
    fn open(path: &Path, start: u64) -> io::Result<Self> {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, partial: Vec::new() })
    }

    /// Everything that was appended since the last call.
    fn rest(&mut self) -> io::Result<String> {
        let mut bytes = std::mem::take(&mut self.partial);
        self.file.read_to_end(&mut bytes)?;
        if let Err(error) = str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            self.partial = bytes.split_off(error.valid_up_to());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(5);

    fn start(supervisor: &Supervisor, script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(supervisor, "script", command, supervisor.folder().join("log")).unwrap()
    }

    async fn until_ready(process: &mut Process, limit: Duration) -> Result<String, ProcessError> {
        let ready = |line: &str| line.strip_prefix("ready ").map(str::to_owned);
        process.until_logged(limit, PAUSE, "that it is ready", ready).await
    }

    #[tokio::test]
    async fn awaited_line_is_found_in_either_output() {
        let supervisor = Supervisor::start().unwrap();
        let mut process = start(&supervisor, "echo begin; sleep 0.1; echo ready 5 >&2; exec sleep 1000");
        assert_eq!(until_ready(&mut process, Duration::from_secs(20)).await.unwrap(), "5");
        assert_eq!(process.log_text(), "begin\nready 5\n");
        process.terminate().unwrap();
        assert!(!process.ended().await.unwrap().success());
        assert!(process.terminate().is_err());
    }

    #[tokio::test]
    async fn early_end_is_reported_with_status_and_log() {
        let supervisor = Supervisor::start().unwrap();
        let mut process = start(&supervisor, "for i in $(seq 20); do echo line $i; done; exit 3");
        let error = until_ready(&mut process, Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(error.starts_with("script ended (exit status: 3); its log ends with:\n  line 9\n"), "{error}");
        assert!(error.ends_with("\n  line 20"), "{error}");
    }

    #[tokio::test]
    async fn wait_ends_at_the_limit() {
        let supervisor = Supervisor::start().unwrap();
        let mut process = start(&supervisor, "exec sleep 1000");
        let error = until_ready(&mut process, Duration::from_millis(20)).await.unwrap_err().to_string();
        assert_eq!(error, "script has not logged that it is ready after 0 s; it logged nothing");
        process.kill().await.unwrap();
    }

    #[tokio::test]
    async fn restarted_process_does_not_see_the_log_of_its_predecessor() {
        let supervisor = Supervisor::start().unwrap();
        let mut first = start(&supervisor, "echo ready 1");
        first.ended().await.unwrap();
        let mut second = start(&supervisor, "echo other; exit 1");
        assert!(until_ready(&mut second, Duration::from_secs(20)).await.is_err());
        assert_eq!(second.log_text(), "other\n");
        assert_eq!(fs::read_to_string(second.log()).unwrap(), "ready 1\nother\n");
    }

    #[tokio::test]
    async fn output_can_go_elsewhere_than_to_a_log() {
        let supervisor = Supervisor::start().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo error >&2"]);
        let mut process = Process::start_into(&supervisor, "script", command, Stdio::null(), writer).unwrap();
        process.ended().await.unwrap();
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        assert_eq!((output.as_str(), process.log_text().as_str()), ("error\n", ""));
    }

    #[tokio::test]
    async fn dropped_process_is_killed() {
        let supervisor = Supervisor::start().unwrap();
        let mut process = start(&supervisor, "echo ready $$; exec sleep 1000");
        let id = until_ready(&mut process, Duration::from_secs(20)).await.unwrap();
        drop(process);
        let runs = || {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            !status.is_empty() && !status.contains("State:\tZ")
        };
        while runs() {
            sleep(PAUSE).await;
        }
    }
}
