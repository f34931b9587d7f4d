//! ControlPlane keeps the extension contract.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_controlplane::ControlPlane;
use mock_testbed::conformance::{self, Ground, Subject};
use serde_json::json;

fn main() -> ExitCode {
    conformance::main::<ControlPlane>(Subject {
        binary: env!("CARGO_BIN_EXE_mock-controlplane"),
        spec: || json!({ "region": "nowhere", "secretRef": { "name": "cloudprovider", "namespace": "any" } }),
        secrets: 0,
        rules: mock_testbed::rules![migrate_and_immediate_deletion_lets_go],
    })
}

/// gardenlet does not wait between the two (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`).
async fn migrate_and_immediate_deletion_lets_go(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    ground.until_ready("a").await?;
    ground.ask("a", "migrate").await?;
    ground.delete("a").await?;
    ground.until_gone("a").await
}
