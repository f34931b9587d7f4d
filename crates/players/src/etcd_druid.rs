//! etcd: stands for etcd-druid. Each Etcd has its Services and a StatefulSet of one etcd with the TLS files of the Etcd.
//! An etcd with a store starts with its backup, and has a server that takes one. Leaves out clusters of several members,
//! TLS between members, and compaction.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::backup_store::Backups;
use crate::backups::{BackupServers, Source};
use crate::container::now;
use crate::error::Error;
use crate::player::{PLAYER, Seed, follow, name_of};
use crate::volumes::folder_of_claim;

/// gardenlet asks with this annotation, and waits until it is gone.
const OPERATION: &str = "gardener.cloud/operation";

/// The folder of an etcd in its volume.
const DATA: &str = "data";

/// What the player needs.
struct Druid {
    seed: Arc<Seed>,
    resource: ApiResource,
    backups: BackupServers,
}

/// Serves all Etcds for ever.
pub(crate) async fn play(seed: Arc<Seed>) {
    let resource = seed.custom_resource("etcds.druid.gardener.cloud").await;
    let api = Api::all_with(seed.client.clone(), &resource);
    let controller: Controller<DynamicObject> = Controller::new_with(api, watcher::Config::default(), resource.clone());
    let controller = controller.owns(Api::<StatefulSet>::all(seed.client.clone()), watcher::Config::default());
    let druid = Arc::new(Druid { seed, resource, backups: BackupServers::default() });
    let gone = |etcd: &ObjectRef<_>| {
        let key = (etcd.namespace.clone().unwrap_or_default(), etcd.name.clone());
        let druid = druid.clone();
        tokio::spawn(async move { druid.backups.stop(&key).await });
    };
    follow("etcd-druid", controller, druid.clone(), reconcile, gone).await;
}

async fn reconcile(etcd: Arc<DynamicObject>, druid: Arc<Druid>) -> Result<Action, Error> {
    if etcd.metadata.deletion_timestamp.is_some() {
        // Kubernetes deletes what an Etcd owns.
        return Ok(Action::await_change());
    }
    let (namespace, name) = name_of(etcd.as_ref());
    let client = &druid.seed.client;
    let apply = PatchParams::apply(PLAYER).force();
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    for port in [Port::Peer, Port::Client] {
        let service = service(&etcd, &druid.resource, port);
        let written = services.patch(&port.service(&name), &apply, &Patch::Apply(service)).await;
        let written = written.map_err(Error::api(format!("write a Service of Etcd {namespace}/{name}")))?;
        let address = written.spec.and_then(|spec| spec.cluster_ip).and_then(|address| address.parse().ok());
        if let Some(address) = address {
            serve_backups(&druid, &etcd, address).await?;
        }
    }
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let set = sets.patch(&name, &apply, &Patch::Apply(stateful_set(&etcd, &druid.resource))).await;
    let set = set.map_err(Error::api(format!("write StatefulSet {namespace}/{name}")))?;

    let etcds: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &druid.resource);
    let failed = || Error::api(format!("write the status of Etcd {namespace}/{name}"));
    if etcd.annotations().contains_key(OPERATION) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { OPERATION: null } } }));
        etcds.patch(&name, &PatchParams::default(), &patch).await.map_err(failed())?;
    }
    if let Some(status) = status(&etcd, &set, &serde_json::to_value(now()).unwrap_or_default()) {
        let patch = Patch::Merge(json!({ "status": status }));
        etcds.patch_status(&name, &PatchParams::default(), &patch).await.map_err(failed())?;
    }
    Ok(Action::await_change())
}

/// Restores the backup of an etcd that has never run, and serves the snapshots of one that runs, if it has a store.
async fn serve_backups(druid: &Druid, etcd: &DynamicObject, address: IpAddr) -> Result<(), Error> {
    let seed = &druid.seed;
    let Some(backups) = Backups::at(&seed.args.backups(), etcd, "/spec/backup/store")? else { return Ok(()) };
    let (namespace, name) = name_of(etcd);
    // The StatefulSet uses the claim of this name. It is created here so that its folder is filled before etcd starts.
    let claim = format!("{}-{name}-0", volume(etcd));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(seed.client.clone(), &namespace);
    let wanted = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": claim }, "spec": claim_spec(),
    });
    let written = claims.patch(&claim, &PatchParams::apply(PLAYER).force(), &Patch::Apply(wanted)).await;
    let written = written.map_err(Error::api(format!("write PersistentVolumeClaim {namespace}/{claim}")))?;
    let volume = folder_of_claim(&seed.args.root, &written.uid().unwrap_or_default());
    std::fs::create_dir_all(&volume).map_err(Error::io("create", volume.display()))?;
    let folder = volume.join(DATA);
    let (place, to) = (backups.clone(), folder.clone());
    let restored = spawn_blocking(move || place.restore(&to)).await.map_err(std::io::Error::other).flatten();
    if restored.map_err(Error::io("restore the backup of", format!("{namespace}/{name}")))? {
        tracing::info!(namespace, name, "an etcd starts with its backup");
    }
    let secret = text(etcd, "/spec/backup/tls/serverTLSSecretRef/name").unwrap_or_default().to_owned();
    let source = Source { namespace: namespace.clone(), secret, folder, backups };
    druid.backups.ensure(seed, (namespace, name), address, source).await
}

/// A port of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Client,
    Peer,
}

impl Port {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Client => 2379,
            Self::Peer => 2380,
        }
    }

    fn service(self, etcd: &str) -> String {
        format!("{etcd}-{}", self.name())
    }
}

/// The labels of the Pods of an Etcd. A webhook of gardener-resource-manager guards objects that are labelled as managed
/// by etcd-druid.
fn selector(etcd: &DynamicObject) -> BTreeMap<String, String> {
    let labels = [("app.kubernetes.io/part-of", etcd.name_any()), ("app.kubernetes.io/managed-by", PLAYER.to_owned())];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The metadata of an object that an Etcd owns.
fn metadata(etcd: &DynamicObject, resource: &ApiResource, name: &str) -> Value {
    json!({
        "namespace": etcd.namespace(),
        "name": name,
        "labels": selector(etcd),
        "ownerReferences": etcd.controller_owner_ref(resource).into_iter().collect::<Vec<_>>(),
    })
}

fn service(etcd: &DynamicObject, resource: &ApiResource, port: Port) -> Value {
    let mut metadata = metadata(etcd, resource, &port.service(&etcd.name_any()));
    let wanted = etcd.data.pointer("/spec/etcd/clientService");
    if let Some(wanted) = wanted.filter(|_| port == Port::Client) {
        metadata =
            merged(metadata, &json!({ "labels": wanted.get("labels"), "annotations": wanted.get("annotations") }));
    }
    let mut spec = json!({
        "selector": selector(etcd),
        "ports": [{ "name": port.name(), "port": port.number(), "targetPort": port.number(), "protocol": "TCP" }],
    });
    if port == Port::Peer {
        spec = merged(spec, &json!({ "clusterIP": "None", "publishNotReadyAddresses": true }));
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn stateful_set(etcd: &DynamicObject, resource: &ApiResource) -> Value {
    let name = etcd.name_any();
    let volume = volume(etcd);
    let labels = merged(json!(selector(etcd)), etcd.data.pointer("/spec/labels").unwrap_or(&Value::Null));
    let mut mounts = vec![json!({ "name": volume, "mountPath": "/var/etcd" })];
    let mut volumes = Vec::new();
    for (name, secret) in [("ca", "tlsCASecretRef"), ("server", "serverTLSSecretRef")] {
        if let Some(secret) = text(etcd, &format!("/spec/etcd/clientUrlTls/{secret}/name")) {
            mounts.push(json!({ "name": name, "mountPath": format!("/tls/{name}") }));
            volumes.push(json!({ "name": name, "secret": { "secretName": secret } }));
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(etcd, resource, &name),
        "spec": {
            "replicas": replicas(etcd),
            "serviceName": Port::Peer.service(&name),
            "selector": { "matchLabels": selector(etcd) },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [{
                        "name": "etcd", "image": "etcd", "args": arguments(etcd), "volumeMounts": mounts,
                        "readinessProbe": { "tcpSocket": { "port": Port::Client.number() } },
                    }],
                    "volumes": volumes,
                },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": volume },
                "spec": claim_spec(),
            }],
        },
    })
}

/// The name of the volume of an etcd, of which the names of its claims are made.
fn volume(etcd: &DynamicObject) -> &str {
    let name = etcd.metadata.name.as_deref().unwrap_or_default();
    text(etcd, "/spec/volumeClaimTemplate").unwrap_or(name)
}

fn claim_spec() -> Value {
    json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } })
}

/// The flags of etcd.
fn arguments(etcd: &DynamicObject) -> Vec<String> {
    let tls = etcd.data.pointer("/spec/etcd/clientUrlTls").is_some();
    let scheme = if tls { "https" } else { "http" };
    let peer = "http://127.0.0.1:2380";
    let mut flags = vec![
        format!("--data-dir=/var/etcd/{DATA}"),
        // Data does not outlive a crash of this machine.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
        format!("--listen-client-urls={scheme}://0.0.0.0:2379"),
        format!("--advertise-client-urls={scheme}://{}:2379", Port::Client.service(&etcd.name_any())),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    if tls {
        let ca = text(etcd, "/spec/etcd/clientUrlTls/tlsCASecretRef/dataKey").unwrap_or("ca.crt");
        flags.push("--cert-file=/tls/server/tls.crt".to_owned());
        flags.push("--key-file=/tls/server/tls.key".to_owned());
        flags.push("--client-cert-auth".to_owned());
        flags.push(format!("--trusted-ca-file=/tls/ca/{ca}"));
    }
    flags
}

/// The status of an Etcd with a StatefulSet. Returns `None` if the Etcd has this status already.
fn status(etcd: &DynamicObject, set: &StatefulSet, time: &Value) -> Option<Value> {
    let generation = etcd.metadata.generation;
    let replicas = replicas(etcd);
    let of_set = set.status.as_ref();
    let ready_replicas = i64::from(of_set.and_then(|status| status.ready_replicas).unwrap_or_default());
    let seen = of_set.and_then(|status| status.observed_generation) == set.metadata.generation;
    let ready = seen && ready_replicas >= replicas;
    let old = |path: &str| etcd.data.pointer(&format!("/status/{path}"));
    if old("ready").and_then(Value::as_bool) == Some(ready)
        && old("observedGeneration").and_then(Value::as_i64) == generation
        && old("readyReplicas").and_then(Value::as_i64) == Some(ready_replicas)
    {
        return None;
    }
    let condition = |type_: &str, holds: bool| {
        json!({
            "type": type_, "status": if holds { "True" } else { "False" }, "reason": "Played", "message": "",
            "lastTransitionTime": time, "lastUpdateTime": time,
        })
    };
    Some(json!({
        "observedGeneration": generation,
        "ready": ready,
        "replicas": replicas,
        "currentReplicas": of_set.and_then(|status| status.current_replicas).unwrap_or_default(),
        "readyReplicas": ready_replicas,
        "etcd": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": etcd.name_any() },
        "conditions": [
            condition("Ready", ready),
            condition("AllMembersReady", ready),
            condition("AllMembersUpdated", true),
            condition("DataVolumesReady", ready),
        ],
    }))
}

/// One member, or none while the Shoot is hibernated.
fn replicas(etcd: &DynamicObject) -> i64 {
    etcd.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1).clamp(0, 1)
}

fn text<'a>(etcd: &'a DynamicObject, path: &str) -> Option<&'a str> {
    etcd.data.pointer(path).and_then(Value::as_str)
}

/// An object with the fields of another one added. Fields without a value are not added.
fn merged(mut object: Value, other: &Value) -> Value {
    if let (Some(fields), Some(other)) = (object.as_object_mut(), other.as_object()) {
        for (name, value) in other.iter().filter(|(_, value)| !value.is_null()) {
            let old = fields.remove(name).unwrap_or(Value::Null);
            fields.insert(name.clone(), if old.is_object() { merged(old, value) } else { value.clone() });
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use kube::api::GroupVersionKind;

    use super::*;

    fn resource() -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("druid.gardener.cloud", "v1alpha1", "Etcd"))
    }

    fn etcd(status: &Value) -> DynamicObject {
        let tls = json!({
            "tlsCASecretRef": { "name": "ca-etcd", "dataKey": "bundle.crt" },
            "serverTLSSecretRef": { "name": "etcd-server" },
        });
        let spec = json!({
            "replicas": 3, "labels": { "gardener.cloud/role": "controlplane" }, "volumeClaimTemplate": "main-etcd",
            "etcd": { "clientUrlTls": tls, "clientService": { "labels": { "a": "b" }, "annotations": { "c": "d" } } },
        });
        let metadata = json!({ "namespace": "n", "name": "etcd-main", "uid": "u", "generation": 4 });
        serde_json::from_value(json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": metadata, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn objects_of_an_etcd_are_valid_and_owned_by_it() {
        let etcd = etcd(&json!({}));
        let set = stateful_set(&etcd, &resource());
        assert_eq!(set["spec"]["replicas"], 1);
        assert_eq!(set["spec"]["template"]["metadata"]["labels"]["gardener.cloud/role"], "controlplane");
        let set: StatefulSet = serde_json::from_value(set).unwrap();
        assert_eq!(set.metadata.owner_references.unwrap()[0].controller, Some(true));
        let client: Service = serde_json::from_value(service(&etcd, &resource(), Port::Client)).unwrap();
        assert_eq!(client.annotations()["c"], "d");
        assert_eq!((client.name_any().as_str(), client.labels()["a"].as_str()), ("etcd-main-client", "b"));
        let peer = service(&etcd, &resource(), Port::Peer);
        assert_eq!(peer["spec"]["clusterIP"], "None");
        assert_eq!(peer["metadata"]["annotations"], Value::Null);
    }

    #[test]
    fn etcd_without_tls_serves_plain_http() {
        let with = arguments(&etcd(&json!({})));
        assert!(with.contains(&"--trusted-ca-file=/tls/ca/bundle.crt".to_owned()), "{with:?}");
        let mut plain = etcd(&json!({}));
        plain.data["spec"]["etcd"] = json!({});
        assert!(arguments(&plain).contains(&"--listen-client-urls=http://0.0.0.0:2379".to_owned()));
        assert!(!arguments(&plain).iter().any(|flag| flag.contains("/tls/")));
    }

    #[test]
    fn no_object_is_labelled_as_managed_by_etcd_druid() {
        let etcd = etcd(&json!({}));
        let all = [stateful_set(&etcd, &resource()), service(&etcd, &resource(), Port::Client)];
        assert!(!json!(all).to_string().contains("etcd-druid"));
    }

    #[test]
    fn etcd_is_ready_once_its_stateful_set_is() {
        let set = |ready: i32, observed: i64| {
            let status = json!({ "replicas": 1, "readyReplicas": ready, "observedGeneration": observed });
            serde_json::from_value(json!({ "metadata": { "generation": 2 }, "status": status })).unwrap()
        };
        let time = json!("2026-01-01T00:00:00Z");
        let fresh = etcd(&json!({}));
        assert_eq!(status(&fresh, &set(0, 2), &time).unwrap()["ready"], false);
        assert_eq!(status(&fresh, &set(1, 1), &time).unwrap()["ready"], false);
        let ready = status(&fresh, &set(1, 2), &time).unwrap();
        assert_eq!((&ready["ready"], &ready["observedGeneration"]), (&json!(true), &json!(4)));
        assert_eq!(status(&etcd(&ready), &set(1, 2), &time), None);
    }
}
