//! The folder of the sources, which holds `crates`, `deploy` and `example`.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The root of the workspace: of the package whose program or test cargo runs, else of the current folder.
///
/// A path that the compiler knew would tie each program to one checkout, and cargo could not reuse it in another.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let start = package.or_else(|| env::current_dir().ok()).unwrap_or_default();
    start.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(&start).to_owned()
});

/// The root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    &ROOT
}

/// The `CustomResourceDefinition`s of kinds that are not Gardener's: the files `crates/<kind>/crd.yaml`, sorted.
#[must_use]
pub fn definitions() -> Vec<PathBuf> {
    let crates = root().join("crates").read_dir().into_iter().flatten().flatten();
    let mut files: Vec<_> = crates.map(|folder| folder.path().join("crd.yaml")).filter(|file| file.is_file()).collect();
    files.sort();
    files
}
