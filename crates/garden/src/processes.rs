//! The programs that run inside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gardener_testbed::process::{Process, ProcessError};
use gardener_testbed::supervisor::Supervisor;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::error::GardenError;
use crate::layout::Layout;

/// How often the programs are looked after.
const PAUSE: Duration = Duration::from_millis(250);

/// How a program is started.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The name of the process, which is that of its log.
    pub(crate) name: String,
    /// The program's name.
    pub(crate) program: String,
    /// The arguments.
    pub(crate) arguments: Vec<String>,
    /// The file that takes the place of `/etc/resolv.conf`, if it is not that of the inside.
    resolver: Option<PathBuf>,
}

/// Binds the file of its first argument over `/etc/resolv.conf`, and becomes the program of its other arguments. It needs a
/// mount namespace of its own.
const RESOLVING: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

impl Recipe {
    pub(crate) fn new(name: impl Into<String>, program: &str, arguments: Vec<String>) -> Self {
        Self { name: name.into(), program: program.to_owned(), arguments, resolver: None }
    }

    /// The program reads this file as `/etc/resolv.conf`, because each seed has a name server of its own.
    pub(crate) fn resolving_with(self, resolver: PathBuf) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(resolver) = &self.resolver {
            command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", RESOLVING]).arg(resolver).arg(program);
        }
        command.args(&self.arguments);
        command
    }
}

/// The running programs.
#[derive(Debug)]
pub(crate) struct Processes {
    supervisor: Supervisor,
    layout: Layout,
    running: Mutex<Vec<(Recipe, Process)>>,
}

impl Processes {
    pub(crate) fn new(supervisor: Supervisor, layout: Layout) -> Self {
        Self { supervisor, layout, running: Mutex::default() }
    }

    /// Starts a program.
    pub(crate) async fn start(&self, recipe: Recipe) -> Result<(), GardenError> {
        let process = self.spawn(&recipe)?;
        self.running.lock().await.push((recipe, process));
        Ok(())
    }

    /// Stops a program, and starts its file again, which may be another one meanwhile.
    pub(crate) async fn restart(&self, name: &str) -> Result<(), GardenError> {
        let mut running = self.running.lock().await;
        let names = running.iter().map(|(recipe, _)| recipe.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some((recipe, process)) = running.iter_mut().find(|(recipe, _)| recipe.name == name) else {
            return Err(GardenError::Unusable(format!("no process {name} runs here: use one of {names}")));
        };
        process.kill().await.map_err(GardenError::system(format!("end {name}")))?;
        *process = self.spawn(recipe)?;
        Ok(())
    }

    fn spawn(&self, recipe: &Recipe) -> Result<Process, GardenError> {
        let program = self.layout.programs().join(&recipe.program);
        let mut command = recipe.command(&program);
        command.current_dir(self.supervisor.folder());
        // No proxy of this machine can be reached, and KUBECONFIG would take precedence over configurations.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.supervisor.folder()).env("TMPDIR", self.supervisor.folder());
        let started = Process::start(&self.supervisor, &recipe.name, command, self.layout.log(&recipe.name));
        started.map_err(GardenError::system(format!("start {}", program.display())))
    }

    /// Returns when a program has ended by itself, with the reason.
    pub(crate) async fn unexpected_end(&self) -> ProcessError {
        loop {
            for (_, process) in &mut *self.running.lock().await {
                if let Err(error) = process.still_runs() {
                    return error;
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// The names of the running programs by their process IDs.
    pub(crate) async fn ids(&self) -> BTreeMap<i32, String> {
        let running = self.running.lock().await;
        let named = |(recipe, process): &(Recipe, Process)| Some((process.id()?.cast_signed(), recipe.name.clone()));
        running.iter().filter_map(named).collect()
    }

    /// The folder in which the programs run.
    pub(crate) fn folder(&self) -> PathBuf {
        self.supervisor.folder().to_owned()
    }
}
