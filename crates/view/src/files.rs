//! The files for figures and a picture of them.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::say;

/// A file could not be created or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", .file.display())]
pub struct FileError {
    doing: &'static str,
    file: PathBuf,
    source: io::Error,
}

impl FileError {
    fn of(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self { doing, file, source }
    }
}

/// The paths of the files.
#[derive(Debug)]
pub struct Files {
    json: PathBuf,
    svg: PathBuf,
}

impl Files {
    /// Fails if one of the files cannot be written. Existing files are not changed until [`Files::write`].
    pub fn open(json: PathBuf, svg: PathBuf) -> Result<Self, FileError> {
        let files = Self { json, svg };
        for file in [&files.json, &files.svg] {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).map_err(FileError::of("create", folder))?;
            }
            let exists = file.exists();
            OpenOptions::new().create(true).append(true).open(file).map_err(FileError::of("write", file))?;
            if !exists {
                fs::remove_file(file).map_err(FileError::of("remove", file))?;
            }
        }
        Ok(files)
    }

    /// Writes all figures and the picture, and prints the paths of the files.
    pub fn write(&self, json: &str, svg: &str) -> Result<(), FileError> {
        for (file, content) in [(&self.json, json), (&self.svg, svg)] {
            fs::write(file, content).map_err(FileError::of("write", file))?;
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
        Files::open(json.clone(), svg.clone()).unwrap();
        assert_eq!((fs::read_to_string(&json).unwrap().as_str(), svg.exists()), ("{}", false));
        let error = Files::open(json, folder.path().to_owned()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
