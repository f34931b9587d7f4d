//! Rules about faults: each breaks the contract in its way, and gardenlet's rule of that name sees it.

use libtest_mimic::Failed;
use mock_core::behaviour::{Fault, MOCK_SCRIPT, Phase, Record};
use mock_core::contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::ground::{annotation, json_patch_merge, last, text};
use super::scripts::{record, scripted};
use super::{Ground, Rule, ensure};
use crate::readiness::{self, NotReady};
use crate::rules;

pub(super) const ALL: &[Rule] = rules![
    a_success_with_an_old_generation_rests,
    a_success_with_a_stale_error_rests,
    an_operation_annotation_that_is_never_removed_rests,
    a_stripped_timestamp_rests,
    a_finalizer_that_is_never_removed_rests,
    an_answer_after_gardenlets_timeout_comes_in_the_end,
];

async fn a_success_with_an_old_generation_rests(ground: Ground) -> Result<(), Failed> {
    let object = misbehaving(&ground, Fault::OldObservedGeneration).await?;
    let unmet = readiness::check(&object, None);
    ensure(matches!(unmet, Err(NotReady::ObservedGeneration { .. })), format!("{unmet:?}"))
}

async fn a_success_with_a_stale_error_rests(ground: Ground) -> Result<(), Failed> {
    let object = misbehaving(&ground, Fault::StaleLastError).await?;
    let unmet = readiness::check(&object, None);
    ensure(matches!(unmet, Err(NotReady::LastError { .. })), format!("{unmet:?}"))
}

async fn an_operation_annotation_that_is_never_removed_rests(ground: Ground) -> Result<(), Failed> {
    let object = misbehaving(&ground, Fault::KeepOperation).await?;
    let unmet = readiness::check(&object, None);
    if ground.suite.is_assisted {
        return ensure(unmet.is_ok(), format!("there is nothing to keep: {unmet:?}"));
    }
    ensure(matches!(unmet, Err(NotReady::Operation(_))), format!("{unmet:?}"))
}

async fn a_stripped_timestamp_rests(ground: Ground) -> Result<(), Failed> {
    let object = misbehaving(&ground, Fault::StripTimestamp).await?;
    let written = record(&object).and_then(|record| record.request.timestamp).ok_or("no timestamp is recorded")?;
    let unmet = readiness::check(&object, Some(&written));
    ensure(matches!(unmet, Err(NotReady::Timestamp { found: None, .. })), format!("{unmet:?}"))?;
    ensure(annotation(&object, TIMESTAMP_ANNOTATION).is_none(), "it is still there")
}

async fn a_finalizer_that_is_never_removed_rests(ground: Ground) -> Result<(), Failed> {
    misbehaving(&ground, Fault::KeepFinalizer).await?;
    ground.delete("a").await?;
    let object = ground.until("a", "being deleted", |object| last(object) == "Delete/Succeeded").await?;
    ground.unchanged("a", &object, "it never lets go").await?;
    scripted(&ground, "b", &json!([{ "misbehave": { "fault": Fault::KeepFinalizer } }])).await?;
    ground.until_ready("b").await?;
    ground.ask("b", "migrate").await?;
    let away = |object: &Value| {
        readiness::check_migrated(object).is_ok() && annotation(object, OPERATION_ANNOTATION).is_none()
    };
    let object = ground.until("b", "being migrated", away).await?;
    ensure(ground.holds(&object), "it let go")?;
    ground.unchanged("b", &object, "it never lets go").await
}

async fn an_answer_after_gardenlets_timeout_comes_in_the_end(ground: Ground) -> Result<(), Failed> {
    scripted(&ground, "a", &json!([{ "misbehave": { "fault": Fault::AnswerLate } }])).await?;
    let object = ground.until("a", "being pending", |object| record(object).is_some() && ground.holds(object)).await?;
    let record = record(&object).ok_or("there is no record")?;
    let due = record.due.ok_or("it never answers")?;
    let timeout = ground.suite.timeout;
    ensure(due.duration_since(record.start) > timeout, "gardenlet would still be there")?;
    // The time goes by: state lives in the object.
    let mut conditions = object.pointer("/status/conditions").cloned().unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten().filter(|c| text(c, "/type") == MOCK_SCRIPT) {
        let past = Record { due: Some(record.start), ..record.clone() };
        json_patch_merge(condition, &json!({ "message": json!(past).to_string() }));
    }
    ground.patch_status("a", json!({ "conditions": conditions })).await?;
    ground.until_ready("a").await.map(drop)
}

/// An object `a` that misbehaved and rests.
async fn misbehaving(ground: &Ground, fault: Fault) -> Result<Value, Failed> {
    scripted(ground, "a", &json!([{ "misbehave": { "fault": fault } }])).await?;
    ground.until("a", "being served", |object| record(object).is_some_and(|it| it.phase == Phase::Served)).await?;
    ground.barrier().await?;
    let object = ground.get("a").await?;
    ensure(last(&object) == "Create/Succeeded" && ground.holds(&object), last(&object))?;
    ground.unchanged("a", &object, "the fault rests").await?;
    Ok(object)
}
