//! What our Infrastructure reports is what gardener-apiserver accepts in the Shoot afterwards, for each IP family.

use std::time::Duration;

use extension_conformance::{LIMIT, eventually};
use gardener_testbed::supervisor::Supervisor;
use gardener_testbed::workspace::root;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use libtest_mimic::Failed;
use mock_fleet::kinds::Package;
use mock_fleet::{Controller, cargo};
use serde_json::{Value, json};

use crate::world::{World, example, in_the_garden, objects};

const EXTENSIONS: &str = "extensions.gardener.cloud/v1alpha1";

/// gardenlet writes the networks of the Infrastructure into the Shoot (`pkg/gardenlet/operation/botanist/infrastructure.go`).
#[test]
fn networks_that_the_infrastructure_reports_are_accepted_in_the_shoot() {
    let infrastructure = Package::find("infrastructure").unwrap();
    let program = cargo::build(&[infrastructure], false, env!("CARGO_PKG_NAME")).unwrap().remove(0).1;
    in_the_garden(async |world| {
        world.prepare().await;
        for object in objects(&root().join("example/40-seed.yaml")) {
            world.accepted(&object).await;
        }
        let supervisor = Supervisor::start().unwrap();
        let log = supervisor.folder().join("infrastructure.log");
        let kubeconfig = world.bed.kubeconfig();
        let mut controller = Controller::start(&supervisor, infrastructure, &program, kubeconfig, &[], log).unwrap();
        controller.ready(Duration::from_secs(60)).await.unwrap();

        for (name, networking, families) in [
            ("four", json!({}), &["IPv4"][..]),
            (
                "named",
                json!({ "pods": "100.96.0.0/11", "services": "100.64.0.0/13", "nodes": "10.10.0.0/16" }),
                &["IPv4"],
            ),
            ("six", json!({ "ipFamilies": ["IPv6"] }), &["IPv6"]),
            (
                "six-named",
                json!({ "ipFamilies": ["IPv6"], "pods": "2001:db8:1::/48", "services": "2001:db8:2::/112",
                "nodes": "2001:db8:3::/48" }),
                &["IPv6"],
            ),
            ("both", json!({ "ipFamilies": ["IPv4", "IPv6"] }), &["IPv4", "IPv6"]),
            (
                "both-named",
                json!({ "ipFamilies": ["IPv4", "IPv6"], "pods": "100.96.0.0/11",
                "services": "100.64.0.0/13" }),
                &["IPv4", "IPv6"],
            ),
        ] {
            let mut shoot = example("55-shoot.yaml", "Shoot");
            shoot["metadata"]["name"] = json!(name);
            shoot["spec"]["seedName"] = json!("mock");
            shoot["spec"]["networking"] = networking;
            shoot["spec"]["networking"]["type"] = json!("mock");
            let shoot = world.accepted(&shoot).await;
            let reported = reported(&world, &shoot).await;
            let accepted = learned(&world, name, &reported).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            for field in ["nodes", "pods", "services", "egressCIDRs"] {
                let networks = accepted["status"]["networking"][field].as_array().unwrap();
                let found: Vec<_> = networks.iter().map(|network| family(network.as_str().unwrap())).collect();
                assert_eq!(found, families, "{name}: {field}: {networks:?}");
            }
        }
        let host_bits = json!({ "networking": { "nodes": ["fd00:10:250::1/48"] } });
        let refused = learned(&world, "six", &host_bits).await.unwrap_err().to_string();
        assert!(refused.contains("status.networking.nodes[0]") && refused.contains("canonical"), "{refused}");
        controller.stop().await.unwrap();
        supervisor.stop().await.unwrap();
    });
}

fn family(network: &str) -> &'static str {
    if network.contains(':') { "IPv6" } else { "IPv4" }
}

/// The status of the Infrastructure of this Shoot, as gardenlet creates it.
async fn reported(world: &World, shoot: &Value) -> Value {
    let namespace = format!("shoot--dev--{}", shoot["metadata"]["name"].as_str().unwrap());
    let of_namespace = |kind: &str, spec: Value| {
        let metadata = json!({ "name": "shoot", "namespace": namespace });
        json!({ "apiVersion": EXTENSIONS, "kind": kind, "metadata": metadata, "spec": spec })
    };
    let seed = example("40-seed.yaml", "Seed");
    let cluster = json!({
        "apiVersion": EXTENSIONS,
        "kind": "Cluster",
        "metadata": { "name": namespace },
        "spec": { "cloudProfile": {}, "seed": seed, "shoot": shoot },
    });
    let mut infrastructure = of_namespace(
        "Infrastructure",
        json!({
            "type": "mock",
            "region": "nowhere",
            "secretRef": { "name": "cloudprovider", "namespace": namespace },
        }),
    );
    infrastructure["metadata"]["annotations"] = json!({ "gardener.cloud/operation": "reconcile" });
    world.accepted(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
    world.accepted(&cluster).await;
    world.accepted(&infrastructure).await;
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("extensions.gardener.cloud", "v1alpha1", "Infrastructure"));
    let api: Api<DynamicObject> = Api::namespaced_with(world.bed.client(), &namespace, &resource);
    let status = eventually(LIMIT, || async {
        let mut status = api.get("shoot").await?.data["status"].take();
        let is_ready = status["lastOperation"]["state"] == "Succeeded";
        if is_ready { Ok(status.take()) } else { Err(Failed::from(format!("not ready: {status}"))) }
    });
    status.await.unwrap_or_else(|failed| panic!("{namespace}: {failed:?}"))
}

/// Writes the networks into the Shoot as gardenlet does. Returns the Shoot.
async fn learned(world: &World, name: &str, infrastructure: &Value) -> kube::Result<Value> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("core.gardener.cloud", "v1beta1", "Shoot"));
    let api: Api<DynamicObject> = Api::namespaced_with(world.bed.client(), "garden-dev", &resource);
    let mut networking = infrastructure["networking"].clone();
    networking["egressCIDRs"] = infrastructure["egressCIDRs"].clone();
    let params = PatchParams::default();
    let shoot = api.get(name).await?;
    if shoot.data["spec"]["networking"]["nodes"].is_null() {
        let nodes = json!({ "spec": { "networking": { "nodes": networking["nodes"][0] } } });
        api.patch(name, &params, &Patch::Merge(nodes)).await?;
    }
    let status = json!({ "status": { "networking": networking } });
    Ok(json!(api.patch_status(name, &params, &Patch::Merge(status)).await?))
}
