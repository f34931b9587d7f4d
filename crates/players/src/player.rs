//! What all players share: the seed's API server, the flags, and how a player follows its objects.

use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::args::SeedArgs;
use crate::error::Error;
use crate::tools::Tools;

/// Who wrote a field, and the reason of conditions.
pub(crate) const PLAYER: &str = "mock-players";

/// Pause after an error.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// How long the API server may take to start.
const START: Duration = Duration::from_secs(30);

/// What all players share.
pub(crate) struct Seed {
    /// Client of the seed's API server.
    pub(crate) client: Client,
    /// The flags.
    pub(crate) args: SeedArgs,
    /// Tools of the system.
    pub(crate) tools: Tools,
}

impl Seed {
    /// Connects with the seed's API server. Waits for it up to 30 s.
    pub(crate) async fn connect(args: SeedArgs) -> Result<Self, Error> {
        let tools = Tools::find()?;
        let path = args.kubeconfig.display().to_string();
        let unusable = |reason: String| Error::Kubeconfig { path: path.clone(), reason };
        let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).map_err(|error| unusable(error.to_string()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = config
            .map_err(|error| unusable(error.to_string()))
            .and_then(|config| Client::try_from(config).map_err(|error| unusable(error.to_string())))?;
        let late = Instant::now() + START;
        while let Err(error) = client.apiserver_version().await {
            if Instant::now() > late {
                return Err(Error::api("reach the seed's API server")(error));
            }
            sleep(RETRY).await;
        }
        Ok(Self { client, args, tools })
    }

    /// Waits until a CustomResourceDefinition is served: gardenlet creates those of a seed late. Returns the resource in
    /// its stored version.
    pub(crate) async fn custom_resource(&self, name: &str) -> ApiResource {
        loop {
            let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
            match await_condition(api, name, conditions::is_crd_established()).await {
                Ok(Some(definition)) => {
                    if let Some(resource) = resource(&definition) {
                        return resource;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(name, %error, "cannot watch the CustomResourceDefinition yet"),
            }
            sleep(RETRY).await;
        }
    }
}

/// The resource that a CustomResourceDefinition defines, in its stored version.
fn resource(definition: &CustomResourceDefinition) -> Option<ApiResource> {
    let spec = &definition.spec;
    let version = spec.versions.iter().find(|version| version.storage)?;
    let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
    Some(ApiResource::from_gvk_with_plural(&gvk, &spec.names.plural))
}

/// Reconciles the objects of a controller for ever. After an error, an object is requeued after [`RETRY`]. `gone` gets
/// the objects that no longer exist.
pub(crate) async fn follow<K, C, F>(
    player: &'static str,
    controller: Controller<K>,
    context: Arc<C>,
    reconcile: impl FnMut(Arc<K>, Arc<C>) -> F,
    gone: impl Fn(&ObjectRef<DynamicObject>),
) where
    K: Clone + Resource + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Debug + Clone + Eq + Hash + Unpin + Send + Sync,
    C: Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    drain(player, controller.run(reconcile, retry, context), gone).await;
}

/// What follows from an error.
pub(crate) fn retry<K, C>(_: Arc<K>, _: &Error, _: Arc<C>) -> Action {
    Action::requeue(RETRY)
}

/// Takes the results of a controller for ever. Errors go to the log.
pub(crate) async fn drain<K: Resource>(
    player: &'static str,
    results: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>>,
    gone: impl Fn(&ObjectRef<DynamicObject>),
) {
    let mut results = pin!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) => {}
            Err(controller::Error::ObjectNotFound(object)) => gone(&object),
            Err(controller::Error::ReconcilerFailed(error, _)) if error.is_gone() => {}
            Err(controller::Error::ReconcilerFailed(error, object)) => {
                let namespace = object.namespace.as_deref().unwrap_or_default();
                tracing::info!(player, namespace, name = object.name, %error, "not done yet; trying again");
            }
            Err(error) => tracing::warn!(player, %error, "the watch failed; trying again"),
        }
    }
}

/// A controller of all objects of a type.
pub(crate) fn all<K>(seed: &Seed) -> Controller<K>
where
    K: Clone + Resource<DynamicType = ()> + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Controller::new(Api::all(seed.client.clone()), watcher::Config::default())
}

/// The namespace and name of an object. Both exist on any object that the API server sent.
pub(crate) fn name_of<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_has_the_stored_version() {
        let version =
            |name: &str, storage: bool| serde_json::json!({ "name": name, "served": true, "storage": storage });
        let definition = serde_json::json!({
            "spec": {
                "group": "druid.gardener.cloud", "scope": "Namespaced",
                "names": { "kind": "Etcd", "plural": "etcds" },
                "versions": [version("v1", false), version("v1alpha1", true)],
            },
        });
        let resource = resource(&serde_json::from_value(definition).unwrap()).unwrap();
        assert_eq!(
            (resource.api_version.as_str(), resource.plural.as_str()),
            ("druid.gardener.cloud/v1alpha1", "etcds")
        );
    }
}
