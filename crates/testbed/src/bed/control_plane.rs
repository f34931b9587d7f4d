//! The servers of a test bed, etcd and kube-apiserver: their flags, and the wait until they are ready.

use std::path::{Path, PathBuf};
use std::{fs, io};

use tokio::process::Command;

use super::access::{Access, Credentials};
use super::options::{Options, TESTBED};
use crate::assets::Assets;
use crate::audit;
use crate::error::BedError;
use crate::server::Server;
use crate::supervisor::Supervisor;

/// etcd requires a TCP address to advertise, although it listens on sockets only. No client uses this address.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The audit log of the API server whose test bed is in `folder`.
pub(super) fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

/// One of the two servers of a test bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    KubeApiserver,
}

/// etcd and kube-apiserver.
#[derive(Debug)]
pub(super) struct ControlPlane {
    etcd: Server,
    kube_apiserver: Server,
    recipe: Recipe,
}

/// What the command lines of both servers follow from.
#[derive(Debug)]
struct Recipe {
    assets: Assets,
    options: Options,
    port: u16,
}

impl Recipe {
    fn spawn(&self, member: Member, supervisor: &Supervisor, access: &Access) -> Result<Server, BedError> {
        let Self { assets, options, port } = self;
        let folder = supervisor.folder();
        match member {
            Member::Etcd => Server::spawn("etcd", supervisor, etcd(&assets.etcd, options, folder)),
            Member::KubeApiserver => {
                let credentials = access.credentials();
                let command = kube_apiserver(&assets.kube_apiserver, options, credentials, folder, *port)
                    .map_err(BedError::failed("write the audit policy"))?;
                Server::spawn("kube-apiserver", supervisor, command)
            }
        }
    }
}

impl ControlPlane {
    /// Starts both at once: etcd answers before the API server needs it.
    pub(super) fn spawn(
        supervisor: &Supervisor,
        assets: &Assets,
        options: &Options,
        access: &Access,
        port: u16,
    ) -> Result<Self, BedError> {
        let recipe = Recipe { assets: assets.clone(), options: options.clone(), port };
        Ok(Self {
            etcd: recipe.spawn(Member::Etcd, supervisor, access)?,
            kube_apiserver: recipe.spawn(Member::KubeApiserver, supervisor, access)?,
            recipe,
        })
    }

    /// Starts a server again that has ended, on the same port and with the same data.
    pub(super) fn start_again(
        &mut self,
        member: Member,
        supervisor: &Supervisor,
        access: &Access,
    ) -> Result<(), BedError> {
        *self.server(member) = self.recipe.spawn(member, supervisor, access)?;
        Ok(())
    }

    /// The server.
    pub(super) const fn server(&mut self, member: Member) -> &mut Server {
        match member {
            Member::Etcd => &mut self.etcd,
            Member::KubeApiserver => &mut self.kube_apiserver,
        }
    }

    /// Returns when the API server is ready.
    pub(super) async fn ready(&mut self, access: &Access) -> Result<(), BedError> {
        let client = access.client_without_retries(TESTBED).await?;
        self.kube_apiserver.answers(&client, "/readyz", Some(&mut self.etcd)).await
    }

    pub(super) fn etcd_id(&self) -> Option<u32> {
        self.etcd.id()
    }

    pub(super) fn kube_apiserver_id(&self) -> Option<u32> {
        self.kube_apiserver.id()
    }

    /// Waits until both servers have exited. The caller kills them.
    pub(super) async fn exited(mut self) -> io::Result<()> {
        self.kube_apiserver.ended().await?;
        self.etcd.ended().await
    }
}

/// The address of a test bed's etcd. It is relative, because the path of a socket may have 107 bytes, and `TMPDIR` may be
/// long. Every server runs in the test bed's folder.
pub(crate) const ETCD_SOCKET: &str = "unix://etcd.sock";

/// etcd listens on sockets instead of ports. It does not authenticate clients, and only this user can enter the folder.
fn etcd(program: &Path, options: &Options, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg("--unsafe-no-fsync")
        // In ms. The only member waits one election timeout before it elects itself. The default is 1000.
        .arg("--heartbeat-interval=10")
        .arg("--election-timeout=50")
        .arg(format!("--listen-client-urls={ETCD_SOCKET}"))
        .arg("--listen-peer-urls=unix://peer.sock")
        .arg(format!("--advertise-client-urls={NOWHERE}"))
        .arg(format!("--initial-advertise-peer-urls={NOWHERE}"))
        .arg(format!("--initial-cluster=default={NOWHERE}"));
    if let Some(bytes) = options.etcd_quota_bytes {
        command.arg(format!("--quota-backend-bytes={bytes}"));
    }
    command
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
        .arg(format!("--etcd-servers={ETCD_SOCKET}"))
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--secure-port={port}"))
        // Otherwise the API server looks for a network interface, and fails to start on a machine without network.
        .arg("--advertise-address=127.0.0.1")
        .arg("--endpoint-reconciler-type=none")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg(format!("--tls-cert-file={}", credentials.serving.file.display()))
        .arg(format!("--tls-private-key-file={}", credentials.serving.private_key_file.display()))
        .arg(format!("--token-auth-file={}", credentials.tokens.display()))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", credentials.service_account_public_key.display()))
        .arg(format!("--service-account-signing-key-file={}", credentials.service_account_private_key.display()))
        // With these flags, aggregated API servers trust kube-apiserver to name the user of a forwarded request. The
        // certificate is self-signed, and is therefore also the client CA.
        .arg(format!("--requestheader-client-ca-file={}", credentials.proxy.file.display()))
        .arg(format!("--proxy-client-cert-file={}", credentials.proxy.file.display()))
        .arg(format!("--proxy-client-key-file={}", credentials.proxy.private_key_file.display()))
        .arg("--requestheader-username-headers=X-Remote-User")
        .arg("--requestheader-group-headers=X-Remote-Group")
        .arg("--requestheader-extra-headers-prefix=X-Remote-Extra-")
        // This plugin waits for a token controller, which a test bed does not run.
        .arg("--disable-admission-plugins=ServiceAccount")
        .arg("--profiling=false");
    if options.audit {
        let policy = folder.join("audit-policy.yaml");
        fs::write(&policy, audit::POLICY)?;
        command
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", audit_log(folder).display()))
            .arg("--audit-log-mode=blocking")
            // In MB. At the default of 100, the API server would rotate the log while tests read it.
            .arg("--audit-log-maxsize=1000000");
    }
    command.args(&options.apiserver_flags);
    Ok(command)
}
