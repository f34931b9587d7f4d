//! Controllers under measurement: ours, or those that a shell command starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use futures::FutureExt as _;
use futures::future::{select_all, try_join_all};
use gardener_testbed::process::Process;
use gardener_testbed::supervisor::Supervisor;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::controller::{Controller, StartTimes};
use crate::kinds::Package;

/// Limit for one of our controllers to become ready. Tens of thousands of objects take minutes.
const LISTING: Duration = Duration::from_secs(600);

/// Running controllers. They are killed when this value is dropped.
pub struct Fleet {
    supervisor: Supervisor,
    members: Vec<Member>,
}

/// The processes of a member of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// The process with this ID.
    One(i32),
    /// All processes of the process group with this ID.
    Group(i32),
}

/// A controller, or all processes of a shell command.
struct Member {
    name: String,
    processes: Processes,
    /// Locked until the process has ended.
    running: Mutex<Running>,
}

enum Running {
    Controller(Controller),
    Command(Process),
}

impl Member {
    fn new(running: Running, group: Option<i32>) -> Result<Self> {
        let (name, id) = match &running {
            Running::Controller(controller) => (controller.name().to_owned(), controller.id()),
            Running::Command(process) => (process.name().to_owned(), process.id()),
        };
        let id = id.and_then(|id| i32::try_from(id).ok()).with_context(|| format!("{name} ended at its start"))?;
        let processes = group.map_or(Processes::One(id), Processes::Group);
        Ok(Self { name, processes, running: Mutex::new(running) })
    }

    async fn ended(&self) -> Error {
        let error = match &mut *self.running.lock().await {
            Running::Controller(controller) => controller.unexpected_end().await,
            Running::Command(process) => process.unexpected_end().await,
        };
        error.into()
    }
}

impl Fleet {
    /// Starts our controllers with these arguments, and returns when all of them are ready. Returns also how long each
    /// took to start, by name. Logs go to files in the folder `logs`.
    pub async fn ours(
        programs: &[(Package, PathBuf)],
        arguments: &[String],
        kubeconfig: &Path,
        logs: &Path,
    ) -> Result<(Self, Vec<(String, StartTimes)>)> {
        let supervisor = supervisor()?;
        let mut controllers = Vec::new();
        for (package, program) in programs {
            let log = logs.join(format!("{}.log", package.full_name()));
            controllers.push(Controller::start(&supervisor, *package, program, kubeconfig, arguments, log)?);
        }
        let starting = controllers.iter_mut().map(async |controller| {
            let times = controller.ready(LISTING).await?;
            Ok::<_, Error>((controller.name().to_owned(), times))
        });
        let times = try_join_all(starting).await?;
        let members = controllers.into_iter().map(|controller| Member::new(Running::Controller(controller), None));
        Ok((Self { supervisor, members: members.collect::<Result<_>>()? }, times))
    }

    /// Starts a shell command, with the kubeconfig in the variable `KUBECONFIG`. Returns at once: when other
    /// controllers are ready is not known. The log goes to a file in the folder `logs`.
    pub fn other(name: &str, command: &str, kubeconfig: &Path, logs: &Path) -> Result<Self> {
        let supervisor = supervisor()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("KUBECONFIG", kubeconfig);
        let process = Process::start(&supervisor, name, shell, logs.join("against.log"));
        let process = process.with_context(|| format!("cannot start {command:?}"))?;
        let member = Member::new(Running::Command(process), Some(supervisor.group()))?;
        Ok(Self { supervisor, members: vec![member] })
    }

    /// Returns when one of the processes has ended.
    pub async fn ended(&self) -> Error {
        let (error, ..) = select_all(self.members.iter().map(|member| member.ended().boxed())).await;
        error
    }

    /// The names of the members, and their processes.
    pub fn members(&self) -> impl Iterator<Item = (&str, Processes)> {
        self.members.iter().map(|member| (member.name.as_str(), member.processes))
    }

    /// Kills all processes and returns when they are gone.
    pub async fn stop(self) -> Result<()> {
        self.supervisor.stop().await.context("cannot end the controllers")
    }
}

fn supervisor() -> Result<Supervisor> {
    Supervisor::start().context("cannot start the supervisor of the controllers")
}
