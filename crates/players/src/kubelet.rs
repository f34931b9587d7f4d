//! Kubelet: stands for the kubelets of all nodes. A Pod with a container whose program is at hand really runs; every
//! other Pod is reported as running and ready at once, or as succeeded if it is to end. Pods of foreign nodes are
//! ignored. Leaves out init containers, which always succeed, resources, and static Pods.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use futures::stream::{select, unfold};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::{self, Action, trigger_self};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::{WatchStreamExt as _, applier, reflector, watcher};
use kube::{Api, ResourceExt as _};
use mock_hollow::pod::{Observed, View, compose};
use rustix::fs::{Access, access};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::addresses::{Addresses, Half};
use crate::container::now;
use crate::environment::Place;
use crate::error::Error;
use crate::player::{Seed, drain, name_of, retry};
use crate::running_pod::RunningPod;
use crate::sandbox::{self, Network};
use crate::shoot_pods::ShootPods;
use crate::vpn_proxy::VpnProxies;

/// A Pod's namespace and name.
type Key = (String, String);

/// What is to be done with a Pod.
#[derive(Debug, PartialEq, Eq)]
enum Duty {
    /// Nothing: it is on no node of ours, or has ended.
    Leave,
    /// Stop it, and confirm that to the API server.
    Delete,
    /// Run these programs, and report what they do.
    Run(BTreeMap<String, PathBuf>),
    /// Report it.
    Report,
}

/// The kubelets of all nodes.
pub(crate) struct Kubelet {
    seed: Arc<Seed>,
    addresses: Mutex<Addresses>,
    running: Mutex<HashMap<Key, RunningPod>>,
    proxies: VpnProxies,
    started: AtomicU32,
    notify: UnboundedSender<ObjectRef<Pod>>,
    changes: Mutex<Option<UnboundedReceiver<ObjectRef<Pod>>>>,
}

impl Kubelet {
    /// Makes the network of the Pods. Deletes what an earlier run left.
    pub(crate) async fn start(seed: Arc<Seed>, shoot_pods: ShootPods) -> Result<Arc<Self>, Error> {
        let folder = seed.args.root.join("pods");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("delete", folder.display()))?;
        }
        let mut free = Addresses::new(seed.args.pod_net);
        let api: Api<Pod> = Api::all(seed.client.clone());
        let pods = api.list(&ListParams::default()).await.map_err(Error::api("list Pods"))?;
        for pod in &pods.items {
            for address in addresses_of(pod) {
                free.seen(address);
            }
        }
        sandbox::share_network(&seed, free.gateway(), free.reported()?).await?;
        let (notify, changes) = unbounded_channel();
        Ok(Arc::new(Self {
            seed,
            addresses: Mutex::new(free),
            running: Mutex::new(HashMap::new()),
            proxies: VpnProxies::new(shoot_pods),
            started: AtomicU32::new(0),
            notify,
            changes: Mutex::new(Some(changes)),
        }))
    }

    /// Serves all Pods for ever.
    pub(crate) async fn play(self: Arc<Self>) {
        let changes = self.changes.lock().await.take();
        let changes = unfold(changes, async |changes| {
            let mut changes = changes?;
            changes.recv().await.map(|pod| (Ok(pod.into()), Some(changes)))
        });
        let (pods, writer) = store();
        let api = Api::all(self.seed.client.clone());
        let events = reflector(writer, watcher(api, watcher::Config::default())).default_backoff().touched_objects();
        // Not a `Controller`: one takes changes of containers only with features of kube that are unstable.
        let results = applier(
            |pod: Arc<Pod>, kubelet| Box::pin(Self::reconcile(pod, kubelet)),
            retry,
            self.clone(),
            pods,
            select(trigger_self(events, ()), changes),
            controller::Config::default(),
        );
        let gone = |object: &ObjectRef<_>| {
            let key = (object.namespace.clone().unwrap_or_default(), object.name.clone());
            let kubelet = self.clone();
            tokio::spawn(async move { kubelet.stop(&key).await });
        };
        drain("kubelet", results, gone).await;
    }

    /// Stops all programs.
    pub(crate) async fn stop_all(&self) {
        let pods: Vec<RunningPod> = self.running.lock().await.drain().map(|(_, pod)| pod).collect();
        join_all(pods.into_iter().map(RunningPod::stop)).await;
    }

    async fn stop(&self, key: &Key) {
        self.proxies.stop(key).await;
        let pod = self.running.lock().await.remove(key);
        if let Some(pod) = pod {
            pod.stop().await;
        }
    }

    async fn reconcile(pod: Arc<Pod>, kubelet: Arc<Self>) -> Result<Action, Error> {
        let args = &kubelet.seed.args;
        let key = name_of(pod.as_ref());
        let Some(host) = node(&pod).and_then(|name| args.address_of_node(name)) else {
            return Ok(Action::await_change());
        };
        match duty(&pod, &args.bin) {
            Duty::Leave => {}
            Duty::Delete => {
                kubelet.stop(&key).await;
                kubelet.confirm_deletion(&pod).await?;
            }
            Duty::Run(programs) => {
                let observed = kubelet.run(&pod, host, &programs).await?;
                kubelet.report(&pod, &observed).await?;
            }
            Duty::Report => {
                let address = kubelet.address(&pod, Half::Reported).await?;
                let place = Place { address, host, api_host: args.api_host() };
                kubelet.proxies.ensure(&kubelet.seed, &pod, place).await?;
                kubelet.report(&pod, &observed(address, host, BTreeMap::new())).await?;
            }
        }
        Ok(Action::await_change())
    }

    /// Starts a Pod unless it runs. Returns what its containers do.
    async fn run(
        &self,
        pod: &Arc<Pod>,
        host: Ipv4Addr,
        programs: &BTreeMap<String, PathBuf>,
    ) -> Result<Observed, Error> {
        let key = name_of(pod.as_ref());
        let observed = |running: &RunningPod| observed(running.place().address, host, running.views());
        let earlier = {
            let mut pods = self.running.lock().await;
            match pods.get(&key) {
                Some(running) if running.is(pod) => return Ok(observed(running)),
                Some(_) => pods.remove(&key),
                None => None,
            }
        };
        if let Some(earlier) = earlier {
            earlier.stop().await;
        }
        let address = self.address(pod, Half::Runs).await?;
        let place = Place { address, host, api_host: self.seed.args.api_host() };
        let network = Network::Bridge(self.started.fetch_add(1, Ordering::Relaxed));
        let object = ObjectRef::from_obj(pod.as_ref());
        let notify = self.notify.clone();
        // Fails only while the process ends.
        let changed = Arc::new(move || drop(notify.send(object.clone())));
        let started = RunningPod::start(self.seed.clone(), pod.clone(), place, network, programs, changed).await;
        if started.is_err() && addresses_of(pod).is_empty() {
            self.addresses.lock().await.release(address);
        }
        let running = started?;
        let observed = observed(&running);
        self.running.lock().await.insert(key, running);
        Ok(observed)
    }

    /// The address that a Pod has, or a new one.
    async fn address(&self, pod: &Pod, half: Half) -> Result<Ipv4Addr, Error> {
        match addresses_of(pod).first() {
            Some(address) => Ok(*address),
            None => self.addresses.lock().await.take(half),
        }
    }

    /// Writes the status of a Pod, if it changed.
    async fn report(&self, pod: &Pod, observed: &Observed) -> Result<(), Error> {
        let status = compose(pod, observed, &now());
        if pod.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let (namespace, name) = name_of(pod);
        let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": status });
        let api = self.api(&namespace);
        let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map(drop).map_err(Error::api(format!("write the status of Pod {namespace}/{name}")))
    }

    /// Tells the API server that a Pod has ended, which deletes it.
    async fn confirm_deletion(&self, pod: &Pod) -> Result<(), Error> {
        let (namespace, name) = name_of(pod);
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let deleted = self.api(&namespace).delete(&name, &params).await;
        deleted.map_err(Error::api(format!("confirm the deletion of Pod {namespace}/{name}")))?;
        for address in addresses_of(pod) {
            self.addresses.lock().await.release(address);
        }
        Ok(())
    }

    fn api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.seed.client.clone(), namespace)
    }
}

/// What is known of a Pod with an address, on a host.
fn observed(address: Ipv4Addr, host: Ipv4Addr, running: BTreeMap<String, View>) -> Observed {
    Observed { address: address.into(), host: host.into(), running }
}

/// The node of a Pod.
fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The address that a Pod's status reports, if there is one.
fn addresses_of(pod: &Pod) -> Vec<Ipv4Addr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    address.and_then(|address| address.parse().ok()).into_iter().collect()
}

/// What is to be done with a Pod on a node of ours, given the folder of programs.
fn duty(pod: &Pod, bin: &Path) -> Duty {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        return Duty::Delete;
    }
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Duty::Leave;
    }
    let programs = programs(pod, bin);
    if programs.is_empty() { Duty::Report } else { Duty::Run(programs) }
}

/// The containers of a Pod whose programs are at hand, in a folder of programs.
pub(crate) fn programs(pod: &Pod, bin: &Path) -> BTreeMap<String, PathBuf> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let programs = containers.filter_map(|container| {
        let file = bin.join(&container.name);
        (file.is_file() && access(&file, Access::EXEC_OK).is_ok()).then(|| (container.name.clone(), file))
    });
    programs.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::Value;

    use super::*;

    fn pod(status: &Value, metadata: &Value) -> Pod {
        let spec = json!({ "containers": [{ "name": "etcd" }, { "name": "backup-restore" }], "nodeName": "node-0" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
    }

    #[test]
    fn container_whose_program_is_at_hand_runs() {
        let bin = tempfile::tempdir().unwrap();
        let pod = pod(&json!({}), &json!({}));
        let program = bin.path().join("etcd");
        assert_eq!(duty(&pod, bin.path()), Duty::Report);
        fs::write(&program, "").unwrap();
        assert_eq!(duty(&pod, bin.path()), Duty::Report, "the file is not executable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(duty(&pod, bin.path()), Duty::Run(BTreeMap::from([("etcd".to_owned(), program)])));
    }

    #[test]
    fn pod_that_ended_is_left_alone_until_it_is_deleted() {
        let bin = Path::new("/nowhere");
        let ended = json!({ "phase": "Succeeded" });
        assert_eq!(duty(&pod(&ended, &json!({})), bin), Duty::Leave);
        let deleted = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        assert_eq!(duty(&pod(&ended, &deleted), bin), Duty::Delete);
    }
}
