//! The Clusters of the seed. They are watched, and only the fields that decisions and outcomes need are kept.

mod decode;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use self::decode::Cluster;
pub use self::decode::facts_of;
use super::informer::{Event, Informer, Pages, Versions};
use super::key::Key;
use super::memory::version;
use super::reach::Reach;
use crate::decide::view::ShootFacts;
use crate::invalid::Invalid;
use crate::kind::ShootView;

/// Upper bound on the lag of a healthy watch, even when the API server is busy.
const WATCH_LAG: Duration = Duration::from_secs(3);

/// How to ask the API server for the version of a Cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// By a get. The API server answers immediately, but it decodes the Cluster from etcd.
    Prompt,
    /// By a list. The API server answers from its cache once that is as new as etcd: next to no CPU time, but up to 100
    /// ms, so one worker may serve only ten such objects a second.
    Cheap,
}

/// What is known of all Clusters, filled by its informer. `S` is what a kind reads of their Shoots.
#[derive(Debug)]
pub struct Clusters<S>(watch::Sender<Known<S>>);

#[derive(Debug)]
struct Known<S> {
    /// Whether the first list is complete.
    listed: bool,
    /// Whether a list is in progress: no event arrives before it is complete.
    listing: bool,
    /// Version of the latest event. Everything older has been seen.
    version: u64,
    by_name: HashMap<String, Entry<S>>,
    /// What the list in progress has shown so far.
    relisted: HashMap<String, Entry<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    version: u64,
    /// `None` if the Shoot is unreadable.
    facts: Option<ShootFacts>,
    shoot: Arc<Result<S, Invalid>>,
}

impl<S> Default for Clusters<S> {
    fn default() -> Self {
        let (by_name, relisted) = (HashMap::new(), HashMap::new());
        Self(watch::Sender::new(Known { listed: false, listing: true, version: 0, by_name, relisted }))
    }
}

impl<S: ShootView> Clusters<S> {
    /// The facts of one Cluster. Returns `None` if it does not exist or is unreadable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ShootFacts> {
        facts(&self.0.borrow().by_name, name).cloned()
    }

    /// Waits for the first list. Until it completes, a missing Cluster may simply not have been seen yet.
    pub async fn listed(&self) {
        self.until(|known| known.listed).await;
    }

    /// The current Shoot of a Cluster, or what is wrong with it. Returns `None` if the Cluster does not exist or is
    /// unreadable.
    ///
    /// The watch alone is too old for values that are copied into a status: gardenlet writes the Cluster right before
    /// the objects, and two watches are not ordered. So this asks the API server for the Cluster's version, and waits
    /// for the watch to catch up. If the watch does not, for example while it lists all Clusters again, this reads the
    /// whole Cluster, often 100 kB.
    pub async fn shoot(
        &self,
        client: &Client,
        name: &str,
        effort: Effort,
    ) -> kube::Result<Option<Arc<Result<S, Invalid>>>> {
        self.shoot_within(WATCH_LAG, client, name, effort).await
    }

    async fn shoot_within(
        &self,
        lag: Duration,
        client: &Client,
        name: &str,
        effort: Effort,
    ) -> kube::Result<Option<Arc<Result<S, Invalid>>>> {
        let api = Api::<Cluster>::all(client.clone());
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = match effort {
            Effort::Cheap => api.list_metadata(&only).await.ok(),
            Effort::Prompt => None,
        };
        let current = match listed {
            Some(mut list) => list.items.pop(),
            // A list fails while the API server fills its cache. A get does not need the cache.
            None => api.get_metadata_opt(name).await?,
        };
        let Some(current) = current.and_then(|cluster| version(&cluster.metadata)) else { return Ok(None) };
        let lag = if self.0.borrow().listing { Duration::ZERO } else { lag };
        if let Ok(shoot) = timeout(lag, self.since(current, name)).await {
            return Ok(shoot);
        }
        let entry = api.get_opt(name).await?.map(|cluster| Entry::new(&cluster));
        Ok(entry.filter(|entry| entry.facts.is_some()).map(|entry| entry.shoot))
    }

    /// The Shoot at this version or a later one.
    async fn since(&self, version: u64, name: &str) -> Option<Arc<Result<S, Invalid>>> {
        self.until(|known| known.version >= version).await;
        let known = self.0.borrow();
        let entry = known.by_name.get(name).filter(|entry| entry.facts.is_some());
        entry.map(|entry| entry.shoot.clone())
    }

    async fn until(&self, holds: impl FnMut(&Known<S>) -> bool) {
        // The sender lives as long as self, so there is no error to handle.
        let _ = self.0.subscribe().wait_for(holds).await;
    }

    /// Lists and watches the Clusters, or the one with this name. Each event belongs to [`apply`](Self::apply); `known`
    /// returns the [`versions`](Self::versions) after that.
    pub(crate) fn informer(
        client: Client,
        only: Option<&str>,
        reach: Reach,
        known: impl Fn() -> Versions + Send + 'static,
    ) -> Informer<Cluster> {
        let fields = only.map(|name| format!("metadata.name={name}"));
        // Small pages: the list of large Clusters determines the peak memory of the process.
        let pages = Pages { objects: 10, metadata: None };
        Informer::new(Api::all(client), fields, pages, reach, known)
    }

    /// Applies an event. Returns the names of the Clusters that appeared, disappeared or whose facts changed.
    pub(crate) fn apply(&self, event: Event<Cluster>) -> Vec<String> {
        match event {
            Event::ListBegan => self.list_began(),
            Event::Listed(cluster) => self.list(&cluster),
            Event::ListEnded(version) => return self.replace(version),
            Event::Changed(cluster) => return self.put(&cluster).into_iter().collect(),
            Event::Deleted(cluster) => {
                return self.remove(&cluster.name_any(), version(&cluster.metadata)).into_iter().collect();
            }
            Event::Gone(key) => return self.remove(&key.name, None).into_iter().collect(),
            Event::Reached(version) => self.change(Some(version), |_| ()),
            Event::Failed(_) | Event::Answered => {}
        }
        Vec::new()
    }

    /// The versions of all known Clusters.
    pub(crate) fn versions(&self) -> Versions {
        let known = self.0.borrow();
        let key = |name: &String| Key { namespace: None, name: name.clone() };
        known.by_name.iter().map(|(name, entry)| (key(name), entry.version)).collect()
    }

    fn list_began(&self) {
        self.0.send_modify(|known| {
            known.listing = true;
            known.relisted = HashMap::new();
        });
    }

    fn list(&self, cluster: &Cluster) {
        let entry = Entry::new(cluster);
        self.0.send_modify(|known| drop(known.relisted.insert(cluster.name_any(), entry)));
    }

    fn put(&self, cluster: &Cluster) -> Option<String> {
        let (name, entry) = (cluster.name_any(), Entry::new(cluster));
        self.change(version(&cluster.metadata), |known| {
            let facts = entry.facts.clone();
            let before = known.by_name.insert(name.clone(), entry).and_then(|entry| entry.facts);
            (before != facts).then_some(name)
        })
    }

    fn remove(&self, name: &str, version: Option<u64>) -> Option<String> {
        self.change(version, |known| {
            let before = known.by_name.remove(name).and_then(|entry| entry.facts);
            before.map(|_| name.to_owned())
        })
    }

    fn replace(&self, version: u64) -> Vec<String> {
        self.change(None, |known| {
            let new = std::mem::take(&mut known.relisted);
            let before = std::mem::replace(&mut known.by_name, new);
            // Not the maximum: an API server that was restored from a backup has gone back.
            (known.listed, known.listing, known.version) = (true, false, version);
            let now = &known.by_name;
            let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
            names.filter(|name| facts(&before, name) != facts(now, name)).cloned().collect()
        })
    }

    /// Applies the change of an event, and wakes the tasks that wait for one.
    fn change<T: Default>(&self, version: Option<u64>, change: impl FnOnce(&mut Known<S>) -> T) -> T {
        let mut result = T::default();
        self.0.send_modify(|known| {
            known.version = known.version.max(version.unwrap_or_default());
            result = change(known);
        });
        result
    }
}

fn facts<'a, S>(entries: &'a HashMap<String, Entry<S>>, name: &str) -> Option<&'a ShootFacts> {
    entries.get(name)?.facts.as_ref()
}

impl<S: ShootView> Entry<S> {
    fn new(cluster: &Cluster) -> Self {
        let facts = cluster.facts();
        if let Err(Invalid { field, problem }) = &facts {
            tracing::warn!(
                cluster = cluster.metadata.name,
                field,
                error = problem,
                "the Cluster is unreadable, its objects wait: correct the field",
            );
        }
        let version = version(&cluster.metadata).unwrap_or_default();
        Self { version, facts: facts.ok(), shoot: Arc::new(cluster.view()) }
    }
}

#[cfg(test)]
mod tests;
