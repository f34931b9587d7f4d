//! How the controller under test is started, stopped and killed, and where it logs.

use std::fs;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
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

/// Pause between two looks at whether the controller still runs.
const LOOK: Duration = Duration::from_millis(200);

/// Starts the controller under test.
pub trait Launcher: Send + Sync + 'static {
    /// Starts the controller that serves the type of the [`Subject`](crate::Subject) for all rules. It logs to the file
    /// `log`.
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<Controller, Failed>;

    /// Starts one more controller, which serves `type_` and no other type. It logs to the file `log`.
    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<Controller, Failed>;

    /// Whether [`further`](Self::further) can start a controller for any type. Otherwise it always serves the shared
    /// type.
    fn serves_any_type(&self) -> bool {
        true
    }
}

/// A command line for the controller. No shell reads it. In its words, `$KUBECONFIG` stands for the path of the
/// kubeconfig, and `$TYPE` for the type to serve.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program, and its arguments.
    pub words: Vec<String>,
    /// The kubeconfig of the controller's user.
    pub kubeconfig: PathBuf,
    /// The type that all rules share.
    pub type_: String,
}

impl CommandLine {
    /// Splits a command line into words, as a shell does.
    pub fn split(command: &str) -> Result<Vec<String>, Failed> {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words =
            words.ok_or_else(|| format!("`{command}` is no command line: close its quotes, and name a program"))?;
        match words.iter().find(|word| names_kubeconfig(word)) {
            Some(word) if !words.iter().any(|word| has_variable(word, "KUBECONFIG")) => Err(format!(
                "--command has `{word}` without $KUBECONFIG, so the controller would use another API server than the \
                 kit's: write $KUBECONFIG there, and put the command in single quotes, so that your shell keeps it"
            )
            .into()),
            _ => Ok(words),
        }
    }

    fn command(&self, type_: &str) -> Result<Command, Failed> {
        let kubeconfig = self.kubeconfig.to_str().ok_or("the path of the kubeconfig is not UTF-8: set TMPDIR")?;
        let word = |text: &String| with_variable(&with_variable(text, "KUBECONFIG", kubeconfig), "TYPE", type_);
        let mut words = self.words.iter().map(word);
        let mut command = Command::new(words.next().ok_or("the controller's command is empty: name a program")?);
        command.args(words).env("KUBECONFIG", kubeconfig).env_remove("KUBERNETES_SERVICE_HOST");
        Ok(command)
    }
}

/// The text with `$NAME` and `${NAME}` replaced.
fn with_variable(text: &str, name: &str, value: &str) -> String {
    text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
}

fn has_variable(text: &str, name: &str) -> bool {
    with_variable(text, name, "") != text
}

/// Whether a word, or a command of a shell, has the flag that names the kubeconfig.
fn names_kubeconfig(word: &str) -> bool {
    let mut flags = word.split_whitespace().map(|word| word.split('=').next().unwrap_or_default());
    flags.any(|flag| matches!(flag, "--kubeconfig" | "-kubeconfig"))
}

impl Launcher for CommandLine {
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<Controller, Failed> {
        self.further(bed, log, &self.type_)
    }

    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<Controller, Failed> {
        Controller::program(bed, self.command(type_)?, log)
    }

    fn serves_any_type(&self) -> bool {
        self.words.iter().any(|word| has_variable(word, "TYPE"))
    }
}

/// A running controller. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Controller {
    host: Host,
    log: Log,
    /// Where to note that the controller has ended although it was not stopped.
    noting: Option<Arc<Ends>>,
}

/// Whether controllers of a rule have ended by themselves.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// How the first one has ended.
    first: OnceLock<String>,
    running: AtomicUsize,
    /// Whether two have run at the same time.
    overlapped: AtomicBool,
}

impl Ends {
    /// How the first one has ended.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// Whether two have run at the same time.
    pub(crate) fn overlapped(&self) -> bool {
        self.overlapped.load(Ordering::Relaxed)
    }
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
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let process = Process::start(bed.supervisor(), "the controller", command, log.to_owned());
        let process = process.map_err(|error| format!("cannot start the controller {program}: {error}"))?;
        Ok(Self { host: Host::Program(process), log: Log(log.to_owned()), noting: None })
    }

    /// Starts a container from a command of [`Image::command`](gardener_testbed::container::Image::command).
    pub fn container(bed: &TestBed, mut command: Command, log: &Path) -> Result<Self, Failed> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stderr(file).kill_on_drop(true);
        let container = Container::new(bed.supervisor().spawn(command)?);
        Ok(Self { host: Host::Container(container), log: Log(log.to_owned()), noting: None })
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
        Ok(Self { host, log: Log(PathBuf::new()), noting: None })
    }

    /// Notes there, when this value is dropped, that the controller has ended by itself, if it has.
    pub(crate) fn noting_its_end(mut self, ends: Arc<Ends>) -> Self {
        if ends.running.fetch_add(1, Ordering::Relaxed) > 0 {
            ends.overlapped.store(true, Ordering::Relaxed);
        }
        self.noting = Some(ends);
        self
    }

    /// The log of this controller alone.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Fails if the controller has ended, with the end of its log.
    pub fn still_runs(&mut self) -> Result<(), Failed> {
        match &mut self.host {
            Host::Program(process) => Ok(process.still_runs()?),
            Host::Container(container) => Ok(container.init().map(drop)?),
        }
    }

    /// Notes that the controller has ended by itself, if it has. It may end from now on.
    fn note_end(&mut self) {
        let Some(ends) = self.noting.take() else { return };
        if let Err(why) = self.still_runs() {
            ends.first.get_or_init(|| why.message().unwrap_or_default().to_owned());
        }
        ends.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns when the controller has ended by itself, with the end of its log.
    pub async fn ends(&mut self) -> Failed {
        loop {
            if let Err(why) = self.still_runs() {
                return why;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends SIGTERM and returns how the controller ended. Fails if it does not end within 15 s.
    pub async fn terminate(&mut self) -> Result<ExitStatus, Failed> {
        self.ask_to_stop()?;
        self.ended().await
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&mut self) -> Result<(), Failed> {
        self.note_end();
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
        self.note_end();
        match &mut self.host {
            Host::Program(process) => process.kill().await?,
            Host::Container(container) => drop(container.kill().await?),
        }
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.note_end();
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

    /// The last lines, each indented by two spaces. Empty if there are none.
    #[must_use]
    pub fn end(&self) -> String {
        let log = fs::read(&self.0).unwrap_or_default();
        gardener_testbed::process::last_lines(&String::from_utf8_lossy(&log))
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
    fn words_of_a_command_line_get_kubeconfig_and_type() {
        let words = |command: &str| {
            let words = CommandLine::split(command).unwrap();
            let line = CommandLine { words, kubeconfig: "/k/c.yaml".into(), type_: "a".to_owned() };
            let command = line.command("b").unwrap();
            let arguments = command.as_std().get_args().map(|word| word.to_str().unwrap().to_owned());
            (arguments.collect::<Vec<_>>(), line.serves_any_type())
        };
        let expected = ["--kubeconfig=/k/c.yaml", "--name=two words"].map(str::to_owned).to_vec();
        assert_eq!(words("my-controller --kubeconfig=$KUBECONFIG '--name=two words'"), (expected, false));
        assert_eq!(words("my-controller --type ${TYPE}"), (vec!["--type".to_owned(), "b".to_owned()], true));
        for bad in ["", "a 'b", "a --kubeconfig=", "a -kubeconfig /home/me/.kube/config", "sh -c 'a --kubeconfig \"\"'"]
        {
            assert!(CommandLine::split(bad).is_err(), "{bad}");
        }
        for good in ["a", "a --garden-kubeconfig=/b", "sh -c 'a --kubeconfig \"$KUBECONFIG\"'"] {
            assert!(CommandLine::split(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn log_has_its_complete_lines_as_json() {
        let path = std::env::temp_dir().join(format!("conformance-log-{}", std::process::id()));
        fs::write(&path, "{\"level\":\"WARN\"}\nno JSON\n{\"level\":").unwrap();
        let lines = Log(path.clone()).lines().unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(lines, [json!({ "level": "WARN" }), json!("no JSON")]);
    }
}
