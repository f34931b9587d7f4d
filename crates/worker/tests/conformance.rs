//! Worker keeps the extension contract, and what our controllers promise beyond it.
#![expect(clippy::indexing_slicing, reason = "a test")]

use std::process::ExitCode;

use extension_contract::readiness;
use libtest_mimic::Failed;
use mock_promises::{Candidate, MockScene, asking, ensure, last, merged, record, script, text};
use mock_worker::Worker;
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<Worker>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-worker"),
        spec: || {
            json!({
                "region": "nowhere",
                "secretRef": { "name": "cloudprovider", "namespace": "any" },
                "pools": [pool("w", "AutoRollingUpdate"), pool("i", "AutoInPlaceUpdate")],
            })
        },
        given: Vec::new,
        secrets: |_, _| Vec::new(),
        promises: mock_promises::promises![
            each_reconcile_reports_a_later_time_of_machine_deployments,
            each_zone_has_one_machine_deployment,
            in_place_pool_has_gardenlets_hash,
            removed_in_place_pool_loses_its_hash,
            migrated_worker_has_no_state,
            in_place_pool_without_version_is_an_error_that_names_the_field,
            repeated_time_of_machine_deployments_keeps_gardenlet_waiting,
            dead_pool_fails_by_name_and_machine_deployments_are_reported,
            machine_deployments_are_reported_before_machines_are_awaited,
            machine_deployments_are_reported_once_an_attempt,
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

async fn each_reconcile_reports_a_later_time_of_machine_deployments(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let mut before = String::new();
    for _ in 0..4 {
        let object = scene.until_ready("a").await?;
        let time = text(&object, "/status/machineDeploymentsLastUpdateTime").to_owned();
        ensure(time > before, format!("{time} is not after {before}: gardenlet would wait until its timeout"))?;
        before = time;
        scene.ask("a", "reconcile").await?;
    }
    Ok(())
}

async fn each_zone_has_one_machine_deployment(scene: MockScene) -> Result<(), Failed> {
    scene.create_object("a", &json!({ "spec": { "pools": [pool("w", "AutoRollingUpdate")] } })).await?;
    let object = scene.until_ready("a").await?;
    let expected = json!([
        { "name": format!("{}-w-z1", scene.namespace()), "minimum": 1, "maximum": 2 },
        { "name": format!("{}-w-z2", scene.namespace()), "minimum": 0, "maximum": 1 },
    ]);
    ensure(object.pointer("/status/machineDeployments") == Some(&expected), format!("{object:#}"))?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "a rolling pool has a hash")
}

/// The values were computed by gardenlet's own function.
async fn in_place_pool_has_gardenlets_hash(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    let hashes = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap");
    ensure(hashes == Some(&json!({ "i": "158f7ddcc5c0a83f" })), format!("{hashes:?}"))?;

    let rotation = json!({
        "certificateAuthorities": {
            "lastInitiationTime": "2026-08-20T10:15:30Z",
            "pendingWorkersRollouts": [{ "name": "i", "lastInitiationTime": "2026-07-01T00:00:00Z" }],
        },
        "serviceAccountKey": { "lastInitiationTime": "2026-08-21T10:15:30Z" },
    });
    scene.write_cluster(json!({ "status": { "credentials": { "rotation": rotation } } })).await?;
    let mut pool = pool("i", "ManualInPlaceUpdate");
    pool["kubeletConfig"] = json!({
        "kubeReserved": { "cpu": "80m", "memory": "1Gi" },
        "evictionHard": { "memoryAvailable": "100Mi", "nodeFSAvailable": "5%" },
        "cpuManagerPolicy": "static",
    });
    scene.patch("a", json!({ "spec": { "pools": [pool] } })).await?;
    let object = scene.until_ready("a").await?;
    let hashes = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap");
    ensure(hashes == Some(&json!({ "i": "7486b77599b19dbe" })), format!("{hashes:?}"))
}

async fn removed_in_place_pool_loses_its_hash(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.patch("a", json!({ "spec": { "pools": [pool("w", "AutoRollingUpdate")] } })).await?;
    let object = scene.until_ready("a").await?;
    let hash = object.pointer("/status/inPlaceUpdates/workerPoolToHashMap/i");
    ensure(hash.is_none(), format!("the pool is gone, but its hash is still there: {hash:?}"))
}

async fn migrated_worker_has_no_state(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "wait-for-state").await?;
    scene.patch_status("a", json!({ "state": { "state": "machines" } })).await?;
    scene.ask("a", "restore").await?;
    scene.until_ready("a").await?;
    scene.ask("a", "migrate").await?;
    let object = scene.until("a", "the migration", |object| last(object) == "Migrate/Succeeded").await?;
    ensure(object.pointer("/status/state").is_none(), "gardenlet saves the machines itself and refuses this state")
}

async fn in_place_pool_without_version_is_an_error_that_names_the_field(scene: MockScene) -> Result<(), Failed> {
    let mut pool = pool("i", "AutoInPlaceUpdate");
    pool["kubernetesVersion"] = Value::Null;
    scene.create_object("a", &json!({ "spec": { "pools": [pool] } })).await?;
    let object = scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    ensure(description.contains("spec.pools[0].kubernetesVersion"), description)
}

async fn repeated_time_of_machine_deployments_keeps_gardenlet_waiting(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let before = scene.until_ready("a").await?;
    let script = script(&json!([{ "misbehave": { "fault": "RepeatTime" } }]));
    scene.patch("a", merged(asking("reconcile"), &json!({ "spec": { "providerConfig": script } }))).await?;
    scene.until("a", "the attempt", |object| record(object).is_some()).await?;
    let object = scene.until_ready("a").await?;
    let time = |object: &Value| text(object, "/status/machineDeploymentsLastUpdateTime").to_owned();
    ensure(time(&object) == time(&before), "another time")?;
    let unmet = readiness::check_machine_deployments(&object, Some(&time(&before)));
    ensure(matches!(unmet, Err(readiness::NotReady::MachineDeployments { .. })), format!("{unmet:?}"))
}

async fn dead_pool_fails_by_name_and_machine_deployments_are_reported(scene: MockScene) -> Result<(), Failed> {
    let dead = json!({ "message": "no capacity", "codes": ["ERR_INFRA_RESOURCES_DEPLETED"], "pools": ["w*"], "retryAfter": "1h" });
    let config = script(&json!([{ "fail": { "message": "?", "pools": ["unknown"] } }, { "fail": dead }]));
    scene.create_object("a", &json!({ "spec": { "providerConfig": config } })).await?;
    let object = scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    ensure(description == "pool w: no capacity", description)?;
    // gardenlet's first wait ends, as with a provider whose machines do not come up. Its second wait does not.
    ensure(readiness::check_machine_deployments(&object, None).is_ok(), "no machine deployments are reported")?;
    let deployments = object.pointer("/status/machineDeployments").and_then(Value::as_array);
    ensure(deployments.is_some_and(|deployments| deployments.len() == 4), format!("{deployments:?}"))?;
    ensure(matches!(readiness::check(&object, None), Err(readiness::NotReady::LastError { .. })), "ready")
}

/// Whether the status says in which operation and state the Worker is, and has machine deployments.
fn is_reported(object: &Value, state: &str) -> bool {
    let deployments = object.pointer("/status/machineDeployments").and_then(Value::as_array);
    last(object) == state
        && deployments.is_some_and(|deployments| deployments.len() == 4)
        && readiness::check_machine_deployments(object, None).is_ok()
}

async fn machine_deployments_are_reported_before_machines_are_awaited(scene: MockScene) -> Result<(), Failed> {
    let late = json!({ "succeed": { "after": "1h" } });
    let dead = json!({ "fail": { "message": "m", "pools": ["w"], "after": "1h" } });
    let failed = json!({ "fail": { "message": "m", "retryAfter": "1h" } });
    let waits = "Create/Processing";
    for (name, rule, state) in [
        ("late", late, waits),
        ("hangs", json!({ "hang": {} }), waits),
        ("dead", dead, waits),
        ("misbehaves", json!({ "misbehave": { "fault": "AnswerLate" } }), waits),
        ("fails", failed, "Create/Error"),
    ] {
        scene.create_object(name, &json!({ "spec": { "providerConfig": script(&json!([rule])) } })).await?;
        let object = scene.until(name, "machine deployments", |object| is_reported(object, state)).await?;
        // Their machines are not updated yet.
        let hashes = object.pointer("/status/inPlaceUpdates");
        ensure(hashes.is_none(), format!("{name} has hashes of pools: {hashes:?}"))?;
    }
    Ok(())
}

async fn machine_deployments_are_reported_once_an_attempt(scene: MockScene) -> Result<(), Failed> {
    let rules = json!([
        { "match": { "attempts": { "to": 1 } }, "fail": { "message": "m", "after": "1s", "retryAfter": "1s" } },
        { "succeed": { "after": "2s" } },
    ]);
    scene.create_object("a", &json!({ "spec": { "providerConfig": script(&rules) } })).await?;
    let time = |object: &Value| text(object, "/status/machineDeploymentsLastUpdateTime").to_owned();
    let first = scene.until("a", "the first attempt", |object| is_reported(object, "Create/Processing")).await?;
    let failed = scene.until("a", "the error", |object| is_reported(object, "Create/Error")).await?;
    ensure(time(&failed) == time(&first), "the error of the attempt has another time")?;
    let second = scene.until("a", "the second attempt", |object| is_reported(object, "Create/Processing")).await?;
    ensure(time(&second) > time(&first), "the second attempt has no later time")?;
    let done = scene.until_ready("a").await?;
    // gardenlet could take a later time for the answer to its next request.
    ensure(time(&done) == time(&second), "the end of the attempt has another time")?;
    ensure(done.pointer("/status/inPlaceUpdates/workerPoolToHashMap/i").is_some(), "no hash of the pool")
}
