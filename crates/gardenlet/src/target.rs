//! The address of an object in the API server.

use extension_contract::json::text;
use extension_contract::kinds;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;

/// The address of an object, which may not exist yet.
pub(crate) struct Target {
    pub(crate) api: Api<DynamicObject>,
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Empty for a cluster-scoped object.
    pub(crate) namespace: String,
}

impl Target {
    /// The address of `object`. An object with a namespace counts as namespaced.
    pub(crate) fn of(client: &Client, object: &Value) -> Self {
        let field = |path| text(object, path).unwrap_or_default();
        let (group, version) = field("apiVersion").split_once('/').unwrap_or(("", field("apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, field("kind")));
        let namespace = field("metadata.namespace").to_owned();
        let api = if namespace.is_empty() {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), &namespace, &resource)
        };
        Self { api, name: field("metadata.name").to_owned(), kind: field("kind").to_owned(), namespace }
    }

    /// Sends a merge patch. All patches of the main resource go through this function.
    pub(crate) async fn patch(&self, patch: &Value) -> kube::Result<DynamicObject> {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Kind, namespace and name, for people.
    pub(crate) fn describe(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }

    /// Returns whether the object belongs to a Seed, not to a Shoot.
    pub(crate) fn is_of_seed(&self) -> bool {
        self.namespace == "garden" || self.kind == kinds::BACKUP_BUCKET.name
    }

    /// The kind as [`kinds`] has it, or `object` for other kinds.
    pub(crate) fn extension_kind(&self) -> &'static str {
        kinds::find(&self.kind).map_or("object", |kind| kind.name)
    }
}

/// Converts an object of the API server to JSON.
pub(crate) fn to_value(object: &DynamicObject) -> kube::Result<Value> {
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

/// Converts JSON to an object of the API server.
pub(crate) fn from_value(object: Value) -> kube::Result<DynamicObject> {
    serde_json::from_value(object).map_err(kube::Error::SerdeError)
}
