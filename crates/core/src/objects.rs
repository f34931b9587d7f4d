//! What a process remembers of each object between two rounds. All of it may be lost at any time: it saves requests
//! and paces retries, and decides nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource;
use kube::core::ObjectMeta;

const FIRST_RETRY: Duration = Duration::from_millis(200);
// gardenlet waits three minutes for most kinds: an outage must not cost an object much more than it lasted.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

/// The key of an object.
pub fn key(object: &impl Resource) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Memory of all objects of one kind.
#[derive(Debug, Default)]
pub struct Objects(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    by_cluster: HashMap<String, HashSet<Key>>,
    listing: HashSet<Key>,
}

#[derive(Debug, Default)]
struct Entry {
    uid: String,
    cluster: Option<String>,
    failures: u32,
    retry_at: Option<Instant>,
    written: Option<u64>,
}

impl Objects {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list begins.
    pub fn list_began(&self) {
        self.lock().listing.clear();
    }

    /// An object is in the list.
    pub fn listed(&self, object: &impl Resource, cluster: Option<&str>) {
        self.seen(object, cluster);
        self.lock().listing.insert(key(object));
    }

    /// An object was listed or changed.
    pub fn seen(&self, object: &impl Resource, cluster: Option<&str>) {
        let (key, uid) = (key(object), object.meta().uid.clone().unwrap_or_default());
        let mut inner = self.lock();
        let known =
            inner.entries.get(&key).is_some_and(|entry| entry.uid == uid && entry.cluster.as_deref() == cluster);
        if !known {
            inner.forget(&key);
            if let Some(cluster) = cluster {
                inner.by_cluster.entry(cluster.to_owned()).or_default().insert(key.clone());
            }
            let entry = Entry { uid, cluster: cluster.map(str::to_owned), ..Entry::default() };
            inner.entries.insert(key, entry);
        }
    }

    /// The list is complete: what it did not hold is gone.
    pub fn list_ended(&self) {
        let mut inner = self.lock();
        let listing = std::mem::take(&mut inner.listing);
        let gone: Vec<Key> = inner.entries.keys().filter(|key| !listing.contains(*key)).cloned().collect();
        for key in &gone {
            inner.forget(key);
        }
    }

    /// An object was deleted.
    pub fn gone(&self, object: &impl Resource) {
        self.lock().forget(&key(object));
    }

    /// The objects that belong to a Cluster.
    pub fn of_cluster(&self, cluster: &str) -> Vec<Key> {
        self.lock().by_cluster.get(cluster).into_iter().flatten().cloned().collect()
    }

    /// Our last write returned this metadata.
    pub fn written(&self, key: &Key, meta: &ObjectMeta) {
        // Without a finalizer, an object that is being deleted is gone: all that is still to be seen of it is older.
        let gone = meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().next().is_none();
        // The answer may come when another of that name is there.
        let mut inner = self.lock();
        let entry = inner.entries.get_mut(key).filter(|entry| meta.uid.as_deref() == Some(entry.uid.as_str()));
        if let Some(entry) = entry {
            entry.written = if gone { Some(u64::MAX) } else { version(meta) };
        }
    }

    /// Whether this is the object from before our last write, whose event is still to come. To act on it would only
    /// end in a conflict.
    pub fn is_outdated(&self, key: &Key, meta: &ObjectMeta) -> bool {
        let inner = self.lock();
        let Some(entry) = inner.entries.get(key) else { return false };
        entry.written.zip(version(meta)).is_some_and(|(written, seen)| seen < written)
    }

    /// How long to wait with this object after a failed round. Only the event of our own last write waits: it would
    /// else start the next round at once and so defeat the backoff. What others change is looked at at once.
    pub fn pause(&self, key: &Key, meta: &ObjectMeta) -> Option<Duration> {
        let inner = self.lock();
        let entry = inner.entries.get(key)?;
        let own = entry.written.is_some() && entry.written == version(meta);
        let pause = entry.retry_at?.checked_duration_since(Instant::now())?;
        own.then_some(pause)
    }

    /// A round failed; returns how long to wait before the next: doubling from 200 ms to 30 s.
    pub fn failed(&self, key: &Key) -> Duration {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(key) else { return FIRST_RETRY };
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(entry.failures)).min(LAST_RETRY);
        entry.failures = entry.failures.saturating_add(1);
        entry.retry_at = Instant::now().checked_add(pause);
        pause
    }

    /// A round went well.
    pub fn succeeded(&self, key: &Key) {
        if let Some(entry) = self.lock().entries.get_mut(key) {
            entry.failures = 0;
            entry.retry_at = None;
        }
    }
}

impl Inner {
    fn forget(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        let Some(cluster) = entry.cluster else { return };
        if let Some(keys) = self.by_cluster.get_mut(&cluster) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_cluster.remove(&cluster);
            }
        }
    }
}

/// Resource versions of one resource are comparable numbers.
pub(crate) fn version(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn object(name: &str, uid: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("ns".into()),
                name: Some(name.into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn backoff_doubles_is_bounded_and_forgotten_on_success_and_disappearance() {
        let objects = Objects::default();
        let object = object("a", "1", "1");
        let key = key(&object);
        objects.seen(&object, Some("ns"));
        assert_eq!(objects.failed(&key), FIRST_RETRY);
        assert_eq!(objects.failed(&key), FIRST_RETRY * 2);
        objects.succeeded(&key);
        assert_eq!(objects.failed(&key), FIRST_RETRY);
        (0..40).for_each(|_| {
            objects.failed(&key);
        });
        assert_eq!(objects.failed(&key), LAST_RETRY);
        objects.gone(&object);
        objects.seen(&object, Some("ns"));
        assert_eq!(objects.failed(&key), FIRST_RETRY);
    }

    #[test]
    fn backoff_is_of_the_uid_not_of_the_name() {
        let objects = Objects::default();
        objects.seen(&object("a", "1", "1"), None);
        objects.failed(&key(&object("a", "1", "1")));
        objects.seen(&object("a", "2", "2"), None);
        assert_eq!(objects.failed(&key(&object("a", "2", "2"))), FIRST_RETRY);
    }

    #[test]
    fn an_event_from_before_our_write_is_outdated_until_the_writes_own_event_comes() {
        let objects = Objects::default();
        let (old, new) = (object("a", "1", "99"), object("a", "1", "100"));
        let key = key(&old);
        objects.seen(&old, None);
        assert!(!objects.is_outdated(&key, &old.metadata));
        objects.written(&key, &new.metadata);
        assert!(objects.is_outdated(&key, &old.metadata));
        assert!(!objects.is_outdated(&key, &new.metadata));
    }

    #[test]
    fn after_the_last_finalizer_is_out_nothing_of_the_object_counts_any_more() {
        let objects = Objects::default();
        // The API server answers with the version that it deleted.
        let mut deleted = object("a", "1", "100");
        deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let key = key(&deleted);
        objects.seen(&deleted, None);
        objects.written(&key, &deleted.metadata);
        assert!(objects.is_outdated(&key, &deleted.metadata));
        let next = object("a", "2", "101");
        objects.seen(&next, None);
        assert!(!objects.is_outdated(&key, &next.metadata));
        objects.written(&key, &deleted.metadata);
        assert!(!objects.is_outdated(&key, &next.metadata), "a late answer says nothing of the next of that name");

        objects.seen(&deleted, None);
        deleted.metadata.finalizers = Some(vec!["somebody's".to_owned()]);
        objects.written(&key, &deleted.metadata);
        assert!(!objects.is_outdated(&key, &deleted.metadata));
    }

    #[test]
    fn after_a_failure_the_event_of_our_own_write_waits_and_that_of_others_does_not() {
        let objects = Objects::default();
        let (own, others) = (object("a", "1", "100"), object("a", "1", "101"));
        let key = key(&own);
        objects.seen(&own, None);
        objects.written(&key, &own.metadata);
        assert_eq!(objects.pause(&key, &own.metadata), None);
        objects.failed(&key);
        assert!(objects.pause(&key, &own.metadata).is_some_and(|pause| pause <= FIRST_RETRY));
        assert_eq!(objects.pause(&key, &others.metadata), None);
        objects.succeeded(&key);
        assert_eq!(objects.pause(&key, &own.metadata), None);
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_hold() {
        let objects = Objects::default();
        objects.seen(&object("a", "1", "1"), Some("ns"));
        objects.seen(&object("b", "2", "1"), Some("ns"));
        assert_eq!(objects.of_cluster("ns").len(), 2);
        objects.list_began();
        objects.listed(&object("b", "2", "1"), Some("ns"));
        objects.list_ended();
        assert_eq!(objects.of_cluster("ns"), vec![key(&object("b", "2", "1"))]);
    }
}
