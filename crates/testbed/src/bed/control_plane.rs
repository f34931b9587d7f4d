//! The two servers of a test bed: their flags, and when they are ready.

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

use super::{
    BedError, Options, TESTBED,
    access::{Access, Credentials},
};
use crate::{assets::Assets, audit, supervisor::Supervisor};

/// Far more than a loaded machine needs; a server that cannot start ends by itself much earlier.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
const LOG_LINES: usize = 8;

/// etcd insists on a TCP address to tell others, though it listens on a socket only; nobody ever dials it.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A port that was free a moment ago.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Where the API server of the bed in `folder` writes its audit log.
pub(super) fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

/// etcd and kube-apiserver.
#[derive(Debug)]
pub(super) struct ControlPlane {
    etcd: Server,
    kube_apiserver: Server,
}

impl ControlPlane {
    /// Starts both at once: the API server needs longer to get ready to talk to etcd than etcd to answer.
    pub(super) fn spawn(
        supervisor: &Supervisor,
        assets: &Assets,
        options: &Options,
        access: &Access,
        port: u16,
    ) -> Result<Self, BedError> {
        let folder = supervisor.folder();
        let etcd = etcd(&assets.etcd, options, folder);
        let kube_apiserver = kube_apiserver(&assets.kube_apiserver, options, access.credentials(), folder, port)
            .map_err(BedError::system("write the audit policy"))?;
        Ok(Self {
            etcd: Server::spawn("etcd", supervisor, etcd)?,
            kube_apiserver: Server::spawn("kube-apiserver", supervisor, kube_apiserver)?,
        })
    }

    /// Returns when the API server says that it is ready.
    pub(super) async fn ready(&mut self, access: &Access) -> Result<(), BedError> {
        let client = access.impatient_client(TESTBED).await?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.etcd.still_runs()?;
            self.kube_apiserver.still_runs()?;
            match readyz(&client).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(BedError::NotReady {
                        after: READY_WITHIN,
                        reason: error.to_string(),
                        log: self.kube_apiserver.log_end(),
                    });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Returns when both have ended, which somebody else has to bring about.
    pub(super) async fn ended(mut self) -> io::Result<()> {
        self.kube_apiserver.process.wait().await?;
        self.etcd.process.wait().await?;
        Ok(())
    }
}

async fn readyz(client: &Client) -> kube::Result<String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

/// Sockets instead of ports: etcd asks nobody for a password, and the folder is closed to other users.
fn etcd(program: &Path, options: &Options, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg("--unsafe-no-fsync")
        // In ms. The only member waits one election timeout before it elects itself; the default is a second.
        .arg("--heartbeat-interval=10")
        .arg("--election-timeout=50")
        .arg(format!("--listen-client-urls={}", etcd_socket(folder)))
        .arg(format!("--listen-peer-urls=unix://{}", folder.join("peer.sock").display()))
        .arg(format!("--advertise-client-urls={NOWHERE}"))
        .arg(format!("--initial-advertise-peer-urls={NOWHERE}"))
        .arg(format!("--initial-cluster=default={NOWHERE}"));
    if let Some(bytes) = options.etcd_quota_bytes {
        command.arg(format!("--quota-backend-bytes={bytes}"));
    }
    command
}

fn etcd_socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("etcd.sock").display())
}

fn kube_apiserver(
    program: &Path,
    options: &Options,
    credentials: &Credentials,
    folder: &Path,
    port: u16,
) -> io::Result<Command> {
    let mut command = Command::new(program);
    command
        .arg(format!("--etcd-servers={}", etcd_socket(folder)))
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--secure-port={port}"))
        // Otherwise it looks for a network interface, and does not start on a machine without network.
        .arg("--advertise-address=127.0.0.1")
        .arg("--endpoint-reconciler-type=none")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg(format!("--tls-cert-file={}", credentials.certificate.display()))
        .arg(format!("--tls-private-key-file={}", credentials.private_key.display()))
        .arg(format!("--token-auth-file={}", credentials.tokens.display()))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", credentials.service_account_public_key.display()))
        .arg(format!("--service-account-signing-key-file={}", credentials.service_account_private_key.display()))
        // It waits for a token controller that is not there.
        .arg("--disable-admission-plugins=ServiceAccount")
        .arg("--profiling=false");
    if options.audit {
        let policy = folder.join("audit-policy.yaml");
        fs::write(&policy, audit::POLICY)?;
        command
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", audit_log(folder).display()))
            .arg("--audit-log-mode=blocking")
            // In MB; with the default of 100 the log would be moved away under its reader.
            .arg("--audit-log-maxsize=1000000");
    }
    command.args(&options.apiserver_flags);
    Ok(command)
}

/// A process and the file its output goes to.
#[derive(Debug)]
struct Server {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Server {
    fn spawn(name: &'static str, supervisor: &Supervisor, mut command: Command) -> Result<Self, BedError> {
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
