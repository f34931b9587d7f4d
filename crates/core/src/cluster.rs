//! The Clusters of the seed: watched, and kept as the few facts that decisions need.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, CustomResource, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::behaviour::of_annotation;
use crate::contract::{FORCE_DELETION_ANNOTATION, SCRIPT_ANNOTATION};
use crate::decide::ShootFacts;
use crate::extension::Invalid;
use crate::watched::{decode, kept};

/// A Cluster as the watch decodes it. Each carries a whole Shoot, Seed and CloudProfile, often 100 kB: what is not kept
/// is passed over.
///
/// To decode one cannot fail, since the CRD makes an object of the Shoot; what is in it is looked at later. So nothing
/// has to guard the watch, as [`Watched`](crate::watched::Watched) does with objects that are small.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "FreshCluster")]
struct Cluster {
    #[serde(deserialize_with = "kept")]
    metadata: ObjectMeta,
    spec: ClusterSpec,
}

#[derive(Clone, Debug, Deserialize)]
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
        // Small pages: the list of large Clusters decides how much memory the process needs at its peak.
        let config = watcher::Config::default().page_size(10);
        let config = match only {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        let mut relisted = HashMap::new();
        watcher(Api::<Cluster>::all(client), config).default_backoff().map(move |event| {
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

    fn put(&self, cluster: &Cluster) -> Option<String> {
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

fn facts(cluster: &Cluster) -> Option<ShootFacts> {
    let facts = cluster.facts();
    if let Err(Invalid { field, problem }) = &facts {
        tracing::warn!(
            cluster = cluster.metadata.name,
            field = format!("spec.shoot.{field}"),
            error = problem,
            "this Cluster cannot be read, its objects wait: correct the field",
        );
    }
    facts.ok()
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
///
/// A get is answered at once and makes the API server decode what etcd has, often 100 kB. A list is answered from the
/// API server's cache as soon as that is as new as etcd, which takes up to 100 ms but half the CPU time: with `patience`.
pub async fn read_shoot(client: &Client, cluster: &str, patience: bool) -> kube::Result<Option<Value>> {
    let api = Api::<FreshCluster>::all(client.clone());
    // A cache that is being filled refuses a list, which a get does not need.
    if patience && let Ok(mut list) = api.list(&ListParams::default().fields(&format!("metadata.name={cluster}"))).await
    {
        return Ok(list.items.pop().map(|cluster| cluster.spec.shoot));
    }
    Ok(api.get_opt(cluster).await?.map(|cluster| cluster.spec.shoot))
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;

    use super::*;

    fn cluster(shoot: &str) -> Cluster {
        let text = format!(
            r#"{{ "type": "MODIFIED", "object": {{
                "metadata": {{ "name": "shoot--t--a", "uid": "u", "resourceVersion": "7", "managedFields": 1 }},
                "spec": {{ "cloudProfile": {{ "large": [[{{}}]] }}, "shoot": {shoot}, "seed": {{}} }} }} }}"#
        );
        match serde_json::from_str(&text).unwrap() {
            WatchEvent::Modified(cluster) => cluster,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_a_cluster_few_facts_are_kept() {
        let minimal = cluster("{}");
        assert_eq!((minimal.name_any().as_str(), minimal.resource_version().as_deref()), ("shoot--t--a", Some("7")));
        let facts = ShootFacts { uid: "u".to_owned(), ..ShootFacts::default() };
        assert_eq!(minimal.facts(), Ok(facts));
        let failed = r#"{ "metadata": { "annotations": { "confirmation.gardener.cloud/force-deletion": "T" } },
            "status": { "technicalID": "t", "lastOperation": { "state": "Failed" } } }"#;
        let facts = cluster(failed).facts().unwrap();
        assert!(facts.failed && facts.force_deleted && facts.script.is_none() && facts.technical_id == "t");
        let scripted = r#"{ "metadata": { "annotations": { "mock.extensions.gardener.cloud/script": "no script" } } }"#;
        assert!(cluster(scripted).facts().unwrap().script.unwrap().is_err());
    }

    #[test]
    fn a_cluster_that_cannot_be_read_counts_as_absent_until_it_can() {
        let clusters = Clusters::default();
        let good = cluster("{}");
        for shoot in [r#"{ "status": { "lastOperation": { "state": 1 } } }"#, r#"{ "metadata": 7 }"#, "null", "7"] {
            assert_eq!(clusters.put(&good).as_deref(), Some("shoot--t--a"));
            assert_eq!(clusters.put(&cluster(shoot)).as_deref(), Some("shoot--t--a"), "its objects are looked at");
            assert_eq!(clusters.get("shoot--t--a"), None, "{shoot}");
        }
        let invalid = cluster(r#"{ "status": { "lastOperation": { "state": 1 } } }"#).facts().unwrap_err();
        assert_eq!(invalid.field, "status.lastOperation.state");
    }
}
