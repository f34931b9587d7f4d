//! Applies and reads objects of the garden and the seed.

use std::time::Duration;

use extension_contract::json::{list, text};
use extension_contract::{GROUP, VERSION};
use gardener_testbed::manifests::{self, ManifestsError, Mode};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::error::GardenError;
use crate::wait;

/// For so long, an object that the API server does not accept yet is sent again. An admission plugin, for example, refuses
/// everything until its caches are filled.
pub(crate) const ACCEPTED_WITHIN: Duration = Duration::from_secs(30);

/// Applies objects in their order.
pub(crate) async fn apply_all(client: &Client, objects: &[Value]) -> Result<(), GardenError> {
    for object in objects {
        apply(client, object).await?;
    }
    Ok(())
}

/// Applies an object. Sends it again while that may help.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<(), GardenError> {
    send(client, object, Mode::Apply).await
}

/// Whether the API server would accept an object, which is not stored. Asks again while that may help.
pub(crate) async fn would_be_accepted(client: &Client, object: &Value) -> Result<(), GardenError> {
    send(client, object, Mode::DryRun).await
}

async fn send(client: &Client, object: &Value, mode: Mode) -> Result<(), GardenError> {
    let mut refused = None;
    let sent = async || match manifests::apply(client, object, mode).await {
        Ok(_) => Ok(()),
        Err(error) if is_final(&error) => {
            refused = Some(error);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    };
    wait::until(ACCEPTED_WITHIN, "an object is not accepted", sent).await?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Whether the same object is refused for ever.
fn is_final(error: &ManifestsError) -> bool {
    match error {
        // Gardener's API server answers 500 for an unknown field.
        ManifestsError::Refused { source: kube::Error::Api(status), .. } => {
            matches!(status.code, 400 | 422) || status.message.contains("field not declared in schema")
        }
        ManifestsError::Refused { .. } => false,
        _ => true,
    }
}

/// The API of a kind of Gardener's group `core.gardener.cloud`, in a namespace or for the whole cluster.
pub(crate) fn core(client: &Client, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("core.gardener.cloud", version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// The API of a kind of extension objects, in the namespace of a Shoot in its seed.
pub(crate) fn extension(seed: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    Api::namespaced_with(seed.clone(), namespace, &resource)
}

/// Reads an object as JSON. Returns `None` if it does not exist.
pub(crate) async fn get(api: &Api<DynamicObject>, name: &str) -> Result<Option<Value>, String> {
    let object = api.get_opt(name).await.map_err(|error| error.to_string())?;
    Ok(object.and_then(|object| serde_json::to_value(object).ok()))
}

/// The first of these conditions that an object does not meet, in words. Returns `None` if it meets all.
pub(crate) fn unmet(object: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|&name| {
        let Some(condition) = condition(object, name) else { return Some(format!("it has no condition {name}")) };
        let message = text(condition, "message").unwrap_or_default();
        (text(condition, "status") != Some("True")).then(|| format!("its condition {name} does not hold: {message}"))
    })
}

/// A condition of an object, by its type.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    list(object, "status.conditions").iter().find(|condition| text(condition, "type") == Some(name))
}

/// Merges `change` into an object.
pub(crate) async fn merge(api: &Api<DynamicObject>, name: &str, change: Value) -> Result<(), GardenError> {
    let params = PatchParams::default();
    api.patch(name, &params, &Patch::Merge(change))
        .await
        .map(drop)
        .map_err(GardenError::request(format!("change {name}")))
}
