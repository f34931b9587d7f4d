//! A set of controllers under test: five processes of ours, or whatever a command starts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow};
use futures::{
    FutureExt as _,
    future::{select_all, try_join_all},
};
use mock_testbed::supervisor::Supervisor;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{figures::Process, usage};
use crate::{kinds::Kind, words::last_lines};

/// How long one of ours may take to list what is there.
const STARTING: Duration = Duration::from_secs(600);
/// How often is looked whether one of ours is ready: not later than that it is seen.
const LOOK: Duration = Duration::from_millis(2);

/// Processes that serve; they end with this value.
pub(super) struct Fleet {
    supervisor: Supervisor,
    members: Vec<Member>,
}

/// Seconds from the start of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Until its own objects were listed.
    pub(super) listed: f64,
    /// Until it could serve them, which takes the Clusters as well.
    pub(super) ready: f64,
}

impl Start {
    pub(super) fn note(self, process: &mut Process) {
        process.listed_after = Some(self.listed);
        process.ready_after = Some(self.ready);
    }
}

/// What a fleet is made of, by the name under which it is measured.
struct Member {
    name: String,
    id: i32,
    /// A shell command may start what it likes.
    is_command: bool,
    log: PathBuf,
    /// Until it has ended.
    child: Mutex<Child>,
}

impl Member {
    fn new(name: String, is_command: bool, log: PathBuf, child: Child) -> Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.with_context(|| format!("{name} ended as it was started"))?;
        Ok(Self { name, id, is_command, log, child: Mutex::new(child) })
    }

    /// Returns when its log says that it is ready. It writes its log itself, so that nothing of it is lost and none of it
    /// costs the load generator anything.
    async fn ready(&self, started: Instant) -> Result<(String, Start)> {
        let told = async {
            let mut start = (None, None);
            loop {
                let log = fs::read(&self.log).with_context(|| format!("cannot read the log of {}", self.name))?;
                let after = started.elapsed().as_secs_f64();
                if let Some(start) = told(&String::from_utf8_lossy(&log), after, &mut start) {
                    return Ok((self.name.clone(), start));
                }
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            told = timeout(STARTING, told) => told.with_context(|| format!("{} is not ready", self.name))?,
            error = self.ended() => Err(error),
        }
    }

    /// Returns when it has ended, with what it said last.
    async fn ended(&self) -> Error {
        let status = self.child.lock().await.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let log = fs::read(&self.log).unwrap_or_default();
        match last_lines(&String::from_utf8_lossy(&log)) {
            log if log.is_empty() => anyhow!("{} ended by itself ({status}) and logged nothing", self.name),
            log => anyhow!("{} ended by itself ({status}); its log ends with:\n{log}", self.name),
        }
    }
}

impl Fleet {
    /// Our five processes. Returns when each has said that it is ready, with what it took.
    pub(super) async fn ours(
        programs: &[(Kind, PathBuf)],
        arguments: &[String],
        kubeconfig: &Path,
        logs: &Path,
    ) -> Result<(Self, Vec<(String, Start)>)> {
        let supervisor = Supervisor::start().context("cannot start the processes that watch the controllers")?;
        let (mut members, mut starts) = (Vec::new(), Vec::new());
        for (kind, program) in programs {
            let name = kind.package();
            let path = logs.join(format!("{name}.log"));
            let log = File::create(&path).context("cannot keep a log")?;
            let mut command = Command::new(program);
            command.arg("--kubeconfig").arg(kubeconfig).args(["--log-format", "json"]).args(arguments);
            command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let started = Instant::now();
            let child = supervisor.spawn(command).with_context(|| format!("cannot start {name}"))?;
            members.push(Member::new(name, false, path, child)?);
            starts.push(started);
        }
        let starting = members.iter().zip(starts).map(|(member, started)| member.ready(started));
        let ready = try_join_all(starting).await?;
        Ok((Self { supervisor, members }, ready))
    }

    /// What a shell command starts, with the kubeconfig in its environment. Nobody says when it is ready.
    pub(super) fn other(name: &str, command: &str, kubeconfig: &Path, logs: &Path) -> Result<Self> {
        let supervisor = Supervisor::start().context("cannot start the processes that watch the controllers")?;
        let path = logs.join("against.log");
        let log = File::create(&path).context("cannot keep a log")?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("KUBECONFIG", kubeconfig);
        shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = supervisor.spawn(shell).with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { supervisor, members: vec![Member::new(name.to_owned(), true, path, child)?] })
    }

    /// Returns when one of them has ended by itself, which none should.
    pub(super) async fn ended(&self) -> Error {
        let (error, ..) = select_all(self.members.iter().map(|member| member.ended().boxed())).await;
        error
    }

    /// The processes by the name under which they are measured.
    pub(super) fn processes(&self) -> Result<Vec<(String, Vec<i32>)>> {
        self.members
            .iter()
            .map(|member| {
                let all = member.is_command.then(|| usage::of_group(self.supervisor.group())).transpose()?;
                Ok((member.name.clone(), all.unwrap_or_else(|| vec![member.id])))
            })
            .collect()
    }

    /// CPU time of all of them so far, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        Ok(self.processes()?.iter().map(|(_, processes)| usage::cpu_of(processes)).sum())
    }

    /// Ends them and returns when they are gone.
    pub(super) async fn stop(self) -> Result<()> {
        self.supervisor.stop().await.context("cannot end the controllers")
    }
}

/// When a log began to say that its process has listed its objects and is ready; none as long as it does not say both.
fn told(log: &str, after: f64, start: &mut (Option<f64>, Option<f64>)) -> Option<Start> {
    for (message, said) in [("listed", &mut start.0), ("ready", &mut start.1)] {
        if said.is_none() && log.contains(&format!(r#""message":"{message}""#)) {
            *said = Some(after);
        }
    }
    start.0.zip(start.1).map(|(listed, ready)| Start { listed, ready })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_over_when_both_were_said() {
        let mut start = (None, None);
        assert!(told(r#"{"message":"serving"}"#, 1.0, &mut start).is_none());
        assert!(told(r#"{"message":"serving"} {"message":"listed"}"#, 2.0, &mut start).is_none());
        let Start { listed, ready } = told(r#"{"message":"listed"} {"message":"ready"}"#, 3.0, &mut start).unwrap();
        assert!((listed, ready) == (2.0, 3.0));
    }
}
