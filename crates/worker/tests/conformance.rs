//! Worker keeps the extension contract.
#![expect(clippy::indexing_slicing, reason = "a test")]

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_testbed::conformance::{self, Ground, Subject, asking, ensure, last, record, script, text};
use mock_testbed::readiness;
use mock_worker::Worker;
use serde_json::{Value, json};

fn main() -> ExitCode {
    conformance::main::<Worker>(Subject {
        binary: env!("CARGO_BIN_EXE_mock-worker"),
        spec: || {
            json!({
                "region": "nowhere",
                "secretRef": { "name": "cloudprovider", "namespace": "any" },
                "pools": [pool("w", "AutoRollingUpdate"), pool("i", "AutoInPlaceUpdate")],
            })
        },
        secrets: 0,
        rules: mock_testbed::rules![
            each_reconcile_reports_a_later_time_of_machine_deployments,
            machine_deployments_are_one_a_zone,
            in_place_pools_have_gardenlets_hash,
            a_removed_in_place_pool_loses_its_hash,
            a_migrated_worker_has_no_state,
            an_in_place_pool_without_version_is_a_clear_error,
            a_repeated_time_of_machine_deployments_keeps_gardenlet_waiting,
            a_dead_pool_fails_by_name_and_machine_deployments_are_reported,
        ],
    })
}

fn pool(name: &str, strategy: &str) -> Value {
    json!({
        "name": name, "machineType": "small", "architecture": "amd64", "minimum": 1, "maximum": 3,
        "maxSurge": 1, "maxUnavailable": 0, "zones": ["nowhere-a", "nowhere-b"], "updateStrategy": strategy,
        "machineImage": { "name": "mockos", "version": "1.0.0" }, "kubernetesVersion": "1.35.4",
        "userDataSecretRef": { "name": "osc-result-x", "key": "cloud_config" },
    })
}

async fn each_reconcile_reports_a_later_time_of_machine_deployments(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let mut before = String::new();
    for _ in 0..4 {
        let object = ground.until_ready("a").await?;
        let time = text(&object, "/status/machineDeploymentsLastUpdateTime").to_owned();
        ensure(time > before, format!("{time} is not after {before}: gardenlet would wait for ever"))?;
        before = time;
        ground.ask("a", "reconcile").await?;
    }
    Ok(())
}

async fn machine_deployments_are_one_a_zone(ground: Ground) -> Result<(), Failed> {
    ground.create("a", json!({ "spec": { "pools": [pool("w", "AutoRollingUpdate")] } })).await?;
    let object = ground.until_ready("a").await?;
    let expected = json!([
        { "name": format!("{}-w-z1", ground.namespace), "minimum": 1, "maximum": 2 },
        { "name": format!("{}-w-z2", ground.namespace), "minimum": 0, "maximum": 1 },
    ]);
    ensure(object.pointer("/status/machineDeployments") == Some(&expected), format!("{object:#}"))?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "a rolling pool has a hash")
}

/// The values were computed by gardenlet's own function.
async fn in_place_pools_have_gardenlets_hash(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    let hashes = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap");
    ensure(hashes == Some(&json!({ "i": "158f7ddcc5c0a83f" })), format!("{hashes:?}"))?;

    let rotation = json!({
        "certificateAuthorities": {
            "lastInitiationTime": "2026-08-20T10:15:30Z",
            "pendingWorkersRollouts": [{ "name": "i", "lastInitiationTime": "2026-07-01T00:00:00Z" }],
        },
        "serviceAccountKey": { "lastInitiationTime": "2026-08-21T10:15:30Z" },
    });
    ground.write_cluster(json!({ "status": { "credentials": { "rotation": rotation } } })).await?;
    let mut pool = pool("i", "ManualInPlaceUpdate");
    pool["kubeletConfig"] = json!({
        "kubeReserved": { "cpu": "80m", "memory": "1Gi" },
        "evictionHard": { "memoryAvailable": "100Mi", "nodeFSAvailable": "5%" },
        "cpuManagerPolicy": "static",
    });
    ground.patch("a", json!({ "spec": { "pools": [pool] } })).await?;
    let object = ground.until_ready("a").await?;
    let hashes = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap");
    ensure(hashes == Some(&json!({ "i": "7486b77599b19dbe" })), format!("{hashes:?}"))
}

async fn a_removed_in_place_pool_loses_its_hash(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    ground.until_ready("a").await?;
    ground.patch("a", json!({ "spec": { "pools": [pool("w", "AutoRollingUpdate")] } })).await?;
    let object = ground.until_ready("a").await?;
    let hash = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap/i");
    ensure(hash.is_none(), format!("the pool is gone, its hash is not: {hash:?}"))
}

async fn a_migrated_worker_has_no_state(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "wait-for-state").await?;
    ground.patch_status("a", json!({ "state": { "state": "machines" } })).await?;
    ground.ask("a", "restore").await?;
    ground.until_ready("a").await?;
    ground.ask("a", "migrate").await?;
    let object = ground.until("a", "being migrated", |object| last(object) == "Migrate/Succeeded").await?;
    ensure(object.pointer("/status/state").is_none(), "gardenlet saves the machines itself and refuses this state")
}

async fn an_in_place_pool_without_version_is_a_clear_error(ground: Ground) -> Result<(), Failed> {
    let mut pool = pool("i", "AutoInPlaceUpdate");
    pool["kubernetesVersion"] = Value::Null;
    ground.create("a", json!({ "spec": { "pools": [pool] } })).await?;
    let object = ground.until("a", "an error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    ensure(description.contains("spec.pools[0].kubernetesVersion"), description)
}

async fn a_repeated_time_of_machine_deployments_keeps_gardenlet_waiting(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let before = ground.until_ready("a").await?;
    let mut patch = asking("reconcile");
    patch["spec"] = json!({ "providerConfig": script(&json!([{ "misbehave": { "fault": "RepeatTime" } }])) });
    ground.patch("a", patch).await?;
    ground.until("a", "being served", |object| record(object).is_some()).await?;
    let object = ground.until_ready("a").await?;
    let time = |object: &Value| text(object, "/status/machineDeploymentsLastUpdateTime").to_owned();
    ensure(time(&object) == time(&before), "another time")?;
    let unmet = readiness::check_machine_deployments(&object, Some(&time(&before)));
    ensure(matches!(unmet, Err(readiness::NotReady::MachineDeployments { .. })), format!("{unmet:?}"))
}

async fn a_dead_pool_fails_by_name_and_machine_deployments_are_reported(ground: Ground) -> Result<(), Failed> {
    let dead = json!({ "message": "no capacity", "codes": ["ERR_INFRA_RESOURCES_DEPLETED"], "pools": ["w*"], "retryAfter": "1h" });
    let config = script(&json!([{ "fail": { "message": "?", "pools": ["unknown"] } }, { "fail": dead }]));
    ground.create("a", json!({ "spec": { "providerConfig": config } })).await?;
    let object = ground.until("a", "an error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    ensure(description == "pool w: no capacity", description)?;
    // gardenlet's first wait is over, as with a provider whose machines do not come up; its second is not.
    ensure(readiness::check_machine_deployments(&object, None).is_ok(), "no machine deployments are reported")?;
    let deployments = object.pointer("/status/machineDeployments").and_then(Value::as_array);
    ensure(deployments.is_some_and(|deployments| deployments.len() == 4), format!("{deployments:?}"))?;
    ensure(matches!(readiness::check(&object, None), Err(readiness::NotReady::LastError { .. })), "ready")
}
