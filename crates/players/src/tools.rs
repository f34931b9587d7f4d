//! The system's tools for networks and namespaces. What they do cannot be done in safe Rust between fork and exec.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{Access, access};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::Error;

/// Absolute paths of the tools. Containers have a PATH of their own.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    ip: PathBuf,
    /// Starts a program in new namespaces.
    pub(crate) unshare: PathBuf,
    /// Starts a program in the namespaces of another process.
    pub(crate) nsenter: PathBuf,
    /// Starts a program that is killed when its parent dies.
    pub(crate) setpriv: PathBuf,
    /// Starts a program in another root.
    pub(crate) chroot: PathBuf,
}

impl Tools {
    /// Finds all tools on the PATH.
    pub(crate) fn find() -> Result<Self, Error> {
        let path = env::var_os("PATH").unwrap_or_default();
        Ok(Self {
            ip: find("ip", &path)?,
            unshare: find("unshare", &path)?,
            nsenter: find("nsenter", &path)?,
            setpriv: find("setpriv", &path)?,
            chroot: find("chroot", &path)?,
        })
    }

    /// Runs lines of `ip -batch`, in the network namespace of a process if one is given. With `force`, goes on after a
    /// line that failed, and reports no failure.
    pub(crate) async fn ip(&self, lines: &str, process: Option<u32>, force: bool) -> Result<(), Error> {
        let mut command = match process {
            None => Command::new(&self.ip),
            Some(id) => {
                let mut command = Command::new(&self.nsenter);
                command.arg(format!("--net=/proc/{id}/ns/net")).arg(&self.ip);
                command
            }
        };
        if force {
            command.arg("-force");
        }
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(Error::io("start", self.ip.display()))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes()).await.map_err(Error::io("write to", self.ip.display()))?;
        }
        let output = child.wait_with_output().await.map_err(Error::io("wait for", self.ip.display()))?;
        if output.status.success() || force {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Tool { tool: format!("ip -batch of {:?}", lines.trim()), message })
    }
}

/// The first executable file with a name in the folders of a PATH.
fn find(name: &'static str, path: &OsStr) -> Result<PathBuf, Error> {
    env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
        .ok_or(Error::MissingTool(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tool_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("nsenter"), "not executable").unwrap();
        let error = find("nsenter", folder.path().as_os_str()).unwrap_err().to_string();
        assert!(error.starts_with("nsenter is not on the PATH"), "{error}");
    }
}
