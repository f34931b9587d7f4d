//! Extension objects: metadata as an API server keeps it, spec and status as the schema of the CRD allows.

use extension_contract::json::{annotate, remove, set};
use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, GROUP, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION,
    VERSION, kinds,
};
use mock_core::script::MOCK_SCRIPT;
use mock_fleet::kinds::Package;
use serde_json::{Value, json};

use super::schema::value;
use super::script;
use crate::crds::Crd;
use crate::dice::Dice;

/// How deep optional fields are nested.
const DEPTH: usize = 7;
/// Finalizer of kinds for which Gardener prescribes none.
const MOCK_FINALIZER: &str = "extensions.gardener.cloud/mock";
const OPERATIONS: &[&str] = &["reconcile", "migrate", "restore", "wait-for-state", "Reconcile", ""];
const REQUESTED: &[&str] = &[
    "2026-08-20T10:15:30.123456789Z",
    "2026-08-20T10:15:31Z",
    "9999-12-30T21:59:59.9Z",
    "-000001-01-01T00:00:00Z",
    "x",
];
const NAMESPACES: &[&str] = &["shoot--a--b", "garden", "a"];

pub(crate) fn object(dice: &mut Dice<'_>, package: Package, crd: &Crd) -> Value {
    let mut object = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": package.kind() });
    metadata(dice, &mut object, package, crd);
    set(&mut object, "spec", value(dice, &crd.spec, DEPTH));
    if !dice.one_in(16) {
        set(&mut object, "spec.type", json!(dice.pick(package.types)));
    }
    if dice.one_in(3) {
        set(&mut object, "spec.class", dice.pick_text(&["shoot", "seed", "garden", "", "other"]));
    } else {
        remove(&mut object, "spec.class");
    }
    if dice.one_in(3) && crd.spec.pointer("/properties/providerConfig").is_some() {
        set(&mut object, "spec.providerConfig", script::script(dice));
    }
    if !dice.one_in(4) {
        set(&mut object, "status", status(dice, crd));
    }
    object
}

fn status(dice: &mut Dice<'_>, crd: &Crd) -> Value {
    let mut status = value(dice, &crd.status, DEPTH);
    if dice.one_in(2) {
        set(&mut status, "lastOperation", last_operation(dice));
    }
    if dice.one_in(3) && crd.status.pointer("/properties/conditions").is_some() {
        let record = json!({ "type": MOCK_SCRIPT, "status": "True", "reason": "Running", "message": script::record(dice),
            "lastTransitionTime": "2026-08-20T10:15:30Z", "lastUpdateTime": "2026-08-20T10:15:30Z" });
        match status.get_mut("conditions").and_then(Value::as_array_mut) {
            Some(conditions) => conditions.push(record),
            None => set(&mut status, "conditions", json!([record])),
        }
    }
    status
}

fn last_operation(dice: &mut Dice<'_>) -> Value {
    json!({
        "type": dice.pick_text(&["Create", "Reconcile", "Delete", "Migrate", "Restore", "x"]),
        "state": dice.pick_text(&["Succeeded", "Processing", "Error", "Failed", "Pending", "Aborted", "x"]),
        "lastUpdateTime": dice.pick_text(&["2026-08-20T10:15:30Z", "2026-08-20T10:15:31Z", "9999-12-30T21:59:59Z"]),
        "progress": 100,
        "description": "d",
    })
}

fn metadata(dice: &mut Dice<'_>, object: &mut Value, package: Package, crd: &Crd) {
    let long = "a".repeat(253);
    let names = ["worker", "a.b", "shoot--a--b--4f2", "source---x", "source-shoot--a--b--4f2", &long];
    let ours = kinds::find(package.kind()).and_then(|kind| kind.finalizer).unwrap_or(MOCK_FINALIZER);
    let count = dice.below(4);
    let mut finalizers: Vec<&str> =
        (0..count).filter_map(|_| dice.pick(&[ours, "other.example.org/a", ours]).copied()).collect();
    let is_deleted = dice.one_in(4);
    if is_deleted && finalizers.is_empty() {
        // Without a finalizer, it would be gone.
        finalizers.push(ours);
    }
    let metadata = json!({
        "name": dice.pick_text(&names),
        "uid": "u",
        "resourceVersion": "1",
        "generation": dice.pick(&[1_i64, 2, i64::MAX]),
        "creationTimestamp": "2026-08-20T10:00:00Z",
        "finalizers": finalizers,
    });
    set(object, "metadata", metadata);
    for (key, choices, times) in [
        (OPERATION_ANNOTATION, OPERATIONS, 2),
        (TIMESTAMP_ANNOTATION, REQUESTED, 2),
        (DELETION_CONFIRMATION_ANNOTATION, &["true", "x"], 8),
        (FORCE_DELETION_ANNOTATION, &["true", "1"], 8),
        ("backupbucket.extensions.gardener.cloud/generated-secret-namespace", &["a", "", "a/../b", "A b"], 4),
    ] {
        if dice.one_in(times) {
            annotate(object, key, dice.pick_text(choices));
        }
    }
    if crd.namespaced {
        set(object, "metadata.namespace", dice.pick_text(NAMESPACES));
    }
    if is_deleted {
        set(object, "metadata.deletionTimestamp", "2026-08-20T10:15:00Z");
    }
}
