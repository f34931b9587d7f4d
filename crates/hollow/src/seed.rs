//! The Shoots of a seed: which of them need nodes, and how their API servers are reached.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use extension_contract::{GROUP, VERSION, kinds};
use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::outage::Outage;
use crate::plan::{Plan, Wanted};
use crate::shoot;
use crate::watch::mirror;

/// The Secret with the kubeconfig of a Shoot. Its address is one in the seed's network. gardener-resource-manager renews its
/// token (`pkg/component/gardener/access/access.go`).
const ACCESS: &str = "gardener-internal";
const KUBECONFIG: &str = "kubeconfig";

/// What a Worker and its Cluster demand.
pub type Planner = fn(worker: &Value, cluster: &Value) -> Plan;

/// Which Workers have nodes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Values of `spec.type`.
    pub types: Vec<String>,
    /// The only namespace, if there is one.
    pub namespace: Option<String>,
    /// What they demand.
    pub planner: Planner,
}

/// What the user of the client must be allowed besides listing and watching Workers and Clusters. RBAC restricts lists and
/// watches to a name if they select it.
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    vec![PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["secrets".to_owned()]),
        resource_names: Some(vec![ACCESS.to_owned()]),
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        ..PolicyRule::default()
    }]
}

/// Keeps the nodes of all Shoots of a seed for ever.
pub async fn run(client: Client, settings: Settings) {
    let (seen, mut changes) = Seen::watch(&client, settings.namespace.as_deref());
    let mut shoots = Shoots { settings, seen, served: HashMap::new() };
    let mut outage = Outage::default();
    while let Some(change) = changes.next().await {
        match change {
            Ok(change) => {
                if outage.ended() {
                    tracing::info!("follows the nodes of Shoots again");
                }
                for namespace in shoots.namespaces(change) {
                    shoots.follow(&namespace).await;
                }
            }
            Err(error) if outage.failed(Instant::now()) => {
                tracing::warn!(%error, "cannot follow the nodes of Shoots for a while; trying again");
            }
            Err(error) => tracing::debug!(%error, "cannot follow the nodes of Shoots; trying again"),
        }
    }
}

/// What has changed.
enum Change {
    /// A Shoot, by its namespace.
    One(String),
    /// Nothing yet, although the watch has begun to list.
    None,
    /// Possibly everything.
    All,
}

/// What there is in the seed, kept up to date by watches. A Shoot is known by its namespace.
struct Seen {
    workers: Store<DynamicObject>,
    clusters: Store<DynamicObject>,
    access: Store<Secret>,
    cluster: ApiResource,
}

type Changes = BoxStream<'static, Result<Change, watcher::Error>>;

impl Seen {
    fn watch(client: &Client, namespace: Option<&str>) -> (Self, Changes) {
        let worker = resource(kinds::WORKER.name, kinds::WORKER.plural);
        let cluster = resource("Cluster", "clusters");
        let everything = watcher::Config::default;
        let workers = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &worker),
            None => Api::all_with(client.clone(), &worker),
        };
        let secrets: Api<Secret> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let of_cluster = namespace.map(|name| format!("metadata.name={name}")).unwrap_or_default();
        let clusters = Api::<DynamicObject>::all_with(client.clone(), &cluster);
        let (workers, of_workers) = mirror(worker, watcher(workers, everything()), keep_of_worker);
        let clusters = watcher(clusters, everything().fields(&of_cluster));
        let (clusters, of_clusters) = mirror(cluster.clone(), clusters, keep_of_cluster);
        let of_access = everything().fields(&format!("metadata.name={ACCESS}"));
        let (access, of_access) = mirror((), watcher(secrets, of_access), |_| {});
        let changes = select_all([
            changes(of_workers, DynamicObject::namespace),
            changes(of_clusters, |cluster| Some(cluster.name_any())),
            changes(of_access, Secret::namespace),
        ]);
        (Self { workers, clusters, access, cluster }, changes.boxed())
    }

    /// The Worker of a namespace that has a served type.
    fn worker(&self, namespace: &str, types: &[String]) -> Option<Arc<DynamicObject>> {
        // There is one, and it has the name of the Shoot.
        self.workers.find(|worker| {
            let own = worker.data.pointer("/spec/type").and_then(Value::as_str);
            worker.namespace().as_deref() == Some(namespace) && types.iter().any(|served| Some(served.as_str()) == own)
        })
    }

    fn cluster(&self, namespace: &str) -> Option<Arc<DynamicObject>> {
        self.clusters.get(&ObjectRef::new_with(namespace, self.cluster.clone()))
    }

    fn kubeconfig(&self, namespace: &str) -> Option<Vec<u8>> {
        let secret = self.access.get(&ObjectRef::new(ACCESS).within(namespace))?;
        Some(secret.data.as_ref()?.get(KUBECONFIG)?.0.clone())
    }
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn changes<K: Send + 'static>(
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    namespace: fn(&K) -> Option<String>,
) -> Changes {
    let change = move |event| match event {
        Event::Apply(object) | Event::Delete(object) => namespace(&object).map_or(Change::None, Change::One),
        // The store shows the list as a whole.
        Event::Init | Event::InitApply(_) => Change::None,
        Event::InitDone => Change::All,
    };
    events.map(move |event| event.map(change)).boxed()
}

/// Drops what no plan needs: a Cluster has hundreds of fields.
fn keep_of_cluster(cluster: &mut DynamicObject) {
    let fields = ["/metadata", "/spec/region", "/spec/hibernation", "/spec/networking", "/status/hibernated"];
    let shoot = cluster.data.pointer_mut("/spec/shoot").map(Value::take).unwrap_or_default();
    let mut kept = Value::Object(Map::new());
    for field in fields {
        if let Some(value) = shoot.pointer(field) {
            insert(&mut kept, field, value.clone());
        }
    }
    let mut data = Value::Object(Map::new());
    insert(&mut data, "/spec/shoot", kept);
    cluster.data = data;
}

/// Drops what no plan needs of a Worker.
fn keep_of_worker(worker: &mut DynamicObject) {
    for part in ["/status/state", "/status/providerStatus", "/spec/infrastructureProviderStatus", "/spec/sshPublicKey"]
    {
        if let Some(value) = worker.data.pointer_mut(part) {
            value.take();
        }
    }
}

/// Sets a field at a path of objects.
fn insert(into: &mut Value, path: &str, value: Value) {
    let mut place = into;
    for key in path.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Some(fields) = place.as_object_mut() else { return };
        place = fields.entry(key.to_owned()).or_insert(Value::Null);
    }
    *place = value;
}

/// The Shoots whose nodes are kept.
struct Shoots {
    settings: Settings,
    seen: Seen,
    /// By namespace.
    served: HashMap<String, Served>,
}

/// A Shoot whose nodes are kept.
struct Served {
    kubeconfig: Vec<u8>,
    plan: watch::Sender<Plan>,
    /// `None` for a Shoot that is left alone.
    task: Option<AbortOnDropHandle<()>>,
}

impl Shoots {
    /// The namespaces that a change is about.
    fn namespaces(&self, change: Change) -> BTreeSet<String> {
        match change {
            Change::None => BTreeSet::new(),
            Change::One(namespace) => BTreeSet::from([namespace]),
            Change::All => {
                let workers = self.seen.workers.state().into_iter().filter_map(|worker| worker.namespace());
                self.served.keys().cloned().chain(workers).collect()
            }
        }
    }

    /// Starts, informs or ends the task of a Shoot.
    async fn follow(&mut self, namespace: &str) {
        let worker = self.seen.worker(namespace, &self.settings.types);
        let cluster = self.seen.cluster(namespace);
        let before = self.served.get(namespace).map(|served| served.plan.borrow().clone());
        let now = worker.as_ref().zip(cluster).map(|(worker, cluster)| {
            let worker = serde_json::to_value(worker.as_ref()).unwrap_or_default();
            (self.settings.planner)(&worker, &cluster.data)
        });
        let is_gone = worker.is_none();
        let (Some(plan), Some(kubeconfig)) = (next(before, now, is_gone), self.seen.kubeconfig(namespace)) else {
            self.served.remove(namespace);
            return;
        };
        let known = self.served.get(namespace).filter(|served| served.kubeconfig == kubeconfig);
        let runs = known.and_then(|served| served.task.as_ref()).is_some_and(|task| !task.is_finished());
        match known {
            // A task that has ended has nothing left to do until something is wanted again.
            Some(served) if plan.nodes != Wanted::Unattended && (runs || plan.nodes.is_empty()) => {
                served.plan.send_if_modified(|before| {
                    let is_new = *before != plan;
                    *before = plan;
                    is_new
                });
                if is_gone && !runs {
                    self.served.remove(namespace);
                }
            }
            _ => {
                let (sender, plans) = watch::channel(plan);
                let is_attended = sender.borrow().nodes != Wanted::Unattended;
                let client = if is_attended { shoot::connect(&kubeconfig).await } else { None };
                let task = client.map(|client| {
                    AbortOnDropHandle::new(tokio::spawn(shoot::serve(namespace.to_owned(), client, plans)))
                });
                self.served.insert(namespace.to_owned(), Served { kubeconfig, plan: sender, task });
            }
        }
    }
}

/// The plan of a Shoot, from the one before and from what its Worker and Cluster demand now. Returns `None` for a Shoot
/// that has no nodes of ours.
fn next(before: Option<Plan>, now: Option<Plan>, is_gone: bool) -> Option<Plan> {
    match (before, now) {
        // While a Worker is reconciled, its machines keep to what it demanded before.
        (Some(before), Some(Plan { nodes: Wanted::AsTheyAre, .. })) if before.nodes != Wanted::Unattended => {
            Some(before)
        }
        (_, Some(now)) => Some(now),
        // After a migration, the nodes live on with another seed.
        (Some(before), None) if is_gone && before.nodes == Wanted::Unattended => None,
        (Some(before), None) if is_gone => Some(before.emptied()),
        // The Cluster of a Shoot goes last.
        (before, None) => before,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::plan::Machine;

    fn plan(nodes: Wanted) -> Plan {
        Plan { nodes, node_network: "10.0.0.0/16".parse().unwrap(), pod_network: "10.1.0.0/16".parse().unwrap() }
    }

    #[test]
    fn plan_follows_from_the_one_before_and_what_is_demanded_now() {
        let some = || plan(Wanted::Exactly(BTreeMap::from([("a".to_owned(), Machine::default())])));
        let none = || plan(Wanted::Exactly(BTreeMap::new()));
        let (kept, left) = (|| plan(Wanted::AsTheyAre), || plan(Wanted::Unattended));
        for (case, before, now, is_gone, expected) in [
            ("a new Worker", None, Some(some()), false, Some(some())),
            ("a Worker that is reconciled", Some(some()), Some(kept()), false, Some(some())),
            ("after a restart", None, Some(kept()), false, Some(kept())),
            ("a Worker that wakes up", Some(left()), Some(kept()), false, Some(kept())),
            ("a Worker that changes", Some(some()), Some(none()), false, Some(none())),
            ("a deleted Worker", Some(some()), None, true, Some(none())),
            ("a Worker that was deleted after its migration", Some(left()), None, true, None),
            ("a Worker that was never seen", None, None, true, None),
            ("a Worker without Cluster", Some(some()), None, false, Some(some())),
        ] {
            assert_eq!(next(before, now, is_gone), expected, "{case}");
        }
    }

    #[test]
    fn cluster_keeps_what_plans_need() {
        let shoot = json!({
            "metadata": { "name": "a" },
            "spec": { "region": "r", "addons": {}, "hibernation": { "enabled": true } },
            "status": { "hibernated": true, "constraints": [] },
        });
        let cluster = json!({ "metadata": { "name": "n" }, "spec": { "shoot": shoot, "cloudProfile": { "big": 1 } } });
        let mut cluster: DynamicObject = serde_json::from_value(cluster).unwrap();
        keep_of_cluster(&mut cluster);
        let kept = json!({
            "metadata": { "name": "a" },
            "spec": { "region": "r", "hibernation": { "enabled": true } },
            "status": { "hibernated": true },
        });
        assert_eq!(cluster.data, json!({ "spec": { "shoot": kept } }));
        cluster.data = json!({ "spec": { "shoot": "odd" } });
        keep_of_cluster(&mut cluster);
        assert_eq!(cluster.data, json!({ "spec": { "shoot": {} } }));
    }
}
