//! Packs the Helm chart: the same bytes from the same files, on every machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde::Deserialize;

/// Where the chart is, below the registry and prefix of the images.
pub(crate) const REPOSITORY: &str = "charts/gardener-mock";

/// What is read of a Chart.yaml.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The folder that every file of the package is in.
    pub(crate) name: String,
    /// The chart's own version.
    #[cfg_attr(not(test), expect(dead_code, reason = "the packed chart carries it"))]
    pub(crate) version: String,
}

/// The chart's name and version.
pub(crate) fn metadata(folder: &Path) -> Result<Metadata> {
    let path = folder.join("Chart.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// The chart in `folder` as `helm package` would pack it, but without times, owners and modes.
pub(crate) fn package(folder: &Path) -> Result<Vec<u8>> {
    let name = metadata(folder)?.name;
    let unreadable = || format!("cannot pack the chart {}", folder.display());
    let encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(encoder);
    for path in files(folder).with_context(unreadable)? {
        let content = fs::read(folder.join(&path)).with_context(unreadable)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len().try_into()?);
        header.set_mode(0o644);
        archive.append_data(&mut header, Path::new(&name).join(path), content.as_slice()).with_context(unreadable)?;
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).with_context(unreadable)
}

/// All files below a folder, relative to it and in order. Helm wants Chart.yaml first; it is.
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

    use super::*;
    use crate::cargo;

    fn chart() -> PathBuf {
        cargo::root().join("deploy/chart")
    }

    #[test]
    fn the_package_holds_the_charts_files_below_its_name_whatever_their_times_and_modes() {
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
    fn the_chart_has_the_version_of_the_controllers() {
        let metadata = metadata(&chart()).unwrap();
        assert_eq!(metadata.version, env!("CARGO_PKG_VERSION"));
        assert!(REPOSITORY.ends_with(&format!("/{}", metadata.name)));
    }
}
