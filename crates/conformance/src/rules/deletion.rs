//! Deletion of an object by gardenlet or another user.

use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, readiness};
use k8s_openapi::jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::json;

use crate::object::{annotation, asking, ensure, excerpt, finalizers, in_a_second, merged};
use crate::rule::rules;
use crate::scene::{A_SECOND, Scene};

rules! {
    section "deletion";

    Must confirmed_deletion_removes_the_object needs []
        from "pkg/extensions/customresources.go, pkg/utils/gardener/deletion_confirmation.go":
        "The controller removes its finalizer from an object that is being deleted."
        otherwise "gardenlet waits until its timeout, and the Shoot cannot be deleted.";

    May confirmation_without_a_deletion_is_served needs [Unannotated]
        from "pkg/utils/gardener/deletion_confirmation.go":
        "If no DELETE follows the confirmation, its timestamp is served like that of a request."
        otherwise "A gardenlet that was killed in between never finds the object ready again.";

    Should deletion_without_the_finalizer_is_ignored needs []
        from "extensions/pkg/controller/infrastructure/reconciler.go":
        "The controller does not write an object that is being deleted and lacks its finalizer."
        otherwise "The API server refuses a new finalizer on such an object, and each retry of the controller fails.";

    May deletion_needs_no_cluster needs [MissingCluster] from "pkg/extensions/cluster.go":
        "A deletion succeeds without the object's Cluster."
        otherwise "An object that outlives its Cluster is never deleted.";

    Must deletion_removes_only_the_own_finalizer needs []
        from "extensions/pkg/controller/infrastructure/reconciler.go":
        "A deletion keeps the finalizers of other controllers."
        otherwise "The object is gone before the clean-up of others, and what they hold is left behind.";

    Must force_deletion_of_a_failed_shoot_releases_the_object needs [SkipsFailedShoots, ForceDeletion]
        from "pkg/gardenlet/controller/shoot/shoot/cleaner.go, extensions/pkg/predicate/default.go":
        "The controller releases the objects of a force-deleted Shoot, even if it has ignored a deletion of them while the \
         Shoot was Failed."
        otherwise "gardenlet waits 5 min for each object, and the force deletion fails.";

    Must force_deletion_of_the_shoot_releases_the_object needs [ForceDeletion]
        from "extensions/pkg/controller/infrastructure/reconciler.go":
        "The controller releases a deleted object of a force-deleted Shoot."
        otherwise "gardenlet waits 5 min for each object, and the force deletion fails.";

    Must force_deletion_of_the_shoot_releases_an_object_that_cannot_be_deleted needs [ForceDeletion, Undeletable]
        from "extensions/pkg/controller/infrastructure/reconciler.go":
        "The controller releases an object of a force-deleted Shoot, even if an ordinary deletion never succeeds."
        otherwise "gardenlet waits 5 min for each object, and the force deletion fails: the cloud that cannot be cleaned \
                   up is why a user asks for it.";

    Must force_deletion_of_the_object_releases_it needs [OwnForceDeletion]
        from "extensions/pkg/controller/bastion/reconciler.go":
        "The controller releases a deleted object with the annotation on the object itself."
        otherwise "gardenlet looks again every 15 s for ever: it copies the annotation when a Shoot is \
                   force-deleted.";

    Must force_deletion_of_the_object_releases_one_that_cannot_be_deleted needs [OwnForceDeletion, Undeletable]
        from "extensions/pkg/controller/bastion/reconciler.go":
        "The controller releases an object with the annotation, even if an ordinary deletion never succeeds."
        otherwise "gardenlet looks again every 15 s for ever, because the cloud cannot be cleaned up.";
}

async fn confirmed_deletion_removes_the_object(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.confirm("a", in_a_second()).await?;
    scene.delete_confirmed("a").await?;
    scene.until_gone("a").await
}

async fn confirmation_without_a_deletion_is_served(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    // Without ClockSkew, a controller need not serve a timestamp that is ahead of its clock.
    tokio::time::sleep(A_SECOND).await;
    let confirmed = scene.confirm("a", Timestamp::now()).await?;
    let timestamp = annotation(&confirmed, TIMESTAMP_ANNOTATION);
    ensure(
        readiness::check(&confirmed, timestamp).is_err(),
        format!("the confirmation is not a request: {}", excerpt(&confirmed)),
    )?;
    scene.until_served("a", timestamp).await.map(drop)
}

async fn deletion_without_the_finalizer_is_ignored(scene: Scene) -> Result<(), Failed> {
    // With wait-for-state, the controller does not add its finalizer. The spec stays as it is: gardener-resource-manager's
    // webhooks refuse a change of it during a deletion.
    let of_another = json!({ "metadata": { "finalizers": ["t.example.org/other"] } });
    scene.create_object("a", &merged(asking("wait-for-state"), &of_another)).await?;
    scene.delete("a").await?;
    let before = scene.patch("a", json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: null } } })).await?;
    scene.unchanged("a", &before, "there is no finalizer to remove").await?;
    scene.drop_finalizers("a").await
}

async fn deletion_needs_no_cluster(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.delete_cluster().await?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

async fn deletion_removes_only_the_own_finalizer(scene: Scene) -> Result<(), Failed> {
    let other = "t.example.org/other";
    scene.create_object("a", &json!({ "metadata": { "finalizers": [other] } })).await?;
    let object = scene.until_ready("a").await?;
    ensure(finalizers(&object).contains(&other), "the finalizer of another controller is gone")?;
    scene.delete("a").await?;
    let object = scene.until("a", "the release", |object| !scene.holds(object)).await?;
    ensure(finalizers(&object) == [other], "the finalizer of another controller is gone")?;
    scene.drop_finalizers("a").await
}

async fn force_deletion_of_a_failed_shoot_releases_the_object(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.fail_shoot().await?;
    scene.barrier().await?;
    scene.delete("a").await?;
    let object = scene.get("a").await?;
    scene.unchanged("a", &object, "the Shoot is Failed").await?;
    delete_by_force(&scene).await
}

/// Force-deletes the Shoot: gardenlet writes the Cluster, and deletes all objects again. A controller that follows Clusters
/// may have released them by then (`pkg/extensions/customresources.go`).
async fn delete_by_force(scene: &Scene) -> Result<(), Failed> {
    scene.force_delete_shoot().await?;
    match scene.delete("a").await {
        Err(failed) if !scene.get("a").await?.is_null() => Err(failed),
        _ => scene.until_gone("a").await,
    }
}

async fn force_deletion_of_the_shoot_releases_the_object(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    delete_by_force(&scene).await
}

async fn force_deletion_of_the_shoot_releases_an_object_that_cannot_be_deleted(scene: Scene) -> Result<(), Failed> {
    vain_deletion(&scene).await?;
    delete_by_force(&scene).await
}

/// Deletes an object `a` whose ordinary deletion does not succeed.
async fn vain_deletion(scene: &Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.patch("a", scene.suite().subject().undeletable.clone().unwrap_or_default()).await?;
    scene.delete("a").await?;
    scene.settled().await?;
    if scene.get("a").await?.is_null() {
        return Err(scene.not_judged("the object was deleted, although --undeletable says that it cannot be"));
    }
    Ok(())
}

async fn force_deletion_of_the_object_releases_it(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.force_delete("a").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

async fn force_deletion_of_the_object_releases_one_that_cannot_be_deleted(scene: Scene) -> Result<(), Failed> {
    vain_deletion(&scene).await?;
    scene.force_delete("a").await?;
    scene.until_gone("a").await
}
