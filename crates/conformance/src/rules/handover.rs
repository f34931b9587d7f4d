//! Migration of a Shoot to another seed: migrate, wait-for-state and restore.

use extension_contract::{OPERATION_ANNOTATION, readiness};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking, ensure, excerpt, last, merged, status};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "handover";

    Must migrate_releases_the_object_and_its_deletion_needs_no_work needs [Migrate]
        from "pkg/extensions/customresources.go, pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "Migrate ends as Migrate/Succeeded without lastError, without the annotation and without the controller's \
         finalizer."
        otherwise "gardenlet waits until its timeout, or the DELETE that follows destroys what the other seed takes \
                   over.";

    May migrate_without_the_finalizer_is_reported needs [Migrate] from "pkg/extensions/customresources.go":
        "Migrate is reported even for an object that lacks the controller's finalizer."
        otherwise "gardenlet waits for the report until its timeout. Gardener's library sends none for an \
                   OperatingSystemConfig.";

    Must migrate_takes_precedence_over_deletion needs [Migrate]
        from "pkg/api/core/v1beta1/helper/common.go, pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "An annotated object that is being deleted is migrated, not deleted."
        otherwise "The resources do not survive for the other seed: gardenlet deletes a ControlPlane right after it \
                   has annotated it.";

    May migrate_needs_no_cluster needs [Migrate, MissingCluster]
        from "pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go":
        "Migrate succeeds without the object's Cluster."
        otherwise "An object that outlives its Cluster is never released.";

    Must reconcile_after_migrate_is_ignored_until_restore needs [Migrate] from "extensions/pkg/controller/utils.go":
        "After Migrate/Succeeded the controller serves migrate and restore only."
        otherwise "A reconcile serves the object on two seeds.";

    Must half_finished_migrate_is_finished needs [Migrate] from "extensions/pkg/controller/network/reconciler.go":
        "A controller that finds Migrate/Succeeded, the annotation and its finalizer removes both."
        otherwise "gardenlet's DELETE waits for the finalizer until its timeout, after a controller was killed in \
                   between.";

    Must wait_for_state_is_ignored_until_restore needs [Migrate] from "pkg/extensions/customresources.go":
        "The controller serves an object with wait-for-state only once gardenlet requests a restore."
        otherwise "The controller serves the object without the state of the other seed, and creates everything \
                   anew.";

    Must restored_object_becomes_ready needs [Migrate]
        from "pkg/extensions/customresources.go, pkg/utils/kubernetes/health/extensions.go":
        "Restore ends as a success, without the annotation and with the controller's finalizer."
        otherwise "gardenlet waits until its timeout, and the migration of the Shoot fails on the new seed.";

    May restore_ends_as_restore_and_is_done_once needs [Migrate] from "pkg/api/core/v1beta1/helper/common.go":
        "A restored object stays Restore/Succeeded, and the controller does not write it again."
        otherwise "The load doubles, and the status does not say that the object was restored. Gardener's library \
                   reconciles once more, because its own writes of the status wake it.";

    May migrated_object_is_not_written needs [Migrate] from "extensions/pkg/controller/utils.go":
        "The controller does not write an object that it has migrated."
        otherwise "The load doubles, and a late migrate may remove the finalizer of a restore.";

    May restored_state_is_kept needs [Migrate, KeepsState] from "pkg/extensions/customresources.go":
        "After a restore, status.state is what gardenlet wrote."
        otherwise "The state of the other seed is lost for the next migration, unless the controller has written an \
                   equal one in another form.";
}

async fn migrate_releases_the_object_and_its_deletion_needs_no_work(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask("a", "migrate").await?;
    let object = scene.until_released("a").await?;
    ensure(readiness::check_migrated(&object).is_ok(), "gardenlet would wait until its timeout")?;
    ensure(object.pointer("/status/lastError").is_none(), "there is a lastError")?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

async fn migrated_object_is_not_written(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask("a", "migrate").await?;
    let object = scene.until_released("a").await?;
    scene.unchanged("a", &object, "nothing is left to do after a migration").await
}

async fn migrate_without_the_finalizer_is_reported(scene: Scene) -> Result<(), Failed> {
    scene.create_annotated("a", "migrate").await?;
    scene.until_released("a").await?;
    // A migrated object lacks it as well.
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await.map(drop)
}

async fn migrate_takes_precedence_over_deletion(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    let finalizers = json!([scene.suite().subject().finalizer, "t.example.org/other"]);
    scene.patch("a", json!({ "metadata": { "finalizers": finalizers } })).await?;
    // wait-for-state keeps the controller away until the deletion is there.
    scene.ask("a", "wait-for-state").await?;
    scene.delete("a").await?;
    let mut versions = scene.follow("a").await?;
    scene.ask("a", "migrate").await?;
    let is_migrated = |object: &Value| {
        let operation = last(object);
        operation == "Migrate/Succeeded" || operation.starts_with("Delete/")
    };
    let object = versions.until("the migration", is_migrated).await?;
    ensure(last(&object) == "Migrate/Succeeded", format!("it is deleted instead: {}", last(&object)))?;
    // Gardener's library removes the finalizers of others as well, and the object is gone.
    let is_released = |object: &Value| object.is_null() || !scene.holds(object);
    let object = scene.until("a", "the release", is_released).await?;
    if object.is_null() { Ok(()) } else { scene.drop_finalizers("a").await }
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
    scene.patch("a", scene.change()).await?;
    scene.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    scene.settled().await?;
    let object = scene.get("a").await?;
    ensure(last(&object) == "Migrate/Succeeded" && !scene.holds(&object), format!("served: {}", excerpt(&object)))?;
    scene.ask("a", "restore").await?;
    scene.until_ready("a").await.map(drop)
}

async fn half_finished_migrate_is_finished(scene: Scene) -> Result<(), Failed> {
    scene.create_half_migrated("a").await?;
    scene.until_released("a").await.map(drop)
}

async fn wait_for_state_is_ignored_until_restore(scene: Scene) -> Result<(), Failed> {
    let before = scene.create_annotated("a", "wait-for-state").await?;
    scene.unchanged("a", &before, "wait-for-state keeps the controller away").await?;
    if let Some(state) = scene.suite().subject().state.clone() {
        let before = scene.patch_status("a", json!({ "state": state })).await?;
        scene.unchanged("a", &before, "wait-for-state keeps the controller away").await?;
    }
    scene.ask("a", "restore").await?;
    scene.until_ready("a").await.map(drop)
}

async fn restored_object_becomes_ready(scene: Scene) -> Result<(), Failed> {
    scene.prepare_restore().await?;
    scene.ask("a", "restore").await?;
    scene.until_ready("a").await.map(drop)
}

async fn restore_ends_as_restore_and_is_done_once(scene: Scene) -> Result<(), Failed> {
    scene.prepare_restore().await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))?;
    scene.unchanged("a", &object, "a restore is done once").await
}

async fn restored_state_is_kept(scene: Scene) -> Result<(), Failed> {
    let state = scene.prepare_restore().await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/state") == state.as_ref(), "the state was changed")
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
    /// status: the one that the controller has written, or that of the subject. `None` if there is neither.
    pub async fn prepare_restore(&self) -> Result<Option<Value>, Failed> {
        let old = self.create_ready().await?;
        let state = old.pointer("/status/state").cloned().or_else(|| self.suite().subject().state.clone());
        self.ask("a", "migrate").await?;
        self.until_released("a").await?;
        self.delete("a").await?;
        self.until_gone("a").await?;
        self.create_annotated("a", "wait-for-state").await?;
        if let Some(state) = &state {
            self.patch_status("a", json!({ "state": state })).await?;
        }
        Ok(state)
    }
}
