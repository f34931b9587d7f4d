//! Attempts of scripts: how the controller counts them, what ends them, and what survives a restart.

use extension_conformance::{asking, condition, ensure, last, merged, text};
use extension_contract::readiness;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use libtest_mimic::Failed;
use mock_core::script::{MOCK_SCRIPT, Phase};
use serde_json::{Value, json};

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::{endless_deletion, record, script};

pub(crate) const PROMISES: &[Promise] = promises![
    killed_controller_finishes_the_attempt_it_began,
    attempts_are_counted_over_requests_until_success_clears_the_error,
    failed_shoot_pauses_attempts_and_recovery_continues_the_count needs [FailedShoot],
    pending_attempt_ends_with_a_new_request_or_deletion,
    pending_attempt_ends_with_a_migration needs [Migrate],
    running_deletion_is_not_restarted_by_further_confirmations,
    force_deletion_of_the_object_ignores_scripts needs [OwnForceDeletion],
    health_conditions_come_on_time_and_keep_those_of_others,
    attempt_of_a_clock_that_was_an_hour_ahead_takes_no_hour,
];

async fn killed_controller_finishes_the_attempt_it_began(scene: MockScene) -> Result<(), Failed> {
    let controller = scene.start_controller()?;
    let rules = json!([{ "match": { "attempts": { "to": 1 } }, "fail": { "message": "m", "after": "1s", "retryAfter": "1s" } },
        { "succeed": { "after": { "uniform": { "from": "500ms", "to": "2s" } } } }]);
    let spec = json!({ "spec": { "type": scene.namespace(), "providerConfig": script(&rules) } });
    let mut versions = scene.follow("a").await?;
    scene.create_object("a", &merged(asking("reconcile"), &spec)).await?;
    let begun = versions.until("the first attempt", |object| last(object) == "Create/Processing").await?;
    controller.kill().await?;
    let controller = scene.start_controller()?;
    versions.until("the error", |object| last(object) == "Create/Error").await?;
    controller.kill().await?;
    let controller = scene.start_controller()?;
    let is_second = |object: &Value| record(object).is_some_and(|record| record.attempt == 2);
    let again = versions.until("the second attempt", is_second).await?;
    controller.kill().await?;
    let _controller = scene.start_controller()?;
    let object = scene.until_ready("a").await?;
    let (begun, again, ended) = (record(&begun), record(&again), record(&object));
    let (Some(begun), Some(again), Some(ended)) = (begun, again, ended) else {
        return Err("the status lacks the bookkeeping".into());
    };
    ensure(begun.attempt == 1 && ended.phase == Phase::Done, "the restart has begun another attempt")?;
    ensure((again.start, &again.rule) == (ended.start, &ended.rule), "the restart has drawn another time")
}

async fn attempts_are_counted_over_requests_until_success_clears_the_error(scene: MockScene) -> Result<(), Failed> {
    let fail = json!({ "message": "quota", "codes": ["ERR_INFRA_QUOTA_EXCEEDED"], "retryAfter": "1h" });
    scene.create_scripted("a", &json!([{ "match": { "attempts": { "to": 2 } }, "fail": fail }])).await?;
    for attempt in 1..=2 {
        let reached = |object: &Value| record(object).is_some_and(|record| record.attempt == attempt);
        let object = scene.until("a", "the attempt", reached).await?;
        ensure(last(&object) == "Create/Error", last(&object))?;
        ensure(object.pointer("/status/lastError").is_some(), "there is no lastError")?;
        scene.ask("a", "reconcile").await?;
    }
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    // Without requests, the controller retries after the time that the script gives.
    let fail = json!({ "message": "quota", "retryAfter": "300ms" });
    scene.create_scripted("b", &json!([{ "match": { "attempts": { "to": 2 } }, "fail": fail }])).await?;
    let object = scene.until_ready("b").await?;
    ensure(record(&object).is_some_and(|record| record.attempt == 3), "the third attempt did not succeed")
}

async fn failed_shoot_pauses_attempts_and_recovery_continues_the_count(scene: MockScene) -> Result<(), Failed> {
    let fail = json!({ "message": "no", "codes": ["ERR_INFRA_UNAUTHORIZED"], "retryAfter": "500ms" });
    scene.create_scripted("a", &json!([{ "match": { "attempts": { "to": 1 } }, "fail": fail }])).await?;
    scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    scene.fail_shoot().await?;
    scene.barrier().await?;
    let before = scene.get("a").await?;
    let due = record(&before).and_then(|record| record.due);
    if last(&before) == "Create/Error" {
        // The next attempt becomes due, but does not start.
        scene.until("a", "the due time", |_| due.is_none_or(|due| due < Timestamp::now())).await?;
        scene.unchanged("a", &before, "the Shoot is Failed").await?;
    }
    scene.write_cluster(json!({})).await?;
    let object = scene.until_ready("a").await?;
    ensure(record(&object).is_some_and(|record| record.attempt == 2), "the count does not continue")
}

async fn pending_attempt_ends_with_a_new_request_or_deletion(scene: MockScene) -> Result<(), Failed> {
    for name in ["asked", "changed", "deleted"] {
        pending(&scene, name).await?;
    }
    scene.ask("asked", "reconcile").await?;
    scene.until_ready("asked").await?;
    scene.patch("changed", json!({ "spec": { "providerConfig": { "seed": 8 } } })).await?;
    scene.until_ready("changed").await?;
    scene.delete("deleted").await?;
    scene.until_gone("deleted").await
}

async fn pending_attempt_ends_with_a_migration(scene: MockScene) -> Result<(), Failed> {
    pending(&scene, "a").await?;
    scene.ask("a", "migrate").await?;
    scene.until("a", "the migration", |object| readiness::check_migrated(object).is_ok()).await.map(drop)
}

/// Creates an object whose first attempt would take an hour, and waits until it has begun.
async fn pending(scene: &MockScene, name: &str) -> Result<(), Failed> {
    let rules =
        json!([{ "match": { "operations": ["Create"], "attempts": { "to": 1 } }, "succeed": { "after": "1h" } }]);
    scene.create_scripted(name, &rules).await?;
    let has_begun = |object: &Value| last(object) == "Create/Processing" && scene.holds(object);
    scene.until(name, "the pending attempt", has_begun).await.map(drop)
}

/// gardenlet confirms the deletion of an object that it watches every 5 s, each time with a new timestamp, and deletes it
/// again (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
async fn running_deletion_is_not_restarted_by_further_confirmations(scene: MockScene) -> Result<(), Failed> {
    let script = json!([{ "match": { "operations": ["Delete"] }, "succeed": { "after": "1h" } }]);
    scene.create_scripted("a", &script).await?;
    scene.until_ready("a").await?;
    scene.delete("a").await?;
    let begun = scene.until("a", "the deletion", |object| last(object) == "Delete/Processing").await?;
    let begun = record(&begun).ok_or("the status lacks the bookkeeping")?;
    // Each one is newer than the last operation, as that of gardenlet is.
    let mut object = json!(null);
    for later in [5, 10, 15] {
        let asked = scene.confirm("a", Timestamp::now() + SignedDuration::from_secs(later)).await?;
        scene.delete_confirmed("a").await?;
        scene.barrier().await?;
        object = scene.get("a").await?;
        let running = record(&object).ok_or("the status lacks the bookkeeping")?;
        ensure((running.start, running.due) == (begun.start, begun.due), format!("started anew after {asked:#}"))?;
    }
    scene.end_attempt(&object, &begun).await?;
    scene.until_gone("a").await
}

async fn force_deletion_of_the_object_ignores_scripts(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("a", &endless_deletion()).await?;
    scene.until_ready("a").await?;
    scene.delete("a").await?;
    let object = scene.until("a", "the hang", |object| last(object) == "Delete/Processing").await?;
    scene.unchanged("a", &object, "it hangs").await?;
    scene.force_delete_shoot().await?;
    let object = scene.get("a").await?;
    scene.unchanged("a", &object, "the annotation of the Shoot is not for this kind").await?;
    scene.force_delete("a").await?;
    scene.until_gone("a").await
}

async fn health_conditions_come_on_time_and_keep_those_of_others(scene: MockScene) -> Result<(), Failed> {
    let sick = json!([{ "succeed": {}, "conditions": [{ "type": "EveryNodeReady", "status": "False",
        "reason": "NodesGone", "message": "none answers", "codes": ["ERR_INFRA_RESOURCES_DEPLETED"],
        "after": "500ms" }] }]);
    // While the object has another type, the controller does not write the status.
    scene.create_object("a", &json!({ "spec": { "type": "parked" } })).await?;
    let theirs = json!({ "type": "Theirs", "status": "True", "reason": "R", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z" });
    scene.patch_status("a", json!({ "conditions": [theirs] })).await?;
    let mut versions = scene.follow("a").await?;
    let own = &scene.suite().subject().type_;
    scene.patch("a", json!({ "spec": { "type": own, "providerConfig": script(&sick) } })).await?;
    let is_ready = |object: &Value| readiness::check(object, None).is_ok() && scene.holds(object);
    let object = versions.until("readiness", is_ready).await?;
    ensure(condition(&object, "EveryNodeReady").is_null(), "the condition came too early")?;
    let has_come = |object: &Value| !condition(object, "EveryNodeReady").is_null();
    let object = versions.until("the condition", has_come).await?;
    let sickness = condition(&object, "EveryNodeReady");
    ensure(text(&sickness, "/status") == "False" && text(&sickness, "/reason") == "NodesGone", sickness.to_string())?;
    ensure(sickness.pointer("/codes") == Some(&json!(["ERR_INFRA_RESOURCES_DEPLETED"])), sickness.to_string())?;
    ensure(condition(&object, "Theirs") == theirs, "the condition of another writer was changed")?;
    ensure(readiness::check(&object, None).is_ok(), "a health condition must not change readiness")?;
    scene.unchanged("a", &object, "the condition is written once").await?;
    scene.patch("a", json!({ "spec": { "providerConfig": null } })).await?;
    let is_cleared =
        |object: &Value| condition(object, "EveryNodeReady").is_null() && condition(object, MOCK_SCRIPT).is_null();
    let object = scene.until("a", "the end of the condition", is_cleared).await?;
    ensure(condition(&object, "Theirs") == theirs, "the condition of another writer was changed")
}

async fn attempt_of_a_clock_that_was_an_hour_ahead_takes_no_hour(scene: MockScene) -> Result<(), Failed> {
    let hour = SignedDuration::from_hours(1);
    let slow = json!([{ "succeed": { "after": "5s" } }]);
    scene.create_scripted("a", &slow).await?;
    let running = scene.until("a", "the attempt", |object| record(object).is_some() && scene.holds(object)).await?;
    let ahead = record(&running).ok_or("there is no record")?.earlier(-hour);
    let mut status = running.pointer("/status").cloned().unwrap_or_default();
    let conditions = status.pointer_mut("/conditions").and_then(Value::as_array_mut).ok_or("no conditions")?;
    for condition in conditions.iter_mut().filter(|condition| text(condition, "/type") == MOCK_SCRIPT) {
        *condition = merged(condition.clone(), &json!({ "message": serde_json::to_string(&ahead)? }));
    }
    scene.patch_status("a", status).await?;
    // Without a script, an error is retried after ten seconds.
    let at = Timestamp::now().checked_add(hour)?;
    let at = format!("{}", at.strftime("%Y-%m-%dT%H:%M:%SZ"));
    scene.create_annotated("b", "wait-for-state").await?;
    let mut failed = json!({ "observedGeneration": 1, "lastError": { "description": "m", "lastUpdateTime": at } });
    let last = json!({ "type": "Create", "state": "Error", "progress": 50, "description": "m", "lastUpdateTime": at });
    failed = merged(failed, &json!({ "lastOperation": last }));
    scene.patch_status("b", failed).await?;
    let annotations = json!({ "gardener.cloud/operation": null, "gardener.cloud/timestamp": null });
    scene.patch("b", json!({ "metadata": { "annotations": annotations } })).await?;
    scene.until_ready("a").await?;
    scene.until_ready("b").await.map(drop)
}
