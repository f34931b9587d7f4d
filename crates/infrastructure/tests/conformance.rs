//! Infrastructure keeps the extension contract.

use std::process::ExitCode;

use futures::future::try_join_all;
use libtest_mimic::Failed;
use mock_infrastructure::Infrastructure;
use mock_testbed::conformance::{self, Ground, Subject, ensure, last, text};
use serde_json::{Value, json};

fn main() -> ExitCode {
    conformance::main::<Infrastructure>(Subject {
        binary: env!("CARGO_BIN_EXE_mock-infrastructure"),
        spec: || json!({ "region": "nowhere", "secretRef": { "name": "cloudprovider", "namespace": "any" } }),
        secrets: 0,
        rules: mock_testbed::rules![
            networks_come_from_the_cluster_as_it_is_now,
            so_do_those_of_many_objects_that_wait_together,
            a_shoot_without_nodes_gets_the_default_and_keeps_it,
            the_state_is_kept_over_a_migration,
            a_bad_network_is_a_clear_error_that_a_mended_cluster_clears,
        ],
    })
}

async fn networks_come_from_the_cluster_as_it_is_now(ground: Ground) -> Result<(), Failed> {
    for nodes in ["10.11.0.0/16", "10.12.0.0/16", "10.13.0.0/16"] {
        // Right before the request, as gardenlet does it: the watch of Clusters may be behind.
        ground.write_cluster(json!({ "spec": { "networking": { "nodes": nodes } } })).await?;
        if ground.get("a").await?.is_null() {
            ground.create_annotated("a", "reconcile").await?;
        } else {
            ground.ask("a", "reconcile").await?;
        }
        let object = ground.until_ready("a").await?;
        let expected = json!({ "nodes": [nodes], "pods": ["10.20.0.0/16"], "services": ["10.30.0.0/16"] });
        ensure(object.pointer("/status/networking") == Some(&expected), format!("{object:#}"))?;
        ensure(object.pointer("/status/egressCIDRs") == Some(&json!([nodes])), "wrong egressCIDRs")?;
        ensure(!text(&object, "/status/providerStatus/kind").is_empty(), "no providerStatus")?;
    }
    Ok(())
}

async fn so_do_those_of_many_objects_that_wait_together(ground: Ground) -> Result<(), Failed> {
    let names: Vec<String> = (0..24).map(|index| format!("a{index}")).collect();
    for name in &names {
        ground.create(name, json!({ "spec": { "type": ground.namespace } })).await?;
        ground.ask(name, "reconcile").await?;
    }
    ground.write_cluster(json!({ "spec": { "networking": { "nodes": "10.11.0.0/16" } } })).await?;
    // Nobody has served their type before: all wait at once.
    let _controller = ground.controller()?;
    have_nodes(&ground, &names, "10.11.0.0/16").await?;
    ensure(ground.patient_reads()? > 0, "none had to wait for others")?;
    for nodes in ["10.12.0.0/16", "10.13.0.0/16"] {
        ground.write_cluster(json!({ "spec": { "networking": { "nodes": nodes } } })).await?;
        try_join_all(names.iter().map(|name| ground.ask(name, "reconcile"))).await?;
        have_nodes(&ground, &names, nodes).await?;
    }
    Ok(())
}

async fn have_nodes(ground: &Ground, names: &[String], nodes: &str) -> Result<(), Failed> {
    for name in names {
        let object = ground.until_ready(name).await?;
        ensure(object.pointer("/status/networking/nodes") == Some(&json!([nodes])), format!("{object:#}"))?;
    }
    Ok(())
}

async fn a_shoot_without_nodes_gets_the_default_and_keeps_it(ground: Ground) -> Result<(), Failed> {
    ground.write_cluster(json!({ "spec": { "networking": { "nodes": null } } })).await?;
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/networking/nodes") == Some(&json!(["10.250.0.0/16"])), format!("{object:#}"))?;
    ground.patch_status("a", json!({ "networking": { "nodes": ["10.99.0.0/16"] } })).await?;
    ground.ask("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/networking/nodes") == Some(&json!(["10.99.0.0/16"])), "nodes were not kept")
}

async fn the_state_is_kept_over_a_migration(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    let state = object.pointer("/status/state").cloned().ok_or("there is no state")?;
    ensure(!text(&state, "/id").is_empty(), "the state has no id")?;
    ground.ask("a", "migrate").await?;
    ground.until("a", "being migrated", |object| last(object) == "Migrate/Succeeded" && !ground.holds(object)).await?;
    ground.delete("a").await?;
    ground.until_gone("a").await?;
    ground.create_annotated("a", "wait-for-state").await?;
    ground.patch_status("a", json!({ "state": state })).await?;
    ground.ask("a", "restore").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "another state after restore")?;
    ground.ask("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/state") == Some(&state), "another state after a reconcile")
}

async fn a_bad_network_is_a_clear_error_that_a_mended_cluster_clears(ground: Ground) -> Result<(), Failed> {
    // The second cannot even be decoded.
    for (name, bad) in [("a", json!({ "pods": "many" })), ("b", json!({ "nodes": 7 }))] {
        ground.write_cluster(json!({ "spec": { "networking": bad } })).await?;
        ground.create_annotated(name, "reconcile").await?;
        let failed = |object: &Value| last(object) == "Create/Error";
        let object = ground.until(name, "an error", failed).await?;
        let description = text(&object, "/status/lastError/description");
        let named = bad.as_object().into_iter().flatten().all(|(field, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            description.contains(&format!("spec.shoot.spec.networking.{field}")) && description.contains(&value)
        });
        ensure(named, description)?;
        let codes = object.pointer("/status/lastError/codes");
        ensure(codes == Some(&json!(["ERR_CONFIGURATION_PROBLEM"])), "no error code")?;
        ground.write_cluster(json!({})).await?;
        ground.until_ready(name).await?;
    }
    Ok(())
}
