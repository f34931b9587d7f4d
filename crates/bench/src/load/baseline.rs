//! The baseline of a benchmark, the raw limit: the fewest writes that a controller must make, and as many watches as
//! controllers have open.

use extension_contract::json::{get, list, set, text};
use extension_contract::{GROUP, OPERATION_ANNOTATION, State, TIMESTAMP_ANNOTATION, VERSION, kinds, whole_seconds};
use futures::AsyncBufReadExt as _;
use http::Request as HttpRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use mock_gardenlet::shoot::{Landscape, Planned, ShootPlan};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::client::Meta;
use super::error::LoadError;
use super::options::Phase;
use super::resources::{kinds_of, plural};

/// The request that is answered.
pub(super) struct Request<'a> {
    pub(super) phase: Phase,
    pub(super) timestamp: &'a str,
    /// The time at which a Worker's machine deployments were last reported.
    pub(super) before: Option<&'a str>,
}

/// The merge patch of the status: only the fields that gardenlet's rule for the kind requires.
pub(super) fn status(plan: &ShootPlan, planned: &Planned, meta: &Meta, request: &Request<'_>) -> Value {
    let now = whole_seconds(Timestamp::now());
    let mut status = json!({
        "lastError": null,
        "lastOperation": {
            "description": "answered",
            "lastUpdateTime": Time(now),
            "progress": 100,
            "state": State::Succeeded,
            "type": request.phase.operation(),
        },
        "observedGeneration": meta.generation,
    });
    if planned.kind == kinds::OPERATING_SYSTEM_CONFIG.name
        && let Some(secret) = secret(planned, meta, request)
    {
        let field = |path| get(&secret, path);
        let reference = json!({"name": field("metadata.name"), "namespace": field("metadata.namespace")});
        set(&mut status, "cloudConfig.secretRef", reference);
    }
    if planned.kind == kinds::WORKER.name && request.phase != Phase::Migrate {
        let next = request.before.and_then(|before| before.parse::<Timestamp>().ok());
        let next = next.and_then(|before| before.checked_add(SignedDuration::from_secs(1)).ok());
        let deployments: Vec<Value> = list(&planned.object, "spec.pools")
            .iter()
            .map(|pool| {
                let name = format!("{}-{}-z1", plan.namespace, text(pool, "name").unwrap_or_default());
                json!({"name": name, "minimum": get(pool, "minimum"), "maximum": get(pool, "maximum")})
            })
            .collect();
        set(&mut status, "machineDeployments", deployments);
        set(&mut status, "machineDeploymentsLastUpdateTime", json!(Time(next.map_or(now, |next| next.max(now)))));
    }
    json!({"metadata": {"resourceVersion": meta.resource_version}, "status": status})
}

/// The Secret that gardenlet reads as soon as the object is ready: of an OperatingSystemConfig of purpose `provision`, or
/// of a BackupEntry.
pub(super) fn secret(planned: &Planned, meta: &Meta, request: &Request<'_>) -> Option<Value> {
    let is_read = text(&planned.object, "spec.purpose") == Some("provision");
    let entry = planned.name.rsplit_once("--").filter(|_| planned.kind == kinds::BACKUP_ENTRY.name);
    let secret = if is_read {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": format!("osc-result-{}", planned.name),
                "namespace": get(&planned.object, "metadata.namespace"),
                "ownerReferences": [{
                    "apiVersion": get(&planned.object, "apiVersion"),
                    "kind": planned.kind,
                    "name": planned.name,
                    "uid": meta.uid,
                    "controller": true,
                }],
            },
            "data": {"cloud_config": "IyEvYmluL3NoCg=="},
        })
    } else {
        let (namespace, _) = entry?;
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "etcd-backup", "namespace": namespace},
            "data": {"bucketName": "YnVja2V0"},
        })
    };
    (request.phase != Phase::Migrate).then_some(secret)
}

/// The JSON patch of the metadata: removes the request, adds the finalizer for the first request, and removes the
/// finalizer for a migration.
pub(super) fn metadata(planned: &Planned, request: &Request<'_>) -> Value {
    let pointer = |annotation: &str| format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
    let mut patch = vec![
        json!({"op": "test", "path": pointer(TIMESTAMP_ANNOTATION), "value": request.timestamp}),
        json!({"op": "remove", "path": pointer(OPERATION_ANNOTATION)}),
    ];
    match request.phase {
        Phase::Create | Phase::Restore => {
            let finalizer = format!("{GROUP}/{}", planned.kind.to_lowercase());
            patch.push(json!({"op": "add", "path": "/metadata/finalizers", "value": [finalizer]}));
        }
        Phase::Migrate => patch.push(json!({"op": "remove", "path": "/metadata/finalizers"})),
        Phase::Reconcile | Phase::Delete => {}
    }
    Value::Array(patch)
}

/// The JSON patch after which the API server deletes the object.
pub(super) fn release() -> Value {
    json!([{"op": "remove", "path": "/metadata/finalizers"}])
}

/// Opens the watches that controllers have, and reads them until the handles are dropped: for each kind of a Shoot's
/// objects, one of the kind and one of the Clusters.
pub(crate) async fn watches(client: &Client, landscape: &Landscape) -> Result<Vec<AbortOnDropHandle<()>>, LoadError> {
    let mut watches = Vec::new();
    for kind in kinds_of(landscape).into_iter().flat_map(|kind| [kind, "Cluster"]) {
        let broken = |error: kube::Error| LoadError::Watch { kind, reason: error.to_string() };
        let uri = format!(
            "/apis/{GROUP}/{VERSION}/{}?watch=true&resourceVersion=0&allowWatchBookmarks=true&timeoutSeconds=86400",
            plural(kind)
        );
        let request = HttpRequest::get(uri).body(Vec::new()).map_err(|error| broken(kube::Error::HttpError(error)))?;
        let bytes = client.request_stream(request).await.map_err(broken)?;
        watches.push(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut bytes = std::pin::pin!(bytes);
            while let Ok(read) = bytes.fill_buf().await.map(<[u8]>::len) {
                if read == 0 {
                    return;
                }
                bytes.consume_unpin(read);
            }
        })));
    }
    Ok(watches)
}
