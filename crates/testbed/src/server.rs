//! A server of a test bed: its port, its process, the file its output goes to, and when it is ready.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kube::Client;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{bed::BedError, supervisor::Supervisor};

/// Another process may take a port between the moment it was found free and the moment it is used.
const START_ATTEMPTS: usize = 5;

/// Far more than a loaded machine needs; a server that cannot start ends by itself much earlier.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
const LOG_LINES: usize = 8;

/// Starts something on a port that was free a moment ago, and on another one if it is not any more.
pub(crate) async fn on_a_free_port<T>(start: impl AsyncFn(u16) -> Result<T, BedError>) -> Result<T, BedError> {
    let attempt = async || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let port = listener.and_then(|listener| Ok(listener.local_addr()?.port()));
        start(port.map_err(BedError::system("find a free port"))?).await
    };
    for _ in 1..START_ATTEMPTS {
        match attempt().await {
            Err(error) if error.is_port_taken() => {}
            result => return result,
        }
    }
    attempt().await
}

/// A process and the file its output goes to.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Server {
    pub(crate) fn spawn(name: &'static str, supervisor: &Supervisor, mut command: Command) -> Result<Self, BedError> {
        let log = supervisor.folder().join(format!("{name}.log"));
        let file = File::create(&log).map_err(BedError::system(format_args!("write {}", log.display())))?;
        let same_file = file.try_clone().map_err(BedError::system(format_args!("write {}", log.display())))?;
        let program = command.as_std().get_program().to_owned();
        command.current_dir(supervisor.folder()).stdin(Stdio::null()).stdout(file).stderr(same_file);
        let process = supervisor
            .spawn(command)
            .map_err(BedError::system(format_args!("start {}", Path::new(&program).display())))?;
        Ok(Self { name, process, log })
    }

    /// Returns when `client` gets a good answer at `path`, which is this server's to give, or when this server or one
    /// that it needs has ended.
    pub(crate) async fn answers(
        &mut self,
        client: &Client,
        path: &str,
        mut needs: Option<&mut Self>,
    ) -> Result<(), BedError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(needs) = &mut needs {
                needs.still_runs()?;
            }
            self.still_runs()?;
            match get(client, path).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(BedError::NotReady {
                        server: self.name,
                        after: READY_WITHIN,
                        reason: format!("{path}: {error}"),
                        log: self.log_end(),
                    });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Its process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Returns when it has ended, which somebody else has to bring about.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        self.process.wait().await.map(drop)
    }

    fn still_runs(&mut self) -> Result<(), BedError> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(BedError::Exited { server: self.name, status, log: self.log_end() }),
            Err(error) => Err(BedError::system(format_args!("watch {}", self.name))(error)),
        }
    }

    fn log_end(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }
}

async fn get(client: &Client, path: &str) -> kube::Result<String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}
