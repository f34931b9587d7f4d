//! The cache: one folder an entry, named after what it holds and its version, and therefore never changed.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::{AssetsError, Progress, Variables};

pub(super) struct Cache(PathBuf);

impl Cache {
    pub(super) fn open(variable: Variables) -> Result<Self, AssetsError> {
        let caches = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .ok_or(AssetsError::NoCache)?;
        Ok(Self(caches.join("gardener-mock-testbed")))
    }

    /// The folder of an entry, filled by `fill` if it is not there yet, by one process at a time.
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
        let not_writable = |source| AssetsError::CacheNotWritable { folder: self.0.clone(), source };
        fs::create_dir_all(&self.0).map_err(not_writable)?;
        let lock = File::create(self.0.join("lock")).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(&format!("waiting for another process that fills {}", self.0.display()));
                lock.lock().map_err(not_writable)?;
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        if entry.is_dir() {
            return Ok(entry);
        }
        // Under the lock a fixed name cannot collide, and what a killed process left is taken away by the next one.
        let unfinished = self.0.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(not_writable)?;
        }
        fs::create_dir(&unfinished).map_err(not_writable)?;
        let filled = fill(&unfinished).and_then(|()| fs::rename(&unfinished, &entry).map_err(not_writable));
        if filled.is_err() {
            // Best effort: the error to report is that of filling, and the next process tries again.
            let _ = fs::remove_dir_all(&unfinished);
        }
        filled.map(|()| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_filled_once_and_never_seen_half() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache(folder.path().join("cache"));
        let failing = |unfinished: &Path| {
            fs::write(unfinished.join("half"), "").unwrap();
            Err(AssetsError::NoCache)
        };
        cache.entry("a-v1", &|_| {}, failing).unwrap_err();
        let filling = |unfinished: &Path| {
            fs::write(unfinished.join("whole"), "").unwrap();
            Ok(())
        };
        let entry = cache.entry("a-v1", &|_| {}, filling).unwrap();
        assert!(entry.join("whole").is_file() && !entry.join("half").exists());
        cache.entry("a-v1", &|_| {}, |_| panic!("it is there already")).unwrap();
    }
}
