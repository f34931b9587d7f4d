//! Where the real programs and Gardener's manifests come from: a folder the user names, the cache, or, once, Go's
//! module proxy.

mod cache;
mod crds;
mod go;
mod program;

use std::{io, path::PathBuf, process::Command};

pub(crate) use self::crds::manifests;
use self::{
    crds::{EXTENSION_CRDS, FURTHER_CRDS},
    go::{COLD_BUILD_GIB, GO_MINOR},
    program::{ETCD, GARDENER_APISERVER, HELM, KUBE_APISERVER, Program},
};

/// The Gardener that everything here is measured by.
pub(crate) const GARDENER_VERSION: &str = "v1.149.0";

/// Looks up an environment variable that names a folder.
type Variables<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Gets one line for each step that takes long.
type Progress<'a> = &'a dyn Fn(&str);

/// The programs and manifests a [`TestBed`](crate::bed::TestBed) is made of.
#[derive(Clone, Debug)]
pub struct Assets {
    /// The etcd server.
    pub etcd: PathBuf,
    /// The Kubernetes API server.
    pub kube_apiserver: PathBuf,
    /// A folder whose `*.yaml` files are Gardener's extension `CustomResourceDefinition`s.
    pub crds: PathBuf,
}

/// Why an asset cannot be had; every text is one line that ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetsError {
    /// `KUBEBUILDER_ASSETS` names a folder that lacks a server.
    #[error("KUBEBUILDER_ASSETS={} holds no {missing}: fill it (`setup-envtest use -p path`) or unset it", .folder.display())]
    Incomplete {
        /// The value of the variable.
        folder: PathBuf,
        /// The name of the program that is not there.
        missing: &'static str,
    },
    /// `GARDENER_CRDS` names a folder without manifests.
    #[error("GARDENER_CRDS={} holds no *.yaml file: point it to pkg/component/extensions/crds/assets of Gardener, or unset it", .folder.display())]
    NoCrds {
        /// The value of the variable.
        folder: PathBuf,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no cache folder for what is built once: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// The cache folder cannot be written.
    #[error("cannot write the cache folder {}: {source}: make it writable, or set XDG_CACHE_HOME to a folder that is", .folder.display())]
    CacheNotWritable {
        /// The folder that was to be written.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no Go toolchain.
    #[error("Go 1.{GO_MINOR} or newer is needed once, to get {wanted}: install it (https://go.dev/dl){otherwise}")]
    NoGo {
        /// What was to be got with Go.
        wanted: &'static str,
        /// What makes Go unnecessary, as the end of the sentence.
        otherwise: &'static str,
    },
    /// The Go toolchain is too old.
    #[error(
        "{wanted} needs Go 1.{GO_MINOR} or newer to build, this is {found}: update it (https://go.dev/dl){otherwise}"
    )]
    GoTooOld {
        /// What was to be built with Go.
        wanted: &'static str,
        /// What `go env GOVERSION` answered.
        found: String,
        /// What makes Go unnecessary, as the end of the sentence.
        otherwise: &'static str,
    },
    /// There is too little room to build.
    #[error("building {wanted} needs {COLD_BUILD_GIB} GiB at {}, {free_mib} MiB are free: make room, set GOCACHE to a larger disk{otherwise}", .folder.display())]
    NoRoom {
        /// What was to be built with Go.
        wanted: &'static str,
        /// Where Go keeps what it has built.
        folder: PathBuf,
        /// The free room there.
        free_mib: u64,
        /// What makes building unnecessary, as the end of the sentence.
        otherwise: &'static str,
    },
    /// The room was used up on the way.
    #[error(
        "{reason}: make room (building needs {COLD_BUILD_GIB} GiB), set GOCACHE, GOMODCACHE and GOTMPDIR to a larger disk{otherwise}"
    )]
    DiskFull {
        /// What Go could not write.
        reason: String,
        /// What makes building unnecessary, as the end of the sentence.
        otherwise: &'static str,
    },
    /// A Go command failed.
    #[error("`go {command}` failed: {reason}: check the network and GOPROXY{otherwise}")]
    Go {
        /// The arguments of the command, shortened.
        command: String,
        /// The last line of what it said.
        reason: String,
        /// What makes the command unnecessary, as the end of the sentence.
        otherwise: &'static str,
    },
}

impl Assets {
    /// Finds the assets, and gets what is missing into the cache, which takes minutes when Go's own cache is empty.
    ///
    /// The servers come from the folder `KUBEBUILDER_ASSETS` (envtest's convention) if that is set, the manifests from
    /// the folder `GARDENER_CRDS`. The cache is `gardener-mock-testbed` below `XDG_CACHE_HOME` or `~/.cache`; deleting
    /// it is always safe. `progress` gets one line for each step that takes long.
    ///
    /// Blocks the calling thread.
    pub fn locate(progress: &dyn Fn(&str)) -> Result<Self, AssetsError> {
        Self::locate_with(&environment, progress)
    }

    fn locate_with(variable: Variables, progress: Progress) -> Result<Self, AssetsError> {
        let crds = match variable("GARDENER_CRDS") {
            Some(folder) if manifests(&folder).is_ok_and(|files| !files.is_empty()) => folder,
            Some(folder) => return Err(AssetsError::NoCrds { folder }),
            None => EXTENSION_CRDS.cached(variable, progress)?,
        };
        let named = variable("KUBEBUILDER_ASSETS");
        let server = |program: Program| match &named {
            None => program.cached(variable, progress),
            Some(folder) => Some(folder.join(program.name))
                .filter(|path| path.is_file())
                .ok_or_else(|| AssetsError::Incomplete { folder: folder.clone(), missing: program.name }),
        };
        Ok(Self { etcd: server(ETCD)?, kube_apiserver: server(KUBE_APISERVER)?, crds })
    }
}

/// Finds Gardener's API server, for a [`Garden`](crate::garden::Garden), or builds it as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn gardener_apiserver(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    GARDENER_APISERVER.cached(&environment, progress)
}

/// Finds helm, of major version 4: the one on `PATH`, or one that is built as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn helm(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    let on_path = Command::new(HELM.name).args(["version", "--short"]).output();
    if on_path.is_ok_and(|output| output.stdout.starts_with(b"v4.")) {
        return Ok(PathBuf::from(HELM.name));
    }
    HELM.cached(&environment, progress)
}

/// Finds a folder with the `CustomResourceDefinition`s of Gardener's operator's `Extension`, of `ServiceMonitor` and of
/// `VerticalPodAutoscaler`, for [`TestBed::install_crds`](crate::bed::TestBed::install_crds), or gets them as
/// [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn further_crds(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    FURTHER_CRDS.cached(&environment, progress)
}

fn environment(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Looks for the assets in an environment of these variables only.
    fn locate(environment: &[(&str, &Path)]) -> Result<Assets, AssetsError> {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, folder)| folder.to_path_buf());
        Assets::locate_with(&variable, &|step| panic!("this would take long: {step}"))
    }

    #[test]
    fn folders_that_the_user_names_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let named = [("GARDENER_CRDS", folder), ("KUBEBUILDER_ASSETS", folder)];
        assert!(matches!(locate(&named), Err(AssetsError::NoCrds { .. })));
        fs::write(folder.join("crd.yaml"), "").unwrap();
        fs::write(folder.join("etcd"), "").unwrap();
        let error = locate(&named).unwrap_err();
        assert!(matches!(error, AssetsError::Incomplete { missing: "kube-apiserver", .. }));
        assert!(!error.to_string().contains('\n'));
        fs::write(folder.join("kube-apiserver"), "").unwrap();
        let assets = locate(&named).unwrap();
        assert_eq!((assets.etcd, assets.crds), (folder.join("etcd"), folder.to_owned()));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_told_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(locate(&[("XDG_CACHE_HOME", &file)]), Err(AssetsError::CacheNotWritable { .. })));
        assert!(matches!(locate(&[]), Err(AssetsError::NoCache)));
    }
}
