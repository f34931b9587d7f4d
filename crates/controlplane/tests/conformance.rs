//! ControlPlane keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_controlplane::ControlPlane;
use mock_promises::{Candidate, MockScene};
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<ControlPlane>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-controlplane"),
        spec: || json!({ "region": "nowhere", "secretRef": { "name": "cloudprovider", "namespace": "any" } }),
        given: Vec::new,
        secrets: |_, _| Vec::new(),
        promises: mock_promises::promises![deletion_right_after_migrate_releases_the_object],
    })
}

/// gardenlet does not wait between the two (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`).
async fn deletion_right_after_migrate_releases_the_object(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.ask("a", "migrate").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}
