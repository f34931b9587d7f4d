//! The commands of the Go toolchain that download modules and build programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs, io};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::AssetsError;

/// The minor version of Go that all programs need. Older versions cannot read the programs' go.mod.
const GO_MINOR: u32 = 26;

/// Free space for a build, in GiB: the size of Go's caches after building etcd and kube-apiserver with empty caches.
/// Other programs need less.
const COLD_BUILD_GIB: u64 = 4;

/// The Go toolchain, with `folder` as its working directory.
pub(super) struct Go<'a> {
    folder: &'a Path,
    /// The asset that the toolchain downloads or builds.
    wanted: &'static str,
    /// An alternative to using Go, as the end of a remedy.
    otherwise: &'static str,
}

/// A module in the answer of `go mod download -json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Module {
    /// The folder with the module's files.
    pub(super) dir: PathBuf,
    /// The module's published go.mod.
    pub(super) go_mod: PathBuf,
}

/// The part of a go.mod that a build needs.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GoMod {
    pub(super) replace: Vec<Replace>,
}

/// A replace directive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Replace {
    pub(super) old: ModulePath,
    pub(super) new: ModulePath,
}

/// The path of a module, or of the folder that replaces it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModulePath {
    pub(super) path: String,
}

#[derive(Deserialize)]
struct Environment {
    #[serde(rename = "GOVERSION")]
    version: String,
    #[serde(rename = "GOCACHE")]
    cache: PathBuf,
}

impl<'a> Go<'a> {
    /// A toolchain that downloads or builds `wanted`. `otherwise` ends each remedy with an alternative.
    pub(super) fn new(folder: &'a Path, wanted: &'static str, otherwise: &'static str) -> Self {
        Self { folder, wanted, otherwise }
    }

    /// Detects at once what would fail only after minutes: an old toolchain, or a full disk.
    pub(super) fn check(&self) -> Result<(), AssetsError> {
        let Self { wanted, .. } = *self;
        let environment: Environment = self.json(["env", "-json", "GOVERSION", "GOCACHE"])?;
        if minor(&environment.version).is_some_and(|minor| minor < GO_MINOR) {
            let found = environment.version;
            return Err(self.error(
                format!("{wanted} needs Go 1.{GO_MINOR} or newer, but this is {found}"),
                "update Go (https://go.dev/dl)",
            ));
        }
        // Go may not have created its cache yet. If the space cannot be measured, the build finds out.
        let disk = environment.cache.ancestors().find(|folder| folder.exists());
        if let Some(disk) = disk.and_then(|folder| rustix::fs::statvfs(folder).ok()) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < COLD_BUILD_GIB << 30 {
                let problem = format!(
                    "building {wanted} needs {COLD_BUILD_GIB} GiB in {}, but {} MiB are free",
                    environment.cache.display(),
                    free >> 20
                );
                return Err(self.error(problem, "make room, or set GOCACHE to a larger disk"));
            }
        }
        Ok(())
    }

    /// Downloads a module into Go's module cache.
    pub(super) fn download(&self, module: &str) -> Result<Module, AssetsError> {
        self.json(["mod", "download", "-json", module])
    }

    /// Reads a go.mod.
    pub(super) fn requirements(&self, go_mod: &Path) -> Result<GoMod, AssetsError> {
        self.json([OsStr::new("mod"), OsStr::new("edit"), OsStr::new("-json"), go_mod.as_os_str()])
    }

    /// Builds the main package `package` into the file `program`, in a temporary module with these `directives`.
    pub(super) fn build(
        &self,
        program: &str,
        package: &str,
        directives: &str,
        linker_flags: &str,
    ) -> Result<(), AssetsError> {
        let not_writable = AssetsError::not_writable(self.folder);
        let go_mod = self.folder.join("go.mod");
        fs::write(&go_mod, format!("module testbed\ngo 1.{GO_MINOR}\n{directives}")).map_err(&not_writable)?;
        self.run(["build", "-mod=mod", "-trimpath", "-ldflags", linker_flags, "-o", program, package])?;
        fs::remove_file(go_mod).map_err(&not_writable)?;
        fs::remove_file(self.folder.join("go.sum")).map_err(&not_writable)
    }

    /// Builds the main package `package` of the module in this folder into the file `program`.
    pub(super) fn build_checkout(&self, program: &Path, package: &str, linker_flags: &str) -> Result<(), AssetsError> {
        let output = program.display().to_string();
        self.run(["build", "-ldflags", linker_flags, "-o", &output, package]).map(drop)
    }

    fn json<T: DeserializeOwned>(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<T, AssetsError> {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let answer = self.run(&arguments)?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.failed(&arguments, format_args!("unexpected answer: {error}")))
    }

    fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Vec<u8>, AssetsError> {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let output = Command::new("go")
            .args(&arguments)
            .current_dir(self.folder)
            // The program must run on this machine, whatever the user's settings for other builds are.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => self.error(
                    format!("Go 1.{GO_MINOR} or newer is needed once, for {}", self.wanted),
                    "install Go (https://go.dev/dl)",
                ),
                _ => self.failed(&arguments, error),
            })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(line) = said.lines().find(|line| line.contains("no space left on device")) {
            let remedy = format!(
                "make room (building needs {COLD_BUILD_GIB} GiB), or set GOCACHE, GOMODCACHE and GOTMPDIR to a larger disk"
            );
            return Err(self.error(line.trim(), &remedy));
        }
        Err(self.failed(&arguments, reason(&output.stdout, &said)))
    }

    fn failed(&self, arguments: &[impl AsRef<OsStr>], reason: impl fmt::Display) -> AssetsError {
        let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
        // The subcommand and its object, without the flags, which are always the same.
        let shown: Vec<_> = words.filter(|word| !word.starts_with('-') && !word.contains(' ')).collect();
        self.error(format!("`go {}` failed: {reason}", shown.join(" ")), "check the network and GOPROXY")
    }

    /// An error whose remedy ends with the alternative to using Go.
    fn error(&self, problem: impl Into<String>, remedy: &str) -> AssetsError {
        AssetsError::new(problem, format!("{remedy}{}", self.otherwise))
    }
}

/// Returns the minor version, such as 26 of `go1.26.8`. Returns `None` for development versions.
fn minor(version: &str) -> Option<u32> {
    let digits = version.strip_prefix("go1.")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the reason of a failure. `go mod download -json` reports it in its answer, other commands in the last line
/// of stderr.
fn reason(stdout: &[u8], stderr: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Failure {
        error: String,
    }
    let text = serde_json::from_slice(stdout).map_or_else(|_| stderr.to_owned(), |failure: Failure| failure.error);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_releases_have_a_minor_version() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel go1.27-abcdef"), None);
    }

    #[test]
    fn the_reason_is_one_line() {
        assert_eq!(reason(br#"{"Path": "a", "Error": "a@v1: not found"}"#, ""), "a@v1: not found");
        assert_eq!(reason(b"", "go: downloading a\nlink failed\n\n"), "link failed");
        assert_eq!(reason(b"", ""), "it gave no reason");
    }
}
