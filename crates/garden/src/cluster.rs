//! The two clusters, garden and seed: etcd, kube-apiserver, and the controllers of Kubernetes that each needs.

use kube::Client;

use crate::access::Access;
use crate::network::HOST;
use crate::processes::Recipe;

/// A cluster, as its programs' command lines need it. The ports are free: nothing else runs in the network inside.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// `garden` or `seed`.
    pub(crate) name: &'static str,
    /// The port of its kube-apiserver.
    pub(crate) port: u16,
    /// The port of its etcd, for clients. The next one is for peers.
    etcd: u16,
    /// The port of its kube-controller-manager. The next one is for its kube-scheduler.
    controllers: u16,
    /// The network of its Services.
    pub(crate) services: String,
}

impl Cluster {
    pub(crate) fn garden(services: String) -> Self {
        Self { name: "garden", port: 6443, etcd: 2379, controllers: 6460, services }
    }

    pub(crate) fn seed(services: String) -> Self {
        Self { name: "seed", port: 6444, etcd: 2389, controllers: 6470, services }
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

    /// kube-apiserver. The seed's one gets `--enable-aggregator-routing`, because gardener-resource-manager serves an
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
        if self.name == "seed" {
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

    /// The garden cluster runs no Pods. The players of the seed cluster are its nodes, and do the work of the
    /// controllers that are left out there.
    fn wanted_controllers(&self) -> &'static str {
        if self.name == "garden" {
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
