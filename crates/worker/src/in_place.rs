//! The hash of a pool that is updated in place. The pool is up to date once the hash equals gardenlet's
//! (`pkg/utils/gardener/shoot.go`, `CalculateWorkerPoolHashForInPlaceUpdate`).

use mock_core::k8s::Time;
use mock_core::kind::{Invalid, ShootView};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Pool;
use crate::quantity;

/// The fields of a kubelet's configuration that enter the hash.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubeletConfig {
    kube_reserved: Option<Reserved>,
    eviction_hard: Option<Eviction>,
    cpu_manager_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reserved {
    cpu: Option<quantity::Quantity>,
    memory: Option<quantity::Quantity>,
    pid: Option<quantity::Quantity>,
    ephemeral_storage: Option<quantity::Quantity>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Eviction {
    #[serde(rename = "imageFSAvailable")]
    image_fs_available: String,
    #[serde(rename = "imageFSInodesFree")]
    image_fs_inodes_free: String,
    #[serde(rename = "memoryAvailable")]
    memory_available: String,
    #[serde(rename = "nodeFSAvailable")]
    node_fs_available: String,
    #[serde(rename = "nodeFSInodesFree")]
    node_fs_inodes_free: String,
}

/// What is read of the Cluster's Shoot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shoot {
    status: ShootStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShootStatus {
    credentials: Option<Credentials>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Credentials {
    rotation: Option<Rotations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rotations {
    certificate_authorities: Option<Rotation>,
    service_account_key: Option<Rotation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rotation {
    last_initiation_time: Option<Time>,
    pending_workers_rollouts: Option<Vec<PendingRollout>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PendingRollout {
    name: String,
    last_initiation_time: Option<Time>,
}

impl ShootView for Shoot {}

/// The hash of the pool at this index.
pub(crate) fn hash(index: usize, pool: &Pool, shoot: &Shoot) -> Result<String, Invalid> {
    let mut data = vec![minor_version(index, pool)?, pool.machine_image.version.clone()];
    let rotations = shoot.status.credentials.as_ref().and_then(|credentials| credentials.rotation.as_ref());
    if let Some(rotations) = rotations {
        let rotations = [&rotations.certificate_authorities, &rotations.service_account_key];
        data.extend(rotations.into_iter().flatten().filter_map(|rotation| rotation.initiated(&pool.name)).map(go_time));
    }
    if let Some(kubelet) = &pool.kubelet_config {
        data.extend(kubelet.kube_reserved.as_ref().map(Reserved::data));
        data.extend(kubelet.eviction_hard.as_ref().map(Eviction::data));
        data.extend(kubelet.cpu_manager_policy.clone());
    }
    let hashes: String = data.iter().map(|item| sha256(item)).collect();
    Ok(sha256(&hashes).chars().take(16).collect())
}

fn minor_version(index: usize, pool: &Pool) -> Result<String, Invalid> {
    let version = pool.kubernetes_version.as_deref().unwrap_or_default();
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut number = || numbers.next()?.parse::<u64>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => Ok(format!("{major}.{minor}")),
        _ => Err(Invalid {
            field: format!("spec.pools[{index}].kubernetesVersion"),
            problem: format!("is {version:?}; a pool that is updated in place needs a version such as 1.35.2"),
        }),
    }
}

impl Rotation {
    /// Start of the latest rotation that has reached a pool. A pool whose rollout is pending still has its previous
    /// credentials (`pkg/api/core/v1beta1/helper`, `LastInitiationTimeForWorkerPool`).
    fn initiated(&self, pool: &str) -> Option<&Time> {
        let pending = self.pending_workers_rollouts.iter().flatten().find(|pending| pending.name == pool);
        pending.map_or(self.last_initiation_time.as_ref(), |pending| pending.last_initiation_time.as_ref())
    }
}

/// The time as Go prints it in UTC.
fn go_time(time: &Time) -> String {
    time.0.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

impl Reserved {
    fn data(&self) -> String {
        let text = |quantity: &Option<quantity::Quantity>| match quantity {
            Some(quantity) => quantity.canonical(),
            // Go prints an absent quantity like this.
            None => "<nil>".to_owned(),
        };
        [&self.cpu, &self.memory, &self.pid, &self.ephemeral_storage].map(text).join("-")
    }
}

impl Eviction {
    fn data(&self) -> String {
        let values = [
            &self.image_fs_available,
            &self.image_fs_inodes_free,
            &self.memory_available,
            &self.node_fs_available,
            &self.node_fs_inodes_free,
        ];
        values.map(String::as_str).join("-")
    }
}

/// The SHA-256 digest in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}
