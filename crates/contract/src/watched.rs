//! gardenlet's rules for objects that it watches: which events it reacts to, and what it does then. Nothing here sends
//! requests.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::annotations::{OPERATION_ANNOTATION, OperationAnnotation};
use crate::json::{annotation, get, text};
use crate::readiness::{self, NotReady};

/// Returns whether gardenlet reacts to an event (`LastOperationChanged` in
/// `pkg/controllerutils/predicate/predicate.go`). Otherwise gardenlet does not see what the event says. The arguments
/// are the object in the previous event, or `None` in the first one, and the object in this event.
#[must_use]
pub fn wakes(before: Option<&Value>, now: &Value) -> bool {
    let asked = requested(now);
    let Some(before) = before else {
        return asked != Some(OperationAnnotation::Reconcile) && state(now) == Some("Failed");
    };
    let is_visible = match asked {
        None => true,
        Some(OperationAnnotation::Reconcile) => false,
        // An extension removes the annotation at the end of these.
        moved => requested(before) == moved,
    };
    is_visible
        && matches!(state(now), Some("Succeeded" | "Error" | "Failed"))
        && last_operation(before) != last_operation(now)
}

/// What gardenlet does about an object once an event has woken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// It asks for a reconcile, with a new timestamp.
    Asks,
    /// It reports the object as done.
    Succeeds,
    /// It reports an error, and asks for nothing: the extension has to retry.
    Fails,
    /// Nothing, until the next event.
    Waits,
}

/// Returns what gardenlet does about an object whose spec is as gardenlet wants it. `secret` is the timestamp of the
/// Secret in `spec.secretRef`, for kinds that have one (`pkg/gardenlet/controller/backupbucket/reconciler.go`,
/// `pkg/gardenlet/controller/backupentry/reconciler.go`, `pkg/gardenlet/controller/bastion/reconciler.go`).
///
/// gardenlet neither reads the object's own timestamp nor `observedGeneration`.
#[must_use]
pub fn round(object: Option<&Value>, secret: Option<&str>) -> Round {
    let Some(object) = object else { return Round::Asks };
    let Some(last) = get(object, "status.lastOperation") else {
        // gardenlet does not ask for a Bastion again.
        let is_lost = secret.is_some() && annotation(object, OPERATION_ANNOTATION).is_none();
        return if is_lost { Round::Asks } else { Round::Fails };
    };
    let updated = text(last, "lastUpdateTime").unwrap_or_default();
    if secret.is_some_and(|secret| is_older(updated, secret)) {
        return Round::Asks;
    }
    match (text(last, "state"), get(object, "status.lastError")) {
        (Some("Failed"), _) => Round::Asks,
        (Some("Error"), _) | (_, Some(_)) => Round::Fails,
        (Some("Succeeded"), None) => Round::Succeeds,
        _ => Round::Waits,
    }
}

/// Checks that a round reports an object as done. The arguments are those of [`round`].
pub fn check(object: Option<&Value>, secret: Option<&str>) -> Result<(), NotReady> {
    let object = object.ok_or(NotReady::Absent)?;
    let updated = text(object, "status.lastOperation.lastUpdateTime").unwrap_or_default();
    let is_older =
        || secret.filter(|_| get(object, "status.lastOperation").is_some()).filter(|secret| is_older(updated, secret));
    match (round(Some(object), secret), is_older()) {
        (Round::Succeeds, _) => Ok(()),
        (Round::Asks, Some(secret)) => {
            Err(NotReady::OlderThanCredentials { credentials: secret.to_owned(), updated: updated.to_owned() })
        }
        _ => readiness::check_succeeded(object),
    }
}

/// Returns whether a time is in an earlier second than the credentials.
fn is_older(updated: &str, secret: &str) -> bool {
    let seconds = |text: &str| text.parse().map(Timestamp::as_second).ok();
    seconds(updated) < seconds(secret)
}

/// The request that hides an object's status from gardenlet. Other values of the annotation do not.
fn requested(object: &Value) -> Option<OperationAnnotation> {
    annotation(object, OPERATION_ANNOTATION)
        .and_then(OperationAnnotation::parse)
        .filter(|operation| *operation != OperationAnnotation::WaitForState)
}

fn state(object: &Value) -> Option<&str> {
    text(object, "status.lastOperation.state")
}

/// The fields that gardenlet decodes, and the time as a time: another spelling of it is no change.
fn last_operation(object: &Value) -> Option<([Option<&Value>; 4], Option<Timestamp>)> {
    let last = get(object, "status.lastOperation")?;
    let time = text(last, "lastUpdateTime").and_then(|time| time.parse().ok());
    Some((["description", "progress", "state", "type"].map(|field| get(last, field)), time))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: &str = "2026-08-20T10:15:30Z";

    /// An object with this operation annotation, and a last operation in this state.
    fn object(operation: &str, state: &str) -> Value {
        let annotations = if operation.is_empty() { json!({}) } else { json!({ OPERATION_ANNOTATION: operation }) };
        let last = json!({ "type": "Reconcile", "state": state, "progress": 100, "description": "x",
            "lastUpdateTime": AT });
        let status = if state.is_empty() { json!({}) } else { json!({ "lastOperation": last }) };
        json!({ "metadata": { "annotations": annotations }, "status": status })
    }

    fn with(mut object: Value, field: &str, value: &str) -> Value {
        crate::json::set(&mut object, &format!("status.lastOperation.{field}"), value);
        object
    }

    #[test]
    fn first_event_wakes_only_for_a_failure_without_a_reconcile() {
        for (operation, state, expected) in [
            ("", "Failed", true),
            ("migrate", "Failed", true),
            ("restore", "Failed", true),
            ("wait-for-state", "Failed", true),
            ("reconcile", "Failed", false),
            ("", "Succeeded", false),
            ("", "Error", false),
            ("", "Processing", false),
            ("", "", false),
        ] {
            assert_eq!(wakes(None, &object(operation, state)), expected, "{operation} {state}");
        }
    }

    #[test]
    fn change_wakes_if_it_ends_an_operation_that_no_annotation_hides() {
        let processing = |operation| object(operation, "Processing");
        for (before, now, expected) in [
            (processing(""), object("", "Succeeded"), true),
            (processing(""), object("", "Error"), true),
            (processing(""), object("", "Failed"), true),
            (object("", ""), object("", "Succeeded"), true),
            (object("", "Succeeded"), processing(""), false),
            (object("", "Succeeded"), object("", "Aborted"), false),
            (object("", "Succeeded"), object("", ""), false),
            // The success is written while the annotation is there; then the annotation goes.
            (object("reconcile", "Error"), object("reconcile", "Succeeded"), false),
            (object("reconcile", "Succeeded"), object("", "Succeeded"), false),
            // Both in one write.
            (object("reconcile", "Error"), object("", "Succeeded"), true),
            // The annotations of these requests go at the end.
            (processing("restore"), object("restore", "Succeeded"), true),
            (processing("migrate"), object("migrate", "Succeeded"), true),
            (processing(""), object("migrate", "Succeeded"), false),
            (processing("reconcile"), object("migrate", "Succeeded"), false),
            (processing("restore"), object("migrate", "Succeeded"), false),
            (processing("restore"), object("", "Succeeded"), true),
            // gardenlet ignores other values.
            (processing(""), object("wait-for-state", "Succeeded"), true),
            (processing(""), object("keepalive", "Succeeded"), true),
        ] {
            assert_eq!(wakes(Some(&before), &now), expected, "{before} {now}");
        }
    }

    #[test]
    fn every_changed_field_of_the_last_operation_wakes_and_an_equal_one_does_not() {
        let before = object("", "Succeeded");
        assert!(!wakes(Some(&before), &before));
        assert!(!wakes(Some(&before), &with(before.clone(), "lastUpdateTime", "2026-08-20T12:15:30+02:00")));
        for (field, value) in
            [("type", "Migrate"), ("description", "y"), ("lastUpdateTime", "2026-08-20T10:15:31Z"), ("state", "Error")]
        {
            assert!(wakes(Some(&before), &with(before.clone(), field, value)), "{field}");
        }
        let mut other = before.clone();
        crate::json::set(&mut other, "status.lastError.description", "no part of the last operation");
        assert!(!wakes(Some(&before), &other));
    }

    #[test]
    fn round_asks_reports_or_waits() {
        let (in_the_same_second, later) = ("2026-08-20T10:15:30.9Z", "2026-08-20T10:15:31.1Z");
        for (object, secret, expected) in [
            (None, None, Round::Asks),
            (Some(object("", "Succeeded")), None, Round::Succeeds),
            (Some(object("", "Succeeded")), Some(in_the_same_second), Round::Succeeds),
            (Some(object("", "Succeeded")), Some(later), Round::Asks),
            (Some(object("", "Processing")), Some(later), Round::Asks),
            (Some(object("", "Processing")), Some(in_the_same_second), Round::Waits),
            (Some(object("", "Error")), None, Round::Fails),
            (Some(object("", "Failed")), None, Round::Asks),
            (Some(object("", "")), Some(later), Round::Asks),
            (Some(object("wait-for-state", "")), Some(later), Round::Fails),
            (Some(object("", "")), None, Round::Fails),
        ] {
            assert_eq!(round(object.as_ref(), secret), expected, "{object:?} {secret:?}");
        }
        let mut failed = object("", "Succeeded");
        crate::json::set(&mut failed, "status.lastError.description", "x");
        assert_eq!(round(Some(&failed), None), Round::Fails);
    }

    #[test]
    fn check_names_what_keeps_a_round_from_success() {
        let later = "2026-08-20T10:15:31.1Z";
        for (object, secret, expected) in [
            (None, None, "Absent"),
            (Some(object("", "Succeeded")), Some(AT), ""),
            (Some(object("", "Succeeded")), Some(later), "OlderThanCredentials"),
            (Some(object("", "Processing")), None, "State"),
            (Some(object("", "Failed")), Some(AT), "State"),
            (Some(object("", "")), Some(later), "NoLastOperation"),
        ] {
            let unmet = check(object.as_ref(), secret);
            assert_eq!(unmet.as_ref().err().map_or("", NotReady::name), expected, "{object:?} {secret:?}");
            assert_eq!(unmet.is_ok(), round(object.as_ref(), secret) == Round::Succeeds);
        }
    }
}
