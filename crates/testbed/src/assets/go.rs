//! The few commands of the Go toolchain that fetch modules and build programs from them.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::AssetsError;

/// What all programs need; older releases of Go cannot read their go.mod.
pub(super) const GO_MINOR: u32 = 26;

/// Go's build cache and module cache after etcd and kube-apiserver were built with none before; the others need less.
pub(super) const COLD_BUILD_GIB: u64 = 4;

/// A Go toolchain that works in `folder`.
pub(super) struct Go<'a> {
    folder: &'a Path,
    wanted: &'static str,
    otherwise: &'static str,
}

/// What `go mod download -json` tells about a module.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Module {
    /// The module's files.
    pub(super) dir: PathBuf,
    /// The module's go.mod as it was published.
    pub(super) go_mod: PathBuf,
}

/// The part of a go.mod that matters to somebody who requires the module.
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

/// The path of a module, or of the folder that stands for it.
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
    /// A toolchain that gets `wanted`; `otherwise` ends an error's sentence with what would make that unnecessary.
    pub(super) fn new(folder: &'a Path, wanted: &'static str, otherwise: &'static str) -> Self {
        Self { folder, wanted, otherwise }
    }

    /// Refuses what would fail only after minutes: a toolchain that is too old, a disk that is too full.
    pub(super) fn check(&self) -> Result<(), AssetsError> {
        let Self { wanted, otherwise, .. } = *self;
        let environment: Environment = self.json(["env", "-json", "GOVERSION", "GOCACHE"])?;
        if minor(&environment.version).is_some_and(|minor| minor < GO_MINOR) {
            return Err(AssetsError::GoTooOld { wanted, found: environment.version, otherwise });
        }
        // Go creates its cache when it needs it; what cannot be measured is left to the build to find out.
        let disk = environment.cache.ancestors().find(|folder| folder.exists());
        if let Some(disk) = disk.and_then(|folder| rustix::fs::statvfs(folder).ok()) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < COLD_BUILD_GIB << 30 {
                return Err(AssetsError::NoRoom { wanted, folder: environment.cache, free_mib: free >> 20, otherwise });
            }
        }
        Ok(())
    }

    /// Brings a module into Go's module cache.
    pub(super) fn download(&self, module: &str) -> Result<Module, AssetsError> {
        self.json(["mod", "download", "-json", module])
    }

    /// Reads a go.mod.
    pub(super) fn requirements(&self, go_mod: &Path) -> Result<GoMod, AssetsError> {
        self.json([OsStr::new("mod"), OsStr::new("edit"), OsStr::new("-json"), go_mod.as_os_str()])
    }

    /// Builds the main package `package` into the file `program`, in a module that has these `directives`.
    pub(super) fn build(
        &self,
        program: &str,
        package: &str,
        directives: &str,
        linker_flags: &str,
    ) -> Result<(), AssetsError> {
        let unwritable = |source| AssetsError::CacheNotWritable { folder: self.folder.to_owned(), source };
        let go_mod = self.folder.join("go.mod");
        fs::write(&go_mod, format!("module testbed\ngo 1.{GO_MINOR}\n{directives}")).map_err(unwritable)?;
        self.run(["build", "-mod=mod", "-trimpath", "-ldflags", linker_flags, "-o", program, package])?;
        fs::remove_file(go_mod).map_err(unwritable)?;
        fs::remove_file(self.folder.join("go.sum")).map_err(unwritable)
    }

    fn json<T: DeserializeOwned>(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<T, AssetsError> {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let answer = self.run(&arguments)?;
        serde_json::from_slice(&answer).map_err(|error| self.failed(&arguments, format!("unexpected answer: {error}")))
    }

    fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Vec<u8>, AssetsError> {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let output = Command::new("go")
            .args(&arguments)
            .current_dir(self.folder)
            // What is built must run here and must not depend on how the user builds their own programs.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => AssetsError::NoGo { wanted: self.wanted, otherwise: self.otherwise },
                _ => self.failed(&arguments, error.to_string()),
            })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(line) = said.lines().find(|line| line.contains("no space left on device")) {
            return Err(AssetsError::DiskFull { reason: line.trim().to_owned(), otherwise: self.otherwise });
        }
        Err(self.failed(&arguments, reason(&output.stdout, &said)))
    }

    fn failed(&self, arguments: &[impl AsRef<OsStr>], reason: String) -> AssetsError {
        let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
        // The subcommand and its object; what stands between them is the same for everybody.
        let shown: Vec<_> = words.filter(|word| !word.starts_with('-') && !word.contains(' ')).collect();
        AssetsError::Go { command: shown.join(" "), reason, otherwise: self.otherwise }
    }
}

/// `go1.26.8` → 26; nothing for a version that does not say, as those of Go's own developers.
fn minor(version: &str) -> Option<u32> {
    let digits = version.strip_prefix("go1.")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `go mod download -json` puts its error into the answer, every other command says it at the end.
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
    fn minor_of_a_release_and_of_a_development_version() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel go1.27-abcdef"), None);
    }

    #[test]
    fn reason_is_one_line() {
        assert_eq!(reason(br#"{"Path": "a", "Error": "a@v1: not found"}"#, ""), "a@v1: not found");
        assert_eq!(reason(b"", "go: downloading a\nlink failed\n\n"), "link failed");
        assert_eq!(reason(b"", ""), "it gave no reason");
    }
}
