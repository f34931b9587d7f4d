//! Which of gardenlet's waits an object is in, and the first rule of that wait that it does not meet.

use extension_contract::json::{annotation, get, text};
use extension_contract::kinds::{self, Reader};
use extension_contract::readiness::{self, NotReady};
use extension_contract::{OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, watched};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::history::History;
use crate::secrets::{self, Secret, Secrets};
use crate::seed::Found;

/// What gardenlet waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// The object is ready; gardenlet polls it.
    Ready,
    /// An event tells that the last operation has succeeded; gardenlet watches the object.
    Event,
    /// The object is handed over to another seed.
    Migrated,
    /// The object is gone.
    Gone,
}

impl Wait {
    /// The wait that an object is in, or would be in.
    #[must_use]
    pub fn of(found: &Found) -> Self {
        let object = &found.object;
        let is_migrated = text(object, "status.lastOperation.type") == Some("Migrate");
        match annotation(object, OPERATION_ANNOTATION).and_then(OperationAnnotation::parse) {
            _ if get(object, "metadata.deletionTimestamp").is_some() => Self::Gone,
            Some(OperationAnnotation::Migrate) if found.kind.migrates => Self::Migrated,
            None if is_migrated => Self::Migrated,
            _ if found.kind.reader == Reader::Watches && !found.is_of_garden() => Self::Event,
            _ => Self::Ready,
        }
    }
}

/// Checks the rules of an object's wait, in gardenlet's order. `is_hibernated`: gardenlet does not wait for the machine
/// deployments of a hibernated Shoot.
pub fn check(found: &Found, is_hibernated: bool, secrets: &Secrets, history: &History) -> Result<(), NotReady> {
    let object = &found.object;
    match Wait::of(found) {
        Wait::Gone => readiness::check_gone(Some(object)),
        Wait::Migrated => readiness::check_migrated(object),
        Wait::Event => check_event(found, secrets, history),
        Wait::Ready => {
            if found.kind == &kinds::WORKER && !is_hibernated {
                readiness::check_machine_deployments(object, reported_before(object, history).as_deref())?;
            }
            let is_being_deleted = annotation(object, extension_contract::DELETION_CONFIRMATION_ANNOTATION).is_some();
            let request = history.request.as_ref().filter(|_| !is_being_deleted);
            readiness::check(object, request.map(|request| request.timestamp.as_str()))?;
            if found.kind == &kinds::OPERATING_SYSTEM_CONFIG && text(object, "spec.purpose") == Some("provision") {
                readiness::check_user_data(object)?;
            }
            check_results(found, secrets)
        }
    }
}

fn check_event(found: &Found, secrets: &Secrets, history: &History) -> Result<(), NotReady> {
    if let Some(operation) = annotation(&found.object, OPERATION_ANNOTATION)
        && OperationAnnotation::parse(operation).is_some()
    {
        return Err(NotReady::Operation(operation.to_owned()));
    }
    let credentials = secrets::credentials(found).and_then(|name| secrets.get(&name));
    let timestamp = match credentials {
        Some(Secret::Exists(timestamp)) => timestamp.as_deref(),
        Some(Secret::Missing) | None => None,
    };
    watched::check(Some(&found.object), timestamp)?;
    if history.request.as_ref().is_some_and(|request| !request.is_noticed) {
        return Err(NotReady::Unnoticed);
    }
    check_results(found, secrets)
}

fn check_results(found: &Found, secrets: &Secrets) -> Result<(), NotReady> {
    let missing = secrets::results(found).into_iter().find(|name| secrets.get(name) == Some(&Secret::Missing));
    missing.map_or(Ok(()), |(namespace, name)| Err(NotReady::NoSecret(format!("{namespace}/{name}"))))
}

/// `status.machineDeploymentsLastUpdateTime` before gardenlet's request. Without a watch, a time before the request must
/// be from before it; of a later one, nothing older is known.
fn reported_before(object: &Value, history: &History) -> Option<String> {
    if let Some(request) = &history.request {
        return request.machine_deployments.clone();
    }
    let seconds = |time: &str| time.parse().map(Timestamp::as_second).ok();
    let reported = text(object, "status.machineDeploymentsLastUpdateTime")?;
    let requested = annotation(object, TIMESTAMP_ANNOTATION).and_then(seconds)?;
    (seconds(reported)? < requested).then(|| reported.to_owned())
}
