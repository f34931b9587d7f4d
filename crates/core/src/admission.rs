//! The optional admission-assisted mode: a policy of the API server takes gardenlet's request up inside the request
//! itself, so that the status is all that is left to write.
//!
//! The policy takes `gardener.cloud/operation=reconcile` off and puts our finalizer on. The controller sees the request
//! in the generation and the timestamp, as it sees one that arrives without the annotation. It does the same whether
//! the policy is there or not, and so it needs to know nothing of it.

use serde_json::{Value, json};

use crate::contract::{OPERATION_ANNOTATION, OperationAnnotation, OperationType, TIMESTAMP_ANNOTATION};
use crate::extension::{Extension, Reader};

/// Of both objects.
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// How gardenlet writes a timestamp. What is later than a status in CEL must be so for [`decide`](mod@crate::decide) as
/// well, or a request would be taken off that nobody sees: of all times that CEL reads, only these.
const TIMESTAMP: &str = "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$";

/// The `MutatingAdmissionPolicy` for objects of `types`, and the binding that puts it in force, both called `name`.
///
/// None for a kind with readers that need the annotation; see [`spec`].
#[must_use]
pub fn objects<K: Extension>(name: &str, types: &[String]) -> Option<[Value; 2]> {
    // A list of strings in JSON is one in CEL.
    let spec = spec::<K>(&json!(types).to_string())?;
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

/// The `spec` of the policy; `types` is a CEL expression, the list of the served values of `spec.type`.
///
/// None for a kind with [`Reader::Watches`]: these readers tell by the annotation whether an object without any
/// `lastOperation` was asked for yet, and ask again and again without it
/// (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
#[must_use]
pub fn spec<K: Extension>(types: &str) -> Option<Value> {
    if K::READER == Reader::Watches {
        return None;
    }
    let (group, version, plural) = (K::group(&()), K::version(&()), K::plural(&()));
    Some(json!({
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "Never",
        "matchConstraints": { "resourceRules": [{
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": [plural],
        }] },
        "matchConditions": conditions(types),
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": mutation(K::FINALIZER) } }],
    }))
}

/// All of them are evaluated, whatever the others say: none may fail on an object that lacks something.
fn conditions(types: &str) -> Value {
    let condition = |name: &str, expression: String| json!({ "name": name, "expression": expression });
    let annotation = |key| format!("object.metadata.?annotations[?'{key}'].orValue('')");
    let last = |field| format!("oldObject.?status.?lastOperation.?{field}");
    let (operation, timestamp) = (annotation(OPERATION_ANNOTATION), annotation(TIMESTAMP_ANNOTATION));
    let (reconcile, migrate) = (OperationAnnotation::Reconcile.as_str(), OperationType::Migrate.as_str());
    let (last_type, last_time) = (last("type"), last("lastUpdateTime"));
    json!([
        condition("asked-to-reconcile", format!("{operation} == '{reconcile}'")),
        condition("of-a-served-type", format!("object.?spec.?type.orValue('') in {types}")),
        condition("of-class-shoot", "object.?spec.?class.orValue('') in ['', 'shoot']".to_owned()),
        condition("not-being-deleted", "!has(object.metadata.deletionTimestamp)".to_owned()),
        // What has been handed over, or is about to be, is not asked for by `reconcile`: the annotation stays.
        condition("not-migrated", format!("oldObject == null || {last_type}.orValue('') != '{migrate}'")),
        // In the second of the last success nothing but the annotation tells the request from one that was served.
        // Statuses keep whole seconds: a second later is later in whole seconds.
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

/// A list cannot be appended to where there is none.
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
    use kube::CustomResource;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::contract::Status;
    use crate::extension::{Base, Input, Invalid, NoOptions, NoShoot, Outcome};

    /// Two kinds that differ in their readers.
    macro_rules! kind {
        ($kind:ident, $spec:ident, $name:literal, $reader:expr) => {
            #[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
            #[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = $name, schema = "disabled")]
            #[kube(namespaced, status = "Status")]
            struct $spec {
                #[serde(flatten)]
                base: Base,
            }

            impl Extension for $kind {
                type Options = NoOptions;
                type Shoot = NoShoot;
                const FINALIZER: &'static str = "extensions.gardener.cloud/test";
                const TYPES: &'static [&'static str] = &["mock"];
                const READER: Reader = $reader;

                fn base(&self) -> &Base {
                    &self.spec.base
                }

                fn status(&self) -> Option<&Status> {
                    self.status.as_ref()
                }

                fn outcome(&self, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
                    Ok(Outcome::default())
                }
            }
        };
    }

    kind!(Polled, PolledSpec, "Polled", Reader::Polls);
    kind!(Watched, WatchedSpec, "Watched", Reader::Watches);

    #[test]
    fn a_kind_whose_readers_need_the_annotation_has_no_policy() {
        assert!(spec::<Polled>("[]").is_some());
        assert!(spec::<Watched>("[]").is_none() && objects::<Watched>("a", &[]).is_none());
    }

    #[test]
    fn types_are_strings_of_cel_whatever_they_hold() {
        let [policy, binding] = objects::<Polled>("a", &["mock".to_owned(), "'\"\\\n".to_owned()]).unwrap();
        let expression = policy.pointer("/spec/matchConditions/1/expression").unwrap();
        assert_eq!(expression, r#"object.?spec.?type.orValue('') in ["mock","'\"\\\n"]"#);
        assert_eq!(binding.pointer("/spec/policyName"), policy.pointer("/metadata/name"));
    }
}
