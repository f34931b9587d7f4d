//! The Clusters of the seed: watched, and kept as the little that decisions and outcomes need.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, CustomResource, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::behaviour::of_annotation;
use crate::contract::{FORCE_DELETION_ANNOTATION, SCRIPT_ANNOTATION};
use crate::decide::ShootFacts;
use crate::extension::Invalid;
use crate::objects::version;
use crate::watched::{decode, kept};

/// By how much a watch that is alive is behind at most, also of a busy API server.
const WATCH_LAG: Duration = Duration::from_secs(3);

/// A Cluster as the watch decodes it. Each carries a whole Shoot, Seed and CloudProfile, often 100 kB: what is not kept
/// is passed over.
///
/// To decode one cannot fail, since the CRD makes an object of the Shoot; what is in it is looked at later. So nothing
/// has to guard the watch, as [`Watched`](crate::watched::Watched) does with objects that are small.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "WholeCluster")]
struct Cluster {
    #[serde(deserialize_with = "kept")]
    metadata: ObjectMeta,
    spec: ClusterSpec,
}

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Cluster", schema = "disabled")]
#[kube(root = "WholeCluster")]
struct ClusterSpec {
    shoot: Box<RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WatchedShoot {
    metadata: WatchedMeta,
    status: WatchedStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WatchedMeta {
    annotations: Option<HashMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WatchedStatus {
    #[serde(rename = "technicalID")]
    technical_id: String,
    last_operation: Option<WatchedOperation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WatchedOperation {
    state: String,
}

impl Cluster {
    fn facts(&self) -> Result<ShootFacts, Invalid> {
        let shoot: WatchedShoot = decode(self.spec.shoot.get())?;
        let annotation = |key| shoot.metadata.annotations.as_ref()?.get(key);
        Ok(ShootFacts {
            uid: self.metadata.uid.clone().unwrap_or_default(),
            failed: shoot.status.last_operation.as_ref().is_some_and(|last| last.state == "Failed"),
            // Gardener takes whatever Go's ParseBool does for true.
            force_deleted: annotation(FORCE_DELETION_ANNOTATION)
                .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "TRUE" | "true" | "True")),
            script: annotation(SCRIPT_ANNOTATION).map(|text| of_annotation(text)),
            technical_id: shoot.status.technical_id,
        })
    }
}

/// What is known of all Clusters; filled by [`Clusters::follow`]. `S` is what a kind reads of their Shoots.
#[derive(Debug)]
pub struct Clusters<S>(watch::Sender<Known<S>>);

#[derive(Debug)]
struct Known<S> {
    /// Whether a list was ever complete.
    listed: bool,
    /// Whether one is under way: no event comes before it is complete.
    listing: bool,
    /// Of the latest event: whatever is older has been seen.
    version: u64,
    by_name: HashMap<String, Entry<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    /// None if they cannot be read.
    facts: Option<ShootFacts>,
    shoot: Arc<Result<S, Invalid>>,
}

impl<S> Default for Clusters<S> {
    fn default() -> Self {
        Self(watch::Sender::new(Known { listed: false, listing: true, version: 0, by_name: HashMap::new() }))
    }
}

impl<S: DeserializeOwned> Clusters<S> {
    /// The facts of one Cluster; none if it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ShootFacts> {
        facts(&self.0.borrow().by_name, name).cloned()
    }

    /// Returns after the first list. Before it, an absent Cluster says nothing.
    pub async fn listed(&self) {
        self.until(|known| known.listed).await;
    }

    /// A Cluster's Shoot as it is now at least, or what is wrong with it; none if there is no such Cluster, or none that
    /// can be read.
    ///
    /// The watch alone is not good enough for values that are copied into a status: gardenlet writes the Cluster right
    /// before the objects, and two watches keep no order between them. So the API server is asked for the Cluster's
    /// version, and the watch awaited if it is behind. Only if it does not come, as while it lists all Clusters anew, all
    /// of the Cluster is read, often 100 kB.
    ///
    /// A get is answered at once and makes the API server decode what etcd has. A list, for those with `patience`, is
    /// answered from the API server's cache as soon as that is as new as etcd: next to no CPU time, but up to 100 ms, so
    /// that each worker serves ten such objects a second.
    pub async fn fresh(
        &self,
        client: &Client,
        name: &str,
        patience: bool,
    ) -> kube::Result<Option<Arc<Result<S, Invalid>>>> {
        self.fresh_within(WATCH_LAG, client, name, patience).await
    }

    async fn fresh_within(
        &self,
        lag: Duration,
        client: &Client,
        name: &str,
        patience: bool,
    ) -> kube::Result<Option<Arc<Result<S, Invalid>>>> {
        let api = Api::<Cluster>::all(client.clone());
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let current = match if patience { api.list_metadata(&only).await.ok() } else { None } {
            Some(mut list) => list.items.pop(),
            // A cache that is being filled refuses a list, which a get does not need.
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

    /// The Shoot as it was at a version at least.
    async fn since(&self, version: u64, name: &str) -> Option<Arc<Result<S, Invalid>>> {
        self.until(|known| known.version >= version).await;
        let known = self.0.borrow();
        let entry = known.by_name.get(name).filter(|entry| entry.facts.is_some());
        entry.map(|entry| entry.shoot.clone())
    }

    async fn until(&self, holds: impl FnMut(&Known<S>) -> bool) {
        // The sender lives as long as self: there is no error to handle.
        let _ = self.0.subscribe().wait_for(holds).await;
    }

    /// Follows the Clusters; yields the names of those whose facts changed, came or went.
    pub fn follow(
        &self,
        client: Client,
        only: Option<&str>,
    ) -> impl Stream<Item = Result<Vec<String>, watcher::Error>> + use<'_, S> {
        // Small pages: the list of large Clusters decides how much memory the process needs at its peak.
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

    /// Makes a change that an event tells of, and lets those know that wait for one.
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

impl<S: DeserializeOwned> Entry<S> {
    fn new(cluster: &Cluster) -> Self {
        let facts = cluster.facts();
        if let Err(Invalid { field, problem }) = &facts {
            tracing::warn!(
                cluster = cluster.metadata.name,
                field = format!("spec.shoot.{field}"),
                error = problem,
                "this Cluster cannot be read, its objects wait: correct the field",
            );
        }
        let shoot = decode(cluster.spec.shoot.get()).map_err(|Invalid { field, problem }| Invalid {
            field: format!("spec.shoot.{field} of the Cluster"),
            problem,
        });
        Self { facts: facts.ok(), shoot: Arc::new(shoot) }
    }
}

#[cfg(test)]
mod tests;
