//! Nodes: stands for the part of a kubelet that registers its Node and renews its Lease. Leaves out eviction, images,
//! and changes of the machine: the nodes are healthy, and large enough for every Pod.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mock_hollow::node::{KUBELET_PORT, lease};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::SeedArgs;
use crate::error::Error;
use crate::player::{PLAYER, Seed};

/// How often a kubelet renews its Lease.
const RENEW: Duration = Duration::from_secs(10);

/// Creates the nodes, or takes over those of an earlier run.
pub(crate) async fn register(seed: &Seed) -> Result<(), Error> {
    let api: Api<Node> = Api::all(seed.client.clone());
    for number in 0..seed.args.nodes {
        let name = SeedArgs::node_name(number);
        let failed = || Error::api(format!("register Node {name}"));
        let apply = PatchParams::apply(PLAYER).force();
        api.patch(&name, &apply, &Patch::Apply(node(&seed.args, number))).await.map_err(failed())?;
        // An admission plugin taints each new Node until its kubelet is ready.
        let untaint = Patch::Merge(json!({ "spec": { "taints": null } }));
        api.patch(&name, &PatchParams::default(), &untaint).await.map_err(failed())?;
        let status = Patch::Merge(json!({ "status": status(&seed.args, number, Timestamp::now()) }));
        api.patch_status(&name, &PatchParams::default(), &status).await.map_err(failed())?;
    }
    Ok(())
}

/// Renews the Leases of the nodes for ever.
pub(crate) async fn renew_leases(seed: Arc<Seed>) {
    let api: Api<Lease> = Api::namespaced(seed.client.clone(), "kube-node-lease");
    let mut ticks = interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for number in 0..seed.args.nodes {
            let name = SeedArgs::node_name(number);
            let lease = lease(&name, None, Timestamp::now());
            let renewed = api.patch(&name, &PatchParams::apply(PLAYER).force(), &Patch::Apply(lease)).await;
            if let Err(error) = renewed {
                tracing::debug!(name, %error, "cannot renew the Lease; trying again");
            }
        }
    }
}

/// The object of a node.
fn node(args: &SeedArgs, number: u8) -> Value {
    let name = SeedArgs::node_name(number);
    let zone = args.zones.get(usize::from(number) % args.zones.len().max(1));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture(),
                "node.kubernetes.io/instance-type": PLAYER,
                "topology.kubernetes.io/region": args.region,
                "topology.kubernetes.io/zone": zone,
            },
        },
        "spec": { "providerID": format!("{PLAYER}://{name}") },
    })
}

/// The status of a healthy node.
fn status(args: &SeedArgs, number: u8, now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let size = json!({ "cpu": "1000", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "5000" });
    json!({
        "capacity": size,
        "allocatable": size,
        // API servers prefer host names to addresses, and no DNS knows the name of a node.
        "addresses": [{ "type": "InternalIP", "address": args.node_address(number) }],
        "nodeInfo": {
            "kubeletVersion": args.version, "kubeProxyVersion": "", "architecture": architecture(),
            "operatingSystem": "linux", "osImage": PLAYER, "containerRuntimeVersion": format!("{PLAYER}://1"),
            "kernelVersion": "", "machineID": "", "systemUUID": "", "bootID": "",
        },
        "daemonEndpoints": { "kubeletEndpoint": { "Port": KUBELET_PORT } },
        "conditions": conditions(&json!(now)),
    })
}

/// The conditions of a healthy node since a time.
fn conditions(time: &Value) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": "Played", "message": "",
            "lastHeartbeatTime": time, "lastTransitionTime": time,
        })
    };
    json!([
        condition("Ready", "True"),
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("NetworkUnavailable", "False"),
    ])
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
