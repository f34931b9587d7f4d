//! Everything that a garden consists of: found in the cache, or built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use gardener_testbed::assets::GardenPrograms;
use mock_fleet::cargo;
use mock_garden::outside::Parts;
use mock_view::say;

use crate::images;

/// The program that stands in for everything below the seed's API server.
const PLAYERS: &str = "mock-players";

/// The web server that a user may run in an awake Shoot.
const HELLO: &str = "mock-hello";

/// The programs that really run as containers in the seed, of those that also run beside it.
const IN_PODS: [&str; 5] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "gardener-resource-manager"];

/// Checks that programs can be built out of a checkout, into the folder `built`, which may not exist yet.
pub(super) fn check(checkout: &Path, built: &Path) -> Result<()> {
    ensure!(
        checkout.join("cmd/gardenlet").is_dir(),
        "{} is no checkout of Gardener: it has no folder cmd/gardenlet",
        checkout.display()
    );
    fs::create_dir_all(built).with_context(|| format!("cannot create {}", built.display()))
}

/// Locates or builds all programs. Gardener's come out of a checkout, if there is one, into the folder `built`.
pub(super) fn build(own: PathBuf, gardener: Option<&Path>, built: &Path) -> Result<Parts> {
    if let Some(checkout) = gardener {
        check(checkout, built)?;
    }
    let found = GardenPrograms::locate(gardener.map(|checkout| (checkout, built)), &|step| say!("{step}"))?;
    let mut programs = found.files().to_vec();
    // Together with this program, so that both share one set of features of each dependency.
    let together = ["--package", env!("CARGO_PKG_NAME")].map(str::to_owned);
    programs.extend(cargo::build_named(&[PLAYERS.to_owned()], &together, &[])?);
    let is_in_pods = |file: &&PathBuf| IN_PODS.iter().any(|name| file.file_name().is_some_and(|file| file == *name));
    let mut pods: Vec<_> = found.files().iter().filter(is_in_pods).cloned().collect();
    // The controllers of the images: gardenlet installs the images, and a kubelet would run them.
    pods.extend(images::controllers(&[HELLO])?);
    Ok(Parts { own, programs, pods })
}
