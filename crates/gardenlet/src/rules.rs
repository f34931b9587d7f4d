//! The rules that gardenlet waits for. Each gets the newest state of an object, or `None` if the object does not exist.

use extension_contract::TIMESTAMP_ANNOTATION;
use extension_contract::json::{annotation, get};
use extension_contract::readiness::{self, NotReady};
use serde_json::Value;

/// The object is ready. `written` is the object as gardenlet wrote it.
pub(crate) fn ready(now: Option<&Value>, written: &Value) -> Result<(), NotReady> {
    let now = now.ok_or(NotReady::Absent)?;
    let generation = |object| get(object, "metadata.generation").and_then(Value::as_i64).unwrap_or_default();
    // A write without an operation does not change the timestamp. An event from before such a write is recognised by
    // its older generation.
    if generation(now) < generation(written) {
        let (observed, generation) = (generation(now), generation(written));
        return Err(NotReady::ObservedGeneration { observed, generation });
    }
    readiness::check(now, annotation(written, TIMESTAMP_ANNOTATION))
}

/// The extension has reported the Worker's machine deployments. `before` is the time of the report before the request.
pub(crate) fn machine_deployments(now: Option<&Value>, before: Option<&str>) -> Result<(), NotReady> {
    readiness::check_machine_deployments(now.ok_or(NotReady::Absent)?, before)
}

/// The object has succeeded, as gardenlet's controllers of watched kinds and of whole Seeds read it.
pub(crate) fn succeeded(now: Option<&Value>) -> Result<(), NotReady> {
    readiness::check_succeeded(now.ok_or(NotReady::Absent)?)
}

/// The object is migrated or gone.
pub(crate) fn migrated(now: Option<&Value>) -> Result<(), NotReady> {
    now.map_or(Ok(()), readiness::check_migrated)
}

/// The object is gone.
pub(crate) fn gone(now: Option<&Value>) -> Result<(), NotReady> {
    readiness::check_gone(now)
}
