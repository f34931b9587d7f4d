//! Runs an image as a node does: with a read-only root file system, the image's user, and no privileges.
//!
//! `runc` starts the container as the first process of a PID namespace. When that process ends, the kernel kills all
//! other processes in the namespace. No process of a container therefore outlives a
//! [`Supervisor`](crate::supervisor::Supervisor), although runc moves the container to another session. The container
//! has no cgroup, because a cgroup would outlive it.
//!
//! The container shares the caller's network. In `unshare --net`, that is only a loopback interface.

mod image;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

use oci_spec::runtime::{self, Linux, LinuxNamespaceType, Process, Root, Spec, User};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// Remounts all cgroup hierarchies read-only, so that runc creates no cgroup, and then executes its arguments.
const START: &str = r#"
while read -r _ folder kind _; do
    case $kind in cgroup | cgroup2) mount -o remount,bind,ro "$folder" || exit ;; esac
done </proc/mounts
exec "$@"
"#;

/// The programs that containers need, each with its Debian package.
const PROGRAMS: &[(&str, &str)] = &[("runc", "runc"), ("unshare", "util-linux"), ("mount", "mount")];

/// Why an image or a container cannot be used. Each message is one line. It ends with the remedy, if there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Only root may create namespaces.
    #[error("containers need root: use sudo")]
    NotRoot,
    /// A program is missing.
    #[error("containers need {program}, which is not on PATH: run `apt-get install {package}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package with the program.
        package: &'static str,
    },
    /// The archive contains no image that can run here.
    #[error("cannot use the image {}: {source}: build the archive again", .archive.display())]
    Image {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with the archive.
        source: io::Error,
    },
    /// The image's user is not numeric. With `runAsNonRoot`, a kubelet rejects such an image.
    #[error("the image's user is {user:?}: use two numbers, such as 65532:65532")]
    User {
        /// The user in the image's configuration.
        user: String,
    },
    /// The container has not started, or has exited.
    #[error("the container does not run: see its output")]
    NotRunning,
    /// An operation of the operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Checks that containers can run on this machine, with this user.
pub fn available() -> Result<(), ContainerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for &(program, package) in PROGRAMS {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Err(ContainerError::Missing { program, package });
        }
    }
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(ContainerError::NotRoot) }
}

/// The settings of a container that a Pod would contain.
#[derive(Clone, Debug, Default)]
pub struct ContainerOptions {
    /// Arguments after the image's entrypoint.
    pub args: Vec<String>,
    /// Environment variables, in addition to the image's.
    pub env: Vec<(String, String)>,
    /// Files and folders of this machine that the container can read.
    pub mounts: Vec<Mount>,
}

/// A file or folder that is mounted read-only. The image's user must have permission to read it.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The path on this machine.
    pub source: PathBuf,
    /// The path in the container.
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

/// An unpacked image. It can run several times at once.
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
    /// Unpacks the image in an OCI archive to `folder`.
    ///
    /// Creates the folder if it does not exist. Only this image may use it, and it must live as long as the image's
    /// containers: use a folder in [`Supervisor::folder`](crate::supervisor::Supervisor::folder).
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

    /// Returns the command that runs the image in a new container. Spawn it once, with
    /// [`Supervisor::spawn`](crate::supervisor::Supervisor::spawn), and wrap the child in a [`Container`].
    ///
    /// The command has the container's output and exit status. After a signal, the status is 128 plus the signal's
    /// number.
    pub fn command(&self, options: &ContainerOptions) -> Result<Command, ContainerError> {
        let name = format!("container-{}", self.containers.fetch_add(1, Ordering::Relaxed));
        let bundle = self.folder.join(&name);
        fs::create_dir(&bundle)?;
        let spec = serde_json::to_vec(&self.spec(options)).map_err(io::Error::from)?;
        fs::write(bundle.join("config.json"), spec)?;

        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", START, "sh"]);
        // Despite its name, this flag only makes runc tolerate that it cannot create a cgroup.
        command.args(["runc", "--rootless=true", "--root"]).arg(self.folder.join("runc"));
        command.args(["run", "--bundle"]).arg(bundle).arg(name);
        Ok(command)
    }

    fn spec(&self, options: &ContainerOptions) -> Spec {
        let env = options.env.iter().map(|(name, value)| format!("{name}={value}"));
        let mut process = Process::default();
        process.set_user(self.user.clone()).set_cwd(self.working_dir.clone());
        process.set_args(Some([self.entrypoint.as_slice(), &options.args].concat()));
        process.set_env(Some(self.env.iter().cloned().chain(env).collect()));
        process.set_capabilities(None).set_rlimits(None).set_no_new_privileges(Some(true));

        let mut root = Root::default();
        root.set_path(self.folder.join("root")).set_readonly(Some(true));
        let mut mounts = runtime::get_default_mounts();
        // The container has no cgroup that this mount could show.
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

/// A started container.
#[derive(Debug)]
pub struct Container(Child);

impl Container {
    /// Wraps a child that was spawned from [`Image::command`].
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Waits until the container has exited.
    pub async fn wait(&mut self) -> Result<ExitStatus, ContainerError> {
        Ok(self.0.wait().await?)
    }

    /// Sends SIGTERM to the container's first process, and waits until the container has exited.
    ///
    /// The kernel drops the signal if the process has not installed a handler yet. Wait for the container's first
    /// output before calling this function.
    pub async fn terminate(&mut self) -> Result<ExitStatus, ContainerError> {
        rustix::process::kill_process(self.init()?, Signal::TERM).map_err(io::Error::from)?;
        self.wait().await
    }

    /// Kills the container, and waits until it has exited. Works also before its first process exists.
    pub async fn kill(&mut self) -> Result<ExitStatus, ContainerError> {
        match self.init() {
            Ok(init) => rustix::process::kill_process(init, Signal::KILL).map_err(io::Error::from)?,
            Err(_) => self.0.start_kill()?,
        }
        self.wait().await
    }

    /// Returns the process ID of the container's first process, in this process's PID namespace.
    ///
    /// # Errors
    /// [`ContainerError::NotRunning`] if the process does not exist yet, or has exited.
    pub fn init(&self) -> Result<Pid, ContainerError> {
        let unshare = self.0.id().ok_or(ContainerError::NotRunning)?;
        let descendants = children(unshare).into_iter().flat_map(children);
        let mut inits = descendants.filter(|process| is_init(*process));
        inits.next().and_then(|init| Pid::from_raw(init.cast_signed())).ok_or(ContainerError::NotRunning)
    }
}

/// Returns the children of all threads of a process. Returns none if the process has exited.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Returns whether a process is the first one of its PID namespace.
fn is_init(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.and_then(|ids| ids.split_whitespace().next_back()) == Some("1")
}
