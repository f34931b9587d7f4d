//! The Clusters of the seed. They are watched, and only the fields that decisions and outcomes need are kept.

mod decode;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::timeout;

use self::decode::Cluster;
use super::memory::version;
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

/// What is known of all Clusters, filled by [`Clusters::follow`]. `S` is what a kind reads of their Shoots.
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
}

#[derive(Debug)]
struct Entry<S> {
    /// `None` if the Shoot is unreadable.
    facts: Option<ShootFacts>,
    shoot: Arc<Result<S, Invalid>>,
}

impl<S> Default for Clusters<S> {
    fn default() -> Self {
        Self(watch::Sender::new(Known { listed: false, listing: true, version: 0, by_name: HashMap::new() }))
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

    /// Follows the Clusters. Yields the names of those that appeared, disappeared or whose facts changed.
    pub fn follow(
        &self,
        client: Client,
        only: Option<&str>,
    ) -> impl Stream<Item = Result<Vec<String>, watcher::Error>> + use<'_, S> {
        // Small pages: the list of large Clusters determines the peak memory of the process.
        let config = watcher::Config::default().page_size(10);
        let config = match only {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        let (mut relisted, mut latest) = (HashMap::new(), None);
        watcher(Api::<Cluster>::all(client), config).default_backoff().map(move |event| {
            Ok(match event? {
                watcher::Event::Apply(cluster) => self.put(&cluster).into_iter().collect(),
                watcher::Event::Delete(cluster) => self.remove(&cluster).into_iter().collect(),
                watcher::Event::Init => {
                    (relisted, latest) = (HashMap::new(), None);
                    self.list_began();
                    Vec::new()
                }
                watcher::Event::InitApply(cluster) => {
                    latest = latest.max(version(&cluster.metadata));
                    relisted.insert(cluster.name_any(), Entry::new(&cluster));
                    Vec::new()
                }
                watcher::Event::InitDone => self.replace(std::mem::take(&mut relisted), latest),
            })
        })
    }

    fn list_began(&self) {
        self.0.send_modify(|known| known.listing = true);
    }

    fn put(&self, cluster: &Cluster) -> Option<String> {
        let (name, entry) = (cluster.name_any(), Entry::new(cluster));
        self.change(version(&cluster.metadata), |known| {
            let facts = entry.facts.clone();
            let before = known.by_name.insert(name.clone(), entry).and_then(|entry| entry.facts);
            (before != facts).then_some(name)
        })
    }

    fn remove(&self, cluster: &Cluster) -> Option<String> {
        let name = cluster.name_any();
        self.change(version(&cluster.metadata), |known| {
            let before = known.by_name.remove(&name).and_then(|entry| entry.facts);
            before.map(|_| name)
        })
    }

    fn replace(&self, new: HashMap<String, Entry<S>>, latest: Option<u64>) -> Vec<String> {
        self.change(latest, |known| {
            let before = std::mem::replace(&mut known.by_name, new);
            (known.listed, known.listing) = (true, false);
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
                field = format!("spec.shoot.{field}"),
                error = problem,
                "the Cluster is unreadable, its objects wait: correct the field",
            );
        }
        Self { facts: facts.ok(), shoot: Arc::new(cluster.view()) }
    }
}

#[cfg(test)]
mod tests;
