//! Packs the Helm chart. The same files give the same bytes on every machine.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, Result};
use gardener_testbed::manifests;
use mock_fleet::cargo;
use mock_fleet::kinds::Package;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::archive::{self, Entry};

/// The file of the chart that names it.
const METADATA: &str = "Chart.yaml";
/// The chart's folder of the rules of each kind's ClusterRole on a seed, one file per kind.
pub(crate) const RBAC: &str = "rbac";
/// The same for the garden's runtime cluster.
pub(crate) const RBAC_IN_GARDEN: &str = "rbac-in-garden";
/// The chart's folder of the further rules of each kind that can keep hollow nodes, one file per kind.
pub(crate) const RBAC_HOLLOW_NODES: &str = "rbac-hollow-nodes";
/// The chart's folder of the admission policies, one file per kind.
pub(crate) const ADMISSION: &str = "admission";
/// The chart's folder of the policies that limit which Secrets a controller may write, one file per kind.
pub(crate) const SECRETS: &str = "secrets";
/// The folders with files that serve one kind alone.
const OF_ONE_KIND: [&str; 5] = [RBAC, RBAC_IN_GARDEN, RBAC_HOLLOW_NODES, ADMISSION, SECRETS];

/// The content of a Chart.yaml.
#[derive(Deserialize, Serialize)]
pub(crate) struct Metadata {
    /// The chart's name, which is also the folder of all files in the package.
    pub(crate) name: String,
    /// The version of the chart.
    pub(crate) version: String,
    pub(crate) description: String,
    /// All other fields.
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// The folder of the chart.
pub(crate) fn folder() -> PathBuf {
    cargo::root().join("deploy/chart")
}

/// The repository of a kind's chart, below the registry and prefix of the images.
pub(crate) fn repository(package: Package) -> String {
    format!("charts/{}", package.full_name())
}

/// Reads the Chart.yaml of the chart in `folder`, for one kind. The packed chart has the name of its repository, as
/// Helm expects, and each kind has its own.
pub(crate) fn metadata(folder: &Path, kind: Package) -> Result<Metadata> {
    let path = folder.join(METADATA);
    let document = manifests::read_one(&path)?;
    let metadata = serde_json::from_value(document).with_context(|| format!("cannot parse {}", path.display()))?;
    Ok(Metadata { name: kind.full_name(), ..metadata })
}

/// Packs the chart in `folder` for one kind, as `helm package` does, but without times, owners and modes.
///
/// The package lacks the files of other kinds: it stays the same when a kind is added or changed, so that gardenlet
/// does not install the others again.
pub(crate) fn package(folder: &Path, kind: Package) -> Result<Vec<u8>> {
    let metadata = metadata(folder, kind)?;
    let mut packed = Vec::new();
    for path in files(folder).with_context(|| format!("cannot read the chart {}", folder.display()))? {
        if is_of_another_kind(&path, kind) {
            continue;
        }
        let file = folder.join(&path);
        let content = if path == Path::new(METADATA) {
            serde_saphyr::to_string(&metadata).context("cannot render Chart.yaml")?.into_bytes()
        } else {
            fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?
        };
        let path = path.to_str().with_context(|| format!("the name of {} is not UTF-8", file.display()))?;
        packed.push((format!("{}/{path}", metadata.name), content));
    }
    archive::gzip(&archive::tar(packed.iter().map(|(path, content)| Entry { path, mode: 0o644, content }))?)
}

/// Whether a file of the chart, relative to its folder, serves another kind alone.
fn is_of_another_kind(file: &Path, kind: Package) -> bool {
    let is_of_one_kind = OF_ONE_KIND.iter().any(|folder| file.starts_with(folder));
    is_of_one_kind && file.file_stem().is_none_or(|stem| stem != kind.name)
}

/// All files below a folder, sorted and relative to it. Helm requires that Chart.yaml is the first file; it is.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use mock_fleet::kinds;
    use tempfile::TempDir;

    use super::*;

    fn copy() -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for path in files(&folder()).unwrap() {
            let to = copy.path().join(&path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, fs::read(folder().join(&path)).unwrap()).unwrap();
        }
        copy
    }

    fn network() -> Package {
        Package::find("network").unwrap()
    }

    #[test]
    fn package_holds_the_files_below_the_charts_name_and_ignores_times_and_modes() {
        let package = package(&folder(), network()).unwrap();
        assert_eq!(package, super::package(copy().path(), network()).unwrap());

        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.as_slice()));
        let mut packed = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = path.strip_prefix("mock-network").unwrap().to_owned();
            let source = fs::read_to_string(folder().join(&path)).unwrap();
            if path == Path::new(METADATA) {
                let mut expected: Value = serde_saphyr::from_str(&source).unwrap();
                expected["name"] = "mock-network".into();
                assert_eq!(serde_saphyr::from_slice::<Value>(&content).unwrap(), expected);
            } else {
                assert_eq!(content, source.into_bytes());
            }
            packed.push(path);
        }
        let mut expected = files(&folder()).unwrap();
        expected.retain(|path| {
            let of_one_kind = OF_ONE_KIND.iter().any(|folder| path.starts_with(folder));
            !of_one_kind || path.ends_with("network.yaml")
        });
        assert_eq!(packed, expected);
        assert_eq!(packed.first().unwrap(), Path::new("Chart.yaml"));
    }

    #[test]
    fn package_changes_with_the_files_of_its_kind_and_not_with_those_of_others() {
        for kind in kinds::ALL {
            for file in OF_ONE_KIND {
                let copy = copy();
                let before = package(copy.path(), *kind).unwrap();
                fs::write(copy.path().join(file).join("added.yaml"), "added").unwrap();
                for other in kinds::ALL.iter().filter(|other| *other != kind) {
                    fs::write(copy.path().join(file).join(format!("{}.yaml", other.name)), "changed").unwrap();
                }
                assert_eq!(package(copy.path(), *kind).unwrap(), before, "{}: {file}", kind.name);
                fs::write(copy.path().join(file).join(format!("{}.yaml", kind.name)), "changed").unwrap();
                assert_ne!(package(copy.path(), *kind).unwrap(), before, "{}: {file}", kind.name);
            }
        }
    }

    #[test]
    fn chart_has_the_version_of_the_controllers() {
        assert_eq!(metadata(&folder(), network()).unwrap().version, env!("CARGO_PKG_VERSION"));
    }
}
