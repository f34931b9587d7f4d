//! What our own controllers do next.

use mock_core::script::{MOCK_SCRIPT, SCRIPT_ANNOTATION};

use super::*;

fn ours() -> [Ours; 1] {
    [Ours { kind: &kinds::NETWORK, types: vec!["mock".to_owned()], finalizer: "extensions.gardener.cloud/network" }]
}

/// What our controller does next with a Network: in how many seconds, and the words.
fn next(object: Value, seed: &Seed) -> (Option<i64>, String) {
    let found = Found { kind: &kinds::NETWORK, object };
    let waits = explain(&found, seed, &History::default(), &ours(), now()).waits.unwrap();
    let next = waits.script.unwrap();
    (next.at.map(|at| at.duration_since(now()).as_secs()), next.what)
}

/// A Network with the record of an attempt in this phase, due in ten seconds.
fn recorded(phase: &str, state: &str, action: &Value) -> Value {
    let record = json!({
        "phase": phase, "operation": "Reconcile", "timestamp": REQUESTED, "generation": 1, "attempt": 2, "seed": 42,
        "rule": { "number": 1, "name": "quota", "action": action },
        "start": "2026-08-20T10:16:00Z", "due": "2026-08-20T10:16:40.5Z",
    });
    let condition = json!({ "type": MOCK_SCRIPT, "message": record.to_string() });
    let object = with(ready(&kinds::NETWORK), "status.lastOperation.state", state);
    let object = with(object, "metadata.finalizers", json!(["extensions.gardener.cloud/network"]));
    with(object, "status.conditions", json!([condition]))
}

#[test]
fn attempt_in_progress_ends_and_a_failed_one_is_followed_by_another() {
    let fails = json!({ "fail": { "message": "no room", "retry_after": "3s" } });
    let running = recorded("Running", "Processing", &fails);
    let what = "Reconcile goes on, and fails with \"no room\" in the end (rule 1 (quota), attempt 2, seed 42)";
    assert_eq!(next(running, &seed()), (Some(10), what.to_owned()));
    let failed = with(recorded("Failed", "Error", &fails), "status.lastError.description", "no room");
    let what = "the next attempt at Reconcile starts, after rule 1 (quota), attempt 2, seed 42";
    assert_eq!(next(failed, &seed()), (Some(10), what.to_owned()));
    let succeeds = recorded("Running", "Processing", &json!("succeed"));
    assert!(next(succeeds, &seed()).1.contains("succeeds in the end"));
}

#[test]
fn controller_that_should_write_now_does_not_run() {
    let asked = || annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let (at, what) = next(asked(), &seed());
    assert!(at == Some(0) && what.starts_with("it writes Reconcile Succeeded"), "{what}");
    let mut scripted = seed();
    let script = "{apiVersion: mock.extensions.gardener.cloud/v1alpha1, kind: Script, rules: [{hang: {}}]}";
    let annotations = json!({ SCRIPT_ANNOTATION: script });
    set(scripted.clusters.get_mut(NAMESPACE).unwrap(), "spec.shoot.metadata.annotations", annotations);
    assert!(next(asked(), &scripted).1.starts_with("it writes Reconcile Processing"));
}

#[test]
fn controller_waits_for_a_cluster_and_ignores_a_failed_shoot() {
    let asked = || annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let mut seed = seed();
    set(seed.clusters.get_mut(NAMESPACE).unwrap(), "spec.shoot.status.lastOperation.state", "Failed");
    assert_eq!(next(asked(), &seed), (None, "nothing while the Shoot is Failed".to_owned()));
    seed.clusters.clear();
    assert_eq!(next(asked(), &seed), (None, "nothing until the Cluster exists".to_owned()));
}

#[test]
fn object_of_another_provider_has_no_script() {
    let object = annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let found = Found { kind: &kinds::NETWORK, object: with(object, "spec.type", "calico") };
    assert_eq!(explain(&found, &seed(), &History::default(), &ours(), now()).waits.unwrap().script, None);
}
