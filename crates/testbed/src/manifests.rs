//! Manifests of any kind: read from a file and applied as `kubectl apply --server-side` does, but strictly.

use std::path::{Path, PathBuf};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::{GroupVersionKind, TypeMeta},
    discovery::{self, Scope},
};
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
    #[error("cannot apply {object}: {source}")]
    Refused {
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
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(ManifestsError::NoObject)?;
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let refused = |source| ManifestsError::Refused { object: format!("{kind} {name}"), source };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await.map_err(refused)?;
    let api: Api<DynamicObject> = match (capabilities.scope, &object.metadata.namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: mode == Mode::DryRun,
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(refused)
}
