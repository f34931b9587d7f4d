//! The admission-assisted mode: the kind's policy takes up some requests and ignores all others.

use extension_conformance::{annotation, asking, asking_at, ensure, finalizers, merged};
use extension_contract::{Class, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use http::Request;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] = promises![
    new_object_is_taken_up_only_for_reconcile,
    request_is_taken_up_only_with_a_timestamp_after_the_last_operation,
    migrated_object_is_not_taken_up,
    deleted_object_is_not_taken_up,
    finalizer_is_added_once_and_those_of_others_stay,
    conditions_of_the_policy_never_fail,
];

/// Time of the last operation.
const LAST: &str = "2026-01-01T00:00:10Z";
const LATER: &str = "2026-01-01T00:00:11Z";

async fn new_object_is_taken_up_only_for_reconcile(scene: MockScene) -> Result<(), Failed> {
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
        ensure_taken_up(&scene, &would_create(&scene, &patch).await?, expected, &patch)?;
    }
    let served = &scene.suite().subject().classes;
    let classes = Class::ALL.map(|class| (json!({ "class": class.as_str() }), served.contains(&class)));
    for (spec, expected) in classes.into_iter().chain([(json!({ "type": "aws" }), false)]) {
        let patch = merged(asking("reconcile"), &json!({ "spec": spec }));
        ensure_taken_up(&scene, &would_create(&scene, &patch).await?, expected, &patch)?;
    }
    let created = would_create(&scene, &json!({})).await?;
    ensure(!scene.holds(&created), "an object without a request has the finalizer")
}

async fn request_is_taken_up_only_with_a_timestamp_after_the_last_operation(scene: MockScene) -> Result<(), Failed> {
    rest(&scene, &Value::Null).await?;
    ensure_asked(&scene, "reconcile", Some(LATER), true).await?;
    ensure_asked(&scene, "reconcile", None, false).await?;
    scene.patch_status("a", json!({ "state": { "saved": "elsewhere" } })).await?;
    ensure_asked(&scene, "reconcile", Some(LATER), true).await?;
    for (operation, state) in [
        ("Create", "Succeeded"),
        ("Reconcile", "Error"),
        ("Reconcile", "Failed"),
        ("Create", "Processing"),
        ("Restore", "Error"),
    ] {
        scene.patch_status("a", json!({ "lastOperation": last_operation(operation, state) })).await?;
        for (timestamp, expected) in [
            (LATER, true),
            ("2026-01-01T00:00:11.000000001Z", true),
            ("2099-01-01T00:00:00.5Z", true),
            ("2026-01-01T00:00:10.999999999Z", false),
            (LAST, false),
            ("2025-12-31T23:59:59Z", false),
        ] {
            ensure_asked(&scene, "reconcile", Some(timestamp), expected).await?;
        }
        for other in ["migrate", "restore", "wait-for-state", "keepalive", ""] {
            ensure_asked(&scene, other, Some(LATER), false).await?;
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
        ensure_asked(&scene, "reconcile", unreadable, false).await?;
    }
    // Written by a controller whose clock is ahead of gardenlet's.
    let ahead = json!({ "lastOperation": { "lastUpdateTime": "2099-01-01T00:00:00Z" } });
    scene.patch_status("a", ahead).await?;
    ensure_asked(&scene, "reconcile", Some(LATER), false).await
}

async fn migrated_object_is_not_taken_up(scene: MockScene) -> Result<(), Failed> {
    rest(&scene, &Value::Null).await?;
    for state in ["Processing", "Error", "Failed", "Succeeded"] {
        scene.patch_status("a", json!({ "lastOperation": last_operation("Migrate", state) })).await?;
        ensure_asked(&scene, "reconcile", Some(LATER), false).await?;
    }
    Ok(())
}

async fn deleted_object_is_not_taken_up(scene: MockScene) -> Result<(), Failed> {
    rest(&scene, &json!(["t.example.org/other"])).await?;
    ensure_asked(&scene, "reconcile", Some(LATER), true).await?;
    scene.delete("a").await?;
    ensure_asked(&scene, "reconcile", Some("2099-01-01T00:00:00Z"), false).await?;
    scene.drop_finalizers("a").await
}

async fn finalizer_is_added_once_and_those_of_others_stay(scene: MockScene) -> Result<(), Failed> {
    let (other, ours) = ("t.example.org/other", scene.suite().subject().finalizer.as_str());
    for (held, expected) in
        [(json!([]), vec![ours]), (json!([other]), vec![other, ours]), (json!([ours, other]), vec![ours, other])]
    {
        let patch = merged(asking("reconcile"), &json!({ "metadata": { "finalizers": held } }));
        let created = would_create(&scene, &patch).await?;
        ensure(finalizers(&created) == expected, format!("{held} becomes {:?}", finalizers(&created)))?;
    }
    Ok(())
}

/// If a condition of a policy fails, the API server skips the policy. The controller still serves the request, but with
/// the write that this mode saves.
async fn conditions_of_the_policy_never_fail(scene: MockScene) -> Result<(), Failed> {
    rest(&scene, &Value::Null).await?;
    ensure_asked(&scene, "reconcile", Some("2026-02-30T00:00:00Z"), false).await?;
    let metrics = scene.client().request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let failed = metrics.lines().find(|line| {
        line.starts_with("apiserver_admission_match_condition_evaluation_errors_total")
            && line.contains(&format!("\"{}\"", scene.mock().name))
    });
    ensure(failed.is_none(), format!("{failed:?}"))?;
    ensure(
        metrics.contains("apiserver_admission_match_condition_evaluation_seconds"),
        "the metrics do not count conditions",
    )
}

/// Creates an object `a` that no controller serves, because its Cluster is missing.
async fn rest(scene: &MockScene, finalizers: &Value) -> Result<(), Failed> {
    scene.delete_cluster().await?;
    scene.barrier().await?;
    scene.create_object("a", &json!({ "metadata": { "finalizers": finalizers } })).await.map(drop)
}

fn last_operation(operation: &str, state: &str) -> Value {
    json!({ "type": operation, "state": state, "progress": 7, "description": "x", "lastUpdateTime": LAST })
}

/// The new object as the API server would store it.
async fn would_create(scene: &MockScene, patch: &Value) -> Result<Value, Failed> {
    let object: DynamicObject = serde_json::from_value(merged(scene.object("b"), patch))?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    Ok(json!(scene.api().create(&params, &object).await?))
}

/// Fails unless the policy would take up, or ignore, a request of gardenlet for `a` as expected.
async fn ensure_asked(
    scene: &MockScene,
    operation: &str,
    timestamp: Option<&str>,
    expected: bool,
) -> Result<(), Failed> {
    let annotations = json!({ OPERATION_ANNOTATION: operation, TIMESTAMP_ANNOTATION: timestamp });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let object = json!(scene.api().patch("a", &params, &Patch::Merge(&patch)).await?);
    ensure(annotation(&object, TIMESTAMP_ANNOTATION) == timestamp, "the timestamp was changed")?;
    ensure_taken_up(scene, &object, expected, &patch)
}

fn ensure_taken_up(scene: &MockScene, object: &Value, expected: bool, request: &Value) -> Result<(), Failed> {
    let asked = request.pointer("/metadata/annotations").and_then(|annotations| annotations.get(OPERATION_ANNOTATION));
    let stays = annotation(object, OPERATION_ANNOTATION);
    let found = (stays.is_none(), scene.holds(object));
    ensure(found == (expected, expected), format!("{request} becomes {object:#}"))?;
    ensure(expected || stays == asked.and_then(Value::as_str), "the annotation was changed")
}
