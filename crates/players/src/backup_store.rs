//! Backups of etcd: stands for an object store and for what etcd-backup-restore writes there. A backup is a copy of the
//! folder of an etcd. All seeds that share the folder of the store can restore it. Leaves out delta snapshots, versions,
//! compaction, encryption, and limits of an object store.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use kube::api::DynamicObject;
use serde_json::Value;

use crate::error::Error;
use crate::volumes::inside;

/// An etcd that has written nothing for so long is not in the midst of a write.
const QUIET: Duration = Duration::from_millis(500);

/// The folder of a backup, and what precedes the name of a copy that is not complete.
const LATEST: &str = "latest";
const PART: &str = "part-";

/// The place of the backups of one etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backups(PathBuf);

impl Backups {
    /// The place that an object names at a path of its spec, as a `StoreSpec` of etcd-druid. Returns `None` if it names none.
    pub(crate) fn at(root: &Path, object: &DynamicObject, path: &str) -> Result<Option<Self>, Error> {
        let Some(store) = object.data.pointer(path) else { return Ok(None) };
        let text = |field: &str| store.get(field).and_then(Value::as_str).unwrap_or_default();
        let place = inside(&inside(root, text("container"))?, text("prefix"))?;
        Ok(Some(Self(place)))
    }

    /// The latest backup, if there is one.
    fn latest(&self) -> Option<PathBuf> {
        Some(self.0.join(LATEST)).filter(|latest| latest.is_dir())
    }

    /// Replaces the backup by a copy of the folder of an etcd. The copy is consistent: nothing has been written meanwhile.
    ///
    /// # Errors
    /// The etcd is being written to, or a file cannot be copied.
    pub(crate) fn take(&self, etcd: &Path) -> io::Result<()> {
        let before = last_write(etcd)?;
        if before.elapsed().is_ok_and(|quiet| quiet < QUIET) {
            return Err(io::Error::other("the etcd is being written to"));
        }
        let part = self.part()?;
        copy(etcd, &part)?;
        if last_write(etcd)? != before {
            return Err(io::Error::other("the etcd was written to meanwhile"));
        }
        self.keep(&part)
    }

    /// Copies the backup to another place. Returns whether there is one.
    pub(crate) fn copy_to(&self, other: &Self) -> io::Result<bool> {
        let Some(latest) = self.latest() else { return Ok(false) };
        let part = other.part()?;
        copy(&latest, &part)?;
        other.keep(&part).map(|()| true)
    }

    /// Makes the backup the content of the folder of an etcd that has never run. Returns whether it did.
    pub(crate) fn restore(&self, etcd: &Path) -> io::Result<bool> {
        let Some(latest) = self.latest().filter(|_| !etcd.exists()) else { return Ok(false) };
        let part = etcd.with_extension("part");
        remove(&part)?;
        copy(&latest, &part)?;
        fs::rename(&part, etcd).map(|()| true)
    }

    /// A new name for a copy that is not complete.
    fn part(&self) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.0)?;
        let part = self.0.join(format!("{PART}{LATEST}"));
        remove(&part)?;
        Ok(part)
    }

    fn keep(&self, part: &Path) -> io::Result<()> {
        let latest = self.0.join(LATEST);
        remove(&latest)?;
        fs::rename(part, latest)
    }
}

/// Removes a folder, if it exists.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a folder, with all that it holds, to a place that does not exist yet.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// When a folder, or anything in it, was last written to.
fn last_write(folder: &Path) -> io::Result<SystemTime> {
    let mut last = fs::metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let written =
            if entry.file_type()?.is_dir() { last_write(&entry.path())? } else { entry.metadata()?.modified()? };
        last = last.max(written);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An etcd whose last write was long ago.
    fn etcd(content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("snap")).unwrap();
        fs::write(folder.path().join("snap/db"), content).unwrap();
        let ago = SystemTime::now() - Duration::from_secs(60);
        for path in ["snap/db", "snap", ""] {
            fs::File::open(folder.path().join(path)).unwrap().set_modified(ago).unwrap();
        }
        folder
    }

    fn object(store: &Value) -> DynamicObject {
        let spec = json!({ "backup": { "store": store } });
        serde_json::from_value(json!({ "metadata": { "name": "etcd-main" }, "spec": spec })).unwrap()
    }

    fn backups(root: &Path, bucket: &str) -> Backups {
        let store = json!({ "container": bucket, "prefix": "shoot--dev--a--1/etcd-main" });
        Backups::at(root, &object(&store), "/spec/backup/store").unwrap().unwrap()
    }

    #[test]
    fn etcd_that_has_never_run_starts_with_the_backup_of_another_bucket() {
        let (root, etcd) = (tempfile::tempdir().unwrap(), etcd("old"));
        let (source, target) = (backups(root.path(), "one"), backups(root.path(), "two"));
        assert!(!source.copy_to(&target).unwrap());
        source.take(etcd.path()).unwrap();
        assert!(source.copy_to(&target).unwrap());
        let fresh = root.path().join("claims/u/data");
        fs::create_dir_all(fresh.parent().unwrap()).unwrap();
        assert!(target.restore(&fresh).unwrap());
        assert_eq!(fs::read_to_string(fresh.join("snap/db")).unwrap(), "old");
        fs::write(fresh.join("snap/db"), "new").unwrap();
        assert!(!target.restore(&fresh).unwrap());
        assert_eq!(fs::read_to_string(fresh.join("snap/db")).unwrap(), "new");
    }

    #[test]
    fn later_backup_replaces_the_earlier_one() {
        let root = tempfile::tempdir().unwrap();
        let backups = backups(root.path(), "one");
        for content in ["first", "second"] {
            backups.take(etcd(content).path()).unwrap();
        }
        assert_eq!(fs::read_to_string(backups.latest().unwrap().join("snap/db")).unwrap(), "second");
    }

    #[test]
    fn etcd_that_is_written_to_is_not_copied() {
        let (root, etcd) = (tempfile::tempdir().unwrap(), etcd("old"));
        fs::write(etcd.path().join("snap/db"), "new").unwrap();
        let error = backups(root.path(), "one").take(etcd.path()).unwrap_err();
        assert_eq!(error.to_string(), "the etcd is being written to");
    }

    #[test]
    fn place_is_inside_of_the_store() {
        let root = tempfile::tempdir().unwrap();
        let at = |store: &Value| Backups::at(root.path(), &object(store), "/spec/backup/store");
        assert!(at(&json!({ "container": "..", "prefix": "a" })).is_err());
        assert_eq!(Backups::at(root.path(), &object(&json!({})), "/spec/other").unwrap(), None);
    }
}
