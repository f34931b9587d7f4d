//! Rules about a controller that gardenlet has installed, alone of all kinds.

use k8s_openapi::api::core::v1::{Container, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use libtest_mimic::Failed;
use mock_core::contract::{GROUP, VERSION};
use serde_json::{Value, json};

use super::controller::Host;
use super::ground::json_patch_merge;
use super::restarts::until_answered;
use super::{Ground, Rule, asking, ensure, text};
use crate::rules;

pub(super) const ALL: &[Rule] =
    rules![the_probes_of_the_pod_and_the_service_are_answered, kinds_without_an_installation_stay_untouched];

async fn the_probes_of_the_pod_and_the_service_are_answered(ground: Ground) -> Result<(), Failed> {
    let Host::Installed(installed) = &ground.suite.host else { return Err("nothing is installed".into()) };
    let container = installed.installation.container()?;
    for probe in [&container.liveness_probe, &container.readiness_probe] {
        let asked = probe.as_ref().and_then(|probe| probe.http_get.as_ref()).ok_or("the container lacks a probe")?;
        let address = format!("127.0.0.1:{}", port(&container, &asked.port)?);
        until_answered(&address, asked.path.as_deref().unwrap_or_default(), "200 OK").await?;
    }
    let service: Service = installed.installation.object("Service")?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let metrics = ports.first().and_then(|port| port.target_port.as_ref()).ok_or("the Service leads nowhere")?;
    until_answered(&format!("127.0.0.1:{}", port(&container, metrics)?), "/metrics", "200 OK").await
}

/// The number of a port that is named by number or by name, as a node finds it.
fn port(container: &Container, wanted: &IntOrString) -> Result<i32, Failed> {
    let named = |name: &String| {
        let mut ports = container.ports.iter().flatten();
        ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
    };
    match wanted {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(name) => named(name).ok_or_else(|| format!("the container has no port {name}").into()),
    }
}

async fn kinds_without_an_installation_stay_untouched(ground: Ground) -> Result<(), Failed> {
    let mut others = Vec::new();
    for (kind, spec) in others_of(&ground) {
        let plural = format!("{}s", kind.to_lowercase());
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), &plural);
        let api: Api<DynamicObject> = Api::namespaced_with(ground.suite.client.clone(), &ground.namespace, &resource);
        let mut object = json!({ "apiVersion": resource.api_version, "kind": kind, "spec": spec });
        json_patch_merge(&mut object, &asking("reconcile"));
        json_patch_merge(&mut object, &json!({ "metadata": { "name": "other" } }));
        let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        others.push((api, created));
    }
    ensure(others.len() >= 4, "a kind alone proves nothing")?;
    ground.create_annotated("own", "reconcile").await?;
    ground.until_ready("own").await?;
    for (api, created) in others {
        let now = api.get("other").await?;
        let touched = now.metadata.resource_version != created.metadata.resource_version;
        ensure(!touched, format!("{} was written: {:#}", text(&json!(now), "/kind"), json!(now)))?;
    }
    Ok(())
}

/// A valid object of every kind but the one that is installed.
fn others_of(ground: &Ground) -> impl Iterator<Item = (&'static str, Value)> {
    let secret = json!({ "name": "cloudprovider", "namespace": ground.namespace });
    let own = ground.suite.resource.kind.clone();
    [
        ("Infrastructure", json!({ "type": "mock", "region": "r", "secretRef": secret })),
        ("ControlPlane", json!({ "type": "mock", "region": "r", "secretRef": secret })),
        ("OperatingSystemConfig", json!({ "type": "mockos", "purpose": "reconcile" })),
        ("Network", json!({ "type": "mock", "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16" })),
        ("Worker", json!({ "type": "mock", "region": "r", "secretRef": secret, "pools": [] })),
    ]
    .into_iter()
    .filter(move |(kind, _)| *kind != own)
}
