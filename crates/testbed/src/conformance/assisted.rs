//! Rules of the admission-assisted mode: which requests the kind's policy takes up, and that it leaves all others alone.

use http::Request;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use mock_core::contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::ground::{annotation, asking, asking_at, finalizers, json_patch_merge};
use super::{Ground, Rule, ensure};
use crate::rules;

pub(super) const ALL: &[Rule] = rules![
    a_new_object_is_taken_up_if_it_is_to_be_reconciled,
    a_request_is_taken_up_if_its_timestamp_tells_it_from_the_last_operation,
    what_is_handed_over_is_not_asked_for_by_reconcile,
    what_is_being_deleted_is_left_alone,
    others_finalizers_stay_and_ours_is_put_in_once,
    no_condition_of_the_policy_ever_failed,
];

/// Of the last operation.
const LAST: &str = "2026-01-01T00:00:10Z";
const LATER: &str = "2026-01-01T00:00:11Z";

async fn a_new_object_is_taken_up_if_it_is_to_be_reconciled(ground: Ground) -> Result<(), Failed> {
    for (patch, expected) in [
        (asking("reconcile"), true),
        (asking_at("reconcile", "yesterday"), true),
        (json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: "reconcile" } } }), true),
        (asking("migrate"), false),
        (asking("restore"), false),
        (asking("wait-for-state"), false),
        (asking("keepalive"), false),
        (asking(""), false),
    ] {
        ensure_taken_up(&ground, &would_create(&ground, &patch).await?, expected, &patch)?;
    }
    for (spec, expected) in [
        (json!({ "class": "shoot" }), true),
        (json!({ "class": "seed" }), false),
        (json!({ "class": "garden" }), false),
        (json!({ "type": "aws" }), false),
    ] {
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "spec": spec }));
        ensure_taken_up(&ground, &would_create(&ground, &patch).await?, expected, &patch)?;
    }
    let created = would_create(&ground, &json!({})).await?;
    ensure(!ground.holds(&created), "an object without a request is held")
}

async fn a_request_is_taken_up_if_its_timestamp_tells_it_from_the_last_operation(ground: Ground) -> Result<(), Failed> {
    rest(&ground, Value::Null).await?;
    ensure_asked(&ground, "reconcile", Some(LATER), true).await?;
    ensure_asked(&ground, "reconcile", None, false).await?;
    ground.patch_status("a", json!({ "state": { "saved": "elsewhere" } })).await?;
    ensure_asked(&ground, "reconcile", Some(LATER), true).await?;
    for (operation, state) in [
        ("Create", "Succeeded"),
        ("Reconcile", "Error"),
        ("Reconcile", "Failed"),
        ("Create", "Processing"),
        ("Restore", "Error"),
    ] {
        ground.patch_status("a", json!({ "lastOperation": last_operation(operation, state) })).await?;
        for (timestamp, expected) in [
            (LATER, true),
            ("2026-01-01T00:00:11.000000001Z", true),
            ("2099-01-01T00:00:00.5Z", true),
            ("2026-01-01T00:00:10.999999999Z", false),
            (LAST, false),
            ("2025-12-31T23:59:59Z", false),
        ] {
            ensure_asked(&ground, "reconcile", Some(timestamp), expected).await?;
        }
        for other in ["migrate", "restore", "wait-for-state", "keepalive", ""] {
            ensure_asked(&ground, other, Some(LATER), false).await?;
        }
    }
    for unreadable in [
        None,
        Some(""),
        Some("yesterday"),
        Some("2026-02-30T00:00:00Z"),
        Some("2026-13-01T00:00:00Z"),
        Some("2026-01-01T24:00:00Z"),
        Some("2026-01-01T00:00:60Z"),
        Some("2026-01-02 00:00:00Z"),
        Some("2026-01-02t00:00:00z"),
        Some("2026-01-02T00:00:00"),
        Some("2026-01-02T00:00:00+00:00"),
        Some("2026-01-02T00:00:00.1234567890Z"),
        Some("2026-01-02T00:00:00,5Z"),
        Some("9999-12-31T23:59:59Z"),
        Some(" 2026-01-02T00:00:00Z"),
    ] {
        ensure_asked(&ground, "reconcile", unreadable, false).await?;
    }
    // Of another clock, ahead of gardenlet's.
    let ahead = json!({ "lastOperation": { "lastUpdateTime": "2099-01-01T00:00:00Z" } });
    ground.patch_status("a", ahead).await?;
    ensure_asked(&ground, "reconcile", Some(LATER), false).await
}

async fn what_is_handed_over_is_not_asked_for_by_reconcile(ground: Ground) -> Result<(), Failed> {
    rest(&ground, Value::Null).await?;
    for state in ["Processing", "Error", "Failed", "Succeeded"] {
        ground.patch_status("a", json!({ "lastOperation": last_operation("Migrate", state) })).await?;
        ensure_asked(&ground, "reconcile", Some(LATER), false).await?;
    }
    Ok(())
}

async fn what_is_being_deleted_is_left_alone(ground: Ground) -> Result<(), Failed> {
    rest(&ground, json!(["t.example.org/other"])).await?;
    ensure_asked(&ground, "reconcile", Some(LATER), true).await?;
    ground.delete("a").await?;
    ensure_asked(&ground, "reconcile", Some("2099-01-01T00:00:00Z"), false).await?;
    ground.patch("a", json!({ "metadata": { "finalizers": null } })).await?;
    ground.until_gone("a").await
}

async fn others_finalizers_stay_and_ours_is_put_in_once(ground: Ground) -> Result<(), Failed> {
    let (other, ours) = ("t.example.org/other", ground.suite.finalizer);
    for (held, expected) in
        [(json!([]), vec![ours]), (json!([other]), vec![other, ours]), (json!([ours, other]), vec![ours, other])]
    {
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "metadata": { "finalizers": held } }));
        let created = would_create(&ground, &patch).await?;
        ensure(finalizers(&created) == expected, format!("{held} becomes {:?}", finalizers(&created)))?;
    }
    Ok(())
}

/// The API server leaves a policy out whose condition fails: the request would still be served, with the two writes
/// that this mode is to save.
async fn no_condition_of_the_policy_ever_failed(ground: Ground) -> Result<(), Failed> {
    rest(&ground, Value::Null).await?;
    ensure_asked(&ground, "reconcile", Some("2026-02-30T00:00:00Z"), false).await?;
    let metrics = ground.suite.client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let failed = metrics.lines().find(|line| {
        line.starts_with("apiserver_admission_match_condition_evaluation_errors_total")
            && line.contains(&format!("\"{}\"", ground.suite.name))
    });
    ensure(failed.is_none(), format!("{failed:?}"))?;
    ensure(metrics.contains("apiserver_admission_match_condition_evaluation_seconds"), "conditions are not counted")
}

/// An object `a` that nobody serves, since its Shoot is Failed.
async fn rest(ground: &Ground, finalizers: Value) -> Result<(), Failed> {
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await?;
    ground.barrier().await?;
    ground.create("a", json!({ "metadata": { "finalizers": finalizers } })).await.map(drop)
}

fn last_operation(operation: &str, state: &str) -> Value {
    json!({ "type": operation, "state": state, "progress": 7, "description": "x", "lastUpdateTime": LAST })
}

/// What would become of a new object.
async fn would_create(ground: &Ground, patch: &Value) -> Result<Value, Failed> {
    let mut object = ground.object("b");
    json_patch_merge(&mut object, patch);
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    Ok(json!(ground.api().create(&params, &object).await?))
}

/// Whether `a` would be taken up if gardenlet asked.
async fn ensure_asked(ground: &Ground, operation: &str, timestamp: Option<&str>, expected: bool) -> Result<(), Failed> {
    let annotations = json!({ OPERATION_ANNOTATION: operation, TIMESTAMP_ANNOTATION: timestamp });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let object = json!(ground.api().patch("a", &params, &Patch::Merge(&patch)).await?);
    ensure(annotation(&object, TIMESTAMP_ANNOTATION) == timestamp, "the timestamp was changed")?;
    ensure_taken_up(ground, &object, expected, &patch)
}

fn ensure_taken_up(ground: &Ground, object: &Value, expected: bool, request: &Value) -> Result<(), Failed> {
    let asked = request.pointer("/metadata/annotations").and_then(|annotations| annotations.get(OPERATION_ANNOTATION));
    let stays = annotation(object, OPERATION_ANNOTATION);
    let found = (stays.is_none(), ground.holds(object));
    ensure(found == (expected, expected), format!("{request} becomes {object:#}"))?;
    ensure(expected || stays == asked.and_then(Value::as_str), "the annotation was changed")
}
