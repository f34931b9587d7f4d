//! Nodes of awake Shoots: stands for the machines of a cloud, with their kubelets and gardener-node-agents. As many nodes
//! exist as the pools of a Worker want at least, their Pods are running and ready at once, and their checksum follows the
//! OperatingSystemConfig. Leaves out rolling updates, the cluster-autoscaler, and running anything.

mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use self::plan::{Facts, Wanted};
use crate::addresses::{Addresses, Half};
use crate::container::now;
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::player::{PLAYER, Seed, name_of};
use crate::shoot_client::ShootClient;
use crate::status::{Observed, compose};

/// How often Shoots are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// How long one look may take. The API server of a Shoot may have stopped.
const LIMIT: Duration = Duration::from_secs(20);

/// How often a kubelet renews its Lease.
const RENEW: Duration = Duration::from_secs(10);

/// What gardener-node-agent reports (`pkg/gardenlet/operation/botanist/waiter.go`).
const CHECKSUM: &str = "checksum/cloud-config-data";

/// The Secret of a node's OperatingSystemConfig, in a label of the node.
const SECRET: &str = "worker.gardener.cloud/gardener-node-agent-secret-name";

/// What is remembered of a Shoot between two looks.
struct Shoot {
    client: ShootClient,
    addresses: Addresses,
    renewed: HashMap<String, Instant>,
}

/// Serves the nodes of all awake Shoots for ever.
pub(crate) async fn play(seed: Arc<Seed>, endpoints: Endpoints) {
    let mut shoots: HashMap<String, Shoot> = HashMap::new();
    loop {
        sleep(PERIOD).await;
        let awake = endpoints.namespaces_ready("kube-apiserver", "kube-apiserver");
        let looks = awake.into_iter().map(|namespace| {
            let known = shoots.remove(&namespace);
            let seed = seed.clone();
            async move {
                match timeout(LIMIT, look(&seed, &namespace, known)).await {
                    Ok(Ok(shoot)) => Some((namespace, shoot?)),
                    Ok(Err(error)) => {
                        tracing::info!(namespace, %error, "cannot serve the Shoot's nodes yet; trying again");
                        None
                    }
                    Err(_) => None,
                }
            }
        });
        shoots = join_all(looks).await.into_iter().flatten().collect();
    }
}

/// Brings the nodes of a Shoot in line with its Worker. Returns `None` for a Shoot that cannot be reached yet.
async fn look(seed: &Seed, namespace: &str, known: Option<Shoot>) -> Result<Option<Shoot>, Error> {
    let extension = |kind| ApiResource::from_gvk(&GroupVersionKind::gvk("extensions.gardener.cloud", "v1alpha1", kind));
    let clusters: Api<DynamicObject> = Api::all_with(seed.client.clone(), &extension("Cluster"));
    let cluster = clusters.get(namespace).await.map_err(Error::api(format!("read Cluster {namespace}")))?;
    let facts = Facts::of(&cluster.data);
    let Some(mut shoot) = reach(seed, namespace, &facts, known).await? else { return Ok(None) };
    let workers: Api<DynamicObject> = Api::namespaced_with(seed.client.clone(), namespace, &extension("Worker"));
    let worker = workers.get_opt(&facts.name).await.map_err(Error::api(format!("read the Worker of {namespace}")))?;
    let wanted = plan::wanted(namespace, &facts, worker.as_ref());
    let nodes = follow_worker(&shoot.client.client, &facts, &wanted).await?;
    report_checksums(&shoot.client.client, &nodes).await?;
    renew_leases(&mut shoot, &nodes).await?;
    report_pods(&mut shoot, &nodes).await?;
    Ok(Some(shoot))
}

/// Connects with the API server of a Shoot, as gardenlet does.
async fn reach(seed: &Seed, namespace: &str, facts: &Facts, known: Option<Shoot>) -> Result<Option<Shoot>, Error> {
    let earlier = known.as_ref().map(|known| known.client.clone());
    let Some(client) = ShootClient::reach(seed, namespace, earlier).await? else { return Ok(None) };
    if let Some(known) = known {
        return Ok(Some(Shoot { client, ..known }));
    }
    let mut addresses = Addresses::new(facts.pods);
    let pods = Api::<Pod>::all(client.client.clone()).list(&ListParams::default()).await;
    for pod in pods.map_err(Error::api(format!("list the Pods of {namespace}")))? {
        if let Some(address) = plan::address_of_pod(&pod) {
            addresses.seen(address);
        }
    }
    Ok(Some(Shoot { client, addresses, renewed: HashMap::new() }))
}

/// Creates and deletes nodes. Returns those that exist after that.
async fn follow_worker(client: &Client, facts: &Facts, wanted: &Wanted) -> Result<Vec<Node>, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let list = async || {
        let nodes = api.list(&ListParams::default()).await.map_err(Error::api("list the Nodes of a Shoot"))?;
        Ok::<_, Error>(nodes.items)
    };
    let nodes = list().await?;
    let Wanted::Exactly(pools) = wanted else { return Ok(nodes) };
    let mut changed = false;
    for node in nodes.iter().filter(|node| !pools.contains_key(&node.name_any())) {
        api.delete(&node.name_any(), &DeleteParams::default()).await.map_err(Error::api("delete a Node of a Shoot"))?;
        changed = true;
    }
    let mut taken: Vec<_> = nodes.iter().filter_map(plan::address_of_node).collect();
    for (name, pool) in pools.iter().filter(|(name, _)| !nodes.iter().any(|node| node.name_any() == **name)) {
        let address = plan::free(facts.nodes, &taken).ok_or(Error::NoAddress)?;
        taken.push(address);
        let failed = || Error::api(format!("create Node {name} of a Shoot"));
        let node = Patch::Apply(plan::node(name, pool, facts));
        api.patch(name, &PatchParams::apply(PLAYER).force(), &node).await.map_err(failed())?;
        let status = Patch::Merge(json!({ "status": plan::status(name, pool, address, &now()) }));
        api.patch_status(name, &PatchParams::default(), &status).await.map_err(failed())?;
        changed = true;
    }
    if changed { list().await } else { Ok(nodes) }
}

/// Reports on each node that it runs its OperatingSystemConfig.
async fn report_checksums(client: &Client, nodes: &[Node]) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
    let configs = ListParams::default().labels("gardener.cloud/role=operating-system-config");
    let configs = secrets.list(&configs).await.map_err(Error::api("list the OperatingSystemConfigs of a Shoot"))?;
    let checksums: BTreeMap<String, String> = configs
        .into_iter()
        .filter_map(|secret| Some((secret.name_any(), secret.annotations().get("checksum/data-script")?.clone())))
        .collect();
    let api: Api<Node> = Api::all(client.clone());
    for node in nodes {
        let wanted = node.labels().get(SECRET).and_then(|secret| checksums.get(secret));
        if wanted.is_some() && node.annotations().get(CHECKSUM) != wanted {
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { CHECKSUM: wanted } } }));
            let written = api.patch(&node.name_any(), &PatchParams::default(), &patch).await;
            written.map_err(Error::api("report the checksum on a Node of a Shoot"))?;
        }
    }
    Ok(())
}

/// Renews the Leases of the nodes that are due.
async fn renew_leases(shoot: &mut Shoot, nodes: &[Node]) -> Result<(), Error> {
    let api: Api<Lease> = Api::namespaced(shoot.client.client.clone(), "kube-node-lease");
    for name in nodes.iter().map(kube::ResourceExt::name_any) {
        if shoot.renewed.get(&name).is_some_and(|time| time.elapsed() < RENEW) {
            continue;
        }
        let lease = Patch::Apply(crate::nodes::lease(&name, Timestamp::now()));
        let renewed = api.patch(&name, &PatchParams::apply(PLAYER).force(), &lease).await;
        renewed.map_err(Error::api("renew the Lease of a Node of a Shoot"))?;
        shoot.renewed.insert(name, Instant::now());
    }
    Ok(())
}

/// Reports the Pods of the nodes, and confirms the deletion of those that are deleted or have lost their node.
async fn report_pods(shoot: &mut Shoot, nodes: &[Node]) -> Result<(), Error> {
    let hosts: HashMap<_, _> =
        nodes.iter().filter_map(|node| Some((node.name_any(), plan::address_of_node(node)?))).collect();
    let pods = Api::<Pod>::all(shoot.client.client.clone()).list(&ListParams::default()).await;
    for pod in pods.map_err(Error::api("list the Pods of a Shoot"))? {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) else { continue };
        let (namespace, name) = name_of(&pod);
        let api: Api<Pod> = Api::namespaced(shoot.client.client.clone(), &namespace);
        let host = hosts.get(node).filter(|_| pod.metadata.deletion_timestamp.is_none());
        let written = match host {
            None => api.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop),
            Some(_) if plan::has_ended(&pod) => continue,
            Some(host) => {
                let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
                let address = match plan::address_of_pod(&pod) {
                    Some(address) => address,
                    None if on_host => *host,
                    None => shoot.addresses.take(Half::Reported)?,
                };
                let status = compose(&pod, &Observed { address, host: *host, running: BTreeMap::new() }, &now());
                if pod.status.as_ref() == Some(&status) {
                    continue;
                }
                let patch = Patch::Merge(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
                api.patch_status(&name, &PatchParams::default(), &patch).await.map(drop)
            }
        };
        match written.map_err(Error::api(format!("serve Pod {namespace}/{name} of a Shoot"))) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
