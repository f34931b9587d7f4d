//! Which nodes a Shoot has, and what they report.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::kubelet_port;
use crate::nodes::{architecture, conditions};
use crate::player::PLAYER;

/// Gardener's defaults for networks that a Cluster does not say (`pkg/apis/core/v1beta1/defaults_shoot.go`).
const NODES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 250, 0, 0), 16);
const PODS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 11);

/// The first address of a node. Clouds keep the ones before.
const FIRST: u32 = 10;

/// What is needed of a Cluster.
#[derive(Debug)]
pub(super) struct Facts {
    /// Name of the Shoot, and of its Worker.
    pub(super) name: String,
    pub(super) hibernated: bool,
    pub(super) region: String,
    pub(super) nodes: Ipv4Net,
    pub(super) pods: Ipv4Net,
}

impl Facts {
    /// Reads a Cluster. What it does not say has Gardener's default.
    pub(super) fn of(cluster: &Value) -> Self {
        let at = |path: &str| cluster.pointer(&format!("/spec/shoot{path}"));
        let text = |path: &str| at(path).and_then(Value::as_str).unwrap_or_default();
        let net = |path: &str| text(path).parse::<Ipv4Net>().ok();
        Self {
            name: text("/metadata/name").to_owned(),
            hibernated: at("/spec/hibernation/enabled").and_then(Value::as_bool).unwrap_or_default(),
            region: text("/spec/region").to_owned(),
            nodes: net("/spec/networking/nodes").unwrap_or(NODES),
            pods: net("/spec/networking/pods").unwrap_or(PODS),
        }
    }
}

/// The nodes that should exist.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// Those that exist: the Worker is being reconciled.
    AsTheyAre,
    /// Exactly these, each with its pool.
    Exactly(BTreeMap<String, Value>),
}

/// The nodes that a Worker wants. Its machines, hence its nodes, go with it and when the Shoot hibernates.
pub(super) fn wanted(namespace: &str, facts: &Facts, worker: Option<&DynamicObject>) -> Wanted {
    let Some(worker) = worker.filter(|worker| worker.metadata.deletion_timestamp.is_none() && !facts.hibernated) else {
        return Wanted::Exactly(BTreeMap::new());
    };
    if worker.data.pointer("/status/lastOperation/state") != Some(&json!("Succeeded")) {
        return Wanted::AsTheyAre;
    }
    let pools = worker.data.pointer("/spec/pools").and_then(Value::as_array).into_iter().flatten();
    let nodes = pools.flat_map(|pool| {
        let name = pool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let minimum = pool.get("minimum").and_then(Value::as_u64).unwrap_or_default();
        let zones = pool.get("zones").and_then(Value::as_array).map_or(1, Vec::len).max(1);
        (0..minimum).zip((1..=zones).cycle()).map(move |(number, zone)| {
            let mut pool = pool.clone();
            let chosen = pool.get("zones").and_then(|zones| zones.get(zone - 1)).cloned();
            if let Some(fields) = pool.as_object_mut() {
                fields.insert("zone".to_owned(), chosen.unwrap_or_default());
            }
            (format!("{namespace}-{name}-z{zone}-{number}"), pool)
        })
    });
    Wanted::Exactly(nodes.collect())
}

/// The first address for a node that is not taken.
pub(super) fn free(net: Ipv4Net, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let first = net.network().to_bits().saturating_add(FIRST);
    (first..net.broadcast().to_bits()).map(Ipv4Addr::from_bits).find(|address| !taken.contains(address))
}

/// The object of a node. machine-controller-manager ignores it: it has no machine.
pub(super) fn node(name: &str, pool: &Value, facts: &Facts) -> Value {
    let map = |field: &str| pool.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    let own = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": pool.get("architecture").and_then(Value::as_str).unwrap_or(architecture()),
        "node.kubernetes.io/instance-type": pool.get("machineType").and_then(Value::as_str).unwrap_or(PLAYER),
        "topology.kubernetes.io/region": facts.region,
        "topology.kubernetes.io/zone": pool.get("zone").and_then(Value::as_str).unwrap_or(&facts.region),
    });
    let annotations = json!({ "node.machine.sapcloud.io/not-managed-by-mcm": "1" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": with(map("labels"), own),
            "annotations": with(map("annotations"), annotations),
        },
        "spec": { "providerID": format!("{PLAYER}://{name}"), "taints": pool.get("taints").cloned().unwrap_or(json!([])) },
    })
}

/// A map with the entries of another one added.
fn with(mut map: Map<String, Value>, other: Value) -> Map<String, Value> {
    if let Value::Object(other) = other {
        map.extend(other);
    }
    map
}

/// The status of a healthy node.
pub(super) fn status(name: &str, pool: &Value, address: Ipv4Addr, now: &Time) -> Value {
    let version = pool.get("kubernetesVersion").and_then(Value::as_str).unwrap_or_default();
    let size = json!({ "cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110" });
    json!({
        "capacity": size,
        "allocatable": size,
        "addresses": [
            { "type": "InternalIP", "address": address },
            { "type": "Hostname", "address": name },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet_port::PORT } },
        "nodeInfo": {
            "kubeletVersion": format!("v{version}"), "kubeProxyVersion": "", "architecture": architecture(),
            "operatingSystem": "linux", "osImage": PLAYER, "containerRuntimeVersion": format!("{PLAYER}://1"),
            "kernelVersion": "", "machineID": "", "systemUUID": "", "bootID": "",
        },
        "conditions": conditions(&json!(now)),
    })
}

/// The address of a node.
pub(super) fn address_of_node(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()
}

/// The address that a Pod's status reports, if there is one.
pub(super) fn address_of_pod(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// True for a Pod that ran to its end.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(hibernated: bool) -> Facts {
        Facts::of(&json!({ "spec": { "shoot": {
            "metadata": { "name": "a" },
            "spec": { "region": "nowhere", "hibernation": { "enabled": hibernated }, "networking": { "nodes": "10.11.0.0/16" } },
        } } }))
    }

    fn worker(state: &str) -> DynamicObject {
        let pools = json!([
            { "name": "big", "minimum": 3, "zones": ["a", "b"] },
            { "name": "none", "minimum": 0 },
        ]);
        serde_json::from_value(json!({
            "metadata": {}, "spec": { "pools": pools }, "status": { "lastOperation": { "state": state } },
        }))
        .unwrap()
    }

    #[test]
    fn each_pool_has_its_minimum_of_nodes_in_its_zones() {
        let Wanted::Exactly(nodes) = wanted("n", &facts(false), Some(&worker("Succeeded"))) else {
            panic!("nodes are kept");
        };
        let names: Vec<_> = nodes.iter().map(|(name, pool)| (name.as_str(), pool["zone"].as_str().unwrap())).collect();
        assert_eq!(names, [("n-big-z1-0", "a"), ("n-big-z1-2", "a"), ("n-big-z2-1", "b")]);
    }

    #[test]
    fn nodes_stay_while_the_worker_is_reconciled_and_go_with_it() {
        let none = Wanted::Exactly(BTreeMap::new());
        assert_eq!(wanted("n", &facts(false), Some(&worker("Processing"))), Wanted::AsTheyAre);
        assert_eq!(wanted("n", &facts(true), Some(&worker("Processing"))), none);
        assert_eq!(wanted("n", &facts(false), None), none);
    }

    #[test]
    fn node_is_what_its_pool_says() {
        let pool = json!({ "labels": { "x": "y" }, "taints": [{ "key": "k", "effect": "NoSchedule" }], "zone": "a" });
        let node = node("n-0", &pool, &facts(false));
        let node: Node = serde_json::from_value(node).unwrap();
        let labels = node.metadata.labels.unwrap();
        assert_eq!((labels["x"].as_str(), labels["topology.kubernetes.io/zone"].as_str()), ("y", "a"));
        assert_eq!(node.spec.unwrap().taints.unwrap()[0].key, "k");
    }

    #[test]
    fn nodes_have_different_addresses() {
        let first = free(facts(false).nodes, &[]).unwrap();
        assert_eq!(first.to_string(), "10.11.0.10");
        assert_eq!(free(facts(false).nodes, &[first]).unwrap().to_string(), "10.11.0.11");
    }
}
