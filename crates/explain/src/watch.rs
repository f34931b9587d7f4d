//! Objects under watch, each with its history.

use std::collections::{BTreeMap, BTreeSet};

use extension_contract::DELETION_CONFIRMATION_ANNOTATION;
use extension_contract::json::{annotation, get};
use extension_contract::kinds::{self, Kind};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use crate::explanation::{Explanation, explain, explain_absent};
use crate::history::History;
use crate::ours::Ours;
use crate::read::{Reader, api, found, within};
use crate::seed::{Found, Seed};

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// An event of one kind, or why the watch failed; it is retried.
pub type Change = (&'static Kind, Result<Event<DynamicObject>, watcher::Error>);

/// Objects under watch.
#[derive(Debug, Default)]
pub struct Watching {
    objects: BTreeMap<Key, Watched>,
    /// What the list in progress of a kind has shown so far.
    listed: BTreeMap<&'static str, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Watched {
    found: Found,
    history: History,
    is_gone: bool,
}

impl Reader {
    /// Watches all objects, or those of one namespace and all without one. A failed watch starts again by itself.
    pub fn watch(&self, namespace: Option<&str>) -> impl Stream<Item = Change> + use<> {
        // A client of ours gives up a connection on which nothing has come for 40 s. Such errors would add up to pauses of
        // 30 s; the API server ends a quiet watch before.
        let config = watcher::Config::default().timeout(30);
        stream::select_all(kinds::ALL.map(|kind| {
            let events = watcher(api(&self.client, kind, namespace), config.clone()).default_backoff();
            events.map(move |event| (kind, event)).boxed()
        }))
    }
}

impl Watching {
    /// Notes an event. Returns whether the API server has answered: the start of a list is no answer yet.
    pub fn apply(&mut self, kind: &'static Kind, event: Event<DynamicObject>) -> bool {
        let is_answer = !matches!(event, Event::Init);
        match event {
            Event::Init => drop(self.listed.insert(kind.name, BTreeSet::new())),
            Event::InitApply(object) => {
                if let Some(found) = found(kind, &object) {
                    self.listed.entry(kind.name).or_default().insert(found.key());
                    self.put(found);
                }
            }
            Event::InitDone => {
                let listed = self.listed.remove(kind.name).unwrap_or_default();
                let is_missing = |key: &Key| key.0 == kind.name && !listed.contains(key);
                let missing: Vec<_> = self.objects.keys().filter(|key| is_missing(key)).cloned().collect();
                for key in &missing {
                    self.remove(key);
                }
            }
            Event::Apply(object) => {
                if let Some(found) = found(kind, &object) {
                    self.put(found);
                }
            }
            Event::Delete(object) => {
                if let Some(found) = found(kind, &object) {
                    let key = found.key();
                    self.put(found);
                    self.remove(&key);
                }
            }
        }
        is_answer
    }

    /// The objects that exist, of one namespace or of all.
    #[must_use]
    pub fn objects(&self, namespace: Option<&str>) -> Vec<Found> {
        let all: Vec<_> =
            self.objects.values().filter(|watched| !watched.is_gone).map(|watched| watched.found.clone()).collect();
        match namespace {
            Some(namespace) => within(all, namespace),
            None => all,
        }
    }

    /// Explains the objects of `seed`, and those that are gone although gardenlet has not deleted them.
    #[must_use]
    pub fn explain(&self, seed: &Seed, ours: &[Ours], now: Timestamp) -> Vec<Explanation> {
        let nothing = History::default();
        let there = seed.objects.iter().map(|found| {
            let watched = self.objects.get(&found.key());
            explain(found, seed, watched.map_or(&nothing, |watched| &watched.history), ours, now)
        });
        let gone = self.objects.values().filter(|watched| watched.is_gone);
        there.chain(gone.map(|watched| explain_absent(&watched.found, seed, now))).collect()
    }

    fn put(&mut self, found: Found) {
        let key = found.key();
        let known = self.objects.get_mut(&key).map(|watched| std::mem::take(&mut watched.history));
        let mut history = known.unwrap_or_default();
        history.observe(&found.object);
        self.objects.insert(key, Watched { found, history, is_gone: false });
    }

    /// Forgets an object that gardenlet has deleted. An object without finalizers goes without a deletion timestamp.
    fn remove(&mut self, key: &Key) {
        let Some(watched) = self.objects.get_mut(key) else { return };
        let object = &watched.found.object;
        let is_wanted = get(object, "metadata.deletionTimestamp").is_some()
            || annotation(object, DELETION_CONFIRMATION_ANNOTATION) == Some("true");
        if is_wanted {
            self.objects.remove(key);
        } else {
            watched.is_gone = true;
        }
    }
}
