//! Reads a seed and its garden. Nothing here writes.

use std::collections::{BTreeMap, BTreeSet};

use extension_contract::kinds::{self, Kind};
use extension_contract::{GROUP, SHOOT_NAMESPACE, TIMESTAMP_ANNOTATION, VERSION};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::deployments::{Deployments, Idle};
use crate::find::{self, NotFound};
use crate::garden::Garden;
use crate::heartbeat::{Heartbeat, Heartbeats, LEASE};
use crate::secrets::{Secret, Secrets, wanted};
use crate::seed::{Found, Seed};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
/// The group of a garden's API.
const GARDEN_GROUP: &str = "core.gardener.cloud";

/// Why a seed cannot be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A request failed without which there is nothing to explain.
    #[error("cannot read {what}: {source}")]
    Request {
        /// What was to be read.
        what: String,
        /// Why the request failed.
        source: Box<kube::Error>,
    },
    /// The server knows none of Gardener's extension kinds.
    #[error(
        "this cluster has no extension kinds of Gardener ({GROUP}): use the kubeconfig of a seed, or install the CRDs"
    )]
    NoSeed,
    /// The server knows none of Gardener's extension kinds, because it is that of a garden.
    #[error(
        "this is the API server of a garden, which has no extension objects: use the kubeconfig of a seed, and name this \
         one with --garden-kubeconfig"
    )]
    Garden,
    /// The user may list none of the extension kinds.
    #[error("this user may not list extension objects: grant it the permissions in `cargo xtask explain --help`")]
    Forbidden,
    /// There is no such Shoot or namespace.
    #[error(transparent)]
    NotFound(#[from] NotFound),
}

/// Reads a seed, and its garden if there is a client for it.
#[derive(Clone)]
pub struct Reader {
    pub(crate) client: Client,
    garden: Option<Client>,
}

impl Reader {
    /// A reader of a seed.
    #[must_use]
    pub const fn new(client: Client, garden: Option<Client>) -> Self {
        Self { client, garden }
    }

    /// Finds the namespace of a Shoot; see [`find::namespace`].
    pub async fn find(&self, wanted: &str) -> Result<String, ReadError> {
        let clusters = match self.clusters(None).await {
            Err(source) if is_not_served(&source) => return Err(self.no_seed().await),
            clusters => clusters.map_err(|source| request("the Clusters", source))?,
        };
        let namespaces: Api<v1::Namespace> = Api::all(self.client.clone());
        // A user may lack the permission for namespaces, which are only a second choice.
        let is_namespace = !wanted.contains('/') && matches!(namespaces.get_metadata_opt(wanted).await, Ok(Some(_)));
        let further = if is_namespace { vec![wanted.to_owned()] } else { Vec::new() };
        Ok(find::namespace(wanted, &clusters, &further)?)
    }

    /// Reads a seed, or one namespace of it with the cluster-scoped objects that belong to it.
    pub async fn read(&self, namespace: Option<&str>) -> Result<Seed, ReadError> {
        let (mut objects, mut unread, mut missing) = (Vec::new(), Vec::new(), 0);
        for kind in kinds::ALL {
            match api(&self.client, kind, namespace).list(&ListParams::default()).await {
                Ok(list) => objects.extend(list.items.into_iter().filter_map(|object| found(kind, &object))),
                // A runtime cluster of a garden that is no seed has only some of the kinds.
                Err(error) if is_not_served(&error) => missing += 1,
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    unread.push(format!("{}: {}", kind.name, status.message));
                }
                Err(source) => return Err(request(&format!("the objects of kind {}", kind.name), source)),
            }
        }
        if missing == kinds::ALL.len() {
            return Err(self.no_seed().await);
        }
        if unread.len() + missing == kinds::ALL.len() {
            return Err(ReadError::Forbidden);
        }
        if let Some(namespace) = namespace {
            objects = within(objects, namespace);
        }
        Ok(self.context(objects, namespace, unread).await)
    }

    /// What the cluster is that does not serve extension kinds.
    async fn no_seed(&self) -> ReadError {
        let groups = self.client.list_api_groups().await;
        let mut groups = groups.iter().flat_map(|groups| &groups.groups);
        if groups.any(|group| group.name == GARDEN_GROUP) { ReadError::Garden } else { ReadError::NoSeed }
    }

    /// Reads what the rules for these objects need besides the objects. What cannot be read is only noted.
    pub async fn context(&self, objects: Vec<Found>, namespace: Option<&str>, mut unread: Vec<String>) -> Seed {
        let mut or_note = |what: &str, error: &kube::Error| {
            let why =
                if is_not_served(error) { "this cluster has no such objects".to_owned() } else { error.to_string() };
            unread.push(format!("{what}: {why}"));
        };
        let clusters = self.clusters(namespace).await.unwrap_or_else(|error| {
            or_note("Clusters", &error);
            BTreeMap::new()
        });
        let shoots = ListParams::default().labels(&format!("{}={}", SHOOT_NAMESPACE.0, SHOOT_NAMESPACE.1));
        let shoot_namespaces = match Api::<v1::Namespace>::all(self.client.clone()).list_metadata(&shoots).await {
            Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
            Err(error) => {
                or_note("namespaces", &error);
                clusters.keys().cloned().collect()
            }
        };
        let secrets = self.secrets(&objects).await.unwrap_or_else(|error| {
            or_note("Secrets", &error);
            Secrets::new()
        });
        let heartbeats = self.heartbeats().await.unwrap_or_else(|error| {
            or_note("Leases", &error);
            Heartbeats::new()
        });
        let garden = match &self.garden {
            None => None,
            Some(garden) => self::garden(garden).await.map_err(|error| or_note("the garden", &error)).ok(),
        };
        let installed = garden.iter().flat_map(Garden::namespaces);
        let extensions: BTreeSet<_> = heartbeats.keys().cloned().chain(installed).collect();
        let deployments = self.deployments(extensions).await.unwrap_or_else(|error| {
            or_note("Deployments", &error);
            Deployments::new()
        });
        Seed { objects, clusters, shoot_namespaces, secrets, heartbeats, deployments, garden, unread }
    }

    async fn clusters(&self, name: Option<&str>) -> kube::Result<BTreeMap<String, Value>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "Cluster"));
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
        let params = ListParams::default();
        let params = name.map_or(params.clone(), |name| params.fields(&format!("metadata.name={name}")));
        let list = api.list(&params).await?;
        list.items.iter().map(|cluster| Ok((cluster.name_any(), json(cluster)?))).collect()
    }

    /// Reads the metadata of the Secrets that the rules ask for.
    async fn secrets(&self, objects: &[Found]) -> kube::Result<Secrets> {
        let read = wanted(objects).into_iter().map(async |(namespace, name)| {
            let secrets: Api<v1::Secret> = Api::namespaced(self.client.clone(), &namespace);
            let secret = secrets.get_metadata_opt(&name).await?.map_or(Secret::Missing, |secret| {
                Secret::Exists(secret.annotations().get(TIMESTAMP_ANNOTATION).cloned())
            });
            Ok(((namespace, name), secret))
        });
        stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Reads the Deployments of extensions, by their namespaces.
    async fn deployments(&self, namespaces: BTreeSet<String>) -> kube::Result<Deployments> {
        let read = namespaces.into_iter().map(async |namespace| {
            let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
            let deployments = deployments.list(&ListParams::default()).await?;
            Ok((namespace, deployments.items.iter().filter_map(Idle::of).collect()))
        });
        stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn heartbeats(&self) -> kube::Result<Heartbeats> {
        let params = ListParams::default().fields(&format!("metadata.name={LEASE}"));
        let leases = Api::<Lease>::all(self.client.clone()).list(&params).await?;
        Ok(leases.items.iter().map(|lease| (lease.namespace().unwrap_or_default(), Heartbeat::of(lease))).collect())
    }
}

async fn garden(client: &Client) -> kube::Result<Garden> {
    let list = async |kind| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GARDEN_GROUP, "v1beta1", kind));
        let list = Api::<DynamicObject>::all_with(client.clone(), &resource).list(&ListParams::default()).await?;
        list.items.iter().map(json).collect::<kube::Result<Vec<_>>>()
    };
    Ok(Garden {
        registrations: list("ControllerRegistration").await?,
        installations: list("ControllerInstallation").await?,
    })
}

/// The objects of one kind, those of a namespace if the kind has namespaces.
pub(crate) fn api(client: &Client, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.name);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// The object of a list or event. Returns `None` if it is no JSON, which an API server does not send.
pub(crate) fn found(kind: &'static Kind, object: &DynamicObject) -> Option<Found> {
    Some(Found { kind, object: json(object).ok()? })
}

/// Keeps the objects of a namespace, and those without one that belong to it: the BackupEntry of its Shoot and the bucket
/// of that; in the namespace of the Seed, all buckets.
#[must_use]
pub fn within(objects: Vec<Found>, namespace: &str) -> Vec<Found> {
    let is_entry = |found: &&Found| found.kind == &kinds::BACKUP_ENTRY && found.shoot_namespace() == Some(namespace);
    let buckets: Vec<_> = objects.iter().filter(is_entry).filter_map(|found| bucket(&found.object)).collect();
    let belongs = |found: &Found| {
        found.namespace() == namespace
            || is_entry(&found)
            || (found.kind == &kinds::BACKUP_BUCKET
                && (namespace == "garden" || buckets.iter().any(|bucket| bucket == found.name())))
    };
    let is_kept: Vec<_> = objects.iter().map(belongs).collect();
    objects.into_iter().zip(is_kept).filter_map(|(found, is_kept)| is_kept.then_some(found)).collect()
}

fn bucket(entry: &Value) -> Option<String> {
    extension_contract::json::text(entry, "spec.bucketName").map(str::to_owned)
}

fn json(object: &DynamicObject) -> kube::Result<Value> {
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

/// Whether the server does not serve the kind that was to be listed. It answers with plain text, which
/// `Status::is_not_found` does not recognise.
fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn request(what: &str, source: kube::Error) -> ReadError {
    ReadError::Request { what: what.to_owned(), source: Box::new(source) }
}
