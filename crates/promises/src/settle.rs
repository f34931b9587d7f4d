//! Waits for an installed controller, and prepares the seed for further ones.

use std::time::Duration;

use extension_conformance::Suite;
use gardener_testbed::manifests::{self, Mode};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::wait::await_condition;
use libtest_mimic::Failed;
use mock_core::deploy::rbac;
use mock_core::process::heartbeat;
use serde_json::json;

use crate::host::Place;
use crate::mock::Mock;

/// Limit for the first heartbeat of the installed controller.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(90);

/// Returns when the installed controller has renewed its heartbeat, as the chart's Role allows it. After that, the
/// controller's user may write Leases in all namespaces: tests start further controllers, whose Leases are in
/// namespaces of their own.
pub(crate) async fn settle(suite: &Suite, mock: &Mock) -> Result<(), Failed> {
    let Place::Installed(installed) = &mock.host().place else { return Ok(()) };
    let leases: Api<Lease> = Api::namespaced(suite.client(), &installed.installation.namespace);
    let beats = await_condition(leases, heartbeat::NAME, |lease: Option<&Lease>| lease.is_some());
    tokio::time::timeout(FIRST_HEARTBEAT, beats).await.map_err(|_| "the installed controller has no heartbeat")??;

    let name = "further-controllers";
    let group = "rbac.authorization.k8s.io";
    let (api_version, metadata) = (format!("{group}/v1"), json!({ "name": name }));
    let role = json!({
        "apiVersion": api_version,
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rbac::lease_rules(&mock.name),
    });
    let binding = json!({
        "apiVersion": api_version,
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "apiGroup": group, "name": mock.user }],
    });
    for object in [role, binding] {
        manifests::apply(&suite.client(), &object, Mode::Apply).await?;
    }
    Ok(())
}
