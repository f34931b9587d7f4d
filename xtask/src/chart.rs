//! Packs the Helm chart. The same files give the same bytes on every machine.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::archive::{self, Entry};

/// The chart's repository, below the registry and prefix of the images.
pub(crate) const REPOSITORY: &str = "charts/gardener-mock";

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

/// Reads the Chart.yaml of the chart in `folder`.
pub(crate) fn metadata(folder: &Path) -> Result<Metadata> {
    let path = folder.join("Chart.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))
}

/// Packs the chart in `folder` as `helm package` does, but without times, owners and modes.
pub(crate) fn package(folder: &Path) -> Result<Vec<u8>> {
    let name = metadata(folder)?.name;
    let mut packed = Vec::new();
    for path in files(folder).with_context(|| format!("cannot read the chart {}", folder.display()))? {
        let file = folder.join(&path);
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = path.to_str().with_context(|| format!("the name of {} is not UTF-8", file.display()))?;
        packed.push((format!("{name}/{path}"), content));
    }
    archive::gzip(&archive::tar(packed.iter().map(|(path, content)| Entry { path, mode: 0o644, content }))?)
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

    use mock_fleet::cargo;

    use super::*;

    fn chart() -> PathBuf {
        cargo::root().join("deploy/chart")
    }

    #[test]
    fn package_holds_the_files_below_the_charts_name_and_ignores_times_and_modes() {
        let copy = tempfile::tempdir().unwrap();
        for path in files(&chart()).unwrap() {
            let to = copy.path().join(&path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, fs::read(chart().join(&path)).unwrap()).unwrap();
        }
        let package = package(&chart()).unwrap();
        assert_eq!(package, super::package(copy.path()).unwrap());

        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.as_slice()));
        let mut packed = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = path.strip_prefix("gardener-mock").unwrap().to_owned();
            assert_eq!(content, fs::read(chart().join(&path)).unwrap());
            packed.push(path);
        }
        assert_eq!(packed, files(&chart()).unwrap());
        assert_eq!(packed.first().unwrap(), Path::new("Chart.yaml"));
    }

    #[test]
    fn chart_has_the_version_of_the_controllers() {
        let metadata = metadata(&chart()).unwrap();
        assert_eq!(metadata.version, env!("CARGO_PKG_VERSION"));
        assert!(REPOSITORY.ends_with(&format!("/{}", metadata.name)));
    }
}
