//! The namespaces around a garden.
//!
//! `unshare` forks the first process of a namespace of processes, and the kernel kills that process when `unshare` ends.
//! With the first process, the kernel kills all others of the namespace. A namespace of networks and one of mounts end
//! with their last process.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};

use tokio::process::Command;

use crate::error::GardenError;

/// The namespaces for everybody: in the namespace of users, the caller is root.
const OF_USER: &[&str] = &["--user", "--map-root-user"];
const OF_ALL: &[&str] = &["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"];

/// Runs its arguments, and reaps what the programs leave: this shell is the first process.
const INIT: &str = r#""$@"; exit "$?""#;

/// The programs that a garden needs from this machine, each with its Debian package.
const PROGRAMS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("chroot", "coreutils"),
    ("mount", "mount"),
    ("ip", "iproute2"),
];

/// A way to create the namespaces that this machine allows this user.
#[derive(Clone, Copy, Debug)]
pub struct Isolation {
    of_user: bool,
}

impl Isolation {
    /// Finds a way. Tries first what every user may do where the kernel allows it, and then what root may do.
    ///
    /// # Errors
    /// A program is missing, or the kernel allows neither; the message ends with the remedy.
    pub fn find() -> Result<Self, GardenError> {
        if !cfg!(target_os = "linux") {
            return Err(GardenError::Unusable(
                "a garden needs the namespaces of Linux: use a Linux machine".to_owned(),
            ));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        for &(program, package) in PROGRAMS {
            if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                return Err(GardenError::Unusable(format!(
                    "a garden needs {program}, which is not on PATH: run `apt-get install {package}`"
                )));
            }
        }
        let ways = [Self { of_user: true }, Self { of_user: false }];
        ways.into_iter().find(|way| way.works()).ok_or_else(|| GardenError::Unusable(forbidden()))
    }

    fn works(self) -> bool {
        let mut probe = StdCommand::new("unshare");
        probe.args(self.namespaces()).args(["ip", "link", "set", "lo", "up"]);
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    fn namespaces(self) -> impl Iterator<Item = &'static &'static str> {
        OF_USER.iter().filter(move |_| self.of_user).chain(OF_ALL)
    }

    /// The command that runs `program` in new namespaces. The caller adds arguments, and spawns it once.
    #[must_use]
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.namespaces()).args(["sh", "-c", INIT, "sh"]).arg(program);
        command
    }

    /// The command that runs another program, such as a shell, in the namespaces of a process.
    #[must_use]
    pub fn enter(self, process: u32, program: &str) -> StdCommand {
        let mut command = StdCommand::new("nsenter");
        command.args(["--target", &process.to_string(), "--net", "--pid", "--mount"]);
        if self.of_user {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program);
        command
    }
}

/// The reason why the kernel allows no namespaces, with the remedy.
fn forbidden() -> String {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default().trim().to_owned();
    let remedies = [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ];
    let remedy = remedies.iter().find(|(name, forbidding, _)| setting(name) == *forbidding);
    let remedy = remedy.map_or_else(String::new, |(_, _, allowed)| format!("run `sysctl -w {allowed}` as root, or "));
    format!("a garden needs namespaces, which this user may not create here: {remedy}use sudo")
}

/// The first process in the namespaces of `unshare`, which has this process ID. Returns `None` if it has ended.
pub(crate) fn first_process(unshare: u32) -> Option<u32> {
    match fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")) {
        Ok(children) => children.split_whitespace().next()?.parse().ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => None,
    }
}
