//! The objects of a node: what kubelet, machine-controller-manager and gardener-node-agent write.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use crate::plan::{Machine, Trouble};

/// Scheme of the provider's IDs, by which our nodes are known.
const PROVIDER: &str = "mock://";
/// The port of kubelets.
pub const KUBELET_PORT: u16 = 10250;
/// How long a Lease lasts that is not renewed, in seconds (`nodeLeaseDurationSeconds` of a kubelet).
const LEASE: u32 = 40;

/// Checksum of the OperatingSystemConfig that gardener-node-agent has applied
/// (`pkg/gardenlet/operation/botanist/worker.go`).
pub(crate) const CHECKSUM: &str = "checksum/cloud-config-data";
/// Name of the Secret with the node's OperatingSystemConfig (`pkg/utils/gardener/shoot.go`).
pub(crate) const CONFIG: &str = "worker.gardener.cloud/gardener-node-agent-secret-name";
/// Keeps the care controllers of gardenlet from looking for the node's Machine
/// (`pkg/gardenlet/controller/shoot/care/health.go`).
const UNMANAGED: &str = "node.machine.sapcloud.io/not-managed-by-mcm";
/// What the pool demanded when it was applied the last time: it may have lost a label, an annotation or a taint since.
const APPLIED: &str = "mock.extensions.gardener.cloud/applied";

/// Whether the node is one of ours.
pub(crate) fn is_ours(node: &Node) -> bool {
    let id = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref());
    id.is_some_and(|id| id.starts_with(PROVIDER))
}

/// The address of a node.
#[must_use]
pub fn address(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()
}

/// The network of the node's Pods, if kube-controller-manager has given it one.
pub(crate) fn pod_network(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// Whether the node's kubelet would answer.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The Lease of a node.
#[must_use]
pub fn lease(name: &str, uid: Option<&str>, now: Timestamp) -> Value {
    // With its node, the Lease is deleted.
    let owner = uid.map(|uid| json!({ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }));
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name, "ownerReferences": owner.into_iter().collect::<Vec<_>>() },
        // A MicroTime has six digits.
        "spec": { "holderIdentity": name, "leaseDurationSeconds": LEASE, "renewTime": format!("{now:.6}") },
    })
}

/// A new node. Its status is reported separately.
pub(crate) fn new(name: &str, machine: &Machine) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(name.to_owned());
    node.metadata.labels = Some(labels(name, machine));
    node.metadata.annotations = Some(annotations(machine));
    let spec = node.spec.get_or_insert_default();
    spec.provider_id = Some(format!("{PROVIDER}{name}"));
    spec.taints = Some(machine.taints.clone());
    node
}

/// What a node lacks of its machine's labels, annotations and taints, and of the checksum, as a merge patch. Returns
/// `None` if it lacks nothing. What others have added stays.
pub(crate) fn difference(node: &Node, machine: &Machine, checksum: Option<&str>) -> Option<Value> {
    let applied: Value =
        node.annotations().get(APPLIED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut metadata = Map::new();
    let mut annotations = annotations(machine);
    annotations.extend(checksum.map(|checksum| (CHECKSUM.to_owned(), checksum.to_owned())));
    let labels = labels(&node.name_any(), machine);
    for (field, there, wanted) in [("labels", node.labels(), labels), ("annotations", node.annotations(), annotations)]
    {
        let lacking = wanted.iter().filter(|(key, value)| there.get(*key) != Some(value));
        let mut changes: Map<String, Value> =
            lacking.map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        let gone = keys(&applied, field).filter(|key| there.contains_key(*key) && !wanted.contains_key(*key));
        changes.extend(gone.map(|key| (key.to_owned(), Value::Null)));
        if !changes.is_empty() {
            metadata.insert(field.to_owned(), Value::Object(changes));
        }
    }
    let there: &[Taint] = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let before: Vec<Taint> =
        serde_json::from_value(applied.get("taints").cloned().unwrap_or_default()).unwrap_or_default();
    let of_others = there.iter().filter(|taint| !has(&before, taint) && !has(&machine.taints, taint));
    let taints: Vec<Taint> = of_others.chain(&machine.taints).cloned().collect();
    let are_there = taints.len() == there.len() && taints.iter().all(|taint| there.contains(taint));
    if metadata.is_empty() && are_there {
        return None;
    }
    // The list of taints is replaced as a whole: a conflict must not undo a change of another writer.
    metadata.insert("resourceVersion".to_owned(), json!(node.metadata.resource_version));
    let mut patch = json!({ "metadata": metadata });
    if let Some(patch) = patch.as_object_mut().filter(|_| !are_there) {
        patch.insert("spec".to_owned(), json!({ "taints": taints }));
    }
    Some(patch)
}

/// What a node lacks of a checksum, as a merge patch. Returns `None` if it has it.
pub(crate) fn applied(node: &Node, checksum: &str) -> Option<Value> {
    let is_there = node.annotations().get(CHECKSUM).is_some_and(|there| there == checksum);
    (!is_there).then(|| json!({ "metadata": { "annotations": { CHECKSUM: checksum } } }))
}

/// Whether the list has a taint of this key and effect, which identify it.
fn has(taints: &[Taint], taint: &Taint) -> bool {
    taints.iter().any(|other| (&other.key, &other.effect) == (&taint.key, &taint.effect))
}

fn keys<'a>(applied: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    applied.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn labels(name: &str, machine: &Machine) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", &machine.architecture),
        // A kubelet adds these beside the current names.
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", &machine.architecture),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    machine.labels.clone().into_iter().chain(own).collect()
}

fn annotations(machine: &Machine) -> BTreeMap<String, String> {
    let applied = json!({
        "labels": machine.labels.keys().collect::<Vec<_>>(),
        "annotations": machine.annotations.keys().collect::<Vec<_>>(),
        "taints": machine.taints,
    });
    let own = [(UNMANAGED.to_owned(), "1".to_owned()), (APPLIED.to_owned(), applied.to_string())];
    machine.annotations.clone().into_iter().chain(own).collect()
}

/// The status that the node's kubelet should report next. Returns `None` if it has reported that. What others have
/// reported stays.
pub(crate) fn status(node: &Node, machine: &Machine, address: IpAddr, now: &Time) -> Option<NodeStatus> {
    let there = node.status.clone().unwrap_or_default();
    let mut status = there.clone();
    let conditions = status.conditions.get_or_insert_default();
    for (type_, wanted) in conditions_of(machine.trouble.as_ref()) {
        set(conditions, type_, &wanted, now);
    }
    let addresses = [("InternalIP", address.to_string()), ("Hostname", node.name_any())];
    status.addresses = Some(addresses.map(|(type_, address)| NodeAddress { type_: type_.to_owned(), address }).into());
    let endpoint = DaemonEndpoint { port: KUBELET_PORT.into() };
    status.daemon_endpoints = Some(NodeDaemonEndpoints { kubelet_endpoint: Some(endpoint) });
    let info = status.node_info.get_or_insert_default();
    // The API server would not keep the other fields, if they were absent.
    *info = NodeSystemInfo {
        architecture: machine.architecture.clone(),
        container_runtime_version: format!("{PROVIDER}1"),
        kubelet_version: machine.kubelet_version.clone(),
        operating_system: "linux".to_owned(),
        os_image: machine.os_image.clone(),
        ..info.clone()
    };
    if status == there && there.capacity.is_some() {
        return None;
    }
    // The API server writes quantities in another way, so that they are not compared. Whatever changes them rolls the
    // pool.
    status.capacity = Some(capacity(machine));
    status.allocatable.clone_from(&status.capacity);
    Some(status)
}

/// The status of a healthy node after kube-controller-manager has missed its Lease for a while. Returns `None` if it has
/// not.
pub(crate) fn revived(node: &Node, now: &Time) -> Option<NodeStatus> {
    let mut status = node.status.clone()?;
    let conditions = status.conditions.as_mut()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "Unknown")?;
    for (type_, wanted) in conditions_of(None) {
        set(conditions, type_, &wanted, now);
    }
    Some(status)
}

fn capacity(machine: &Machine) -> BTreeMap<String, Quantity> {
    let every = [("cpu", "4"), ("memory", "16Gi"), ("ephemeral-storage", "100Gi"), ("pods", "110")];
    let every = every.map(|(resource, size)| (resource.to_owned(), Quantity(size.to_owned())));
    every.into_iter().chain(machine.capacity.clone()).collect()
}

/// Status, reason and message of each condition that a kubelet reports.
fn conditions_of(trouble: Option<&Trouble>) -> [(&'static str, [String; 3]); 5] {
    let text = |parts: [&str; 3]| parts.map(str::to_owned);
    let ready = match trouble {
        None => text(["True", "KubeletReady", "hollow node: nothing runs on it"]),
        Some(trouble) => text(["False", &trouble.reason, &trouble.message]),
    };
    [
        ("Ready", ready),
        ("MemoryPressure", text(["False", "KubeletHasSufficientMemory", ""])),
        ("DiskPressure", text(["False", "KubeletHasNoDiskPressure", ""])),
        ("PIDPressure", text(["False", "KubeletHasSufficientPID", ""])),
        ("NetworkUnavailable", text(["False", "RouteCreated", ""])),
    ]
}

/// Sets a condition. Its time changes only with its status.
fn set(conditions: &mut Vec<NodeCondition>, type_: &str, [status, reason, message]: &[String; 3], now: &Time) {
    let before = conditions.iter().find(|condition| condition.type_ == type_).cloned();
    let (status, reason, message) = (status.clone(), Some(reason.clone()), Some(message.clone()));
    // An API server leaves out an empty message.
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let is_same = before.as_ref().is_some_and(|before| {
        before.status == status && before.reason == reason && said(&before.message) == said(&message)
    });
    if is_same {
        return;
    }
    let since = before.filter(|before| before.status == status).and_then(|before| before.last_transition_time);
    let condition = NodeCondition {
        type_: type_.to_owned(),
        status,
        reason,
        message,
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
    };
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(condition);
}

#[cfg(test)]
mod tests;
