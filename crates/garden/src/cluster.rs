//! The clusters, of the garden and of each seed: etcd, kube-apiserver, and the controllers of Kubernetes that each needs.

use kube::Client;

use crate::access::Access;
use crate::network::{GARDEN_SERVICES, HOST};
use crate::processes::Recipe;

/// The first port of the garden cluster. Each seed has the next ten. They are free: nothing else runs in the network
/// inside.
const FIRST_PORT: u16 = 7000;

/// What a cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Garden,
    Seed,
}

/// A cluster, as its programs' command lines need it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// `garden`, `seed`, `seed-2`…
    pub(crate) name: String,
    role: Role,
    /// The port of its kube-apiserver.
    pub(crate) port: u16,
    /// The port of its etcd, for clients. The next one is for peers.
    etcd: u16,
    /// The port of its kube-controller-manager. The next one is for its kube-scheduler.
    controllers: u16,
    /// The first of two ports for its gardenlet.
    pub(crate) gardenlet: u16,
    /// The network of its Services.
    pub(crate) services: String,
}

/// The name of a thing of which the garden has several. The first one has no number.
pub(crate) fn numbered(name: &str, number: u8) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}-{number}") }
}

impl Cluster {
    pub(crate) fn garden() -> Self {
        Self::at(FIRST_PORT, "garden".to_owned(), Role::Garden, GARDEN_SERVICES)
    }

    /// The cluster of the seed with this number, from 1.
    pub(crate) fn seed(number: u8, services: &str) -> Self {
        Self::at(FIRST_PORT + 10 * u16::from(number), numbered("seed", number), Role::Seed, services)
    }

    fn at(port: u16, name: String, role: Role, services: &str) -> Self {
        let services = services.to_owned();
        Self { name, role, port, etcd: port + 1, controllers: port + 3, gardenlet: port + 5, services }
    }

    /// The address of its etcd.
    pub(crate) fn etcd_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }

    /// etcd. Its data is lost with the garden, so that it need not wait for the disk.
    pub(crate) fn etcd(&self) -> Recipe {
        let Self { name, etcd, .. } = self;
        let peer = format!("http://127.0.0.1:{}", etcd + 1);
        let arguments = vec![
            format!("--data-dir={name}-etcd"),
            "--unsafe-no-fsync".to_owned(),
            // In ms. The only member waits one election timeout before it elects itself. The default is 1000.
            "--heartbeat-interval=10".to_owned(),
            "--election-timeout=50".to_owned(),
            "--quota-backend-bytes=8589934592".to_owned(),
            format!("--listen-client-urls={}", self.etcd_address()),
            format!("--advertise-client-urls={}", self.etcd_address()),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        Recipe::new(format!("{name}-etcd"), "etcd", arguments)
    }

    /// kube-apiserver. A seed's one gets `--enable-aggregator-routing`, because gardener-resource-manager serves an
    /// aggregated API at the address of its Pod.
    pub(crate) fn kube_apiserver(&self, access: &Access) -> Recipe {
        let Self { name, port, services, .. } = self;
        let file = |name: &str| access.file(name).display().to_string();
        let service_accounts = |extension: &str| file(&format!("{name}-service-accounts.{extension}"));
        let mut arguments = vec![
            format!("--etcd-servers={}", self.etcd_address()),
            format!("--secure-port={port}"),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={HOST}"),
            format!("--tls-cert-file={}", file("kube-apiserver.crt")),
            format!("--tls-private-key-file={}", file("kube-apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--service-cluster-ip-range={services}"),
            format!("--service-account-key-file={}", service_accounts("pub")),
            format!("--service-account-signing-key-file={}", service_accounts("key")),
            format!("--service-account-issuer=https://{name}.example"),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged".to_owned(),
            "--profiling=false".to_owned(),
            format!("--requestheader-client-ca-file={}", file("front-proxies.crt")),
            format!("--proxy-client-cert-file={}", file("front-proxy.crt")),
            format!("--proxy-client-key-file={}", file("front-proxy.key")),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        ];
        if self.role == Role::Seed {
            arguments.push("--enable-aggregator-routing=true".to_owned());
        }
        Recipe::new(format!("{name}-kube-apiserver"), "kube-apiserver", arguments)
    }

    /// kube-controller-manager, with the controllers that this cluster needs.
    pub(crate) fn kube_controller_manager(&self, access: &Access, kubeconfig: &str) -> Recipe {
        let Self { name, controllers, .. } = self;
        let file = |name: &str| access.file(name).display().to_string();
        let mut arguments = Self::controller(kubeconfig, *controllers);
        arguments.extend([
            format!("--controllers={}", self.wanted_controllers()),
            format!("--service-account-private-key-file={}", file(&format!("{name}-service-accounts.key"))),
            format!("--root-ca-file={}", file("ca.crt")),
            format!("--cluster-signing-cert-file={}", file("ca.crt")),
            format!("--cluster-signing-key-file={}", file("ca.key")),
            "--concurrent-deployment-syncs=10".to_owned(),
            "--concurrent-gc-syncs=10".to_owned(),
        ]);
        Recipe::new(format!("{name}-kube-controller-manager"), "kube-controller-manager", arguments)
    }

    /// The garden cluster runs no Pods. The players of a seed cluster are its nodes, and do the work of the
    /// controllers that are left out there.
    fn wanted_controllers(&self) -> &'static str {
        if self.role == Role::Garden {
            "namespace-controller,serviceaccount-controller,serviceaccount-token-controller,\
             root-ca-certificate-publisher-controller,garbage-collector-controller,clusterrole-aggregation-controller,\
             certificatesigningrequest-signing-controller,certificatesigningrequest-approving-controller,\
             resourcequota-controller"
        } else {
            "*,-node-lifecycle-controller,-node-ipam-controller,-taint-eviction-controller,\
             -persistentvolume-attach-detach-controller,-device-taint-eviction-controller"
        }
    }

    /// kube-scheduler.
    pub(crate) fn kube_scheduler(&self, kubeconfig: &str) -> Recipe {
        let arguments = Self::controller(kubeconfig, self.controllers + 1);
        Recipe::new(format!("{}-kube-scheduler", self.name), "kube-scheduler", arguments)
    }

    fn controller(kubeconfig: &str, port: u16) -> Vec<String> {
        vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            "--profiling=false".to_owned(),
        ]
    }
}

/// Fails as long as an API server does not answer at a path. The text says how.
pub(crate) async fn answers(client: &Client, path: &str) -> Result<(), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request_text(request).await.map(drop).map_err(|error| format!("{path}: {error}"))
}
