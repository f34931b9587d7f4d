//! A seed and the API server of one of its Shoots, with the real controller of Workers.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::process::Stdio;
use std::time::Duration;

use gardener_testbed::assets::Assets;
use gardener_testbed::audit::Request;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{self, Mode};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use mock_core::deploy::rbac;
use mock_core::kind::MockKind;
use mock_promises::{eventually, script};
use mock_worker::Worker;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::renewal;

/// The user of the controller in the seed. In the Shoot, it may do everything.
pub(crate) const CONTROLLER: &str = "mock-worker";
/// The user of the Shoot's kubeconfig.
const GARDENER: &str = "gardener";
const SHOOT: &str = "shoot--dev--a";
/// More than the interval between two renewals of a Lease, and the longest pause after an error.
const LIMIT: Duration = Duration::from_secs(60);

/// A seed with one Shoot.
pub(crate) struct World {
    seed: TestBed,
    pub(crate) shoot: TestBed,
    _controller: Child,
}

impl World {
    /// Starts everything, but no Worker.
    pub(crate) async fn start() -> Self {
        let assets = Assets::locate(&|line| drop(writeln!(io::stderr(), "{line}"))).unwrap();
        let users = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let of_shoot = Options { users: users(&[GARDENER, CONTROLLER]), ..Options::default() };
        let of_seed = Options { users: users(&[CONTROLLER]), ..Options::default() };
        let (seed, shoot) = tokio::join!(TestBed::start(&assets, of_seed), TestBed::start(&assets, of_shoot));
        let (seed, shoot) = (seed.unwrap(), shoot.unwrap());
        let rules = [rbac::rules::<Worker>(Worker::KIND.usual_classes()), rbac::companion_rules::<Worker>().unwrap()];
        seed.grant(CONTROLLER, rules.concat()).await.unwrap();
        let everything = |text: &str| Some(vec![text.to_owned()]);
        let all = PolicyRule {
            api_groups: everything("*"),
            resources: everything("*"),
            verbs: vec!["*".to_owned()],
            ..PolicyRule::default()
        };
        for user in [GARDENER, CONTROLLER] {
            shoot.grant(user, vec![all.clone()]).await.unwrap();
        }
        let log = File::create(seed.dir().join("controller.log")).unwrap();
        let controller = Command::new(env!("CARGO_BIN_EXE_mock-worker"))
            .arg("--kubeconfig")
            .arg(seed.kubeconfig_for(CONTROLLER).unwrap())
            .arg("--hollow-nodes")
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let world = Self { seed, shoot, _controller: controller };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": SHOOT, "labels": { "gardener.cloud/role": "shoot" } },
        });
        world.apply(&world.seed, namespace).await;
        world.hibernate(false).await;
        world.write_kubeconfig(GARDENER).await;
        world
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        self.seed.stop().await.unwrap();
        self.shoot.stop().await.unwrap();
    }

    async fn apply(&self, bed: &TestBed, object: Value) {
        manifests::apply(&bed.client(), &object, Mode::Apply).await.unwrap();
    }

    /// Writes the Cluster.
    pub(crate) async fn hibernate(&self, enabled: bool) {
        let networking = json!({ "nodes": "10.10.0.0/16", "pods": "10.20.0.0/16" });
        let shoot = json!({
            "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": { "name": "a" },
            "spec": { "networking": networking, "hibernation": { "enabled": enabled } },
        });
        let cluster = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Cluster", "metadata": { "name": SHOOT },
            "spec": { "cloudProfile": {}, "seed": {}, "shoot": shoot },
        });
        self.apply(&self.seed, cluster).await;
    }

    /// Writes the kubeconfig of the Shoot, for a user.
    pub(crate) async fn write_kubeconfig(&self, user: &str) {
        let kubeconfig = fs::read_to_string(self.shoot.kubeconfig_for(user).unwrap()).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "namespace": SHOOT, "name": "gardener-internal" },
            "stringData": { "kubeconfig": kubeconfig },
        });
        self.apply(&self.seed, secret).await;
    }

    /// Writes the Worker, and asks for its reconciliation.
    pub(crate) async fn write_worker(&self, pools: &[Value]) {
        self.write_scripted_worker(pools, &json!([{ "succeed": {} }])).await;
    }

    /// The same, with the rules of a script.
    pub(crate) async fn write_scripted_worker(&self, pools: &[Value], rules: &Value) {
        let worker = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Worker",
            "metadata": {
                "namespace": SHOOT, "name": "a",
                "annotations": {
                    "gardener.cloud/operation": "reconcile",
                    "gardener.cloud/timestamp": Timestamp::now().to_string(),
                },
            },
            "spec": {
                "type": "mock", "region": "nowhere", "pools": pools, "providerConfig": script(rules),
                "secretRef": { "name": "cloudprovider", "namespace": SHOOT },
            },
        });
        self.apply(&self.seed, worker).await;
    }

    /// Deletes the Worker, as gardenlet does.
    pub(crate) async fn delete_worker(&self) {
        let worker = ApiResource::from_gvk(&GroupVersionKind::gvk("extensions.gardener.cloud", "v1alpha1", "Worker"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.seed.client(), SHOOT, &worker);
        let annotations = json!({
            "confirmation.gardener.cloud/deletion": "true",
            "gardener.cloud/timestamp": Timestamp::now().to_string(),
        });
        let confirmed = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        api.patch("a", &PatchParams::default(), &confirmed).await.unwrap();
        api.delete("a", &DeleteParams::default()).await.unwrap();
    }

    /// Writes the Secret with the OperatingSystemConfig of a pool, as gardener-resource-manager does.
    pub(crate) async fn write_config(&self, name: &str, checksum: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "namespace": "kube-system", "name": name,
                "labels": { "gardener.cloud/role": "operating-system-config" },
                "annotations": { "checksum/data-script": checksum },
            },
        });
        self.apply(&self.shoot, secret).await;
    }

    /// Creates a Pod that a scheduler would have bound to a node.
    pub(crate) async fn create_pod(&self, name: &str, node: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": "default", "name": name },
            "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] },
        });
        self.apply(&self.shoot, pod).await;
    }

    /// Deletes a Pod, which has 30 s to end.
    pub(crate) async fn delete_pod(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.shoot.client(), "default")
    }

    /// Returns a Pod when it is as expected; null if there is none.
    pub(crate) async fn pod(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let check = async || {
            let pod = self.pods().get_opt(name).await?.map_or(Ok(Value::Null), serde_json::to_value)?;
            if is(&pod) { Ok(pod) } else { Err(format!("{pod:#}").into()) }
        };
        let found = eventually(LIMIT, check).await;
        found.unwrap_or_else(|failed| panic!("Pod {name}: expected {what}: {:?}\n{}", failed.message(), self.log()))
    }

    /// Returns all nodes, by name, when they are as expected.
    pub(crate) async fn nodes(&self, what: &str, are: impl Fn(&[Node]) -> bool) -> Vec<Node> {
        let api: Api<Node> = Api::all(self.shoot.client());
        let check = async || {
            let mut nodes = api.list(&ListParams::default()).await?.items;
            nodes.sort_by_key(kube::ResourceExt::name_any);
            if are(&nodes) { Ok(nodes) } else { Err(format!("{nodes:#?}").into()) }
        };
        let found = eventually(LIMIT, check).await;
        found.unwrap_or_else(|failed| panic!("expected {what}: {:?}\n{}", failed.message(), self.log()))
    }

    /// Returns when a node's Lease was renewed after a time.
    pub(crate) async fn lease_is_renewed_after(&self, node: &str, before: Timestamp) -> Timestamp {
        let api: Api<Lease> = Api::namespaced(self.shoot.client(), "kube-node-lease");
        let check = async || {
            let renewed = api.get(node).await.ok().as_ref().and_then(renewal);
            renewed.filter(|renewed| *renewed > before).ok_or_else(|| format!("{renewed:?}").into())
        };
        let renewed = eventually(LIMIT, check).await;
        renewed.unwrap_or_else(|failed| panic!("Lease of {node}: {:?}\n{}", failed.message(), self.log()))
    }

    /// Returns when a user has renewed a Lease.
    pub(crate) async fn lease_is_renewed_by(&self, user: &str) {
        let check = async || match self.shoot_requests(user, |request| request.resource == "leases") {
            0 => Err(format!("{user} has renewed no Lease").into()),
            _ => Ok(()),
        };
        let renewed = eventually(LIMIT, check).await;
        renewed.unwrap_or_else(|failed| panic!("{:?}\n{}", failed.message(), self.log()));
    }

    /// How many requests of [`GARDENER`] the Shoot's API server has answered.
    pub(crate) fn requests_to_the_shoot(&self) -> usize {
        self.shoot_requests(GARDENER, |_| true)
    }

    /// How many such requests of a user the Shoot's API server has answered.
    fn shoot_requests(&self, user: &str, is: impl Fn(&Request) -> bool) -> usize {
        let audit = self.shoot.audit().unwrap();
        audit.requests(|request| request.user == user && is(request)).unwrap().len()
    }

    /// The requests of the controller that the seed's API server has answered.
    pub(crate) fn seed_requests(&self, is: impl Fn(&Request) -> bool) -> Vec<String> {
        let audit = self.seed.audit().unwrap();
        let requests = audit.requests(|request| request.user == CONTROLLER && is(request)).unwrap();
        requests.iter().map(|request| format!("{} {} {}", request.verb, request.resource, request.name)).collect()
    }

    /// What the controller has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.seed.dir().join("controller.log")).unwrap_or_default()
    }
}

/// A pool whose nodes are in two zones. Another `version` rolls it.
pub(crate) fn pool(name: &str, size: u32, version: u32) -> Value {
    let secret = format!("gardener-node-agent-{name}-{version}");
    json!({
        "name": name, "machineType": "small", "architecture": "amd64", "minimum": size, "maximum": size,
        "maxSurge": 1, "maxUnavailable": 0, "zones": ["nowhere-a", "nowhere-b"],
        "machineImage": { "name": "mockos", "version": "1.0.0" }, "kubernetesVersion": "1.35.4",
        "userDataSecretRef": { "name": "osc-result-x", "key": "cloud_config" },
        "nodeAgentSecretName": secret,
        "labels": {
            "worker.gardener.cloud/pool": name,
            "worker.gardener.cloud/gardener-node-agent-secret-name": secret,
        },
    })
}
