//! Installs the custom resource definitions of a folder in a test bed's API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use extension_contract::json::text;
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::options::TESTBED;
use crate::assets;
use crate::error::BedError;
use crate::janitor::served_resource;
use crate::manifests;

const SERVED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A custom resource definition as JSON. The typed struct of `k8s-openapi` would drop fields that it does not know.
pub(super) struct Manifest {
    name: String,
    definition: Value,
}

/// Reads the custom resource definitions in a folder's `*.yaml` files.
pub(super) fn read(folder: &Path) -> Result<Vec<Manifest>, BedError> {
    read_files(assets::manifests(folder).map_err(BedError::failed(format_args!("read {}", folder.display())))?)
}

/// Reads the custom resource definitions in these files.
pub(super) fn read_files(files: Vec<PathBuf>) -> Result<Vec<Manifest>, BedError> {
    let mut manifests = Vec::new();
    for file in files {
        let using = || format!("use {} as a CustomResourceDefinition", file.display());
        for definition in manifests::read(&file).map_err(BedError::failed(using()))? {
            if text(&definition, "kind") != Some("CustomResourceDefinition") {
                return Err(BedError::failed(using())("it contains an object of another kind"));
            }
            let name = text(&definition, "metadata.name").map(str::to_owned);
            let name = name.ok_or_else(|| BedError::failed(using())("it has no metadata.name"))?;
            manifests.push(Manifest { name, definition });
        }
    }
    Ok(manifests)
}

/// Applies the definitions. Returns when the API server serves every resource. The client must not retry by itself.
pub(super) async fn install(client: Client, manifests: Vec<Manifest>) -> Result<(), BedError> {
    try_join_all(manifests.into_iter().map(|manifest| {
        let client = client.clone();
        async move {
            let what = format!("{} is not served", manifest.name);
            timeout(SERVED_WITHIN, install_one(client, manifest))
                .await
                .unwrap_or(Err(BedError::NoEffect { what, after: SERVED_WITHIN }))
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
        .map_err(BedError::failed(format_args!("apply the CustomResourceDefinition {name}")))?;
    await_condition(api, &name, is_crd_established())
        .await
        .map_err(BedError::failed(format_args!("watch the CustomResourceDefinition {name}")))?;

    // The API server installs the resource's handlers after it has written the condition.
    let resource = served_resource(&definition);
    let resources: Api<DynamicObject> = Api::all_with(client, &resource);
    let one = ListParams::default().limit(1);
    loop {
        match resources.list_metadata(&one).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if [404, 429, 503].contains(&status.code) => sleep(POLL).await,
            Err(error) => return Err(BedError::failed(format_args!("list {name}"))(error)),
        }
    }
}
