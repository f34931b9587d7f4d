//! What a process remembers of each object between two reconciles: its version after our last write, and its backoff.
//! All of it may be lost at any time. It saves requests and paces retries, and no decision depends on it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource;
use kube::core::ObjectMeta;

use super::key::Key;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
// gardenlet waits three minutes for most kinds. Whatever the API server refused, an object is served within 10 s after the
// cause is gone.
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// After a hundred failures without a retry that succeeds, all objects together are retried ten times a second, as by
/// client-go (`k8s.io/client-go/util/workqueue/default_rate_limiters.go`): an API server that refuses every write of
/// thousands of objects has no use for more.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const RETRIES_AT_ONCE: u32 = 100;

/// Memory of all objects of one kind.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    by_cluster: HashMap<String, HashSet<Key>>,
    listing: HashSet<Key>,
    /// When the latest retry would begin if all of them since the latest success had been evenly spread.
    retries_until: Option<Instant>,
    /// Until when objects wait for each other.
    crowded_until: Option<Instant>,
    /// When a success has ended all backoffs.
    relieved: Option<Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    uid: String,
    cluster: Option<String>,
    failures: u32,
    retry_at: Option<Instant>,
    written: Option<u64>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list starts.
    pub fn list_began(&self) {
        self.lock().listing.clear();
    }

    /// The list contains an object. The list is right about its version: an API server that was restored from a backup
    /// has lost our last write. If the list is merely older than our write, the next reconcile conflicts, and reads the
    /// object again.
    pub fn listed(&self, object: &impl Resource, cluster: Option<&str>) {
        self.seen(object, cluster);
        let mut inner = self.lock();
        let key = Key::of(object);
        if let Some(entry) = inner.entries.get_mut(&key) {
            entry.written = None;
        }
        inner.listing.insert(key);
    }

    /// An object was listed or changed.
    pub fn seen(&self, object: &impl Resource, cluster: Option<&str>) {
        let (key, uid) = (Key::of(object), object.meta().uid.clone().unwrap_or_default());
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

    /// The list is complete: objects that it did not contain are gone.
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
        self.lock().forget(&Key::of(object));
    }

    /// Keys of the objects that belong to a Cluster.
    pub fn of_cluster(&self, cluster: &str) -> Vec<Key> {
        self.lock().by_cluster.get(cluster).into_iter().flatten().cloned().collect()
    }

    /// Remembers the metadata that our last write returned.
    pub fn written(&self, key: &Key, meta: &ObjectMeta) {
        // Once the last finalizer is removed the object is deleted. Any later event for it is stale.
        let gone = meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().next().is_none();
        // When the answer arrives, the name may already belong to another object.
        let mut inner = self.lock();
        let entry = inner.entries.get_mut(key).filter(|entry| meta.uid.as_deref() == Some(entry.uid.as_str()));
        if let Some(entry) = entry {
            entry.written = if gone { Some(u64::MAX) } else { version(meta) };
        }
    }

    /// Whether this version is older than our last write, whose event has not arrived yet. Acting on it would only
    /// conflict.
    pub fn is_stale(&self, key: &Key, meta: &ObjectMeta) -> bool {
        let inner = self.lock();
        let Some(entry) = inner.entries.get(key) else { return false };
        entry.written.zip(version(meta)).is_some_and(|(written, seen)| seen < written)
    }

    /// Remaining backoff of this object after a failed reconcile. It only applies to the event of our own last write,
    /// which would otherwise defeat the backoff. Changes of others are reconciled immediately.
    pub fn pause(&self, key: &Key, meta: &ObjectMeta) -> Option<Duration> {
        let inner = self.lock();
        let entry = inner.entries.get(key)?;
        let own = entry.written.is_some() && entry.written == version(meta);
        let pause = entry.retry_at?.checked_duration_since(Instant::now())?;
        own.then_some(pause)
    }

    /// Notes a failed reconcile. Returns the pause before the next one: 200 ms, doubled each time, up to 8 s. It is
    /// longer if the API server asks for it, or if very many objects fail.
    pub fn failed(&self, key: &Key, asked: Option<Duration>) -> Duration {
        let now = Instant::now();
        let mut inner = self.lock();
        let crowd = inner.retry_slot(now).saturating_duration_since(now);
        let Some(entry) = inner.entries.get_mut(key) else { return FIRST_BACKOFF };
        let pause = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(entry.failures)).min(LONGEST_BACKOFF);
        let pause = pause.max(crowd).max(asked.unwrap_or_default());
        entry.failures = entry.failures.saturating_add(1);
        entry.retry_at = now.checked_add(pause);
        pause
    }

    /// Ends the backoff of all objects. Returns their keys.
    pub fn release(&self) -> Vec<Key> {
        self.lock().release()
    }

    /// Notes a successful reconcile. Returns the keys of the other objects whose backoff this ends: if so many failed
    /// that they waited for each other, the reason may be gone for all of them.
    pub fn succeeded(&self, key: &Key) -> Vec<Key> {
        let now = Instant::now();
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(key) else { return Vec::new() };
        entry.retry_at = None;
        if std::mem::take(&mut entry.failures) == 0 {
            return Vec::new();
        }
        inner.retries_until = None;
        let is_crowded = inner.crowded_until.is_some_and(|until| until > now);
        // Otherwise an object that fails now and then would defeat the backoff of those that always fail.
        let is_early = inner.relieved.is_some_and(|at| now.duration_since(at) < LONGEST_BACKOFF);
        if !is_crowded || is_early {
            return Vec::new();
        }
        inner.relieved = Some(now);
        inner.release()
    }
}

impl Inner {
    /// When the next retry may begin.
    fn retry_slot(&mut self, now: Instant) -> Instant {
        let earliest = now.checked_sub(RETRY_INTERVAL.saturating_mul(RETRIES_AT_ONCE)).unwrap_or(now);
        let slot = self.retries_until.map_or(earliest, |until| until.max(earliest));
        let slot = slot.checked_add(RETRY_INTERVAL).unwrap_or(slot);
        self.retries_until = Some(slot);
        self.crowded_until = self.crowded_until.max(Some(slot));
        slot
    }

    fn release(&mut self) -> Vec<Key> {
        (self.retries_until, self.crowded_until) = (None, None);
        let waiting = self.entries.iter_mut().filter_map(|(key, entry)| entry.retry_at.take().map(|_| key.clone()));
        waiting.collect()
    }

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

/// The resource version as a number. Versions of one resource are comparable.
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
    fn backoff_doubles_up_to_a_limit_and_is_reset_by_success_and_deletion() {
        let memory = Memory::default();
        let object = object("a", "1", "1");
        let key = Key::of(&object);
        memory.seen(&object, Some("ns"));
        assert_eq!(memory.failed(&key, None), FIRST_BACKOFF);
        assert_eq!(memory.failed(&key, None), FIRST_BACKOFF * 2);
        memory.succeeded(&key);
        assert_eq!(memory.failed(&key, None), FIRST_BACKOFF);
        (0..40).for_each(|_| {
            memory.failed(&key, None);
        });
        assert_eq!(memory.failed(&key, None), LONGEST_BACKOFF);
        memory.gone(&object);
        memory.seen(&object, Some("ns"));
        assert_eq!(memory.failed(&key, None), FIRST_BACKOFF);
    }

    #[test]
    fn backoff_belongs_to_the_uid_not_to_the_name() {
        let memory = Memory::default();
        memory.seen(&object("a", "1", "1"), None);
        memory.failed(&Key::of(&object("a", "1", "1")), None);
        memory.seen(&object("a", "2", "2"), None);
        assert_eq!(memory.failed(&Key::of(&object("a", "2", "2")), None), FIRST_BACKOFF);
    }

    #[test]
    fn an_event_from_before_our_write_is_stale_until_the_writes_own_event_comes() {
        let memory = Memory::default();
        let (old, new) = (object("a", "1", "99"), object("a", "1", "100"));
        let key = Key::of(&old);
        memory.seen(&old, None);
        assert!(!memory.is_stale(&key, &old.metadata));
        memory.written(&key, &new.metadata);
        assert!(memory.is_stale(&key, &old.metadata));
        assert!(!memory.is_stale(&key, &new.metadata));
    }

    #[test]
    fn after_the_last_finalizer_is_removed_every_event_of_the_object_is_stale() {
        let memory = Memory::default();
        // The API server answers with the version that it deleted.
        let mut deleted = object("a", "1", "100");
        deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let key = Key::of(&deleted);
        memory.seen(&deleted, None);
        memory.written(&key, &deleted.metadata);
        assert!(memory.is_stale(&key, &deleted.metadata));
        let next = object("a", "2", "101");
        memory.seen(&next, None);
        assert!(!memory.is_stale(&key, &next.metadata));
        memory.written(&key, &deleted.metadata);
        assert!(!memory.is_stale(&key, &next.metadata), "a late answer does not affect the next object of that name");

        memory.seen(&deleted, None);
        deleted.metadata.finalizers = Some(vec!["t.example.org/other".to_owned()]);
        memory.written(&key, &deleted.metadata);
        assert!(!memory.is_stale(&key, &deleted.metadata));
    }

    #[test]
    fn after_a_failure_only_the_event_of_our_own_write_is_delayed() {
        let memory = Memory::default();
        let (own, others) = (object("a", "1", "100"), object("a", "1", "101"));
        let key = Key::of(&own);
        memory.seen(&own, None);
        memory.written(&key, &own.metadata);
        assert_eq!(memory.pause(&key, &own.metadata), None);
        memory.failed(&key, None);
        assert!(memory.pause(&key, &own.metadata).is_some_and(|pause| pause <= FIRST_BACKOFF));
        assert_eq!(memory.pause(&key, &others.metadata), None);
        memory.succeeded(&key);
        assert_eq!(memory.pause(&key, &own.metadata), None);
    }

    #[test]
    fn a_list_is_right_about_a_version_that_is_older_than_our_write() {
        let memory = Memory::default();
        let (written, restored) = (object("a", "1", "100"), object("a", "1", "90"));
        let key = Key::of(&written);
        memory.seen(&written, None);
        memory.written(&key, &written.metadata);
        assert!(memory.is_stale(&key, &restored.metadata));
        memory.list_began();
        memory.listed(&restored, None);
        memory.list_ended();
        assert!(!memory.is_stale(&key, &restored.metadata));
    }

    #[test]
    fn backoff_is_as_long_as_the_api_server_asks_for_and_ends_when_it_is_released() {
        let memory = Memory::default();
        let (own, other) = (object("a", "1", "100"), object("b", "2", "101"));
        let key = Key::of(&own);
        memory.seen(&own, None);
        memory.seen(&other, None);
        memory.written(&key, &own.metadata);
        assert_eq!(memory.failed(&key, Some(Duration::from_secs(20))), Duration::from_secs(20));
        assert!(memory.pause(&key, &own.metadata).is_some());
        assert_eq!(memory.release().len(), 1);
        assert_eq!(memory.pause(&key, &own.metadata), None);
        assert_eq!(memory.release(), []);
    }

    #[test]
    fn very_many_objects_that_fail_wait_for_each_other_until_one_succeeds() {
        let memory = Memory::default();
        let keys: Vec<_> = (0..1000)
            .map(|index| {
                let object = object(&format!("o{index}"), "1", "1");
                memory.seen(&object, None);
                Key::of(&object)
            })
            .collect();
        let pauses: Vec<_> = keys.iter().map(|key| memory.failed(key, None)).collect();
        assert_eq!((pauses[0], pauses[90]), (FIRST_BACKOFF, FIRST_BACKOFF));
        assert!((80..=90).contains(&pauses[999].as_secs()), "{:?}", pauses[999]);
        assert_eq!(memory.succeeded(&keys[5]).len(), 999);
        assert_eq!(memory.failed(&keys[6], None), FIRST_BACKOFF * 2);

        for key in &keys {
            memory.failed(key, None);
        }
        assert_eq!(memory.succeeded(&keys[5]), [], "it ends all backoffs at most once in 8 s");
        assert_eq!(memory.failed(&keys[5], None), FIRST_BACKOFF);
        memory.lock().relieved = Instant::now().checked_sub(LONGEST_BACKOFF);
        assert_eq!(memory.succeeded(&keys[5]).len(), 999, "those that waited for each other still do");
    }

    #[test]
    fn few_objects_that_fail_keep_their_backoff_when_another_succeeds() {
        let memory = Memory::default();
        let (one, other) = (object("a", "1", "1"), object("b", "2", "1"));
        memory.seen(&one, None);
        memory.seen(&other, None);
        memory.failed(&Key::of(&one), None);
        memory.failed(&Key::of(&other), None);
        assert_eq!(memory.succeeded(&Key::of(&one)), []);
    }

    #[test]
    fn a_new_list_forgets_objects_that_it_does_not_contain() {
        let memory = Memory::default();
        memory.seen(&object("a", "1", "1"), Some("ns"));
        memory.seen(&object("b", "2", "1"), Some("ns"));
        assert_eq!(memory.of_cluster("ns").len(), 2);
        memory.list_began();
        memory.listed(&object("b", "2", "1"), Some("ns"));
        memory.list_ended();
        assert_eq!(memory.of_cluster("ns"), vec![Key::of(&object("b", "2", "1"))]);
    }
}
