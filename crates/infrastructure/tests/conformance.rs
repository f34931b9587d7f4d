//! Infrastructure keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use futures::future::try_join_all;
use libtest_mimic::Failed;
use mock_infrastructure::Infrastructure;
use mock_promises::{Candidate, MockScene, ensure, last, text};
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<Infrastructure>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-infrastructure"),
        spec: || json!({ "region": "nowhere", "secretRef": { "name": "cloudprovider", "namespace": "any" } }),
        given: Vec::new,
        secrets: |_, _| Vec::new(),
        promises: mock_promises::promises![
            networks_are_those_of_the_newest_cluster,
            networks_of_many_waiting_objects_are_those_of_the_newest_cluster,
            shoot_without_nodes_gets_the_default_and_keeps_it,
            each_ip_family_has_networks_that_overlap_no_other,
            state_survives_a_migration,
            bad_network_is_an_error_until_the_cluster_is_corrected,
        ],
    })
}

async fn networks_are_those_of_the_newest_cluster(scene: MockScene) -> Result<(), Failed> {
    for nodes in ["10.11.0.0/16", "10.12.0.0/16", "10.13.0.0/16"] {
        // gardenlet writes the Cluster right before the request. The controller's watch of Clusters may lag behind.
        scene.write_cluster(json!({ "spec": { "networking": { "nodes": nodes } } })).await?;
        if scene.get("a").await?.is_null() {
            scene.create_annotated("a", "reconcile").await?;
        } else {
            scene.ask("a", "reconcile").await?;
        }
        let object = scene.until_ready("a").await?;
        let expected = json!({ "nodes": [nodes], "pods": ["10.20.0.0/16"], "services": ["10.30.0.0/16"] });
        ensure(object.pointer("/status/networking") == Some(&expected), format!("{object:#}"))?;
        ensure(object.pointer("/status/egressCIDRs") == Some(&json!([nodes])), "wrong egressCIDRs")?;
        ensure(!text(&object, "/status/providerStatus/kind").is_empty(), "no providerStatus")?;
    }
    Ok(())
}

async fn networks_of_many_waiting_objects_are_those_of_the_newest_cluster(scene: MockScene) -> Result<(), Failed> {
    let names: Vec<String> = (0..24).map(|index| format!("a{index}")).collect();
    for name in &names {
        scene.create_object(name, &json!({ "spec": { "type": scene.namespace() } })).await?;
        scene.ask(name, "reconcile").await?;
    }
    scene.write_cluster(json!({ "spec": { "networking": { "nodes": "10.11.0.0/16" } } })).await?;
    // No controller has served their type before, so all of them wait at once.
    let _controller = scene.start_controller()?;
    have_nodes(&scene, &names, "10.11.0.0/16").await?;
    ensure(scene.patient_reads()? > 0, "no object had to wait for others")?;
    for nodes in ["10.12.0.0/16", "10.13.0.0/16"] {
        scene.write_cluster(json!({ "spec": { "networking": { "nodes": nodes } } })).await?;
        try_join_all(names.iter().map(|name| scene.ask(name, "reconcile"))).await?;
        have_nodes(&scene, &names, nodes).await?;
    }
    Ok(())
}

async fn have_nodes(scene: &MockScene, names: &[String], nodes: &str) -> Result<(), Failed> {
    for name in names {
        let object = scene.until_ready(name).await?;
        ensure(object.pointer("/status/networking/nodes") == Some(&json!([nodes])), format!("{object:#}"))?;
    }
    Ok(())
}

async fn shoot_without_nodes_gets_the_default_and_keeps_it(scene: MockScene) -> Result<(), Failed> {
    scene.write_cluster(json!({ "spec": { "networking": { "nodes": null } } })).await?;
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/networking/nodes") == Some(&json!(["10.250.0.0/16"])), format!("{object:#}"))?;
    scene.patch_status("a", json!({ "networking": { "nodes": ["10.99.0.0/16"] } })).await?;
    scene.ask("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/networking/nodes") == Some(&json!(["10.99.0.0/16"])), "nodes were not kept")
}

async fn each_ip_family_has_networks_that_overlap_no_other(scene: MockScene) -> Result<(), Failed> {
    let six = json!({ "nodes": null, "pods": null, "services": null, "ipFamilies": ["IPv6"] });
    let both = json!({ "nodes": null, "ipFamilies": ["IPv6", "IPv4"] });
    for (networking, seed, expected) in [
        (six, json!({}), [["fd00:10:250::/48", ""], ["fd00:10:96::/48", ""], ["fd00:10:64::/112", ""]]),
        (
            both,
            json!({ "nodes": "10.250.0.0/16", "pods": "fd00:10::/32", "services": "fd00::/48" }),
            [["fd00:0:1::/48", "10.0.0.0/16"], ["fd00:0:2::/48", "10.20.0.0/16"], ["fd00:0:3::/112", "10.30.0.0/16"]],
        ),
    ] {
        let seed = json!({ "spec": { "networks": seed } });
        scene.write_cluster_on(json!({ "spec": { "networking": networking } }), &seed).await?;
        if scene.get("a").await?.is_null() {
            scene.create_annotated("a", "reconcile").await?;
        } else {
            scene.patch_status("a", json!({ "networking": null })).await?;
            scene.ask("a", "reconcile").await?;
        }
        let object = scene.until_ready("a").await?;
        let [nodes, pods, services] =
            expected.map(|networks| networks.into_iter().filter(|network| !network.is_empty()).collect::<Vec<_>>());
        let expected = json!({ "nodes": nodes, "pods": pods, "services": services });
        ensure(object.pointer("/status/networking") == Some(&expected), format!("{object:#}"))?;
        ensure(object.pointer("/status/egressCIDRs") == expected.get("nodes"), "wrong egressCIDRs")?;
    }
    Ok(())
}

async fn state_survives_a_migration(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    let state = object.pointer("/status/state").cloned().ok_or("there is no state")?;
    ensure(!text(&state, "/id").is_empty(), "the state lacks the id")?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    scene.create_annotated("a", "wait-for-state").await?;
    scene.patch_status("a", json!({ "state": state })).await?;
    scene.ask("a", "restore").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "another state after restore")?;
    scene.ask("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "another state after a reconcile")
}

async fn bad_network_is_an_error_until_the_cluster_is_corrected(scene: MockScene) -> Result<(), Failed> {
    // The second cannot be decoded. Both at the same time, because each waits for a retry.
    let other = scene.beside("undecodable-nodes").await?;
    let (pods, nodes) = (json!({ "pods": "many" }), json!({ "nodes": 7 }));
    futures::try_join!(fails_with(&scene, pods), fails_with(&other, nodes)).map(drop)
}

async fn fails_with(scene: &MockScene, bad: Value) -> Result<(), Failed> {
    scene.write_cluster(json!({ "spec": { "networking": bad } })).await?;
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    let is_named = bad.as_object().into_iter().flatten().all(|(field, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        description.contains(&format!("spec.shoot.spec.networking.{field}")) && description.contains(&value)
    });
    ensure(is_named, description)?;
    let codes = object.pointer("/status/lastError/codes");
    ensure(codes == Some(&json!(["ERR_CONFIGURATION_PROBLEM"])), "no error code")?;
    scene.write_cluster(json!({})).await?;
    scene.until_ready("a").await.map(drop)
}
