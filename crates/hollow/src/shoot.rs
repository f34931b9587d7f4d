//! The nodes of one Shoot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use k8s_openapi::api::core::v1::{Container, Node, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::act::{act, renew};
use crate::decide::{Act, Given, Seen, decide};
use crate::node;
use crate::outage::Outage;
use crate::plan::Plan;
use crate::watch::mirror;

/// How often a kubelet renews its Lease. kube-controller-manager gives up a node after 40 s, so that there is time for
/// another replica of this controller to take over.
const RENEW: Duration = Duration::from_secs(10);
/// Events that follow each other this closely lead to one decision.
const CALM: Duration = Duration::from_millis(50);
/// For so long, a decision waits for events that do not end.
const LONGEST_STORM: Duration = Duration::from_secs(1);
/// Shortest and longest pause after an error.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How long all requests of a decision may take. An API server may stop meanwhile.
const LIMIT: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);

/// Labels of the Secrets that each have the OperatingSystemConfig of a pool, and the annotation with its checksum
/// (`pkg/component/extensions/operatingsystemconfig/original/components/nodeagent/secrets.go`).
const CONFIGS: &str = "gardener.cloud/role=operating-system-config";
const CHECKSUM: &str = "checksum/data-script";

/// Why something cannot be done now.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Request(#[from] kube::Error),
    #[error("{0}")]
    Watch(#[from] watcher::Error),
    #[error("the API server does not answer in time")]
    Late,
    #[error("the network {0} has no free address")]
    Full(ipnet::IpNet),
}

/// The client of a kubeconfig. Returns `None` for one without credentials: gardener-resource-manager adds the token later.
///
/// Of the credentials, only those count that are in the kubeconfig itself: whoever writes it must not make this process run
/// a program or read a file.
pub(crate) async fn connect(kubeconfig: &[u8]) -> Option<Client> {
    let mut kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(kubeconfig).ok()?).ok()?;
    for user in &mut kubeconfig.auth_infos {
        let AuthInfo { token, client_certificate_data, client_key_data, .. } = user.auth_info.take()?;
        if token.is_none() && client_certificate_data.is_none() {
            return None;
        }
        user.auth_info = Some(AuthInfo { token, client_certificate_data, client_key_data, ..AuthInfo::default() });
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.ok()?;
    // The address is one of the seed's network. kube would take HTTPS_PROXY also for that.
    config.proxy_url = None;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).ok()
}

/// Keeps the nodes of a Shoot. Returns when no node should be there, and none is.
pub(crate) async fn serve(shoot: String, client: Client, mut plans: Receiver<Plan>) {
    let mut keeper = Keeper { shoot, client, given: Given::default(), outage: Outage::default() };
    if !keeper.reach(&mut plans).await {
        return;
    }
    let (there, mut events) = There::watch(&keeper.client);
    let first_events = async {
        while let Some(event) = events.next().await {
            keeper.note(event, &plans);
        }
    };
    tokio::select! {
        () = there.listed() => {}
        () = first_events => return,
    }
    let mut leases = interval(RENEW);
    leases.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = PAUSES.0;
    let mut due = Some(Instant::now());
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                if !keeper.note(event, &plans) {
                    continue;
                }
            }
            Ok(()) = plans.changed() => {}
            () = until(due) => {}
            _ = leases.tick() => {
                keeper.renew(&there, &plans).await;
                continue;
            }
        }
        let latest = Instant::now() + LONGEST_STORM;
        while Instant::now() < latest
            && let Ok(Some(event)) = timeout(CALM, events.next()).await
        {
            keeper.note(event, &plans);
        }
        let plan = plans.borrow_and_update().clone();
        match keeper.bring(&there, &plan).await {
            Ok(true) => return,
            Ok(false) => {
                keeper.works();
                (due, pause) = (None, PAUSES.0);
            }
            Err(error) => {
                keeper.failed(&error, &plan);
                due = Some(Instant::now() + pause);
                pause = PAUSES.1.min(pause * 2);
            }
        }
    }
}

/// Returns at the time, and never without one.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

type Events = BoxStream<'static, Result<(), watcher::Error>>;

/// What there is in the Shoot, kept up to date by watches.
struct There {
    nodes: Store<Node>,
    pods: Store<Pod>,
    configs: Store<PartialObjectMeta<Secret>>,
}

impl There {
    fn watch(client: &Client) -> (Self, Events) {
        fn plain<K: Send + 'static>(
            events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
        ) -> BoxStream<'static, Result<(), watcher::Error>> {
            events.map(|event| event.map(drop)).boxed()
        }
        let everything = watcher::Config::default;
        let of_configs = everything().labels(CONFIGS);
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), "kube-system");
        let (nodes, of_nodes) = mirror((), watcher(Api::<Node>::all(client.clone()), everything()), forget_images);
        let (pods, of_pods) = mirror((), watcher(Api::<Pod>::all(client.clone()), everything()), forget_details);
        let (configs, of_configs) = mirror((), watcher(secrets, of_configs), |_| {});
        (Self { nodes, pods, configs }, select_all([plain(of_nodes), plain(of_pods), plain(of_configs)]).boxed())
    }

    /// Returns when all watches have listed what there is.
    async fn listed(&self) {
        // It fails only after the end of the watch, which has none.
        let _ =
            tokio::join!(self.nodes.wait_until_ready(), self.pods.wait_until_ready(), self.configs.wait_until_ready());
    }

    fn seen(&self) -> Seen {
        let checksum = |secret: Arc<PartialObjectMeta<Secret>>| {
            Some((secret.name_any(), secret.annotations().get(CHECKSUM)?.clone()))
        };
        let checksums: BTreeMap<_, _> = self.configs.state().into_iter().filter_map(checksum).collect();
        Seen { nodes: self.nodes.state(), pods: self.pods.state(), checksums }
    }
}

/// Drops what no decision needs. Other programs may report images and volumes.
fn forget_images(node: &mut Node) {
    if let Some(status) = &mut node.status {
        status.images = None;
    }
}

/// Drops what no decision needs of a Pod: the store holds all Pods of the Shoot.
fn forget_details(pod: &mut Pod) {
    pod.metadata.annotations = None;
    pod.metadata.labels = None;
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes = None;
    spec.affinity = None;
    spec.tolerations = None;
    spec.topology_spread_constraints = None;
    let init = spec.init_containers.as_mut();
    for container in spec.containers.iter_mut().chain(init.into_iter().flatten()) {
        *container = Container {
            name: std::mem::take(&mut container.name),
            image: container.image.take(),
            restart_policy: container.restart_policy.take(),
            ..Container::default()
        };
    }
}

/// Keeps the nodes of one Shoot.
struct Keeper {
    shoot: String,
    client: Client,
    given: Given,
    outage: Outage,
}

impl Keeper {
    /// Waits until the API server answers. Returns `false` if there is nothing to do there.
    async fn reach(&mut self, plans: &mut Receiver<Plan>) -> bool {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut pause = PAUSES.0;
        loop {
            let listed = nodes.list(&ListParams::default()).await;
            let plan = plans.borrow_and_update().clone();
            match listed {
                Ok(nodes) => return !plan.nodes.is_empty() || nodes.iter().any(node::is_ours),
                Err(error) => self.failed(&error.into(), &plan),
            }
            // While a Shoot falls asleep, its API server may be gone for good.
            let longest = if plan.nodes.is_empty() { PAUSES.1 * 4 } else { PAUSES.1 };
            pause = longest.min(pause * 2);
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = plans.changed() => pause = PAUSES.0,
            }
        }
    }

    /// Makes and carries out a decision. Returns whether all is done for ever: no node should be there, and none is.
    async fn bring(&mut self, there: &There, plan: &Plan) -> Result<bool, Error> {
        let seen = there.seen();
        let decision = decide(&seen, plan, &mut self.given, &Time(Timestamp::now()));
        let count = |is: fn(&Act) -> bool| decision.acts.iter().filter(|act| is(act)).count();
        let created = count(|act| matches!(act, Act::CreateNode(_)));
        let deleted = count(|act| matches!(act, Act::DeleteNode(_)));
        let requests = async {
            for request in &decision.acts {
                act(&self.client, request).await?;
            }
            Ok::<_, Error>(())
        };
        timeout(LIMIT, requests).await.map_err(|_| Error::Late)??;
        if created + deleted > 0 {
            tracing::info!(shoot = self.shoot, created, deleted, "changed the nodes as the Worker demands");
        }
        if let Some(network) = decision.full {
            return Err(Error::Full(network));
        }
        let has_ours = seen.nodes.iter().any(|node| node::is_ours(node));
        Ok(plan.nodes.is_empty() && decision.acts.is_empty() && !has_ours)
    }

    /// Renews all Leases.
    async fn renew(&mut self, there: &There, plans: &Receiver<Plan>) {
        let mut ours = there.nodes.state();
        ours.retain(|node| node::is_ours(node));
        let renewed = timeout(RENEW, renew(&self.client, ours)).await;
        if let Err(error) = renewed.map_or(Err(Error::Late), |renewed| renewed.map_err(Error::from)) {
            let plan = plans.borrow().clone();
            self.failed(&error, &plan);
        }
    }

    /// Notes an event of a watch. Returns whether something changed.
    fn note(&mut self, event: Result<(), watcher::Error>, plans: &Receiver<Plan>) -> bool {
        let Err(error) = event else { return true };
        let plan = plans.borrow().clone();
        self.failed(&error.into(), &plan);
        false
    }

    fn failed(&mut self, error: &Error, plan: &Plan) {
        let shoot = &self.shoot;
        // The API server of a Shoot that falls asleep stops.
        if !plan.nodes.is_empty() && self.outage.failed(Instant::now().into_std()) {
            tracing::warn!(shoot, %error, "cannot keep the nodes of the Shoot for a while; trying again");
        } else {
            tracing::debug!(shoot, %error, "cannot keep the nodes of the Shoot; trying again");
        }
    }

    fn works(&mut self) {
        if self.outage.ended() {
            tracing::info!(shoot = self.shoot, "keeps the nodes of the Shoot again");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A kubeconfig for a user with these credentials.
    fn kubeconfig(user: &Value) -> Vec<u8> {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "c", "cluster": { "server": "https://kube-apiserver.n.svc" } }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "c",
        })
        .to_string()
        .into_bytes()
    }

    #[tokio::test]
    async fn kubeconfig_needs_credentials_of_its_own_and_runs_no_program() {
        assert!(connect(&kubeconfig(&json!({ "token": "t" }))).await.is_some());
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran");
        let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [ran] });
        for user in [json!({}), json!({ "tokenFile": "/dev/null" }), json!({ "exec": exec })] {
            assert!(connect(&kubeconfig(&user)).await.is_none(), "{user}");
        }
        assert!(connect(&kubeconfig(&json!({ "token": "t", "exec": exec }))).await.is_some());
        assert!(!ran.exists());
        assert!(connect(b"odd").await.is_none());
    }
}
