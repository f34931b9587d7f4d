//! The API servers of awake Shoots: how gardenlet reaches them.

use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::error::Error;
use crate::player::Seed;

/// A client of a Shoot's API server, and the kubeconfig that it was made of.
#[derive(Clone)]
pub(crate) struct ShootClient {
    kubeconfig: Vec<u8>,
    pub(crate) client: Client,
}

impl ShootClient {
    /// Connects with the API server of a Shoot, unless that is known and has the same kubeconfig still. Returns `None` for
    /// a Shoot that cannot be reached yet.
    pub(crate) async fn reach(seed: &Seed, namespace: &str, known: Option<Self>) -> Result<Option<Self>, Error> {
        let secrets: Api<Secret> = Api::namespaced(seed.client.clone(), namespace);
        let secret = secrets.get_opt("gardener-internal").await;
        let secret = secret.map_err(Error::api(format!("read the kubeconfig of {namespace}")))?;
        let Some(kubeconfig) = secret.and_then(|secret| secret.data?.remove("kubeconfig")) else { return Ok(None) };
        if let Some(known) = known.filter(|known| known.kubeconfig == kubeconfig.0) {
            return Ok(Some(known));
        }
        // Its token comes later than the rest.
        let parsed = Kubeconfig::from_yaml(&String::from_utf8_lossy(&kubeconfig.0));
        let Ok(parsed) = parsed else { return Ok(None) };
        let Ok(config) = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await else {
            return Ok(None);
        };
        let client = Client::try_from(config).map_err(Error::api(format!("use the kubeconfig of {namespace}")))?;
        Ok(Some(Self { kubeconfig: kubeconfig.0, client }))
    }
}
