//! Tells, as gardenlet does, when an extension object is ready or migrated, and by which rule it is not. Nothing here
//! asks the API server.

use k8s_openapi::jiff::Timestamp;
use mock_core::contract::{ErrorCode, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, whole_seconds};
use serde_json::Value;

use crate::json::{annotation, get, list, text};

/// The first rule, in gardenlet's order, by which an object is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It is not there.
    #[error("the object does not exist")]
    Absent,
    /// gardenlet compares the annotation byte for byte with what it wrote (`pkg/extensions/customresources.go`).
    #[error("gardener.cloud/timestamp must be {expected:?} as gardenlet wrote it, but is {found:?}")]
    Timestamp {
        /// What gardenlet wrote.
        expected: String,
        /// What stands there.
        found: Option<String>,
    },
    /// An error is recorded, with its codes.
    #[error("status.lastError must be absent, but is {description:?} with codes {codes:?}")]
    LastError {
        /// What it says.
        description: String,
        /// What kind of error it is.
        codes: Vec<String>,
    },
    /// The status speaks of another spec.
    #[error("status.observedGeneration must be metadata.generation ({generation}), but is {observed}")]
    ObservedGeneration {
        /// Absent counts as 0.
        observed: i64,
        /// That of the spec.
        generation: i64,
    },
    /// The request was not taken up.
    #[error("gardener.cloud/operation must be gone, but is {0:?}")]
    Operation(String),
    /// Nobody ever served it.
    #[error("status.lastOperation must be present")]
    NoLastOperation,
    /// Not done, or not well.
    #[error("status.lastOperation.state must be Succeeded, but is {0}")]
    State(String),
    /// The time of the request cannot be read.
    #[error("gardener.cloud/timestamp must be a time of RFC 3339, but is {0:?}")]
    UnreadableTimestamp(String),
    /// The last operation was before the request.
    #[error("status.lastOperation.lastUpdateTime must not be before the request ({requested}), but is {updated}")]
    Outdated {
        /// When gardenlet asked, in whole seconds.
        requested: String,
        /// When the status was written.
        updated: String,
    },
    /// The Worker's machine deployments were never reported (`pkg/component/extensions/worker/worker.go`).
    #[error("status.machineDeploymentsLastUpdateTime must be present")]
    NoMachineDeployments,
    /// The Worker's machine deployments were not reported since the request.
    #[error("status.machineDeploymentsLastUpdateTime must be later than before the request ({before}), but is {now}")]
    MachineDeployments {
        /// Before the request.
        before: String,
        /// What stands there.
        now: String,
    },
    /// The object still belongs to this seed.
    #[error("status.lastOperation must be Migrate Succeeded, but is {0}")]
    NotMigrated(String),
    /// It is being deleted, and somebody holds it.
    #[error("the object must be gone, but its finalizers are {0}")]
    StillThere(String),
}

/// Whether an object is ready. The rule is that of (`pkg/utils/kubernetes/health/extensions.go`), preceded by the
/// comparison of the timestamp with the one that was written (`pkg/extensions/customresources.go`).
pub fn check(object: &Value, expected_timestamp: Option<&str>) -> Result<(), NotReady> {
    if let Some(expected) = expected_timestamp {
        check_timestamp(object, expected)?;
    }
    check_last_error(object)?;
    let number = |path| get(object, path).and_then(Value::as_i64).unwrap_or_default();
    let (observed, generation) = (number("status.observedGeneration"), number("metadata.generation"));
    if observed != generation {
        return Err(NotReady::ObservedGeneration { observed, generation });
    }
    if let Some(operation) = annotation(object, OPERATION_ANNOTATION) {
        return Err(NotReady::Operation(operation.to_owned()));
    }
    let last = get(object, "status.lastOperation").ok_or(NotReady::NoLastOperation)?;
    let state = text(last, "state").unwrap_or_default();
    if state != "Succeeded" {
        return Err(NotReady::State(state.to_owned()));
    }
    annotation(object, TIMESTAMP_ANNOTATION).map_or(Ok(()), |timestamp| check_time(timestamp, last))
}

/// Whether the request of that timestamp is what was asked of an object last.
pub(crate) fn check_timestamp(object: &Value, expected: &str) -> Result<(), NotReady> {
    let found = annotation(object, TIMESTAMP_ANNOTATION);
    if found == Some(expected) {
        return Ok(());
    }
    Err(NotReady::Timestamp { expected: expected.to_owned(), found: found.map(str::to_owned) })
}

/// Whether the timestamp of a request is not after the last operation; statuses keep whole seconds.
fn check_time(timestamp: &str, last_operation: &Value) -> Result<(), NotReady> {
    let requested: Timestamp = timestamp.parse().map_err(|_| NotReady::UnreadableTimestamp(timestamp.to_owned()))?;
    let requested = whole_seconds(requested);
    let updated = text(last_operation, "lastUpdateTime").unwrap_or_default();
    if updated.parse().is_ok_and(|updated: Timestamp| requested <= updated) {
        return Ok(());
    }
    Err(NotReady::Outdated { requested: requested.to_string(), updated: updated.to_owned() })
}

fn check_last_error(object: &Value) -> Result<(), NotReady> {
    get(object, "status.lastError").map_or(Ok(()), |error| {
        let codes = list(error, "codes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Err(NotReady::LastError { description: text(error, "description").unwrap_or_default().to_owned(), codes })
    })
}

/// What becomes of the Shoot when gardenlet gives up on an object with such an error: Failed with a code that no retry
/// will mend, until its owner acts, else Error and another try
/// (`pkg/api/core/v1beta1/helper/errors.go`, `pkg/gardenlet/controller/shoot/shoot/reconciler.go`).
#[must_use]
pub fn state_of_shoot(codes: &[String]) -> &'static str {
    let hopeless = |code: &String| {
        // A code that nobody knows keeps nobody from trying again.
        serde_json::from_value::<ErrorCode>(Value::from(code.as_str())).is_ok_and(|code| !code.is_retryable())
    };
    if codes.iter().any(hopeless) { "Failed" } else { "Error" }
}

/// Whether a Worker has reported its machine deployments since it was written; `before` is the time that stood there
/// then. gardenlet asks this before [`check`], and not of hibernated Shoots (`pkg/component/extensions/worker/worker.go`).
pub fn check_machine_deployments(object: &Value, before: Option<&str>) -> Result<(), NotReady> {
    let parse = |time: &str| time.parse::<Timestamp>().ok().map(whole_seconds);
    let previous = before.and_then(parse);
    let reported = text(object, "status.machineDeploymentsLastUpdateTime");
    let error_is_new = || {
        let error = text(object, "status.lastError.lastUpdateTime").and_then(parse);
        previous.is_none() || error > previous
    };
    let is_newer = reported.and_then(parse).is_some_and(|reported| previous.is_none_or(|previous| reported > previous));
    if is_newer {
        return Ok(());
    }
    if error_is_new() {
        check_last_error(object)?;
    }
    Err(match (reported, before) {
        (Some(now), Some(before)) => NotReady::MachineDeployments { before: before.to_owned(), now: now.to_owned() },
        _ => NotReady::NoMachineDeployments,
    })
}

/// Whether an object has let go of its resources for another seed to take over. Annotations, generation and lastError
/// are not looked at (`pkg/extensions/customresources.go`).
pub fn check_migrated(object: &Value) -> Result<(), NotReady> {
    let last = |field| text(object, field).unwrap_or("nothing");
    match (last("status.lastOperation.type"), last("status.lastOperation.state")) {
        ("Migrate", "Succeeded") => Ok(()),
        (operation, state) => Err(NotReady::NotMigrated(format!("{operation} {state}"))),
    }
}

#[cfg(test)]
mod tests {
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
    fn ready_by_gardenlets_rule() {
        let cases = [
            ("ready in the second of the request", ready(), ""),
            ("any type counts", changed("status.lastOperation.type", json!("Restore")), ""),
            ("no timestamp", annotated(TIMESTAMP_ANNOTATION, Value::Null), "gardener.cloud/timestamp must be \""),
            (
                "rewritten",
                annotated(TIMESTAMP_ANNOTATION, json!("2026-08-20T10:15:30Z")),
                "gardener.cloud/timestamp must be \"",
            ),
            (
                "lastError",
                changed("status.lastError", json!({"description": "x", "codes": ["Y"]})),
                "status.lastError must be absent, but is \"x\" with codes [\"Y\"]",
            ),
            ("observedGeneration", changed("status.observedGeneration", json!(2)), "status.observedGeneration must"),
            (
                "no observedGeneration",
                changed("status.observedGeneration", Value::Null),
                "status.observedGeneration must",
            ),
            ("operation", annotated(OPERATION_ANNOTATION, json!("reconcile")), "gardener.cloud/operation must"),
            ("empty operation", annotated(OPERATION_ANNOTATION, json!("")), "gardener.cloud/operation must"),
            ("no lastOperation", changed("status.lastOperation", Value::Null), "status.lastOperation must be present"),
            (
                "Processing",
                changed("status.lastOperation.state", json!("Processing")),
                "status.lastOperation.state must",
            ),
            (
                "a second too early",
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
    fn the_first_rule_is_named() {
        let mut object = json!({"metadata": {"generation": 1, "annotations": {OPERATION_ANNOTATION: "reconcile"}}});
        assert!(matches!(check(&object, None), Err(NotReady::ObservedGeneration { .. })));
        set(&mut object, "status.lastError.description", "no");
        assert!(matches!(check(&object, None), Err(NotReady::LastError { .. })));
        let unreadable = annotated(TIMESTAMP_ANNOTATION, json!("today"));
        assert_eq!(check(&unreadable, None), Err(NotReady::UnreadableTimestamp("today".to_owned())));
    }

    #[test]
    fn machine_deployments_must_be_strictly_newer() {
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
    fn one_hopeless_code_makes_the_shoot_failed() {
        let state = |codes: &[&str]| state_of_shoot(&codes.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(state(&[]), "Error");
        assert_eq!(state(&["ERR_OF_TOMORROW", "ERR_INFRA_RESOURCES_DEPLETED"]), "Error");
        assert_eq!(state(&["ERR_INFRA_RESOURCES_DEPLETED", "ERR_INFRA_DEPENDENCIES"]), "Failed");
    }

    #[test]
    fn migrated_is_only_the_last_operation() {
        let mut object = annotated(OPERATION_ANNOTATION, json!("migrate"));
        assert_eq!(check_migrated(&object), Err(NotReady::NotMigrated("Create Succeeded".to_owned())));
        set(&mut object, "status.lastOperation.type", "Migrate");
        set(&mut object, "status.lastError.description", "is not looked at");
        assert_eq!(check_migrated(&object), Ok(()));
        set(&mut object, "status.lastOperation.state", "Error");
        assert_eq!(check_migrated(&object), Err(NotReady::NotMigrated("Migrate Error".to_owned())));
    }
}
