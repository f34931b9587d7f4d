//! The hollow nodes of Workers, in the real API server of a Shoot beside that of its seed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

mod world;

use gardener_testbed::bed::Member;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use mock_core::deploy::rbac;
use mock_worker::Worker;
use serde_json::{Value, json};

use self::world::{CONTROLLER, World, pool};

#[tokio::test]
async fn nodes_follow_their_worker_and_their_pods_run() {
    let world = World::start().await;
    world.write_worker(&[pool("w", 2, 1)]).await;
    let nodes = world.nodes("two nodes that are ready", |nodes| nodes.len() == 2 && nodes.iter().all(is_ready)).await;
    let zones: Vec<_> = nodes.iter().map(|node| node.labels()["topology.kubernetes.io/zone"].as_str()).collect();
    assert_eq!(zones, ["nowhere-a", "nowhere-b"]);
    let node = nodes[0].name_any();
    let labels = nodes[0].labels();
    assert_eq!(
        (labels["worker.gardener.cloud/pool"].as_str(), labels["kubernetes.io/hostname"].as_str()),
        ("w", node.as_str())
    );
    assert_eq!(nodes[0].annotations()["node.machine.sapcloud.io/not-managed-by-mcm"], "1");
    let info = nodes[0].status.as_ref().unwrap().node_info.as_ref().unwrap();
    assert_eq!(info.kubelet_version, "v1.35.4");
    world.lease_is_renewed_after(&node, Timestamp::UNIX_EPOCH).await;

    for checksum in ["1", "2"] {
        world.write_config("gardener-node-agent-w-1", checksum).await;
        let has = |node: &Node| node.annotations().get("checksum/cloud-config-data").is_some_and(|it| it == checksum);
        world.nodes("the checksum of the Secret", |nodes| nodes.iter().all(has)).await;
    }

    world.create_pod("p", &node).await;
    let pod = world.pod("p", "it runs", |pod| pod.pointer("/status/phase") == Some(&json!("Running"))).await;
    assert_eq!(pod["status"]["podIP"], "10.20.0.2");
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"));
    world.delete_pod("p").await;
    world.pod("p", "it is gone", Value::is_null).await;

    let mut changed = pool("w", 2, 1);
    changed["labels"]["added"] = json!("1");
    changed["taints"] = json!([{ "key": "k", "effect": "NoSchedule" }]);
    world.write_worker(&[changed]).await;
    let is_changed =
        |nodes: &[Node]| nodes.iter().all(|node| node.labels().contains_key("added") && has_taint(node, "k"));
    let same = world.nodes("a changed pool", is_changed).await;
    assert_eq!(names(&same), names(&nodes), "nothing was rolled");

    world.write_worker(&[pool("w", 3, 2), pool("x", 1, 1)]).await;
    let old = names(&nodes);
    let is_rolled = |nodes: &[Node]| nodes.len() == 4 && names(nodes).iter().all(|name| !old.contains(name));
    let rolled = world.nodes("a rolled and an added pool", is_rolled).await;

    world.create_pod("q", &rolled[0].name_any()).await;
    world.pod("q", "it runs", |pod| pod.pointer("/status/phase") == Some(&json!("Running"))).await;
    world.hibernate(true).await;
    world.nodes("no node of a sleeping Shoot", <[Node]>::is_empty).await;
    world.pod("q", "it is gone with its node", Value::is_null).await;
    world.hibernate(false).await;
    world.nodes("the nodes of the Shoot that woke up", |nodes| names(nodes) == names(&rolled)).await;

    world.delete_worker().await;
    world.nodes("no node of a deleted Worker", <[Node]>::is_empty).await;
    world.stop().await;
}

#[tokio::test]
async fn nodes_of_a_dead_pool_are_not_ready_until_the_script_lets_them() {
    let world = World::start().await;
    world.write_config("gardener-node-agent-dead-1", "1").await;
    let pools = [pool("w", 1, 1), pool("dead", 1, 1)];
    let dead = json!({ "fail": { "message": "no capacity", "pools": ["dead"], "retryAfter": "1h" } });
    world.write_scripted_worker(&pools, &json!([dead])).await;
    let are_reported = |nodes: &[Node]| nodes.len() == 2 && nodes.iter().all(|node| ready(node).is_some());
    let nodes = world.nodes("both nodes", are_reported).await;
    assert_eq!(nodes.iter().filter(|node| is_ready(node)).count(), 1);
    let node = nodes.iter().find(|node| node.labels()["worker.gardener.cloud/pool"] == "dead").unwrap();
    let message = |node: &Node| ready(node).map(|condition| (condition.status, condition.message.unwrap_or_default()));
    assert_eq!(message(node), Some(("False".to_owned(), "no capacity".to_owned())));
    assert!(!node.annotations().contains_key("checksum/cloud-config-data"));
    // Its Lease is renewed: otherwise kube-controller-manager would give another reason.
    world.lease_is_renewed_after(&node.name_any(), Timestamp::UNIX_EPOCH).await;

    let flood = json!([{ "succeed": {}, "conditions": [
        { "type": "EveryNodeReady", "status": "False", "reason": "Flood", "message": "water everywhere" },
    ] }]);
    world.write_scripted_worker(&pools, &flood).await;
    let is_flooded = |node: &Node| message(node).is_some_and(|(_, message)| message == "water everywhere");
    world.nodes("no ready node", |nodes| nodes.iter().all(is_flooded)).await;

    world.write_scripted_worker(&pools, &json!([{ "succeed": {} }])).await;
    world.nodes("ready nodes", |nodes| nodes.len() == 2 && nodes.iter().all(is_ready)).await;
    world.stop().await;
}

#[tokio::test]
async fn two_nodes_cost_less_than_a_request_a_second_and_survive_an_outage_and_a_new_kubeconfig() {
    let world = World::start().await;
    world.write_worker(&[pool("w", 2, 1)]).await;
    let nodes = world.nodes("two nodes", |nodes| nodes.len() == 2 && nodes.iter().all(is_ready)).await;
    let node = nodes[0].name_any();
    let renewed = world.lease_is_renewed_after(&node, Timestamp::UNIX_EPOCH).await;
    let before = world.requests_to_the_shoot();
    let again = world.lease_is_renewed_after(&node, renewed).await;
    let again = world.lease_is_renewed_after(&node, again).await;
    let (requests, seconds) = (world.requests_to_the_shoot() - before, again.duration_since(renewed).as_secs());
    assert!(seconds >= 15 && i64::try_from(requests).unwrap() < seconds / 2, "{requests} requests in {seconds} s");

    world.shoot.kill(Member::KubeApiserver).await.unwrap();
    world.shoot.start_again(Member::KubeApiserver).await.unwrap();
    world.shoot.ready().await.unwrap();
    world.lease_is_renewed_after(&node, again).await;

    let api: Api<Node> = Api::all(world.shoot.client());
    api.delete(&node, &DeleteParams::default()).await.unwrap();
    world.nodes("a new node of the same name", |nodes| names(nodes).contains(&node)).await;

    // The token of another user, as after a rotation.
    world.write_kubeconfig(CONTROLLER).await;
    world.lease_is_renewed_by(CONTROLLER).await;
    world.stop().await;
}

/// What the controller requests without the flag is compared with its other rules by the suite of its kind.
#[tokio::test]
async fn rbac_allows_exactly_what_hollow_nodes_request() {
    let world = World::start().await;
    world.write_worker(&[pool("w", 1, 1)]).await;
    world.nodes("a node", |nodes| nodes.len() == 1).await;
    assert_eq!(world.seed_requests(|request| request.code == 403), Vec::<String>::new());
    // A watch is logged when it ends. The list before it is its evidence.
    assert_eq!(world.seed_requests(|request| request.resource == "secrets"), ["list secrets gardener-internal"]);
    let [rule] = rbac::companion_rules::<Worker>().unwrap().try_into().unwrap();
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((rule.resources, rule.verbs), (Some(texts(&["secrets"])), texts(&["list", "watch"])));
    assert_eq!(rule.resource_names, Some(texts(&["gardener-internal"])));
    world.stop().await;
}

fn names(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(kube::ResourceExt::name_any).collect()
}

fn ready(node: &Node) -> Option<k8s_openapi::api::core::v1::NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").cloned()
}

fn is_ready(node: &Node) -> bool {
    ready(node).is_some_and(|condition| condition.status == "True")
}

fn has_taint(node: &Node, key: &str) -> bool {
    node.spec.as_ref().unwrap().taints.iter().flatten().any(|taint| taint.key == key)
}

/// When a Lease was renewed.
fn renewal(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0)
}
