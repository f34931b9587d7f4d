//! A server of a test bed: a [`Process`] that answers requests once it is ready.

use std::io;
use std::path::Path;
use std::time::Duration;

use kube::Client;
use tokio::process::Command;

use crate::error::BedError;
use crate::port;
use crate::process::{Process, ProcessError};
use crate::supervisor::Supervisor;

/// Limit for a server to become ready. It is far more than a loaded machine needs; a server that cannot start ends much
/// earlier.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Starts servers on a free port, and again on another port if the port was taken meanwhile.
pub(crate) async fn on_a_free_port<T>(start: impl AsyncFn(u16) -> Result<T, BedError>) -> Result<T, BedError> {
    let start = async |port| start(port).await.map_err(Attempt::Server);
    let taken = |attempt: &Attempt| matches!(attempt, Attempt::Server(error) if error.is_port_taken());
    port::with_free(start, taken).await.map_err(|attempt| match attempt {
        Attempt::Port(error) => BedError::failed("find a free port")(error),
        Attempt::Server(error) => error,
    })
}

/// Why a server does not run on a free port.
enum Attempt {
    Port(io::Error),
    Server(BedError),
}

impl From<io::Error> for Attempt {
    fn from(error: io::Error) -> Self {
        Self::Port(error)
    }
}

/// A server whose log is in the supervisor's folder.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    process: Process,
}

impl Server {
    pub(crate) fn spawn(name: &'static str, supervisor: &Supervisor, mut command: Command) -> Result<Self, BedError> {
        let log = supervisor.folder().join(format!("{name}.log"));
        let program = command.as_std().get_program().to_owned();
        command.current_dir(supervisor.folder());
        let process = Process::start(supervisor, name, command, log)
            .map_err(BedError::failed(format_args!("start {}", Path::new(&program).display())))?;
        Ok(Self { name, process })
    }

    /// Returns when this server answers `client` at `path` with success. Fails when this server ends, or one that it
    /// needs.
    pub(crate) async fn answers(
        &mut self,
        client: &Client,
        path: &str,
        mut needs: Option<&mut Self>,
    ) -> Result<(), BedError> {
        let name = self.name;
        let mut needed = Ok(());
        let check = async || {
            if let Some(needs) = &mut needs {
                needed = needs.process.still_runs().map_err(|error| bed_error(needs.name, error));
            }
            if needed.is_err() {
                return Ok(());
            }
            get(client, path).await.map(drop).map_err(|error| format!("{path}: {error}"))
        };
        let answered = self.process.until(READY_WITHIN, POLL, check).await;
        needed.and(answered.map_err(|error| bed_error(name, error)))
    }

    /// The process ID, while the server runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The process of the server.
    pub(crate) const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns when the server has ended. Does not stop it.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        self.process.ended().await.map(drop)
    }
}

fn bed_error(server: &'static str, error: ProcessError) -> BedError {
    match error {
        ProcessError::Ended { status, log, .. } => BedError::Exited { server, status, log },
        ProcessError::Late { reason, after, log, .. } => BedError::NotReady { server, after, reason, log },
        ProcessError::System { doing, source } => BedError::failed(doing)(source),
    }
}

async fn get(client: &Client, path: &str) -> kube::Result<String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}
