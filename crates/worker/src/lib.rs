//! Worker: the machine deployments that a provider would run, and the hashes of pools that are updated in place.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::CustomResource;
use mock_core::contract::Status;
use mock_core::extension::{Base, Extension, Input, Invalid, NoOptions, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

mod in_place;
mod quantity;

/// What is read of a Worker.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Worker", schema = "disabled")]
#[kube(namespaced, status = "WorkerStatus")]
pub struct WorkerSpec {
    /// Type and class.
    #[serde(flatten)]
    pub base: Base,
    /// Groups of equal machines.
    #[serde(default)]
    pub pools: Vec<Pool>,
}

/// A group of equal machines (`pkg/apis/extensions/v1alpha1/types_worker.go`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pool {
    /// Unique in the Worker.
    pub name: String,
    /// Fewest machines over all zones.
    pub minimum: i64,
    /// Most machines over all zones.
    pub maximum: i64,
    /// The cluster-autoscaler's preference.
    pub priority: Option<i64>,
    /// One machine deployment each.
    pub zones: Option<Vec<String>>,
    /// Of the machines.
    pub kubernetes_version: Option<String>,
    /// Of the machines.
    pub machine_image: MachineImage,
    /// Parts of it make machines roll.
    pub kubelet_config: Option<in_place::KubeletConfig>,
    /// `AutoRollingUpdate` (or absent), `AutoInPlaceUpdate`, `ManualInPlaceUpdate`.
    pub update_strategy: Option<String>,
    /// Settings that are mapped to machine deployments.
    pub machine_controller_manager: Option<MachineControllerManager>,
}

/// What machines boot.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MachineImage {
    /// Of the image.
    pub version: String,
}

/// Settings that are mapped to machine deployments.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineControllerManager {
    /// How many failed machines are kept for a look at them, over all zones.
    pub auto_preserve_failed_machine_max: Option<i64>,
}

/// What is read of the status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The part that all kinds share.
    #[serde(flatten)]
    pub common: Status,
    /// When machine deployments were reported last.
    pub machine_deployments_last_update_time: Option<Time>,
    /// What was reported of pools that are updated in place.
    pub in_place_updates: Option<InPlaceUpdates>,
}

/// What was reported of pools that are updated in place.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InPlaceUpdates {
    /// Hash by pool.
    pub worker_pool_to_hash_map: Option<BTreeMap<String, String>>,
}

impl Extension for Worker {
    type Options = NoOptions;
    type Shoot = in_place::Shoot;
    const FINALIZER: &'static str = "extensions.gardener.cloud/worker";
    const TYPES: &'static [&'static str] = &["mock"];
    const READS_SHOOT: bool = true;
    const TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

    fn base(&self) -> &Base {
        &self.spec.base
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref().map(|status| &status.common)
    }

    fn reads_shoot(&self) -> bool {
        self.spec.pools.iter().any(Pool::is_in_place)
    }

    fn pools(&self) -> Vec<&str> {
        self.spec.pools.iter().map(|pool| pool.name.as_str()).collect()
    }

    fn outcome(&self, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let deployments: Vec<Value> =
            self.spec.pools.iter().flat_map(|pool| pool.machine_deployments(input.technical_id)).collect();
        let mut outcome = Outcome::default();
        outcome.status.insert("machineDeployments".to_owned(), json!(deployments));
        let time = json!(Time(self.report_time(input.time, input.repeat_time)));
        outcome.status.insert("machineDeploymentsLastUpdateTime".to_owned(), time);
        let hashes = self.hashes(input)?;
        if !hashes.is_empty() {
            outcome.status.insert("inPlaceUpdates".to_owned(), json!({ "workerPoolToHashMap": hashes }));
        }
        Ok(outcome)
    }

    /// gardenlet saves the machines itself and refuses a state of the extension's beside them
    /// (`pkg/extensions/customresources.go`).
    fn migrated(&self) -> Map<String, Value> {
        Map::from_iter([("state".to_owned(), Value::Null)])
    }
}

impl Worker {
    /// Later than the last one by a second at least: gardenlet compares whole seconds and waits for a later one
    /// (`pkg/component/extensions/worker/worker.go`).
    fn report_time(&self, now: Timestamp, repeat: bool) -> Timestamp {
        let last = self.status.as_ref().and_then(|status| status.machine_deployments_last_update_time.as_ref());
        match last {
            Some(last) if repeat => last.0,
            _ => {
                let next = last.and_then(|last| last.0.checked_add(SignedDuration::from_secs(1)).ok());
                next.map_or(now, |next| next.max(now))
            }
        }
    }

    /// Hash by pool that is updated in place; null for pools that no longer are, since a merge patch keeps what it
    /// does not name. Every machine of a mock is up to date at once, so manual pools have one as well.
    fn hashes(&self, input: &Input<'_, Self>) -> Result<BTreeMap<String, Option<String>>, Invalid> {
        let reported = self.status.as_ref().and_then(|status| status.in_place_updates.as_ref());
        let reported = reported.and_then(|reported| reported.worker_pool_to_hash_map.as_ref());
        let mut hashes: BTreeMap<_, _> =
            reported.into_iter().flat_map(BTreeMap::keys).map(|pool| (pool.clone(), None)).collect();
        if self.reads_shoot() {
            for (index, pool) in self.spec.pools.iter().enumerate().filter(|(_, pool)| pool.is_in_place()) {
                hashes.insert(pool.name.clone(), Some(in_place::hash(index, pool, input.shoot)?));
            }
        }
        // A hash says that the pool's machines are updated: one that failed keeps what was said of it.
        hashes.retain(|pool, _| !input.failed_pools.contains(pool));
        Ok(hashes)
    }
}

impl Pool {
    fn is_in_place(&self) -> bool {
        matches!(self.update_strategy.as_deref(), Some("AutoInPlaceUpdate" | "ManualInPlaceUpdate"))
    }

    /// One machine deployment for each zone, with the names of provider-local
    /// (`pkg/provider-local/controller/worker/machines.go`); the region stands in where there are no zones.
    fn machine_deployments(&self, technical_id: &str) -> impl Iterator<Item = Value> {
        let zones = self.zones.as_ref().map_or(1, |zones| zones.len().max(1));
        let preserve = self.machine_controller_manager.as_ref();
        let preserve = preserve.and_then(|settings| settings.auto_preserve_failed_machine_max);
        (0..zones).map(move |zone| {
            let mut deployment = json!({
                "name": format!("{technical_id}-{}-z{}", self.name, zone.saturating_add(1)),
                "minimum": share(self.minimum, zone, zones),
                "maximum": share(self.maximum, zone, zones),
            });
            if let Some(deployment) = deployment.as_object_mut() {
                deployment.extend(self.priority.map(|priority| ("priority".to_owned(), json!(priority))));
                let preserve = preserve.map(|most| share(most, zone, zones)).filter(|most| *most > 0);
                deployment.extend(preserve.map(|most| ("autoPreserveFailedMachineMax".to_owned(), json!(most))));
            }
            deployment
        })
    }
}

/// A zone's share: the first zones take what does not divide (`extensions/pkg/controller/worker/machines.go`).
fn share(size: i64, zone: usize, zones: usize) -> i64 {
    let (zone, zones) = (i64::try_from(zone).unwrap_or(i64::MAX), i64::try_from(zones).unwrap_or(i64::MAX));
    let rest = i64::from(zone < size.checked_rem(zones).unwrap_or_default());
    size.checked_div(zones).unwrap_or_default().saturating_add(rest)
}

#[cfg(test)]
mod tests;
