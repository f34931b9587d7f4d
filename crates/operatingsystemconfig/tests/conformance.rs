//! OperatingSystemConfig keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_core::kind::SecretKey;
use mock_operatingsystemconfig::OperatingSystemConfig;
use mock_promises::{Candidate, MockScene, ensure, last, only_secrets_of_the_kind_may_be_written, script, text};
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<OperatingSystemConfig>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-operatingsystemconfig"),
        spec: || json!({ "purpose": "provision", "units": [{ "name": "a.service" }] }),
        given: Vec::new,
        secrets: |namespace, name| {
            vec![SecretKey { namespace: namespace.to_owned(), name: format!("osc-result-{name}") }]
        },
        promises: mock_promises::promises![
            purpose_provision_has_a_secret_that_the_object_owns,
            purpose_reconcile_has_no_secret,
            os_update_is_reported_only_for_in_place_updates,
            script_matches_the_purpose,
            name_that_is_too_long_for_the_secret_shows_in_last_error,
            refused_secret_shows_in_last_error_until_it_is_accepted,
            only_secrets_of_the_kind_may_be_written,
        ],
    })
}

async fn purpose_provision_has_a_secret_that_the_object_owns(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until_ready("a").await?;
    ensure(text(&object, "/status/cloudConfig/secretRef/name") == "osc-result-a", "wrong name")?;
    let secret = scene.secret("osc-result-a").await?.ok_or("gardenlet finds no Secret")?;
    ensure(
        secret.data.unwrap_or_default().get("cloud_config").is_some_and(|data| !data.0.is_empty()),
        "no cloud_config",
    )?;
    let owners = secret.metadata.owner_references.unwrap_or_default();
    let owned =
        owners.iter().any(|owner| owner.uid == text(&object, "/metadata/uid") && owner.controller == Some(true));
    ensure(owned, "the object does not own its Secret")
}

async fn purpose_reconcile_has_no_secret(scene: MockScene) -> Result<(), Failed> {
    scene.create_object("a", &json!({ "spec": { "purpose": "reconcile" } })).await?;
    let object = scene.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    ensure(object.pointer("/status/cloudConfig").is_none(), "there is a cloudConfig")?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "there is an OS update")?;
    ensure(scene.secret("osc-result-a").await?.is_none(), "there is a Secret")
}

async fn os_update_is_reported_only_for_in_place_updates(scene: MockScene) -> Result<(), Failed> {
    let updates = json!({ "operatingSystemVersion": "1.0.0", "kubelet": "1.35.4" });
    scene.create_object("a", &json!({ "spec": { "purpose": "reconcile", "inPlaceUpdates": updates } })).await?;
    let object = scene.until_ready("a").await?;
    ensure(!text(&object, "/status/inPlaceUpdates/osUpdate/command").is_empty(), "there is no OS update")?;
    scene.patch("a", json!({ "spec": { "inPlaceUpdates": null } })).await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/inPlaceUpdates").is_none(), "the OS update is still there")
}

async fn script_matches_the_purpose(scene: MockScene) -> Result<(), Failed> {
    let config = script(&json!([{ "match": { "purposes": ["provision"] }, "hang": {} }]));
    for (name, purpose) in [("a", "provision"), ("b", "reconcile")] {
        let spec = json!({ "spec": { "purpose": purpose, "providerConfig": config } });
        scene.create_object(name, &spec).await?;
    }
    scene.until_ready("b").await?;
    let object = scene.until("a", "the hang", |object| last(object) == "Create/Processing").await?;
    scene.unchanged("a", &object, "it hangs").await
}

async fn name_that_is_too_long_for_the_secret_shows_in_last_error(scene: MockScene) -> Result<(), Failed> {
    // Below the limit for the object, but not for osc-result-<name>.
    let name = "a".repeat(250);
    scene.create_annotated(&name, "reconcile").await?;
    let is_reported = |object: &Value| {
        last(object) == "Create/Error" && object.pointer("/metadata/annotations/gardener.cloud~1operation").is_none()
    };
    let object = scene.until(&name, "the error", is_reported).await?;
    let error = text(&object, "/status/lastError/description");
    ensure(error.contains("the name has 261 characters, expected at most 253"), error)?;
    let writes = scene.writes(&name)?;
    // One, where the API server does the second.
    ensure(writes <= 2, format!("the error costs {writes} writes instead of status and metadata"))?;
    scene.unchanged(&name, &object, "it is retried later").await?;
    scene.delete(&name).await?;
    scene.until_gone(&name).await
}

async fn refused_secret_shows_in_last_error_until_it_is_accepted(scene: MockScene) -> Result<(), Failed> {
    let immutable = json!({ "apiVersion": "v1", "kind": "Secret", "immutable": true, "data": { "other": "YQ==" },
        "metadata": { "namespace": scene.namespace(), "name": "osc-result-a" } });
    scene.create_secret(&immutable).await?;
    scene.create_annotated("a", "reconcile").await?;
    let object = scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    let error = text(&object, "/status/lastError/description");
    ensure(error.contains("/osc-result-a (") && error.contains("immutable"), error)?;
    let code = text(&object, "/status/lastError/codes/0");
    ensure(code == "ERR_RETRYABLE_CONFIGURATION_PROBLEM", format!("gardenlet does not retry {code}"))?;
    scene.delete_secret("osc-result-a").await?;
    scene.until_ready("a").await?;
    Ok(())
}
