//! The limits of the Secrets that a controller may write.
//!
//! RBAC restricts neither `create` nor a whole namespace's `patch` by a part of the name, so [`rbac`](super::rbac) allows
//! all Secrets. This policy of the API server refuses all but those that the kind's outcomes hold.

use serde_json::{Value, json};

use crate::kind::MockKind;

/// API version of policy and binding.
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// The `ValidatingAdmissionPolicy` for the controller with this user name, and its binding, both called `name`.
///
/// Returns `None` for a kind that writes no Secrets.
#[must_use]
pub fn policy_and_binding<K: MockKind>(name: &str, user: &str) -> Option<[Value; 2]> {
    // A JSON string is a CEL string.
    let spec = spec::<K>(&json!(user).to_string())?;
    let metadata = json!({ "name": name });
    Some([
        json!({ "apiVersion": API_VERSION, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec }),
        json!({
            "apiVersion": API_VERSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }),
    ])
}

/// The `spec` of the policy. `user` is a CEL expression: the name of the controller's user.
///
/// Returns `None` for a kind that writes no Secrets.
#[must_use]
pub fn spec<K: MockKind>(user: &str) -> Option<Value> {
    let (prefixes, listed) = (json!(K::SECRET_PREFIXES), K::SECRET_PREFIXES.join(" or "));
    if listed.is_empty() {
        return None;
    }
    let mut operations = vec!["CREATE", "UPDATE"];
    operations.extend(K::DELETES_SECRETS.then_some("DELETE"));
    Some(json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": operations,
            "resources": ["secrets"],
        }] },
        "matchConditions": [{ "name": "by-this-controller", "expression": format!("request.userInfo.username == {user}") }],
        // The type: Kubernetes would put a token into a Secret of type kubernetes.io/service-account-token. In a deletion
        // there is no new object.
        "validations": [{
            "expression": format!(
                "{prefixes}.exists(prefix, (object == null ? oldObject : object).metadata.name.startsWith(prefix)) && \
                 (object == null || object.type == 'Opaque')"
            ),
            "message": format!("this controller may write only Secrets of type Opaque whose names begin with {listed}"),
            "reason": "Forbidden",
        }],
    }))
}
