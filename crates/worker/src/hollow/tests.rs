use serde_json::json;

use super::*;

fn cluster() -> Value {
    json!({ "spec": { "shoot": {
        "spec": { "networking": { "nodes": "10.10.0.0/16", "pods": "100.96.0.0/11" } },
        "status": {},
    } } })
}

fn worker() -> Value {
    json!({
        "metadata": { "generation": 2 },
        "spec": { "region": "r", "pools": [
            {
                "name": "a",
                "machineType": "small",
                "machineImage": { "name": "mockos", "version": "1.0.0" },
                "kubernetesVersion": "1.35.2",
                "labels": { "worker.gardener.cloud/pool": "a", "topology.kubernetes.io/region": "own" },
                "annotations": { "x": "y" },
                "taints": [{ "key": "k", "effect": "NoSchedule" }],
                "zones": ["r-1", "r-2"],
                "nodeAgentSecretName": "gardener-node-agent-a-1",
                "nodeTemplate": { "capacity": { "cpu": "8", "gpu": "0" } },
            },
            { "name": "b", "architecture": "arm64" },
        ] },
        "status": {
            "observedGeneration": 2,
            "lastOperation": { "type": "Reconcile", "state": "Succeeded" },
            "machineDeployments": [
                { "name": "shoot--dev--s-a-z1", "minimum": 2, "maximum": 3 },
                { "name": "shoot--dev--s-a-z2", "minimum": 1, "maximum": 2 },
                { "name": "shoot--dev--s-b-z1", "minimum": 1, "maximum": 1 },
            ],
        },
    })
}

/// The Worker with other values at some paths.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut worker = worker();
    for (path, value) in changes {
        let (parent, field) = path.rsplit_once('/').unwrap();
        worker.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    worker
}

/// The conditions of an attempt that lets pools fail, and of a script that says that no node is ready.
fn conditions(pools: &[&str]) -> Value {
    let action = json!({ "fail": { "message": "no capacity", "pools": pools, "retry_after": "5s" } });
    let record = json!({
        "phase": "Failed", "operation": "Reconcile", "attempt": 1, "seed": 7, "start": "2026-01-01T00:00:00Z",
        "rule": { "number": 1, "action": action },
    });
    json!([
        { "type": "EveryNodeReady", "status": "False", "reason": "Flood", "message": "water everywhere" },
        { "type": "MockScript", "status": "True", "message": record.to_string() },
    ])
}

fn machines_of(worker: &Value) -> BTreeMap<String, Machine> {
    match plan(worker, &cluster()).nodes {
        Wanted::Exactly(machines) => machines,
        other => panic!("{other:?}"),
    }
}

fn troubles(worker: &Value) -> Vec<Option<String>> {
    machines_of(worker).into_values().map(|machine| machine.trouble.map(|trouble| trouble.message)).collect()
}

#[test]
fn each_machine_deployment_has_its_minimum_of_nodes() {
    let names: Vec<_> = machines_of(&worker()).into_keys().collect();
    let hash = |pool: usize| read::<Worker>(&worker()).unwrap().spec.pools[pool].hash();
    let expected = [
        format!("shoot--dev--s-a-z1-{}-0", hash(0)),
        format!("shoot--dev--s-a-z1-{}-1", hash(0)),
        format!("shoot--dev--s-a-z2-{}-0", hash(0)),
        format!("shoot--dev--s-b-z1-{}-0", hash(1)),
    ];
    assert_eq!(names, expected);
    assert_eq!(hash(0).len(), 5);
}

#[test]
fn name_of_a_node_fits_into_a_label() {
    // `shoot--` and the names of a project and a Shoot, 21 characters together, of a pool, 15 characters.
    let longest = format!("shoot--{}-{}-z10-12345-999", "x".repeat(23), "p".repeat(15));
    assert!(longest.len() <= 63, "{}", longest.len());
}

#[test]
fn node_is_what_its_pool_says() {
    let plan = plan(&worker(), &cluster());
    assert_eq!(
        (plan.node_network.to_string().as_str(), plan.pod_network.to_string().as_str()),
        ("10.10.0.0/16", "100.96.0.0/11")
    );
    let machines: Vec<_> = machines_of(&worker()).into_values().collect();
    let machine = &machines[2];
    assert_eq!(machine.labels["topology.kubernetes.io/zone"], "r-2");
    assert_eq!(machine.labels["topology.kubernetes.io/region"], "own", "the pool decides");
    assert_eq!(machine.labels["node.kubernetes.io/instance-type"], "small");
    assert_eq!((machine.taints[0].key.as_str(), machine.annotations["x"].as_str()), ("k", "y"));
    assert_eq!((machine.kubelet_version.as_str(), machine.os_image.as_str()), ("v1.35.2", "mockos 1.0.0"));
    assert_eq!(machine.capacity.keys().collect::<Vec<_>>(), ["cpu"]);
    assert_eq!(machines[3].architecture, "arm64");
    assert_eq!(machines[3].labels["topology.kubernetes.io/zone"], "r", "without zones");
}

#[test]
fn rolled_pool_has_nodes_of_other_names_and_other_changes_keep_the_names() {
    let names = |worker: &Value| machines_of(worker).into_keys().collect::<Vec<_>>();
    let rolled = names(&with(&[("/spec/pools/0/nodeAgentSecretName", json!("gardener-node-agent-a-2"))]));
    assert!(rolled[..3].iter().all(|name| !names(&worker()).contains(name)));
    assert_eq!(rolled[3], names(&worker())[3]);
    let labelled = with(&[("/spec/pools/0/labels", json!({ "new": "1" })), ("/spec/pools/0/taints", json!(null))]);
    assert_eq!(names(&labelled), names(&worker()));
}

#[test]
fn pool_that_is_scaled_or_removed_changes_the_nodes_once_the_worker_reports_it() {
    let deployments = json!([{ "name": "shoot--dev--s-a-z1", "minimum": 5 }]);
    assert_eq!(machines_of(&with(&[("/status/machineDeployments", deployments)])).len(), 5);
    let pools = json!([worker()["spec"]["pools"][1]]);
    assert_eq!(machines_of(&with(&[("/spec/pools", pools)])).len(), 1);
}

#[test]
fn nodes_stay_until_the_worker_has_answered_and_go_with_it_or_with_sleep() {
    let state = |state: &str| json!({ "type": "Reconcile", "state": state });
    for (case, changes, expected) in [
        ("in progress", vec![("/status/lastOperation", state("Processing"))], Wanted::AsTheyAre),
        ("failed as a whole", vec![("/status/lastOperation", state("Error"))], Wanted::AsTheyAre),
        ("a new spec", vec![("/metadata/generation", json!(3))], Wanted::AsTheyAre),
        ("no answer yet", vec![("/status", json!({}))], Wanted::AsTheyAre),
        ("unreadable", vec![("/spec/pools", json!("odd"))], Wanted::AsTheyAre),
        (
            "deleted",
            vec![("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
            Wanted::Exactly(BTreeMap::new()),
        ),
        (
            "migrated and deleted",
            vec![
                ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
                ("/status/lastOperation", json!({ "type": "Migrate", "state": "Succeeded" })),
            ],
            Wanted::Unattended,
        ),
    ] {
        assert_eq!(plan(&with(&changes), &cluster()).nodes, expected, "{case}");
    }
    let mut cluster = cluster();
    cluster["spec"]["shoot"]["spec"]["hibernation"] = json!({ "enabled": true });
    assert_eq!(plan(&worker(), &cluster).nodes, Wanted::Exactly(BTreeMap::new()));
    cluster["spec"]["shoot"]["status"]["hibernated"] = json!(true);
    assert_eq!(plan(&worker(), &cluster).nodes, Wanted::Unattended);
    cluster["spec"]["shoot"]["spec"]["hibernation"]["enabled"] = json!(false);
    assert!(matches!(plan(&worker(), &cluster).nodes, Wanted::Exactly(machines) if machines.len() == 4));
}

#[test]
fn dead_pool_has_nodes_that_are_not_ready_for_the_scripts_reason() {
    let failed = json!({ "type": "Reconcile", "state": "Error" });
    let dead = with(&[("/status/lastOperation", failed), ("/status/conditions", conditions(&["b"]))]);
    let message = Some("no capacity".to_owned());
    assert_eq!(troubles(&dead), [None, None, None, message]);
}

#[test]
fn condition_of_a_script_without_dead_pool_is_about_all_nodes() {
    let unready = with(&[("/status/conditions", json!([conditions(&[])[0]]))]);
    assert_eq!(troubles(&unready), vec![Some("water everywhere".to_owned()); 4]);
}
