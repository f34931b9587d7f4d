//! The two servers of a test bed: their flags, and when they are ready.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{
    BedError, Options, TESTBED,
    access::{Access, Credentials},
};
use crate::{assets::Assets, audit, server::Server, supervisor::Supervisor};

/// etcd insists on a TCP address to tell others, though it listens on a socket only; nobody ever dials it.
const NOWHERE: &str = "http://127.0.0.1:1";

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
        self.kube_apiserver.answers(&client, "/readyz", Some(&mut self.etcd)).await
    }

    pub(super) fn etcd_id(&self) -> Option<u32> {
        self.etcd.id()
    }

    pub(super) fn kube_apiserver_id(&self) -> Option<u32> {
        self.kube_apiserver.id()
    }

    /// Returns when both have ended, which somebody else has to bring about.
    pub(super) async fn ended(mut self) -> io::Result<()> {
        self.kube_apiserver.ended().await?;
        self.etcd.ended().await
    }
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

/// Where etcd of the bed in `folder` listens.
pub(crate) fn etcd_socket(folder: &Path) -> String {
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
        .arg(format!("--tls-cert-file={}", credentials.serving.certificate_file.display()))
        .arg(format!("--tls-private-key-file={}", credentials.serving.private_key_file.display()))
        .arg(format!("--token-auth-file={}", credentials.tokens.display()))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", credentials.service_account_public_key.display()))
        .arg(format!("--service-account-signing-key-file={}", credentials.service_account_private_key.display()))
        // So that API servers behind it believe whose request it passes on. Its certificate is its own authority.
        .arg(format!("--requestheader-client-ca-file={}", credentials.proxy.certificate_file.display()))
        .arg(format!("--proxy-client-cert-file={}", credentials.proxy.certificate_file.display()))
        .arg(format!("--proxy-client-key-file={}", credentials.proxy.private_key_file.display()))
        .arg("--requestheader-username-headers=X-Remote-User")
        .arg("--requestheader-group-headers=X-Remote-Group")
        .arg("--requestheader-extra-headers-prefix=X-Remote-Extra-")
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
