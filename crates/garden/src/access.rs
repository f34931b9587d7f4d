//! Who trusts whom inside: the certificate authorities, the files with their certificates, kubeconfigs and clients.

use std::fs;
use std::path::{Path, PathBuf};

use gardener_testbed::authority::{Authority, Issued};
use gardener_testbed::bed::BedError;
use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::GardenError;
use crate::network::{self, HOST};

/// The user who may do everything.
const ADMIN: &str = "admin";
/// The group that may do everything in a cluster of Kubernetes.
const MASTERS: &str = "system:masters";
/// The group of all gardenlets (`pkg/apis/core/v1beta1/constants/types_constants.go`).
pub(crate) const SEEDS: &str = "gardener.cloud:system:seeds";

/// The certificates of a garden. All of its clusters share one authority.
#[derive(Debug)]
pub(crate) struct Access {
    folder: PathBuf,
    authority: Authority,
    admin: Issued,
}

impl Access {
    /// Creates all keys and certificates of the clusters, in files of `folder`.
    pub(crate) fn create(folder: &Path, clusters: &[&Cluster]) -> Result<Self, GardenError> {
        fs::create_dir_all(folder).map_err(GardenError::system(format!("create {}", folder.display())))?;
        let authority = Authority::create("garden")?;
        let admin = authority.user(ADMIN, Some(MASTERS))?;
        let access = Self { folder: folder.to_owned(), authority, admin };
        access.write("ca.crt", &access.authority.certificate())?;
        access.write("ca.key", &access.authority.private_key())?;
        let known = ["127.0.0.1", "localhost", HOST, "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let services = clusters.iter().map(|cluster| network::address(&cluster.services, 1));
        let services: Vec<_> = services.collect::<Result<_, _>>()?;
        let services: Vec<_> = services.iter().map(String::as_str).collect();
        let names = [known.as_slice(), &["kubernetes.default.svc.cluster.local"], &services].concat();
        access.keep("kube-apiserver", &access.authority.server("kube-apiserver", &names)?)?;
        let names = ["localhost", "gardener-apiserver.kube-system.svc", "127.0.0.1"];
        access.keep("gardener-apiserver", &access.authority.server("gardener-apiserver", &names)?)?;

        // An authority of its own: its users speak for all others.
        let proxies = Authority::create("front-proxies")?;
        access.write("front-proxies.crt", &proxies.certificate())?;
        access.keep("front-proxy", &proxies.user("front-proxy", None)?)?;
        for Cluster { name: cluster, .. } in clusters {
            let key = rcgen::KeyPair::generate().map_err(|error| BedError::Failed {
                doing: "create the key of service accounts".to_owned(),
                cause: error.into(),
            })?;
            access.write(&format!("{cluster}-service-accounts.key"), &key.serialize_pem())?;
            access.write(&format!("{cluster}-service-accounts.pub"), &key.public_key_pem())?;
        }
        Ok(access)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), GardenError> {
        let file = self.file(name);
        fs::write(&file, text).map_err(GardenError::system(format!("write {}", file.display())))
    }

    fn keep(&self, name: &str, issued: &Issued) -> Result<(), GardenError> {
        self.write(&format!("{name}.crt"), &issued.certificate)?;
        self.write(&format!("{name}.key"), &issued.private_key)
    }

    /// A file of this name in the folder of the certificates.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The certificate of the authority, PEM.
    pub(crate) fn authority(&self) -> String {
        self.authority.certificate()
    }

    /// The kubeconfig of the user who may do everything, for the API server at a port of the loopback.
    pub(crate) fn kubeconfig(&self, cluster: &str, port: u16) -> Value {
        self.kubeconfig_of(cluster, port, ADMIN, &self.admin)
    }

    /// The kubeconfig of a gardenlet for the garden cluster. gardenlet accepts neither tokens nor paths of files.
    pub(crate) fn kubeconfig_of_gardenlet(&self, port: u16, seed: &str) -> Result<Value, GardenError> {
        let name = format!("gardener.cloud:system:seed:{seed}");
        let user = self.authority.user(&name, Some(SEEDS))?;
        Ok(self.kubeconfig_of("garden", port, &name, &user))
    }

    fn kubeconfig_of(&self, cluster: &str, port: u16, user: &str, issued: &Issued) -> Value {
        let data = |text: &str| ByteString(text.as_bytes().to_owned());
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority-data": data(&self.authority()),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": data(&issued.certificate),
                "client-key-data": data(&issued.private_key),
            }}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        })
    }
}

/// Writes a kubeconfig. JSON is valid YAML, so that kubectl and all libraries read it.
pub(crate) fn write_kubeconfig(file: &Path, kubeconfig: &Value) -> Result<(), GardenError> {
    fs::write(file, format!("{kubeconfig:#}\n")).map_err(GardenError::system(format!("write {}", file.display())))
}

/// A client that returns errors at once: its callers poll.
pub(crate) async fn client(kubeconfig: &Value) -> Result<Client, GardenError> {
    let unusable = |error: String| GardenError::Unusable(format!("cannot use a kubeconfig: {error}"));
    let kubeconfig: Kubeconfig =
        serde_json::from_value(kubeconfig.clone()).map_err(|error| unusable(error.to_string()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| unusable(error.to_string()))?;
    // As in Go, no proxy leads to the loopback.
    config.proxy_url = None;
    config.default_retry = false;
    Client::try_from(config).map_err(GardenError::request("create a client"))
}
