//! DNSRecord keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_dnsrecord::DNSRecord;
use mock_promises::{Candidate, MockScene, condition, credentials, ensure, last, script, text};
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<DNSRecord>(Candidate {
        given: || vec![credentials("garden", "dns")],
        ..Candidate::new(
            env!("CARGO_BIN_EXE_mock-dnsrecord"),
            || {
                let secret = json!({ "name": "dns", "namespace": "garden" });
                json!({ "name": "api.a.example", "recordType": "A", "values": ["192.0.2.1"], "secretRef": secret })
            },
            mock_promises::promises![
                zone_is_reported_and_that_of_the_spec_wins,
                record_that_was_never_created_is_released_without_a_deletion,
                later_failure_leaves_the_record_created_and_its_deletion_is_work,
                change_in_place_with_the_old_timestamp_is_served,
            ],
        )
    })
}

async fn zone_is_reported_and_that_of_the_spec_wins(scene: MockScene) -> Result<(), Failed> {
    for (name, zone, expected) in [("none", Value::Null, "a.example"), ("own", json!("Z1"), "Z1")] {
        scene.create_object(name, &json!({ "spec": { "zone": zone } })).await?;
        let object = scene.until_ready(name).await?;
        ensure(text(&object, "/status/zone") == expected, format!("{object:#}"))?;
    }
    Ok(())
}

/// An object whose requests of one operation fail, and whose deletion never ends.
fn refused(operation: &str) -> Value {
    script(&json!([
        { "match": { "operations": [operation] }, "fail": { "message": "no zone", "retryAfter": "1h" } },
        { "match": { "operations": ["Delete"] }, "hang": {} },
    ]))
}

async fn record_that_was_never_created_is_released_without_a_deletion(scene: MockScene) -> Result<(), Failed> {
    let mut versions = scene.follow("a").await?;
    scene.create_object("a", &json!({ "spec": { "providerConfig": refused("Create") } })).await?;
    let failed = |object: &Value| last(object) == "Create/Error" && scene.holds(object);
    let object = versions.until("the error", failed).await?;
    ensure(text(&condition(&object, "Created"), "/status") == "False", format!("{object:#}"))?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

async fn later_failure_leaves_the_record_created_and_its_deletion_is_work(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.patch("a", json!({ "spec": { "providerConfig": refused("Reconcile") } })).await?;
    let object = scene.until("a", "the error", |object| last(object) == "Reconcile/Error").await?;
    ensure(text(&condition(&object, "Created"), "/status") == "True", format!("{object:#}"))?;
    scene.delete("a").await?;
    scene.until("a", "the deletion", |object| last(object) == "Delete/Processing").await.map(drop)
}

/// gardenlet of a self-hosted Shoot changes the values with an annotation, but without a new timestamp, and several times
/// in a row (`pkg/gardenlet/controller/shoot/selfhostedshootexposure/reconciler.go`). A controller that removes the
/// annotation may remove that of the next change.
async fn change_in_place_with_the_old_timestamp_is_served(scene: MockScene) -> Result<(), Failed> {
    let timestamp = "gardener.cloud/timestamp";
    let object = scene.create_ready().await?;
    let before = object.pointer("/metadata/annotations").and_then(|them| them.get(timestamp)).cloned();
    let change = |value: String| {
        let annotations = json!({ "gardener.cloud/operation": "reconcile" });
        json!({ "metadata": { "annotations": annotations }, "spec": { "values": [value] } })
    };
    for round in 0..20 {
        scene.patch("a", change(format!("198.51.100.{round}"))).await?;
        let changed = scene.patch("a", change(format!("203.0.113.{round}"))).await?;
        let object = scene.until_ready("a").await?;
        let generation = |object: &Value, field| object.pointer(field).and_then(Value::as_i64);
        let observed = generation(&object, "/status/observedGeneration");
        ensure(observed >= generation(&changed, "/metadata/generation"), format!("round {round}: {object:#}"))?;
        let now = object.pointer("/metadata/annotations").and_then(|them| them.get(timestamp)).cloned();
        ensure(now == before, "the timestamp was changed")?;
    }
    Ok(())
}
