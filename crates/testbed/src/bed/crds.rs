//! Brings the custom resource definitions of a folder into a test bed's API server.

use std::{fs, path::Path, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{BedError, TESTBED};
use crate::{assets, janitor::served_resource};

const SERVED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A custom resource definition as it was written: what the Kubernetes types here do not know must not get lost.
pub(super) struct Manifest {
    name: String,
    definition: Value,
}

/// The custom resource definitions in a folder's `*.yaml` files.
pub(super) fn read(folder: &Path) -> Result<Vec<Manifest>, BedError> {
    let files = assets::manifests(folder).map_err(BedError::system(format_args!("read {}", folder.display())))?;
    let mut manifests = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(BedError::system(format_args!("read {}", file.display())))?;
        let unusable = |reason: String| BedError::Manifest { file: file.clone(), reason };
        let definitions: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| unusable(error.to_string()))?;
        for definition in definitions {
            if definition.pointer("/kind").and_then(Value::as_str) != Some("CustomResourceDefinition") {
                return Err(unusable("is no CustomResourceDefinition".to_owned()));
            }
            let name = definition.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
            let name = name.ok_or_else(|| unusable("has no metadata.name".to_owned()))?;
            manifests.push(Manifest { name, definition });
        }
    }
    Ok(manifests)
}

/// Applies them and returns when every resource is served; the client must not try again by itself.
pub(super) async fn install(client: Client, manifests: Vec<Manifest>) -> Result<(), BedError> {
    try_join_all(manifests.into_iter().map(|manifest| {
        let client = client.clone();
        async move {
            let name = manifest.name.clone();
            timeout(SERVED_WITHIN, install_one(client, manifest))
                .await
                .unwrap_or(Err(BedError::NotServed { name, after: SERVED_WITHIN }))
        }
    }))
    .await?;
    Ok(())
}

async fn install_one(client: Client, Manifest { name, definition }: Manifest) -> Result<(), BedError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(TESTBED).force();
    let definition = api
        .patch(&name, &params, &Patch::Apply(definition))
        .await
        .map_err(BedError::request(format_args!("apply {name}")))?;
    await_condition(api, &name, is_crd_established())
        .await
        .map_err(|source| BedError::NotEstablished { name: name.clone(), source })?;

    // The handlers of the resource are put in place after the condition is written.
    let resource = served_resource(&definition);
    let resources: Api<DynamicObject> = Api::all_with(client, &resource);
    let one = ListParams::default().limit(1);
    loop {
        match resources.list_metadata(&one).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if [404, 429, 503].contains(&status.code) => sleep(POLL).await,
            Err(source) => return Err(BedError::Request { doing: format!("list {name}"), source }),
        }
    }
}
