//! How the object's Cluster, and the Shoot in it, affect the object.

use libtest_mimic::Failed;
use serde_json::json;

use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "cluster";

    hibernated_shoot_is_served needs [Cluster] from "pkg/component/extensions/worker/worker.go":
        "The controller serves the objects of a hibernated Shoot. gardenlet waits for them as for those of any Shoot.";

    object_of_a_failed_shoot_waits_until_the_shoot_recovers needs [FailedShoot]
        from "extensions/pkg/predicate/preconditions.go":
        "The controller does not write objects of a Failed Shoot, and serves them when the Shoot recovers. gardenlet \
         makes no further attempt until the owner asks for one.";

    object_without_cluster_waits_without_an_error needs [Cluster] from "extensions/pkg/predicate/preconditions.go":
        "The controller does not write an object whose Cluster is missing, and serves it when the Cluster comes. An \
         error would count against gardenlet's limit although nothing is wrong.";

    undecodable_cluster_counts_as_missing needs [Cluster] from "extensions/pkg/predicate/preconditions.go":
        "The controller waits for a Cluster that it cannot decode as for a missing one. It must not serve an object \
         without knowing whether the Shoot is Failed.";
}

async fn hibernated_shoot_is_served(scene: Scene) -> Result<(), Failed> {
    scene.write_cluster(json!({ "spec": { "hibernation": { "enabled": true } } })).await?;
    scene.create_ready().await.map(drop)
}

async fn object_of_a_failed_shoot_waits_until_the_shoot_recovers(scene: Scene) -> Result<(), Failed> {
    scene.fail_shoot().await?;
    waits(&scene, "the Shoot is Failed").await
}

async fn object_without_cluster_waits_without_an_error(scene: Scene) -> Result<(), Failed> {
    scene.delete_cluster().await?;
    waits(&scene, "the Cluster is missing").await
}

async fn undecodable_cluster_counts_as_missing(scene: Scene) -> Result<(), Failed> {
    scene.write_cluster(json!({ "status": { "lastOperation": { "state": 1 } } })).await?;
    waits(&scene, "the Cluster cannot be decoded").await
}

/// Fails unless an annotated object waits until the Cluster is valid again.
async fn waits(scene: &Scene, why: &str) -> Result<(), Failed> {
    // The controller's watch of Clusters may lag behind its watch of objects.
    scene.barrier().await?;
    let before = scene.create_annotated("a", "reconcile").await?;
    scene.unchanged("a", &before, why).await?;
    scene.write_cluster(json!({})).await?;
    scene.until_ready("a").await.map(drop)
}
