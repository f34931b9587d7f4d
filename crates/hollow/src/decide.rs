//! What a Shoot's API server has to be told next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::plan::{Machine, Plan, Wanted};
use crate::{address, node, pod};

/// Clouds keep the first addresses of a network.
const KEPT_BY_CLOUDS: u32 = 10;
/// The network's own address, and the gateway of its Pods.
const KEPT_BY_GATEWAY: u32 = 2;

/// What there is in a Shoot.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// All nodes.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// All Pods.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// The checksum of each OperatingSystemConfig, by the name of its Secret.
    pub(crate) checksums: BTreeMap<String, String>,
}

/// The addresses that were given out. What is seen may lag behind.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// By the node's name.
    nodes: HashMap<String, IpAddr>,
    /// By the Pod's UID.
    pods: HashMap<String, IpAddr>,
}

/// A request.
#[derive(Debug, PartialEq)]
pub(crate) enum Act {
    /// Creates a node.
    CreateNode(Box<Node>),
    /// Merges a patch into a node.
    PatchNode(String, Value),
    /// Reports a node's status.
    ReportNode(String, Box<NodeStatus>),
    /// Deletes a node.
    DeleteNode(String),
    /// Reports a Pod's status.
    ReportPod(Target, Box<PodStatus>),
    /// Removes a Pod: it has ended.
    RemovePod(Target),
}

/// A Pod. Its UID tells it from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What follows from what is seen.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// Requests, in their order.
    pub(crate) acts: Vec<Act>,
    /// A network without a free address.
    pub(crate) full: Option<IpNet>,
}

/// Decides what to request. New nodes come before the deletion of old ones, as in a rolling update.
pub(crate) fn decide(seen: &Seen, plan: &Plan, given: &mut Given, now: &Time) -> Decision {
    let empty = BTreeMap::new();
    let machines = match &plan.nodes {
        Wanted::Exactly(machines) => machines,
        Wanted::AsTheyAre | Wanted::Unattended => &empty,
    };
    let mut round = Round { seen, plan, given, now, decision: Decision::default() };
    round.forget(machines);
    for (name, machine) in machines {
        round.node(name, machine);
    }
    for node in seen.nodes.iter().filter(|node| node::is_ours(node)) {
        let name = node.name_any();
        match (machines.get(&name), &plan.nodes) {
            (Some(_), _) | (None, Wanted::Unattended) => {}
            (None, Wanted::Exactly(_)) if node.metadata.deletion_timestamp.is_some() => {}
            (None, Wanted::Exactly(_)) => round.decision.acts.push(Act::DeleteNode(name)),
            (None, Wanted::AsTheyAre) => round.kept(node),
        }
    }
    let nodes: HashMap<String, &Arc<Node>> = seen.nodes.iter().map(|node| (node.name_any(), node)).collect();
    for pod in &seen.pods {
        let Some(host) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) else { continue };
        match nodes.get(host) {
            Some(node) if node::is_ours(node) => round.pod(pod, node, machines.get(host)),
            // A node that was just created is not seen yet.
            None if !machines.contains_key(host) => round.remove(pod),
            _ => {}
        }
    }
    round.decision
}

struct Round<'a> {
    seen: &'a Seen,
    plan: &'a Plan,
    given: &'a mut Given,
    now: &'a Time,
    decision: Decision,
}

impl Round<'_> {
    /// Gives back the addresses of what is gone.
    fn forget(&mut self, machines: &BTreeMap<String, Machine>) {
        let uids: HashSet<_> = self.seen.pods.iter().filter_map(|pod| pod.uid()).collect();
        self.given.pods.retain(|uid, _| uids.contains(uid));
        self.given.nodes.retain(|name, _| machines.contains_key(name));
    }

    /// All addresses that are in use.
    fn taken(&self) -> HashSet<IpAddr> {
        let nodes = self.seen.nodes.iter().filter_map(|node| node::address(node));
        let pods = self.seen.pods.iter().filter_map(|pod| pod::address(pod));
        let given = self.given.nodes.values().chain(self.given.pods.values()).copied();
        nodes.chain(pods).chain(given).collect()
    }

    fn free(&mut self, network: IpNet, skipped: u32) -> Option<IpAddr> {
        let free = address::free(network, skipped, &self.taken());
        if free.is_none() {
            self.decision.full = Some(network);
        }
        free
    }

    /// A node of the plan.
    fn node(&mut self, name: &str, machine: &Machine) {
        let seen = self.seen.nodes.iter().find(|node| node.name_any() == name);
        let known = seen.and_then(|node| node::address(node)).or_else(|| self.given.nodes.get(name).copied());
        let Some(address) = known.or_else(|| self.free(self.plan.node_network, KEPT_BY_CLOUDS)) else { return };
        self.given.nodes.insert(name.to_owned(), address);
        let there = seen.map_or_else(|| node::new(name, machine), |node| node.as_ref().clone());
        if seen.is_none() {
            self.decision.acts.push(Act::CreateNode(Box::new(there.clone())));
        }
        // Nothing runs on a machine in trouble, gardener-node-agent included.
        let checksum = self.checksum(&there).filter(|_| machine.trouble.is_none());
        if seen.is_some()
            && let Some(patch) = node::difference(&there, machine, checksum)
        {
            self.decision.acts.push(Act::PatchNode(name.to_owned(), patch));
        }
        if let Some(status) = node::status(&there, machine, address, self.now) {
            self.decision.acts.push(Act::ReportNode(name.to_owned(), Box::new(status)));
        }
    }

    /// A node whose Worker is being reconciled.
    fn kept(&mut self, node: &Node) {
        let name = node.name_any();
        let checksum = self.checksum(node).filter(|_| node::is_ready(node));
        if let Some(patch) = checksum.and_then(|checksum| node::applied(node, checksum)) {
            self.decision.acts.push(Act::PatchNode(name.clone(), patch));
        }
        if let Some(status) = node::revived(node, self.now) {
            self.decision.acts.push(Act::ReportNode(name, Box::new(status)));
        }
    }

    /// The checksum of the node's OperatingSystemConfig.
    fn checksum(&self, node: &Node) -> Option<&str> {
        self.seen.checksums.get(node.labels().get(node::CONFIG)?).map(String::as_str)
    }

    /// A Pod on one of our nodes.
    fn pod(&mut self, pod: &Pod, node: &Node, machine: Option<&Machine>) {
        if pod.metadata.deletion_timestamp.is_some() {
            self.remove(pod);
            return;
        }
        let is_alive = node::is_ready(node) && machine.is_none_or(|machine| machine.trouble.is_none());
        let (true, false, Some(host), Some(target)) =
            (is_alive, pod::has_ended(pod), node::address(node), Target::of(pod))
        else {
            return;
        };
        let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
        let known = pod::address(pod).or_else(|| self.given.pods.get(&target.uid).copied());
        let known = known.or_else(|| on_host.then_some(host));
        let network = node::pod_network(node).unwrap_or(self.plan.pod_network);
        let Some(address) = known.or_else(|| self.free(network, KEPT_BY_GATEWAY)) else { return };
        if !on_host {
            self.given.pods.insert(target.uid.clone(), address);
        }
        let status = pod::compose(pod, &pod::Observed { address, host, running: BTreeMap::new() }, self.now);
        if pod.status.as_ref() != Some(&status) {
            self.decision.acts.push(Act::ReportPod(target, Box::new(status)));
        }
    }

    /// Removes a Pod that is deleted or has lost its node. With a finalizer it remains after that.
    fn remove(&mut self, pod: &Pod) {
        let is_removed = pod.metadata.deletion_grace_period_seconds == Some(0);
        self.decision.acts.extend(Target::of(pod).filter(|_| !is_removed).map(Act::RemovePod));
    }
}

impl Target {
    fn of(pod: &Pod) -> Option<Self> {
        Some(Self { namespace: pod.namespace()?, name: pod.name_any(), uid: pod.uid()? })
    }
}

#[cfg(test)]
mod tests;
