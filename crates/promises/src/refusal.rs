//! An admission policy that refuses writes of the controller.

use std::time::Duration;

use extension_conformance::eventually;
use extension_conformance::launcher::Controller;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::scene::MockScene;

/// Limit for the policy to come into force. The API server looks for new policies every second, and then compiles them.
const IN_FORCE: Duration = Duration::from_secs(45);
/// Why the policy refuses a write.
const REASON: &str = "refused for a test";
/// The policy's name, and the label of the objects that it selects.
const NAME: &str = "refused";

/// A policy that refuses the controller's updates of labelled objects, but not of their status.
pub(crate) struct Refusal {
    policies: Api<ValidatingAdmissionPolicy>,
    bindings: Api<ValidatingAdmissionPolicyBinding>,
}

impl Refusal {
    /// Creates the policy, and returns when `controller` has logged that a write was refused.
    pub(crate) async fn begin(scene: &MockScene, controller: &Controller) -> Result<Self, Failed> {
        let client = scene.client();
        let refusal = Self { policies: Api::all(client.clone()), bindings: Api::all(client) };
        let resource = scene.suite().resource();
        let policy = json!({
            "metadata": { "name": NAME },
            "spec": {
                "matchConstraints": { "resourceRules": [{ "apiGroups": [resource.group],
                    "apiVersions": [resource.version], "operations": ["UPDATE"], "resources": [resource.plural] }] },
                "validations": [{ "message": REASON, "reason": "Invalid",
                    "expression": format!("!('{NAME}' in object.metadata.?labels.orValue({{}})) || \
                        request.userInfo.username != '{}'", scene.mock().user) }],
            },
        });
        let binding = json!({
            "metadata": { "name": NAME },
            "spec": { "policyName": NAME, "validationActions": ["Deny"] },
        });
        refusal.policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
        refusal.bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
        // A policy takes effect a moment after its creation. Until then the controller serves the probe.
        scene.ask_own("probe", "reconcile").await?;
        scene.until_ready("probe").await?;
        scene.patch("probe", Self::label()).await?;
        let name = scene.full_name("probe");
        eventually(IN_FORCE, || async {
            // In the second of the last success, so that no admission policy takes the request up.
            scene.ask_later("probe", "reconcile", SignedDuration::ZERO).await?;
            let is_logged = controller.log().lines()?.iter().any(|line| Self::is_logged(line, &name));
            if is_logged { Ok(()) } else { Err("the policy has no effect".into()) }
        })
        .await?;
        Ok(refusal)
    }

    /// A patch that makes the policy apply to an object.
    pub(crate) fn label() -> Value {
        json!({ "metadata": { "labels": { NAME: "yes" } } })
    }

    /// Whether a line of the log names the object in the API server and the policy's reason, as a warning.
    pub(crate) fn is_logged(line: &Value, name: &str) -> bool {
        let field = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        field("level") == "WARN" && field("name") == name && field("error").contains(REASON)
    }

    /// Deletes the policy.
    pub(crate) async fn end(self) -> Result<(), Failed> {
        self.bindings.delete(NAME, &DeleteParams::default()).await?;
        self.policies.delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }
}
