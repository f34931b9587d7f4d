//! A test bed: a real etcd and kube-apiserver with Gardener's custom resource definitions, on this machine and for this
//! user only.

mod access;
mod control_plane;
mod crds;
mod options;

use std::path::{Path, PathBuf};
use std::{fmt, io};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use self::access::Access;
use self::control_plane::ControlPlane;
pub(crate) use self::control_plane::ETCD_SOCKET;
pub use self::control_plane::Member;
pub use self::options::{ADMIN, Options, TESTBED};
use crate::assets::Assets;
use crate::audit::Audit;
pub use crate::error::BedError;
use crate::janitor;
use crate::manifests::{self, Mode};
use crate::server::{Server, on_a_free_port};
use crate::supervisor::Supervisor;
use crate::workspace;

/// The namespace of every seed for what is not of a Shoot (`pkg/apis/core/v1beta1/constants/types_constants.go`).
pub const GARDEN: &str = "garden";

/// A running etcd and kube-apiserver that serve Gardener's extension kinds, with a [`janitor`].
///
/// Several test beds can run side by side. Processes and files end with the bed. They also end with this process, even
/// after SIGKILL.
pub struct TestBed {
    client: Client,
    access: Access,
    audit: Option<Audit>,
    // Rust drops fields in this order: clients before the servers that answer them.
    janitor: Option<AbortOnDropHandle<()>>,
    control_plane: Mutex<ControlPlane>,
    supervisor: Supervisor,
}

impl TestBed {
    /// Starts the servers. Returns when the API server serves Gardener's custom resources and has the namespace
    /// [`GARDEN`], usually within 4 s.
    pub async fn start(assets: &Assets, options: Options) -> Result<Self, BedError> {
        on_a_free_port(async |port| Self::try_start(assets, &options, port).await).await
    }

    async fn try_start(assets: &Assets, options: &Options, port: u16) -> Result<Self, BedError> {
        let supervisor = Supervisor::start().map_err(BedError::failed("start the supervisor of a test bed"))?;
        let folder = supervisor.folder();
        let access = Access::create(folder, port, &options.users)?;
        let mut control_plane = ControlPlane::spawn(&supervisor, assets, options, &access, port)?;

        let mut definitions = crds::read(&assets.crds)?;
        definitions.extend(crds::read_files(workspace::definitions())?);
        let own_client = access.client(TESTBED).await?;
        control_plane.ready(&access).await?;
        crds::install(access.client_without_retries(TESTBED).await?, definitions).await?;
        let garden = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": GARDEN } });
        let created = manifests::apply(&own_client, &garden, Mode::Apply).await;
        created.map_err(BedError::failed(format_args!("create the namespace {GARDEN}")))?;

        let audit = options.audit.then(|| Audit::new(control_plane::audit_log(folder)));
        let client = access.client(ADMIN).await?;
        let clean_up = async move {
            if let Err(error) = janitor::run(own_client).await {
                tracing::error!(%error, "the janitor stopped: no more garbage collection and deletion of namespaces");
            }
        };
        let janitor = options.janitor.then(|| AbortOnDropHandle::new(tokio::spawn(clean_up)));
        Ok(Self { client, access, audit, janitor, control_plane: Mutex::new(control_plane), supervisor })
    }

    /// A client of user [`ADMIN`], who may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A new client, with its own connections, for one of [`Options::users`].
    pub async fn client_for(&self, user: &str) -> Result<Client, BedError> {
        self.access.client(user).await
    }

    /// The kubeconfig of [`ADMIN`].
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.access.admin_kubeconfig()
    }

    /// The kubeconfig of one of [`Options::users`].
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf, BedError> {
        self.access.kubeconfig(user)
    }

    /// Grants these rules to a user in all namespaces, and revokes earlier grants. Returns when the rules are in
    /// effect.
    ///
    /// Writes a `ClusterRole` and a `ClusterRoleBinding` with the user's name.
    pub async fn grant(&self, user: &str, rules: Vec<PolicyRule>) -> Result<(), BedError> {
        self.access.grant(user, rules).await
    }

    /// Applies the `CustomResourceDefinition`s in a folder's `*.yaml` files. Returns when the API server serves them.
    /// The [`janitor`] does not know their objects.
    pub async fn install_crds(&self, folder: &Path) -> Result<(), BedError> {
        crds::install(self.client_without_retries().await?, crds::read(folder)?).await
    }

    /// A client of [`TESTBED`] that returns errors at once, for polling.
    pub(crate) async fn client_without_retries(&self) -> Result<Client, BedError> {
        self.access.client_without_retries(TESTBED).await
    }

    /// The process ID of etcd, or `None` if it has exited or is being restarted.
    #[must_use]
    pub fn etcd_id(&self) -> Option<u32> {
        self.control_plane.try_lock().ok()?.etcd_id()
    }

    /// The process ID of kube-apiserver, or `None` if it has exited or is being restarted.
    #[must_use]
    pub fn kube_apiserver_id(&self) -> Option<u32> {
        self.control_plane.try_lock().ok()?.kube_apiserver_id()
    }

    /// Sends SIGKILL to a server, and returns when it has ended.
    pub async fn kill(&self, member: Member) -> Result<(), BedError> {
        let mut control_plane = self.control_plane.lock().await;
        control_plane.server(member).process().kill().await.map_err(BedError::failed(format_args!("kill {member:?}")))
    }

    /// Starts a server again after [`TestBed::kill`], on the same port and with the data in [`TestBed::dir`].
    pub async fn start_again(&self, member: Member) -> Result<(), BedError> {
        self.control_plane.lock().await.start_again(member, &self.supervisor, &self.access)
    }

    /// Suspends a server: it answers nothing until [`TestBed::resume`], but its connections stay open.
    pub async fn suspend(&self, member: Member) -> Result<(), BedError> {
        let doing = format!("suspend {member:?}");
        self.control_plane.lock().await.server(member).process().suspend().map_err(BedError::failed(doing))
    }

    /// Resumes a suspended server.
    pub async fn resume(&self, member: Member) -> Result<(), BedError> {
        let doing = format!("resume {member:?}");
        self.control_plane.lock().await.server(member).process().resume().map_err(BedError::failed(doing))
    }

    /// Returns when the API server is ready, such as after [`TestBed::start_again`]. Fails after 60 s, or when a server
    /// has ended.
    pub async fn ready(&self) -> Result<(), BedError> {
        self.control_plane.lock().await.ready(&self.access).await
    }

    /// Spawns another server, which ends with the test bed.
    pub(crate) fn spawn_server(&self, name: &'static str, command: Command) -> Result<Server, BedError> {
        Server::spawn(name, &self.supervisor, command)
    }

    /// The supervisor of the servers. A process that it starts ends with the bed.
    #[must_use]
    pub const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The test bed's folder. It contains data, keys, kubeconfigs, and the servers' output in `etcd.log` and
    /// `kube-apiserver.log`. Callers may add files. The folder is removed with the test bed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.supervisor.folder()
    }

    /// The audit log, or `None` without [`Options::audit`].
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Kills the processes and removes the folder. Returns when both are gone. Dropping the test bed does the same
    /// without waiting.
    pub async fn stop(self) -> io::Result<()> {
        let Self { janitor, control_plane, supervisor, .. } = self;
        drop(janitor);
        supervisor.stop().await?;
        control_plane.into_inner().exited().await
    }
}

impl fmt::Debug for TestBed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBed").field("dir", &self.dir()).finish_non_exhaustive()
    }
}
