use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::plan::Trouble;

fn now() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

fn machine() -> Machine {
    let labels = BTreeMap::from([(node::CONFIG.to_owned(), "config".to_owned())]);
    Machine { labels, kubelet_version: "v1.35.2".to_owned(), ..Machine::default() }
}

fn troubled() -> Machine {
    Machine { trouble: Some(Trouble { reason: "Dead".to_owned(), message: "m".to_owned() }), ..machine() }
}

fn plan(machines: &[(&str, Machine)]) -> Plan {
    let machines = machines.iter().map(|(name, machine)| ((*name).to_owned(), machine.clone()));
    as_wanted(Wanted::Exactly(machines.collect()))
}

fn as_wanted(nodes: Wanted) -> Plan {
    Plan { nodes, node_network: "10.11.0.0/16".parse().unwrap(), pod_network: "100.64.0.0/11".parse().unwrap() }
}

fn pod(name: &str, host: &str, spec: Value) -> Pod {
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": { "namespace": "n", "name": name, "uid": name },
        "spec": { "nodeName": host, "containers": [{ "name": "c", "image": "i" }] },
    }))
    .unwrap();
    let more: k8s_openapi::api::core::v1::PodSpec = serde_json::from_value(spec).unwrap();
    pod.spec.as_mut().unwrap().host_network = more.host_network;
    pod
}

/// A Shoot whose API server does what it is asked.
#[derive(Default)]
struct Model {
    seen: Seen,
    given: Given,
}

impl Model {
    fn decide(&mut self, plan: &Plan) -> Decision {
        decide(&self.seen, plan, &mut self.given, &now())
    }

    /// Decides and does everything, until there is nothing left to do.
    fn settle(&mut self, plan: &Plan) -> Vec<Act> {
        let mut all = Vec::new();
        for _ in 0..5 {
            let acts = self.decide(plan).acts;
            if acts.is_empty() {
                return all;
            }
            for act in acts {
                self.apply(&act);
                all.push(act);
            }
        }
        panic!("it does not come to an end: {all:#?}");
    }

    fn apply(&mut self, act: &Act) {
        let nodes = &mut self.seen.nodes;
        match act {
            Act::CreateNode(node) => nodes.push(Arc::new(node.as_ref().clone())),
            Act::DeleteNode(name) => nodes.retain(|node| node.name_any() != *name),
            Act::PatchNode(name, patch) => {
                let node = nodes.iter_mut().find(|node| node.name_any() == *name).unwrap();
                let annotations = patch["metadata"]["annotations"].as_object().unwrap();
                for (key, value) in annotations {
                    Arc::make_mut(node).annotations_mut().insert(key.clone(), value.as_str().unwrap().to_owned());
                }
            }
            Act::ReportNode(name, status) => {
                let node = nodes.iter_mut().find(|node| node.name_any() == *name).unwrap();
                Arc::make_mut(node).status = Some(status.as_ref().clone());
            }
            Act::ReportPod(target, status) => {
                let pod = self.seen.pods.iter_mut().find(|pod| pod.name_any() == target.name).unwrap();
                Arc::make_mut(pod).status = Some(status.as_ref().clone());
            }
            Act::RemovePod(target) => self.seen.pods.retain(|pod| pod.name_any() != target.name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.seen.nodes.iter().map(|node| node.name_any()).collect();
        names.sort();
        names
    }

    fn node(&self, name: &str) -> &Node {
        self.seen.nodes.iter().find(|node| node.name_any() == name).unwrap()
    }

    fn phase(&self, name: &str) -> Option<&str> {
        let pod = self.seen.pods.iter().find(|pod| pod.name_any() == name)?;
        pod.status.as_ref()?.phase.as_deref()
    }

    fn add(&mut self, pod: Pod) {
        self.seen.pods.push(Arc::new(pod));
    }
}

#[test]
fn nodes_follow_the_plan_and_new_ones_come_before_old_ones_go() {
    let mut model = Model::default();
    model.settle(&plan(&[("a", machine()), ("b", machine())]));
    assert_eq!(model.names(), ["a", "b"]);
    let addresses: BTreeSet<_> = model.seen.nodes.iter().filter_map(|node| node::address(node)).collect();
    assert_eq!(addresses.len(), 2);

    let acts = model.settle(&plan(&[("b", machine()), ("c", machine())]));
    assert!(matches!(acts.as_slice(), [Act::CreateNode(_), Act::ReportNode(..), Act::DeleteNode(_)]), "{acts:?}");
    assert_eq!(model.names(), ["b", "c"]);
    model.settle(&plan(&[]));
    assert!(model.seen.nodes.is_empty());
}

#[test]
fn nodes_of_others_are_left_alone() {
    let mut model = Model::default();
    let foreign = json!({ "metadata": { "name": "foreign" }, "spec": { "providerID": "aws:///x" } });
    model.seen.nodes.push(Arc::new(serde_json::from_value(foreign).unwrap()));
    model.add(pod("p", "foreign", json!({})));
    assert_eq!(model.decide(&plan(&[])), Decision::default());
}

#[test]
fn unattended_and_kept_nodes_stay_and_kept_ones_follow_their_checksum() {
    let mut model = Model::default();
    model.settle(&plan(&[("a", machine())]));
    for nodes in [Wanted::Unattended, Wanted::AsTheyAre] {
        assert_eq!(model.decide(&as_wanted(nodes)), Decision::default());
    }
    model.seen.checksums.insert("config".to_owned(), "1".to_owned());
    model.settle(&as_wanted(Wanted::AsTheyAre));
    assert_eq!(model.node("a").annotations()[node::CHECKSUM], "1");
}

#[test]
fn checksum_follows_the_secret_of_the_nodes_pool_and_a_machine_in_trouble_does_not() {
    let mut model = Model::default();
    let plan = plan(&[("a", machine()), ("dead", troubled())]);
    for checksum in ["1", "2"] {
        model.seen.checksums = BTreeMap::from([
            ("config".to_owned(), checksum.to_owned()),
            ("of-another-pool".to_owned(), "x".to_owned()),
        ]);
        model.settle(&plan);
        assert_eq!(model.node("a").annotations()[node::CHECKSUM], checksum);
        assert!(!model.node("dead").annotations().contains_key(node::CHECKSUM));
    }
    assert!(node::is_ready(model.node("a")) && !node::is_ready(model.node("dead")));
}

#[test]
fn pods_run_on_nodes_that_are_ready_with_addresses_of_their_own_or_their_hosts() {
    let mut model = Model::default();
    let plan = plan(&[("a", machine()), ("dead", troubled())]);
    model.settle(&plan);
    for name in ["p", "q"] {
        model.add(pod(name, "a", json!({})));
    }
    model.add(pod("on-host", "a", json!({ "hostNetwork": true, "containers": [] })));
    model.add(pod("stuck", "dead", json!({})));
    model.settle(&plan);
    let addresses: Vec<_> = model.seen.pods.iter().map(|pod| pod::address(pod).map(|ip| ip.to_string())).collect();
    let host = node::address(model.node("a")).unwrap().to_string();
    let expected = [Some("100.64.0.2".to_owned()), Some("100.64.0.3".to_owned()), Some(host), None];
    assert_eq!(addresses, expected);
    assert_eq!((model.phase("p"), model.phase("stuck")), (Some("Running"), None));
}

#[test]
fn pod_takes_its_address_from_the_network_of_its_node() {
    let mut model = Model::default();
    let plan = plan(&[("a", machine())]);
    model.settle(&plan);
    let node = Arc::make_mut(&mut model.seen.nodes[0]);
    node.spec.as_mut().unwrap().pod_cidr = Some("100.65.7.0/24".to_owned());
    model.add(pod("p", "a", json!({})));
    model.settle(&plan);
    assert_eq!(pod::address(&model.seen.pods[0]).unwrap().to_string(), "100.65.7.2");
}

#[test]
fn deleted_pod_and_pod_without_node_are_removed_once() {
    let mut model = Model::default();
    let plan = plan(&[("a", machine())]);
    model.settle(&plan);
    let mut deleted = pod("deleted", "a", json!({}));
    deleted.metadata.deletion_timestamp = Some(now());
    deleted.metadata.deletion_grace_period_seconds = Some(30);
    model.add(deleted.clone());
    model.add(pod("orphan", "gone", json!({})));
    let removed =
        |name: &str| Act::RemovePod(Target { namespace: "n".to_owned(), name: name.to_owned(), uid: name.to_owned() });
    assert_eq!(model.decide(&plan).acts, [removed("deleted"), removed("orphan")]);
    deleted.metadata.deletion_grace_period_seconds = Some(0);
    model.seen.pods = vec![Arc::new(deleted)];
    assert_eq!(model.decide(&plan).acts, [], "a finalizer holds it");
}

#[test]
fn pod_of_a_node_that_is_not_seen_yet_waits() {
    let mut model = Model::default();
    model.add(pod("early", "a", json!({})));
    let acts = model.decide(&plan(&[("a", machine())])).acts;
    assert!(matches!(acts.as_slice(), [Act::CreateNode(_), Act::ReportNode(..)]), "{acts:?}");
}

#[test]
fn address_stays_with_its_node_before_the_node_is_seen() {
    let (mut model, plan) = (Model::default(), plan(&[("a", machine()), ("b", machine())]));
    let first = model.decide(&plan);
    assert_eq!(model.decide(&plan), first, "the watch lags behind");
}

#[test]
fn full_network_is_named() {
    let mut model = Model::default();
    let small = Plan { node_network: "10.11.0.0/29".parse().unwrap(), ..plan(&[("a", machine())]) };
    assert_eq!(model.decide(&small), Decision { acts: Vec::new(), full: Some(small.node_network) });
}

#[test]
fn job_has_succeeded_and_is_not_reported_again() {
    let mut model = Model::default();
    let plan = plan(&[("a", machine())]);
    model.settle(&plan);
    let mut job = pod("job", "a", json!({}));
    job.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    model.add(job);
    model.settle(&plan);
    assert_eq!(model.phase("job"), Some("Succeeded"));
}
