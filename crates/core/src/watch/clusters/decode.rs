//! Partial decoding of Clusters. Each contains a Shoot, Seed and CloudProfile, often 100 kB; unused fields are skipped.

use std::collections::HashMap;

use extension_contract::FORCE_DELETION_ANNOTATION;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::decide::view::ShootFacts;
use crate::invalid::Invalid;
use crate::kind::{ShootView, Undecoded};
use crate::script::SCRIPT_ANNOTATION;
use crate::script::source::of_annotation;
use crate::watch::decode::decode;
use crate::watch::decode::metadata::{self, Contract};

/// A Cluster as the watch decodes it.
///
/// Decoding cannot fail: the CRD guarantees that the Shoot is an object, and its content is decoded later. So the watch
/// needs no [`Guarded`](super::decode::Guarded).
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "WholeCluster")]
pub(crate) struct Cluster {
    #[serde(deserialize_with = "metadata::kept::<Contract, _>")]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: ClusterSpec,
}

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Cluster", schema = "disabled")]
#[kube(root = "WholeCluster")]
pub(crate) struct ClusterSpec {
    pub(super) shoot: Box<RawValue>,
    pub(super) seed: Option<Box<RawValue>>,
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

/// What decisions need of the Shoot of a whole Cluster.
pub fn facts_of(cluster: &Value) -> Result<ShootFacts, Invalid> {
    decode::<Cluster>(&cluster.to_string())?.facts()
}

impl Cluster {
    /// What decisions need of the Shoot.
    pub(crate) fn facts(&self) -> Result<ShootFacts, Invalid> {
        let shoot: WatchedShoot = decode(self.spec.shoot.get()).map_err(|invalid| invalid.within("spec.shoot"))?;
        let annotation = |key| shoot.metadata.annotations.as_ref()?.get(key);
        Ok(ShootFacts {
            uid: self.metadata.uid.clone().unwrap_or_default(),
            failed: shoot.status.last_operation.as_ref().is_some_and(|last| last.state == "Failed"),
            // Gardener accepts every spelling of true that Go's ParseBool accepts.
            force_deleted: annotation(FORCE_DELETION_ANNOTATION)
                .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "TRUE" | "true" | "True")),
            script: annotation(SCRIPT_ANNOTATION).map(|text| of_annotation(text)),
            technical_id: shoot.status.technical_id,
        })
    }

    /// What outcomes need of the Shoot and of its Seed. A self-hosted Shoot has no Seed.
    pub(crate) fn view<S: ShootView>(&self) -> Result<S, Invalid> {
        let within = |part: &'static str| {
            move |invalid: Invalid| {
                let Invalid { field, problem } = invalid.within(part);
                Invalid { field: format!("{field} of the Cluster"), problem }
            }
        };
        let mut view: S = decode(self.spec.shoot.get()).map_err(within("spec.shoot"))?;
        if let Some(seed) = &self.spec.seed {
            view.add_seed(Undecoded::of(seed.get())).map_err(within("spec.seed"))?;
        }
        Ok(view)
    }
}
