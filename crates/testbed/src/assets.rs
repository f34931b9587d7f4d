//! Locates the programs and manifests of a test bed: in a folder that the user names, in the cache, or, once, through
//! Go's module proxy.

mod cache;
mod crds;
mod environment;
mod error;
mod garden;
mod go;
mod program;

use std::path::PathBuf;
use std::process::Command;

pub(crate) use self::crds::manifests;
use self::crds::{EXTENSION_CRDS, FURTHER_CRDS, PROVIDER_LOCAL_CRDS};
use self::environment::{Progress, Variables, of_process};
pub use self::error::AssetsError;
pub use self::garden::{GARDENER, GardenPrograms};
pub use self::program::KUBERNETES_VERSION;
use self::program::{
    ETCD, GARDENER_APISERVER, GARDENER_CONTROLLER_MANAGER, HELM, KUBE_APISERVER, PROVIDER_LOCAL, Program,
};

/// The programs and manifests of a [`TestBed`](crate::bed::TestBed).
#[derive(Clone, Debug)]
pub struct Assets {
    /// The etcd server.
    pub etcd: PathBuf,
    /// The Kubernetes API server.
    pub kube_apiserver: PathBuf,
    /// A folder whose `*.yaml` files are the `CustomResourceDefinition`s of Gardener's extension kinds.
    pub crds: PathBuf,
}

impl Assets {
    /// Locates the assets. Downloads and builds missing ones into the cache, which takes minutes if Go's caches are
    /// empty.
    ///
    /// The servers come from the folder `KUBEBUILDER_ASSETS` (envtest's convention), the manifests from the folder
    /// `GARDENER_CRDS`, if these variables are set. The cache is the folder `gardener-mock-testbed` in `XDG_CACHE_HOME`
    /// or `~/.cache`. It can be deleted at any time. `progress` receives one line for each step that takes long.
    ///
    /// Blocks the calling thread.
    pub fn locate(progress: &dyn Fn(&str)) -> Result<Self, AssetsError> {
        Self::locate_with(&of_process, progress)
    }

    fn locate_with(variable: Variables, progress: Progress) -> Result<Self, AssetsError> {
        let crds = extension_crds_with(variable, progress)?;
        let named = variable("KUBEBUILDER_ASSETS");
        let server = |program: Program| match &named {
            None => program.cached(variable, progress),
            Some(folder) => Some(folder.join(program.name)).filter(|path| path.is_file()).ok_or_else(|| {
                AssetsError::new(
                    format!("KUBEBUILDER_ASSETS={} contains no {}", folder.display(), program.name),
                    "fill the folder (`setup-envtest use -p path`), or unset the variable",
                )
            }),
        };
        Ok(Self { etcd: server(ETCD)?, kube_apiserver: server(KUBE_APISERVER)?, crds })
    }
}

/// Locates only [`Assets::crds`], in the same way.
///
/// Blocks the calling thread.
pub fn extension_crds(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    extension_crds_with(&of_process, progress)
}

fn extension_crds_with(variable: Variables, progress: Progress) -> Result<PathBuf, AssetsError> {
    match variable("GARDENER_CRDS") {
        Some(folder) if manifests(&folder).is_ok_and(|files| !files.is_empty()) => Ok(folder),
        Some(folder) => Err(AssetsError::new(
            format!("GARDENER_CRDS={} contains no *.yaml file", folder.display()),
            "set it to pkg/component/extensions/crds/assets of Gardener, or unset it",
        )),
        None => EXTENSION_CRDS.cached(variable, progress),
    }
}

/// Locates Gardener's API server for a [`GardenerApiserver`](crate::gardener_apiserver::GardenerApiserver). Builds it
/// as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn gardener_apiserver(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    GARDENER_APISERVER.cached(&of_process, progress)
}

/// Locates Gardener's controller manager for a
/// [`GardenerControllerManager`](crate::gardener_controller_manager::GardenerControllerManager). Builds it as
/// [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn gardener_controller_manager(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    GARDENER_CONTROLLER_MANAGER.cached(&of_process, progress)
}

/// Locates helm, major version 4. Uses helm from `PATH`, or builds it as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn helm(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    let on_path = Command::new(HELM.name).args(["version", "--short"]).output();
    if on_path.is_ok_and(|output| output.stdout.starts_with(b"v4.")) {
        return Ok(PathBuf::from(HELM.name));
    }
    HELM.cached(&of_process, progress)
}

/// Locates a folder with further `CustomResourceDefinition`s for
/// [`TestBed::install_crds`](crate::bed::TestBed::install_crds): `Extension` of Gardener's operator, `ServiceMonitor`
/// and `VerticalPodAutoscaler`. Downloads them as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn further_crds(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    FURTHER_CRDS.cached(&of_process, progress)
}

/// Locates Gardener's extension provider-local, to judge its controllers. Builds it as [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn provider_local(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    PROVIDER_LOCAL.cached(&of_process, progress)
}

/// Locates a folder with the `CustomResourceDefinition`s that provider-local looks for at its start. Downloads them as
/// [`Assets::locate`] does.
///
/// Blocks the calling thread.
pub fn provider_local_crds(progress: &dyn Fn(&str)) -> Result<PathBuf, AssetsError> {
    PROVIDER_LOCAL_CRDS.cached(&of_process, progress)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Locates the assets with only these environment variables.
    fn locate(environment: &[(&str, &Path)]) -> Result<Assets, String> {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, folder)| folder.to_path_buf());
        let assets = Assets::locate_with(&variable, &|step| panic!("a step that takes long: {step}"));
        assets.map_err(|error| error.to_string())
    }

    #[test]
    fn folders_that_the_user_names_must_contain_the_assets() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let named = [("GARDENER_CRDS", folder), ("KUBEBUILDER_ASSETS", folder)];
        let error = locate(&named).unwrap_err();
        assert!(error.starts_with("GARDENER_CRDS=") && error.contains("contains no *.yaml file: set it to"), "{error}");
        fs::write(folder.join("crd.yaml"), "").unwrap();
        fs::write(folder.join("etcd"), "").unwrap();
        let error = locate(&named).unwrap_err();
        assert!(error.contains("contains no kube-apiserver: fill the folder") && !error.contains('\n'), "{error}");
        fs::write(folder.join("kube-apiserver"), "").unwrap();
        let assets = locate(&named).unwrap();
        assert_eq!((assets.etcd, assets.crds), (folder.join("etcd"), folder.to_owned()));
    }

    #[test]
    fn an_unusable_cache_is_reported_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = locate(&[("XDG_CACHE_HOME", &file)]).unwrap_err();
        assert!(error.starts_with("cannot write the cache folder"), "{error}");
        assert_eq!(locate(&[]).unwrap_err(), "no folder for the cache: set HOME or XDG_CACHE_HOME");
    }
}
