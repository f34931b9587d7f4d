//! Attempts of scripts: how the controller counts them, what ends them, and what survives a restart.

use extension_conformance::{asking, ensure, last, merged, text};
use extension_contract::readiness;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use libtest_mimic::Failed;
use mock_core::script::Phase;
use serde_json::{Value, json};

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::{record, script};

pub(crate) const PROMISES: &[Promise] = promises![
    killed_controller_finishes_the_attempt_it_began,
    attempts_are_counted_over_requests_until_success_clears_the_error,
    failed_shoot_pauses_attempts_and_recovery_continues_the_count,
    pending_attempt_ends_with_a_new_request_migration_or_deletion,
    force_deletion_ignores_scripts,
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

async fn pending_attempt_ends_with_a_new_request_migration_or_deletion(scene: MockScene) -> Result<(), Failed> {
    let rules =
        json!([{ "match": { "operations": ["Create"], "attempts": { "to": 1 } }, "succeed": { "after": "1h" } }]);
    let pending = |object: &Value| last(object) == "Create/Processing" && scene.holds(object);
    for name in ["asked", "changed", "migrated", "deleted"] {
        scene.create_scripted(name, &rules).await?;
        scene.until(name, "the pending attempt", pending).await?;
    }
    scene.ask("asked", "reconcile").await?;
    scene.until_ready("asked").await?;
    scene.patch("changed", json!({ "spec": { "providerConfig": { "seed": 8 } } })).await?;
    scene.until_ready("changed").await?;
    scene.ask("migrated", "migrate").await?;
    scene.until("migrated", "the migration", |object| readiness::check_migrated(object).is_ok()).await?;
    scene.delete("deleted").await?;
    scene.until_gone("deleted").await
}

async fn force_deletion_ignores_scripts(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("a", &json!([{ "match": { "operations": ["Delete"] }, "hang": {} }])).await?;
    scene.until_ready("a").await?;
    scene.delete("a").await?;
    let object = scene.until("a", "the hang", |object| last(object) == "Delete/Processing").await?;
    scene.unchanged("a", &object, "it hangs").await?;
    scene.force_delete_shoot().await?;
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
    let is_cleared = |object: &Value| object.pointer("/status/conditions") == Some(&json!([theirs]));
    scene.until("a", "the end of the condition", is_cleared).await.map(drop)
}

async fn attempt_of_a_clock_that_was_an_hour_ahead_takes_no_hour(scene: MockScene) -> Result<(), Failed> {
    let hour = SignedDuration::from_hours(1);
    let slow = json!([{ "succeed": { "after": "5s" } }]);
    scene.create_scripted("a", &slow).await?;
    let running = scene.until("a", "the attempt", |object| record(object).is_some() && scene.holds(object)).await?;
    let ahead = record(&running).ok_or("there is no record")?.earlier(-hour);
    let mut status = running.pointer("/status").cloned().unwrap_or_default();
    let conditions = status.pointer_mut("/conditions").and_then(Value::as_array_mut).ok_or("no conditions")?;
    for condition in conditions.iter_mut().filter(|condition| text(condition, "/type") == "MockScript") {
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

/// The condition of that type. Null if the status has none.
fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|it| text(it, "/type") == type_).cloned().unwrap_or_default()
}
