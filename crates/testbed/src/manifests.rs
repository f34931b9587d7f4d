//! Manifests of any kind: read from a file and applied as `kubectl apply --server-side` does, but strictly.

use std::path::{Path, PathBuf};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective},
    core::{GroupVersionKind, TypeMeta},
    discovery::{self, Scope},
};
use serde::Deserialize as _;
use serde_json::Value;

/// Who has applied an object.
const FIELD_MANAGER: &str = "mock-testbed";

/// Why a manifest could not be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{origin} is no YAML: {reason}")]
    Syntax {
        /// Where the text is from.
        origin: String,
        /// Where, and why.
        reason: String,
    },
    /// A document is no object of Kubernetes.
    #[error("a manifest needs apiVersion, kind and metadata.name: {0}")]
    NoObject(serde_json::Error),
    /// The API server did not take it.
    #[error("cannot {doing} {object}: {source}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// Kind and name.
        object: String,
        /// What the API server said.
        source: kube::Error,
    },
}

/// Whether what is applied stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Apply,
    /// The API server does everything but keep it.
    DryRun,
}

/// The objects in a file, in its order.
pub fn read(file: &Path) -> Result<Vec<Value>, ManifestsError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| ManifestsError::Unreadable { file: file.to_owned(), source })?;
    parse(&text, &file.display().to_string())
}

/// The objects in a text that is from `origin`, in its order.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Value>, ManifestsError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| ManifestsError::Syntax { origin: origin.to_owned(), reason: error.to_string() })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Applies an object by force and returns it as the API server made it. A field that the API server does not know is
/// an error.
pub async fn apply(client: &Client, object: &Value, mode: Mode) -> Result<DynamicObject, ManifestsError> {
    let object = DynamicObject::deserialize(object).map_err(ManifestsError::NoObject)?;
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: mode == Mode::DryRun,
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let applied =
        async { api(client, &object).await?.patch(&object.name_any(), &params, &Patch::Apply(&object)).await };
    applied.await.map_err(refused("apply", &object))
}

/// Deletes an object, if it is there.
pub async fn delete(client: &Client, object: &Value) -> Result<(), ManifestsError> {
    let object = DynamicObject::deserialize(object).map_err(ManifestsError::NoObject)?;
    let deleted = async { api(client, &object).await?.delete(&object.name_any(), &DeleteParams::default()).await };
    match deleted.await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(drop).map_err(refused("delete", &object)),
    }
}

/// The place that an object names, or the client's own namespace where it has to name one and does not.
async fn api(client: &Client, object: &DynamicObject) -> kube::Result<Api<DynamicObject>> {
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await?;
    Ok(match (capabilities.scope, &object.metadata.namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    })
}

fn refused(doing: &'static str, object: &DynamicObject) -> impl FnOnce(kube::Error) -> ManifestsError {
    let kind = object.types.as_ref().map_or("", |types| &types.kind);
    let object = format!("{kind} {}", object.name_any());
    move |source| ManifestsError::Refused { doing, object, source }
}
