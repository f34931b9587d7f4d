//! An object is deleted, by gardenlet, by force or by somebody else.

use libtest_mimic::Failed;
use mock_core::contract::TIMESTAMP_ANNOTATION;
use serde_json::{Value, json};

use super::ground::{annotation, finalizers};
use super::rules::{in_a_second, ready};
use super::{Ground, Rule, ensure};
use crate::{readiness, rules};

pub(super) const ALL: &[Rule] = rules![
    delete_costs_one_write,
    a_confirmation_without_a_deletion_is_served_all_the_same,
    delete_without_our_finalizer_costs_none,
    delete_needs_no_cluster,
    only_our_own_finalizer_is_removed,
    force_deletion_lets_go_at_once,
];

async fn delete_costs_one_write(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.barrier().await?;
    let before = ground.writes("a")?;
    ground.confirm("a", in_a_second()).await?;
    ground.delete_confirmed("a").await?;
    ground.until_gone("a").await?;
    ground.has_cost("a", before, 1).await
}

async fn a_confirmation_without_a_deletion_is_served_all_the_same(ground: Ground) -> Result<(), Failed> {
    let object = ready(&ground).await?;
    let confirmed = ground.confirm("a", in_a_second()).await?;
    let timestamp = annotation(&confirmed, TIMESTAMP_ANNOTATION);
    let served = |object: &Value| readiness::check(object, timestamp).is_ok();
    ensure(!served(&confirmed), format!("nothing is asked for: {object:#}"))?;
    ground.until("a", "readiness", served).await.map(drop)
}

async fn delete_without_our_finalizer_costs_none(ground: Ground) -> Result<(), Failed> {
    ground.create("a", json!({ "spec": { "type": "parked" } })).await?;
    ground.patch("a", json!({ "metadata": { "finalizers": ["t.example.org/other"] } })).await?;
    ground.delete("a").await?;
    let kind = ground.suite.default_type.clone();
    let before = ground.patch("a", json!({ "spec": { "type": kind } })).await?;
    ground.unchanged("a", &before, "there is nothing to let go of").await?;
    ground.patch("a", json!({ "metadata": { "finalizers": null } })).await?;
    ground.until_gone("a").await
}

async fn delete_needs_no_cluster(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.delete_cluster().await?;
    ground.delete("a").await?;
    ground.until_gone("a").await
}

async fn only_our_own_finalizer_is_removed(ground: Ground) -> Result<(), Failed> {
    let other = "t.example.org/other";
    ground.create("a", json!({ "metadata": { "finalizers": [other] } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(finalizers(&object).contains(&other), "another's finalizer is gone")?;
    ground.delete("a").await?;
    let object = ground.until("a", "letting go", |object| !ground.holds(object)).await?;
    ensure(finalizers(&object) == [other], "another's finalizer is gone")?;
    ground.patch("a", json!({ "metadata": { "finalizers": null } })).await?;
    ground.until_gone("a").await
}

async fn force_deletion_lets_go_at_once(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await?;
    ground.barrier().await?;
    ground.delete("a").await?;
    let object = ground.get("a").await?;
    ground.unchanged("a", &object, "the Shoot is Failed").await?;
    ground.force_delete_shoot().await?;
    ground.until_gone("a").await
}
