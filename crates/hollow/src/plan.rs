//! What a Shoot's nodes should be.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a Shoot's nodes should be, and where their addresses come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The nodes.
    pub nodes: Wanted,
    /// The network of the nodes.
    pub node_network: IpNet,
    /// The Shoot's network of Pods. kube-controller-manager may give a node a part of it. Then the node's Pods get addresses
    /// of that part.
    pub pod_network: IpNet,
}

/// Which nodes should exist.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Exactly these, by name.
    Exactly(BTreeMap<String, Machine>),
    /// Those that exist, such as while their Worker is being reconciled.
    AsTheyAre,
    /// The Shoot is left alone: its API server does not run, or the nodes belong to another seed.
    Unattended,
}

/// A machine that exists for a Worker alone, as its node shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the node.
    pub annotations: BTreeMap<String, String>,
    /// Taints of the node.
    pub taints: Vec<Taint>,
    /// Resources besides those that every machine has.
    pub capacity: BTreeMap<String, Quantity>,
    /// Version of the kubelet, such as `v1.35.2`.
    pub kubelet_version: String,
    /// Name and version of the operating system's image.
    pub os_image: String,
    /// Architecture, as Go names it.
    pub architecture: String,
    /// Why the node is not ready. `None` if it is ready.
    pub trouble: Option<Trouble>,
}

/// Why a node is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One word.
    pub reason: String,
    /// Text for people.
    pub message: String,
}

impl Plan {
    /// The same networks without any node.
    pub(crate) fn emptied(&self) -> Self {
        Self { nodes: Wanted::Exactly(BTreeMap::new()), ..self.clone() }
    }
}

impl Wanted {
    /// Whether no node should exist.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Exactly(machines) if machines.is_empty())
    }
}
