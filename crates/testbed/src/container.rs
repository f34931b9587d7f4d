//! Runs an image as a node does: its own root file system, read-only, its own user, and no privilege at all.
//!
//! `runc` starts it, as the first process of a PID namespace: when that process ends, by whatever cause, the kernel
//! ends everything in the namespace. So nothing of a container outlives a
//! [`Supervisor`](crate::supervisor::Supervisor), although runc puts it into a session of its own. It gets no cgroup,
//! of which something would stay behind.
//!
//! Its network is the caller's. A caller below `unshare --net` gives it nothing but the loopback.

mod image;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
};

use oci_spec::runtime::{self, Linux, LinuxNamespaceType, Process, Root, Spec, User};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// Makes every cgroup hierarchy read-only in a mount namespace, so that runc makes no cgroup, and becomes runc.
const START: &str = r#"
while read -r _ folder kind _; do
    case $kind in cgroup | cgroup2) mount -o remount,bind,ro "$folder" || exit ;; esac
done </proc/mounts
exec "$@"
"#;

/// Programs that containers need, and the Debian packages they are in.
const PROGRAMS: &[(&str, &str)] = &[("runc", "runc"), ("unshare", "util-linux"), ("mount", "mount")];

/// Why an image cannot be run; every text is one line that ends with the remedy, where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Only root may make namespaces.
    #[error("containers need root: use sudo")]
    NotRoot,
    /// A program is not there.
    #[error("containers need {program}, which is not on PATH: `apt-get install {package}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// Its package.
        package: &'static str,
    },
    /// The archive holds no image that can be run.
    #[error("cannot use the image {}: {source}: build it with `cargo xtask images`", .archive.display())]
    Image {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// What the image asks for would be refused where `runAsNonRoot` is set.
    #[error("the image's user is {user:?}: it must be two numbers, such as 65532:65532")]
    User {
        /// The user.
        user: String,
    },
    /// A signal was meant for a container that does not run.
    #[error("the container does not run: look at what it wrote before it ended")]
    NotRunning,
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Tells whether containers can run here.
pub fn available() -> Result<(), ContainerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for &(program, package) in PROGRAMS {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Err(ContainerError::Missing { program, package });
        }
    }
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(ContainerError::NotRoot) }
}

/// What a Pod would say of a container.
#[derive(Clone, Debug, Default)]
pub struct ContainerOptions {
    /// Arguments behind the image's entrypoint.
    pub args: Vec<String>,
    /// Variables beside the image's own.
    pub env: Vec<(String, String)>,
    /// Files and folders of this machine that the container sees.
    pub mounts: Vec<Mount>,
}

/// A file or folder that a container can read; the image's user must be able to.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its path here.
    pub source: PathBuf,
    /// Its path in the container.
    pub destination: PathBuf,
}

impl Mount {
    fn bind(&self) -> runtime::Mount {
        let options = ["bind", "ro", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
        let mut mount = runtime::Mount::default();
        mount.set_source(Some(self.source.clone())).set_destination(self.destination.clone());
        mount.set_typ(Some("bind".to_owned())).set_options(Some(options));
        mount
    }
}

/// An image that was unpacked and can be run, several times at once.
#[derive(Debug)]
pub struct Image {
    folder: PathBuf,
    user: User,
    entrypoint: Vec<String>,
    env: Vec<String>,
    working_dir: PathBuf,
    containers: AtomicU32,
}

impl Image {
    /// Unpacks the image of an archive of `cargo xtask images`. The folder, which is made if it is not there, is the
    /// image's own and must live as long as its containers: one below
    /// [`Supervisor::folder`](crate::supervisor::Supervisor::folder).
    pub fn open(archive: &Path, folder: &Path) -> Result<Self, ContainerError> {
        available()?;
        let unpacked = image::unpack(archive, &folder.join("root"));
        let image = unpacked.map_err(|source| ContainerError::Image { archive: archive.to_owned(), source })?;
        let config = image.config().clone().unwrap_or_default();
        let user = config.user().clone().unwrap_or_default();
        let numbers = user.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        let (uid, gid) = numbers.ok_or(ContainerError::User { user })?;
        let mut user = User::default();
        user.set_uid(uid).set_gid(gid);
        Ok(Self {
            folder: fs::canonicalize(folder)?,
            user,
            entrypoint: [config.entrypoint().clone(), config.cmd().clone()].into_iter().flatten().flatten().collect(),
            env: config.env().clone().unwrap_or_default(),
            working_dir: config.working_dir().clone().unwrap_or_else(|| "/".to_owned()).into(),
            containers: AtomicU32::default(),
        })
    }

    /// The command that runs the image in a container, with what it writes and how it ends as its own; a container
    /// that a signal ended gives 128 + the signal. It is to be spawned once, by
    /// [`Supervisor::spawn`](crate::supervisor::Supervisor::spawn), and to be made a [`Container`].
    pub fn command(&self, options: &ContainerOptions) -> Result<Command, ContainerError> {
        let name = format!("container-{}", self.containers.fetch_add(1, Ordering::Relaxed));
        let bundle = self.folder.join(&name);
        fs::create_dir(&bundle)?;
        let spec = serde_json::to_vec(&self.spec(options)).map_err(io::Error::from)?;
        fs::write(bundle.join("config.json"), spec)?;

        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", START, "sh"]);
        // Not as unprivileged as the flag's name sounds: it lets a container be without a cgroup.
        command.args(["runc", "--rootless=true", "--root"]).arg(self.folder.join("runc"));
        command.args(["run", "--bundle"]).arg(bundle).arg(name);
        Ok(command)
    }

    fn spec(&self, options: &ContainerOptions) -> Spec {
        let given = options.env.iter().map(|(name, value)| format!("{name}={value}"));
        let mut process = Process::default();
        process.set_user(self.user.clone()).set_cwd(self.working_dir.clone());
        process.set_args(Some([self.entrypoint.as_slice(), &options.args].concat()));
        process.set_env(Some(self.env.iter().cloned().chain(given).collect()));
        process.set_capabilities(None).set_rlimits(None).set_no_new_privileges(Some(true));

        let mut root = Root::default();
        root.set_path(self.folder.join("root")).set_readonly(Some(true));
        let mut mounts = runtime::get_default_mounts();
        // There is no cgroup that it could show.
        mounts.retain(|mount| mount.typ().as_deref() != Some("cgroup"));
        mounts.extend(options.mounts.iter().map(Mount::bind));
        let mut namespaces = runtime::get_default_namespaces();
        namespaces
            .retain(|namespace| !matches!(namespace.typ(), LinuxNamespaceType::Network | LinuxNamespaceType::Cgroup));
        let mut linux = Linux::default();
        linux.set_namespaces(Some(namespaces)).set_resources(None);

        let mut spec = Spec::default();
        spec.set_process(Some(process)).set_root(Some(root)).set_mounts(Some(mounts)).set_linux(Some(linux));
        spec.set_hostname(None);
        spec
    }
}

/// A container that was started.
#[derive(Debug)]
pub struct Container(Child);

impl Container {
    /// The container of a child that was spawned from [`Image::command`].
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Waits until the container has ended.
    pub async fn wait(&mut self) -> Result<ExitStatus, ContainerError> {
        Ok(self.0.wait().await?)
    }

    /// Asks the container to end, by SIGTERM to its first process, and waits until it has. As everywhere, a first
    /// process that has not set a handler yet does not hear of it: wait for a sign of life before.
    pub async fn terminate(&mut self) -> Result<ExitStatus, ContainerError> {
        rustix::process::kill_process(self.init()?, Signal::TERM).map_err(io::Error::from)?;
        self.wait().await
    }

    /// Ends the container, by SIGKILL to its first process, or before there is one, and waits until it has ended.
    pub async fn kill(&mut self) -> Result<ExitStatus, ContainerError> {
        match self.init() {
            Ok(init) => rustix::process::kill_process(init, Signal::KILL).map_err(io::Error::from)?,
            Err(_) => self.0.start_kill()?,
        }
        self.wait().await
    }

    /// The container's first process, by its ID here.
    ///
    /// # Errors
    /// There is none yet, or none any more.
    pub fn init(&self) -> Result<Pid, ContainerError> {
        let unshare = self.0.id().ok_or(ContainerError::NotRunning)?;
        let descendants = children(unshare).into_iter().flat_map(children);
        let mut inits = descendants.filter(|process| is_init(*process));
        inits.next().and_then(|init| Pid::from_raw(init.cast_signed())).ok_or(ContainerError::NotRunning)
    }
}

/// The children of all threads of a process; none if it is gone.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Whether a process is the first of its PID namespace.
fn is_init(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.and_then(|ids| ids.split_whitespace().next_back()) == Some("1")
}
