//! When gardenlet considers an object ready, and which fields it compares.

use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, readiness};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking_at, condition, ensure, excerpt, last, text};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "readiness";

    Must annotated_create_becomes_ready_as_create_with_the_finalizer needs []
        from "pkg/utils/kubernetes/health/extensions.go, extensions/pkg/controller/infrastructure/reconciler.go":
        "A new object with gardenlet's annotation ends as Create/Succeeded, without the annotation and with the \
         controller's finalizer."
        otherwise "gardenlet waits until its timeout, or a deletion skips the clean-up.";

    Must reconcile_becomes_ready_as_reconcile needs []
        from "pkg/utils/kubernetes/health/extensions.go, pkg/api/core/v1beta1/helper/common.go":
        "A further request ends as Reconcile/Succeeded."
        otherwise "gardenlet waits until its timeout, or repeats another operation after an interruption.";

    Should last_operation_of_a_ready_object_is_complete needs []
        from "pkg/utils/kubernetes/health/extensions.go, extensions/pkg/controller/status.go":
        "A ready object has progress 100, a description, no lastError, and its generation as observedGeneration."
        otherwise "The status misleads an operator.";

    Must timestamp_stays_byte_for_byte needs [] from "pkg/extensions/customresources.go":
        "The controller does not rewrite the timestamp annotation."
        otherwise "gardenlet compares it byte for byte with what it wrote, and waits until its timeout.";

    May timestamp_ahead_of_the_clock_is_answered_once needs [ClockSkew]
        from "pkg/utils/kubernetes/health/extensions.go":
        "lastUpdateTime is never before the request, even if gardenlet's clock is ahead."
        otherwise "gardenlet waits until the controller's clock has caught up.";

    Must stale_last_error_is_cleared_by_a_reconcile needs []
        from "pkg/utils/kubernetes/health/extensions.go, extensions/pkg/controller/status.go":
        "A success removes lastError."
        otherwise "gardenlet reports the old error and gives up. A merge patch must remove lastError explicitly.";

    May last_error_beside_succeeded_is_cleared needs [Retry] from "pkg/utils/kubernetes/health/extensions.go":
        "The controller removes a lastError that another writer left beside Succeeded."
        otherwise "gardenlet treats the object as failed while the error is there.";

    Should condition_says_that_it_was_created needs [CreatedCondition]
        from "extensions/pkg/controller/dnsrecord/reconciler.go":
        "Every success sets the kind's condition to True."
        otherwise "An operator does not see what a deletion skips: it skips what was never created.";

    Should spec_is_never_written needs [] from "pkg/gardenlet/controller/backupbucket/reconciler.go":
        "The controller does not write the spec."
        otherwise "gardenlet owns the spec and compares it: it sends a request for each difference.";
}

async fn annotated_create_becomes_ready_as_create_with_the_finalizer(scene: Scene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    ensure(annotation(&object, OPERATION_ANNOTATION).is_none(), "the annotation is still there")?;
    ensure(scene.holds(&object), "the controller's finalizer is missing")
}

async fn reconcile_becomes_ready_as_reconcile(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask_next_second("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Reconcile/Succeeded", last(&object))
}

async fn last_operation_of_a_ready_object_is_complete(scene: Scene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    ensure(object.pointer("/status/lastOperation/progress") == Some(&json!(100)), "progress is not 100")?;
    ensure(!text(&object, "/status/lastOperation/description").is_empty(), "there is no description")?;
    ensure(object.pointer("/status/lastError").is_none(), "there is a lastError")?;
    let observed = object.pointer("/status/observedGeneration");
    ensure(observed == object.pointer("/metadata/generation"), "observedGeneration is not the generation")
}

async fn timestamp_stays_byte_for_byte(scene: Scene) -> Result<(), Failed> {
    let timestamp = "2026-01-02T03:04:05.120000000Z";
    scene.create_object("a", &asking_at("reconcile", timestamp)).await?;
    let object = scene.until_ready("a").await?;
    ensure(annotation(&object, TIMESTAMP_ANNOTATION) == Some(timestamp), "the timestamp was changed")?;
    ensure(readiness::check(&object, Some(timestamp)).is_ok(), "gardenlet would wait until its timeout")
}

async fn timestamp_ahead_of_the_clock_is_answered_once(scene: Scene) -> Result<(), Failed> {
    scene.create_object("a", &asking_at("reconcile", "2099-01-02T03:04:05.9Z")).await?;
    let object = scene.until_ready("a").await?;
    scene.unchanged("a", &object, "an answered timestamp is no further request").await
}

async fn stale_last_error_is_cleared_by_a_reconcile(scene: Scene) -> Result<(), Failed> {
    scene.create_annotated("a", "wait-for-state").await?;
    scene.patch_status("a", json!({ "lastError": { "description": "old" } })).await?;
    scene.ask("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/lastError").is_none(), "lastError is still there")
}

async fn last_error_beside_succeeded_is_cleared(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.patch_status("a", json!({ "lastError": { "description": "from another writer" } })).await?;
    scene.until_ready("a").await.map(drop)
}

async fn condition_says_that_it_was_created(scene: Scene) -> Result<(), Failed> {
    let created = scene.suite().subject().kind.created.unwrap_or_default();
    let is_true = |object: &Value| text(&condition(object, created), "/status") == "True";
    let object = scene.create_ready().await?;
    ensure(is_true(&object), format!("{created} is not True: {}", excerpt(&object)))?;
    let failed = json!({ "type": created, "status": "False", "reason": "R", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z" });
    scene.patch_status("a", json!({ "conditions": [failed] })).await?;
    scene.ask_next_second("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(is_true(&object), format!("{created} is not True after a success: {}", excerpt(&object)))
}

async fn spec_is_never_written(scene: Scene) -> Result<(), Failed> {
    let created = scene.create_annotated("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(created.get("spec") == object.get("spec"), "spec was changed")?;
    ensure(object.pointer("/metadata/generation") == Some(&json!(1)), "spec was written")
}
