//! The optional admission-assisted mode: a policy of the API server changes gardenlet's request while it is admitted,
//! so that the controller only has to write the status.
//!
//! The policy removes `gardener.cloud/operation=reconcile` and adds our finalizer. The controller recognises the
//! request by generation and timestamp, like any request without the annotation. It behaves the same with and without
//! the policy, and does not know of it.

use extension_contract::{
    Class, GROUP, OPERATION_ANNOTATION, OperationAnnotation, OperationType, TIMESTAMP_ANNOTATION, VERSION,
};
use serde_json::{Value, json};

use crate::kind::{MockKind, Reader};

/// API version of policy and binding.
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// The form in which gardenlet writes a timestamp. CEL accepts more forms, but a time that CEL finds later than the
/// status must be later for [`decide`](mod@crate::decide) as well: otherwise the policy would remove a request that no
/// controller recognises.
const TIMESTAMP: &str = "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$";

/// The `MutatingAdmissionPolicy` for objects of `types` and its binding, both called `name`.
///
/// Returns `None` for a kind whose readers need the annotation; see [`spec`].
#[must_use]
pub fn policy_and_binding<K: MockKind>(name: &str, types: &[String]) -> Option<[Value; 2]> {
    // A JSON list of strings is a CEL list of strings.
    let spec = spec::<K>(&json!(types).to_string(), &json!(class_list(K::KIND.usual_classes())).to_string())?;
    let metadata = json!({ "name": name });
    Some([
        json!({ "apiVersion": API_VERSION, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": spec }),
        json!({
            "apiVersion": API_VERSION,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": { "policyName": name },
        }),
    ])
}

/// The `spec` of the policy. `types` and `classes` are CEL expressions: the lists of the served values of `spec.type` and
/// of `spec.class`, the latter from [`class_list`].
///
/// Returns `None` for a kind with [`Reader::Watches`]. On an object without `lastOperation`, these readers recognise
/// their own request by the annotation, and would request again and again without it
/// (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
#[must_use]
pub fn spec<K: MockKind>(types: &str, classes: &str) -> Option<Value> {
    if K::KIND.reader == Reader::Watches {
        return None;
    }
    Some(json!({
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "Never",
        "matchConstraints": { "resourceRules": [{
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "operations": ["CREATE", "UPDATE"],
            "resources": [K::KIND.plural],
        }] },
        "matchConditions": conditions(types, classes),
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": mutation(K::FINALIZER) } }],
    }))
}

/// The API server evaluates all conditions, even if one is false. None of them may fail on an object that lacks a
/// field.
fn conditions(types: &str, classes: &str) -> Value {
    let condition = |name: &str, expression: String| json!({ "name": name, "expression": expression });
    let annotation = |key| format!("object.metadata.?annotations[?'{key}'].orValue('')");
    let last = |field| format!("oldObject.?status.?lastOperation.?{field}");
    let (operation, timestamp) = (annotation(OPERATION_ANNOTATION), annotation(TIMESTAMP_ANNOTATION));
    let (reconcile, migrate) = (OperationAnnotation::Reconcile.as_str(), OperationType::Migrate.as_str());
    let (last_type, last_time) = (last("type"), last("lastUpdateTime"));
    json!([
        condition("asked-to-reconcile", format!("{operation} == '{reconcile}'")),
        condition("of-a-served-type", format!("object.?spec.?type.orValue('') in {types}")),
        condition("of-a-served-class", format!("object.?spec.?class.orValue('') in {classes}")),
        condition("not-being-deleted", "!has(object.metadata.deletionTimestamp)".to_owned()),
        // `reconcile` is no request for an object that is, or is being, handed over: the annotation stays.
        condition("not-migrated", format!("oldObject == null || {last_type}.orValue('') != '{migrate}'")),
        // Within the second of the last success, only the annotation distinguishes a new request from one that is
        // done. A time at least one second later is later in the whole seconds of a status as well.
        condition(
            "told-by-its-timestamp",
            format!(
                "oldObject == null || [{timestamp}].exists(at, at.matches('{TIMESTAMP}') && \
                 !format.datetime().validate(at).hasValue() && \
                 timestamp(at) >= timestamp({last_time}.orValue('1970-01-01T00:00:00Z')) + duration('1s'))"
            ),
        ),
    ])
}

/// The values of `spec.class` that mean these classes. An absent class counts as `shoot`.
#[must_use]
pub fn class_list(classes: &[Class]) -> Vec<&'static str> {
    let absent = classes.contains(&Class::Shoot).then_some("");
    absent.into_iter().chain(classes.iter().map(|class| class.as_str())).collect()
}

/// A JSON patch cannot append to an absent list.
fn mutation(finalizer: &str) -> String {
    let held = "object.metadata.finalizers";
    let add = |path: &str, value: &str| {
        format!("[JSONPatch{{op: 'add', path: '/metadata/finalizers{path}', value: {value}}}]")
    };
    let (first, further) = (add("", &format!("['{finalizer}']")), add("/-", &format!("'{finalizer}'")));
    format!(
        "[JSONPatch{{op: 'remove', path: '/metadata/annotations/' + jsonpatch.escapeKey('{OPERATION_ANNOTATION}')}}] + \
         (!has({held}) ? {first} : '{finalizer}' in {held} ? [] : {further})"
    )
}

#[cfg(test)]
mod tests {
    use extension_contract::kinds;
    use serde::Deserialize;

    use super::*;
    use crate::kind::{Input, Invalid, Kind, NoOptions, NoReport, NoShoot, Object, Outcome};

    /// Two kinds that differ in their readers.
    macro_rules! kind {
        ($name:ident, $kind:expr) => {
            #[derive(Clone, Debug, Deserialize)]
            struct $name {}

            impl MockKind for $name {
                type Reported = NoReport;
                type Shoot = NoShoot;
                type Options = NoOptions;
                const KIND: &'static Kind = &$kind;
                const TYPES: &'static [&'static str] = &["mock"];

                fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
                    Ok(Outcome::default())
                }
            }
        };
    }

    kind!(Polled, kinds::NETWORK);
    kind!(Watched, kinds::BACKUP_BUCKET);

    #[test]
    fn a_kind_whose_readers_need_the_annotation_has_no_policy() {
        assert!(spec::<Polled>("[]", "[]").is_some());
        assert!(spec::<Watched>("[]", "[]").is_none() && policy_and_binding::<Watched>("a", &[]).is_none());
    }

    #[test]
    fn types_are_cel_strings_whatever_characters_they_contain() {
        let [policy, binding] = policy_and_binding::<Polled>("a", &["mock".to_owned(), "'\"\\\n".to_owned()]).unwrap();
        let expression = policy.pointer("/spec/matchConditions/1/expression").unwrap();
        assert_eq!(expression, r#"object.?spec.?type.orValue('') in ["mock","'\"\\\n"]"#);
        assert_eq!(binding.pointer("/spec/policyName"), policy.pointer("/metadata/name"));
    }
}
