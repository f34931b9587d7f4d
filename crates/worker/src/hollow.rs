//! The hollow nodes that a Worker demands: those of the machine deployments that its status reports.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mock_core::contract::status::{OperationType, State};
use mock_core::k8s::{Quantity, Taint};
use mock_core::script::Record;
use mock_hollow::plan::{Machine, Plan, Trouble, Wanted};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::in_place::sha256;

/// Networks of a Shoot that names none (`pkg/apis/core/v1beta1/defaults_shoot.go`).
const NODES: &str = "10.250.0.0/16";
const PODS: &str = "100.64.0.0/11";
/// gardenlet's default for a pool that names none (`pkg/utils/gardener/shoot.go`).
const ARCHITECTURE: &str = "amd64";
/// The condition by which a script says that nodes are not ready.
const EVERY_NODE_READY: &str = "EveryNodeReady";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Worker {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    generation: i64,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    region: String,
    pools: Vec<Pool>,
}

/// What a node shows of its pool.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Pool {
    name: String,
    machine_type: String,
    machine_image: Image,
    architecture: Option<String>,
    kubernetes_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    taints: Option<Vec<Taint>>,
    zones: Option<Vec<String>>,
    node_agent_secret_name: Option<String>,
    node_template: Option<Template>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    name: String,
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    capacity: BTreeMap<String, Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    last_operation: Option<Operation>,
    machine_deployments: Option<Vec<Deployment>>,
    conditions: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    #[serde(rename = "type")]
    type_: OperationType,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Deployment {
    name: String,
    minimum: u32,
}

/// What a Worker and its Cluster demand.
pub(crate) fn plan(worker: &Value, cluster: &Value) -> Plan {
    let network = |name: &str, default: &str| {
        let named = cluster.pointer(&format!("/spec/shoot/spec/networking/{name}")).and_then(Value::as_str);
        named.and_then(|named| named.parse().ok()).unwrap_or_else(|| known(default))
    };
    Plan {
        nodes: read(worker).map_or(Wanted::AsTheyAre, |worker: Worker| wanted(&worker, cluster)),
        node_network: network("nodes", NODES),
        pod_network: network("pods", PODS),
    }
}

/// A network that can be parsed.
fn known(network: &str) -> IpNet {
    network.parse().unwrap_or_default()
}

/// Decodes an object. Returns `None` for one that its schema should have refused.
fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

fn wanted(worker: &Worker, cluster: &Value) -> Wanted {
    let is = |path: &str| cluster.pointer(path) == Some(&Value::Bool(true));
    let Some(operation) = &worker.status.last_operation else { return Wanted::AsTheyAre };
    // The machines of a migrated Worker, and their nodes, belong to another seed.
    if operation.type_ == OperationType::Migrate {
        return Wanted::Unattended;
    }
    let none = Wanted::Exactly(BTreeMap::new());
    if worker.metadata.deletion_timestamp.is_some() {
        return none;
    }
    if is("/spec/shoot/spec/hibernation/enabled") {
        // The API server of a Shoot that sleeps does not run.
        return if is("/spec/shoot/status/hibernated") { Wanted::Unattended } else { none };
    }
    let failed = failed_pools(&worker.status);
    let is_answered = worker.status.observed_generation == worker.metadata.generation;
    match operation.state {
        State::Succeeded if is_answered => Wanted::Exactly(machines(worker, None)),
        // The machines of the other pools are there, although the operation failed.
        State::Error if failed.is_some() => Wanted::Exactly(machines(worker, failed.as_ref())),
        _ => Wanted::AsTheyAre,
    }
}

/// Pools that a script lets fail, and the message.
struct Failed {
    pools: Vec<String>,
    message: String,
}

fn failed_pools(status: &Status) -> Option<Failed> {
    let record = Record::find(status.conditions.as_deref()?)?;
    let pools = record.failed_pools().to_vec();
    let message = record.failure()?.to_owned();
    (!pools.is_empty()).then_some(Failed { pools, message })
}

/// The machines of all machine deployments that the status reports, as many as each of them has at least.
fn machines(worker: &Worker, failed: Option<&Failed>) -> BTreeMap<String, Machine> {
    let every = failed.is_none().then(|| unready(&worker.status)).flatten();
    let deployments = worker.status.machine_deployments.iter().flatten();
    let minima: BTreeMap<_, _> = deployments.map(|deployment| (deployment.name.as_str(), deployment.minimum)).collect();
    let mut machines = BTreeMap::new();
    for pool in &worker.spec.pools {
        let dead = failed.filter(|failed| failed.pools.contains(&pool.name));
        let dead = dead.map(|failed| Trouble { reason: "MachineFailed".to_owned(), message: failed.message.clone() });
        let trouble = dead.or_else(|| every.clone());
        for (number, zone) in pool.zones().enumerate() {
            // The names of machine deployments begin with the Shoot's name.
            let suffix = format!("-{}-z{}", pool.name, number.saturating_add(1));
            let found = minima.iter().find(|(name, _)| name.ends_with(&suffix));
            let Some((deployment, minimum)) = found else { continue };
            let machine = pool.machine(&worker.spec.region, zone, trouble.clone());
            for index in 0..*minimum {
                machines.insert(format!("{deployment}-{}-{index}", pool.hash()), machine.clone());
            }
        }
    }
    machines
}

/// Why no node is ready, if a health condition says so.
fn unready(status: &Status) -> Option<Trouble> {
    let field = |condition: &Value, name: &str| condition.get(name).and_then(Value::as_str).map(str::to_owned);
    let condition = status.conditions.iter().flatten().find(|condition| {
        field(condition, "type").as_deref() == Some(EVERY_NODE_READY)
            && field(condition, "status").as_deref() == Some("False")
    })?;
    Some(Trouble {
        reason: field(condition, "reason").unwrap_or_default(),
        message: field(condition, "message").unwrap_or_default(),
    })
}

impl Pool {
    /// The zones, one for each machine deployment; a pool without zones has one.
    fn zones(&self) -> impl Iterator<Item = Option<&str>> {
        let zones: Vec<_> = self.zones.iter().flatten().map(|zone| Some(zone.as_str())).collect();
        if zones.is_empty() { vec![None] } else { zones }.into_iter()
    }

    /// What changes when the pool is rolled: the name of the Secret of gardener-node-agent has a hash of everything that
    /// rolls a pool (`extensions/pkg/controller/worker/machines.go`, `WorkerPoolHash`).
    fn hash(&self) -> String {
        sha256(self.node_agent_secret_name.as_deref().unwrap_or_default()).chars().take(5).collect()
    }

    fn machine(&self, region: &str, zone: Option<&str>, trouble: Option<Trouble>) -> Machine {
        let own = [
            ("node.kubernetes.io/instance-type", self.machine_type.as_str()),
            ("topology.kubernetes.io/region", region),
            ("topology.kubernetes.io/zone", zone.unwrap_or(region)),
        ];
        let version = self.kubernetes_version.as_deref().unwrap_or_default();
        let template = self.node_template.as_ref();
        let capacity = template.into_iter().flat_map(|template| &template.capacity);
        Machine {
            labels: own
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .chain(self.labels.clone().unwrap_or_default())
                .collect(),
            annotations: self.annotations.clone().unwrap_or_default(),
            taints: self.taints.clone().unwrap_or_default(),
            // The name is Gardener's own. A kubelet reports devices by the names of their drivers.
            capacity: capacity
                .filter(|(resource, _)| *resource != "gpu")
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            kubelet_version: format!("v{}", version.trim_start_matches('v')),
            os_image: format!("{} {}", self.machine_image.name, self.machine_image.version),
            architecture: self.architecture.clone().unwrap_or_else(|| ARCHITECTURE.to_owned()),
            trouble,
        }
    }
}

#[cfg(test)]
mod tests;
