//! A folder of rendered files: written, or compared with what is there.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result};

/// A folder whose `*.yaml` files are all rendered.
pub(super) struct Files {
    folder: PathBuf,
    shared: bool,
}

impl Files {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder, shared: false }
    }

    /// The folder holds files of others as well, which stay.
    pub(super) fn beside_others(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Writes what is not as it should be and removes what should not be there, unless it is only to be `check`ed.
    /// Returns the paths of these files.
    pub(super) fn settle(&self, files: Vec<(String, String)>, check: bool) -> Result<Vec<PathBuf>> {
        let mut unsettled = Vec::new();
        for path in self.strangers(&files)? {
            if !check {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            unsettled.push(path);
        }
        for (name, text) in files {
            let path = self.folder.join(name);
            match fs::read_to_string(&path) {
                Ok(there) if there == text => continue,
                Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::InvalidData => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
                _ => {}
            }
            if !check {
                let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&path, text));
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            unsettled.push(path);
        }
        Ok(unsettled)
    }

    /// Manifests that nobody renders (any more): applied with the folder, they would install what is not there.
    fn strangers(&self, files: &[(String, String)]) -> Result<Vec<PathBuf>> {
        let mut strangers = Vec::new();
        if self.shared || !self.folder.exists() {
            return Ok(strangers);
        }
        let unreadable = || format!("cannot read {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            let rendered = files.iter().any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
            if !rendered && path.extension().is_some_and(|extension| extension == "yaml") {
                strangers.push(path);
            }
        }
        strangers.sort();
        Ok(strangers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_what_is_missing_changed_or_left_over_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = || vec![("a.yaml".to_owned(), "a\n".to_owned()), ("b.yaml".to_owned(), "b\n".to_owned())];
        let settle = |check| Files::at(folder.path().to_owned()).settle(files(), check).unwrap();

        fs::write(path("b.yaml"), "other\n").unwrap();
        fs::write(path("c.yaml"), "c\n").unwrap();
        fs::write(path("README.md"), "").unwrap();
        let unsettled = [path("c.yaml"), path("a.yaml"), path("b.yaml")];
        assert_eq!(settle(true), unsettled);
        assert_eq!(settle(true), unsettled, "a check changed something");
        assert_eq!(settle(false), unsettled);
        assert_eq!(settle(true), Vec::<PathBuf>::new());
        assert!(path("README.md").exists() && !path("c.yaml").exists());
    }

    #[test]
    fn files_beside_others_leave_them_alone() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.yaml");
        fs::write(&other, "").unwrap();
        let files = vec![("a.yaml".to_owned(), String::new())];
        Files::at(folder.path().to_owned()).beside_others().settle(files, false).unwrap();
        assert!(other.exists());
    }
}
