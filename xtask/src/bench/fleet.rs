//! A set of controllers under test: five processes of ours, or whatever a command starts.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use mock_testbed::supervisor::Supervisor;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use super::usage;
use crate::kinds::Kind;

/// How long one of ours may take to list what is there.
const STARTING: Duration = Duration::from_secs(600);

/// Processes that serve; they end with this value.
pub(super) struct Fleet {
    supervisor: Supervisor,
    members: Vec<Member>,
}

/// What a fleet is made of, by the name under which it is measured.
struct Member {
    name: String,
    /// None for a command, which may start what it likes.
    child: Option<Child>,
}

impl Fleet {
    /// Our five processes. Returns when each has said that it is ready, with the seconds it took.
    pub(super) async fn ours(
        programs: &[(Kind, PathBuf)],
        arguments: &[String],
        kubeconfig: &Path,
        logs: &Path,
    ) -> Result<(Self, Vec<(String, f64)>)> {
        let supervisor = Supervisor::start().context("cannot start the processes that watch the controllers")?;
        let (mut members, mut starting) = (Vec::new(), Vec::new());
        for (kind, program) in programs {
            let name = kind.package();
            let log = File::create(logs.join(format!("{name}.log"))).context("cannot keep a log")?;
            let mut command = Command::new(program);
            command.arg("--kubeconfig").arg(kubeconfig).args(["--log-format", "json"]).args(arguments);
            command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let started = Instant::now();
            let mut child = supervisor.spawn(command).with_context(|| format!("cannot start {name}"))?;
            let said = child.stderr.take().context("a controller has no standard error")?;
            starting.push((name.clone(), tokio::spawn(ready(said, tokio::fs::File::from_std(log), started))));
            members.push(Member { name, child: Some(child) });
        }
        let mut ready = Vec::new();
        for (name, waiting) in starting {
            let answer = timeout(STARTING, waiting).await.with_context(|| format!("{name} does not get ready"))??;
            ready.push((name.clone(), answer.with_context(|| format!("{name} ended while it was starting"))?));
        }
        Ok((Self { supervisor, members }, ready))
    }

    /// What a shell command starts, with the kubeconfig in its environment. Nobody says when it is ready.
    pub(super) fn other(name: &str, command: &str, kubeconfig: &Path, logs: &Path) -> Result<Self> {
        let supervisor = Supervisor::start().context("cannot start the processes that watch the controllers")?;
        let log = File::create(logs.join("against.log")).context("cannot keep a log")?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("KUBECONFIG", kubeconfig);
        shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        supervisor.spawn(shell).with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { supervisor, members: vec![Member { name: name.to_owned(), child: None }] })
    }

    /// The processes by the name under which they are measured.
    pub(super) fn processes(&self) -> Result<Vec<(String, Vec<i32>)>> {
        self.members
            .iter()
            .map(|member| {
                let processes = match &member.child {
                    Some(child) => child.id().and_then(|id| i32::try_from(id).ok()).into_iter().collect(),
                    None => usage::of_group(self.supervisor.group())?,
                };
                if processes.is_empty() {
                    bail!("{} has ended by itself", member.name);
                }
                Ok((member.name.clone(), processes))
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

/// Returns the seconds until the controller said that it is ready; keeps its log as long as it has something to say.
async fn ready(said: ChildStderr, mut log: tokio::fs::File, started: Instant) -> Option<f64> {
    let mut lines = BufReader::new(said).lines();
    let mut ready = None;
    while ready.is_none() {
        let line = lines.next_line().await.ok()??;
        if line.contains(r#""message":"ready""#) {
            ready = Some(started.elapsed().as_secs_f64());
        }
        log.write_all(format!("{line}\n").as_bytes()).await.ok()?;
    }
    tokio::spawn(async move {
        // Bytes without looking at them: what is said for each object must cost the load generator nothing.
        let _ = tokio::io::copy_buf(&mut lines.into_inner(), &mut log).await;
    });
    ready
}
