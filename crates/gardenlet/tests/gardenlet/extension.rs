//! An extension that follows the contract, for all kinds.

use extension_contract::kinds::{Kind, Reader};
use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, kinds, whole_seconds};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{BACKUP_BUCKET, BACKUP_ENTRY, FINALIZER, INFRASTRUCTURE, OPERATING_SYSTEM_CONFIG, WORKER, api};

/// Plays an extension that reconciles the objects of all kinds and follows the contract.
pub(crate) fn play_extension(client: &Client) -> JoinSet<()> {
    kinds::ALL.into_iter().map(|kind| reconcile_all(client.clone(), kind)).collect()
}

async fn reconcile_all(client: Client, kind: &'static Kind) {
    let events = watcher(api(&client, kind.name, None), watcher::Config::default()).default_backoff().applied_objects();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        // A conflict is resolved by the next event.
        let _ = reconcile(&client, kind, &serde_json::to_value(&object).unwrap()).await;
    }
}

pub(crate) async fn reconcile(client: &Client, kind: &Kind, object: &Value) -> kube::Result<()> {
    let metadata = &object["metadata"];
    let (name, namespace) = (metadata["name"].as_str().unwrap(), metadata["namespace"].as_str());
    let api = api(client, kind.name, namespace);
    let patch = async |patch: Value| api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let requested = metadata["annotations"][OPERATION_ANNOTATION].as_str();
    let operation = match requested {
        Some("reconcile") => "Reconcile",
        Some("restore") => "Restore",
        Some("migrate") => "Migrate",
        _ if metadata["deletionTimestamp"].is_string() => {
            return patch(json!({"metadata": {"finalizers": null}})).await.map(drop);
        }
        _ => return Ok(()),
    };
    let is_migration = operation == "Migrate";
    let mut status = json!({
        "observedGeneration": metadata["generation"],
        "lastError": null,
        "lastOperation": {
            "type": operation,
            "state": "Succeeded",
            "progress": 100,
            // gardenlet must notice a success in the same second as the previous one.
            "description": format!("done for {}", metadata["annotations"][TIMESTAMP_ANNOTATION]),
            "lastUpdateTime": whole_seconds(Timestamp::now()).to_string(),
        },
    });
    if !is_migration {
        report_results(client, kind.name, object, &mut status).await?;
    }
    let finalizers = if is_migration { Value::Null } else { json!([FINALIZER]) };
    let finish = json!({"metadata": {"annotations": {OPERATION_ANNOTATION: null}, "finalizers": finalizers}});
    let write =
        async || api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await;
    if kind.reader == Reader::Watches && requested == Some("reconcile") {
        patch(finish).await?;
        write().await.map(drop)
    } else {
        write().await?;
        patch(finish).await.map(drop)
    }
}

/// Adds to a status what gardenlet reads from it, by kind.
async fn report_results(client: &Client, kind: &str, object: &Value, status: &mut Value) -> kube::Result<()> {
    match kind {
        INFRASTRUCTURE => {
            status["nodesCIDR"] = json!("10.10.0.0/16");
            status["state"] = json!({"made": "once"});
            status["providerStatus"] = json!({"id": "x"});
        }
        WORKER => {
            // The time must be in a later second than the previous one.
            let now = Timestamp::now();
            let previous = object["status"]["machineDeploymentsLastUpdateTime"].as_str();
            let earliest = previous.map(|previous| previous.parse::<Timestamp>().unwrap() + 1.second());
            let time = whole_seconds(earliest.map_or(now, |earliest| earliest.max(now)));
            status["machineDeployments"] = json!([]);
            status["machineDeploymentsLastUpdateTime"] = json!(time.to_string());
        }
        OPERATING_SYSTEM_CONFIG => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            let name = format!("osc-{}", object["metadata"]["name"].as_str().unwrap());
            write_secret(client, namespace, &name, "cloud_config").await?;
            status["cloudConfig"] = json!({"secretRef": {"name": name, "namespace": namespace}});
        }
        BACKUP_BUCKET => {
            write_secret(client, "garden", "generated", "key").await?;
            status["generatedSecretRef"] = json!({"name": "generated", "namespace": "garden"});
            status["providerStatus"] = json!({"id": "bucket"});
        }
        BACKUP_ENTRY => {
            let (namespace, _) = object["metadata"]["name"].as_str().unwrap().rsplit_once("--").unwrap();
            write_secret(client, namespace, "etcd-backup", "bucketName").await?;
        }
        _ => {}
    }
    Ok(())
}

async fn write_secret(client: &Client, namespace: &str, name: &str, key: &str) -> kube::Result<()> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: "x"}});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.patch(name, &PatchParams::apply("by-hand").force(), &Patch::Apply(secret)).await.map(drop)
}
