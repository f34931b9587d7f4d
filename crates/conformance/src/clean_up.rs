//! Removes what a run has created on a cluster that is not its own.

use std::sync::Arc;
use std::time::Duration;

use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, SHOOT_NAMESPACE, TIMESTAMP_ANNOTATION,
};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::object::{finalizers, last, merged};
use crate::scene::Scene;
use crate::suite::Suite;

/// How many namespaces are removed at the same time.
const AT_ONCE: usize = 8;
/// Limit for the cluster to remove a namespace that is being deleted.
const NAMESPACE_GONE_WITHIN: Duration = Duration::from_secs(120);

/// Removes all namespaces of the run, their objects and their Clusters. The controller gets the time to release its
/// objects; after that, their finalizers are removed. Fails with a list of what is left.
pub(crate) async fn clean_up(suite: &Arc<Suite>) -> Result<(), Failed> {
    suite.all_created().await;
    let namespaces = stream::iter(suite.namespaces());
    let remove = |namespace: String| async move {
        let failed = remove(&Scene::existing(suite.clone(), namespace.clone())).await.err()?;
        Some(format!("{namespace}: {}", failed.message().unwrap_or_default()))
    };
    let left: Vec<_> = namespaces.map(remove).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    if left.is_empty() { Ok(()) } else { Err(left.join("\n").into()) }
}

async fn remove(scene: &Scene) -> Result<(), Failed> {
    let namespaces = Api::<Namespace>::all(scene.client());
    let Some(namespace) = namespaces.get_opt(scene.namespace()).await? else {
        return gone(scene.delete_cluster().await);
    };
    let (key, value) = SHOOT_NAMESPACE;
    if namespace.metadata.labels.is_some_and(|labels| labels.get(key).is_some_and(|label| label == value)) {
        // A rule may have made the Shoot Failed, or removed the Cluster. The controller would not delete its objects.
        scene.write_cluster(json!({})).await?;
    }
    let patience = scene.suite().subject().patience;
    if eventually(patience, || release(scene, false)).await.is_err() {
        eventually(patience, || release(scene, true)).await?;
    }
    gone(scene.delete_cluster().await)?;
    gone(scene.delete_namespace().await)?;
    eventually(NAMESPACE_GONE_WITHIN, || async {
        let namespace = namespaces.get_opt(scene.namespace()).await?;
        namespace.map_or(Ok(()), |_| {
            Err(Failed::from("the namespace is still being deleted: something in it has a finalizer"))
        })
    })
    .await
}

/// A deletion of something that is gone already has succeeded.
fn gone(deleted: Result<(), Failed>) -> Result<(), Failed> {
    deleted.or_else(
        |failed| if failed.message().is_some_and(|why| why.contains("not found")) { Ok(()) } else { Err(failed) },
    )
}

/// Deletes the objects of a namespace as gardenlet does. Removes finalizers of objects that no controller releases; of
/// all objects if `forced`. Fails while an object is there.
async fn release(scene: &Scene, forced: bool) -> Result<(), Failed> {
    let (api, prefix) = (scene.api(), scene.full_name(""));
    let mut there = Vec::new();
    for object in api.list(&ListParams::default()).await? {
        let Some(name) = object.metadata.name.clone().filter(|name| name.starts_with(&prefix)) else { continue };
        let object = json!(object);
        let patch = release_patch(&object, &scene.suite().subject().finalizer, forced);
        let released = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let deleted = match released {
            Ok(_) if object.pointer("/metadata/deletionTimestamp").is_none() => {
                api.delete(&name, &DeleteParams::default()).await.map(drop)
            }
            other => other.map(drop),
        };
        match deleted {
            // The controller has released the object, or changed it. The next pass will see.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            other => other?,
        }
        there.push(name);
    }
    if there.is_empty() { Ok(()) } else { Err(format!("still there: {}", there.join(", ")).into()) }
}

/// The patch with which gardenlet confirms a deletion, and which removes what would stop it: an operation annotation, and
/// finalizers that no controller removes.
fn release_patch(object: &Value, finalizer: &str, forced: bool) -> Value {
    let mut annotations = json!({ OPERATION_ANNOTATION: null, DELETION_CONFIRMATION_ANNOTATION: "true" });
    if object.pointer("/metadata/deletionTimestamp").is_none() {
        annotations = merged(annotations, &json!({ TIMESTAMP_ANNOTATION: Timestamp::now().to_string() }));
    }
    // A migrated object belongs to the other seed: its controller ignores it.
    let is_ignored = forced || last(object) == "Migrate/Succeeded";
    let is_awaited = |name: &&str| !is_ignored && *name == finalizer;
    let own: Vec<_> = finalizers(object).into_iter().filter(is_awaited).collect();
    let version = object.pointer("/metadata/resourceVersion");
    json!({ "metadata": { "annotations": annotations, "finalizers": own, "resourceVersion": version } })
}
