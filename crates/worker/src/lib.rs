//! Worker: reports the machine deployments of a real provider, and the hashes of pools that are updated in place.

use std::collections::BTreeMap;

use mock_core::contract::kinds;
use mock_core::contract::status::readable_time;
use mock_core::k8s::{SignedDuration, Time, Timestamp};
use mock_core::kind::{Companion, Input, Invalid, Kind, MockKind, Object, Outcome};
use mock_hollow::seed::{self, Settings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::options::Options;

mod hollow;
mod in_place;
mod options;
mod quantity;

const MACHINE_DEPLOYMENTS: &str = "machineDeployments";
const LAST_UPDATE_TIME: &str = "machineDeploymentsLastUpdateTime";

/// What is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Groups of equal machines.
    pub pools: Vec<Pool>,
}

/// A group of equal machines (`pkg/apis/extensions/v1alpha1/types_worker.go`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pool {
    /// Name, unique in the Worker.
    pub name: String,
    /// Minimum number of machines, summed over all zones.
    pub minimum: i64,
    /// Maximum number of machines, summed over all zones.
    pub maximum: i64,
    /// Priority for cluster-autoscaler.
    pub priority: Option<i64>,
    /// Zones, with one machine deployment each.
    pub zones: Option<Vec<String>>,
    /// Version of the machines' kubelet.
    pub kubernetes_version: Option<String>,
    /// Image of the machines.
    pub machine_image: MachineImage,
    /// Some of its fields roll the machines when they change.
    pub kubelet_config: Option<in_place::KubeletConfig>,
    /// `AutoRollingUpdate` (or absent), `AutoInPlaceUpdate`, `ManualInPlaceUpdate`.
    pub update_strategy: Option<String>,
    /// Settings that are mapped to machine deployments.
    pub machine_controller_manager: Option<MachineControllerManager>,
}

/// Image of machines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MachineImage {
    /// Version of the image.
    pub version: String,
}

/// Settings that are mapped to machine deployments.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineControllerManager {
    /// How many failed machines are preserved, summed over all zones.
    pub auto_preserve_failed_machine_max: Option<i64>,
}

/// What is read of the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Reported {
    /// When machine deployments were reported last.
    #[serde(deserialize_with = "readable_time")]
    pub machine_deployments_last_update_time: Option<Time>,
    /// What was reported of pools that are updated in place.
    pub in_place_updates: Option<InPlaceUpdates>,
}

/// What was reported of pools that are updated in place.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InPlaceUpdates {
    /// Hash by pool.
    pub worker_pool_to_hash_map: Option<BTreeMap<String, String>>,
}

impl MockKind for Worker {
    type Reported = Reported;
    type Shoot = in_place::Shoot;
    type Options = Options;
    const KIND: &'static Kind = &kinds::WORKER;
    const TYPES: &'static [&'static str] = &["mock"];
    // gardenlet deploys cluster-autoscaler before the machines are there (`docs/extensions/resources/worker.md`).
    const EARLY: &'static [&'static str] = &[MACHINE_DEPLOYMENTS, LAST_UPDATE_TIME];

    const COMPANION: Option<Companion<Self>> = Some(Companion {
        is_wanted: |options| options.hollow_nodes,
        rules: seed::rules,
        run: |surroundings| {
            let settings =
                Settings { types: surroundings.types, namespace: surroundings.namespace, planner: hollow::plan };
            Box::pin(seed::run(surroundings.client, settings))
        },
    });

    fn reads_shoot(&self) -> bool {
        self.pools.iter().any(Pool::is_in_place)
    }

    fn pools(&self) -> Vec<&str> {
        self.pools.iter().map(|pool| pool.name.as_str()).collect()
    }

    fn outcome(object: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let Object { spec, reported, .. } = object;
        let deployments: Vec<Value> =
            spec.pools.iter().flat_map(|pool| pool.machine_deployments(input.technical_id)).collect();
        let mut outcome = Outcome::default();
        outcome.report(MACHINE_DEPLOYMENTS, deployments);
        let time = reported.next_time(input.time, input.repeat_time);
        outcome.report(LAST_UPDATE_TIME, json!(Time(time)));
        let hashes = spec.hashes(reported, input)?;
        if !hashes.is_empty() {
            outcome.report("inPlaceUpdates", json!({ "workerPoolToHashMap": hashes }));
        }
        Ok(outcome)
    }

    /// gardenlet saves the machines itself and refuses a state of the extension next to them
    /// (`pkg/extensions/customresources.go`).
    fn migrated() -> Map<String, Value> {
        Map::from_iter([("state".to_owned(), Value::Null)])
    }
}

impl Reported {
    /// Time of the next report, at least a second after the previous one: gardenlet compares whole seconds and waits
    /// for a later time (`pkg/component/extensions/worker/worker.go`).
    fn next_time(&self, now: Timestamp, repeat: bool) -> Timestamp {
        let last = self.machine_deployments_last_update_time.as_ref();
        match last {
            Some(last) if repeat => last.0,
            _ => {
                let next = last.and_then(|last| last.0.checked_add(SignedDuration::from_secs(1)).ok());
                next.map_or(now, |next| next.max(now))
            }
        }
    }
}

impl Worker {
    /// The hash of each pool that is updated in place. Pools that are no longer updated in place get null, since a
    /// merge patch keeps what it does not name. Every machine of a mock is up to date immediately, so manual pools have
    /// a hash as well.
    fn hashes(
        &self,
        reported: &Reported,
        input: &Input<'_, Self>,
    ) -> Result<BTreeMap<String, Option<String>>, Invalid> {
        let reported = reported.in_place_updates.as_ref();
        let reported = reported.and_then(|reported| reported.worker_pool_to_hash_map.as_ref());
        let mut hashes: BTreeMap<_, _> =
            reported.into_iter().flat_map(BTreeMap::keys).map(|pool| (pool.clone(), None)).collect();
        if self.reads_shoot() {
            for (index, pool) in self.pools.iter().enumerate().filter(|(_, pool)| pool.is_in_place()) {
                hashes.insert(pool.name.clone(), Some(in_place::hash(index, pool, input.shoot)?));
            }
        }
        // A hash means that the machines of the pool are updated: a pool that failed keeps its previous hash.
        hashes.retain(|pool, _| !input.failed_pools.contains(pool));
        Ok(hashes)
    }
}

impl Pool {
    fn is_in_place(&self) -> bool {
        matches!(self.update_strategy.as_deref(), Some("AutoInPlaceUpdate" | "ManualInPlaceUpdate"))
    }

    /// One machine deployment per zone, with the names of provider-local
    /// (`pkg/provider-local/controller/worker/machines.go`); a pool without zones has one.
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

/// A zone's share. The first zones take the remainder (`extensions/pkg/controller/worker/machines.go`).
fn share(size: i64, zone: usize, zones: usize) -> i64 {
    let (zone, zones) = (i64::try_from(zone).unwrap_or(i64::MAX), i64::try_from(zones).unwrap_or(i64::MAX));
    let rest = i64::from(zone < size.checked_rem(zones).unwrap_or_default());
    size.checked_div(zones).unwrap_or_default().saturating_add(rest)
}

#[cfg(test)]
mod tests;
