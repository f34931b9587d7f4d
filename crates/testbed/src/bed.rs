//! A real etcd and kube-apiserver with Gardener's custom resource definitions, on this machine and for one user of it.

mod access;
mod control_plane;
mod crds;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use tokio::process::{Child, Command};
use tokio_util::task::AbortOnDropHandle;

use self::{access::Access, control_plane::ControlPlane};
use crate::{
    assets::Assets,
    audit::Audit,
    janitor,
    server::{Server, on_a_free_port},
    supervisor::Supervisor,
};

/// The user of [`TestBed::client`]: a member of `system:masters`, allowed everything.
pub const ADMIN: &str = "admin";

/// The user of the bed's own requests: those of its start, of [`TestBed::grant`] and of the [`janitor`]. The audit log
/// shows by it what a test did not ask for.
pub const TESTBED: &str = "mock-testbed";

/// What a test bed has beyond the minimum.
#[derive(Clone, Debug)]
pub struct Options {
    /// Users besides [`ADMIN`]; they may do nothing until [`TestBed::grant`].
    pub users: Vec<String>,
    /// How large etcd's database may grow, in bytes; etcd's own default is 2 GiB.
    pub etcd_quota_bytes: Option<u64>,
    /// More flags for kube-apiserver; of a flag that is given twice, the last counts.
    pub apiserver_flags: Vec<String>,
    /// Whether the API server keeps an audit log; without it [`TestBed::audit`] has none. On by default.
    pub audit: bool,
    /// Whether a [`janitor`] does what kube-controller-manager would. On by default.
    pub janitor: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { users: Vec::new(), etcd_quota_bytes: None, apiserver_flags: Vec::new(), audit: true, janitor: true }
    }
}

/// Why a test bed did not start, or could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BedError {
    /// A user's name cannot stand in all the places where it has to.
    #[error("{0:?} cannot be a user of a test bed: use a name of its own, of letters, digits and any of -_.:@")]
    UserName(String),
    /// The user was not among [`Options::users`].
    #[error("the test bed has no user {0:?}: name it in Options::users")]
    NoSuchUser(String),
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The keys and certificates could not be made.
    #[error("cannot make the keys of the API server: {0}")]
    Keys(#[from] rcgen::Error),
    /// A server ended while it was starting.
    #[error("{server} ended with {status} while it was starting; its log ends with:\n{log}")]
    Exited {
        /// The name of its program.
        server: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A server runs but does not get ready.
    #[error("{server} is not ready after {} s ({reason}); its log ends with:\n{log}", .after.as_secs())]
    NotReady {
        /// The name of its program.
        server: &'static str,
        /// How long it was waited for.
        after: Duration,
        /// What it said last.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// A manifest could not be used.
    #[error("{}: {reason}", .file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It could not be found out whether a custom resource definition is established.
    #[error("cannot watch the CustomResourceDefinition {name}: {source}")]
    NotEstablished {
        /// The name of the custom resource definition.
        name: String,
        /// Why the watch failed.
        source: kube::runtime::wait::Error,
    },
    /// The API server has a custom resource definition but does not serve the resource.
    #[error("{name} is not served {} s after its CustomResourceDefinition was applied", .after.as_secs())]
    NotServed {
        /// The name of the custom resource definition.
        name: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// What was granted to a user does not take effect.
    #[error("the rules granted to {user:?} have no effect after {} s", .after.as_secs())]
    NotGranted {
        /// The user.
        user: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// A kubeconfig of the bed's own could not be read.
    #[error("cannot read the test bed's kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server refused a request of the bed's own.
    #[error("cannot {doing}: {source}")]
    Request {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        source: kube::Error,
    },
}

impl BedError {
    pub(crate) fn system(doing: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing: doing.to_string(), source }
    }

    pub(crate) fn request(doing: impl fmt::Display) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Request { doing: doing.to_string(), source }
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains("address already in use"))
    }
}

/// A running etcd and kube-apiserver that serve Gardener's extension kinds, with a [`janitor`].
///
/// Several beds run side by side. Processes and files end with the bed, and with this process however that one ends.
pub struct TestBed {
    client: Client,
    access: Access,
    audit: Option<Audit>,
    // Fields are dropped in this order: what makes requests goes before what answers them.
    janitor: Option<AbortOnDropHandle<()>>,
    control_plane: ControlPlane,
    supervisor: Supervisor,
}

impl TestBed {
    /// Starts the servers and returns when Gardener's custom resources are served, usually within 4 s.
    pub async fn start(assets: &Assets, options: Options) -> Result<Self, BedError> {
        on_a_free_port(async |port| Self::try_start(assets, &options, port).await).await
    }

    async fn try_start(assets: &Assets, options: &Options, port: u16) -> Result<Self, BedError> {
        let supervisor = Supervisor::start().map_err(BedError::system("start the processes that watch a test bed"))?;
        let folder = supervisor.folder();
        let access = Access::create(folder, port, &options.users)?;
        let mut control_plane = ControlPlane::spawn(&supervisor, assets, options, &access, port)?;

        let manifests = crds::read(&assets.crds)?;
        let own_client = access.client(TESTBED).await?;
        control_plane.ready(&access).await?;
        crds::install(access.impatient_client(TESTBED).await?, manifests).await?;

        let audit = options.audit.then(|| Audit::new(control_plane::audit_log(folder)));
        let client = access.client(ADMIN).await?;
        let clean_up = async move {
            if let Err(error) = janitor::run(own_client).await {
                tracing::error!(%error, "the test bed's janitor stopped: nothing is garbage collected any more");
            }
        };
        let janitor = options.janitor.then(|| AbortOnDropHandle::new(tokio::spawn(clean_up)));
        Ok(Self { client, access, audit, janitor, control_plane, supervisor })
    }

    /// A client that is allowed everything, as user [`ADMIN`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of its own connections for one of [`Options::users`].
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

    /// Allows a user these rules in all namespaces, instead of what was granted before, and returns when they have
    /// effect: writes a `ClusterRole` and a `ClusterRoleBinding` with the user's name.
    pub async fn grant(&self, user: &str, rules: Vec<PolicyRule>) -> Result<(), BedError> {
        self.access.grant(user, rules).await
    }

    /// Applies the `CustomResourceDefinition`s in a folder's `*.yaml` files and returns when they are served. The
    /// [`janitor`] does not look after their objects.
    pub async fn install_crds(&self, folder: &Path) -> Result<(), BedError> {
        crds::install(self.impatient_client().await?, crds::read(folder)?).await
    }

    /// A client of the bed's own user for polling.
    pub(crate) async fn impatient_client(&self) -> Result<Client, BedError> {
        self.access.impatient_client(TESTBED).await
    }

    /// The process of etcd, while it runs.
    #[must_use]
    pub fn etcd_id(&self) -> Option<u32> {
        self.control_plane.etcd_id()
    }

    /// The process of kube-apiserver, while it runs.
    #[must_use]
    pub fn kube_apiserver_id(&self) -> Option<u32> {
        self.control_plane.kube_apiserver_id()
    }

    /// The address of etcd.
    pub(crate) fn etcd(&self) -> String {
        control_plane::etcd_socket(self.dir())
    }

    /// Spawns one more server, which ends with the bed.
    pub(crate) fn spawn_server(&self, name: &'static str, command: Command) -> Result<Server, BedError> {
        Server::spawn(name, &self.supervisor, command)
    }

    /// Spawns a process that ends with the bed.
    pub fn spawn(&self, command: Command) -> io::Result<Child> {
        self.supervisor.spawn(command)
    }

    /// The folder with everything of the bed: data, keys, kubeconfigs, and the servers' output in `etcd.log` and
    /// `kube-apiserver.log`. There is room for more; it is removed with the bed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.supervisor.folder()
    }

    /// The audit log, if [`Options::audit`] asked for one.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Ends the processes, removes the folder, and returns when both are gone. Dropping the bed does the same without
    /// waiting.
    pub async fn stop(self) -> io::Result<()> {
        let Self { janitor, control_plane, supervisor, .. } = self;
        drop(janitor);
        supervisor.stop().await?;
        control_plane.ended().await
    }
}

impl fmt::Debug for TestBed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBed").field("dir", &self.dir()).finish_non_exhaustive()
    }
}
