use serde_json::json;

use super::*;
use crate::json::{annotate, set};

const REQUESTED: &str = "2026-08-20T10:15:30.123456789Z";

fn ready() -> Value {
    json!({
        "metadata": {"generation": 3, "annotations": {TIMESTAMP_ANNOTATION: REQUESTED}},
        "status": {
            "observedGeneration": 3,
            "lastOperation": {"type": "Create", "state": "Succeeded", "lastUpdateTime": "2026-08-20T10:15:30Z"},
        },
    })
}

fn changed(path: &str, value: Value) -> Value {
    let mut object = ready();
    set(&mut object, path, value);
    object
}

fn annotated(name: &str, value: Value) -> Value {
    let mut object = ready();
    annotate(&mut object, name, value);
    object
}

#[test]
fn each_unmet_rule_makes_an_object_not_ready() {
    let cases = [
        ("updated in the second of the request", ready(), ""),
        ("another type of operation", changed("status.lastOperation.type", json!("Restore")), ""),
        ("no timestamp", annotated(TIMESTAMP_ANNOTATION, Value::Null), "gardener.cloud/timestamp must be \""),
        (
            "rewritten timestamp",
            annotated(TIMESTAMP_ANNOTATION, json!("2026-08-20T10:15:30Z")),
            "gardener.cloud/timestamp must be \"",
        ),
        (
            "lastError",
            changed("status.lastError", json!({"description": "x", "codes": ["Y"]})),
            "status.lastError must be absent, but is \"x\" with codes [\"Y\"]",
        ),
        ("observedGeneration", changed("status.observedGeneration", json!(2)), "status.observedGeneration must"),
        ("no observedGeneration", changed("status.observedGeneration", Value::Null), "status.observedGeneration must"),
        ("operation", annotated(OPERATION_ANNOTATION, json!("reconcile")), "gardener.cloud/operation must"),
        ("empty operation", annotated(OPERATION_ANNOTATION, json!("")), "gardener.cloud/operation must"),
        ("no lastOperation", changed("status.lastOperation", Value::Null), "status.lastOperation must be present"),
        ("Processing", changed("status.lastOperation.state", json!("Processing")), "status.lastOperation.state must"),
        (
            "updated a second before the request",
            changed("status.lastOperation.lastUpdateTime", json!("2026-08-20T10:15:29Z")),
            "status.lastOperation.lastUpdateTime must",
        ),
    ];
    for (case, object, rule) in cases {
        let found = check(&object, Some(REQUESTED)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(if rule.is_empty() { found.is_empty() } else { found.starts_with(rule) }, "{case}: {found:?}");
    }
}

#[test]
fn the_first_unmet_rule_is_reported() {
    let mut object = json!({"metadata": {"generation": 1, "annotations": {OPERATION_ANNOTATION: "reconcile"}}});
    assert!(matches!(check(&object, None), Err(NotReady::ObservedGeneration { .. })));
    set(&mut object, "status.lastError.description", "no");
    assert!(matches!(check(&object, None), Err(NotReady::LastError { .. })));
    let unreadable = annotated(TIMESTAMP_ANNOTATION, json!("today"));
    assert_eq!(check(&unreadable, None), Err(NotReady::UnreadableTimestamp("today".to_owned())));
}

/// Each expected number is written out by hand, so that the test does not depend on code that parses times either.
#[test]
fn times_are_compared_in_whole_seconds_since_1970() {
    let cases = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-08-20T10:15:30Z", Some(1_787_220_930)),
        ("2026-08-20T10:15:30.000000001Z", Some(1_787_220_930)),
        ("2026-08-20T10:15:30.999999999Z", Some(1_787_220_930)),
        ("2026-08-20T12:15:30.5+02:00", Some(1_787_220_930)),
        ("2026-08-20T10:15:31Z", Some(1_787_220_931)),
        ("2026-08-20", None),
        ("", None),
    ];
    for (time, expected) in cases {
        assert_eq!(seconds(time), expected, "{time}");
    }
}

#[test]
fn the_fraction_of_a_second_is_ignored() {
    let requested = |requested: &str, updated: &str| {
        let mut object = changed("status.lastOperation.lastUpdateTime", json!(updated));
        annotate(&mut object, TIMESTAMP_ANNOTATION, requested);
        check(&object, Some(requested))
    };
    assert_eq!(requested("2026-08-20T10:15:30.999999999Z", "2026-08-20T10:15:30Z"), Ok(()));
    assert_eq!(requested("2026-08-20T10:15:30.999999999Z", "2026-08-20T12:15:30+02:00"), Ok(()));
    let outdated = requested("2026-08-20T10:15:31Z", "2026-08-20T10:15:30.999999999Z");
    assert!(matches!(outdated, Err(NotReady::Outdated { .. })), "{outdated:?}");
}

#[test]
fn machine_deployments_must_be_reported_in_a_later_second() {
    let at = |time: Option<&str>| json!({"status": {"machineDeploymentsLastUpdateTime": time}});
    let (old, new) = ("2026-08-20T10:15:30Z", "2026-08-20T10:15:31Z");
    assert_eq!(check_machine_deployments(&at(Some(old)), None), Ok(()));
    assert_eq!(check_machine_deployments(&at(Some(new)), Some(old)), Ok(()));
    let same = check_machine_deployments(&at(Some(old)), Some(old));
    assert!(matches!(same, Err(NotReady::MachineDeployments { .. })), "{same:?}");
    assert_eq!(check_machine_deployments(&at(None), None), Err(NotReady::NoMachineDeployments));

    let mut failed = at(Some(old));
    set(&mut failed, "status.lastError", json!({"description": "x", "lastUpdateTime": old}));
    let is_old_error = check_machine_deployments(&failed, Some(old));
    assert!(matches!(is_old_error, Err(NotReady::MachineDeployments { .. })), "{is_old_error:?}");
    set(&mut failed, "status.lastError.lastUpdateTime", new);
    let is_new_error = check_machine_deployments(&failed, Some(old));
    assert!(matches!(is_new_error, Err(NotReady::LastError { .. })), "{is_new_error:?}");
}

#[test]
fn one_code_without_retry_makes_the_shoot_failed() {
    let state = |codes: &[&str]| state_of_shoot(&codes.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(state(&[]), "Error");
    assert_eq!(state(&["ERR_OF_TOMORROW", "ERR_INFRA_RESOURCES_DEPLETED"]), "Error");
    assert_eq!(state(&["ERR_INFRA_RESOURCES_DEPLETED", "ERR_INFRA_DEPENDENCIES"]), "Failed");
}

#[test]
fn only_the_last_operation_decides_whether_an_object_is_migrated() {
    let mut object = annotated(OPERATION_ANNOTATION, json!("migrate"));
    assert_eq!(check_migrated(&object), Err(NotReady::NotMigrated("Create Succeeded".to_owned())));
    set(&mut object, "status.lastOperation.type", "Migrate");
    set(&mut object, "status.lastError.description", "is ignored");
    assert_eq!(check_migrated(&object), Ok(()));
    set(&mut object, "status.lastOperation.state", "Error");
    assert_eq!(check_migrated(&object), Err(NotReady::NotMigrated("Migrate Error".to_owned())));
}
