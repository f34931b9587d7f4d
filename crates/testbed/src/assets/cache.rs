//! The cache: one folder per entry. The folder's name contains the version of the content, which never changes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::environment::{Progress, Variables};
use super::error::AssetsError;

pub(super) struct Cache(PathBuf);

impl Cache {
    pub(super) fn open(variable: Variables) -> Result<Self, AssetsError> {
        let caches = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| AssetsError::new("no folder for the cache", "set HOME or XDG_CACHE_HOME"))?;
        Ok(Self(caches.join("gardener-mock-testbed")))
    }

    /// Returns the folder of an entry. If it does not exist yet, `fill` fills it, in one process at a time.
    pub(super) fn entry(
        &self,
        name: &str,
        progress: Progress,
        fill: impl FnOnce(&Path) -> Result<(), AssetsError>,
    ) -> Result<PathBuf, AssetsError> {
        let entry = self.0.join(name);
        if entry.is_dir() {
            return Ok(entry);
        }
        let not_writable = AssetsError::not_writable(&self.0);
        fs::create_dir_all(&self.0).map_err(&not_writable)?;
        let lock = File::create(self.0.join("lock")).map_err(&not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(&format!("waiting for another process to fill {}", self.0.display()));
                lock.lock().map_err(&not_writable)?;
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        if entry.is_dir() {
            return Ok(entry);
        }
        // The lock allows a fixed name. The next process removes what a killed process has left.
        let unfinished = self.0.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(&not_writable)?;
        }
        fs::create_dir(&unfinished).map_err(&not_writable)?;
        let filled = fill(&unfinished).and_then(|()| fs::rename(&unfinished, &entry).map_err(&not_writable));
        if filled.is_err() {
            // Best effort: the first error is the one to report, and the next process tries again.
            let _ = fs::remove_dir_all(&unfinished);
        }
        filled.map(|()| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_filled_once_and_never_visible_half_filled() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache(folder.path().join("cache"));
        let failing = |unfinished: &Path| {
            fs::write(unfinished.join("half"), "").unwrap();
            Err(AssetsError::new("failed", "none"))
        };
        cache.entry("a-v1", &|_| {}, failing).unwrap_err();
        let filling = |unfinished: &Path| {
            fs::write(unfinished.join("whole"), "").unwrap();
            Ok(())
        };
        let entry = cache.entry("a-v1", &|_| {}, filling).unwrap();
        assert!(entry.join("whole").is_file() && !entry.join("half").exists());
        cache.entry("a-v1", &|_| {}, |_| panic!("filled twice")).unwrap();
    }
}
