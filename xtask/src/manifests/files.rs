//! A folder of rendered files. They are written, or compared with the existing files.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A folder in which every `*.yaml` file is rendered.
pub(super) struct Files {
    folder: PathBuf,
    shared: bool,
}

impl Files {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder, shared: false }
    }

    /// The same folder, in which other files may exist and stay.
    pub(super) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Writes files that are missing or differ, and removes files that are not rendered. With `check`, it changes
    /// nothing. Returns the paths of all these files.
    pub(super) fn update(&self, files: Vec<(String, String)>, check: bool) -> Result<Vec<PathBuf>> {
        let mut stale = Vec::new();
        for path in self.left_over(&files)? {
            if !check {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            stale.push(path);
        }
        for (name, text) in files {
            let path = self.folder.join(name);
            match fs::read_to_string(&path) {
                Ok(existing) if existing == text => continue,
                Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::InvalidData => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
                _ => {}
            }
            if !check {
                let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&path, text));
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            stale.push(path);
        }
        Ok(stale)
    }

    /// Manifests that are not rendered any more. An operator who applies the folder would apply them too.
    fn left_over(&self, files: &[(String, String)]) -> Result<Vec<PathBuf>> {
        let mut left_over = Vec::new();
        if self.shared || !self.folder.exists() {
            return Ok(left_over);
        }
        let unreadable = || format!("cannot read {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            let rendered = files.iter().any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
            if !rendered && path.extension().is_some_and(|extension| extension == "yaml") {
                left_over.push(path);
            }
        }
        left_over.sort();
        Ok(left_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_returns_missing_changed_and_left_over_files_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = || vec![("a.yaml".to_owned(), "a\n".to_owned()), ("b.yaml".to_owned(), "b\n".to_owned())];
        let update = |check| Files::at(folder.path().to_owned()).update(files(), check).unwrap();

        fs::write(path("b.yaml"), "other\n").unwrap();
        fs::write(path("c.yaml"), "c\n").unwrap();
        fs::write(path("README.md"), "").unwrap();
        let stale = [path("c.yaml"), path("a.yaml"), path("b.yaml")];
        assert_eq!(update(true), stale);
        assert_eq!(update(true), stale, "a check changed something");
        assert_eq!(update(false), stale);
        assert_eq!(update(true), Vec::<PathBuf>::new());
        assert!(path("README.md").exists() && !path("c.yaml").exists());
    }

    #[test]
    fn other_files_in_a_shared_folder_stay() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.yaml");
        fs::write(&other, "").unwrap();
        let files = vec![("a.yaml".to_owned(), String::new())];
        Files::at(folder.path().to_owned()).shared().update(files, false).unwrap();
        assert!(other.exists());
    }
}
