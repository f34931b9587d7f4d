//! Takes back what was written for a kind, so that a failure leaves the workspace as it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::list;

/// The state of the workspace before anything was written for a kind.
pub(super) struct Undo {
    /// The folder of the kind, which does not exist yet.
    folder: PathBuf,
    /// The files that name every kind, with their text.
    files: Vec<(PathBuf, String)>,
}

impl Undo {
    pub(super) fn of(root: &Path, folder: PathBuf) -> Result<Self> {
        let read = |file: &str| {
            let file = root.join(file);
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok((file, text))
        };
        let files = list::FILES.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { folder, files })
    }

    /// Writes to the folder and to the files. If that fails, the folder is removed, and the files get their text back.
    pub(super) fn unless(self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Err(error) = write(&self.folder) else { return Ok(()) };
        let mut taken_back = match fs::remove_dir_all(&self.folder) {
            Err(error) if self.folder.exists() => Err(error),
            _ => Ok(()),
        };
        for (file, text) in &self.files {
            taken_back = taken_back.and(fs::write(file, text));
        }
        match taken_back {
            Ok(()) => Err(error.context("nothing was added")),
            Err(cause) => Err(error.context(format!("{} could not be removed: {cause}", self.folder.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn failure_leaves_the_workspace_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in list::FILES {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), file).unwrap();
        }
        let folder = root.join("crates/thing");
        let undo = || Undo::of(root, folder.clone()).unwrap();
        let error = undo().unless(|folder| {
            fs::create_dir_all(folder.join("src"))?;
            for file in list::FILES {
                fs::write(root.join(file), "changed")?;
            }
            bail!("cargo failed")
        });
        assert_eq!(format!("{:#}", error.unwrap_err()), "nothing was added: cargo failed");
        assert!(!folder.exists());
        assert!(list::FILES.iter().all(|file| fs::read_to_string(root.join(file)).unwrap() == *file));

        undo().unless(|folder| Ok(fs::create_dir_all(folder)?)).unwrap();
        assert!(folder.exists());
    }
}
