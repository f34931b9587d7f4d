//! The files for the results.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mock_fleet::cargo;
use mock_view::say;

use crate::figures::Report;
use crate::plot;

/// The paths of the files.
#[derive(Debug)]
pub(crate) struct Files {
    json: PathBuf,
    svg: PathBuf,
}

impl Files {
    /// Fails if one of the files cannot be written. Existing files are not changed until [`Files::write`].
    pub(crate) fn open(json: Option<&Path>, svg: Option<&Path>) -> Result<Self> {
        let file = |given: Option<&Path>, name| {
            given.map_or_else(|| cargo::target().map(|target| target.join(name)), |given| Ok(given.to_owned()))
        };
        let files = Self { json: file(json, "bench.json")?, svg: file(svg, "bench.svg")? };
        for file in [&files.json, &files.svg] {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
            let exists = file.exists();
            let opened = OpenOptions::new().create(true).append(true).open(file);
            opened.with_context(|| format!("cannot write {}", file.display()))?;
            if !exists {
                fs::remove_file(file)?;
            }
        }
        Ok(files)
    }

    /// Writes all figures and the picture, and prints the paths of the files.
    pub(crate) fn write(&self, report: &Report) -> Result<()> {
        let json = serde_json::to_string_pretty(report)?;
        for (file, content) in [(&self.json, json), (&self.svg, plot::render(report)?)] {
            fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))?;
            say!("{}", file.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_file_is_reported_early_and_no_file_is_changed_or_left() {
        let folder = tempfile::tempdir().unwrap();
        let (json, svg) = (folder.path().join("old.json"), folder.path().join("new/new.svg"));
        fs::write(&json, "{}").unwrap();
        Files::open(Some(&json), Some(&svg)).unwrap();
        assert_eq!((fs::read_to_string(&json).unwrap().as_str(), svg.exists()), ("{}", false));
        let error = Files::open(Some(&json), Some(folder.path())).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
