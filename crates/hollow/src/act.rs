//! Sends requests to a Shoot's API server.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::iter;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Error, ResourceExt as _};
use serde_json::json;

use crate::decide::Act;
use crate::node;

/// Who writes.
const WRITER: &str = "mock-hollow";
/// How many Leases are renewed at a time.
const AT_ONCE: usize = 8;

/// Sends a request. A refusal because the object has changed or is gone is no error: its event leads to another decision.
pub(crate) async fn act(client: &Client, act: &Act) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let pods = |namespace: &str| -> Api<Pod> { Api::namespaced(client.clone(), namespace) };
    let params = PatchParams::default();
    let result = match act {
        Act::CreateNode(node) => {
            let writer = PostParams { field_manager: Some(WRITER.to_owned()), ..PostParams::default() };
            nodes.create(&writer, node).await.map(drop)
        }
        Act::PatchNode(name, patch) => nodes.patch(name, &params, &Patch::Merge(patch)).await.map(drop),
        Act::ReportNode(name, status) => {
            nodes.patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await.map(drop)
        }
        Act::DeleteNode(name) => nodes.delete(name, &DeleteParams::default()).await.map(drop),
        Act::ReportPod(pod, status) => {
            let patch = Patch::Merge(json!({ "metadata": { "uid": pod.uid }, "status": status }));
            pods(&pod.namespace).patch_status(&pod.name, &params, &patch).await.map(drop)
        }
        Act::RemovePod(pod) => {
            let this = Preconditions { uid: Some(pod.uid.clone()), ..Preconditions::default() };
            let at_once = DeleteParams::default().grace_period(0).preconditions(this);
            pods(&pod.namespace).delete(&pod.name, &at_once).await.map(drop)
        }
    };
    match result {
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result,
    }
}

/// Renews the Leases of nodes. Tries all, and returns the first error.
pub(crate) async fn renew(client: &Client, nodes: Vec<Arc<Node>>) -> Result<(), Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let renewals = iter(nodes).map(|node| {
        let leases = leases.clone();
        async move {
            let name = node.name_any();
            let lease = Patch::Apply(node::lease(&name, node.uid().as_deref(), Timestamp::now()));
            leases.patch(&name, &PatchParams::apply(WRITER).force(), &lease).await.map(drop)
        }
    });
    let results = renewals.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}
