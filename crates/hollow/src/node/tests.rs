use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn taint(key: &str, value: &str) -> Taint {
    Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), value: Some(value.to_owned()), ..Taint::default() }
}

fn machine() -> Machine {
    Machine {
        labels: map(&[("pool", "a"), ("old", "1")]),
        annotations: map(&[("note", "x")]),
        taints: vec![taint("own", "1")],
        kubelet_version: "v1.35.2".to_owned(),
        architecture: "arm64".to_owned(),
        ..Machine::default()
    }
}

fn address_of(last: u8) -> IpAddr {
    IpAddr::from([10, 250, 0, last])
}

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// The node after a merge patch, as an API server would keep it.
fn patched(node: &Node, patch: &Value) -> Node {
    fn merge(there: &mut Value, patch: &Value) {
        let Some(patch) = patch.as_object() else {
            *there = patch.clone();
            return;
        };
        if !there.is_object() {
            *there = json!({});
        }
        let fields = there.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
    let mut there = serde_json::to_value(node).unwrap();
    merge(&mut there, patch);
    serde_json::from_value(there).unwrap()
}

fn ready(status: &NodeStatus) -> &NodeCondition {
    status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == "Ready").unwrap()
}

#[test]
fn new_node_is_what_its_machine_says_and_lacks_nothing() {
    let node = new("n", &machine());
    assert!(is_ours(&node) && !is_ours(&Node::default()));
    assert_eq!((node.labels()["pool"].as_str(), node.labels()["kubernetes.io/arch"].as_str()), ("a", "arm64"));
    assert_eq!(node.annotations()[UNMANAGED], "1");
    assert_eq!(difference(&node, &machine(), None), None);
}

#[test]
fn changed_machine_changes_its_own_labels_and_taints_and_keeps_those_of_others() {
    let mut node = new("n", &machine());
    node.labels_mut().insert("of-a-user".to_owned(), "1".to_owned());
    node.spec.as_mut().unwrap().taints.as_mut().unwrap().push(taint("of-a-user", "1"));
    let changed = Machine {
        labels: map(&[("pool", "b")]),
        annotations: BTreeMap::new(),
        taints: vec![taint("new", "1")],
        ..machine()
    };
    let node = patched(&node, &difference(&node, &changed, Some("sum")).unwrap());
    assert_eq!(node.labels()["pool"], "b");
    assert!(!node.labels().contains_key("old") && node.labels().contains_key("of-a-user"));
    assert!(!node.annotations().contains_key("note"));
    assert_eq!(node.annotations()[CHECKSUM], "sum");
    let taints = node.spec.as_ref().unwrap().taints.as_ref().unwrap();
    assert_eq!(taints, &[taint("of-a-user", "1"), taint("new", "1")]);
    assert_eq!(difference(&node, &changed, Some("sum")), None);
    assert_eq!(difference(&node, &changed, None), None, "the checksum stays");
}

#[test]
fn taint_with_another_value_is_replaced() {
    let node = new("n", &machine());
    let changed = Machine { taints: vec![taint("own", "2")], ..machine() };
    let node = patched(&node, &difference(&node, &changed, None).unwrap());
    assert_eq!(node.spec.unwrap().taints.unwrap(), [taint("own", "2")]);
}

#[test]
fn status_is_reported_once_and_again_when_the_machine_gets_into_trouble() {
    let mut node = new("n", &machine());
    let status_at = |node: &Node, machine: &Machine, second| status(node, machine, address_of(10), &time(second));
    node.status = status_at(&node, &machine(), 1);
    assert_eq!(address(&node), Some(address_of(10)));
    assert!(is_ready(&node));
    assert_eq!(status_at(&node, &machine(), 9), None);

    let trouble = Trouble { reason: "Dead".to_owned(), message: "no capacity".to_owned() };
    let troubled = Machine { trouble: Some(trouble), ..machine() };
    node.status = status_at(&node, &troubled, 20);
    assert!(!is_ready(&node));
    let status = node.status.as_ref().unwrap();
    assert_eq!(ready(status).message.as_deref(), Some("no capacity"));
    assert_eq!(ready(status).last_transition_time, Some(time(20)));
    let memory = status.conditions.iter().flatten().find(|condition| condition.type_ == "MemoryPressure").unwrap();
    assert_eq!(memory.last_transition_time, Some(time(1)));
    assert_eq!(status_at(&node, &troubled, 30), None);
    let updated = Machine { kubelet_version: "v1.36.0".to_owned(), ..troubled };
    assert_eq!(status_at(&node, &updated, 40).unwrap().node_info.unwrap().kubelet_version, "v1.36.0");
}

#[test]
fn status_that_a_controller_has_changed_is_reported_again() {
    let mut node = new("n", &machine());
    node.status = status(&node, &machine(), address_of(10), &time(1));
    let conditions = node.status.as_mut().unwrap().conditions.as_mut().unwrap();
    // As kube-controller-manager does without a Lease.
    for condition in &mut *conditions {
        "Unknown".clone_into(&mut condition.status);
    }
    conditions.push(NodeCondition { type_: "OfAnother".to_owned(), ..NodeCondition::default() });
    let status = status(&node, &machine(), address_of(10), &time(60)).unwrap();
    assert_eq!(ready(&status).status, "True");
    assert!(status.conditions.iter().flatten().any(|condition| condition.type_ == "OfAnother"));
}

#[test]
fn capacity_of_the_machine_replaces_the_usual_one() {
    let capacity = BTreeMap::from([("cpu".to_owned(), Quantity("500".to_owned()))]);
    let machine = Machine { capacity, ..machine() };
    let status = status(&new("n", &machine), &machine, address_of(10), &time(1)).unwrap();
    let allocatable = status.allocatable.unwrap();
    assert_eq!((allocatable["cpu"].0.as_str(), allocatable["pods"].0.as_str()), ("500", "110"));
}

#[test]
fn lease_belongs_to_its_node() {
    let lease = lease("n", Some("uid"), Timestamp::UNIX_EPOCH);
    assert_eq!(lease["spec"]["renewTime"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "uid");
}
