//! The controllers of the demo: started, watched, and started again when they die.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt::Write as _,
    fs::{self, OpenOptions},
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Error, Result, bail};
use futures::future::try_join_all;
use mock_testbed::bed::TestBed;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    sync::{Semaphore, mpsc::UnboundedSender},
    time::{sleep, timeout},
};

use crate::{kinds::Kind, words::last_lines};

/// A controller that ends by itself this many times before it ever was ready will not do better the next time.
const ATTEMPTS: usize = 3;

/// How long a controller may take to list its objects and be ready.
const STARTING: Duration = Duration::from_secs(30);

pub(super) struct Controllers<'a> {
    bed: &'a TestBed,
    programs: Vec<(Kind, PathBuf)>,
    /// The script for all of them.
    script: Option<PathBuf>,
    /// The kinds, as Kubernetes writes them, and their types.
    served: BTreeSet<(&'static str, String)>,
    /// One permit for each controller that has been ready.
    ready: Semaphore,
}

impl<'a> Controllers<'a> {
    pub(super) fn new(
        bed: &'a TestBed,
        programs: Vec<(Kind, PathBuf)>,
        script: Option<PathBuf>,
        served: BTreeSet<(&'static str, String)>,
    ) -> Self {
        Self { bed, programs, script, served, ready: Semaphore::new(0) }
    }

    /// Runs them; returns only if one of them cannot be made to run. `notes` hears of each that is started again.
    pub(super) async fn run(&self, notes: UnboundedSender<String>) -> Error {
        let all = self.programs.iter().map(|(kind, program)| self.keep_alive(*kind, program.clone(), notes.clone()));
        match try_join_all(all).await {
            Err(error) => error,
            // Only if there is none at all.
            Ok(_) => std::future::pending().await,
        }
    }

    /// Returns when each has been ready.
    pub(super) async fn ready(&self) {
        let count = u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
        // It is never closed.
        let _ = self.ready.acquire_many(count).await;
    }

    async fn keep_alive(&self, kind: Kind, program: PathBuf, notes: UnboundedSender<String>) -> Result<Infallible> {
        let name = kind.package();
        let mut has_been_ready = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let address = free_address().context("cannot find a free port")?;
            let log = OpenOptions::new().create(true).append(true).open(self.log(kind)).context("cannot keep a log")?;
            let mut command = Command::new(&program);
            command.arg("--kubeconfig").arg(self.bed.kubeconfig()).args(["--admin-address", &address]);
            command.args(["--log-format", "text"]).env("NO_COLOR", "1").stdin(Stdio::null());
            if let Some(script) = &self.script {
                command.arg("--script").arg(script);
            }
            for (_, spec_type) in self.served.iter().filter(|(served, _)| Kind::find(served) == Some(kind)) {
                command.args(["--type", spec_type]);
            }
            command.stdout(log.try_clone()?).stderr(log);
            let mut child = self.bed.spawn(command).with_context(|| format!("cannot start {name}"))?;
            let status = tokio::select! {
                status = child.wait() => status,
                result = timeout(STARTING, until_ready(&address)), if !has_been_ready => {
                    if result.is_err() {
                        bail!("{name} is not ready after {} s:\n{}", STARTING.as_secs(), self.last_lines(kind));
                    }
                    has_been_ready = true;
                    self.ready.add_permits(1);
                    child.wait().await
                }
            };
            let status = status.with_context(|| format!("cannot wait for {name}"))?;
            if !has_been_ready && attempts == ATTEMPTS {
                bail!("{name} does not start ({status}):\n{}", self.last_lines(kind));
            }
            // The receiver goes last of all, if it goes there is nobody left to tell.
            let _ = notes.send(format!("{name} ended ({status}): started again"));
            if status.code().is_some() {
                // It was not killed but gave up: a moment later the reason may be gone.
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    fn log(&self, kind: Kind) -> PathBuf {
        self.bed.dir().join(format!("{}.log", kind.package()))
    }

    fn last_lines(&self, kind: Kind) -> String {
        let log = fs::read(self.log(kind)).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&log))
    }

    /// What the controllers of these kinds said last.
    pub(super) fn last_words(&self, kinds: impl IntoIterator<Item = &'static str>) -> String {
        let mut text = String::new();
        for kind in kinds.into_iter().filter_map(Kind::find) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} said last:\n{}", kind.package(), self.last_lines(kind));
        }
        text
    }
}

/// If another process takes the port first, the controller ends and is started with the next one.
fn free_address() -> std::io::Result<String> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}

async fn until_ready(address: &str) {
    while !is_ready(address).await.unwrap_or(false) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// One request does not make an HTTP library worth its build.
async fn is_ready(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}
