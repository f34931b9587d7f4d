//! How many writes each operation costs.

use extension_conformance::object::in_a_second;
use extension_conformance::{annotation, ensure};
use extension_contract::{OPERATION_ANNOTATION, Reader};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::json;

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] = promises![
    annotated_create_costs_the_fewest_writes,
    reconcile_costs_the_fewest_writes,
    new_generation_without_annotation_costs_no_metadata_write,
    request_in_the_second_of_the_last_success_costs_a_metadata_write,
    migrate_costs_two_writes needs [Migrate],
    half_finished_migrate_costs_one_write needs [Migrate],
    reconcile_after_migrate_keeps_its_annotation_and_costs_nothing needs [Migrate],
    restore_costs_a_metadata_write needs [Migrate],
    confirmed_deletion_costs_the_fewest_writes,
];

async fn annotated_create_costs_the_fewest_writes(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.has_cost("a", 0, scene.fewest_writes()).await
}

async fn reconcile_costs_the_fewest_writes(scene: MockScene) -> Result<(), Failed> {
    let before = rest(&scene).await?;
    scene.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    scene.until_ready("a").await?;
    scene.has_cost("a", before, scene.fewest_writes()).await
}

async fn new_generation_without_annotation_costs_no_metadata_write(scene: MockScene) -> Result<(), Failed> {
    let before = rest(&scene).await?;
    scene.patch("a", json!({ "spec": { "providerConfig": { "new": true } } })).await?;
    scene.until_ready("a").await?;
    scene.has_cost("a", before, scene.outcome_writes()).await
}

async fn request_in_the_second_of_the_last_success_costs_a_metadata_write(scene: MockScene) -> Result<(), Failed> {
    let before = rest(&scene).await?;
    let mut versions = scene.follow("a").await?;
    let asked = scene.ask_later("a", "reconcile", SignedDuration::from_millis(500)).await?;
    // Only the annotation distinguishes it from the previous request, so no policy may remove the annotation.
    ensure(annotation(&asked, OPERATION_ANNOTATION) == Some("reconcile"), "the policy has removed the annotation")?;
    if scene.suite().subject().kind.reader == Reader::Watches {
        // Until then, the object looks ready as soon as the annotation is gone.
        versions.until_woken("the result", &asked).await?;
    }
    scene.until_ready("a").await?;
    scene.has_cost("a", before, 1 + scene.outcome_writes()).await
}

async fn migrate_costs_two_writes(scene: MockScene) -> Result<(), Failed> {
    let before = rest(&scene).await?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.has_cost("a", before, 2).await
}

async fn half_finished_migrate_costs_one_write(scene: MockScene) -> Result<(), Failed> {
    scene.create_half_migrated("a").await?;
    scene.until_released("a").await?;
    scene.has_cost("a", 0, 1).await
}

async fn reconcile_after_migrate_keeps_its_annotation_and_costs_nothing(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.patch("a", json!({ "spec": { "providerConfig": { "new": true } } })).await?;
    let before = scene.ask_later("a", "reconcile", SignedDuration::from_secs(1)).await?;
    ensure(annotation(&before, OPERATION_ANNOTATION) == Some("reconcile"), "the annotation does not stay")?;
    scene.unchanged("a", &before, "reconcile is not a request after migrate").await
}

async fn restore_costs_a_metadata_write(scene: MockScene) -> Result<(), Failed> {
    scene.prepare_restore().await?;
    let before = scene.writes("a")?;
    scene.ask("a", "restore").await?;
    scene.until_ready("a").await?;
    scene.has_cost("a", before, 1 + scene.outcome_writes()).await
}

async fn confirmed_deletion_costs_the_fewest_writes(scene: MockScene) -> Result<(), Failed> {
    let before = rest(&scene).await?;
    scene.confirm("a", in_a_second()).await?;
    scene.delete_confirmed("a").await?;
    scene.until_gone("a").await?;
    scene.has_cost("a", before, scene.deletion_writes()).await
}

/// Creates an object `a` and waits until it is at rest. Returns how many writes it has cost.
async fn rest(scene: &MockScene) -> Result<usize, Failed> {
    scene.create_ready().await?;
    scene.barrier().await?;
    scene.writes("a")
}
