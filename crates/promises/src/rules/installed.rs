//! The installed mode: an installation answers its probes, and serves one kind alone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use extension_conformance::subject::resource;
use extension_conformance::{asking, ensure, merged, text};
use extension_contract::json::{get, list};
use extension_contract::{Kind, kinds};
use gardener_testbed::manifests;
use gardener_testbed::schema::minimal;
use gardener_testbed::workspace::root;
use k8s_openapi::api::core::v1::{Container, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::answers::until_status;
use crate::host::Place;
use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] =
    promises![probes_and_metrics_of_the_installation_are_answered, kinds_without_an_installation_are_not_written];

async fn probes_and_metrics_of_the_installation_are_answered(scene: MockScene) -> Result<(), Failed> {
    let Place::Installed(installed) = &scene.mock().host().place else { return Err("nothing is installed".into()) };
    let container = installed.installation.container()?;
    for probe in [&container.liveness_probe, &container.readiness_probe] {
        let get = probe.as_ref().and_then(|probe| probe.http_get.as_ref()).ok_or("the container lacks a probe")?;
        let path = get.path.as_deref().ok_or("a probe lacks a path")?;
        until_status(address(&container, &get.port)?, path, 200).await?;
    }
    let service: Service = installed.installation.object("Service")?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let target = ports.first().and_then(|port| port.target_port.as_ref()).ok_or("the Service has no target port")?;
    until_status(address(&container, target)?, "/metrics", 200).await
}

/// The address of a container's port, by number or by name.
fn address(container: &Container, port: &IntOrString) -> Result<SocketAddr, Failed> {
    let named = |name: &String| {
        let mut ports = container.ports.iter().flatten();
        ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
    };
    let port = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => named(name).ok_or_else(|| format!("the container has no port {name}"))?,
    };
    Ok((Ipv4Addr::LOCALHOST, u16::try_from(port)?).into())
}

async fn kinds_without_an_installation_are_not_written(scene: MockScene) -> Result<(), Failed> {
    let registered = registered_types()?;
    let own = scene.suite().subject();
    let mut others = Vec::new();
    for kind in kinds::ALL.into_iter().filter(|kind| *kind != own.kind) {
        let type_ = registered.get(kind.name).unwrap_or(&own.type_);
        others.push(create(&scene, kind, type_).await?);
    }
    let found = registered.keys().filter(|kind| **kind != own.kind.name).count();
    ensure(found >= 4, format!("the registrations contain only the kinds {:?}", registered.keys()))?;
    scene.create_annotated("own", "reconcile").await?;
    scene.until_ready("own").await?;
    for (api, created) in others {
        let now = api.get(text(&created, "/metadata/name")).await?;
        let is_written = now.metadata.resource_version.as_deref() != Some(text(&created, "/metadata/resourceVersion"));
        ensure(!is_written, format!("{} was written: {:#}", text(&created, "/kind"), json!(now)))?;
    }
    Ok(())
}

/// The type of each kind in the registrations of `deploy`.
fn registered_types() -> Result<BTreeMap<String, String>, Failed> {
    let documents = manifests::read(&root().join("deploy/controllerregistrations.yaml"))?;
    let resources = documents.iter().flat_map(|document| list(document, "spec.resources"));
    let of_resource = |resource: &Value| (text(resource, "/kind").to_owned(), text(resource, "/type").to_owned());
    Ok(resources.map(of_resource).collect())
}

/// Creates an annotated object of a kind.
async fn create(scene: &MockScene, kind: &Kind, type_: &str) -> Result<(Api<DynamicObject>, Value), Failed> {
    let resource = resource(kind);
    let crd = scene.crds().get(&format!("{}.{}", resource.plural, resource.group)).await?;
    let crd = json!(crd);
    let schema = get(&crd, "spec.versions[0].schema.openAPIV3Schema.properties.spec").ok_or("the CRD has no spec")?;
    let mut object = json!({
        "apiVersion": resource.api_version,
        "kind": kind.name,
        "metadata": { "name": "other" },
        "spec": merged(minimal(schema), &json!({ "type": type_ })),
    });
    let api = if kind.namespaced {
        Api::namespaced_with(scene.client(), scene.namespace(), &resource)
    } else {
        Api::all_with(scene.client(), &resource)
    };
    object = merged(object, &asking("reconcile"));
    let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok((api, json!(created)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_name_the_types_of_their_kinds() {
        let types = registered_types().unwrap();
        assert_eq!(types.get("OperatingSystemConfig").map(String::as_str), Some("mockos"));
        assert!(kinds::ALL.iter().all(|kind| types.contains_key(kind.name)), "{types:?}");
    }
}
