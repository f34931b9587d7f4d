//! Pure helpers: conditions of a rule, and fields of an object.

use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, json as fields};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use libtest_mimic::Failed;
use serde_json::{Map, Value, json};

/// Fails the rule with a message unless the condition holds.
pub fn ensure(condition: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(Failed::from(otherwise.into())) }
}

/// The text at a JSON pointer. Empty if the field is absent or not a string.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The annotation's value. `None` if the object lacks the annotation.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// `type/state` of the last operation, such as `Create/Succeeded`.
#[must_use]
pub fn last(object: &Value) -> String {
    format!("{}/{}", text(object, "/status/lastOperation/type"), text(object, "/status/lastOperation/state"))
}

/// The object's finalizers.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The object's condition of a type. Null if there is none.
#[must_use]
pub fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| text(condition, "/type") == type_).cloned().unwrap_or_default()
}

/// gardenlet's request as a merge patch, with the current time as its timestamp.
#[must_use]
pub fn asking(operation: &str) -> Value {
    asking_at(operation, &Timestamp::now().to_string())
}

/// gardenlet's request as a merge patch, with this timestamp.
#[must_use]
pub fn asking_at(operation: &str, timestamp: &str) -> Value {
    let annotations = json!({ OPERATION_ANNOTATION: operation, TIMESTAMP_ANNOTATION: timestamp });
    json!({ "metadata": { "annotations": annotations } })
}

/// Applies a JSON merge patch (RFC 7386), also to another patch.
#[must_use]
pub fn merged(mut target: Value, patch: &Value) -> Value {
    json_patch::merge(&mut target, patch);
    target
}

/// A merge patch that reverts `patch` on a target that was `original` before.
#[must_use]
pub fn reverse(original: &Value, patch: &Value) -> Value {
    let Some(fields) = patch.as_object() else { return original.clone() };
    let field = |(name, patch): (&String, &Value)| {
        let original = original.get(name).unwrap_or(&Value::Null);
        let is_nested = original.is_object() && patch.is_object();
        (name.clone(), if is_nested { reverse(original, patch) } else { original.clone() })
    };
    Value::Object(fields.iter().map(field).collect())
}

/// What a person needs of an object: metadata that Gardener uses, type and class, and the status without the
/// provider's part. A Secret never gets in: no field holds one.
#[must_use]
pub fn excerpt(object: &Value) -> Value {
    const FIELDS: [&str; 14] = [
        "/metadata/namespace",
        "/metadata/name",
        "/metadata/generation",
        "/metadata/resourceVersion",
        "/metadata/deletionTimestamp",
        "/metadata/annotations",
        "/metadata/labels",
        "/metadata/finalizers",
        "/spec/type",
        "/spec/class",
        "/status/observedGeneration",
        "/status/lastOperation",
        "/status/lastError",
        "/status/conditions",
    ];
    let mut excerpt = json!({});
    for (pointer, value) in FIELDS.iter().filter_map(|pointer| Some((pointer, object.pointer(pointer)?))) {
        fields::set(&mut excerpt, &pointer.trim_start_matches('/').replace('/', "."), value.clone());
    }
    if object.is_null() { Value::Null } else { excerpt }
}

/// The object without its conditions, and without what the API server notes of each write.
#[must_use]
pub fn apart_from_conditions(object: &Value) -> Value {
    let mut object = object.clone();
    for (parent, field) in [("/metadata", "resourceVersion"), ("/metadata", "managedFields"), ("/status", "conditions")]
    {
        if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(field);
        }
    }
    let is_empty = object.pointer("/status").and_then(Value::as_object).is_some_and(Map::is_empty);
    if let (true, Some(fields)) = (is_empty, object.as_object_mut()) {
        fields.remove("status");
    }
    object
}

/// A time after every `lastUpdateTime` so far, which has whole seconds. It is ahead of the clock.
#[must_use]
pub fn in_a_second() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(1)
}

/// A status as another process might have written it. For Error and Failed its time is in the past, so that a retry is
/// due. For other states it is in the future.
#[must_use]
pub fn status(operation: &str, state: &str) -> Value {
    let time = if matches!(state, "Error" | "Failed") { "2026-01-01T00:00:00Z" } else { "2098-01-01T00:00:00Z" };
    let last = json!({ "type": operation, "state": state, "progress": 7, "description": "x", "lastUpdateTime": time });
    json!({ "observedGeneration": 1, "lastOperation": last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_empty_object_are_empty() {
        let object = json!({});
        assert_eq!((text(&object, "/a/b"), last(&object).as_str()), ("", "/"));
        assert!(annotation(&object, "a").is_none() && finalizers(&object).is_empty());
    }

    #[test]
    fn reversed_patch_restores_the_original() {
        let original = json!({ "a": { "b": 1, "c": [1] }, "d": "x" });
        for patch in [
            json!({ "a": { "b": 2, "new": { "x": 1 } } }),
            json!({ "a": null, "e": { "f": 1 } }),
            json!({ "a": { "c": [2, 3] }, "d": { "now": "an object" } }),
        ] {
            let changed = merged(original.clone(), &patch);
            assert_ne!(changed, original);
            assert_eq!(merged(changed, &reverse(&original, &patch)), original, "{patch}");
        }
    }

    #[test]
    fn excerpt_has_the_status_that_gardenlet_reads_and_nothing_of_the_provider() {
        let object = json!({
            "metadata": { "name": "a", "managedFields": [1], "uid": "u" },
            "spec": { "type": "t", "providerConfig": { "password": "p" } },
            "status": { "lastOperation": { "state": "Error" }, "providerStatus": {} },
        });
        let expected = json!({
            "metadata": { "name": "a" },
            "spec": { "type": "t" },
            "status": { "lastOperation": { "state": "Error" } },
        });
        assert_eq!(excerpt(&object), expected);
        assert_eq!(excerpt(&Value::Null), Value::Null);
    }

    #[test]
    fn conditions_are_no_change_and_everything_else_is() {
        let before = json!({ "metadata": { "name": "a", "resourceVersion": "1" }, "spec": { "type": "t" } });
        for (patch, is_same) in [
            (json!({ "metadata": { "resourceVersion": "2", "managedFields": [] } }), true),
            (json!({ "status": { "conditions": [{ "type": "Healthy" }] } }), true),
            (json!({ "status": {} }), true),
            (json!({ "status": { "conditions": [], "observedGeneration": 1 } }), false),
            (json!({ "metadata": { "labels": { "a": "b" } } }), false),
            (json!({ "spec": { "type": "u" } }), false),
        ] {
            let after = merged(before.clone(), &patch);
            assert_eq!(apart_from_conditions(&before) == apart_from_conditions(&after), is_same, "{patch}");
        }
    }

    #[test]
    fn merged_patches_keep_each_others_fields() {
        let patch = merged(asking_at("reconcile", "t"), &json!({ "spec": { "type": "a" } }));
        assert_eq!(annotation(&patch, OPERATION_ANNOTATION), Some("reconcile"));
        assert_eq!(text(&patch, "/spec/type"), "a");
    }
}
