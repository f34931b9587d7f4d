//! The Clusters of the seed: watched, and kept as the few facts that decisions need.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, CustomResource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::behaviour::of_annotation;
use crate::contract::{FORCE_DELETION_ANNOTATION, SCRIPT_ANNOTATION};
use crate::decide::ShootFacts;

/// A Cluster as the watch decodes it. Each carries a whole Shoot, Seed and CloudProfile, often 100 kB.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Cluster", schema = "disabled")]
#[serde(default)]
pub struct ClusterSpec {
    shoot: WatchedShoot,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct WatchedShoot {
    metadata: WatchedMeta,
    status: WatchedStatus,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct WatchedMeta {
    annotations: Option<HashMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct WatchedStatus {
    #[serde(rename = "technicalID")]
    technical_id: String,
    last_operation: Option<WatchedOperation>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct WatchedOperation {
    state: String,
}

impl Cluster {
    fn facts(&self) -> ShootFacts {
        let shoot = &self.spec.shoot;
        let annotation = |key| shoot.metadata.annotations.as_ref()?.get(key);
        ShootFacts {
            uid: self.metadata.uid.clone().unwrap_or_default(),
            technical_id: shoot.status.technical_id.clone(),
            failed: shoot.status.last_operation.as_ref().is_some_and(|last| last.state == "Failed"),
            // Gardener takes whatever Go's ParseBool does for true.
            force_deleted: annotation(FORCE_DELETION_ANNOTATION)
                .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "TRUE" | "true" | "True")),
            script: annotation(SCRIPT_ANNOTATION).map(|text| of_annotation(text)),
        }
    }
}

/// What is known of all Clusters; filled by [`Clusters::follow`].
#[derive(Debug)]
pub struct Clusters {
    known: RwLock<HashMap<String, ShootFacts>>,
    listed: watch::Sender<bool>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { known: RwLock::default(), listed: watch::Sender::new(false) }
    }
}

impl Clusters {
    /// The facts of one Cluster; none if it is not there.
    pub fn get(&self, name: &str) -> Option<ShootFacts> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Returns after the first list. Before it, an absent Cluster says nothing.
    pub async fn listed(&self) {
        // The sender lives as long as self: there is no error to handle.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Follows the Clusters; yields the names of those whose facts changed, came or went.
    pub fn follow(
        &self,
        client: Client,
        only: Option<&str>,
    ) -> impl Stream<Item = Result<Vec<String>, watcher::Error>> + use<'_> {
        // Small pages: a list of large Clusters would else be held in memory all at once.
        let config = watcher::Config::default().page_size(50);
        let config = match only {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        let mut relisted = HashMap::new();
        watcher(Api::<DeserializeGuard<Cluster>>::all(client), config).default_backoff().map(move |event| {
            Ok(match event? {
                watcher::Event::Apply(cluster) => self.put(&cluster).into_iter().collect(),
                watcher::Event::Delete(cluster) => self.remove(&cluster.name_any()).into_iter().collect(),
                watcher::Event::Init => {
                    relisted = HashMap::new();
                    Vec::new()
                }
                watcher::Event::InitApply(cluster) => {
                    relisted.extend(facts(&cluster).map(|facts| (cluster.name_any(), facts)));
                    Vec::new()
                }
                watcher::Event::InitDone => self.replace(std::mem::take(&mut relisted)),
            })
        })
    }

    fn put(&self, cluster: &DeserializeGuard<Cluster>) -> Option<String> {
        let name = cluster.name_any();
        let Some(facts) = facts(cluster) else { return self.remove(&name) };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let changed = known.get(&name) != Some(&facts);
        if changed {
            known.insert(name.clone(), facts);
        }
        changed.then_some(name)
    }

    fn remove(&self, name: &str) -> Option<String> {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name).map(|_| name.to_owned())
    }

    fn replace(&self, new: HashMap<String, ShootFacts>) -> Vec<String> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let gone = known.keys().filter(|name| !new.contains_key(*name));
        let changed = new.iter().filter(|(name, facts)| known.get(*name) != Some(facts)).map(|(name, _)| name);
        let names = gone.chain(changed).cloned().collect();
        *known = new;
        self.listed.send_replace(true);
        names
    }
}

fn facts(cluster: &DeserializeGuard<Cluster>) -> Option<ShootFacts> {
    match &cluster.0 {
        Ok(cluster) => Some(cluster.facts()),
        Err(invalid) => {
            tracing::warn!(
                cluster = invalid.metadata.name.as_deref().unwrap_or_default(),
                error = %invalid.error,
                "this Cluster cannot be read, its objects wait: correct the field that the error names",
            );
            None
        }
    }
}

/// A Cluster whose Shoot is kept as it is, for values that are copied into a status.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Cluster", schema = "disabled")]
#[kube(root = "FreshCluster")]
pub struct FreshClusterSpec {
    shoot: Value,
}

/// The Cluster's Shoot, read just now; none if there is no such Cluster. The watch is not good enough for values that
/// are copied: gardenlet writes the Cluster right before the objects, and two watches keep no order between them.
pub async fn read_shoot(client: &Client, cluster: &str) -> kube::Result<Option<Value>> {
    let cluster = Api::<FreshCluster>::all(client.clone()).get_opt(cluster).await?;
    Ok(cluster.map(|cluster| cluster.spec.shoot))
}
