//! Pods of awake Shoots: stands for the container runtime of their nodes. A container with the name of a static program
//! really runs, as in the seed; the hollow nodes report the status of all Pods. A Pod that runs has a network of its own,
//! which only the kubelet's port and the tunnel reach. Leaves out connections of such Pods to anything else, and probes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::args::SeedArgs;
use crate::endpoints::Endpoints;
use crate::environment::Place;
use crate::error::Error;
use crate::kubelet::programs;
use crate::player::{Seed, name_of};
use crate::port_forward::Dial;
use crate::running_pod::RunningPod;
use crate::sandbox::{Network, Sandbox};
use crate::shoot_client::ShootClient;

/// How often Shoots are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How long one look may take. The API server of a Shoot may have stopped.
const LIMIT: Duration = Duration::from_secs(20);

/// A Pod's namespace and name.
type Key = (String, String);

/// What is known of an awake Shoot.
#[derive(Default)]
struct Shoot {
    client: Option<ShootClient>,
    pods: HashMap<Key, RunningPod>,
}

/// One Pod that runs, for its clients.
#[derive(Debug, Clone)]
struct Entry {
    shoot: String,
    pod: Key,
    address: Ipv4Addr,
    sandbox: Weak<Sandbox>,
}

/// The Pods of all awake Shoots that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShootPods(Arc<Mutex<Vec<Entry>>>);

impl ShootPods {
    /// Runs the Pods of all awake Shoots for ever.
    pub(crate) async fn play(self, seed: Arc<Seed>, endpoints: Endpoints) {
        let mut shoots: HashMap<String, Shoot> = HashMap::new();
        loop {
            sleep(PERIOD).await;
            let awake = endpoints.namespaces_ready("kube-apiserver", "kube-apiserver");
            let asleep = shoots.extract_if(|namespace, _| !awake.contains(namespace));
            let asleep: Vec<RunningPod> = asleep.flat_map(|(_, shoot)| shoot.pods.into_values()).collect();
            join_all(asleep.into_iter().map(RunningPod::stop)).await;
            for namespace in awake {
                shoots.entry(namespace).or_default();
            }
            join_all(shoots.iter_mut().map(async |(namespace, shoot)| {
                if let Ok(Err(error)) = timeout(LIMIT, follow(&seed, namespace, shoot)).await {
                    tracing::info!(namespace, %error, "cannot run the Shoot's Pods yet; trying again");
                }
            }))
            .await;
            let entries = shoots.iter().flat_map(|(namespace, shoot)| entries(namespace, shoot)).collect();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entries;
        }
    }

    /// A Pod of a Shoot, by its name.
    pub(crate) fn named(&self, shoot: &str, namespace: &str, name: &str) -> Target {
        self.find(shoot, |entry| entry.pod.0 == namespace && entry.pod.1 == name)
    }

    /// A Pod of a Shoot, by its address. Returns `None` if no Pod with this address runs.
    pub(crate) fn at(&self, shoot: &str, address: IpAddr) -> Option<Target> {
        let target = self.find(shoot, |entry| entry.address == address);
        target.0.is_some().then_some(target)
    }

    fn find(&self, shoot: &str, chosen: impl Fn(&Entry) -> bool) -> Target {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.iter().find(|entry| entry.shoot == shoot && chosen(entry));
        Target(entry.map(|entry| entry.sandbox.clone()))
    }
}

/// The folder of a Shoot's Pods and their logs.
pub(crate) fn root(seed: &Seed, shoot: &str) -> PathBuf {
    seed.args.root.join("shoots").join(shoot)
}

/// A Pod whose ports are wanted. It may be reported only.
pub(crate) struct Target(Option<Weak<Sandbox>>);

impl Dial for Target {
    async fn dial(&self, port: u16) -> Result<TcpStream, String> {
        let sandbox = self.0.as_ref().and_then(Weak::upgrade);
        let sandbox = sandbox.ok_or("this Pod is only reported as running: no program listens at its ports")?;
        sandbox.connect(port).await.map_err(|error| format!("cannot connect to port {port} of the Pod: {error}"))
    }
}

fn entries<'a>(namespace: &'a str, shoot: &'a Shoot) -> impl Iterator<Item = Entry> + 'a {
    shoot.pods.iter().map(|(key, pod)| Entry {
        shoot: namespace.to_owned(),
        pod: key.clone(),
        address: pod.place().address,
        sandbox: pod.sandbox(),
    })
}

/// Brings the running Pods of a Shoot in line with its API server.
async fn follow(seed: &Arc<Seed>, namespace: &str, shoot: &mut Shoot) -> Result<(), Error> {
    let known = shoot.client.take();
    shoot.client = ShootClient::reach(seed, namespace, known).await?;
    let Some(reached) = &shoot.client else { return Ok(()) };
    let pods = Api::<Pod>::all(reached.client.clone()).list(&ListParams::default()).await;
    let pods = pods.map_err(Error::api(format!("list the Pods of {namespace}")))?;
    let wanted: HashMap<Key, (Pod, Place)> = pods
        .into_iter()
        .filter(|pod| !programs(pod, &seed.args.bin).is_empty())
        .filter_map(|pod| {
            let place = place(&pod)?;
            Some((name_of(&pod), (pod, place)))
        })
        .collect();
    let stays = |key: &Key, running: &RunningPod| wanted.get(key).is_some_and(|(pod, _)| running.is(pod));
    for (_, stopped) in shoot.pods.extract_if(|key, running| !stays(key, running)) {
        stopped.stop().await;
    }
    for (key, (pod, place)) in wanted {
        if shoot.pods.contains_key(&key) {
            continue;
        }
        let args = SeedArgs { root: root(seed, namespace), ..seed.args.clone() };
        let of_shoot = Arc::new(Seed { client: reached.client.clone(), args, tools: seed.tools.clone() });
        let programs = programs(&pod, &seed.args.bin);
        // The hollow nodes report the Pod as running, whatever its program does.
        let changed = Arc::new(|| {});
        match RunningPod::start(of_shoot, Arc::new(pod), place, Network::Alone, &programs, changed).await {
            Ok(pod) => drop(shoot.pods.insert(key, pod)),
            Err(error) => {
                let (namespace, name) = key;
                tracing::info!(namespace, name, %error, "cannot run a Pod of a Shoot yet; trying again");
            }
        }
    }
    Ok(())
}

/// Where a Pod is. Returns `None` unless a node runs it.
fn place(pod: &Pod) -> Option<Place> {
    let status = pod.status.as_ref()?;
    let is_running = pod.metadata.deletion_timestamp.is_none() && status.phase.as_deref() == Some("Running");
    let address = status.pod_ip.as_ref().filter(|_| is_running)?.parse().ok()?;
    let host = status.host_ip.as_ref()?.parse().ok()?;
    // Without a way to the API server, its address is that of no host.
    Some(Place { address, host, api_host: Ipv4Addr::UNSPECIFIED.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(metadata: &Value, status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap()
    }

    #[test]
    fn pod_has_a_place_from_its_report_until_its_deletion() {
        let running = json!({ "phase": "Running", "podIP": "100.64.0.9", "hostIP": "10.10.0.10" });
        assert_eq!(place(&pod(&json!({}), &running)).unwrap().address, Ipv4Addr::new(100, 64, 0, 9));
        assert!(place(&pod(&json!({}), &json!({ "phase": "Pending" }))).is_none());
        assert!(place(&pod(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), &running)).is_none());
    }

    #[tokio::test]
    async fn connection_to_a_pod_that_is_only_reported_is_refused_in_words() {
        let pods = ShootPods::default();
        let refusal = pods.named("shoot", "default", "web").dial(80).await.unwrap_err();
        assert!(refusal.starts_with("this Pod is only reported"), "{refusal}");
        assert!(pods.at("shoot", IpAddr::from([100, 64, 0, 9])).is_none());
    }
}
