//! What counts as a request of gardenlet. Each request is served.

use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, readiness};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking, ensure, last, merged, text};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "requests";

    Must create_without_annotation_is_served needs []
        from "pkg/component/extensions/infrastructure/infrastructure.go, extensions/pkg/predicate/default.go":
        "A new object without lastOperation is a request, even without annotation."
        otherwise "gardenlet creates some Infrastructures that way, and would wait for them until its timeout.";

    Must two_reconciles_within_one_second_are_both_served needs [PolledReader]
        from "pkg/extensions/customresources.go":
        "A request in the second of the last success is served."
        otherwise "gardenlet waits until its timeout for the annotation to be gone. Times in a status have whole \
                   seconds, so only the annotation distinguishes two requests.";

    May request_patched_in_between_is_never_erased needs []
        from "pkg/controllerutils/reconciler/operation_annotation_wrapper.go":
        "A request that arrives while the controller serves another one is served as well."
        otherwise "gardenlet waits until its timeout if the controller removes the new annotation together with the \
                   old one. Gardener's library can do that.";

    May new_generation_without_annotation_is_served needs [Unannotated]
        from "pkg/utils/kubernetes/health/extensions.go":
        "A changed spec is served without annotation."
        otherwise "gardenlet waits until its timeout for observedGeneration, if its patch of the spec has lost the \
                   annotation.";

    May newer_timestamp_without_annotation_is_served needs [Unannotated, ClockSkew]
        from "pkg/utils/kubernetes/health/extensions.go":
        "A timestamp that is newer than the last operation is served without annotation."
        otherwise "gardenlet waits until its timeout for lastUpdateTime, if its patch has lost the annotation.";

    Should unreadable_timestamp_is_kept_and_ignored needs [] from "pkg/extensions/customresources.go":
        "The controller neither removes a timestamp that it cannot parse nor serves it again and again."
        otherwise "The object is reconciled again and again, or gardenlet misses the annotation, which it compares \
                   byte for byte.";

    Must wait_for_state_is_left_alone needs [] from "pkg/controllerutils/reconciler/operation_annotation_wrapper.go":
        "The controller does not write an object with wait-for-state, whatever else requests something."
        otherwise "gardenlet writes the status of such an object itself, and the controller overwrites it.";

    Should unknown_operation_is_left_alone needs [] from "pkg/apis/core/v1beta1/constants/types_constants.go":
        "The controller ignores values of the operation annotation that are not for extension objects."
        otherwise "The component that the value is for misses its request.";

    Should object_at_rest_is_not_written needs [] from "extensions/pkg/predicate/default.go":
        "The controller does not write an object without a request."
        otherwise "gardenlet sees operations that it did not request, and the load of the API server doubles.";

    May changed_cluster_is_no_request needs [HasCluster] from "extensions/pkg/controller/infrastructure/mapper.go":
        "The controller does not write an object because its Cluster changes."
        otherwise "The load doubles: gardenlet writes the Cluster before each reconcile of the Shoot. Gardener's library \
                   follows Clusters if it ignores the operation annotation.";

    May unfinished_operation_is_finished_with_its_type needs [Retry] from "pkg/api/core/v1beta1/helper/common.go":
        "The controller finishes an operation that another process began, as the same type."
        otherwise "An unfinished Migrate that becomes a Reconcile serves the object on two seeds.";

    May failed_operation_is_retried needs [Retry] from "extensions/pkg/predicate/default.go":
        "The controller retries an operation that failed."
        otherwise "gardenlet gives up, although one more attempt would have helped: it sends no further request \
                   meanwhile.";
}

async fn create_without_annotation_is_served(scene: Scene) -> Result<(), Failed> {
    scene.create_object("a", &json!({})).await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))
}

async fn two_reconciles_within_one_second_are_both_served(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    for _ in 0..3 {
        let asked = scene.ask("a", "reconcile").await?;
        let object = scene.until_served("a", annotation(&asked, TIMESTAMP_ANNOTATION)).await?;
        ensure(text(&object, "/metadata/resourceVersion") != text(&asked, "/metadata/resourceVersion"), "not served")?;
    }
    Ok(())
}

async fn request_patched_in_between_is_never_erased(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    for round in 0..30 {
        scene.ask("a", "reconcile").await?;
        let spec = if round % 2 == 0 { scene.change() } else { scene.change_back() };
        let asked = scene.patch("a", merged(asking("reconcile"), &spec)).await?;
        scene.until_served("a", annotation(&asked, TIMESTAMP_ANNOTATION)).await?;
    }
    Ok(())
}

async fn new_generation_without_annotation_is_served(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.patch("a", scene.change()).await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/observedGeneration") == Some(&json!(2)), "observedGeneration is not 2")
}

async fn newer_timestamp_without_annotation_is_served(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    let annotations = json!({ TIMESTAMP_ANNOTATION: "2098-01-01T00:00:00.5Z" });
    let asked = scene.patch("a", json!({ "metadata": { "annotations": annotations } })).await?;
    ensure(readiness::check(&asked, None).is_err(), "the patch is not a request")?;
    scene.until_ready("a").await.map(drop)
}

async fn unreadable_timestamp_is_kept_and_ignored(scene: Scene) -> Result<(), Failed> {
    is_no_request(&scene, TIMESTAMP_ANNOTATION, "yesterday", "an unreadable timestamp is no request").await
}

/// Fails if the controller writes a ready object that gets this annotation.
async fn is_no_request(scene: &Scene, annotation: &str, value: &str, why: &str) -> Result<(), Failed> {
    at_rest(scene).await?;
    let before = scene.patch("a", json!({ "metadata": { "annotations": { annotation: value } } })).await?;
    scene.unchanged("a", &before, why).await
}

/// Returns a ready object when its request has no more consequences. A controller may serve a request once more because of
/// its own first writes.
async fn at_rest(scene: &Scene) -> Result<Value, Failed> {
    scene.create_ready().await?;
    scene.settled().await?;
    scene.get("a").await
}

async fn wait_for_state_is_left_alone(scene: Scene) -> Result<(), Failed> {
    let why = "wait-for-state keeps the controller away";
    let before = scene.create_annotated("a", "wait-for-state").await?;
    scene.unchanged("a", &before, why).await?;
    let before = scene.patch("a", merged(asking("wait-for-state"), &scene.change())).await?;
    scene.unchanged("a", &before, why).await?;
    scene.ask("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.settled().await?;
    let before = scene.ask_later("a", "wait-for-state", SignedDuration::from_secs(1)).await?;
    scene.unchanged("a", &before, why).await
}

async fn unknown_operation_is_left_alone(scene: Scene) -> Result<(), Failed> {
    let why = "an unknown operation is not for extension objects";
    is_no_request(&scene, OPERATION_ANNOTATION, "keepalive", why).await
}

async fn object_at_rest_is_not_written(scene: Scene) -> Result<(), Failed> {
    let before = scene.create_ready().await?;
    scene.unchanged("a", &before, "there is no request").await
}

async fn changed_cluster_is_no_request(scene: Scene) -> Result<(), Failed> {
    let before = at_rest(&scene).await?;
    scene.write_cluster(json!({ "metadata": { "annotations": { "new": "yes" } } })).await?;
    scene.unchanged("a", &before, "a changed Cluster is no request").await
}

async fn unfinished_operation_is_finished_with_its_type(scene: Scene) -> Result<(), Failed> {
    let every = [
        ("a", "Create", "Processing", "Create/Succeeded"),
        ("c", "Reconcile", "Aborted", "Reconcile/Succeeded"),
        ("b", "Restore", "Pending", "Restore/Succeeded"),
        ("d", "Migrate", "Processing", "Migrate/Succeeded"),
    ];
    let count = if scene.suite().subject().migrates() { every.len() } else { 2 };
    for (name, operation, state, expected) in every.into_iter().take(count) {
        scene.create_with_status(name, operation, state).await?;
        scene.until(name, expected, |object| last(object) == expected).await?;
    }
    Ok(())
}

async fn failed_operation_is_retried(scene: Scene) -> Result<(), Failed> {
    for (name, state) in [("a", "Error"), ("b", "Failed")] {
        scene.create_with_status(name, "Create", state).await?;
        let succeeded = |object: &Value| last(object) == "Create/Succeeded";
        scene.until(name, "success", succeeded).await?;
    }
    Ok(())
}
