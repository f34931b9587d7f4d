//! How the object's Cluster, and the Shoot in it, affect the object.

use libtest_mimic::Failed;
use serde_json::json;

use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "cluster";

    Must hibernated_shoot_is_served needs [HasCluster] from "pkg/component/extensions/worker/worker.go":
        "The controller serves the objects of a hibernated Shoot."
        otherwise "gardenlet waits for them as for those of any Shoot, until its timeout.";

    Should object_of_a_failed_shoot_is_left_alone needs [SkipsFailedShoots]
        from "extensions/pkg/predicate/preconditions.go":
        "The controller does not write objects of a Failed Shoot."
        otherwise "The controller works for a Shoot that gardenlet has given up, and its owner sees states change that \
                   no request explains.";

    May object_of_a_failed_shoot_waits_until_the_shoot_recovers needs [FailedShoot]
        from "extensions/pkg/predicate/preconditions.go":
        "The controller does not write objects of a Failed Shoot, and serves them when the Shoot recovers."
        otherwise "gardenlet makes no further attempt until the owner asks for one.";

    May object_without_cluster_waits_without_an_error needs [Cluster]
        from "extensions/pkg/predicate/preconditions.go":
        "The controller does not write an object whose Cluster is missing, and serves it when the Cluster comes."
        otherwise "An error counts against gardenlet's limit although nothing is wrong.";

    May undecodable_cluster_counts_as_missing needs [Cluster] from "extensions/pkg/predicate/preconditions.go":
        "The controller waits for a Cluster that it cannot decode as for a missing one."
        otherwise "The controller serves an object without knowing whether the Shoot is Failed.";
}

async fn hibernated_shoot_is_served(scene: Scene) -> Result<(), Failed> {
    scene.write_cluster(json!({ "spec": { "hibernation": { "enabled": true } } })).await?;
    scene.create_ready().await.map(drop)
}

async fn object_of_a_failed_shoot_is_left_alone(scene: Scene) -> Result<(), Failed> {
    scene.fail_shoot().await?;
    is_left_alone(&scene, "the Shoot is Failed").await
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
    is_left_alone(scene, why).await?;
    scene.write_cluster(json!({})).await?;
    scene.until_ready("a").await.map(drop)
}

/// Fails if the controller writes an annotated object, which is created after the change of the Cluster.
async fn is_left_alone(scene: &Scene, why: &str) -> Result<(), Failed> {
    // The controller's watch of Clusters may lag behind its watch of objects.
    scene.barrier().await?;
    let before = scene.create_annotated("a", "reconcile").await?;
    scene.unchanged("a", &before, why).await
}
