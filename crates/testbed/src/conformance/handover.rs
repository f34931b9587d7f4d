//! A Shoot goes to another seed, or comes from one: migrate, wait-for-state and restore.

use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use mock_core::contract::OPERATION_ANNOTATION;
use serde_json::{Value, json};

use super::ground::{annotation, asking, json_patch_merge, last};
use super::rules::{ready, status};
use super::{Ground, Rule, ensure};
use crate::{readiness, rules};

pub(super) const ALL: &[Rule] = rules![
    migrate_lets_go_and_later_deletion_needs_no_work,
    migrate_is_reported_without_our_finalizer,
    migrate_beats_deletion,
    migrate_needs_no_cluster,
    after_migrate_only_migrate_and_restore_are_requests,
    a_half_finished_migrate_costs_one_write,
    wait_for_state_is_a_hard_no_op_until_restore,
    a_restore_ends_as_restore_and_keeps_the_state,
];

async fn migrate_lets_go_and_later_deletion_needs_no_work(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.barrier().await?;
    let before = ground.writes("a")?;
    ground.ask("a", "migrate").await?;
    let object = let_go(&ground, "a").await?;
    ensure(readiness::check_migrated(&object).is_ok(), "gardenlet would wait for ever")?;
    ensure(object.pointer("/status/lastError").is_none(), "there is a lastError")?;
    ground.unchanged("a", &object, "nothing is left to do after a migration").await?;
    ground.has_cost("a", before, 2).await?;
    ground.delete("a").await?;
    ground.until_gone("a").await
}

async fn migrate_is_reported_without_our_finalizer(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "migrate").await?;
    let_go(&ground, "a").await.map(drop)
}

async fn migrate_beats_deletion(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.patch("a", json!({ "metadata": { "finalizers": [ground.suite.finalizer, "t.example.org/other"] } })).await?;
    // The Shoot's state keeps the controller away until both are there.
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await?;
    ground.barrier().await?;
    ground.ask("a", "migrate").await?;
    ground.delete("a").await?;
    ground.write_cluster(json!({})).await?;
    let object = let_go(&ground, "a").await?;
    ensure(last(&object) == "Migrate/Succeeded", last(&object))?;
    ground.patch("a", json!({ "metadata": { "finalizers": null } })).await?;
    ground.until_gone("a").await
}

async fn migrate_needs_no_cluster(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.delete_cluster().await?;
    ground.ask("a", "migrate").await?;
    let_go(&ground, "a").await.map(drop)
}

async fn after_migrate_only_migrate_and_restore_are_requests(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.ask("a", "migrate").await?;
    let_go(&ground, "a").await?;
    ground.patch("a", json!({ "spec": { "providerConfig": { "new": true } } })).await?;
    let before = ground.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    ensure(annotation(&before, OPERATION_ANNOTATION) == Some("reconcile"), "the annotation does not stay")?;
    ground.unchanged("a", &before, "reconcile is no request after migrate").await?;
    ground.ask("a", "migrate").await?;
    let_go(&ground, "a").await?;
    ground.ask("a", "restore").await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Restore/Succeeded" && ground.holds(&object), "not restored")
}

async fn a_half_finished_migrate_costs_one_write(ground: Ground) -> Result<(), Failed> {
    let finalizers = json!({ "metadata": { "finalizers": [ground.suite.finalizer] } });
    let mut patch = asking("wait-for-state");
    json_patch_merge(&mut patch, &finalizers);
    ground.create("a", patch).await?;
    ground.patch_status("a", status("Migrate", "Succeeded")).await?;
    ground.patch("a", json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: "migrate" } } })).await?;
    let_go(&ground, "a").await?;
    ground.has_cost("a", 0, 1).await
}

async fn wait_for_state_is_a_hard_no_op_until_restore(ground: Ground) -> Result<(), Failed> {
    let before = ground.create_annotated("a", "wait-for-state").await?;
    ground.unchanged("a", &before, "wait-for-state means hands off").await?;
    let before = ground.patch_status("a", json!({ "state": { "saved": "elsewhere" } })).await?;
    ground.unchanged("a", &before, "wait-for-state means hands off").await?;
    ground.ask("a", "restore").await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))
}

async fn a_restore_ends_as_restore_and_keeps_the_state(ground: Ground) -> Result<(), Failed> {
    let old = ready(&ground).await?;
    let state = old.pointer("/status/state").cloned().unwrap_or_else(|| json!({ "of": "another seed" }));
    ground.ask("a", "migrate").await?;
    let_go(&ground, "a").await?;
    ground.delete("a").await?;
    ground.until_gone("a").await?;
    ground.create_annotated("a", "wait-for-state").await?;
    ground.patch_status("a", json!({ "state": state })).await?;
    let before = ground.writes("a")?;
    ground.ask("a", "restore").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "the state was changed")?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))?;
    ground.unchanged("a", &object, "a restore is done once").await?;
    ground.has_cost("a", before, 2 + ground.suite.subject.secrets).await
}

/// Waits until the object is migrated, without our finalizer and without the annotation.
async fn let_go(ground: &Ground, name: &str) -> Result<Value, Failed> {
    let done = |object: &Value| {
        last(object) == "Migrate/Succeeded"
            && !ground.holds(object)
            && annotation(object, OPERATION_ANNOTATION).is_none()
    };
    ground.until(name, "being migrated", done).await
}
