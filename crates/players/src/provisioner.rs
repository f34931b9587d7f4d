//! PersistentVolumes: stands for a provisioner of volumes. Each pending claim gets a PersistentVolume of the wanted
//! size, which kube-controller-manager binds. Leaves out StorageClasses, snapshots, and deleting the data.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::error::Error;
use crate::player::{PLAYER, Seed, all, follow};
use crate::volumes::folder_of_claim;

/// Serves all claims for ever.
pub(crate) async fn play(seed: Arc<Seed>) {
    let claims = all::<PersistentVolumeClaim>(&seed);
    follow("provisioner", claims, seed, reconcile, |_| {}).await;
}

async fn reconcile(claim: Arc<PersistentVolumeClaim>, seed: Arc<Seed>) -> Result<Action, Error> {
    let Some(uid) = pending(&claim) else { return Ok(Action::await_change()) };
    let name = format!("pv-{uid}");
    let folder = folder_of_claim(&seed.args.root, uid);
    let volume = volume(&claim, &name, &folder.to_string_lossy());
    let api: Api<PersistentVolume> = Api::all(seed.client.clone());
    let written = api.patch(&name, &PatchParams::apply(PLAYER).force(), &Patch::Apply(volume)).await;
    written.map_err(Error::api(format!("write PersistentVolume {name}")))?;
    Ok(Action::await_change())
}

/// The UID of a claim that has no volume yet.
fn pending(claim: &PersistentVolumeClaim) -> Option<&str> {
    let metadata = &claim.metadata;
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()).is_some();
    let waits = matches!(phase, None | Some("Pending")) && !named && metadata.deletion_timestamp.is_none();
    metadata.uid.as_deref().filter(|_| waits)
}

/// The volume for a claim. It stays when the claim goes, as Gardener's migration of control planes needs it.
fn volume(claim: &PersistentVolumeClaim, name: &str, folder: &str) -> Value {
    let spec = claim.spec.as_ref();
    let resources = spec.and_then(|spec| spec.resources.as_ref());
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name },
        "spec": {
            "capacity": resources.and_then(|resources| resources.requests.as_ref()),
            "accessModes": spec.and_then(|spec| spec.access_modes.as_ref()),
            "storageClassName": spec.and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default(),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace, "name": claim.metadata.name, "uid": claim.metadata.uid,
            },
            "hostPath": { "path": folder },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(spec: &Value, status: &Value) -> PersistentVolumeClaim {
        let metadata = json!({ "namespace": "n", "name": "c", "uid": "u" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
    }

    #[test]
    fn only_claim_without_volume_is_pending() {
        assert_eq!(pending(&claim(&json!({}), &json!({ "phase": "Pending" }))), Some("u"));
        assert_eq!(pending(&claim(&json!({}), &json!({}))), Some("u"));
        assert_eq!(pending(&claim(&json!({ "volumeName": "pv" }), &json!({ "phase": "Pending" }))), None);
        assert_eq!(pending(&claim(&json!({}), &json!({ "phase": "Bound" }))), None);
    }

    #[test]
    fn volume_has_the_size_and_class_of_its_claim() {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": { "requests": { "storage": "7Gi" } },
        });
        let volume = volume(&claim(&spec, &json!({})), "pv-u", "/claims/u");
        assert_eq!(volume["spec"]["capacity"]["storage"], "7Gi");
        assert_eq!(volume["spec"]["storageClassName"], "fast");
        assert_eq!(volume["spec"]["claimRef"]["uid"], "u");
        serde_json::from_value::<PersistentVolume>(volume).unwrap();
    }
}
