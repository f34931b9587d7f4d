//! Bastion keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_bastion::Bastion;
use mock_promises::{Candidate, MockScene, ensure, text};
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<Bastion>(Candidate::new(
        env!("CARGO_BIN_EXE_mock-bastion"),
        || json!({ "userData": "YQ==", "ingress": [{ "ipBlock": { "cidr": "192.0.2.0/24" } }] }),
        mock_promises::promises![
            address_is_reported_with_the_success,
            unconfirmed_deletion_removes_the_object,
            object_of_a_failed_shoot_is_served,
        ],
    ))
}

/// gardenlet copies the address in the round that sees the success (`pkg/gardenlet/controller/bastion/reconciler.go`).
async fn address_is_reported_with_the_success(scene: MockScene) -> Result<(), Failed> {
    let mut versions = scene.follow("a").await?;
    let asked = scene.create_annotated("a", "reconcile").await?;
    let object = versions.until_woken("the success", &asked).await?;
    ensure(!text(&object, "/status/ingress/ip").is_empty(), format!("there is no address: {object:#}"))
}

/// gardenlet deletes a Bastion without a confirmation (`pkg/gardenlet/controller/bastion/reconciler.go`).
async fn unconfirmed_deletion_removes_the_object(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.delete_confirmed("a").await?;
    scene.until_gone("a").await
}

async fn object_of_a_failed_shoot_is_served(scene: MockScene) -> Result<(), Failed> {
    scene.fail_shoot().await?;
    scene.barrier().await?;
    scene.create_ready().await.map(drop)
}
