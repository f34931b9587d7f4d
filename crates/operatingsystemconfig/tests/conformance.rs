//! OperatingSystemConfig keeps the extension contract.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_operatingsystemconfig::OperatingSystemConfig;
use mock_testbed::conformance::{self, Ground, Subject, ensure, last, script, text};
use serde_json::json;

fn main() -> ExitCode {
    conformance::main::<OperatingSystemConfig>(Subject {
        binary: env!("CARGO_BIN_EXE_mock-operatingsystemconfig"),
        spec: || json!({ "purpose": "provision", "units": [{ "name": "a.service" }] }),
        secrets: 1,
        rules: mock_testbed::rules![
            provision_has_a_secret_of_its_own,
            purpose_reconcile_needs_no_secret,
            only_in_place_pools_have_an_os_update,
            a_script_can_ask_for_the_purpose,
        ],
    })
}

async fn provision_has_a_secret_of_its_own(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until_ready("a").await?;
    ensure(text(&object, "/status/cloudConfig/secretRef/name") == "osc-result-a", "wrong name")?;
    let secret = ground.secret("osc-result-a").await?.ok_or("gardenlet finds no Secret")?;
    ensure(
        secret.data.unwrap_or_default().get("cloud_config").is_some_and(|data| !data.0.is_empty()),
        "no cloud_config",
    )?;
    let owners = secret.metadata.owner_references.unwrap_or_default();
    let owned =
        owners.iter().any(|owner| owner.uid == text(&object, "/metadata/uid") && owner.controller == Some(true));
    ensure(owned, "the object does not own its Secret")
}

async fn purpose_reconcile_needs_no_secret(ground: Ground) -> Result<(), Failed> {
    ground.create("a", json!({ "spec": { "purpose": "reconcile" } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    ensure(object.pointer("/status/cloudConfig").is_none(), "there is a cloudConfig")?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "there is an OS update")?;
    ensure(ground.secret("osc-result-a").await?.is_none(), "there is a Secret")
}

async fn only_in_place_pools_have_an_os_update(ground: Ground) -> Result<(), Failed> {
    let updates = json!({ "operatingSystemVersion": "1.0.0", "kubelet": "1.35.4" });
    ground.create("a", json!({ "spec": { "purpose": "reconcile", "inPlaceUpdates": updates } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(!text(&object, "/status/inPlaceUpdates/osUpdate/command").is_empty(), "there is no OS update")?;
    ground.patch("a", json!({ "spec": { "inPlaceUpdates": null } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "the OS update is still there")
}

async fn a_script_can_ask_for_the_purpose(ground: Ground) -> Result<(), Failed> {
    let config = script(&json!([{ "match": { "purposes": ["provision"] }, "hang": {} }]));
    ground.create("a", json!({ "spec": { "purpose": "provision", "providerConfig": config } })).await?;
    ground.create("b", json!({ "spec": { "purpose": "reconcile", "providerConfig": config } })).await?;
    ground.until_ready("b").await?;
    let object = ground.until("a", "hanging", |object| last(object) == "Create/Processing").await?;
    ground.unchanged("a", &object, "it hangs").await
}
