//! Stands in for two controllers of kube-controller-manager: garbage collection and deletion of namespaces.
//!
//! A test bed has no kube-controller-manager. Without it, an object outlives its owner, and a deleted namespace stays
//! `Terminating`. The janitor knows `Secret`s, `ConfigMap`s and the custom resources that were defined when it started,
//! as owners and as dependents. It behaves as the real controllers do:
//!
//! * It deletes an object when all its owners, compared by uid, are gone. It does not support foreground deletion and
//!   orphaning: nothing removes their finalizers.
//! * It deletes all objects in a `Terminating` namespace, and finalizes the namespace when the last object is gone. An
//!   object with finalizers keeps its namespace. The janitor does not write the namespace's conditions, and leaves
//!   objects of other kinds in etcd.
//!
//! It acts on watch events only. Before it collects an object or finalizes a namespace, it verifies the decision with
//! the API server.

mod world;

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::time::sleep;

use self::world::{Dependent, Task, World};

/// The maximum number of concurrent tasks.
const CONCURRENCY: usize = 16;
const ATTEMPTS: u32 = 6;
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The finalizer in a namespace's spec that waits for the deletion of its content.
const CONTENT: &str = "kubernetes";

/// Index of the kind `Namespace`.
const NAMESPACES: usize = 0;

/// Runs until it is dropped.
///
/// # Errors
/// The custom resource definitions cannot be listed at the start.
pub async fn run(client: Client) -> kube::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut kinds = vec![
        Kind { resource: ApiResource::erase::<Namespace>(&()), is_namespaced: false },
        Kind { resource: ApiResource::erase::<Secret>(&()), is_namespaced: true },
        Kind { resource: ApiResource::erase::<ConfigMap>(&()), is_namespaced: true },
    ];
    for definition in definitions.list(&ListParams::default()).await? {
        let is_namespaced = definition.spec.scope == "Namespaced";
        kinds.push(Kind { resource: served_resource(&definition), is_namespaced });
    }

    let events = stream::select_all(kinds.iter().enumerate().map(|(index, kind)| {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &kind.resource);
        let plural = kind.resource.plural.clone();
        watcher(api, watcher::Config::default())
            .default_backoff()
            .filter_map(move |event| {
                let event = event.inspect_err(|error| tracing::debug!(%error, plural, "a watch of the janitor failed"));
                std::future::ready(event.ok().map(|event| (index, event)))
            })
            .boxed()
    }));
    let mut world = World::new(NAMESPACES);
    let executor = Executor { client, kinds };
    events
        .flat_map(|(kind, event)| stream::iter(world.observe(kind, event)))
        .for_each_concurrent(CONCURRENCY, |task| executor.execute(task))
        .await;
    Ok(())
}

/// The resource under which a custom resource definition's objects are served.
pub(crate) fn served_resource(definition: &CustomResourceDefinition) -> ApiResource {
    let spec = &definition.spec;
    let version = spec.versions.iter().find(|version| version.storage).map_or("", |version| version.name.as_str());
    ApiResource {
        group: spec.group.clone(),
        version: version.to_owned(),
        api_version: format!("{}/{version}", spec.group),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
    }
}

struct Kind {
    resource: ApiResource,
    is_namespaced: bool,
}

/// Executes the janitor's tasks.
struct Executor {
    client: Client,
    kinds: Vec<Kind>,
}

impl Executor {
    async fn execute(&self, task: Task) {
        let mut wait = FIRST_RETRY;
        for _ in 1..ATTEMPTS {
            match self.attempt(&task).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, ?task, "the janitor retries a task"),
            }
            sleep(wait).await;
            wait *= 2;
        }
        if let Err(error) = self.attempt(&task).await {
            tracing::warn!(%error, ?task, "the janitor gives up on a task");
        }
    }

    async fn attempt(&self, task: &Task) -> kube::Result<()> {
        match task {
            Task::Delete(object) => self.delete(object).await,
            Task::Collect(object, owners) => {
                for owner in owners {
                    if self.exists(owner, &object.place).await? {
                        return Ok(());
                    }
                }
                self.delete(object).await
            }
            Task::Finalize(namespace) => self.finalize(namespace).await,
        }
    }

    async fn delete(&self, object: &Dependent) -> kube::Result<()> {
        let Some(api) = self.api(object.kind, &object.place) else { return Ok(()) };
        // A new object of the same name must not be deleted.
        let same = Preconditions { uid: Some(object.uid.clone()), resource_version: None };
        match api.delete(&object.name, &DeleteParams::default().preconditions(same)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Returns whether an owner exists. Owners of kinds that the janitor does not watch count as existing.
    async fn exists(&self, owner: &OwnerReference, place: &str) -> kube::Result<bool> {
        let is_kind = |kind: &Kind| kind.resource.kind == owner.kind && kind.resource.api_version == owner.api_version;
        let Some(api) = self.kinds.iter().position(is_kind).and_then(|kind| self.api(kind, place)) else {
            return Ok(true);
        };
        let found = api.get_metadata_opt(&owner.name).await?;
        Ok(found.is_some_and(|found| found.metadata.uid.as_ref() == Some(&owner.uid)))
    }

    async fn finalize(&self, name: &str) -> kube::Result<()> {
        // The watches may be behind. If the namespace still contains an object, its deletion triggers this task
        // again.
        for (index, kind) in self.kinds.iter().enumerate() {
            if kind.is_namespaced
                && let Some(api) = self.api(index, name)
                && !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty()
            {
                return Ok(());
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let Some(mut namespace) = namespaces.get_opt(name).await? else { return Ok(()) };
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if namespace.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|finalizer| finalizer == CONTENT) {
            return Ok(());
        }
        finalizers.retain(|finalizer| finalizer != CONTENT);
        match namespaces.replace_subresource("finalize", name, &PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    fn api(&self, kind: usize, place: &str) -> Option<Api<DynamicObject>> {
        let Kind { resource, is_namespaced } = self.kinds.get(kind)?;
        Some(if *is_namespaced {
            Api::namespaced_with(self.client.clone(), place, resource)
        } else {
            Api::all_with(self.client.clone(), resource)
        })
    }
}
