//! One container that really runs: stands for the part of a kubelet and of a container runtime that starts a program,
//! collects its output, and restarts it. Restarts come after 1 to 10 s, where a kubelet waits for 10 s to 5 min. Leaves
//! out resources, lifecycle hooks, and ending for good: every container is restarted.

use std::fs::File;
use std::future::pending;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, Probe,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{Timestamp, TimestampRound, Unit};
use mock_hollow::pod::View;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::prober::{Prober, Readiness};

/// The first pause before a restart, and the longest one.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// A container that ran for this long starts again with the first pause.
const STEADY: Duration = Duration::from_secs(60);

/// What is needed to run a container again and again.
pub(crate) struct Container {
    /// Makes the command.
    pub(crate) command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Where its output goes.
    pub(crate) log: File,
    /// The probe that decides about its readiness, and who asks.
    pub(crate) probe: Option<(Probe, Prober)>,
    /// How long it may take to end after SIGTERM.
    pub(crate) grace: Duration,
    /// Called after each change of its view.
    pub(crate) changed: Arc<dyn Fn() + Send + Sync>,
}

impl Container {
    /// Runs the container until it is stopped.
    pub(crate) async fn run(self, view: watch::Sender<View>, stop: CancellationToken) {
        let mut backoff = BACKOFF.0;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let started = now();
            match self.start() {
                Ok(mut child) => {
                    self.set(&view, |view| {
                        view.state = running(&started);
                        view.ready = self.probe.is_none();
                    });
                    let end = tokio::select! {
                        end = child.wait() => end.ok(),
                        () = self.watch_readiness(&view) => None,
                        () = stop.cancelled() => return terminate(child, self.grace).await,
                    };
                    self.set(&view, |view| {
                        view.last = terminated(end, &started);
                        view.state = waiting("CrashLoopBackOff", "the program ended");
                        view.ready = false;
                        view.restarts += 1;
                    });
                }
                Err(error) => self.set(&view, |view| view.state = waiting("RunContainerError", &error.to_string())),
            }
            backoff = if begun.elapsed() > STEADY { BACKOFF.0 } else { backoff };
            tokio::select! {
                () = sleep(backoff) => {}
                () = stop.cancelled() => {}
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn start(&self) -> Result<Child, Error> {
        let failed = || Error::io("write the log of", "the container");
        let log = || self.log.try_clone();
        let mut command = (self.command)();
        command.stdout(log().map_err(failed())?).stderr(log().map_err(failed())?);
        command.spawn().map_err(Error::io("start", "the container"))
    }

    /// Keeps the readiness up to date for ever.
    async fn watch_readiness(&self, view: &watch::Sender<View>) {
        let Some((probe, prober)) = &self.probe else { return pending().await };
        let mut readiness = Readiness::default();
        loop {
            readiness = readiness.after(prober.passes().await, probe);
            if view.borrow().ready != readiness.ready {
                self.set(view, |view| view.ready = readiness.ready);
            }
            sleep(readiness.pause(probe)).await;
        }
    }

    fn set(&self, view: &watch::Sender<View>, change: impl FnOnce(&mut View)) {
        view.send_modify(change);
        (self.changed)();
    }
}

/// Ends a process: SIGTERM, and SIGKILL after the grace period.
async fn terminate(mut child: Child, grace: Duration) {
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process {
        // Fails only if the process has just ended.
        let _ = kill_process(process, Signal::TERM);
    }
    if timeout(grace, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// This second. Times of Kubernetes have no fractions.
pub(crate) fn now() -> Time {
    let now = Timestamp::now();
    Time(
        now.round(TimestampRound::new().smallest(Unit::Second).mode(k8s_openapi::jiff::RoundMode::Trunc))
            .unwrap_or(now),
    )
}

fn running(started: &Time) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(started.clone()) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message: Some(message.to_owned()) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(end: Option<ExitStatus>, started: &Time) -> ContainerState {
    use std::os::unix::process::ExitStatusExt as _;

    let code = end.and_then(|end| end.code());
    let terminated = ContainerStateTerminated {
        exit_code: code.unwrap_or(128 + end.and_then(|end| end.signal()).unwrap_or_default()),
        signal: end.and_then(|end| end.signal()),
        reason: Some(if code == Some(0) { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(started.clone()),
        finished_at: Some(now()),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container that runs a shell script, its view, and what stops it.
    fn start(script: &'static str) -> (watch::Receiver<View>, CancellationToken, tokio::task::JoinHandle<()>) {
        let container = Container {
            command: Box::new(move || {
                let mut command = Command::new("sh");
                command.args(["-c", script]).kill_on_drop(true);
                command
            }),
            log: tempfile::tempfile().unwrap(),
            probe: None,
            grace: Duration::from_secs(5),
            changed: Arc::new(|| {}),
        };
        let (sender, receiver) = watch::channel(View::default());
        let stop = CancellationToken::new();
        (receiver, stop.clone(), tokio::spawn(container.run(sender, stop)))
    }

    #[tokio::test]
    async fn program_that_fails_is_restarted_and_its_exit_code_reported() {
        let (mut view, stop, task) = start("exit 3");
        let view = view.wait_for(|view| view.restarts == 2).await.unwrap().clone();
        assert_eq!(view.last.terminated.unwrap().exit_code, 3);
        assert!(!view.ready);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn container_without_probe_is_ready_while_it_runs_and_ends_when_stopped() {
        let (mut view, stop, task) = start("exec sleep 1000");
        let view = view.wait_for(|view| view.ready).await.unwrap().clone();
        assert!(view.state.running.is_some());
        stop.cancel();
        task.await.unwrap();
    }
}
