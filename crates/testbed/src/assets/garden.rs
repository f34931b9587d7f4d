//! The programs of a whole Gardener.

use std::path::{Path, PathBuf};

use super::environment::{Progress, of_process};
use super::error::AssetsError;
use super::program::{
    ETCD, GARDENER_APISERVER, GARDENER_CONTROLLER_MANAGER, GARDENER_RESOURCE_MANAGER, GARDENER_SCHEDULER, GARDENLET,
    KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KUBECTL, Program,
};

/// The programs of Gardener in a whole Gardener, the largest last.
const OF_GARDENER: [Program; 5] =
    [GARDENER_SCHEDULER, GARDENER_RESOURCE_MANAGER, GARDENER_APISERVER, GARDENER_CONTROLLER_MANAGER, GARDENLET];

const OF_KUBERNETES: [Program; 5] = [ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KUBECTL];

/// The names of Gardener's programs that [`GardenPrograms::rebuild`] knows.
pub const GARDENER: [&str; 5] =
    [OF_GARDENER[0].name, OF_GARDENER[1].name, OF_GARDENER[2].name, OF_GARDENER[3].name, OF_GARDENER[4].name];

/// The programs of a whole Gardener, each a statically linked file that has the program's name.
///
/// etcd and the programs of Kubernetes come from the cache, also with `KUBEBUILDER_ASSETS`: a Shoot's Kubernetes version
/// has to be that of the kube-apiserver that serves it.
#[derive(Clone, Debug)]
pub struct GardenPrograms(Vec<PathBuf>);

impl GardenPrograms {
    /// Locates the programs. Builds missing ones as [`Assets::locate`](super::Assets::locate) does; all of them take
    /// about 15 minutes on two cores with empty caches.
    ///
    /// Gardener's programs are built out of `checkout`, a checkout of its repository, into the folder beside it in the
    /// pair, if there is one.
    ///
    /// Blocks the calling thread.
    pub fn locate(checkout: Option<(&Path, &Path)>, progress: Progress) -> Result<Self, AssetsError> {
        let mut programs = Vec::new();
        for program in OF_KUBERNETES {
            programs.push(program.cached(&of_process, progress)?);
        }
        for program in OF_GARDENER {
            programs.push(match checkout {
                Some((checkout, folder)) => program.build_checkout(checkout, folder, progress)?,
                None => program.cached(&of_process, progress)?,
            });
        }
        Ok(Self(programs))
    }

    /// Builds one program of Gardener again, out of a checkout, into `folder`. Returns `None` if Gardener has no program
    /// of this name.
    ///
    /// Blocks the calling thread.
    pub fn rebuild(
        name: &str,
        checkout: &Path,
        folder: &Path,
        progress: Progress,
    ) -> Result<Option<PathBuf>, AssetsError> {
        let program = OF_GARDENER.iter().find(|program| program.name == name);
        program.map(|program| program.build_checkout(checkout, folder, progress)).transpose()
    }

    /// The files of the programs.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.0
    }
}
