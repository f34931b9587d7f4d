//! Migration of a Shoot to another seed: migrate, wait-for-state and restore.

use extension_contract::{OPERATION_ANNOTATION, readiness};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking, ensure, last, merged, status};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "handover";

    migrate_releases_the_object_and_its_deletion_needs_no_work needs [Migrate]
        from "pkg/extensions/customresources.go, pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "Migrate ends as Migrate/Succeeded without lastError, without the annotation and without the controller's \
         finalizer. Otherwise the DELETE that follows destroys what the other seed takes over.";

    migrate_without_the_finalizer_is_reported needs [Migrate] from "pkg/extensions/customresources.go":
        "Migrate is reported even for an object that never had the controller's finalizer. gardenlet waits for the \
         report.";

    migrate_takes_precedence_over_deletion needs [Migrate]
        from "pkg/api/core/v1beta1/helper/common.go, pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "An annotated object that is being deleted is migrated, not deleted. gardenlet deletes a ControlPlane right \
         after it has annotated it, and the resources must survive for the other seed.";

    migrate_needs_no_cluster needs [Migrate, MissingCluster]
        from "pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "Migrate succeeds without the object's Cluster. Otherwise an object that outlives its Cluster is never \
         released.";

    reconcile_after_migrate_is_ignored_until_restore needs [Migrate] from "extensions/pkg/controller/utils.go":
        "After Migrate/Succeeded the controller serves migrate and restore only. A reconcile would serve the object on \
         two seeds.";

    half_finished_migrate_is_finished needs [Migrate] from "extensions/pkg/controller/network/reconciler.go":
        "A controller that finds Migrate/Succeeded, the annotation and its finalizer removes both. It may have been \
         killed in between; gardenlet's DELETE waits for the finalizer.";

    wait_for_state_is_ignored_until_restore needs [Migrate] from "pkg/extensions/customresources.go":
        "The controller serves an object with wait-for-state only once gardenlet requests a restore. gardenlet writes \
         the state into its status before that.";

    restore_ends_as_restore_and_keeps_the_state needs [Migrate] from "pkg/extensions/customresources.go":
        "Restore ends as Restore/Succeeded, once, and status.state is what gardenlet wrote. Otherwise the state of the \
         other seed is lost.";
}

async fn migrate_releases_the_object_and_its_deletion_needs_no_work(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask("a", "migrate").await?;
    let object = scene.until_released("a").await?;
    ensure(readiness::check_migrated(&object).is_ok(), "gardenlet would wait until its timeout")?;
    ensure(object.pointer("/status/lastError").is_none(), "there is a lastError")?;
    scene.unchanged("a", &object, "nothing is left to do after a migration").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

async fn migrate_without_the_finalizer_is_reported(scene: Scene) -> Result<(), Failed> {
    scene.create_annotated("a", "migrate").await?;
    scene.until_released("a").await.map(drop)
}

async fn migrate_takes_precedence_over_deletion(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    let finalizers = json!([scene.suite().subject().finalizer, "t.example.org/other"]);
    scene.patch("a", json!({ "metadata": { "finalizers": finalizers } })).await?;
    // wait-for-state keeps the controller away until the deletion is there.
    scene.ask("a", "wait-for-state").await?;
    scene.delete("a").await?;
    scene.ask("a", "migrate").await?;
    let object = scene.until_released("a").await?;
    ensure(last(&object) == "Migrate/Succeeded", last(&object))?;
    scene.drop_finalizers("a").await
}

async fn migrate_needs_no_cluster(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.delete_cluster().await?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await.map(drop)
}

async fn reconcile_after_migrate_is_ignored_until_restore(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.patch("a", json!({ "spec": { "providerConfig": { "new": true } } })).await?;
    scene.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    scene.barrier().await?;
    let object = scene.get("a").await?;
    ensure(last(&object) == "Migrate/Succeeded" && !scene.holds(&object), format!("served: {object:#}"))?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Restore/Succeeded" && scene.holds(&object), "not restored")
}

async fn half_finished_migrate_is_finished(scene: Scene) -> Result<(), Failed> {
    scene.create_half_migrated("a").await?;
    scene.until_released("a").await.map(drop)
}

async fn wait_for_state_is_ignored_until_restore(scene: Scene) -> Result<(), Failed> {
    let before = scene.create_annotated("a", "wait-for-state").await?;
    scene.unchanged("a", &before, "wait-for-state keeps the controller away").await?;
    let before = scene.patch_status("a", json!({ "state": { "saved": "elsewhere" } })).await?;
    scene.unchanged("a", &before, "wait-for-state keeps the controller away").await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))
}

async fn restore_ends_as_restore_and_keeps_the_state(scene: Scene) -> Result<(), Failed> {
    let state = scene.prepare_restore().await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "the state was changed")?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))?;
    scene.unchanged("a", &object, "a restore is done once").await
}

/// Steps that several rules share.
impl Scene {
    /// Waits until the object is migrated, without the controller's finalizer and without the annotation.
    pub async fn until_released(&self, name: &str) -> Result<Value, Failed> {
        let is_released = |object: &Value| {
            last(object) == "Migrate/Succeeded"
                && !self.holds(object)
                && annotation(object, OPERATION_ANNOTATION).is_none()
        };
        self.until(name, "the migration", is_released).await
    }

    /// Creates an object whose controller was killed in the middle of a migrate: the status is written, annotation and
    /// finalizer are still there.
    pub async fn create_half_migrated(&self, name: &str) -> Result<(), Failed> {
        let finalizers = json!({ "metadata": { "finalizers": [self.suite().subject().finalizer] } });
        self.create_object(name, &merged(asking("wait-for-state"), &finalizers)).await?;
        self.patch_status(name, status("Migrate", "Succeeded")).await?;
        self.patch(name, json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: "migrate" } } })).await?;
        Ok(())
    }

    /// Moves an object `a` from one seed to the other, up to the request to restore it. Returns the state in its
    /// status.
    pub async fn prepare_restore(&self) -> Result<Value, Failed> {
        let old = self.create_ready().await?;
        let state = old.pointer("/status/state").cloned().unwrap_or_else(|| json!({ "of": "another seed" }));
        self.ask("a", "migrate").await?;
        self.until_released("a").await?;
        self.delete("a").await?;
        self.until_gone("a").await?;
        self.create_annotated("a", "wait-for-state").await?;
        self.patch_status("a", json!({ "state": state })).await?;
        Ok(state)
    }
}
