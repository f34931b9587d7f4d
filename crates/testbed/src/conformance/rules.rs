//! The rules that hold for every kind. A function's name is the rule.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use libtest_mimic::Failed;
use mock_core::contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::ground::{annotation, asking, json_patch_merge, last, text};
use super::{Ground, Rule, ensure};
use crate::readiness;

/// Makes rules of async functions.
#[macro_export]
macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        &[$($crate::conformance::Rule { name: stringify!($rule), holds: |ground| Box::pin($rule(ground)) }),*]
    };
}

pub(super) const ALL: &[Rule] = rules![
    an_annotated_create_is_ready_with_the_fewest_writes,
    a_create_without_annotation_is_served_and_held,
    a_reconcile_costs_the_fewest_writes_and_ends_as_reconcile,
    the_last_operation_is_complete,
    the_timestamp_stays_byte_for_byte,
    a_timestamp_ahead_of_our_clock_is_answered,
    an_unreadable_timestamp_is_kept_and_is_no_request,
    two_reconciles_within_one_second_are_both_served,
    a_new_generation_without_annotation_is_a_request_of_one_write,
    a_newer_timestamp_without_annotation_is_a_request,
    an_unfinished_operation_is_finished_as_what_it_was,
    an_operation_that_failed_is_tried_again,
    a_stale_last_error_is_cleared_by_a_reconcile,
    a_last_error_beside_succeeded_at_rest_is_cleared,
    a_foreign_type_is_never_touched,
    a_foreign_class_is_never_touched,
    the_class_shoot_is_ours,
    an_object_at_rest_is_not_written,
    an_unknown_operation_is_left_alone,
    a_hibernated_shoot_is_served,
    a_failed_shoot_is_left_alone_until_it_is_not,
    a_late_cluster_is_waited_for_without_an_error,
    a_cluster_that_cannot_be_read_is_waited_for_like_an_absent_one,
    others_labels_and_annotations_survive,
    a_request_patched_in_between_is_never_erased,
    written_status_paths_exist_in_the_crd,
    spec_is_never_touched,
];

async fn an_annotated_create_is_ready_with_the_fewest_writes(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    ensure(ground.holds(&object), "our finalizer is missing")?;
    ground.has_cost("a", 0, 1 + ground.metadata_writes() + ground.suite.subject.secrets).await
}

async fn a_create_without_annotation_is_served_and_held(ground: Ground) -> Result<(), Failed> {
    ground.create("a", json!({})).await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))
}

async fn a_reconcile_costs_the_fewest_writes_and_ends_as_reconcile(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.barrier().await?;
    let before = ground.writes("a")?;
    ground.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Reconcile/Succeeded", last(&object))?;
    ground.has_cost("a", before, 1 + ground.metadata_writes() + ground.suite.subject.secrets).await
}

async fn the_last_operation_is_complete(ground: Ground) -> Result<(), Failed> {
    let object = ready(&ground).await?;
    ensure(object.pointer("/status/lastOperation/progress") == Some(&json!(100)), "progress is not 100")?;
    ensure(!text(&object, "/status/lastOperation/description").is_empty(), "there is no description")?;
    ensure(object.pointer("/status/lastError").is_none(), "there is a lastError")?;
    let observed = object.pointer("/status/observedGeneration");
    ensure(observed == object.pointer("/metadata/generation"), "the generation is not observed")
}

async fn the_timestamp_stays_byte_for_byte(ground: Ground) -> Result<(), Failed> {
    let timestamp = "2026-01-02T03:04:05.120000000Z";
    let annotations = json!({ OPERATION_ANNOTATION: "reconcile", TIMESTAMP_ANNOTATION: timestamp });
    ground.create("a", json!({ "metadata": { "annotations": annotations } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(annotation(&object, TIMESTAMP_ANNOTATION) == Some(timestamp), "the timestamp was changed")?;
    ensure(readiness::check(&object, Some(timestamp)).is_ok(), "gardenlet would wait for ever")
}

async fn a_timestamp_ahead_of_our_clock_is_answered(ground: Ground) -> Result<(), Failed> {
    let annotations = json!({ OPERATION_ANNOTATION: "reconcile", TIMESTAMP_ANNOTATION: "2099-01-02T03:04:05.9Z" });
    ground.create("a", json!({ "metadata": { "annotations": annotations } })).await?;
    let object = ground.until_ready("a").await?;
    let time = text(&object, "/status/lastOperation/lastUpdateTime");
    ensure(time == "2099-01-02T03:04:05Z", format!("lastUpdateTime is {time}"))?;
    ground.unchanged("a", &object, "an answered timestamp is no further request").await
}

async fn an_unreadable_timestamp_is_kept_and_is_no_request(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    let annotations = json!({ TIMESTAMP_ANNOTATION: "yesterday" });
    let before = ground.patch("a", json!({ "metadata": { "annotations": annotations } })).await?;
    ground.unchanged("a", &before, "an unreadable timestamp is no request").await
}

async fn two_reconciles_within_one_second_are_both_served(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    for _ in 0..3 {
        let asked = ground.ask("a", "reconcile").await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION).map(str::to_owned);
        let served = |object: &Value| readiness::check(object, timestamp.as_deref()).is_ok();
        let object = ground.until("a", "readiness", served).await?;
        ensure(text(&object, "/metadata/resourceVersion") != text(&asked, "/metadata/resourceVersion"), "not served")?;
    }
    Ok(())
}

async fn a_new_generation_without_annotation_is_a_request_of_one_write(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.barrier().await?;
    let before = ground.writes("a")?;
    ground.patch("a", json!({ "spec": { "providerConfig": { "new": true } } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/observedGeneration") == Some(&json!(2)), "the generation is not observed")?;
    ground.has_cost("a", before, 1 + ground.suite.subject.secrets).await
}

async fn a_newer_timestamp_without_annotation_is_a_request(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    let annotations = json!({ TIMESTAMP_ANNOTATION: "2098-01-01T00:00:00.5Z" });
    ground.patch("a", json!({ "metadata": { "annotations": annotations } })).await?;
    ground.until_ready("a").await.map(drop)
}

async fn an_unfinished_operation_is_finished_as_what_it_was(ground: Ground) -> Result<(), Failed> {
    for (name, operation, state, expected) in [
        ("a", "Create", "Processing", "Create/Succeeded"),
        ("b", "Restore", "Pending", "Restore/Succeeded"),
        ("c", "Reconcile", "Aborted", "Reconcile/Succeeded"),
        ("d", "Migrate", "Processing", "Migrate/Succeeded"),
    ] {
        made_up(&ground, name, operation, state).await?;
        ground.until(name, expected, |object| last(object) == expected).await?;
    }
    Ok(())
}

async fn an_operation_that_failed_is_tried_again(ground: Ground) -> Result<(), Failed> {
    for (name, state) in [("a", "Error"), ("b", "Failed")] {
        made_up(&ground, name, "Create", state).await?;
        ground.until(name, "success", |object| last(object) == "Create/Succeeded").await?;
    }
    Ok(())
}

async fn a_stale_last_error_is_cleared_by_a_reconcile(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "wait-for-state").await?;
    ground.patch_status("a", json!({ "lastError": { "description": "old" } })).await?;
    ground.ask("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/lastError").is_none(), "lastError is still there")
}

async fn a_last_error_beside_succeeded_at_rest_is_cleared(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.patch_status("a", json!({ "lastError": { "description": "somebody's" } })).await?;
    ground.until_ready("a").await.map(drop)
}

async fn a_foreign_type_is_never_touched(ground: Ground) -> Result<(), Failed> {
    for (name, foreign) in [("a", "aws"), ("b", "Mock"), ("c", "mockery")] {
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "spec": { "type": foreign } }));
        let before = ground.create(name, patch).await?;
        ensure(annotation(&before, OPERATION_ANNOTATION).is_some() && !ground.holds(&before), "taken up")?;
        ground.unchanged(name, &before, "a foreign type is not ours").await?;
    }
    Ok(())
}

async fn a_foreign_class_is_never_touched(ground: Ground) -> Result<(), Failed> {
    let mut patch = asking("reconcile");
    json_patch_merge(&mut patch, &json!({ "spec": { "class": "seed" } }));
    let before = ground.create("a", patch).await?;
    ensure(annotation(&before, OPERATION_ANNOTATION).is_some() && !ground.holds(&before), "taken up")?;
    ground.unchanged("a", &before, "a foreign class is not ours").await
}

async fn the_class_shoot_is_ours(ground: Ground) -> Result<(), Failed> {
    ground.create("a", json!({ "spec": { "class": "shoot" } })).await?;
    ground.until_ready("a").await.map(drop)
}

async fn an_object_at_rest_is_not_written(ground: Ground) -> Result<(), Failed> {
    let before = ready(&ground).await?;
    ground.unchanged("a", &before, "nothing is asked of an object at rest").await?;
    ground.write_cluster(json!({ "metadata": { "annotations": { "new": "yes" } } })).await?;
    ground.unchanged("a", &before, "a new Cluster asks nothing of an object at rest").await
}

async fn an_unknown_operation_is_left_alone(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    let annotations = json!({ OPERATION_ANNOTATION: "keepalive" });
    let before = ground.patch("a", json!({ "metadata": { "annotations": annotations } })).await?;
    ground.unchanged("a", &before, "an unknown operation is not for extension objects").await
}

async fn a_hibernated_shoot_is_served(ground: Ground) -> Result<(), Failed> {
    ground.write_cluster(json!({ "spec": { "hibernation": { "enabled": true } } })).await?;
    ready(&ground).await.map(drop)
}

async fn a_failed_shoot_is_left_alone_until_it_is_not(ground: Ground) -> Result<(), Failed> {
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await?;
    // Our watch of Clusters may be behind our watch of objects: let it see the state first.
    ground.barrier().await?;
    let before = ground.create_annotated("a", "reconcile").await?;
    ground.unchanged("a", &before, "the Shoot is Failed").await?;
    ground.write_cluster(json!({})).await?;
    ground.until_ready("a").await.map(drop)
}

async fn a_late_cluster_is_waited_for_without_an_error(ground: Ground) -> Result<(), Failed> {
    ground.delete_cluster().await?;
    ground.barrier().await?;
    let before = ground.create_annotated("a", "reconcile").await?;
    ground.unchanged("a", &before, "there is no Cluster yet").await?;
    ground.write_cluster(json!({})).await?;
    ground.until_ready("a").await.map(drop)
}

async fn a_cluster_that_cannot_be_read_is_waited_for_like_an_absent_one(ground: Ground) -> Result<(), Failed> {
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": 1 } } })).await?;
    ground.barrier().await?;
    let before = ground.create_annotated("a", "reconcile").await?;
    ground.unchanged("a", &before, "the Cluster cannot be read").await?;
    ground.write_cluster(json!({})).await?;
    ground.until_ready("a").await.map(drop)
}

async fn others_labels_and_annotations_survive(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    for round in 0..20 {
        let value = round.to_string();
        ground.patch("a", json!({ "metadata": { "labels": { "n": value }, "annotations": { "t/n": value } } })).await?;
        if round % 5 == 0 {
            ground.ask("a", "reconcile").await?;
        }
    }
    let object = ground.until_ready("a").await?;
    ensure(text(&object, "/metadata/labels/n") == "19", "a label was lost")?;
    ensure(annotation(&object, "t/n") == Some("19"), "an annotation was lost")
}

async fn a_request_patched_in_between_is_never_erased(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    for round in 0..30 {
        ground.ask("a", "reconcile").await?;
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "spec": { "providerConfig": { "round": round } } }));
        let asked = ground.patch("a", patch).await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION).map(str::to_owned);
        let served = |object: &Value| readiness::check(object, timestamp.as_deref()).is_ok();
        ground.until("a", "readiness", served).await?;
    }
    Ok(())
}

async fn written_status_paths_exist_in_the_crd(ground: Ground) -> Result<(), Failed> {
    let object = ready(&ground).await?;
    (ground.suite.schema)(&object, &ground.status_schema().await?)
}

async fn spec_is_never_touched(ground: Ground) -> Result<(), Failed> {
    let created = ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(created.get("spec") == object.get("spec"), "spec was changed")?;
    ensure(object.pointer("/metadata/generation") == Some(&json!(1)), "spec was written")
}

/// Later than any answer so far, in the whole seconds of a status.
pub(super) fn in_a_second() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(1)
}

/// An object `a` that was created and is at rest.
pub(super) async fn ready(ground: &Ground) -> Result<Value, Failed> {
    ground.create_annotated("a", "reconcile").await?;
    ground.until_ready("a").await
}

/// An object as another process might have left it: the annotation that means hands off covers its making.
pub(super) async fn made_up(ground: &Ground, name: &str, operation: &str, state: &str) -> Result<(), Failed> {
    ground.create_annotated(name, "wait-for-state").await?;
    ground.patch_status(name, status(operation, state)).await?;
    ground.patch(name, json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: null } } })).await?;
    Ok(())
}

pub(super) fn status(operation: &str, state: &str) -> Value {
    let time = "2098-01-01T00:00:00Z";
    let time = if matches!(state, "Error" | "Failed") { "2026-01-01T00:00:00Z" } else { time };
    let last = json!({ "type": operation, "state": state, "progress": 7, "description": "x", "lastUpdateTime": time });
    json!({ "observedGeneration": 1, "lastOperation": last })
}
