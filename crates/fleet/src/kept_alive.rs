//! Controllers that are started again when they end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use futures::future::try_join_all;
use gardener_testbed::bed::TestBed;
use gardener_testbed::process::{ProcessError, last_lines};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use crate::controller::Controller;
use crate::kinds::Package;
use crate::log;

/// How often a controller is started that ends before it is ready.
const ATTEMPTS: usize = 3;

/// Limit for a controller to become ready.
const STARTING: Duration = Duration::from_secs(30);

/// Pause before a controller is started again that ended by itself.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Controllers on a test bed that are started again when they end.
pub struct KeptAlive<'a> {
    bed: &'a TestBed,
    programs: Vec<(Package, PathBuf)>,
    /// The script for all controllers.
    script: Option<PathBuf>,
    /// Kinds, as Kubernetes writes them, and the types that are served of them.
    served: BTreeSet<(&'static str, String)>,
    /// One permit for each controller that has been ready.
    ready: Semaphore,
}

impl<'a> KeptAlive<'a> {
    /// Takes what [`KeptAlive::run`] starts. `served` holds kinds, as Kubernetes writes them, and the values of
    /// `spec.type` that their controllers serve.
    #[must_use]
    pub fn new(
        bed: &'a TestBed,
        programs: Vec<(Package, PathBuf)>,
        script: Option<PathBuf>,
        served: BTreeSet<(&'static str, String)>,
    ) -> Self {
        Self { bed, programs, script, served, ready: Semaphore::new(0) }
    }

    /// Runs all controllers. Returns only if one of them does not get ready. Sends a line to `notes` for each
    /// controller that is started again.
    pub async fn run(&self, notes: UnboundedSender<String>) -> Error {
        let all = self.programs.iter().map(|(package, program)| self.keep_alive(*package, program, &notes));
        match try_join_all(all).await {
            Err(error) => error,
            // Only if there are no controllers.
            Ok(_) => std::future::pending().await,
        }
    }

    /// Returns when each controller has been ready.
    pub async fn ready(&self) {
        let count = u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
        // Fails only if the semaphore is closed, which it never is.
        let _ = self.ready.acquire_many(count).await;
    }

    async fn keep_alive(
        &self,
        package: Package,
        program: &Path,
        notes: &UnboundedSender<String>,
    ) -> Result<Infallible> {
        let name = package.full_name();
        let (kubeconfig, arguments) = (self.bed.kubeconfig(), self.arguments(package)?);
        let mut has_been_ready = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let log = self.log(package);
            let mut controller =
                Controller::start(self.bed.supervisor(), package, program, kubeconfig, &arguments, log)?;
            if !has_been_ready {
                match controller.ready(STARTING).await {
                    Ok(_) => {
                        has_been_ready = true;
                        self.ready.add_permits(1);
                    }
                    Err(error @ ProcessError::Ended { .. }) if attempts == ATTEMPTS => {
                        bail!("{name} was started {ATTEMPTS} times and never got ready: {error}");
                    }
                    Err(ProcessError::Ended { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let status = controller.ended().await.with_context(|| format!("cannot wait for {name}"))?;
            // Fails if the receiver was dropped, which means that the notes are not shown any more.
            let _ = notes.send(format!("{name} ended ({status}): started again"));
            if status.code().is_some() {
                // No signal ended it: it gave up, and a moment later the reason may be gone.
                sleep(RESTART_PAUSE).await;
            }
        }
    }

    fn arguments(&self, package: Package) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        if let Some(script) = &self.script {
            let script = script.to_str().with_context(|| format!("the path {} is not UTF-8", script.display()))?;
            arguments.extend(["--script".to_owned(), script.to_owned()]);
        }
        for (_, spec_type) in self.served.iter().filter(|(kind, _)| Package::find(kind) == Some(package)) {
            arguments.extend(["--type".to_owned(), spec_type.clone()]);
        }
        Ok(arguments)
    }

    fn log(&self, package: Package) -> PathBuf {
        self.bed.dir().join(format!("{}.log", package.full_name()))
    }

    /// The end of the logs of the controllers that serve these kinds, as text.
    pub fn log_ends(&self, kinds: impl IntoIterator<Item = &'static str>) -> String {
        let mut text = String::new();
        for package in kinds.into_iter().filter_map(Package::find) {
            let log = fs::read(self.log(package)).unwrap_or_default();
            let end = log::readable(&last_lines(&String::from_utf8_lossy(&log)));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "the log of {} ends with:\n{end}", package.full_name());
        }
        text
    }
}
