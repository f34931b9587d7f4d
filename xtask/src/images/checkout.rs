//! A copy of the sources in another folder, for a second build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mock_fleet::cargo;
use tempfile::TempDir;

use super::platform::{PROFILE, Platform};

/// All that cargo reads of the workspace.
const SOURCES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "crates", "xtask"];

/// A copy of the sources, and of the dependencies that were compiled for the first build. It is removed when this value
/// is dropped.
///
/// The crates of the workspace are compiled again, and nothing else is: a second build of the dependencies would take
/// two minutes, and prove only that the compiler is deterministic. Paths of their sources cannot get into a program,
/// because they are below cargo's home.
pub(super) struct Checkout {
    folder: TempDir,
}

impl Checkout {
    /// Copies the sources and what was built for `platform`.
    pub(super) fn copy(platform: Platform) -> Result<Self> {
        let target = cargo::target()?;
        let folder = tempfile::tempdir_in(&target).context("cannot create a folder for the second build")?;
        let checkout = Self { folder };
        for source in SOURCES {
            copy(&cargo::root().join(source), &checkout.root())?;
        }
        // Build scripts and procedural macros are for this machine, everything else is for the platform.
        for below in [PathBuf::new(), PathBuf::from(platform.target())] {
            copy(&target.join(&below).join(PROFILE), &checkout.target().join(&below))?;
        }
        let mut clean = cargo::command();
        clean.args(["clean", "--quiet", "--workspace", "--profile", PROFILE, "--target", &platform.target()]);
        let status = clean.args(checkout.arguments()).status().context("cannot start cargo")?;
        ensure!(status.success(), "cargo clean failed: see the errors above");
        Ok(checkout)
    }

    /// The arguments that make cargo use this checkout.
    pub(super) fn arguments(&self) -> [String; 4] {
        let path = |path: PathBuf| path.display().to_string();
        let (manifest, target) = (self.root().join("Cargo.toml"), self.target());
        ["--manifest-path".to_owned(), path(manifest), "--target-dir".to_owned(), path(target)]
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("checkout")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }
}

/// Copies a file or a folder into `folder`, with its times, by which cargo knows what it has compiled.
fn copy(from: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let status = Command::new("cp").arg("-pR").arg(from).arg(folder).status().context("cannot start cp")?;
    ensure!(status.success(), "cannot copy {} to {}: see the error above", from.display(), folder.display());
    Ok(())
}
