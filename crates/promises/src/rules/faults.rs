//! Faults of scripts: each breaks one rule of gardenlet's readiness check, which detects it.

use extension_conformance::{annotation, ensure, last};
use extension_contract::readiness::{self, NotReady};
use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use mock_core::script::{Fault, Phase};
use serde_json::{Value, json};

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::record;

pub(crate) const PROMISES: &[Promise] = promises![
    old_observed_generation_is_written_once_and_left,
    stale_last_error_is_written_once_and_left,
    operation_annotation_is_kept_and_left,
    timestamp_is_stripped_once_and_left,
    kept_finalizer_blocks_deletion,
    kept_finalizer_outlives_migration needs [Migrate],
    answer_after_gardenlets_timeout_comes_in_the_end,
];

async fn old_observed_generation_is_written_once_and_left(scene: MockScene) -> Result<(), Failed> {
    let object = misbehaving(&scene, Fault::OldObservedGeneration).await?;
    let unmet = readiness::check(&object, None);
    ensure(matches!(unmet, Err(NotReady::ObservedGeneration { .. })), format!("{unmet:?}"))
}

async fn stale_last_error_is_written_once_and_left(scene: MockScene) -> Result<(), Failed> {
    let object = misbehaving(&scene, Fault::StaleLastError).await?;
    let unmet = readiness::check(&object, None);
    ensure(matches!(unmet, Err(NotReady::LastError { .. })), format!("{unmet:?}"))
}

async fn operation_annotation_is_kept_and_left(scene: MockScene) -> Result<(), Failed> {
    let object = misbehaving(&scene, Fault::KeepOperation).await?;
    let unmet = readiness::check(&object, None);
    if scene.mock().is_assisted {
        return ensure(unmet.is_ok(), format!("the policy has removed the annotation, but {unmet:?}"));
    }
    ensure(matches!(unmet, Err(NotReady::Operation(_))), format!("{unmet:?}"))
}

async fn timestamp_is_stripped_once_and_left(scene: MockScene) -> Result<(), Failed> {
    let object = misbehaving(&scene, Fault::StripTimestamp).await?;
    let written = record(&object).and_then(|record| record.request.timestamp).ok_or("no timestamp is recorded")?;
    let unmet = readiness::check(&object, Some(&written));
    ensure(matches!(unmet, Err(NotReady::Timestamp { found: None, .. })), format!("{unmet:?}"))?;
    ensure(annotation(&object, TIMESTAMP_ANNOTATION).is_none(), "the timestamp is still there")
}

async fn kept_finalizer_blocks_deletion(scene: MockScene) -> Result<(), Failed> {
    misbehaving(&scene, Fault::KeepFinalizer).await?;
    scene.delete("a").await?;
    let object = scene.until("a", "the deletion", |object| last(object) == "Delete/Succeeded").await?;
    scene.unchanged("a", &object, "the finalizer stays").await
}

async fn kept_finalizer_outlives_migration(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("b", &json!([{ "misbehave": { "fault": Fault::KeepFinalizer } }])).await?;
    scene.until_ready("b").await?;
    scene.ask("b", "migrate").await?;
    let migrated = |object: &Value| {
        readiness::check_migrated(object).is_ok() && annotation(object, OPERATION_ANNOTATION).is_none()
    };
    let object = scene.until("b", "the migration", migrated).await?;
    ensure(scene.holds(&object), "the finalizer is gone")?;
    scene.unchanged("b", &object, "the finalizer stays").await
}

async fn answer_after_gardenlets_timeout_comes_in_the_end(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("a", &json!([{ "misbehave": { "fault": Fault::AnswerLate } }])).await?;
    let pending = |object: &Value| record(object).is_some() && scene.holds(object);
    let object = scene.until("a", "the pending attempt", pending).await?;
    let record = record(&object).ok_or("the status lacks the bookkeeping")?;
    let due = record.due.ok_or("the attempt has no due time")?;
    let timeout = SignedDuration::try_from(scene.suite().subject().kind.timeout)?;
    ensure(due.duration_since(record.start) > timeout, "gardenlet would still wait")?;
    scene.end_attempt(&object, &record).await?;
    scene.until_ready("a").await.map(drop)
}

/// Creates an object `a` with a fault. Returns it once it is at rest.
async fn misbehaving(scene: &MockScene, fault: Fault) -> Result<Value, Failed> {
    scene.create_scripted("a", &json!([{ "misbehave": { "fault": fault } }])).await?;
    let served = |object: &Value| record(object).is_some_and(|record| record.phase == Phase::Done);
    scene.until("a", "the end of the attempt", served).await?;
    scene.barrier().await?;
    let object = scene.get("a").await?;
    ensure(last(&object) == "Create/Succeeded" && scene.holds(&object), last(&object))?;
    scene.unchanged("a", &object, "the fault stays").await?;
    Ok(object)
}
