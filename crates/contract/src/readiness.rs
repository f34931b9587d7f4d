//! gardenlet's rules for when an extension object is ready or migrated. Nothing here sends requests.
//!
//! Times are compared with code that only this module uses. The controllers truncate times with
//! [`whole_seconds`](crate::whole_seconds), and a mistake there must not hide itself here.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::annotations::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use crate::json::{annotation, get, list, text};
use crate::status::ErrorCode;

/// Why an object is not ready: the first rule, in gardenlet's order, that it does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The object does not exist.
    #[error("the object does not exist")]
    Absent,
    /// The timestamp annotation is not byte for byte what gardenlet wrote (`pkg/extensions/customresources.go`).
    #[error("gardener.cloud/timestamp must be {expected:?} as gardenlet wrote it, but is {found:?}")]
    Timestamp {
        /// The value that gardenlet wrote.
        expected: String,
        /// The value on the object.
        found: Option<String>,
    },
    /// The status contains an error.
    #[error("status.lastError must be absent, but is {description:?} with codes {codes:?}")]
    LastError {
        /// `status.lastError.description`.
        description: String,
        /// `status.lastError.codes`.
        codes: Vec<String>,
    },
    /// The status belongs to another generation of the spec.
    #[error("status.observedGeneration must be metadata.generation ({generation}), but is {observed}")]
    ObservedGeneration {
        /// `status.observedGeneration`. Absent counts as 0.
        observed: i64,
        /// `metadata.generation`.
        generation: i64,
    },
    /// The extension has not removed gardenlet's request.
    #[error("gardener.cloud/operation must be gone, but is {0:?}")]
    Operation(String),
    /// The extension has never reported.
    #[error("status.lastOperation must be present")]
    NoLastOperation,
    /// The last operation has not succeeded.
    #[error("status.lastOperation.state must be Succeeded, but is {0}")]
    State(String),
    /// The timestamp annotation is not a time.
    #[error("gardener.cloud/timestamp must be an RFC 3339 time, but is {0:?}")]
    UnreadableTimestamp(String),
    /// The last operation is older than the request. gardenlet compares whole seconds.
    #[error("status.lastOperation.lastUpdateTime must not be before the request ({requested}), but is {updated}")]
    Outdated {
        /// Time of gardenlet's request.
        requested: String,
        /// Time of the last operation.
        updated: String,
    },
    /// The extension has never reported the Worker's machine deployments
    /// (`pkg/component/extensions/worker/worker.go`).
    #[error("status.machineDeploymentsLastUpdateTime must be present")]
    NoMachineDeployments,
    /// The extension has not reported the Worker's machine deployments since the request.
    #[error("status.machineDeploymentsLastUpdateTime must be later than before the request ({before}), but is {now}")]
    MachineDeployments {
        /// The time before the request.
        before: String,
        /// The time now.
        now: String,
    },
    /// The extension has not migrated the object.
    #[error("status.lastOperation must be Migrate Succeeded, but is {0}")]
    NotMigrated(String),
    /// The last operation is older than the credentials. gardenlet asks again
    /// (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
    #[error("status.lastOperation.lastUpdateTime must not be before the credentials ({credentials}), but is {updated}")]
    OlderThanCredentials {
        /// Timestamp of the Secret in `spec.secretRef`.
        credentials: String,
        /// Time of the last operation.
        updated: String,
    },
    /// The extension has not reported the Secret with the user data
    /// (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
    #[error("status.cloudConfig.secretRef must have a name and a namespace")]
    NoUserData,
    /// A Secret that the extension must have made does not exist.
    #[error("the Secret {0} must exist")]
    NoSecret(String),
    /// The status is as gardenlet wants it, but no event woke it (`pkg/controllerutils/predicate/predicate.go`).
    #[error(
        "gardenlet must notice the result: gardener.cloud/operation must be gone first, and status.lastOperation must change"
    )]
    Unnoticed,
    /// The object still exists. The value lists its finalizers.
    #[error("the object must be gone, but its finalizers are {0}")]
    StillThere(String),
}

impl NotReady {
    /// The name of the rule, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "Absent",
            Self::Timestamp { .. } => "Timestamp",
            Self::LastError { .. } => "LastError",
            Self::ObservedGeneration { .. } => "ObservedGeneration",
            Self::Operation(_) => "Operation",
            Self::NoLastOperation => "NoLastOperation",
            Self::State(_) => "State",
            Self::UnreadableTimestamp(_) => "UnreadableTimestamp",
            Self::Outdated { .. } => "Outdated",
            Self::NoMachineDeployments => "NoMachineDeployments",
            Self::MachineDeployments { .. } => "MachineDeployments",
            Self::NotMigrated(_) => "NotMigrated",
            Self::OlderThanCredentials { .. } => "OlderThanCredentials",
            Self::NoUserData => "NoUserData",
            Self::NoSecret(_) => "NoSecret",
            Self::Unnoticed => "Unnoticed",
            Self::StillThere(_) => "StillThere",
        }
    }
}

/// Checks that an object is ready (`pkg/utils/kubernetes/health/extensions.go`). With `expected_timestamp`, checks
/// first that the timestamp annotation is the one that gardenlet wrote (`pkg/extensions/customresources.go`).
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
    let last = check_state(object)?;
    annotation(object, TIMESTAMP_ANNOTATION).map_or(Ok(()), |timestamp| check_time(timestamp, last))
}

/// Checks that the last operation has succeeded without an error. gardenlet's controllers for the kinds that it watches
/// look at nothing else (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
pub fn check_succeeded(object: &Value) -> Result<(), NotReady> {
    check_last_error(object)?;
    check_state(object).map(drop)
}

fn check_state(object: &Value) -> Result<&Value, NotReady> {
    let last = get(object, "status.lastOperation").ok_or(NotReady::NoLastOperation)?;
    match text(last, "state").unwrap_or_default() {
        "Succeeded" => Ok(last),
        state => Err(NotReady::State(state.to_owned())),
    }
}

/// Checks that an object's latest request is the one with this timestamp.
pub fn check_timestamp(object: &Value, expected: &str) -> Result<(), NotReady> {
    let found = annotation(object, TIMESTAMP_ANNOTATION);
    if found == Some(expected) {
        return Ok(());
    }
    Err(NotReady::Timestamp { expected: expected.to_owned(), found: found.map(str::to_owned) })
}

/// Checks that the last operation is not older than the request, in whole seconds.
fn check_time(timestamp: &str, last_operation: &Value) -> Result<(), NotReady> {
    let requested = seconds(timestamp).ok_or_else(|| NotReady::UnreadableTimestamp(timestamp.to_owned()))?;
    let updated = text(last_operation, "lastUpdateTime").unwrap_or_default();
    if seconds(updated).is_some_and(|updated| requested <= updated) {
        return Ok(());
    }
    Err(NotReady::Outdated { requested: timestamp.to_owned(), updated: updated.to_owned() })
}

/// Parses an RFC 3339 time as whole seconds since 1970. Returns `None` if it is not one.
fn seconds(time: &str) -> Option<i64> {
    time.parse().ok().map(Timestamp::as_second)
}

fn check_last_error(object: &Value) -> Result<(), NotReady> {
    get(object, "status.lastError").map_or(Ok(()), |error| {
        let codes = list(error, "codes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Err(NotReady::LastError { description: text(error, "description").unwrap_or_default().to_owned(), codes })
    })
}

/// Returns the state of the Shoot after gardenlet gives up on an object with these error codes. With a code that is not
/// retryable, the Shoot is `Failed` until its owner acts. Otherwise it is `Error`, and gardenlet retries
/// (`pkg/api/core/v1beta1/helper/errors.go`, `pkg/gardenlet/controller/shoot/shoot/reconciler.go`).
#[must_use]
pub fn state_of_shoot(codes: &[String]) -> &'static str {
    let is_final = |code: &String| {
        // gardenlet retries unknown codes.
        serde_json::from_value::<ErrorCode>(Value::from(code.as_str())).is_ok_and(|code| !code.is_retryable())
    };
    if codes.iter().any(is_final) { "Failed" } else { "Error" }
}

/// Checks that the extension has reported a Worker's machine deployments since gardenlet wrote the Worker. `before` is
/// `status.machineDeploymentsLastUpdateTime` before that write. gardenlet checks this before [`check`], unless the
/// Shoot is hibernated (`pkg/component/extensions/worker/worker.go`).
pub fn check_machine_deployments(object: &Value, before: Option<&str>) -> Result<(), NotReady> {
    let previous = before.and_then(seconds);
    let reported = text(object, "status.machineDeploymentsLastUpdateTime");
    let error_is_new = || {
        let error = text(object, "status.lastError.lastUpdateTime").and_then(seconds);
        previous.is_none() || error > previous
    };
    let is_newer =
        reported.and_then(seconds).is_some_and(|reported| previous.is_none_or(|previous| reported > previous));
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

/// Checks that an object is migrated, so that another seed can take over. Ignores annotations, generation and lastError
/// (`pkg/extensions/customresources.go`).
pub fn check_migrated(object: &Value) -> Result<(), NotReady> {
    let last = |field| text(object, field).unwrap_or("nothing");
    match (last("status.lastOperation.type"), last("status.lastOperation.state")) {
        ("Migrate", "Succeeded") => Ok(()),
        (operation, state) => Err(NotReady::NotMigrated(format!("{operation} {state}"))),
    }
}

/// Checks that an object is gone. `object` is `None` if it does not exist.
pub fn check_gone(object: Option<&Value>) -> Result<(), NotReady> {
    object.map_or(Ok(()), |object| {
        let finalizers = get(object, "metadata.finalizers").cloned().unwrap_or_default();
        Err(NotReady::StillThere(finalizers.to_string()))
    })
}

/// Checks that an `OperatingSystemConfig` for the first boot names the Secret with the user data. Returns the Secret's
/// namespace and name (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
pub fn check_user_data(object: &Value) -> Result<(&str, &str), NotReady> {
    let field = |field| text(object, &format!("status.cloudConfig.secretRef.{field}"));
    field("namespace").zip(field("name")).ok_or(NotReady::NoUserData)
}

#[cfg(test)]
mod tests;
